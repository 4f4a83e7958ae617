"""The driver process: the engine's child that speaks to Ray.

In: orders of the engine, one JSON message a line. Out: agents on nodes, their reports, and answers. All
modules that import Ray are here; code is valid from Python 3.9, since it runs with the cluster's version
of Ray and Python.
"""
