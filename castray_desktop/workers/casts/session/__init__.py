"""One cast from its preflight to its end.

In: reports of the agents that take part. Out: orders to them, the cast's status, and checkpoints for the
next engine.
"""
