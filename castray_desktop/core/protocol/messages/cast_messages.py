"""Casts and deliveries: requests, status, commands for running and ended casts, verification."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable
from typing import Any, Self

from msgspec.structs import replace

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.content.file_outcomes import FileCounts
from castray_desktop.core.content.urls import is_url, redacted_url
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.multicast.datagrams import MulticastEnd, MulticastState
from castray_desktop.core.protocol.messages.cluster_messages import LOCAL_TARGET, THIS_COMPUTER
from castray_desktop.core.protocol.messages.file_messages import FilesPage, GetFiles
from castray_desktop.core.protocol.messages.message_base import Message, Record


def default_source(paths: Iterable[str]) -> str:
    """The source where none was named: this computer, but for addresses alone the engine chooses a node."""
    given = list(paths)
    return "" if given and all(map(is_url, given)) else THIS_COMPUTER


class SendRequest(Record, frozen=True):
    """The request for one cast."""

    paths: tuple[str, ...]  # absolute, on the source; or addresses of web servers
    recipients: tuple[str, ...]  # node names, addresses, Ray node id prefixes, or "all"
    source: str = THIS_COMPUTER  # empty for addresses: the engine chooses a node
    leave_out: bool = False  # send to the others if some recipients can't receive it
    options: TransferOptions = TransferOptions()

    @property
    def urls(self) -> tuple[str, ...]:
        """Those of its paths that are addresses. They may be secret."""
        return tuple(filter(is_url, self.paths))

    @property
    def local_paths(self) -> tuple[str, ...]:
        """The others."""
        return tuple(path for path in self.paths if not is_url(path))

    @property
    def shown_paths(self) -> tuple[str, ...]:
        """Its paths as people may see them."""
        return tuple(redacted_url(path) if is_url(path) else path for path in self.paths)

    def redacted(self) -> SendRequest:
        """The request without what may be secret in its addresses."""
        return replace(self, paths=self.shown_paths)

    @property
    def is_download(self) -> bool:
        """Whether it has addresses only: then the source may be a recipient as well."""
        return bool(self.paths) and not self.local_paths

    def check_paths(self) -> None:
        """Refuse relative paths: the current folder of the program that made the request is not known on the
        source. Raises CastRayError(RELATIVE_PATH).
        """
        for path in self.local_paths:
            if not path.startswith("/"):
                raise CastRayError(FailureKind.RELATIVE_PATH, path=path, node=self.source or THIS_COMPUTER)

    def with_options(self, **changes: Any) -> SendRequest:
        """This request with some options changed."""
        return replace(self, options=dataclasses.replace(self.options, **changes))


class CastMode(enum.StrEnum):
    """Derived from the selection of recipients; display only."""

    UNICAST = "unicast"
    MULTICAST = "multicast"
    BROADCAST = "broadcast"


class CastState(enum.StrEnum):
    """See `core.casts.states` for the transitions."""

    QUEUED = "queued"
    PREPARING = "preparing"
    SENDING = "sending"
    VERIFYING = "verifying"  # all bytes received; hashing, sync, rename
    PAUSED = "paused"
    COMPLETED = "completed"
    PARTLY_FAILED = "partly_failed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self in FINISHED_CAST_STATES


FINISHED_CAST_STATES = frozenset(
    {CastState.COMPLETED, CastState.PARTLY_FAILED, CastState.FAILED, CastState.CANCELLED}
)


class DeliveryState(enum.StrEnum):
    """See `core.casts.states` for the transitions."""

    WAITING = "waiting"
    RECEIVING = "receiving"
    VERIFYING = "verifying"
    PAUSED = "paused"
    COMPLETED = "completed"
    SKIPPED = "skipped"  # identical files existed
    SHARED = "shared"  # another recipient wrote to the same folder
    AWAITED = "awaited"  # node offline; served later by a separate cast
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self in FINISHED_DELIVERY_STATES

    @property
    def delivered(self) -> bool:
        return self in DELIVERED_STATES


DELIVERED_STATES = frozenset({DeliveryState.COMPLETED, DeliveryState.SKIPPED, DeliveryState.SHARED})

FINISHED_DELIVERY_STATES = DELIVERED_STATES | {
    DeliveryState.FAILED,
    DeliveryState.CANCELLED,
    DeliveryState.AWAITED,
}


class Transport(enum.StrEnum):
    """The transport used by a hop."""

    DIRECT = "direct"
    REVERSE = "reverse"
    RAY = "ray"
    UDP = "udp"
    LOCAL = "local"


class MulticastSnapshot(Record, frozen=True):
    """Progress of a cast's multicast."""

    state: MulticastState
    end: MulticastEnd | None = None  # once it has stopped
    reason: str = ""  # the source system's error, if any
    listeners: tuple[str, ...] = ()  # recipients that keep up
    bytes: int = 0  # stream bytes sent
    rate: float = 0.0  # bytes per second


class DeliverySnapshot(Record, frozen=True):
    """Current state of a delivery."""

    node: str
    state: DeliveryState = DeliveryState.WAITING
    address: str = ""
    upstream: str = ""  # node from which it fetches
    bytes: int = 0  # verified bytes of file contents
    skipped_bytes: int = 0  # of these, in files that were there already
    rate: float = 0.0
    eta: float | None = None
    lagging: bool = False
    behind: int = 0  # bytes behind its upstream, while lagging
    seconds: float = 0.0  # from the cast's start; final once finished
    hash: str = ""  # "blake3:HEX" or "sha256:HEX" of a single file
    checking: float = 0.0  # recent share of time spent on digests and hashes
    writing: float = 0.0  # recent share of time spent on writing
    transport: Transport | None = None
    encrypted: bool | None = None  # None: not known, or no bytes between machines
    paths: tuple[str, ...] = ()  # committed paths of the top-level entries
    removed: int = 0  # entries pruned by `remove_extra`
    failure: Failure | None = None
    listening: bool = False  # receives multicast
    datagram_bytes: int = 0  # verified bytes received by multicast
    repaired_bytes: int = 0  # lost or damaged multicast bytes, repaired from the upstream
    hook_status: str = ""  # result of the hook: "done", "not allowed there", or an error
    counts: FileCounts | None = None  # what became of its files; None before its end, or if it is not known

    @property
    def delivered_bytes(self) -> int:
        """What this cast has brought, once it is delivered."""
        return 0 if self.state is DeliveryState.SKIPPED else self.bytes - self.skipped_bytes


class CastCluster(Record, frozen=True):
    """The cluster that a cast runs on, or ran on."""

    target: str = ""  # as it was asked for: "local", "HOST:PORT", "ray://HOST:PORT"; empty: not known
    address: str = ""  # of its head; empty: not known
    local: bool = False  # it is the demo on this computer

    @classmethod
    def of(cls, target: str, address: str = "") -> Self:
        """That which was asked for by `target`."""
        named = target if ":" in target else ""
        return cls(target, address or named, target == LOCAL_TARGET)


class PlacementReason(enum.StrEnum):
    """Why a node downloads the files of web servers."""

    AWAITED = "awaited"  # no node has been chosen yet
    NAMED = "named"  # it was asked for
    MEASURED = "measured"  # the fastest of those that were measured for this cast
    REMEMBERED = "remembered"  # the fastest of those that were measured before
    SMALL = "small"  # too little to measure: the first that reaches the server
    ONLY = "only"  # no other node that was asked reaches the server
    ONLY_HERE = "only_here"  # the same, and it is this computer
    SUCCESSOR = "successor"  # the node that downloaded before is lost
    AGAIN = "again"  # it has downloaded the same files before
    RESUMED = "resumed"  # of the recipients, it received most in the attempt before


class StoreSpeed(Record, frozen=True):
    """How fast a node downloads from a web server."""

    node: str
    rate: float = 0.0  # bytes per second; 0: not known
    when: float = 0.0  # POSIX seconds
    failure: Failure | None = None  # why it can't download


class DownloadPlacement(Record, frozen=True):
    """Which node downloads, and why. The node is the cast's source."""

    reason: PlacementReason
    host: str = ""  # the web server that has the largest file
    speeds: tuple[StoreSpeed, ...] = ()  # of the nodes that were asked, as far as they are known


class CastAttempt(Record, frozen=True):
    """An earlier attempt of a cast that was retried."""

    started: float
    finished: float
    state: CastState
    recipients: tuple[str, ...]  # that took part in it
    failures: dict[str, Failure] = {}  # by recipient
    contents: str = ""  # as in the summary


class CastSummary(Record, frozen=True):
    """One row of the transfer table."""

    cast: str  # id, 12 hexadecimal digits
    name: str  # of the first top-level entry: "model.bin", "configs/"
    state: CastState
    source: str
    recipients: tuple[str, ...]
    mode: CastMode
    started: float
    finished: float = 0.0
    options: TransferOptions = TransferOptions()  # as requested; the limit can change
    others: int = 0  # other top-level entries; see `core.casts.states.cast_name`
    folder: bool = False  # the only top-level entry is a folder
    files: int = 0
    bytes: int = 0  # of the parcel's files
    done_bytes: int = 0  # mean over the recipients
    rate: float = 0.0  # median of the receiving recipients
    upload_rate: float = 0.0  # upload rate of the source
    checking: float = 0.0  # recent share of the source's time spent on digests and hashes
    reading: float = 0.0  # recent share of the source's time spent on reading
    eta: float | None = None  # of the slowest recipient
    verified: int = 0  # deliveries completed, skipped or shared
    failed: int = 0
    lagging: int = 0
    awaited: int = 0  # deliveries waiting for offline nodes
    counts: FileCounts | None = None  # what became of its files; None where it differs between recipients
    paused: int = 0  # deliveries that are paused, alone or with the cast
    chain: tuple[str, ...] = ()  # source first, in relay order
    source_copies: float = 0.0
    encrypted: bool | None = None  # every delivery's bytes between machines; None: none of them
    multicast: MulticastSnapshot | None = None  # None if not attempted
    download: DownloadPlacement | None = None  # None if files of a node are sent
    followed_links: int = 0  # links of which was sent what they point to
    kept_links: int = 0  # links that were sent as links
    broken_links: int = 0  # of these, the ones that point to nothing at a recipient
    broken_names: tuple[str, ...] = ()  # the first of them
    checksums: dict[str, int] = {}  # downloaded files with the one that their server states, by kind
    place: int = 0  # place in the queue; 0: the next to start
    schedule: str = ""  # the id of the schedule that started it
    follows: str = ""  # id of the original cast of a later or repeated delivery
    attempts: tuple[CastAttempt, ...] = ()  # the earlier ones, oldest first
    retried: tuple[str, ...] = ()  # recipients of this attempt, if it is not the first
    contents: str = ""  # digest of the list of files and of their versions; empty before the scan
    cluster: CastCluster = CastCluster()
    failure: Failure | None = None
    next_try: float = 0.0  # when the server that it waits for is asked again, POSIX seconds; 0: not known


class PathSummary(Record, frozen=True):
    """One entry of the send list."""

    path: str
    name: str
    folder: bool = False
    files: int = 0
    bytes: int = 0
    failure: Failure | None = None


class PreflightProblem(Record, frozen=True):
    """Why a recipient can't receive the parcel."""

    node: str
    failure: Failure


class UnsentFile(Record, frozen=True):
    """Something under the chosen paths that can't be sent, or not be read."""

    path: str
    failure: Failure


class Removal(Record, frozen=True):
    """Entries to be pruned at one recipient."""

    node: str
    count: int
    paths: tuple[str, ...]  # absolute, the first hundred


class Send(Message, frozen=True):
    """Start a cast. Reply: `Accepted`."""

    request: SendRequest


class Preflight(Message, frozen=True):
    """Check whether every recipient could receive this, without sending. Reply: `PreflightReport`."""

    request: SendRequest


class Cancel(Message, frozen=True):
    """Cancel a cast; part files are removed. Reply: `Done`."""

    cast: str


class AddRecipients(Message, frozen=True):
    """Add recipients to a running cast. Reply: `PreflightReport`, once they are part of it.

    Recipients that can't receive it are in its problems, and their deliveries have failed.
    """

    cast: str
    recipients: tuple[str, ...]  # as in `SendRequest`


class SetLimit(Message, frozen=True):
    """Limit the upload rate of every node, over all casts or for one cast. Reply: `Done`, once it is in
    force.

    The limit over all casts is kept over restarts of the engine.
    """

    limit: int  # bytes per second; 0: none
    cast: str = ""  # empty: over all casts


class ClearFinished(Message, frozen=True):
    """Remove ended casts from the list, but failed ones only where no others are left. Reply: `Done`;
    `CastsRemoved` follows.
    """


class MeasurePaths(Message, frozen=True):
    """Measure the size of paths on a node. Reply: `Measured`.

    Without a node, the paths are addresses, and nodes that can download them are asked.
    """

    paths: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    node: str = THIS_COMPUTER


class Watch(Message, frozen=True):
    """Select the casts whose deliveries this client gets; none means all. Reply: `Done`."""

    casts: tuple[str, ...] | None = None


class GetResult(Message, frozen=True):
    """Reply: `CastResult`, once the cast has ended."""

    cast: str


class KeepUntilEnded(Message, frozen=True):
    """Keep the engine until this cast has ended, also without clients. Reply: `Done`."""

    cast: str


class Accepted(Message, frozen=True):
    """The cast was accepted; its progress comes as events."""

    cast: str


class PreflightReport(Message, frozen=True):
    """Result of a preflight: the cast, and recipients that could not receive it."""

    files: int
    bytes: int
    recipients: tuple[str, ...]
    problems: tuple[PreflightProblem, ...] = ()
    failure: Failure | None = None  # the request itself can't be carried out
    followed_links: int = 0  # links of which would be sent what they point to
    kept_links: int = 0  # links that would be sent as links
    broken_links: int = 0  # of these, the ones that would point to nothing at a recipient
    broken_names: tuple[str, ...] = ()  # the first of them
    left_out: tuple[UnsentFile, ...] = ()  # what can't be sent of it, the first hundred
    left_out_count: int = 0
    removals: tuple[Removal, ...] = ()  # what `remove_extra` would remove
    download: DownloadPlacement | None = None  # what is known before anything is measured
    cluster: CastCluster = CastCluster()

    @property
    def failing(self) -> frozenset[str]:
        """The recipients that can't receive it."""
        return frozenset(problem.node for problem in self.problems)


class Measured(Message, frozen=True):
    """Sizes of the paths, in the order of the request."""

    entries: tuple[PathSummary, ...]


class CastResult(Message, frozen=True):
    """Result of a cast. Sent once to every client; repeated on request."""

    summary: CastSummary
    deliveries: tuple[DeliverySnapshot, ...]
    seconds: float


class CastChanged(Message, frozen=True):
    """A cast's summary; at most ten a second for each cast, and always on a change of state."""

    summary: CastSummary


class DeliveriesChanged(Message, frozen=True):
    """The deliveries of a watched cast that changed."""

    cast: str
    deliveries: tuple[DeliverySnapshot, ...]


class CastsRemoved(Message, frozen=True):
    """Casts that were removed from the list."""

    casts: tuple[str, ...]


def cast_of(event: object) -> str:
    """The cast of an event; empty if there is none."""
    match event:
        case CastChanged(summary) | CastResult(summary, _, _):
            return summary.cast
        case DeliveriesChanged(cast):
            return cast
    return ""


CastCommand = (
    Send
    | Preflight
    | Cancel
    | AddRecipients
    | SetLimit
    | ClearFinished
    | MeasurePaths
    | Watch
    | GetResult
    | KeepUntilEnded
)

CastReply = Accepted | PreflightReport | Measured | CastResult

CastEventMessage = CastChanged | DeliveriesChanged | CastResult | CastsRemoved


class Pause(Message, frozen=True):
    """Pause a cast until it is resumed; part files are kept. Reply: `Done`, once no data is sent any more.

    With recipients, only these are paused. A cast counts as paused when all of its unfinished deliveries are.
    """

    cast: str = ""  # empty: every cast that runs
    recipients: tuple[str, ...] = ()  # of it; empty: all


class Resume(Message, frozen=True):
    """Resume a cast with all or some of its paused recipients. Reply: `Done`."""

    cast: str = ""  # empty: every paused cast, with recipients every cast that has them
    recipients: tuple[str, ...] = ()  # of it; empty: all


class DropRecipients(Message, frozen=True):
    """Cancel the deliveries to these nodes; the others continue. Reply: `Done`."""

    cast: str
    recipients: tuple[str, ...]


class Retry(Message, frozen=True):
    """Repeat the failed deliveries of an ended cast, as a further attempt of it; recipients go on with what
    they have received. Reply: `Accepted`, with its id.

    It is a new cast where the cast ran on another cluster, or still waits for recipients.
    """

    cast: str
    recipients: tuple[str, ...] = ()  # of those that failed; empty: all of them


class SendAgain(Message, frozen=True):
    """Repeat an earlier cast for all of its recipients. Reply: `Accepted`."""

    cast: str


class MoveInQueue(Message, frozen=True):
    """Move a queued cast to another place in the queue. Reply: `Done`."""

    cast: str
    place: int  # 0: the next to start


class VerifiedState(enum.StrEnum):
    """Result of verifying the files of one node."""

    SAME = "same"
    DIFFERENT = "different"
    MISSING = "missing"
    FAILED = "failed"  # could not be read


class VerifiedNode(Record, frozen=True):
    """The files of one node."""

    node: str
    state: VerifiedState
    hash: str = ""  # "blake3:HEX" of a single file, or of all files' hashes
    files: int = 0
    bytes: int = 0
    differing: tuple[str, ...] = ()  # relative paths, the first hundred
    differing_count: int = 0
    failure: Failure | None = None


class Verify(Message, frozen=True):
    """Read files on every node and compare their hashes. Reply: `VerifyReport`.

    Either the files of a cast, compared with the source's, or one path, compared between nodes.
    """

    job: str  # chosen by the client, for `VerifyProgress` and `CancelVerify`
    cast: str = ""
    path: str = ""  # absolute; may contain {node}
    nodes: tuple[str, ...] = ("all",)


class CancelVerify(Message, frozen=True):
    """Cancel a verification; its `Verify` fails with CANCELLED. Reply: `Done`."""

    job: str


class VerifyReport(Message, frozen=True):
    """Results of a verification."""

    job: str
    nodes: tuple[VerifiedNode, ...]


class VerifyProgress(Message, frozen=True):
    """Progress of a verification; at most four a second."""

    job: str
    read: int  # bytes, over all nodes
    total: int  # 0 while it is not known


ControlCommand = (
    Pause | Resume | DropRecipients | Retry | SendAgain | MoveInQueue | Verify | CancelVerify | GetFiles
)

ControlReply = VerifyReport | FilesPage

ControlEvent = VerifyProgress
