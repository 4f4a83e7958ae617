"""Which nodes a cluster has, and what they are called."""

from __future__ import annotations

import itertools
import re
import socket
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

import msgspec

from castray_desktop.core.failure import Failure, FailureKind
from castray_desktop.core.messages import NodeInfo, NodeState
from castray_desktop.workers.ray_side.protocol import NodeFacts, RayNode

INBOX_SECONDS = 3.0
"""An inbox whose disk has not answered for so long is said not to."""

_NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


def local_nodes(ray_node: RayNode, demo_nodes: int) -> tuple[NodeInfo, ...]:
    """This computer and the demo nodes, node_1 and so on: several agents on the one Ray node."""
    return tuple(
        NodeInfo(
            name,
            NodeState.STARTING,
            address=ray_node.address,
            node_id=ray_node.node_id,
            this_computer=name == own_name(),
        )
        for name in (own_name(), *(f"node_{number}" for number in range(1, demo_nodes + 1)))
    )


class NodeNames:
    """Names the nodes of Ray by host and address, and calls them the same for as long as it lives.

    A Ray node that is started again has another id, but is the same node: it takes over the name of one at
    its host and address that has gone, or whose agent has.
    """

    def __init__(self, homes: Mapping[str, tuple[str, str]] | None = None) -> None:
        """`homes` are host and address by name, as they were known before."""
        self._homes = dict(homes or {})
        self._ids: dict[str, str] = {}  # by name: Ray's id
        self._replaced: set[str] = set()  # ids that another one has taken the name of

    def name_all(
        self, ray_nodes: Iterable[RayNode], is_away: Callable[[str], bool], taken: Collection[str] = ()
    ) -> dict[str, RayNode]:
        """Those nodes by name. `taken` are names of other things."""
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
            self._homes[name], self._ids[name] = (node.hostname, node.address), node.node_id
            named[name] = node
        return named

    @property
    def homes(self) -> dict[str, tuple[str, str]]:
        """Host and address by name."""
        return dict(self._homes)

    def forget(self, name: str) -> None:
        """That node will not come back."""
        self._homes.pop(name, None)
        self._ids.pop(name, None)

    def _returning(self, node: RayNode, named: Mapping[str, RayNode], is_away: Callable[[str], bool]) -> str:
        for name, home in self._homes.items():
            if home == (node.hostname, node.address) and (name not in named or is_away(name)):
                return name
        return ""

    def _new_name(self, node: RayNode, alone: bool, taken: Collection[str]) -> str:
        """The host's name if no other has it, else with the address, else with a number as well."""
        short, long = node_name(node.hostname), node_name(f"{node.hostname}-{node.address}")
        numbered = (node_name(f"{long[:56]}-{number}") for number in itertools.count(2))
        candidates = itertools.chain([short] if alone and short != "all" else [], [long], numbered)
        return next(name for name in candidates if name not in self._homes and name not in taken)


def attached_node(name: str, ray_node: RayNode) -> NodeInfo:
    """What is known of a Ray node before its agent has measured it."""
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


def with_facts(node: NodeInfo, facts: NodeFacts, now: float) -> NodeInfo:
    """A node with what its agent has measured."""
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


def may_be_named(name: str) -> bool:
    """Whether a node that is added may have this name."""
    return _NODE_NAME.fullmatch(name) is not None and name != "all"


def node_name(text: str) -> str:
    """A node's name made from a host name or address: what names may not hold becomes a hyphen."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text).strip("-._")[:60] or "node"


def own_name() -> str:
    """The name of *this computer*."""
    return node_name(socket.gethostname())
