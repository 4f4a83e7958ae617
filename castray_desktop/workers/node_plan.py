"""Which nodes a cluster has, and what they are called."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable

from castray_desktop.core.messages import NodeInfo, NodeState
from castray_desktop.workers.ray_side.protocol import RayNode

DEMO_NODES = ("node_1", "node_2", "node_3")

_NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


def local_nodes(ray_node: RayNode, added: Iterable[str]) -> tuple[NodeInfo, ...]:
    """This computer, the demo nodes and those that were added: several agents on the one Ray node."""
    added = tuple(added)
    return tuple(
        NodeInfo(
            name,
            NodeState.STARTING,
            address=ray_node.address,
            node_id=ray_node.node_id,
            this_computer=name == own_name(),
            removable=name in added,
        )
        for name in (own_name(), *DEMO_NODES, *added)
    )


def attached_nodes(ray_nodes: tuple[RayNode, ...]) -> tuple[NodeInfo, ...]:
    """One node for each live Ray node; equal host names are told apart by the address."""
    names = [node_name(node.hostname) for node in ray_nodes]
    return tuple(
        NodeInfo(
            short if names.count(short) == 1 else node_name(f"{short}-{ray_node.address}"),
            NodeState.STARTING,
            address=ray_node.address,
            node_id=ray_node.node_id,
            this_computer=ray_node.mine,
            zone=ray_node.labels.get("ray.io/availability-zone", ""),
            gpus=ray_node.gpus,
            labels=ray_node.labels,
        )
        for ray_node, short in zip(ray_nodes, names, strict=True)
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
