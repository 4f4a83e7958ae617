"""`castray history` lists the casts that have ended, or prints one; `castray stats` prints their totals."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import AsyncIterator, Sequence

import msgspec

from castray_desktop.cli.arguments import (
    EXIT_DELIVERED,
    Commands,
    add_command,
    add_json_option,
    count,
    moment,
)
from castray_desktop.cli.output.cast_text import format_cluster, format_state, print_result
from castray_desktop.cli.output.terminal import (
    format_count,
    format_duration,
    format_moment,
    print_json,
    print_note,
    print_table,
)
from castray_desktop.cli.session import Session
from castray_desktop.core.casts.json_views import (
    CastForm,
    cast_form,
    form_to_json,
    message_to_json,
    result_form,
)
from castray_desktop.core.casts.states import cast_name
from castray_desktop.core.content.quantities import format_bytes, format_rate
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import (
    CastResult,
    CastState,
    CastSummary,
    GetStatistics,
    Statistics,
    StatisticsReport,
)

PAGE = 500
"""Casts that are requested from the engine at once."""

CSV_COLUMNS = (
    "cast",
    "name",
    "state",
    "source",
    "recipients",
    "destination",
    "started",
    "finished",
    "files",
    "bytes",
    "verified",
    "failed",
    "source_copies",
    "schedule",
    "reason",
    "cluster",
    "local",
    "followed_links",
    "kept_links",
    "dangling_links",
    "encrypted",
)


def add_parsers(commands: Commands) -> None:
    """Add `history` and `stats`."""
    parser = add_command(
        commands,
        "history",
        "list past casts, the latest first",
        """
        castray history --state failed --since 7d
        castray history --text llama --csv > casts.csv
        castray history 3f2a9c01d4e5
        """,
        handler=history,
    )
    parser.add_argument("cast", nargs="?", metavar="CAST", help="show this cast with its deliveries")
    parser.add_argument(
        "--text", default="", metavar="TEXT", help="part of a name, a node, a source or a destination"
    )
    parser.add_argument(
        "--state",
        action="append",
        default=[],
        choices=("completed", "partly_failed", "failed", "cancelled"),
        help="can be repeated",
    )
    parser.add_argument("--node", default="", metavar="NODE", help="source or recipient")
    parser.add_argument(
        "--since",
        type=moment,
        default=0.0,
        metavar="WHEN",
        help="a date such as 2026-11-24, or an age such as 7d",
    )
    parser.add_argument("--until", type=moment, default=0.0, metavar="WHEN", help="as for --since")
    parser.add_argument(
        "--limit", type=count, default=100, metavar="N", help="maximum number of casts (100); 0: all"
    )
    formats = parser.add_mutually_exclusive_group()
    add_json_option(formats)
    formats.add_argument("--csv", action="store_true", help="print CSV")
    add_command(commands, "stats", "show statistics of all casts", "castray stats --json", handler=statistics)


async def history(options: argparse.Namespace) -> int:
    """Print ended casts, or one of them with its deliveries."""
    async with Session() as session:
        if options.cast:
            result = await session.client.request(messages.GetPastCast(options.cast), CastResult)
            if options.json:
                print_json(form_to_json(result_form(result)))
            else:
                print_result(result)
            return EXIT_DELIVERED
        casts = [cast async for cast in _pages(session, _query(options), options.limit)]
    if options.json:
        print_json([_without_deliveries(cast_form(cast)) for cast in casts])
    elif options.csv:
        _print_csv([cast_form(cast) for cast in casts])
    else:
        print_history(casts)
    return EXIT_DELIVERED


def _query(options: argparse.Namespace) -> messages.HistoryQuery:
    return messages.HistoryQuery(
        text=options.text,
        states=tuple(CastState(state) for state in options.state),
        node=options.node,
        since=options.since,
        until=options.until,
    )


async def _pages(session: Session, query: messages.HistoryQuery, limit: int) -> AsyncIterator[CastSummary]:
    """The casts that match, the latest first, at most `limit` of them; 0: all."""
    offset = 0
    while not limit or offset < limit:
        size = min(PAGE, limit - offset) if limit else PAGE
        asked = msgspec.structs.replace(query, offset=offset, limit=size)
        page = await session.client.request(messages.GetHistory(asked), messages.HistoryPage)
        for cast in page.casts:
            yield cast
        offset += len(page.casts)
        if page.casts and not query.until:  # casts that end meanwhile would move the others
            query = msgspec.structs.replace(query, until=page.casts[0].finished)
        if not page.casts or offset >= page.total or (limit and offset >= limit):
            if page.unreadable:
                number, verb = page.unreadable, "is" if page.unreadable == 1 else "are"
                print_note(f"{number} in the history can't be read, and {verb} left out.")
            return


def _without_deliveries(form: CastForm) -> dict[str, object]:
    """The fields of a listed cast: its deliveries come only with `castray history CAST`."""
    fields = form_to_json(form)
    del fields["deliveries"]
    return fields


def _print_csv(casts: list[CastForm]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for cast in casts:
        fields = form_to_json(cast) | {
            "recipients": " ".join(cast.recipients),
            "cluster": cast.cluster.address,
            "local": str(cast.cluster.local).lower(),
            "encrypted": yes_or_no(cast.encrypted),
            "followed_links": cast.links.followed,
            "kept_links": cast.links.kept,
            "dangling_links": cast.links.dangling,
        }
        writer.writerow([csv_cell(fields[column]) for column in CSV_COLUMNS])


def yes_or_no(value: bool | None) -> str:
    """ "true" or "false", as in JSON; empty for what is not known."""
    return "" if value is None else str(value).lower()


def csv_cell(value: object) -> object:
    """A value for a spreadsheet; a text that a spreadsheet would evaluate as a formula is quoted."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return "" if value is None else value


def print_history(casts: Sequence[CastSummary]) -> None:
    """Print ended casts as a table."""
    if not casts:
        print("No casts.")
        return
    rows = [
        (
            cast.cast,
            format_moment(cast.finished),
            cast_name(cast),
            format_state(cast.state),
            format_bytes(cast.bytes),
            format_duration(cast.finished - cast.started),
            f"{cast.verified}/{len(cast.recipients)}",
            format_cluster(cast.cluster),
        )
        for cast in casts
    ]
    print_table(("Cast", "Ended", "Name", "State", "Size", "Duration", "Recipients", "Cluster"), rows)


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
    print(f"{format_count(report.active, 'cast')} running, {report.queued} waiting.")
    engine, ever = _totals(report.engine), _totals(report.ever)
    since = report.engine.since
    columns = ("", f"Since {format_moment(since)}" if since else "This engine", "All time")
    print_table(columns, [(name, engine[name], ever[name]) for name in ever])
    nodes = [
        (
            node.node,
            str(node.delivered),
            str(node.failed),
            format_bytes(node.bytes),
            format_rate(node.mean_rate),
            format_rate(node.peak_rate),
        )
        for node in report.ever.nodes
    ]
    if nodes:
        print_table(("Node", "Delivered", "Failed", "Received", "Mean", "Peak"), nodes)


def _totals(numbers: Statistics) -> dict[str, str]:
    return {
        "Casts": str(numbers.casts),
        "completed": str(numbers.completed),
        "partly failed": str(numbers.partly_failed),
        "failed": str(numbers.failed),
        "cancelled": str(numbers.cancelled),
        "Deliveries": str(numbers.delivered),
        "failed ones": str(numbers.failed_deliveries),
        "Delivered": format_bytes(numbers.bytes),
        "Uploaded": format_bytes(numbers.uploaded),
        "Mean speed": format_rate(numbers.mean_rate),
        "Peak speed": format_rate(numbers.peak_rate),
    }
