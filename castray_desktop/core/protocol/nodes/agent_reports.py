"""Reports of an agent: frozen dataclasses, which `json_codec` encodes.

Sizes are bytes, times POSIX seconds, digests hexadecimal text. Standard library only and valid on
Python 3.9: driver and agents run on the cluster's interpreter.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Optional

from castray_desktop.core.content.file_outcomes import FileCounts
from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.multicast.datagrams import MulticastEnd, MulticastState
from castray_desktop.core.protocol.nodes.cast_parcel import FileProblem, ParcelTotals


class SourceState(str, enum.Enum):
    """State of the source of a cast."""

    SCANNING = "scanning"
    PREPARED = "prepared"
    SERVING = "serving"
    HASHED = "hashed"  # every file was read; the trailer's digest is known
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class MulticastReport:
    """Report of the multicast sender."""

    state: MulticastState
    end: Optional[MulticastEnd] = None  # once it has stopped
    reason: str = ""  # the system's error, if any
    listeners: tuple[str, ...] = ()  # receivers that keep up
    sent_bytes: int = 0  # stream bytes; included in `SourceReport.sent_bytes`
    rate: int = 0  # current rate in bytes per second


@dataclass(frozen=True)
class LinkRequest:
    """A source needs links of files of stores, this one and those that follow it."""

    number: int  # counts up, of one agent and cast; the same if it has become urgent
    first: int  # position among all files of the listing that have an `address`
    urgent: bool = True  # its download waits for them; otherwise it will need them soon


@dataclass(frozen=True)
class SourceReport:
    """Report of a cast's source."""

    cast: str
    state: SourceState
    totals: Optional[ParcelTotals] = None
    sent_bytes: int = 0  # payload sent for this cast, including repairs
    sent_lists: int = 0  # of that, bytes of manifest and trailer
    trailer_digest: str = ""  # once every file was read
    problems: tuple[FileProblem, ...] = ()  # the first hundred of them
    problem_count: int = 0
    failure: Optional[Failure] = None
    checking: float = 0.0  # seconds spent on digests and hashes
    reading: float = 0.0  # seconds spent on reading; it waited the rest of the time
    multicast: Optional[MulticastReport] = None  # once `SendToGroup` was ordered
    downloaded_bytes: int = 0  # of remote files, from their servers
    waiting: Optional[Failure] = None  # for a server, which lets wait
    wait_seconds: float = 0.0  # until the server is asked again
    links_wanted: Optional[LinkRequest] = None  # until `GiveLinks` has answered it
    checksums: dict[str, int] = field(default_factory=dict)  # kind: number of remote files compared with it


class RecipientState(str, enum.Enum):
    """State of a recipient. The agent's side of `core.messages.DeliveryState`."""

    CONNECTING = "connecting"
    RECEIVING = "receiving"
    VERIFYING = "verifying"  # hashing, sync, rename
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
    """Report of a cast's recipient."""

    cast: str
    state: RecipientState
    epoch: int = 0
    upstream: str = ""  # name of the connected upstream node
    stream_bytes: int = 0  # verified bytes of the whole stream
    content_bytes: int = 0  # verified bytes of file contents
    received_bytes: int = 0  # payload received, including repeated pieces
    sent_bytes: int = 0  # payload sent to others
    transport: str = ""
    encrypted: Optional[bool] = None  # all bytes from other machines; None: there were none
    paths: tuple[str, ...] = ()
    removed: int = 0
    hash: str = ""
    problems: tuple[FileProblem, ...] = ()
    problem_count: int = 0
    failure: Optional[Failure] = None
    asked: int = 0  # number of requests to be dialed by the upstream
    asked_upstream: str = ""  # the upstream that should dial
    checking: float = 0.0  # seconds spent on digests and hashes
    writing: float = 0.0  # seconds spent on writing; it waited the rest of the time
    hook: str = ""  # result of the hook
    listening: bool = False  # receives multicast and keeps up
    datagram_bytes: int = 0  # verified bytes received by multicast
    repaired_bytes: int = 0  # lost or damaged multicast bytes, repaired from the upstream
    skipped_bytes: int = 0  # of the contents, in files that were there already; once it is committed
    counts: Optional[FileCounts] = None  # once it has ended
    outcomes: str = ""  # of each file, packed; once it has ended


def all_encrypted(found: Iterable[Optional[bool]]) -> Optional[bool]:
    """Whether all that there is was encrypted. None stands for nothing between machines."""
    known = [item for item in found if item is not None]
    return all(known) if known else None


class VerificationState(str, enum.Enum):
    """State of a verification on a node."""

    READING = "reading"
    DONE = "done"
    MISSING = "missing"  # none of the files exist
    FAILED = "failed"


@dataclass(frozen=True)
class VerificationReport:
    """Progress and results of a verification."""

    job: str
    state: VerificationState
    read: int = 0
    total: int = 0  # bytes; 0 while unknown
    files: int = 0
    digest: str = ""  # with its algorithm: of a single file, or of all names and hashes
    differing: tuple[str, ...] = ()  # for a cast: the first hundred changed or missing files
    differing_count: int = 0
    failure: Optional[Failure] = None


@dataclass(frozen=True)
class MachineFacts:
    """Measured facts of a node."""

    cpus: float = 0.0
    memory: int = 0
    memory_free: int = 0
    disk_free: int = 0
    disk_total: int = 0
    load: float = 0.0  # 0..1
    link: int = 0  # speed of the network device with its address, bytes per second
    inbox_silent: float = 0.0  # seconds for which the inbox's disk has not answered


@dataclass(frozen=True)
class AgentHello:
    """Facts of an agent after its start."""

    node: str
    pid: int
    address: str
    port: int
    host: str
    local_path: str
    inbox: str
    node_id: str = ""
    python_version: str = ""
    piece_digests: tuple[str, ...] = ()  # available algorithms, best first
    file_hashes: tuple[str, ...] = ()
    encrypted: bool = False  # its data port requires TLS, with Ray's certificates
    certified: bool = False  # it has a certificate of the engine
    not_certified: str = ""  # why not
    store: str = ""  # folder of Ray's object store, where that is known


@dataclass(frozen=True)
class TransferRequest:
    """A cast requested by code inside Ray on this node. Answered with `AnswerTransfer`."""

    number: int
    paths: tuple[str, ...]
    recipients: tuple[str, ...]
    transport: str = "auto"  # or "udp"


@dataclass(frozen=True)
class AgentReport:
    """Changes on an agent since its last report."""

    sources: tuple[SourceReport, ...] = ()
    deliveries: tuple[DeliveryReport, ...] = ()
    facts: Optional[MachineFacts] = None
    requests: tuple[TransferRequest, ...] = ()
    verifications: tuple[VerificationReport, ...] = ()
