"""What engine, driver and agents say to each other: frozen dataclasses, and their JSON form.

Orders go down, reports come up. Standard library only and valid from Python 3.9, since driver and
agents run on the cluster's interpreter. Sizes are bytes, times POSIX seconds, secrets and digests
hexadecimal text.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import typing
from dataclasses import dataclass, field
from typing import Any, Optional

from castray_desktop.core.failure import Failure
from castray_desktop.core.multicast import MulticastEnd, MulticastState

LOCAL_TARGET = "local"
"""The cluster that is started on this machine, where another one has an address."""

SHARED_TARGET = "shared"
"""The same, but one that other machines can join."""

OWN_TARGETS = (LOCAL_TARGET, SHARED_TARGET)
"""The clusters that live and end with their driver."""

SOCKET_VARIABLE = "CASTRAY_DRIVER_SOCKET"
"""Holds the number of the driver's end of the socket that engine and driver share."""

LINE_LIMIT = 64 * 1024 * 1024
"""A message is one line, and none is longer than this many bytes."""

# --- the parcel and the way it takes -------------------------------------------------------------


@dataclass(frozen=True)
class TopEntry:
    """One of the things that the user chose, as it will be called at the recipients."""

    name: str
    folder: bool = False
    bytes: int = 0
    files: int = 0


@dataclass(frozen=True)
class ParcelTotals:
    """All that control calls say about a parcel; its manifest travels in the stream itself.

    The stream is the manifest, then the files' contents, then the trailer with one entry for each
    file (its state and its hash).
    """

    manifest_bytes: int
    manifest_digest: str  # SHA-256 of the manifest
    content_bytes: int
    trailer_bytes: int
    files: int  # regular files
    entries: int  # everything in the manifest
    top: tuple[TopEntry, ...] = ()
    followed_links: int = 0  # what they point to is sent instead
    kept_links: int = 0  # that are sent as links
    broken_links: int = 0  # of these, the ones that would point to nothing of the parcel at a recipient
    broken_names: tuple[str, ...] = ()  # the first of them
    left_out: int = 0  # what lies there and can't be sent, or could not be looked at

    @property
    def stream_bytes(self) -> int:
        return self.manifest_bytes + self.content_bytes + self.trailer_bytes


@dataclass(frozen=True)
class Algorithms:
    """How pieces and files are hashed in one cast, and how long a piece is."""

    piece: str = "blake2b-128"  # or "xxh3-128"
    file: str = "sha256"  # or "blake3"
    piece_bytes: int = 1 << 20


@dataclass(frozen=True)
class Upstream:
    """Where a recipient fetches from."""

    node: str
    address: str
    port: int
    host: str = ""  # identity of the machine; equal hosts may use the local way
    local_path: str = ""  # of the Unix socket for agents of the same machine


@dataclass(frozen=True)
class FileProblem:
    """A file of the parcel that was not sent, and why."""

    path: str
    failure: Failure


@dataclass(frozen=True)
class MulticastGroup:
    """Where one stream of datagrams is for every recipient of a cast."""

    address: str  # IPv4 or IPv6
    port: int
    source: str  # the address that the datagrams come from
    hops: int = 1  # how many routers away they may be heard, plus one
    report_seconds: float = 0.025  # listeners report this often


# --- orders to an agent --------------------------------------------------------------------------


@dataclass(frozen=True)
class PrepareSource:
    """Scan these paths and make a manifest. `SourceReport` tells when it is there."""

    cast: str
    paths: tuple[str, ...]
    links: str = "auto"
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class ServeSource:
    """Serve the prepared parcel to whoever proves knowledge of the secret."""

    cast: str
    secret: str = field(repr=False)
    epoch: int
    algorithms: Algorithms
    limit: int = 0  # bytes per second that this node may pass on for the cast; 0: no limit


@dataclass(frozen=True)
class Preflight:
    """Could this node take that parcel? Answered with `PreflightReply`."""

    cast: str
    destination: str  # empty: the inbox
    top: tuple[TopEntry, ...]
    needed_bytes: int
    needed_files: int
    count_present: bool = False  # say in the answer what of it is there by name already


@dataclass(frozen=True)
class PreflightReply:
    """What a recipient says before the first byte."""

    destination: str = ""  # absolute, links resolved as far as it exists
    storage: str = ""  # equal for two nodes of one machine that would write to the same folder
    mount: str = ""  # equal for two nodes that may write to one folder of one storage: a `Probe` tells
    free_bytes: int = 0  # without what the node has promised to other casts
    failure: Optional[Failure] = None
    disk: str = ""  # equal for two nodes that write to one file system
    promised_bytes: int = 0
    present_bytes: int = 0  # of what is sent, by name; if it was asked for, or there is little room
    sent_here: bool = False  # it is the source's own folder, as far as the engine has found out


class ProbeVerb(str, enum.Enum):
    """What to do with a probe file."""

    PLACE = "place"  # make it in the nearest folder of the destination that exists
    LOOK = "look"  # is it there, with that content
    REMOVE = "remove"


@dataclass(frozen=True)
class Probe:
    """Find out whether two nodes write to the same folder. Answered with `ProbeReply`."""

    cast: str
    verb: ProbeVerb
    name: str  # of the file, unique
    content: str = ""
    destination: str = ""  # as in `Preflight`
    below: str = ""  # for LOOK: what `ProbeReply.below` of the other node said


@dataclass(frozen=True)
class ProbeReply:
    """Whether it was placed, found or removed."""

    yes: bool
    below: str = ""  # for PLACE: the destination as seen from the folder that the file is in


@dataclass(frozen=True)
class GetManifest:
    """What has been scanned for the cast. Answered with `ManifestReply`."""

    cast: str


@dataclass(frozen=True)
class ManifestReply:
    """The manifest, compressed and as text; nothing where the cast is not known."""

    packed: str = ""


@dataclass(frozen=True)
class FindExtra:
    """What would `remove_extra` remove here? Answered with `ExtraReply`."""

    cast: str
    packed: str  # as in `ManifestReply`
    destination: str = ""
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExtraReply:
    """What a delivery would remove."""

    count: int = 0
    paths: tuple[str, ...] = ()  # absolute, the first hundred
    failure: Optional[Failure] = None


@dataclass(frozen=True)
class StartDelivery:
    """Fetch this parcel from `upstream`, verify it and put it in place."""

    cast: str
    secret: str = field(repr=False)
    epoch: int
    upstream: Optional[Upstream]  # None as in `SetUpstream`
    totals: ParcelTotals
    algorithms: Algorithms
    destination: str = ""  # empty: the inbox
    on_conflict: str = "skip"
    limit: int = 0  # as in `ServeSource`
    transport: str = "auto"  # which ways may be taken: "auto", "direct" (not through Ray) or "ray"
    hook: str = ""  # a command to run after it, where this node allows that
    remove_extra: bool = False  # with "overwrite": what folders have that the parcel's have not goes
    exclude: tuple[str, ...] = ()  # what was left out of the parcel, and stays
    group: Optional[MulticastGroup] = None  # listen there as well, as in `Listen`


@dataclass(frozen=True)
class SetUpstream:
    """From now on fetch what you lack from there. Orders of an older epoch are ignored.

    Without an upstream: there is nobody to fetch from for now. Serve what you have, and wait for another
    order, however long.
    """

    cast: str
    epoch: int
    upstream: Optional[Upstream]


@dataclass(frozen=True)
class Listen:
    """Take what comes to the group; the upstream is asked for the digests, and for what does not come.

    Without a group: leave it. What has come counts.
    """

    cast: str
    group: Optional[MulticastGroup]


@dataclass(frozen=True)
class Multicast:
    """Send the stream to the group, once its listeners are there. Without a group: stop that.

    `SourceReport.multicast` tells how it goes.
    """

    cast: str
    group: Optional[MulticastGroup]
    listeners: tuple[str, ...] = ()  # nodes that were told to listen
    rate: int = 0  # bytes per second to begin with; 0: not known


@dataclass(frozen=True)
class Reach:
    """Dial this recipient, which can't dial here, and serve it. Its epoch must still be this one then."""

    cast: str
    epoch: int
    node: str
    address: str
    port: int


@dataclass(frozen=True)
class Seal:
    """The digest of the trailer, known once the source has read every file to its end."""

    cast: str
    trailer_digest: str  # SHA-256


@dataclass(frozen=True)
class ReadToEnd:
    """Read every file to its end now: no recipient asks this source for more, and all await its trailer."""

    cast: str


@dataclass(frozen=True)
class SetCastLimit:
    """From now on this node passes on so much for the cast, in bytes per second; 0: no limit."""

    cast: str
    limit: int


@dataclass(frozen=True)
class SetNodeLimit:
    """From now on this node passes on so much for all casts together, in bytes per second; 0: no limit."""

    limit: int


@dataclass(frozen=True)
class PauseCast:
    """Stop passing on bytes for the cast, or go on. What the node has, and its connections, stay.

    Orders are counted for each cast; one that is not newer than another is ignored.
    """

    cast: str
    paused: bool
    number: int


@dataclass(frozen=True)
class PauseDelivery:
    """Fetch nothing until `SetUpstream` says from where. What the node has stays, its connection for 30 s.

    Its epoch counts as there.
    """

    cast: str
    epoch: int


@dataclass(frozen=True)
class VerifyFiles:
    """Read files back and hash them. `VerificationReport` tells how it goes.

    Either what a cast has delivered here, against the hashes that it came with, or what lies at a path.
    """

    job: str
    cast: str = ""
    path: str = ""  # absolute, may hold {node}
    algorithm: str = "sha256"  # for a path; a cast has its own


@dataclass(frozen=True)
class DescribeFiles:
    """Some of the files of a verification that has ended, in the order of their names.

    Answered with `FileHashes`.
    """

    job: str
    start: int
    count: int


@dataclass(frozen=True)
class FileHash:
    """One file, or link, of a verification."""

    path: str  # relative to what was verified
    hash: str  # empty for what could not be read


@dataclass(frozen=True)
class FileHashes:
    """Fewer than were asked for: there are no more."""

    files: tuple[FileHash, ...]


@dataclass(frozen=True)
class EndVerification:
    """Stop it, and forget what it found."""

    job: str


@dataclass(frozen=True)
class CancelCast:
    """End it here: stop fetching and serving, remove the part files."""

    cast: str


@dataclass(frozen=True)
class AnswerTransfer:
    """What became of a `TransferRequest`: the id of the cast, or why there is none."""

    number: int
    cast: str = ""
    refusal: str = ""


@dataclass(frozen=True)
class ForgetCast:
    """The cast has ended everywhere: stop serving it and free what it holds."""

    cast: str


@dataclass(frozen=True)
class ListFolder:
    """What lies in a folder? Answered with `FolderReply`."""

    path: str  # empty: the home of whoever the agent runs as
    limit: int = 1000  # entries


@dataclass(frozen=True)
class FolderItem:
    """One entry of a folder."""

    name: str
    folder: bool = False  # also a link to one
    bytes: int = 0
    modified: float = 0.0
    link: bool = False


@dataclass(frozen=True)
class FolderReply:
    """Folders first, by name."""

    path: str  # absolute
    entries: tuple[FolderItem, ...] = ()
    left_out: int = 0  # too many, or with names that are not UTF-8
    failure: Optional[Failure] = None


@dataclass(frozen=True)
class MeasurePaths:
    """How much lies under these? Answered with `MeasureReply`."""

    paths: tuple[str, ...]
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class PathSize:
    """How much lies under a path, or why it can't be sent."""

    path: str
    name: str
    folder: bool = False
    files: int = 0
    bytes: int = 0
    failure: Optional[Failure] = None


@dataclass(frozen=True)
class MeasureReply:
    """The paths in the order of the question."""

    entries: tuple[PathSize, ...]


@dataclass(frozen=True)
class Peer:
    """Another node's data port."""

    node: str
    address: str
    port: int


@dataclass(frozen=True)
class Dial:
    """Can this node connect to those? Answered with `DialReply`."""

    peers: tuple[Peer, ...]
    seconds: float = 3.0  # for each of them; all at once


@dataclass(frozen=True)
class Dialled:
    """How a connection came about, or why it did not."""

    node: str
    seconds: float = 0.0
    reason: str = ""  # empty: it did


@dataclass(frozen=True)
class DialReply:
    """The peers in the order of the question."""

    results: tuple[Dialled, ...]


@dataclass(frozen=True)
class Examine:
    """What does this node have of what casts need? Answered with `ExamineReply`."""


@dataclass(frozen=True)
class ExamineReply:
    """What is not known is 0 or empty."""

    time: float = 0.0  # its clock, POSIX seconds
    ray_version: str = ""
    python_version: str = ""
    system: str = ""
    user: str = ""
    hostname: str = ""
    shared_free: int = 0  # of /dev/shm
    shared_total: int = 0
    store: str = ""  # the folder of its Ray's object store
    open_files: int = 0  # that one process may have
    inbox: str = ""
    inbox_writable: bool = True
    inbox_free: int = 0
    data_address: str = ""
    data_ports: str = ""


# --- reports of an agent -------------------------------------------------------------------------


class SourceState(str, enum.Enum):
    """Where the source of a cast stands."""

    SCANNING = "scanning"
    PREPARED = "prepared"
    SERVING = "serving"
    SEALED = "sealed"  # every file was read to its end; the trailer's digest is known
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class MulticastReport:
    """The source's side of sending to a group."""

    state: MulticastState
    end: Optional[MulticastEnd] = None  # once stopped
    reason: str = ""  # of the system, where it has refused
    listeners: tuple[str, ...] = ()  # who hears it and can follow
    sent_bytes: int = 0  # of the stream; they count in `SourceReport.sent_bytes` too
    rate: int = 0  # bytes per second that it paces itself to


@dataclass(frozen=True)
class SourceReport:
    """The source's side of a cast."""

    cast: str
    state: SourceState
    scanned_files: int = 0
    scanned_bytes: int = 0
    totals: Optional[ParcelTotals] = None
    sent_bytes: int = 0  # payload that left this agent for this cast, repairs included
    sent_lists: int = 0  # of that, manifest and trailer
    trailer_digest: str = ""  # once it is sealed
    problems: tuple[FileProblem, ...] = ()  # the first hundred
    problem_count: int = 0
    failure: Optional[Failure] = None
    checking: float = 0.0  # seconds that its reader has spent on digests and hashes
    reading: float = 0.0  # and on reading; the rest it waited until somebody wanted more
    multicast: Optional[MulticastReport] = None  # once `Multicast` was ordered


class RecipientState(str, enum.Enum):
    """Where a recipient stands. The agent's side of `core.messages.DeliveryState`."""

    CONNECTING = "connecting"
    RECEIVING = "receiving"
    VERIFYING = "verifying"  # hashes, sync, rename
    COMPLETED = "completed"
    SKIPPED = "skipped"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL_RECIPIENT_STATES = frozenset(
    {
        RecipientState.COMPLETED,
        RecipientState.SKIPPED,
        RecipientState.FAILED,
        RecipientState.CANCELLED,
    }
)


@dataclass(frozen=True)
class DeliveryReport:
    """A recipient's side of a cast."""

    cast: str
    state: RecipientState
    epoch: int = 0
    upstream: str = ""  # the node it is connected to
    stream_bytes: int = 0  # verified, of the whole stream
    content_bytes: int = 0  # verified, of the files' contents
    received_bytes: int = 0  # payload taken in, repeated pieces included
    sent_bytes: int = 0  # payload passed on to others
    transport: str = ""
    paths: tuple[str, ...] = ()
    removed: int = 0
    hash: str = ""
    problems: tuple[FileProblem, ...] = ()
    problem_count: int = 0
    failure: Optional[Failure] = None
    asked: int = 0  # how often it has asked to be dialled, since it can't get through
    asked_upstream: str = ""  # by which node
    checking: float = 0.0  # seconds that its fetch has spent on digests and hashes
    writing: float = 0.0  # and on writing; the rest it waited for bytes
    hook: str = ""  # what became of that command
    listening: bool = False  # to a group, and able to follow
    datagram_bytes: int = 0  # verified bytes that came by datagrams
    repaired_bytes: int = 0  # asked of the upstream since they did not come by datagrams, or came wrong
    skipped_bytes: int = 0  # of the contents, in files that were there already; once it has landed


class VerificationState(str, enum.Enum):
    """Where a verification stands on a node."""

    READING = "reading"
    DONE = "done"
    MISSING = "missing"  # there is nothing of it
    FAILED = "failed"


@dataclass(frozen=True)
class VerificationReport:
    """What a verification has found so far."""

    job: str
    state: VerificationState
    read: int = 0
    total: int = 0  # bytes; 0 while it is not known
    files: int = 0
    digest: str = ""  # with its algorithm: of a single file, or of all names and hashes
    differing: tuple[str, ...] = ()  # of a cast: the first hundred files that are others now, or gone
    differing_count: int = 0
    failure: Optional[Failure] = None


@dataclass(frozen=True)
class NodeFacts:
    """What a node is and has, measured on it."""

    cpus: float = 0.0
    memory: int = 0
    memory_free: int = 0
    disk_free: int = 0
    disk_total: int = 0
    load: float = 0.0  # 0..1
    resident: int = 0  # memory of the agent's process
    link: int = 0  # bytes per second of the network device with its address
    inbox_silent: float = 0.0  # seconds for which the inbox's disk has not answered


@dataclass(frozen=True)
class AgentHello:
    """What an agent says when it has been placed."""

    node: str
    pid: int
    address: str
    port: int
    host: str
    local_path: str
    inbox: str
    node_id: str = ""
    python_version: str = ""
    piece_digests: tuple[str, ...] = ()  # what it can compute, best first
    file_hashes: tuple[str, ...] = ()
    encrypted: bool = False  # its data port speaks TLS alone
    store: str = ""  # the folder of its Ray's object store, where that is known


@dataclass(frozen=True)
class TransferRequest:
    """A cast from this node that code inside Ray asks for. Answered with `AnswerTransfer`."""

    number: int
    paths: tuple[str, ...]
    recipients: tuple[str, ...]
    transport: str = "auto"  # or "udp"


@dataclass(frozen=True)
class AgentReport:
    """What changed at an agent since its last report."""

    sources: tuple[SourceReport, ...] = ()
    deliveries: tuple[DeliveryReport, ...] = ()
    facts: Optional[NodeFacts] = None
    requests: tuple[TransferRequest, ...] = ()
    verifications: tuple[VerificationReport, ...] = ()


# --- engine and driver ---------------------------------------------------------------------------


@dataclass(frozen=True)
class StartCluster:
    """Start or attach to a cluster. Answered by `ClusterUp` or `ClusterFailed`."""

    target: str  # "local", "shared", "auto" or HOST:PORT
    temp_dir: str = ""  # for what it writes
    join: bool = False  # make this machine a node of the cluster first


@dataclass(frozen=True)
class PlaceAgent:
    """Place an agent. Answered by `AgentUp` or `AgentLost`."""

    name: str
    inbox: str
    address: str  # that its data port binds
    node_id: str = ""  # Ray's; empty: the driver's own node
    runtime_dir: str = ""  # for its Unix socket
    ports: str = ""  # LOW-HIGH, or empty
    engine: str = ""  # which engine; its staging on the node is kept apart from that of others
    keep: tuple[str, ...] = ()  # casts that may go on: their staging stays, other staging of this engine goes


@dataclass(frozen=True)
class RemoveAgent:
    """End an agent."""

    name: str


@dataclass(frozen=True)
class Call:
    """An order for an agent, with the engine's number for it. Answered by `Returned`."""

    number: int
    agent: str
    order: Order


Order = typing.Union[
    PrepareSource,
    ServeSource,
    Preflight,
    Probe,
    GetManifest,
    FindExtra,
    StartDelivery,
    SetUpstream,
    Listen,
    Multicast,
    Reach,
    ReadToEnd,
    Seal,
    SetCastLimit,
    SetNodeLimit,
    PauseCast,
    PauseDelivery,
    VerifyFiles,
    DescribeFiles,
    EndVerification,
    CancelCast,
    ForgetCast,
    AnswerTransfer,
    ListFolder,
    MeasurePaths,
    Dial,
    Examine,
]
ToDriver = typing.Union[StartCluster, PlaceAgent, RemoveAgent, Call]


@dataclass(frozen=True)
class RayNode:
    """A live node of the Ray cluster."""

    node_id: str
    address: str
    hostname: str
    head: bool = False
    mine: bool = False  # the driver runs on it
    cpus: float = 0.0
    gpus: float = 0.0
    memory: int = 0
    labels: dict[str, str] = field(default_factory=dict)
    port: int = 0  # of its raylet


@dataclass(frozen=True)
class HeadAnswered:
    """The cluster's head does what it is asked; the rest is a matter of its speed."""


@dataclass(frozen=True)
class ClusterUp:
    """The driver is connected."""

    address: str
    ray_version: str
    python_version: str
    nodes: tuple[RayNode, ...]
    autoscaled: bool = False  # it takes nodes away on which nothing runs


@dataclass(frozen=True)
class NodesSeen:
    """The live nodes are others now."""

    nodes: tuple[RayNode, ...]
    autoscaled: bool = False  # as in `ClusterUp`


@dataclass(frozen=True)
class ClusterFailed:
    """The driver could not connect, or has lost the cluster. It ends after this."""

    failure: Failure


@dataclass(frozen=True)
class AgentUp:
    """An agent has been placed and answers."""

    hello: AgentHello


@dataclass(frozen=True)
class AgentLost:
    """An agent could not be placed, or has died."""

    name: str
    reason: str


@dataclass(frozen=True)
class Reported:
    """An agent's report."""

    name: str
    report: AgentReport


Answers = typing.Union[
    PreflightReply,
    ProbeReply,
    ManifestReply,
    ExtraReply,
    FolderReply,
    MeasureReply,
    DialReply,
    ExamineReply,
    FileHashes,
]


@dataclass(frozen=True)
class Returned:
    """The answer to a call: what the order is answered with, or nothing; `error` when the call failed."""

    number: int
    reply: Optional[Answers] = None
    error: str = ""
    raised: bool = False  # the agent is there, but could not carry the order out


FromDriver = typing.Union[
    HeadAnswered, ClusterUp, NodesSeen, ClusterFailed, AgentUp, AgentLost, Reported, Returned
]

# --- JSON ----------------------------------------------------------------------------------------

_hints: dict[type, dict[str, Any]] = {}


def to_json(message: Any) -> bytes:
    """A message as JSON, with the name of its class."""
    return json.dumps([type(message).__name__, _plain(message)], separators=(",", ":")).encode()


def text_json(text: str) -> bytes:
    """A text as JSON, for lines that are put together from parts that are JSON already."""
    return json.dumps(text).encode()


def from_json(text: bytes, kind: Any) -> Any:
    """The message of one of the classes in the union `kind`. Raises ValueError for anything else."""
    try:
        name, body = json.loads(text)
        for candidate in typing.get_args(kind):
            if candidate.__name__ == name:
                return _build(body, candidate)
    except (TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"not a message of this protocol: {error}") from error
    raise ValueError(f"unknown message {name!r}")


def _plain(value: Any) -> Any:
    """Dataclasses as objects; orders and answers inside a message carry their class's name."""
    if isinstance(value, Call):
        return {"number": value.number, "agent": value.agent, "order": json.loads(to_json(value.order))}
    if isinstance(value, Returned):
        reply = None if value.reply is None else json.loads(to_json(value.reply))
        return {"number": value.number, "reply": reply, "error": value.error, "raised": value.raised}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, enum.Enum):
        return value.value
    return value


def _build(value: Any, kind: Any) -> Any:
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = _hints.get(kind)
        if hints is None:
            hints = _hints[kind] = typing.get_type_hints(kind)
        return kind(**{name: _build(item, hints[name]) for name, item in value.items()})
    origin = typing.get_origin(kind)
    if origin is tuple:
        return tuple(_build(item, typing.get_args(kind)[0]) for item in value)
    if origin is dict:
        return {key: _build(item, typing.get_args(kind)[1]) for key, item in value.items()}
    if origin is typing.Union:
        choices = [choice for choice in typing.get_args(kind) if choice is not type(None)]
        if value is None and len(choices) < len(typing.get_args(kind)):
            return None
        return _build(value, choices[0]) if len(choices) == 1 else from_json(json.dumps(value).encode(), kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(value)
    return value
