"""From what a user writes for nodes (names, addresses, ids, `all`, `@group`) to the names of nodes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.failures.sentences import explain
from castray_desktop.core.protocol.messages import THIS_COMPUTER, NodeInfo, NodeState

GROUP_PREFIX = "@"

MAX_GROUP_NAME_LENGTH = 60
Groups = Mapping[str, tuple[str, ...]]
"""The members of each group, by its name without the mark."""

_NAME = re.compile(r"[^\s,@/][^,@/]*")


def group_name(text: str) -> str:
    """Normalize a group name, with or without its prefix. Raises CastRayError(BAD_GROUP_NAME)."""
    name = text.strip().removeprefix(GROUP_PREFIX).strip()
    if len(name) > MAX_GROUP_NAME_LENGTH or not _NAME.fullmatch(name) or not name.isprintable():
        raise CastRayError(FailureKind.BAD_GROUP_NAME, group=text.strip())
    return name


def expand_groups(
    selectors: Iterable[str], groups: Groups, known: Iterable[str], source: str
) -> tuple[str, ...]:
    """Replace every `@group` by its members that are known nodes, without the source; other entries stay.

    Raises CastRayError: GROUP_UNKNOWN, or GROUP_EMPTY if no member of a group is known.
    """
    here = set(known) - {source}
    names: dict[str, None] = {}
    for one in selectors:
        if not one.startswith(GROUP_PREFIX):
            names[one] = None
            continue
        group = one.removeprefix(GROUP_PREFIX)
        if group not in groups:
            existing = ", ".join(GROUP_PREFIX + name for name in sorted(groups)) or "none"
            raise CastRayError(FailureKind.GROUP_UNKNOWN, group=one, groups=existing)
        members = [node for node in groups[group] if node in here]
        if not members:
            raise CastRayError(FailureKind.GROUP_EMPTY, group=one)
        names.update(dict.fromkeys(members))
    return tuple(names)


ALL_NODES = "all"

MIN_NODE_ID_PREFIX = 6


def find_node(selector: str, nodes: Mapping[str, NodeInfo]) -> NodeInfo:
    """The node that `selector` means: a name, an address that one node has, or the start of a Ray node id.

    Raises CastRayError(NODE_UNKNOWN), also if it is ambiguous.
    """
    if selector in nodes:
        return nodes[selector]
    if selector == THIS_COMPUTER:
        fitting = [node for node in nodes.values() if node.this_computer]
    else:
        address = selector[1:-1] if selector.startswith("[") and selector.endswith("]") else selector
        fitting = [node for node in nodes.values() if node.address == address]
        if not fitting and len(selector) >= MIN_NODE_ID_PREFIX:
            fitting = [node for node in nodes.values() if node.node_id.startswith(selector.lower())]
    if len(fitting) != 1:
        known = ", ".join(sorted(nodes)) or "none"
        raise CastRayError(FailureKind.NODE_UNKNOWN, node=selector, nodes=known)
    return fitting[0]


def resolve_recipients(
    selectors: Iterable[str], source: str, nodes: Mapping[str, NodeInfo], groups: Groups
) -> tuple[str, ...]:
    """The names of the recipients, each once, in the order given.

    `source` is the node that can't be one of them, if there is one. `all` is every node except the source;
    `@group` the known members of a saved group. Raises CastRayError: NODE_UNKNOWN, SOURCE_IS_RECIPIENT,
    NO_RECIPIENTS, GROUP_UNKNOWN or GROUP_EMPTY.
    """
    names: dict[str, None] = {}
    for one in expand_groups(selectors, groups, nodes, source):
        if one == ALL_NODES:
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
