"""Messages between the engine and its driver, one line of JSON each (`json_codec`).

Standard library only and valid on Python 3.9: the driver runs on the cluster's interpreter.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass, field
from typing import Optional

from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.protocol.nodes.agent_orders import Order, OrderReply
from castray_desktop.core.protocol.nodes.agent_reports import AgentHello, AgentReport

LOCAL_TARGET = "local"
"""Target: start a cluster on this machine. Other targets are addresses."""


SHARED_TARGET = "shared"
"""Target: start a cluster that other machines can join."""


OWN_TARGETS = (LOCAL_TARGET, SHARED_TARGET)
"""Clusters that end with their driver."""


CLIENT_PREFIX = "ray://"
"""Begins the targets that are reached through Ray's client server."""


RAY_FOLDER = "r"
"""The folder for Ray's files, below the temp folder of a run. Short, since Ray's sockets are below it."""


SOCKET_VARIABLE = "CASTRAY_DRIVER_SOCKET"
"""Environment variable with the file descriptor of the driver's end of the socket to the engine."""


LINE_LIMIT = 64 * 1024 * 1024
"""Maximum length of a message, which is one line, in bytes."""


# --- from the engine to the driver ---------------------------------------------------------------


@dataclass(frozen=True)
class StartCluster:
    """Start or attach to a cluster. Answered by `ClusterUp` or `ClusterFailed`."""

    target: str  # "local", "shared", "auto" or HOST:PORT
    temp_dir: str = ""  # for Ray's files
    join: bool = False  # first make this machine a node of the cluster


@dataclass(frozen=True)
class NodeCertificate:
    """A node's certificate, its key, and the certificate of the engine that issued it, all as PEM."""

    certificate: str
    key: str = field(repr=False)
    authority: str


@dataclass(frozen=True)
class PlaceAgent:
    """Place an agent. Answered by `AgentUp` or `AgentLost`."""

    name: str
    inbox: str
    address: str  # address of its data port
    node_id: str = ""  # Ray's node id; empty: the driver's own node
    runtime_dir: str = ""  # folder for its Unix socket
    ports: str = ""  # see `data_variables.parse_ports`
    engine: str = ""  # the engine's id; every engine has its own staging on the node
    keep: tuple[str, ...] = ()  # casts to resume: keep their staging, remove other staging of this engine
    certificate: Optional[NodeCertificate] = None  # None: the engine can't issue any


@dataclass(frozen=True)
class RemoveAgent:
    """End an agent. With `keep`, what it has received is left to the one that replaces it."""

    name: str
    keep: bool = False


@dataclass(frozen=True)
class AgentCall:
    """An order for an agent, with the engine's call number. Answered by `AgentCallResult`."""

    number: int
    agent: str
    order: Order


ToDriver = typing.Union[StartCluster, PlaceAgent, RemoveAgent, AgentCall]


# --- from the driver to the engine ---------------------------------------------------------------


@dataclass(frozen=True)
class RayNode:
    """A live node of the Ray cluster."""

    node_id: str
    address: str
    hostname: str
    head: bool = False
    mine: bool = False  # the driver runs on this node
    cpus: float = 0.0
    gpus: float = 0.0
    memory: int = 0
    labels: dict[str, str] = field(default_factory=dict)
    port: int = 0  # port of its raylet


@dataclass(frozen=True)
class HeadAnswered:
    """The cluster's head has answered; connecting may still take a while."""


@dataclass(frozen=True)
class ClusterUp:
    """The driver is connected."""

    address: str
    ray_version: str
    python_version: str
    nodes: tuple[RayNode, ...]
    autoscaled: bool = False  # idle nodes are removed automatically


@dataclass(frozen=True)
class NodesSeen:
    """The set of live nodes has changed."""

    nodes: tuple[RayNode, ...]
    autoscaled: bool = False  # see `ClusterUp`


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


@dataclass(frozen=True)
class AgentCallResult:
    """The result of a call: the order's answer, if it has one, or `error`."""

    number: int
    reply: Optional[OrderReply] = None
    error: str = ""
    raised: bool = False  # the agent runs but could not carry out the order


FromDriver = typing.Union[
    HeadAnswered, ClusterUp, NodesSeen, ClusterFailed, AgentUp, AgentLost, Reported, AgentCallResult
]
