"""`castray send`: send files and folders, or say what sending them would do."""

from __future__ import annotations

import argparse
import sys

from castray_desktop.cli.arguments import (
    EXIT_DELIVERED,
    EXIT_NOT_DELIVERED,
    Commands,
    add_command,
    add_detach_option,
    add_send_arguments,
    send_request,
)
from castray_desktop.cli.output.cast_reporters import run_cast
from castray_desktop.cli.output.cast_text import format_cluster, print_links
from castray_desktop.cli.output.terminal import format_count, print_json, print_line, print_note
from castray_desktop.cli.path_lists import add_paths_arguments, read_path_lists
from castray_desktop.cli.session import Session
from castray_desktop.core.casts.json_views import cast_cluster_form, form_to_json, links_form, problem_to_json
from castray_desktop.core.content.quantities import format_bytes
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import PreflightReport, SendRequest


def add_parsers(commands: Commands) -> None:
    """Add `send`."""
    parser = add_command(
        commands,
        "send",
        "send files and folders",
        """
        castray send model.safetensors --to all
        castray send data/ --to node_1,node_2 --dest /data/{node} --on-conflict overwrite
        castray send /var/log/app --from node_3 --to @office --exclude '*.tmp' --limit 100Mbit/s
        castray send https://host/weights.bin s3://bucket/data --to all --include '*.parquet'
        castray send hf://org/name@main --to all --exclude '*.bin'
        castray send hf://org/name --to all --dest /data/hub --layout hf-cache
        castray send model.safetensors --to all --dry-run
        find . -name '*.safetensors' -print0 | castray send --files-from - -0 --to all
        castray send src/ --to all --exclude-from src/.gitignore
        castray send model.safetensors --to node_1 --json
        castray wait $(castray send model.safetensors --to all --detach)
        """,
        handler=send,
        uses_cluster=True,
    )
    add_paths_arguments(parser)
    add_send_arguments(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--dry-run",
        action="store_true",
        help="check everything and show what would be sent, but send nothing",
    )
    add_detach_option(how)


async def send(options: argparse.Namespace) -> int:
    """Send, and show the cast until it ends."""
    await read_path_lists(options)
    request = send_request(options)
    async with Session() as session:
        await session.ready(options.cluster)
        if options.dry_run:
            return await _dry_run(session, request, options.json)
        return await run_cast(session, messages.Send(request), options.json, detach=options.detach)


async def _dry_run(session: Session, request: SendRequest, as_json: bool) -> int:
    report = await session.client.request(messages.Preflight(request), PreflightReport)
    if as_json:
        print_json(_preflight_object(report))
    else:
        print_preflight(report)
    sendable = not report.problems and not report.left_out_count
    return EXIT_DELIVERED if sendable else EXIT_NOT_DELIVERED


def _preflight_object(report: PreflightReport) -> dict[str, object]:
    return {
        "event": "preflight",
        "cluster": form_to_json(cast_cluster_form(report.cluster)),
        "files": report.files,
        "bytes": report.bytes,
        "recipients": list(report.recipients),
        "problems": [problem_to_json(problem) for problem in report.problems],
        "broken_links": report.broken_links,
        "links": form_to_json(links_form(report)),
        "left_out": [
            {"path": item.path, "kind": item.failure.kind.value, "reason": sentence(item.failure)}
            for item in report.left_out
        ],
        "left_out_count": report.left_out_count,
        "removals": [
            {"node": item.node, "count": item.count, "paths": list(item.paths)} for item in report.removals
        ],
    }


def print_preflight(report: PreflightReport) -> None:
    """Print what would be sent and removed, and what prevents it."""
    files = format_count(report.files, "file")
    print(f"{files}, {format_bytes(report.bytes)}, to {', '.join(report.recipients)}.")
    if report.cluster.target:
        print_line(f"Cluster: {format_cluster(report.cluster)}")
    print_links(report)
    for problem in report.problems:
        print(f"{problem.node}: {sentence(problem.failure)}", file=sys.stderr)
    for item in report.left_out:
        print_note(f"not sent: {sentence(item.failure)}")
    if report.left_out_count > len(report.left_out):
        print_note(f"not sent: {report.left_out_count - len(report.left_out)} more")
    for removal in report.removals:
        items = format_count(removal.count, "item")
        print(f"{removal.node}: {items} that the source no longer has would be removed:")
        for path in removal.paths:
            print(f"  {path}")
        if removal.count > len(removal.paths):
            print(f"  and {removal.count - len(removal.paths)} more")
    if report.left_out_count:
        print(f"Nothing was sent. Entries that can't be sent: {report.left_out_count}.")
    elif not report.problems:
        print("All recipients can receive the files. Nothing was sent.")
