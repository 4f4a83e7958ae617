"""Orders to an agent and its replies: frozen dataclasses, which `json_codec` encodes.

Sizes are bytes, times POSIX seconds, secrets and digests hexadecimal text. Standard library only and valid
on Python 3.9: driver and agents run on the cluster's interpreter.
"""

from __future__ import annotations

import enum
import typing
from dataclasses import dataclass, field
from typing import Optional

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.nodes.cast_parcel import (
    Algorithms,
    MulticastGroup,
    ParcelTotals,
    RemoteFile,
    TopEntry,
    Upstream,
)


@dataclass(frozen=True)
class ResolveUrls:
    """Ask web servers for these files. Answered with `RemoteListing`."""

    urls: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True)
class RemoteListing:
    """What the servers say, in the order of the request."""

    files: tuple[RemoteFile, ...] = ()
    failure: Optional[Failure] = None
    wait: float = 0.0  # seconds that a server asks for before the next request; 0: it does not
    busy: bool = False  # the server answers, and may say later what the file is

    @property
    def problem(self) -> Optional[Failure]:
        """Why nothing is known now, for people who have not sent the files yet."""
        if self.failure is not None and self.busy:
            values = {**self.failure.values, "seconds": f"{self.wait:.0f}"}
            return Failure(FailureKind.SERVER_BUSY, values)
        return self.failure


@dataclass(frozen=True)
class MeasureDownload:
    """Download the beginning of a file, to see how fast that is. Answered with `DownloadRate`."""

    file: RemoteFile
    length: int  # bytes; 0: see only whether the server answers


@dataclass(frozen=True)
class DownloadRate:
    """How fast this node downloads. Without a failure the server was reached."""

    rate: float = 0.0  # bytes per second; 0 if it was not measured
    failure: Optional[Failure] = None


@dataclass(frozen=True)
class PrepareSource:
    """Scan these paths and create a manifest. `SourceReport` tells when it is ready."""

    cast: str
    paths: tuple[str, ...]
    options: TransferOptions = field(default_factory=TransferOptions)
    # remote files, sent as well and downloaded meanwhile, without links to stores; see `pack_listing`
    listing: str = field(default="", repr=False)


@dataclass(frozen=True)
class FileLink:
    """How a node gets a remote file of a store, as in `RemoteFile`: by a link, or as contents."""

    url: str = field(repr=False)
    authorization: str = field(default="", repr=False)
    contents: str = field(default="", repr=False)


@dataclass(frozen=True)
class GiveLinks:
    """Use these links, also instead of those given before: the answer to a `LinkRequest`."""

    cast: str
    number: int  # of the request
    first: int  # the position of the first file, as in `LinkRequest`; the others follow it
    links: tuple[FileLink, ...]
    seconds: float = 0.0  # for which they are valid; 0: they do not expire


@dataclass(frozen=True)
class ServeSource:
    """Serve the prepared parcel to peers that prove knowledge of the secret."""

    cast: str
    secret: str = field(repr=False)
    epoch: int
    algorithms: Algorithms
    options: TransferOptions = field(default_factory=TransferOptions)
    plain_peers: tuple[str, ...] = ()  # nodes that can't encrypt: they alone may connect without it
    resumes: bool = False  # this node is a recipient too, and what it has from before is not downloaded again


@dataclass(frozen=True)
class CheckDestination:
    """Ask whether this node can receive the parcel. Answered with `DestinationReply`."""

    cast: str
    destination: str  # empty: the inbox
    top: tuple[TopEntry, ...]
    needed_bytes: int
    needed_files: int
    count_present: bool = False  # say in the answer what of it is there by name already


@dataclass(frozen=True)
class DestinationReply:
    """State of the destination before a cast starts."""

    destination: str = ""  # absolute, links resolved as far as it exists
    storage: str = ""  # equal for agents of one machine with the same destination folder
    mount: str = ""  # equal for nodes that may share a storage; a `Probe` checks that
    free_bytes: int = 0  # without what the node has promised to other casts
    failure: Optional[Failure] = None
    disk: str = ""  # equal for two nodes that write to one file system
    promised_bytes: int = 0
    present_bytes: int = 0  # of what is sent, by name; if it was asked for, or there is little room
    sent_here: bool = False  # it is the source's own folder (set by the engine)


class ProbeVerb(str, enum.Enum):
    """Operation on a probe file."""

    PLACE = "place"  # create it in the nearest existing folder of the destination
    LOOK = "look"  # check that it exists with that content
    REMOVE = "remove"


@dataclass(frozen=True)
class Probe:
    """Find out whether two nodes write to the same folder. Answered with `ProbeReply`."""

    cast: str
    verb: ProbeVerb
    name: str  # of the file, unique
    content: str = ""
    destination: str = ""  # as in `CheckDestination`
    below: str = ""  # for LOOK: `ProbeReply.below` of the other node


@dataclass(frozen=True)
class ProbeReply:
    """Whether the file was placed, found or removed."""

    yes: bool
    below: str = ""  # for PLACE: destination relative to the probe file's folder


@dataclass(frozen=True)
class GetManifest:
    """Get the manifest of the cast from its source, or from a recipient. Answered with `ManifestReply`."""

    cast: str


@dataclass(frozen=True)
class ManifestReply:
    """The manifest, compressed and base64; empty if the cast is unknown."""

    packed: str = ""
    trailer: str = ""  # base64; empty before every file was read


@dataclass(frozen=True)
class GetFileOutcomes:
    """Get what has become of each file of a delivery so far. Answered with `FileOutcomesReply`."""

    cast: str


@dataclass(frozen=True)
class FileOutcomesReply:
    """The outcomes, see `core.content.file_outcomes`; empty if the list of files is not there yet."""

    packed: str = ""


@dataclass(frozen=True)
class FindPrunable:
    """Find what `remove_extra` would remove here. Answered with `PrunableReply`."""

    cast: str
    packed: str  # as in `ManifestReply`
    options: TransferOptions = field(default_factory=TransferOptions)


@dataclass(frozen=True)
class PrunableReply:
    """What a delivery would remove."""

    count: int = 0
    paths: tuple[str, ...] = ()  # absolute, the first hundred
    failure: Optional[Failure] = None


@dataclass(frozen=True)
class StartDelivery:
    """Fetch this parcel from `upstream`, verify and commit it."""

    cast: str
    secret: str = field(repr=False)
    epoch: int
    upstream: Optional[Upstream]  # None as in `SetUpstream`
    totals: ParcelTotals
    algorithms: Algorithms
    options: TransferOptions = field(default_factory=TransferOptions)
    prune: bool = False  # `remove_extra` was chosen, and this node does not write into the source's folder
    group: Optional[MulticastGroup] = None  # receive from this group as well, see `JoinGroup`
    plain_peers: tuple[str, ...] = ()  # as in `ServeSource`
    keep_failed: bool = False  # keep what was received if it fails for a reason that may pass
    version: str = ""  # of the files that are downloaded: what was kept of another one is not used


@dataclass(frozen=True)
class SetUpstream:
    """Fetch missing pieces from this upstream from now on. Orders of an older epoch are ignored.

    None: there is no upstream for now; keep serving and wait for another order, however long.
    """

    cast: str
    epoch: int
    upstream: Optional[Upstream]


@dataclass(frozen=True)
class JoinGroup:
    """Receive from the multicast group; digests and missing bytes are requested from the upstream.

    None: leave the group. Received data is kept.
    """

    cast: str
    group: Optional[MulticastGroup]


@dataclass(frozen=True)
class SendToGroup:
    """Send the stream to the multicast group once its receivers are ready. None: stop sending.

    Progress is in `SourceReport.multicast`.
    """

    cast: str
    group: Optional[MulticastGroup]
    listeners: tuple[str, ...] = ()  # names of the receivers


@dataclass(frozen=True)
class DialRecipient:
    """Dial a recipient that can't connect here, and serve it. Ignored if its epoch has changed by then."""

    cast: str
    epoch: int
    node: str
    address: str
    port: int
    host: str = ""
    encrypted: bool = False  # as in `Upstream`


@dataclass(frozen=True)
class AnnounceTrailer:
    """The digest of the trailer, known after the source has read every file."""

    cast: str
    trailer_digest: str  # SHA-256


@dataclass(frozen=True)
class ReadToEnd:
    """Read every file to its end now: no recipient asks this source for more, and all await its trailer."""

    cast: str


@dataclass(frozen=True)
class SetCastLimit:
    """Set this node's upload limit for the cast, in bytes per second; 0: no limit."""

    cast: str
    limit: int


@dataclass(frozen=True)
class SetNodeLimit:
    """Set this node's upload limit for all casts together, in bytes per second; 0: no limit."""

    limit: int


@dataclass(frozen=True)
class PauseCast:
    """Pause or resume sending bytes of the cast. Received data and connections are kept.

    Orders are numbered for each cast; older ones are ignored.
    """

    cast: str
    paused: bool
    number: int


@dataclass(frozen=True)
class PauseDelivery:
    """Pause fetching until the next `SetUpstream`. Received data is kept, the connection for 30 s.

    Epochs work as in `SetUpstream`.
    """

    cast: str
    epoch: int


@dataclass(frozen=True)
class VerifyFiles:
    """Read files and hash them. Progress is in `VerificationReport`.

    Either the files delivered by a cast, compared with its hashes, or the files at a path.
    """

    job: str
    cast: str = ""
    path: str = ""  # absolute, may contain {node}
    algorithm: str = "sha256"  # for a path; a cast has its own


@dataclass(frozen=True)
class DescribeFiles:
    """A page of the files of a finished verification, ordered by name.

    Answered with `FileHashPage`.
    """

    job: str
    start: int
    count: int


@dataclass(frozen=True)
class FileHash:
    """One file, or link, of a verification."""

    path: str  # relative to what was verified
    hash: str  # empty for unreadable files


@dataclass(frozen=True)
class FileHashPage:
    """A page of file hashes; the last one is shorter than requested."""

    files: tuple[FileHash, ...]


@dataclass(frozen=True)
class EndVerification:
    """Stop a verification and discard its results."""

    job: str


@dataclass(frozen=True)
class CancelCast:
    """Cancel the cast on this node: stop fetching and serving, remove the part files."""

    cast: str
    keep_source: bool = False  # cancel the delivery alone: the node goes on downloading for the others
    keep_parts: bool = False  # keep the part files for a retry


@dataclass(frozen=True)
class AnswerTransfer:
    """The engine's answer to a `TransferRequest`: the cast's id, or an error."""

    number: int
    cast: str = ""
    refusal: str = ""


@dataclass(frozen=True)
class ForgetCast:
    """The cast has ended everywhere: stop serving it and free its resources.

    Part files that were kept for a retry are removed, unless `keep_parts`.
    """

    cast: str
    keep_parts: bool = False


@dataclass(frozen=True)
class ListFolder:
    """List a folder. Answered with `FolderReply`."""

    path: str  # empty: the home folder of the agent's user
    limit: int = 1000  # entries


@dataclass(frozen=True)
class FolderItem:
    """One entry of a folder."""

    name: str
    folder: bool = False  # also for a link to a folder
    bytes: int = 0
    modified: float = 0.0
    link: bool = False


@dataclass(frozen=True)
class FolderReply:
    """Folders first, by name."""

    path: str  # absolute
    entries: tuple[FolderItem, ...] = ()
    left_out: int = 0  # entries beyond the limit, or with names that are not UTF-8
    failure: Optional[Failure] = None


@dataclass(frozen=True)
class MeasureSizes:
    """Measure the size of paths. Answered with `MeasureReply`."""

    paths: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()


@dataclass(frozen=True)
class PathSize:
    """The size of a path, or why it can't be sent."""

    path: str
    name: str
    folder: bool = False
    files: int = 0
    bytes: int = 0
    failure: Optional[Failure] = None


@dataclass(frozen=True)
class MeasureReply:
    """The sizes, in the order of the request."""

    entries: tuple[PathSize, ...]


@dataclass(frozen=True)
class Peer:
    """Another node's data port."""

    node: str
    address: str
    port: int


@dataclass(frozen=True)
class DialPeers:
    """Test connections from this node to others. Answered with `DialReply`."""

    peers: tuple[Peer, ...]
    seconds: float = 3.0  # timeout of each connection; all run at once


@dataclass(frozen=True)
class DialResult:
    """The result of a connection attempt."""

    node: str
    seconds: float = 0.0
    reason: str = ""  # empty: success


@dataclass(frozen=True)
class DialReply:
    """The results, in the order of the request."""

    results: tuple[DialResult, ...]


@dataclass(frozen=True)
class InspectNode:
    """Inspect the resources of this node that casts need. Answered with `NodeInspection`."""


@dataclass(frozen=True)
class NodeInspection:
    """Resources of a node; 0 or empty if unknown."""

    time: float = 0.0  # the node's clock, POSIX seconds
    ray_version: str = ""
    python_version: str = ""
    system: str = ""
    user: str = ""
    hostname: str = ""
    shared_free: int = 0  # free bytes of /dev/shm
    shared_total: int = 0
    store: str = ""  # folder of Ray's object store
    open_files: int = 0  # limit for one process
    inbox: str = ""
    inbox_writable: bool = True
    inbox_free: int = 0
    data_address: str = ""
    data_ports: str = ""
    kept_deliveries: int = 0  # failed ones, of which the part files are kept for a retry
    kept_bytes: int = 0


Order = typing.Union[
    PrepareSource,
    GiveLinks,
    ServeSource,
    CheckDestination,
    Probe,
    GetManifest,
    GetFileOutcomes,
    ResolveUrls,
    MeasureDownload,
    FindPrunable,
    StartDelivery,
    SetUpstream,
    JoinGroup,
    SendToGroup,
    DialRecipient,
    ReadToEnd,
    AnnounceTrailer,
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
    MeasureSizes,
    DialPeers,
    InspectNode,
]


OrderReply = typing.Union[
    DestinationReply,
    ProbeReply,
    ManifestReply,
    FileOutcomesReply,
    RemoteListing,
    DownloadRate,
    PrunableReply,
    FolderReply,
    MeasureReply,
    DialReply,
    NodeInspection,
    FileHashPage,
]
