"""CastRay Desktop: copy files to many machines of a Ray cluster at once.

For programs there is `connect`:

    from castray_desktop import connect
    with connect() as cluster:
        result = cluster.send("model.safetensors", to="all")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from castray_desktop.python import Cluster as Cluster
    from castray_desktop.python import CommandFailed as CommandFailed
    from castray_desktop.python import connect as connect

__version__ = "0.1.0"

_OF_PYTHON = ("Cluster", "CommandFailed", "connect")


def __getattr__(name: str) -> Any:
    """What programs use, imported when it is asked for: on the nodes this package has nothing to lean on."""
    if name not in _OF_PYTHON:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from castray_desktop import python

    return getattr(python, name)
