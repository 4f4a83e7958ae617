"""Which nodes a cluster has: those of Ray by their names, the demo nodes of a local one, and added ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from castray_desktop.core.messages import NodeInfo, NodeState
from castray_desktop.workers.cluster.added_nodes import AddedNode, AddedNodes
from castray_desktop.workers.cluster.name_memory import NameMemory
from castray_desktop.workers.cluster.node_plan import NodeNames, attached_node, local_nodes, own_name
from castray_desktop.workers.places import Places
from castray_desktop.workers.ray_side.protocol import RayNode
from castray_desktop.workers.settings import SettingsFile


class ExpectedNodes:
    """Made into a plan whenever Ray's nodes are others. `begin` comes first."""

    def __init__(self, places: Places) -> None:
        self._added = AddedNodes(places.added_nodes)
        self._memory = NameMemory(places.names)
        self._target = ""
        self._names = NodeNames()
        self._beside: dict[str, str] = {}  # by added node: on whose Ray node it is
        self._inboxes: dict[str, str] = {}  # of nodes that were added to a local cluster before this one
        self._local = False
        self._settings = places.settings
        self._demo_nodes = 0  # of the local cluster, as they were set when it began

    def begin(self, target: str) -> None:
        """A driver for that cluster is there; the one before may have been for the same."""
        if target != self._target:
            self._target, self._names = target, NodeNames(self._memory.load(target))

    def plan(
        self, ray_nodes: Sequence[RayNode], local: bool, is_away: Callable[[str], bool]
    ) -> dict[str, NodeInfo]:
        """The nodes by name where these Ray nodes are alive, the head first.

        The first node of a `local` cluster is this computer, with several agents. `is_away` says whether a
        node has no agent.
        """
        if local and not self._local:
            self._remember()
        self._local = local
        plan = {info.name: info for info in self._local_nodes(ray_nodes[0])} if local else {}
        others = ray_nodes[1:] if local else ray_nodes
        named = self._names.name_all(others, is_away, taken=(*plan, *self._beside))
        plan |= {name: attached_node(name, node) for name, node in named.items()}
        for name, beside in self._beside.items():
            if beside in plan:
                plan[name] = added_node(name, plan[beside])
        self._memory.keep(self._target, self._names.homes)
        return plan

    def inbox(self, name: str) -> str:
        """Where a node that was added earlier writes; empty for the usual place."""
        return self._inboxes.get(name, "")

    def is_added(self, name: str) -> bool:
        """Whether a user has added it."""
        return name in self._beside

    def add(self, name: str, beside: str) -> None:
        """A node that the user adds on the same Ray node as another one."""
        self._beside[name] = beside

    def keep(self, name: str, inbox: str) -> None:
        """An added node is there; it is to be there again in the next local cluster."""
        if self._local:
            self._added.add(AddedNode(name, inbox))

    def remove(self, name: str) -> None:
        """The user does not want an added node any more."""
        if self._local:
            self._added.remove(name)

    def forget(self, name: str) -> None:
        """A Ray node, or an added one, will not come back."""
        self._beside.pop(name, None)
        self._names.forget(name)
        if self._target:
            self._memory.keep(self._target, self._names.homes)

    def clear(self) -> None:
        """The cluster has been left."""
        self._beside.clear()
        self._inboxes.clear()
        self._local, self._target = False, ""

    def _local_nodes(self, head: RayNode) -> tuple[NodeInfo, ...]:
        return local_nodes(head, self._demo_nodes)

    def _remember(self) -> None:
        self._demo_nodes = SettingsFile(self._settings).current.demo_nodes
        nodes = self._added.load()
        self._beside.update({node.name: own_name() for node in nodes})
        self._inboxes = {node.name: node.inbox for node in nodes}


def added_node(name: str, beside: NodeInfo) -> NodeInfo:
    """A node on the same Ray node as another one."""
    return NodeInfo(name, NodeState.STARTING, address=beside.address, node_id=beside.node_id, removable=True)
