"""CastRay for programs and notebooks.

In: calls of `connect`, and of the methods of the cluster that it returns, from any thread. Out: results and
nodes as typed structs, progress bars, and `CommandFailed` with a sentence. A client of the engine, like the
command line.
"""

from castray_desktop.python.cluster_handle import Cluster, CommandFailed, connect

__all__ = ["Cluster", "CommandFailed", "connect"]
