"""The engine itself: hello, status, log, settings, diagnosis."""

from __future__ import annotations

import enum

from castray_desktop.core.casts.transfer_options import Encryption
from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.protocol.messages.cast_messages import CastSummary, DeliverySnapshot
from castray_desktop.core.protocol.messages.cluster_messages import ClusterStatus, NodeInfo
from castray_desktop.core.protocol.messages.message_base import Message, Record


class Hello(Message, frozen=True):
    """The first frame of a client."""

    protocol: int
    client: str  # "window", "cli", ...


class GetStatus(Message, frozen=True):
    """Reply: `EngineStatus`."""


class KeepEngine(Message, frozen=True):
    """Keep the engine running without clients, or not any more. Reply: `Done`."""

    keep: bool


class StopEngine(Message, frozen=True):
    """Stop the engine and everything it started. Reply: `Done`; then the socket closes."""

    only_if_unused: bool = False  # do nothing if there are other clients or it is kept


class Done(Message, frozen=True):
    """The command succeeded."""


class EngineStatus(Message, frozen=True):
    """The engine in numbers."""

    pid: int
    cluster: ClusterStatus
    nodes: int
    casts: int  # unfinished casts
    clients: int
    kept: bool  # it runs without clients
    limit: int = 0  # upload limit of every node over all casts, bytes per second
    kept_until: tuple[str, ...] = ()  # it is kept only until these casts have ended
    cluster_kept: bool = False  # the client's cluster stays connected without clients and casts


class Failed(Message, frozen=True):
    """The command failed."""

    failure: Failure


class LogLine(Message, frozen=True):
    """A line of the engine's log, of level warning or above."""

    at: float
    level: str
    origin: str
    text: str


class Welcome(Message, frozen=True):
    """The complete state, as the first frame to a client."""

    protocol: int
    version: str
    pid: int
    cluster: ClusterStatus
    nodes: tuple[NodeInfo, ...]
    casts: tuple[CastSummary, ...]
    deliveries: dict[str, tuple[DeliverySnapshot, ...]] = {}  # by cast
    started: bool = False  # set by the client: it started this engine


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


MOST_DEMO_NODES = 12
MOST_CASTS_AT_ONCE = 1000
MOST_HISTORY_DAYS = 36_500


class EngineSettings(Record, frozen=True):
    """Settings of the engine, common to all clients."""

    limit: int = 0  # upload limit of every node over all casts, bytes per second
    casts_at_once: int = 4  # others are queued; 0: no limit
    go_on: bool = True  # resume unfinished casts after a restart, else show them paused
    history_days: int = 0  # ended casts are deleted after this time
    stay_awake: bool = True  # prevent sleep while a cast runs
    encrypt: Encryption = Encryption.AUTO  # of casts that leave the choice to this
    demo_nodes: int = 3  # of the next local cluster, besides this computer


class GetSettings(Message, frozen=True):
    """Reply: `SettingsChanged`."""


class ChangeSettings(Message, frozen=True):
    """Change the settings. Reply: `Done`; every client hears `SettingsChanged`."""

    settings: EngineSettings


class SettingsChanged(Message, frozen=True):
    """The settings, as a reply or whenever they have changed."""

    settings: EngineSettings


SettingsCommand = GetSettings | ChangeSettings

SettingsReply = SettingsChanged

SettingsEvent = SettingsChanged


class CheckState(enum.StrEnum):
    """Result of a check."""

    GOOD = "good"
    NOTICE = "notice"  # works, with a hint
    BAD = "bad"


class Check(Record, frozen=True):
    """One checked item. Its text is made from kind and values in `core/failures/check_sentences.py`."""

    kind: str
    state: CheckState
    node: str = ""  # empty: this computer
    values: dict[str, str] = {}


class Diagnose(Message, frozen=True):
    """Check everything that casts need. Reply: `Diagnosis`."""

    job: str = ""  # chosen by the client, for `DiagnosisProgress`


class CancelDiagnosis(Message, frozen=True):
    """Cancel a diagnosis; its `Diagnose` is answered with the results so far. Reply: `Done`."""

    job: str


class Diagnosis(Message, frozen=True):
    """Results of a diagnosis."""

    checks: tuple[Check, ...]


class DiagnosisProgress(Message, frozen=True):
    """Progress of a diagnosis."""

    job: str
    done: int
    total: int


DiagnosisCommand = Diagnose | CancelDiagnosis

DiagnosisReply = Diagnosis

DiagnosisEvent = DiagnosisProgress
