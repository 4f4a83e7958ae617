"""The casts of one cluster by id, and what the parts that manage them share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf

from castray_desktop.core.casts.admission_queue import AdmissionQueue
from castray_desktop.core.casts.node_selector import Groups
from castray_desktop.core.casts.transfer_options import Encryption
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.messages import CastResult, Event, SendRequest
from castray_desktop.workers.casts.agent_directory import AgentDirectory
from castray_desktop.workers.casts.session.cast_session import CastSession
from castray_desktop.workers.casts.session.cast_status import CastStatus
from castray_desktop.workers.casts.session.checkpoint import CheckpointStore
from castray_desktop.workers.casts.session.multicast_control import MulticastGroups
from castray_desktop.workers.casts.speed_stores import DownloadSpeedStore, NodeSpeedStore
from castray_desktop.workers.history.file_list_store import FileRecord
from castray_desktop.workers.history.history_store import PastCast
from castray_desktop.workers.sources.address_resolver import AddressResolver

CastEnded = Callable[[SendRequest, str, CastResult, bool], None]

FindPastCast = Callable[[str], Awaitable[PastCast]]

KeepFileRecord = Callable[[str, FileRecord], None]

LoadFileRecords = Callable[[str], Awaitable[list[FileRecord]]]


@dataclass(frozen=True)
class CastServices:
    """What the engine has for the casts of all clusters.

    Without `checkpoints`, casts end with their manager. `find_past_cast` finds an ended cast in the history
    by id or id prefix, and raises CastRayError. `keep_file_record(cast, record)` keeps what became of files,
    `file_records(cast)` returns what was kept. `ended` is called when a cast ends, with the request, the
    cluster's target and the result; and again (True) when its deferred deliveries have ended. `limit` is that
    of each node over all casts, in bytes per second; 0: none.
    """

    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time  # POSIX seconds
    groups: Callable[[], Groups] = dict
    encryption: Callable[[], Encryption] = lambda: Encryption.AUTO  # of casts that leave the choice open
    limit: Callable[[], int] = lambda: 0
    checkpoints: CheckpointStore | None = None
    speeds: NodeSpeedStore | None = None
    downloads: DownloadSpeedStore | None = None
    multicast_groups: MulticastGroups = field(default_factory=MulticastGroups)
    resolver: AddressResolver = field(default_factory=AddressResolver)
    find_past_cast: FindPastCast | None = None
    keep_file_record: KeepFileRecord | None = None
    file_records: LoadFileRecords | None = None
    ended: CastEnded = lambda *_: None


class CastTable:
    """Every known cast of one cluster: its status, and its session and task until it has ended."""

    def __init__(self, max_running: int) -> None:
        self.casts: dict[str, CastStatus] = {}
        self.sessions: dict[str, CastSession] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.queue = AdmissionQueue(max_running)

    def matching(self, cast: str) -> list[CastStatus]:
        """The casts with this id or id prefix."""
        return [found for known, found in self.casts.items() if known.startswith(cast)] if cast else []

    def find(self, cast: str) -> CastStatus:
        """Find a cast by id or unique id prefix. Raises CastRayError."""
        matching = self.matching(cast)
        if len(matching) != 1:
            raise CastRayError(FailureKind.CAST_UNKNOWN, cast=cast)
        return matching[0]

    def find_unfinished(self, cast: str) -> CastSession:
        """The session of a cast whose task runs. Raises CastRayError."""
        session = self.sessions.get(self.find(cast).cast)
        if session is None:
            raise CastRayError(FailureKind.CAST_FINISHED, cast=cast)
        return session

    def hop_limit(self, cast: str, node: str, limit: int) -> float:
        """What a node's limit over all casts leaves to each hop of the cast that begins there, in bytes per
        second: hops take turns with a piece each.
        """
        session = self.sessions.get(cast)
        if not limit or session is None:
            return inf
        total = sum(each.upload_weight(node) for each in self.sessions.values())
        return limit * session.piece_bytes / max(total, session.piece_bytes)

    def unfinished(self) -> tuple[CastStatus, ...]:
        """The status of each cast whose task runs."""
        return tuple(session.status for session in self.sessions.values())


@dataclass(frozen=True)
class ClusterContext:
    """The agents of one cluster, its casts, and the function that publishes events."""

    agents: AgentDirectory
    publish: Callable[[Event], None]
    services: CastServices
    table: CastTable

    @property
    def now(self) -> float:
        """Monotonic seconds."""
        return self.services.clock()

    async def find_past(self, cast: str) -> PastCast:
        """Find an ended cast, in memory or in the history. Raises CastRayError."""
        matching = self.table.matching(cast)
        if len(matching) == 1:
            (status,) = matching
            if status.cast in self.table.sessions:
                raise CastRayError(FailureKind.CAST_GOES_ON, cast=cast)
            return PastCast(status.repeatable_request, status.cluster.target, status.result(self.now))
        if self.services.find_past_cast is None or matching or not cast:
            raise CastRayError(FailureKind.CAST_UNKNOWN, cast=cast)
        return await self.services.find_past_cast(cast)
