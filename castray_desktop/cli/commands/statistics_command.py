"""`castray stats`: print all casts in numbers."""

from __future__ import annotations

import argparse

from castray_desktop.cli.arguments import Commands, add_command, add_json_option
from castray_desktop.cli.exit_status import EXIT_DELIVERED
from castray_desktop.cli.output.terminal import add_row, format_moment, new_table, print_json, print_table
from castray_desktop.cli.session import Session
from castray_desktop.core.casts.json_views import message_to_json
from castray_desktop.core.content.quantities import format_bytes
from castray_desktop.core.protocol.messages import GetStatistics, Statistics, StatisticsReport


def add_parsers(commands: Commands) -> None:
    """Add `stats`."""
    parser = add_command(
        commands, "stats", "tell all casts in numbers", "castray stats --json", handler=statistics
    )
    add_json_option(parser)


async def statistics(options: argparse.Namespace) -> int:
    """Print the statistics of all casts."""
    async with Session() as session:
        report = await session.client.request(GetStatistics(), StatisticsReport)
    if options.json:
        fields = message_to_json(report)
        del fields["type"]
        print_json(fields)
    else:
        print_statistics(report)
    return EXIT_DELIVERED


def print_statistics(report: StatisticsReport) -> None:
    """Print the numbers of all casts in a table: since the engine's start, and of all times."""
    print(f"{report.active} casts going on, {report.queued} waiting.")
    engine, ever = report.engine, report.ever
    table = new_table("", f"Since {format_moment(engine.since)}" if engine.since else "This engine", "Ever")
    for name, left, right in zip(_ROWS, _cells(engine), _cells(ever), strict=True):
        add_row(table, name, left, right)
    print_table(table)
    if ever.nodes:
        nodes = new_table("Node", "Delivered", "Failed", "Received", "Mean", "Peak")
        for node in ever.nodes:
            add_row(
                nodes,
                node.node,
                str(node.delivered),
                str(node.failed),
                format_bytes(node.bytes),
                f"{format_bytes(node.mean_rate)}/s",
                f"{format_bytes(node.peak_rate)}/s",
            )
        print_table(nodes)


_ROWS = (
    "Casts",
    "completed",
    "partly failed",
    "failed",
    "cancelled",
    "Deliveries",
    "failed ones",
    "Delivered",
    "Uploaded",
    "Mean rate",
    "Peak rate",
)


def _cells(numbers: Statistics) -> tuple[str, ...]:
    return (
        str(numbers.casts),
        str(numbers.completed),
        str(numbers.partly_failed),
        str(numbers.failed),
        str(numbers.cancelled),
        str(numbers.delivered),
        str(numbers.failed_deliveries),
        format_bytes(numbers.bytes),
        format_bytes(numbers.uploaded),
        f"{format_bytes(numbers.mean_rate)}/s",
        f"{format_bytes(numbers.peak_rate)}/s",
    )
