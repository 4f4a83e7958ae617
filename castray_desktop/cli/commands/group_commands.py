"""`castray group`: the groups of recipients that `--to @NAME` means, the same as the window has."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from castray_desktop.cli.arguments import (
    EXIT_DELIVERED,
    Commands,
    add_command,
    add_command_group,
    split_names,
)
from castray_desktop.cli.output.terminal import print_json, print_note, print_table, say
from castray_desktop.cli.session import Session
from castray_desktop.core.casts.node_selector import GROUP_PREFIX, find_node, group_name
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.messages import NodeInfo
from castray_desktop.workers.base.home_format import check_home
from castray_desktop.workers.base.paths import find_paths
from castray_desktop.workers.base.state_files import RecipientGroupFile


def add_parsers(commands: Commands) -> None:
    """Add `group`."""
    actions = add_command_group(
        commands,
        "group",
        "manage groups of recipients for --to @NAME",
        """
        castray group add office node_1,node_2
        castray send model.safetensors --to @office
        castray group remove office node_2
        """,
    )
    add_command(actions, "list", "list the groups", "castray group list --json", handler=list_groups)
    add = add_command(
        actions,
        "add",
        "add nodes to a group, which is created if necessary",
        "castray group add office node_1,node_2",
        handler=add_members,
    )
    add.add_argument("group", metavar="NAME", help="with or without the @")
    add.add_argument("nodes", metavar="NODE[,NODE...]", help="node names; for available nodes also addresses")
    remove = add_command(
        actions,
        "remove",
        "remove a group, or some nodes from it",
        """
        castray group remove office
        castray group remove office node_2
        """,
        handler=remove_members,
    )
    remove.add_argument("group", metavar="NAME", help="with or without the @")
    remove.add_argument(
        "nodes", nargs="?", default="", metavar="NODE[,NODE...]", help="only these nodes (all)"
    )


async def list_groups(options: argparse.Namespace) -> int:
    """Print all groups."""
    groups = _group_file().load()
    if options.json:
        print_json([{"group": name, "nodes": list(groups[name])} for name in sorted(groups)])
    else:
        print_groups(groups)
    return EXIT_DELIVERED


async def add_members(options: argparse.Namespace) -> int:
    """Add nodes to a group."""
    name, wanted = group_name(options.group), split_names(options.nodes)
    if not wanted:
        raise CastRayError(FailureKind.NO_RECIPIENTS)
    known = await _known_nodes()
    nodes = [_node_name(node, known) for node in wanted]
    if known and (strange := [node for node in nodes if node not in known]):
        print_note(f"warning: the cluster in use has no node {', '.join(strange)}.")
    return _report("added", options, name, _group_file().add_members(name, nodes))


async def remove_members(options: argparse.Namespace) -> int:
    """Remove a group, or nodes from it."""
    name, file = group_name(options.group), _group_file()
    groups = file.load()
    if name not in groups:
        existing = ", ".join(GROUP_PREFIX + other for other in sorted(groups)) or "none"
        raise CastRayError(FailureKind.GROUP_UNKNOWN, group=name, groups=existing)
    nodes = split_names(options.nodes)
    for node in nodes:
        if node not in groups[name]:
            raise CastRayError(FailureKind.NODE_UNKNOWN, node=node, nodes=", ".join(groups[name]))
    return _report("removed", options, name, file.remove_members(name, nodes or groups[name]))


def _group_file() -> RecipientGroupFile:
    """The groups of this home. Raises CastRayError(HOME_NEWER)."""
    paths = find_paths()
    check_home(paths.home)
    return RecipientGroupFile(paths.groups)


async def _known_nodes() -> Mapping[str, NodeInfo]:
    """The nodes of the running engine; none where no engine runs."""
    try:
        async with Session(start=False) as session:
            return dict(session.cache.nodes)
    except CastRayError:
        return {}


def _node_name(node: str, known: Mapping[str, NodeInfo]) -> str:
    """The name of the node with this address or id, as it is where none is known."""
    try:
        return find_node(node, known).name
    except CastRayError:
        return node


def _report(event: str, options: argparse.Namespace, name: str, members: tuple[str, ...]) -> int:
    if options.json:
        print_json({"event": event, "group": name, "nodes": list(members)})
    elif members:
        say(f"{GROUP_PREFIX}{name}: {', '.join(members)}")
    else:
        say(f"Removed {GROUP_PREFIX}{name}.")
    return EXIT_DELIVERED


def print_groups(groups: Mapping[str, tuple[str, ...]]) -> None:
    """Print the groups as a table."""
    if not groups:
        print("No groups.")
        return
    rows = [(GROUP_PREFIX + name, ", ".join(groups[name])) for name in sorted(groups)]
    print_table(("Group", "Nodes"), rows)
