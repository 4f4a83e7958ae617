"""`castray verify`: read files back on every node and compare their hashes."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import secrets
import sys
from collections.abc import Callable, Iterator

from castray_desktop.cli.arguments import (
    EXIT_DELIVERED,
    EXIT_NOT_DELIVERED,
    WHO,
    Commands,
    add_command,
    split_names,
)
from castray_desktop.cli.output.terminal import (
    new_console,
    output_style,
    print_json,
    print_line,
    print_note,
    print_table,
)
from castray_desktop.cli.session import Session, in_background
from castray_desktop.core.casts.json_views import (
    cast_cluster_form,
    failure_kind,
    failure_sentence,
    form_to_json,
)
from castray_desktop.core.content.quantities import format_bytes
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import VerifiedNode, VerifiedState, VerifyReport


def add_parsers(commands: Commands) -> None:
    """Add `verify`."""
    parser = add_command(
        commands,
        "verify",
        "read files back on every node and compare their hashes",
        """
        castray verify /data/model.safetensors
        castray verify '/data/{node}/model' --to node_1,node_2
        castray verify --cast 3f2a
        """,
        handler=verify,
        uses_cluster=True,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "path", nargs="?", metavar="PATH", help="a path that is the same on every node; can contain {node}"
    )
    what.add_argument("--cast", metavar="CAST", help="compare what this cast delivered with what was sent")
    parser.add_argument("--to", default="all", metavar="WHO", help=f"{WHO} (all)")


async def verify(options: argparse.Namespace) -> int:
    """Read files back on every node; 0 if all nodes have the same."""
    job = secrets.token_hex(6)
    path = os.path.abspath(options.path) if options.path else ""
    command = messages.Verify(job, options.cast or "", path, split_names(options.to))
    async with Session() as session:
        await session.ready(options.cluster)
        async with in_background(_show_progress(session, job), "verify progress"):
            try:
                report = await session.client.request(command, VerifyReport)
            except asyncio.CancelledError:
                with contextlib.suppress(CastRayError):
                    await session.client.request(messages.CancelVerify(job), messages.Done)
                raise
    if options.json:
        used = messages.CastCluster.of(session.cache.cluster.target, session.cache.cluster.address)
        nodes = [_node_object(node) for node in report.nodes]
        print_json({"event": "verified", "cluster": form_to_json(cast_cluster_form(used)), "nodes": nodes})
    else:
        print_verified(report)
    same = all(node.state is VerifiedState.SAME for node in report.nodes)
    return EXIT_DELIVERED if same else EXIT_NOT_DELIVERED


async def _show_progress(session: Session, job: str) -> None:
    with _read_bar() as update:
        async for event in session.events():
            match event:
                case messages.VerifyProgress(its_job, read, total) if its_job == job:
                    update(read, total)


@contextlib.contextmanager
def _read_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal; call it with the bytes read and the total."""
    if not (sys.stderr.isatty() and output_style().shows_progress):
        yield lambda read, total: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("Reading back"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=new_console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)
        yield lambda read, total: bars.update(task, completed=read, total=total or None)


def _node_object(node: VerifiedNode) -> dict[str, object]:
    return {
        "node": node.node,
        "state": node.state.value,
        "hash": node.hash or None,
        "files": node.files,
        "bytes": node.bytes,
        "differing": list(node.differing),
        "differing_count": node.differing_count,
        "kind": failure_kind(node.failure),
        "reason": failure_sentence(node.failure),
    }


def print_verified(report: VerifyReport) -> None:
    """Print what every node has, and the files that differ."""
    rows = [
        (node.node, node.state.value, str(node.files), format_bytes(node.bytes), node.hash)
        for node in report.nodes
    ]
    print_table(("Node", "State", "Files", "Size", "Hash"), rows)
    for node in report.nodes:
        if node.failure is not None:
            print_note(sentence(node.failure))
        for path in node.differing:
            print_line(f"{node.node}: {path}")
        if node.differing_count > len(node.differing):
            print_line(f"{node.node}: and {node.differing_count - len(node.differing)} more")
