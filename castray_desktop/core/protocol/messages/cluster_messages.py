"""Clusters, nodes, and the folders of nodes."""

from __future__ import annotations

import enum

from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.protocol.messages.message_base import Message, Record

THIS_COMPUTER = "this computer"
"""Alias for the node of the machine on which the window runs."""

LOCAL_TARGET = "local"
"""The target that is the demo on this computer: Ray is started here, with nodes that are folders."""


class ClusterPhase(enum.StrEnum):
    """State of the connection to the cluster."""

    NONE = "none"  # no cluster chosen
    STARTING = "starting"  # starting Ray, or connecting to it
    PREPARING = "preparing"  # creating an environment with the cluster's Ray, see `preparing`
    PLACING = "placing"  # connected to Ray, agents are starting
    READY = "ready"
    RECONNECTING = "reconnecting"  # the driver was lost and is restarted
    STOPPING = "stopping"
    FAILED = "failed"  # gave up; `failure` says why


class ClusterStatus(Record, frozen=True):
    """The cluster's state as shown in the header."""

    phase: ClusterPhase = ClusterPhase.NONE
    target: str = ""  # as requested: "local", "auto", "HOST:PORT"
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
    preparing: str = ""  # "python", "environment", "ray" or "check"
    failure: Failure | None = None
    notice: Failure | None = None  # why it takes long, or a problem that is no failure


class NodeState(enum.StrEnum):
    """Whether a node can send and receive now."""

    STARTING = "starting"
    ONLINE = "online"
    OFFLINE = "offline"


class NodeInfo(Record, frozen=True):
    """A node, which can send and receive."""

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
    disk_free: int = 0  # on the inbox's file system
    disk_total: int = 0
    load: float = 0.0  # processor load of its machine, 0..1
    link: int = 0  # speed of its network device, bytes per second; 0: unknown
    labels: dict[str, str] = {}
    last_seen: float = 0.0
    failure: Failure | None = None


class NodeRate(Record, frozen=True):
    """A node's current traffic."""

    node: str
    received: float = 0.0
    sent: float = 0.0


class UseCluster(Message, frozen=True):
    """Switch to another cluster, starting or attaching to it if necessary. Reply: `Done`, at once; progress
    comes as events.

    Targets are "local", "auto", "HOST:PORT" and "ray://HOST:PORT"; empty: the current one, else that of this
    machine, else "local". "auto" becomes the address of this machine's cluster. A client shows one cluster at
    a time; after a switch, a new `Welcome` comes first.
    """

    target: str


class LeaveCluster(Message, frozen=True):
    """Stop a local cluster, or detach from another one. Reply: `Done`."""


class AddNode(Message, frozen=True):
    """Add a node to the local cluster. Reply: `Done` once it can be used."""

    name: str
    on: str = ""
    inbox: str = ""


class RemoveNode(Message, frozen=True):
    """Remove a node that was added. Reply: `Done`."""

    name: str


class ClusterChanged(Message, frozen=True):
    """Sent whenever something in the cluster's state changed."""

    cluster: ClusterStatus


class NodesChanged(Message, frozen=True):
    """Nodes that are new or have changed, and names that are gone. At most once a second for facts."""

    changed: tuple[NodeInfo, ...]
    removed: tuple[str, ...] = ()


class Throughput(Message, frozen=True):
    """Traffic of the nodes, four times a second while bytes move, and once when they stop."""

    at: float
    total: float  # sum of the recipients' receive rates
    upload: float  # upload rate of this computer
    nodes: tuple[NodeRate, ...]


class KnownCluster(Record, frozen=True):
    """A cluster that can be used."""

    target: str
    running: bool = False  # runs on this machine now
    in_use: bool = False  # the engine is connected to it
    last_used: float = 0.0  # POSIX seconds; 0: never
    nodes: int = 0  # 0: not known
    ray_version: str = ""


class ListClusters(Message, frozen=True):
    """The clusters that run on this machine, those in use and those used before. Reply: `ClusterList`."""


class ClusterList(Message, frozen=True):
    """Running ones first, then the latest used."""

    clusters: tuple[KnownCluster, ...]
    last: str = ""  # last chosen target


class ForgetCluster(Message, frozen=True):
    """Remove a cluster from the known ones. Reply: `Done`."""

    target: str


class JoinCluster(Message, frozen=True):
    """Make this machine a node of that cluster, without CPUs for its tasks, and use it. Reply: `Done`."""

    target: str  # HOST:PORT


class PrepareDriver(Message, frozen=True):
    """Create an environment with the Ray version of a cluster, then connect again.

    Reply: `Done`, at once; events tell the rest.
    """

    target: str


class ShareCluster(Message, frozen=True):
    """Start a local cluster that other machines can join. Reply: `ShareInfo`."""


class RenewShareToken(Message, frozen=True):
    """Make another token for the shared cluster, which is stopped first. Reply: `Done`.

    Machines that have joined it have to join again. Refused while casts run there.
    """


class ShareInfo(Message, frozen=True):
    """How another machine joins; the command holds a secret.

    Where the cluster is not `encrypted`, that secret and those of casts cross the network in clear.
    """

    command: str
    address: str
    encrypted: bool = False


class FolderEntry(Record, frozen=True):
    """One entry of a folder."""

    name: str
    folder: bool = False
    bytes: int = 0
    modified: float = 0.0
    link: bool = False


class Browse(Message, frozen=True):
    """List a folder of a node. Reply: `FolderListing`."""

    node: str
    path: str = ""  # empty: the home folder of the agent's user


class FolderListing(Message, frozen=True):
    """Folders first, by name; a limited number."""

    node: str
    path: str
    entries: tuple[FolderEntry, ...]
    left_out: int = 0


ClusterCommand = (
    UseCluster
    | LeaveCluster
    | AddNode
    | RemoveNode
    | ListClusters
    | ForgetCluster
    | JoinCluster
    | PrepareDriver
    | ShareCluster
    | RenewShareToken
    | Browse
)
ClusterReply = ClusterList | ShareInfo | FolderListing
ClusterEvent = ClusterChanged | NodesChanged | Throughput
