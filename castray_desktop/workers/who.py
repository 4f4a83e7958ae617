"""From what a person writes for a node to the nodes that are meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from castray_desktop.core.errors import explain
from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.core.groups import Groups, expand
from castray_desktop.core.messages import THIS_COMPUTER, NodeInfo, NodeState

ALL = "all"
NODE_ID_PREFIX = 6


def find_node(who: str, nodes: Mapping[str, NodeInfo]) -> NodeInfo:
    """The node that `who` means: a name, an address that one node has, or the start of a Ray node id.

    Raises CastRayError(NODE_UNKNOWN), also when several nodes would fit.
    """
    if who in nodes:
        return nodes[who]
    if who == THIS_COMPUTER:
        fitting = [node for node in nodes.values() if node.this_computer]
    else:
        address = who[1:-1] if who.startswith("[") and who.endswith("]") else who
        fitting = [node for node in nodes.values() if node.address == address]
        if not fitting and len(who) >= NODE_ID_PREFIX:
            fitting = [node for node in nodes.values() if node.node_id.startswith(who.lower())]
    if len(fitting) != 1:
        known = ", ".join(sorted(nodes)) or "none"
        raise CastRayError(FailureKind.NODE_UNKNOWN, node=who, nodes=known)
    return fitting[0]


def resolve_source(who: str, nodes: Mapping[str, NodeInfo]) -> str:
    """The name of the source. Raises CastRayError(NODE_UNKNOWN)."""
    return find_node(who, nodes).name


def resolve_recipients(
    who: Iterable[str], source: str, nodes: Mapping[str, NodeInfo], groups: Groups | None = None
) -> tuple[str, ...]:
    """The names of the recipients, each once, in the order given.

    `all` is every node but the source, `@group` what is here of a saved group.
    Raises CastRayError: NODE_UNKNOWN, SOURCE_IS_RECIPIENT, NO_RECIPIENTS, GROUP_UNKNOWN or GROUP_EMPTY.
    """
    names: dict[str, None] = {}
    for one in expand(who, groups or {}, nodes, source):
        if one == ALL:
            names.update(dict.fromkeys(name for name in nodes if name != source))
            continue
        node = find_node(one, nodes)
        if node.name == source:
            raise CastRayError(FailureKind.SOURCE_IS_RECIPIENT, node=source)
        names[node.name] = None
    if not names:
        raise CastRayError(FailureKind.NO_RECIPIENTS)
    return tuple(names)


def nobody_online(nodes: Mapping[str, NodeInfo], target: str) -> CastRayError:
    """Why nothing can be sent on the cluster `target`: there is none, or what became of each node."""
    if not nodes:
        return CastRayError(FailureKind.NO_CLUSTER)
    names: dict[str, list[str]] = {}  # by reason: many nodes may have the same one
    for name, node in nodes.items():
        names.setdefault(_why(node), []).append(name)
    reasons = "; ".join(f"{', '.join(those)}: {reason}" for reason, those in names.items())
    return CastRayError(FailureKind.NO_AGENT, target=target, reasons=reasons)


def _why(node: NodeInfo) -> str:
    """What Ray said of its agent, else what is known, without a full stop."""
    failure = node.failure
    if failure is None:
        return "its agent is still being started" if node.state is NodeState.STARTING else "it is offline"
    if failure.kind is FailureKind.AGENT_NOT_PLACED:
        return failure.values["reason"].rstrip(".")
    return explain(failure).happened.rstrip(".")
