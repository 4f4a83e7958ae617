"""The node graph: lays out nodes and the relay's path, draws them, and turns clicks, keys and drops into
selections and sends.

The front door is `graph_card.GraphCard`.
"""
