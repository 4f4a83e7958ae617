"""Which node fetches from which, and over which transport.

In: nodes, zones, known speeds, progress. Out: a route, single moves that keep it free of cycles,
stragglers, the bottleneck.
"""
