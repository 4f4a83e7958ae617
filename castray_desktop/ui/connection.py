"""Whether there is an engine to talk to."""

from __future__ import annotations

import enum


class Connection(enum.Enum):
    """Where the connection to the engine stands."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"
