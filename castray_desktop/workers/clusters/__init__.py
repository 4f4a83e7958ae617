"""The clusters in use: drivers, nodes, and the agents on them.

In: a target ("local", HOST:PORT, ray://HOST:PORT). Out: nodes with a running agent each, their reports,
and a way to send them orders. Nothing of a cluster is left behind, however the engine ends.
"""
