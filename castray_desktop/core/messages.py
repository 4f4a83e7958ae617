"""The engine protocol: commands that clients send, replies and events that the engine returns.

Frames are a 4-byte big-endian length and a MessagePack body. A client opens with `Hello` and gets
`Welcome`, the whole picture; from then on it sends a `Request` with a number of its own, which the
engine answers with one `Answer` of that number, and receives an event whenever something
changed. Sizes are bytes, rates bytes per second, durations seconds, times UTC as POSIX seconds.
"""

from __future__ import annotations

import enum

import msgspec

from castray_desktop.core.failure import Failure

PROTOCOL_VERSION = 1
MAX_FRAME_BYTES = 64 * 1024 * 1024

THIS_COMPUTER = "this computer"
"""A name that a request may use for the node that runs beside the window."""


class Message(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Base of everything on the engine's socket; the class name is the tag."""


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of the parts of messages."""


# --- what exists ---------------------------------------------------------------------------


class ClusterPhase(enum.StrEnum):
    """Where the connection to the cluster stands."""

    NONE = "none"  # no cluster chosen
    STARTING = "starting"  # starting Ray, or connecting to it
    PLACING = "placing"  # Ray is there, the nodes' agents are being placed
    READY = "ready"
    RECONNECTING = "reconnecting"  # the driver was lost; another one is being started
    STOPPING = "stopping"
    FAILED = "failed"  # gave up; `failure` says why


class ClusterStatus(Record, frozen=True):
    """The cluster as the header shows it."""

    phase: ClusterPhase = ClusterPhase.NONE
    target: str = ""  # what was asked for: "local", "auto", "HOST:PORT"
    address: str = ""  # of the head, once known
    attempt: int = 1
    attempts: int = 1
    nodes_ready: int = 0
    nodes_total: int = 0
    cpus: float = 0.0
    gpus: float = 0.0
    memory: int = 0
    ray_version: str = ""
    python_version: str = ""
    failure: Failure | None = None


class NodeState(enum.StrEnum):
    """Whether a node can send and receive now."""

    STARTING = "starting"
    ONLINE = "online"
    OFFLINE = "offline"


class NodeInfo(Record, frozen=True):
    """A node: a place that can send and receive."""

    name: str
    state: NodeState
    address: str = ""
    node_id: str = ""  # Ray's, hexadecimal
    inbox: str = ""
    zone: str = ""
    this_computer: bool = False
    removable: bool = False
    cpus: float = 0.0
    gpus: float = 0.0
    memory: int = 0  # total
    memory_free: int = 0
    disk_free: int = 0  # where the inbox lies
    disk_total: int = 0
    load: float = 0.0  # processor load of its machine, 0..1
    labels: dict[str, str] = {}
    last_seen: float = 0.0
    failure: Failure | None = None


class OnConflict(enum.StrEnum):
    """What to do where a file of the same name exists already."""

    SKIP = "skip"  # identical stays, different gets a free name
    RENAME = "rename"  # always a free name
    OVERWRITE = "overwrite"


class Links(enum.StrEnum):
    """How symbolic links travel."""

    KEEP = "keep"
    FOLLOW = "follow"


class Ways(enum.StrEnum):
    """Which ways bytes may take from node to node."""

    AUTO = "auto"
    DIRECT = "direct"  # sockets alone, whoever dials
    RAY = "ray"  # calls between agents alone


class SendRequest(Record, frozen=True):
    """What a person asks for with one press of *Send*."""

    paths: tuple[str, ...]  # absolute, on the source
    recipients: tuple[str, ...]  # node names, addresses, Ray node id prefixes, or "all"
    source: str = THIS_COMPUTER
    destination: str = ""  # absolute, may hold {node}; empty: each node's inbox
    on_conflict: OnConflict = OnConflict.SKIP
    links: Links = Links.KEEP
    exclude: tuple[str, ...] = ()
    limit: int = 0  # bytes per second on every hop; 0: none
    transport: Ways = Ways.AUTO
    leave_out: bool = False  # send to the others when some recipients can't take it


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
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self in FINISHED_DELIVERY_STATES

    @property
    def delivered(self) -> bool:
        return self in DELIVERED_STATES


DELIVERED_STATES = frozenset({DeliveryState.COMPLETED, DeliveryState.SKIPPED, DeliveryState.SHARED})
FINISHED_DELIVERY_STATES = DELIVERED_STATES | {DeliveryState.FAILED, DeliveryState.CANCELLED}


class Transport(enum.StrEnum):
    """The way that bytes took over a hop."""

    DIRECT = "direct"
    REVERSE = "reverse"
    RAY = "ray"
    UDP = "udp"
    LOCAL = "local"


class DeliverySnapshot(Record, frozen=True):
    """One recipient's share of a cast, as it stands."""

    node: str
    state: DeliveryState = DeliveryState.WAITING
    address: str = ""
    upstream: str = ""  # the node it fetches from
    bytes: int = 0  # verified bytes of the parcel's files
    rate: float = 0.0
    eta: float | None = None
    lagging: bool = False
    behind: int = 0  # bytes behind its upstream, while lagging
    seconds: float = 0.0  # from the cast's start; final once finished
    hash: str = ""  # "blake3:HEX" or "sha256:HEX" of a single file
    transport: Transport | None = None
    paths: tuple[str, ...] = ()  # each top-level entry as it landed
    failure: Failure | None = None


class CastSummary(Record, frozen=True):
    """One row of the transfer table."""

    cast: str  # id, 12 hexadecimal digits
    name: str  # "model.bin", "configs/", or "model.bin and 2 more"
    state: CastState
    source: str
    recipients: tuple[str, ...]
    mode: CastMode
    started: float
    finished: float = 0.0
    destination: str = ""  # as asked for; empty: inboxes
    folder: bool = False  # the only top-level entry is a folder
    files: int = 0
    bytes: int = 0  # of the parcel's files
    done_bytes: int = 0  # mean over the recipients
    rate: float = 0.0  # median of the recipients that receive
    upload_rate: float = 0.0  # what leaves the source
    eta: float | None = None  # of the slowest
    verified: int = 0  # deliveries completed, skipped or shared
    failed: int = 0
    lagging: int = 0
    chain: tuple[str, ...] = ()  # source first, in relay order
    source_copies: float = 0.0
    limit: int = 0  # bytes per second on every hop; 0: none
    broken_links: int = 0  # kept links that point to nothing at a recipient
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


class NodeRate(Record, frozen=True):
    """A node's traffic over the last moment."""

    node: str
    received: float = 0.0
    sent: float = 0.0


# --- commands and their replies ----------------------------------------------------------------


class Hello(Message, frozen=True):
    """The first frame of a client."""

    protocol: int
    client: str  # "window", "cli", ...


class UseCluster(Message, frozen=True):
    """Start or attach: "local", "auto", "HOST:PORT". Reply: `Done`, at once; events tell the rest."""

    target: str


class LeaveCluster(Message, frozen=True):
    """Stop a local cluster, or detach from another one. Reply: `Done`."""


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


class AddNode(Message, frozen=True):
    """Add a node to the local cluster. Reply: `Done` once it can be used."""

    name: str
    on: str = ""
    inbox: str = ""


class RemoveNode(Message, frozen=True):
    """Remove a node that was added. Reply: `Done`."""

    name: str


class MeasurePaths(Message, frozen=True):
    """Count what lies under these paths of this computer. Reply: `Measured`."""

    paths: tuple[str, ...]
    exclude: tuple[str, ...] = ()


class Watch(Message, frozen=True):
    """Choose the casts whose deliveries this client wants; none means all. Reply: `Done`."""

    casts: tuple[str, ...] | None = None


class GetStatus(Message, frozen=True):
    """Reply: `EngineStatus`."""


class GetResult(Message, frozen=True):
    """Reply: `CastResult`, once the cast has ended."""

    cast: str


class KeepEngine(Message, frozen=True):
    """Keep the engine after its last client has gone, or not any more. Reply: `Done`."""

    keep: bool


class StopEngine(Message, frozen=True):
    """End the engine and what it started. Reply: `Done`; then the socket closes."""

    only_if_unused: bool = False  # do nothing while other clients are there, or it is kept


Command = (
    UseCluster
    | LeaveCluster
    | Send
    | Preflight
    | Cancel
    | AddRecipients
    | SetLimit
    | ClearFinished
    | AddNode
    | RemoveNode
    | MeasurePaths
    | Watch
    | GetStatus
    | GetResult
    | KeepEngine
    | StopEngine
)


class Done(Message, frozen=True):
    """It was done."""


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
    broken_links: int = 0  # kept links that would point to nothing at a recipient


class Measured(Message, frozen=True):
    """Sizes of the paths, in the order of the request."""

    entries: tuple[PathSummary, ...]


class EngineStatus(Message, frozen=True):
    """The engine in numbers."""

    pid: int
    cluster: ClusterStatus
    nodes: int
    casts: int  # that have not ended
    clients: int
    kept: bool
    limit: int = 0  # bytes per second that every node may pass on over all casts; 0: no limit


class CastResult(Message, frozen=True):
    """How a cast ended. Sent once to every client; repeated on request."""

    summary: CastSummary
    deliveries: tuple[DeliverySnapshot, ...]
    seconds: float


class Failed(Message, frozen=True):
    """The command could not be carried out."""

    failure: Failure


Reply = Done | Accepted | PreflightReport | Measured | EngineStatus | CastResult | Failed


class Request(Message, frozen=True):
    """A command with the client's number for it."""

    number: int
    command: Command


class Answer(Message, frozen=True):
    """The reply to the request of that number."""

    number: int
    reply: Reply


# --- events ------------------------------------------------------------------------------------


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


class ClusterChanged(Message, frozen=True):
    """Sent whenever something in the cluster's state changed."""

    cluster: ClusterStatus


class NodesChanged(Message, frozen=True):
    """Nodes that are new or have changed, and names that are gone. At most once a second for facts."""

    changed: tuple[NodeInfo, ...]
    removed: tuple[str, ...] = ()


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


class Throughput(Message, frozen=True):
    """Traffic of the nodes, four times a second while bytes move, and once when they stop."""

    at: float
    total: float  # sum of what recipients receive
    upload: float  # what leaves this computer
    nodes: tuple[NodeRate, ...]


class LogLine(Message, frozen=True):
    """A line of the engine's log, of level warning or above."""

    at: float
    level: str
    origin: str
    text: str


Event = (
    Welcome
    | ClusterChanged
    | NodesChanged
    | CastChanged
    | DeliveriesChanged
    | CastResult
    | CastsRemoved
    | Throughput
    | LogLine
)

ToEngine = Hello | Request
FromEngine = Answer | Failed | Event

_encoder = msgspec.msgpack.Encoder()
_to_engine = msgspec.msgpack.Decoder(ToEngine)
_from_engine = msgspec.msgpack.Decoder(FromEngine)


def encode(message: ToEngine | FromEngine) -> bytes:
    """The frame of a message, its length included.

    Raises ValueError when the body would be longer than a frame may be.
    """
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {len(body)} bytes is too long")
    return len(body).to_bytes(4, "big") + body


def decode_to_engine(body: bytes) -> ToEngine:
    """A client's message. Raises msgspec.DecodeError or msgspec.ValidationError for anything else."""
    message: ToEngine = _to_engine.decode(body)
    return message


def decode_from_engine(body: bytes) -> FromEngine:
    """The engine's message. Raises msgspec.DecodeError or msgspec.ValidationError for anything else."""
    message: FromEngine = _from_engine.decode(body)
    return message
