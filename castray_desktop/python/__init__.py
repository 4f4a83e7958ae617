"""CastRay for programs and notebooks: `connect` gives a `Cluster` to send files with."""

from castray_desktop.python.cluster import Cluster, CommandFailed, connect

__all__ = ["Cluster", "CommandFailed", "connect"]
