"""Which nodes a cluster has and what they are called: Ray's nodes, demo nodes, added nodes."""

from __future__ import annotations

import itertools
import re
import socket
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import THIS_COMPUTER, NodeInfo, NodeState
from castray_desktop.core.protocol.nodes.agent_reports import MachineFacts
from castray_desktop.core.protocol.nodes.driver_protocol import LOCAL_TARGET, RayNode
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.base.settings import SettingsFile
from castray_desktop.workers.base.state_files import load_dict, load_list, save

INBOX_SECONDS = 3.0
"""An inbox whose disk has not answered for this long is reported as silent."""

MAX_CLUSTERS = 50
_NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")

NodeAddresses = dict[str, tuple[str, str]]
"""Host and address by node name."""


def local_nodes(ray_node: RayNode, demo_nodes: int) -> tuple[NodeInfo, ...]:
    """This computer and the demo nodes, node_1 and so on, on one Ray node."""
    return tuple(
        NodeInfo(
            name,
            NodeState.STARTING,
            address=ray_node.address,
            node_id=ray_node.node_id,
            this_computer=name == local_node_name(),
        )
        for name in (local_node_name(), *(f"node_{number}" for number in range(1, demo_nodes + 1)))
    )


class NodeNames:
    """Names Ray nodes by host and address; names stay the same.

    A restarted Ray node has another id but gets the name of the node at its host and address that is gone or
    without agent.
    """

    def __init__(self, homes: NodeAddresses) -> None:
        self.homes = homes  # by name, also of nodes that are gone
        self._ids: dict[str, str] = {}  # Ray's id by name
        self._replaced: set[str] = set()  # ids whose names were taken over

    def name_all(
        self, ray_nodes: Iterable[RayNode], is_away: Callable[[str], bool], taken: Collection[str] = ()
    ) -> dict[str, RayNode]:
        """Name these nodes. `taken` are reserved names."""
        live = [node for node in ray_nodes if node.node_id not in self._replaced]
        known = {node_id: name for name, node_id in self._ids.items()}
        named = {known[node.node_id]: node for node in live if node.node_id in known}
        newcomers = [node for node in live if node.node_id not in known]
        hosts = Counter(node_name(node.hostname) for node in newcomers)
        for node in newcomers:
            name = self._returning(node, named, is_away)
            if name in named:
                self._replaced.add(named[name].node_id)
            name = name or self._new_name(node, hosts[node_name(node.hostname)] == 1, taken)
            self.homes[name], self._ids[name] = (node.hostname, node.address), node.node_id
            named[name] = node
        return named

    def forget_node(self, name: str) -> None:
        """Drop a node that will not come back."""
        self.homes.pop(name, None)
        self._ids.pop(name, None)

    def _returning(self, node: RayNode, named: Mapping[str, RayNode], is_away: Callable[[str], bool]) -> str:
        for name, home in self.homes.items():
            if home == (node.hostname, node.address) and (name not in named or is_away(name)):
                return name
        return ""

    def _new_name(self, node: RayNode, alone: bool, taken: Collection[str]) -> str:
        """The host name if it is free, otherwise with the address, otherwise also with a number."""
        short, long = node_name(node.hostname), node_name(f"{node.hostname}-{node.address}")
        numbered = (node_name(f"{long[:56]}-{number}") for number in itertools.count(2))
        candidates = itertools.chain([short] if alone and short != "all" else [], [long], numbered)
        return next(name for name in candidates if name not in self.homes and name not in taken)


def attached_node(name: str, ray_node: RayNode) -> NodeInfo:
    """A Ray node before its agent has measured it."""
    return NodeInfo(
        name,
        NodeState.STARTING,
        address=ray_node.address,
        node_id=ray_node.node_id,
        this_computer=ray_node.mine,
        zone=ray_node.labels.get("ray.io/availability-zone", ""),
        cpus=ray_node.cpus,
        gpus=ray_node.gpus,
        memory=ray_node.memory,
        labels=ray_node.labels,
    )


def with_facts(node: NodeInfo, facts: MachineFacts, now: float) -> NodeInfo:
    """A node updated with its agent's facts."""
    failure = node.failure
    if facts.inbox_silent >= INBOX_SECONDS:
        failure = Failure(FailureKind.INBOX_SILENT, {"node": node.name, "path": node.inbox})
    elif failure is not None and failure.kind is FailureKind.INBOX_SILENT:
        failure = None
    return msgspec.structs.replace(
        node,
        cpus=facts.cpus,
        memory=facts.memory,
        memory_free=facts.memory_free,
        disk_free=facts.disk_free,
        disk_total=facts.disk_total,
        load=facts.load,
        link=facts.link,
        last_seen=now,
        failure=failure,
    )


def is_valid_node_name(name: str) -> bool:
    """Whether an added node may have this name."""
    return _NODE_NAME.fullmatch(name) is not None and name != "all"


def node_name(text: str) -> str:
    """Derive a node name from a host name or address; invalid characters become hyphens."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text).strip("-._")[:60] or "node"


def local_node_name() -> str:
    """The name of *this computer*."""
    return node_name(socket.gethostname())


def is_this_computer(node: str) -> bool:
    """Whether a source that is named so is *this computer*, so that its current folder is the caller's."""
    return node in (THIS_COMPUTER, local_node_name())


class NodeNameStore:
    """Reads and writes one file. Damaged entries are set aside; write errors are logged."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def load(self, target: str) -> NodeAddresses:
        """Load the names of the cluster's nodes."""
        return self._read().get(target, {})

    def save(self, target: str, homes: NodeAddresses) -> None:
        """Save the names of the cluster's nodes."""
        known = self._read()
        if known.get(target, {}) == homes:
            return
        known.pop(target, None)
        if homes:
            known[target] = homes
        for old in list(known)[:-MAX_CLUSTERS]:
            del known[old]
        save(self._file, "the names of nodes", known)

    def _read(self) -> dict[str, NodeAddresses]:
        return load_dict(self._file, "the names of nodes", NodeAddresses)


class AddedNode(msgspec.Struct, frozen=True):
    """A node added by the user."""

    name: str
    inbox: str = ""  # empty: derived from its name


class AddedNodeStore:
    """Saved in a file at each change."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def load(self) -> tuple[AddedNode, ...]:
        """In the order in which they were added; damaged entries are set aside."""
        return tuple(load_list(self._file, "the nodes that were added", AddedNode))

    def save_node(self, node: AddedNode) -> None:
        """Add a node, or replace the one of that name."""
        save(self._file, "the nodes that were added", (*self._others(node.name), node))

    def remove_node(self, name: str) -> None:
        """Remove a node."""
        others = self._others(name)
        if len(others) != len(self.load()):
            save(self._file, "the nodes that were added", others)

    def _others(self, name: str) -> tuple[AddedNode, ...]:
        return tuple(node for node in self.load() if node.name != name)


class NodeInventory:
    """Plans the nodes whenever Ray's nodes change. `begin` has to be called first."""

    def __init__(self, paths: Paths) -> None:
        self._added = AddedNodeStore(paths.added_nodes)
        self._memory = NodeNameStore(paths.names)
        self._target = ""
        self._names = NodeNames({})
        self._beside: dict[str, str] = {}  # by added node: the node whose Ray node it shares
        self._inboxes: dict[str, str] = {}  # of nodes added to an earlier local cluster
        self._settings = paths.settings
        self._demo_nodes = 0  # number of demo nodes when the local cluster started

    def begin(self, target: str) -> None:
        """A driver for that cluster has started, possibly for the same cluster as before."""
        if target == self._target:
            return
        self._target, self._names = target, NodeNames(self._memory.load(target))
        if self._is_local:
            self._demo_nodes = SettingsFile(self._settings).current.demo_nodes
            for node in self._added.load():
                self._beside[node.name] = local_node_name()
                self._inboxes[node.name] = node.inbox

    @property
    def _is_local(self) -> bool:
        return self._target == LOCAL_TARGET

    def plan(self, ray_nodes: Sequence[RayNode], is_away: Callable[[str], bool]) -> dict[str, NodeInfo]:
        """The nodes by name for these Ray nodes, the head first.

        The first node of the local cluster is this computer with several agents. `is_away` returns whether a
        node has no agent.
        """
        local = self._is_local
        plan = {info.name: info for info in local_nodes(ray_nodes[0], self._demo_nodes)} if local else {}
        others = ray_nodes[1:] if local else ray_nodes
        named = self._names.name_all(others, is_away, taken=(*plan, *self._beside))
        plan |= {name: attached_node(name, node) for name, node in named.items()}
        for name, beside in self._beside.items():
            if beside in plan:
                plan[name] = added_node_info(name, plan[beside])
        self._memory.save(self._target, self._names.homes)
        return plan

    def inbox(self, name: str) -> str:
        """The inbox of an earlier added node; empty for the default."""
        return self._inboxes.get(name, "")

    def is_added(self, name: str) -> bool:
        """Whether the user added the node."""
        return name in self._beside

    def add_node(self, name: str, beside: str) -> None:
        """Add a node on the same Ray node as another one."""
        self._beside[name] = beside

    def save_node(self, name: str, inbox: str) -> None:
        """Save an added node for the next local cluster."""
        if self._is_local:
            self._added.save_node(AddedNode(name, inbox))

    def remove_saved_node(self, name: str) -> None:
        """Remove an added node."""
        if self._is_local:
            self._added.remove_node(name)

    def forget_node(self, name: str) -> None:
        """A Ray node or an added one will not come back."""
        self._beside.pop(name, None)
        self._names.forget_node(name)
        if self._target:
            self._memory.save(self._target, self._names.homes)

    def clear(self) -> None:
        """The cluster was left."""
        self._beside.clear()
        self._inboxes.clear()
        self._target = ""


def added_node_info(name: str, beside: NodeInfo) -> NodeInfo:
    """A node on the same Ray node as another one."""
    return NodeInfo(name, NodeState.STARTING, address=beside.address, node_id=beside.node_id, removable=True)
