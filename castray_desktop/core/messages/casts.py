"""Casts and their deliveries: what is asked for, and how they stand."""

from __future__ import annotations

import enum
from typing import Self

from castray_desktop.core.failure import Failure
from castray_desktop.core.messages.base import Message, Record
from castray_desktop.core.messages.cluster import LOCAL_TARGET, THIS_COMPUTER
from castray_desktop.core.multicast import MulticastEnd, MulticastState


class OnConflict(enum.StrEnum):
    """What to do where a file of the same name exists already."""

    SKIP = "skip"  # identical stays, different gets a free name
    RENAME = "rename"  # always a free name
    OVERWRITE = "overwrite"


class Links(enum.StrEnum):
    """How symbolic links travel."""

    AUTO = "auto"  # those that were chosen or lead out of the parcel as what they point to, others as links
    KEEP = "keep"
    FOLLOW = "follow"


class Ways(enum.StrEnum):
    """Which ways bytes may take from node to node."""

    AUTO = "auto"
    DIRECT = "direct"  # sockets alone, whoever dials
    RAY = "ray"  # calls between agents alone
    UDP = "udp"  # one stream of datagrams for all; what it does not bring comes by the other ways


class SendRequest(Record, frozen=True):
    """What a person asks for with one press of *Send*."""

    paths: tuple[str, ...]  # absolute, on the source
    recipients: tuple[str, ...]  # node names, addresses, Ray node id prefixes, or "all"
    source: str = THIS_COMPUTER
    destination: str = ""  # absolute, may hold {node}; empty: each node's inbox
    on_conflict: OnConflict = OnConflict.SKIP
    links: Links = Links.AUTO
    exclude: tuple[str, ...] = ()
    limit: int = 0  # bytes per second on every hop; 0: none
    transport: Ways = Ways.AUTO
    leave_out: bool = False  # send to the others when some recipients can't take it
    await_offline: bool = False  # recipients that are offline get theirs when they come back
    remove_extra: bool = False  # with OVERWRITE: what a sent folder no longer has goes at the recipients
    hook: str = ""  # a command for each recipient after its delivery, where that node allows it


class CastMode(enum.StrEnum):
    """Derived from the selection; shown, not asked for."""

    UNICAST = "unicast"
    MULTICAST = "multicast"
    BROADCAST = "broadcast"


class CastState(enum.StrEnum):
    """See `core.cast` for the transitions."""

    QUEUED = "queued"
    PREPARING = "preparing"
    SENDING = "sending"
    VERIFYING = "verifying"  # every byte is there; hashes, sync, rename
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
    """See `core.cast` for the transitions."""

    WAITING = "waiting"
    RECEIVING = "receiving"
    VERIFYING = "verifying"
    PAUSED = "paused"
    COMPLETED = "completed"
    SKIPPED = "skipped"  # identical files were there already
    SHARED = "shared"  # another recipient wrote to the same folder
    AWAITED = "awaited"  # its node was offline; it is served by a cast of its own when that comes back
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
    """The way that bytes took over a hop."""

    DIRECT = "direct"
    REVERSE = "reverse"
    RAY = "ray"
    UDP = "udp"
    LOCAL = "local"


class MulticastSnapshot(Record, frozen=True):
    """How sending to all recipients at once goes."""

    state: MulticastState
    end: MulticastEnd | None = None  # once stopped
    reason: str = ""  # of the source's system, where it has refused
    listeners: tuple[str, ...] = ()  # recipients that hear it and can follow
    bytes: int = 0  # of the stream, sent once for all of them
    rate: float = 0.0  # bytes per second


class DeliverySnapshot(Record, frozen=True):
    """One recipient's share of a cast, as it stands."""

    node: str
    state: DeliveryState = DeliveryState.WAITING
    address: str = ""
    upstream: str = ""  # the node it fetches from
    bytes: int = 0  # verified bytes of the parcel's files
    skipped_bytes: int = 0  # of these, in files that were there already
    rate: float = 0.0
    eta: float | None = None
    lagging: bool = False
    behind: int = 0  # bytes behind its upstream, while lagging
    seconds: float = 0.0  # from the cast's start; final once finished
    hash: str = ""  # "blake3:HEX" or "sha256:HEX" of a single file
    checking: float = 0.0  # share of its time that goes into digests and hashes, lately
    writing: float = 0.0  # and into writing; the rest it waits for bytes
    transport: Transport | None = None
    paths: tuple[str, ...] = ()  # each top-level entry as it landed
    removed: int = 0  # entries that the source no longer has, removed by `remove_extra`
    failure: Failure | None = None
    listening: bool = False  # takes the datagrams that go to all recipients
    datagram_bytes: int = 0  # verified bytes that came by them
    repaired_bytes: int = 0  # asked of the upstream since they did not come by datagrams, or came wrong
    hook_status: str = ""  # of the command after it: "done", "not allowed there", or what went wrong

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
    destination: str = ""  # as asked for; empty: inboxes
    others: int = 0  # top-level entries beside that one; `core.cast.cast_name` names them all
    folder: bool = False  # the only top-level entry is a folder
    files: int = 0
    bytes: int = 0  # of the parcel's files
    done_bytes: int = 0  # mean over the recipients
    rate: float = 0.0  # median of the recipients that receive
    upload_rate: float = 0.0  # what leaves the source
    checking: float = 0.0  # share of the source's time that goes into digests and hashes, lately
    reading: float = 0.0  # and into reading; the rest it waits until somebody wants more
    eta: float | None = None  # of the slowest
    verified: int = 0  # deliveries completed, skipped or shared
    failed: int = 0
    lagging: int = 0
    awaited: int = 0  # deliveries that wait for their nodes
    paused: int = 0  # deliveries that are paused, alone or with the cast
    chain: tuple[str, ...] = ()  # source first, in relay order
    source_copies: float = 0.0
    multicast: MulticastSnapshot | None = None  # where it was tried
    limit: int = 0  # bytes per second on every hop; 0: none
    followed_links: int = 0  # links of which was sent what they point to
    kept_links: int = 0  # links that were sent as links
    broken_links: int = 0  # of these, the ones that point to nothing at a recipient
    broken_names: tuple[str, ...] = ()  # the first of them
    place: int = 0  # among those that are queued; 0: the next to start
    schedule: str = ""  # the id of the schedule that started it
    follows: str = ""  # the id of the cast whose recipients it serves later or again
    cluster: CastCluster = CastCluster()
    failure: Failure | None = None


class PathSummary(Record, frozen=True):
    """One entry of the send list."""

    path: str
    name: str
    folder: bool = False
    files: int = 0
    bytes: int = 0
    failure: Failure | None = None


class PreflightProblem(Record, frozen=True):
    """Why a recipient can't take the parcel."""

    node: str
    failure: Failure


class UnsentFile(Record, frozen=True):
    """Something under the chosen paths that can't be sent, or not be read."""

    path: str
    failure: Failure


class Removal(Record, frozen=True):
    """What would be removed at one recipient, since the source no longer has it."""

    node: str
    count: int
    paths: tuple[str, ...]  # absolute, the first hundred


class Send(Message, frozen=True):
    """Start a cast. Reply: `Accepted`."""

    request: SendRequest


class Preflight(Message, frozen=True):
    """Ask every recipient whether it could take this, without sending. Reply: `PreflightReport`."""

    request: SendRequest


class Cancel(Message, frozen=True):
    """End a cast; part files are removed. Reply: `Done`."""

    cast: str


class AddRecipients(Message, frozen=True):
    """Have more nodes receive a cast that runs. Reply: `PreflightReport`, once they are part of it.

    Those that can't take it are in its problems, and their deliveries have failed.
    """

    cast: str
    recipients: tuple[str, ...]  # as in `SendRequest`


class SetLimit(Message, frozen=True):
    """Limit what every node passes on, over all casts or for one of them. Reply: `Done`, once it holds.

    The limit over all casts is kept by the engine over restarts.
    """

    limit: int  # bytes per second; 0: none
    cast: str = ""  # empty: over all casts


class ClearFinished(Message, frozen=True):
    """Forget the casts that have ended. Reply: `Done`; `CastsRemoved` follows."""


class MeasurePaths(Message, frozen=True):
    """Count what lies under these paths of a node. Reply: `Measured`."""

    paths: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    node: str = THIS_COMPUTER


class Watch(Message, frozen=True):
    """Choose the casts whose deliveries this client wants; none means all. Reply: `Done`."""

    casts: tuple[str, ...] | None = None


class GetResult(Message, frozen=True):
    """Reply: `CastResult`, once the cast has ended."""

    cast: str


class Accepted(Message, frozen=True):
    """The cast exists; events tell how it goes."""

    cast: str


class PreflightReport(Message, frozen=True):
    """What a cast would be, and which recipients could not take it."""

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
    cluster: CastCluster = CastCluster()


class Measured(Message, frozen=True):
    """Sizes of the paths, in the order of the request."""

    entries: tuple[PathSummary, ...]


class CastResult(Message, frozen=True):
    """How a cast ended. Sent once to every client; repeated on request."""

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
    """Casts that the engine has forgotten."""

    casts: tuple[str, ...]


CastCommand = (
    Send | Preflight | Cancel | AddRecipients | SetLimit | ClearFinished | MeasurePaths | Watch | GetResult
)
CastReply = Accepted | PreflightReport | Measured | CastResult
CastEvent = CastChanged | DeliveriesChanged | CastResult | CastsRemoved
