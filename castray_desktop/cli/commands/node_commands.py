"""`castray nodes` and `castray node`: list the nodes, and add or remove nodes of the local cluster."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
from collections.abc import Collection

from castray_desktop.cli.arguments import (
    EXIT_DELIVERED,
    Commands,
    add_command,
    add_command_group,
)
from castray_desktop.cli.output.terminal import print_json, print_note, print_table, say
from castray_desktop.cli.session import Session
from castray_desktop.core.casts.json_views import form_to_json, node_form
from castray_desktop.core.content.quantities import format_bytes
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import NodeInfo, NodeState

REPORT_SECONDS = 3.0
"""How long to wait for the first report of each node."""


def add_parsers(commands: Commands) -> None:
    """Add `nodes` and `node`."""
    add_command(
        commands,
        "nodes",
        "list the nodes",
        """
        castray nodes
        castray nodes --cluster 10.0.0.5:6379 --json
        """,
        handler=list_nodes,
        uses_cluster=True,
    )
    actions = add_command_group(
        commands,
        "node",
        "add or remove a node of the local cluster",
        """
        castray node add node_4 --inbox /data/node_4
        castray node remove node_4
        """,
    )
    add = add_command(
        actions,
        "add",
        "add a node",
        """
        castray node add node_4
        castray node add node_4 --inbox /data/node_4
        """,
        handler=add_node,
        uses_cluster=True,
    )
    add.add_argument("name", metavar="NAME")
    add.add_argument("--on", default="", metavar="NODE", help="the Ray node to place it on")
    add.add_argument("--inbox", default="", metavar="DIR", help="its inbox folder (~/CastRay/NAME)")
    remove = add_command(
        actions,
        "remove",
        "remove a node that was added",
        "castray node remove node_4",
        handler=remove_node,
        uses_cluster=True,
    )
    remove.add_argument("name", metavar="NAME")


async def list_nodes(options: argparse.Namespace) -> int:
    """Print the nodes."""
    async with Session() as session:
        await session.ready(options.cluster)
        await wait_for_reports(session)
        nodes = tuple(session.cache.nodes.values())
    if options.json:
        print_json([form_to_json(node_form(node)) for node in nodes])
    else:
        print_nodes(nodes)
    return EXIT_DELIVERED


async def wait_for_reports(session: Session) -> None:
    """Wait for the first report of each node: it has the disk's size, and follows the node's start."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REPORT_SECONDS):
            while any(
                node.state is NodeState.ONLINE and not node.disk_total
                for node in session.cache.nodes.values()
            ):
                if await anext(session.events(), None) is None:
                    return


def print_nodes(nodes: Collection[NodeInfo]) -> None:
    """Print the nodes as a table, and on stderr the failures of those that are online."""
    rows = [
        (
            node.name,
            node.address,
            node.state.value,
            f"{node.cpus:g}",
            format_bytes(node.memory),
            format_bytes(node.disk_free),
            node.inbox,
        )
        for node in nodes
    ]
    print_table(("Node", "Address", "State", "CPU", "Memory", "Free", "Inbox"), rows)
    for node in nodes:
        if node.state is NodeState.ONLINE and node.failure is not None:
            print_note(sentence(node.failure))


async def add_node(options: argparse.Namespace) -> int:
    """Add a node to the local cluster."""
    inbox = os.path.abspath(options.inbox) if options.inbox else ""
    async with Session(start=False) as session:
        await session.ready(options.cluster)
        await session.client.request(messages.AddNode(options.name, options.on, inbox), messages.Done)
    return _report("added", options)


async def remove_node(options: argparse.Namespace) -> int:
    """Remove a node that was added."""
    async with Session(start=False) as session:
        if options.cluster is not None:
            await session.ready(options.cluster)
        await session.client.request(messages.RemoveNode(options.name), messages.Done)
    return _report("removed", options)


def _report(event: str, options: argparse.Namespace) -> int:
    if options.json:
        print_json({"event": event, "node": options.name})
    else:
        say(f"{event.capitalize()} {options.name}.")
    return EXIT_DELIVERED
