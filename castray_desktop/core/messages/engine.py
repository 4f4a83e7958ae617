"""The engine itself: the greeting, its state, its log."""

from __future__ import annotations

from castray_desktop.core.failure import Failure
from castray_desktop.core.messages.base import Message
from castray_desktop.core.messages.casts import CastSummary, DeliverySnapshot
from castray_desktop.core.messages.cluster import ClusterStatus, NodeInfo


class Hello(Message, frozen=True):
    """The first frame of a client."""

    protocol: int
    client: str  # "window", "cli", ...


class GetStatus(Message, frozen=True):
    """Reply: `EngineStatus`."""


class KeepEngine(Message, frozen=True):
    """Keep the engine after its last client has gone, or not any more. Reply: `Done`."""

    keep: bool


class StopEngine(Message, frozen=True):
    """End the engine and what it started. Reply: `Done`; then the socket closes."""

    only_if_unused: bool = False  # do nothing while other clients are there, or it is kept


class Done(Message, frozen=True):
    """It was done."""


class EngineStatus(Message, frozen=True):
    """The engine in numbers."""

    pid: int
    cluster: ClusterStatus
    nodes: int
    casts: int  # that have not ended
    clients: int
    kept: bool
    limit: int = 0  # bytes per second that every node may pass on over all casts; 0: no limit


class Failed(Message, frozen=True):
    """The command could not be carried out."""

    failure: Failure


class LogLine(Message, frozen=True):
    """A line of the engine's log, of level warning or above."""

    at: float
    level: str
    origin: str
    text: str


class Welcome(Message, frozen=True):
    """The whole picture, as the first frame to a client."""

    protocol: int
    version: str
    pid: int
    cluster: ClusterStatus
    nodes: tuple[NodeInfo, ...]
    casts: tuple[CastSummary, ...]
    deliveries: dict[str, tuple[DeliverySnapshot, ...]] = {}  # by cast
    started: bool = False  # filled by the client: it started this engine


class GetLog(Message, frozen=True):
    """The last lines of the engine's log. Reply: `LogLines`."""

    lines: int = 2000


class LogLines(Message, frozen=True):
    """Oldest first."""

    lines: tuple[LogLine, ...]


class WatchLog(Message, frozen=True):
    """Send this client `LogLine` events of that level or above, or none. Reply: `Done`."""

    level: str = "info"  # "debug", "info", "warning", "error"; empty: none


EngineCommand = GetStatus | KeepEngine | StopEngine | GetLog | WatchLog
EngineReply = Done | EngineStatus | Failed | LogLines
EngineEvent = Welcome | LogLine
