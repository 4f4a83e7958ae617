"""The commands about casts that have ended, and about the engine's settings."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import AsyncIterator

import msgspec

from castray_desktop.cli import arguments, past_text, text
from castray_desktop.cli.session import Session
from castray_desktop.core import messages
from castray_desktop.core.forms import CastForm, cast_form, plain, result_form, whole
from castray_desktop.core.messages import CastState, CastSummary

PAGE = 500
COLUMNS = (
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
)


async def history(options: argparse.Namespace) -> int:
    """Ended casts, or one of them with its deliveries."""
    async with Session() as session:
        if options.cast:
            past = await session.client.request(messages.GetPastCast(options.cast), messages.CastResult)
            _print_past(past, options.json)
            return arguments.EXIT_DELIVERED
        casts = [cast async for cast in _pages(session, _query(options), options.limit)]
    if options.json:
        text.print_json([_without_deliveries(cast_form(cast)) for cast in casts])
    elif options.csv:
        _print_csv([cast_form(cast) for cast in casts])
    else:
        past_text.print_history(casts)
    return arguments.EXIT_DELIVERED


def _print_past(past: messages.CastResult, as_json: bool) -> None:
    if as_json:
        text.print_json(plain(result_form(past)))
    else:
        text.print_result(past)


def _query(options: argparse.Namespace) -> messages.HistoryQuery:
    return messages.HistoryQuery(
        text=options.text,
        states=tuple(CastState(state) for state in options.state),
        node=options.node,
        since=options.since,
        until=options.until,
    )


async def _pages(session: Session, query: messages.HistoryQuery, limit: int) -> AsyncIterator[CastSummary]:
    """The casts that fit, the latest first, so many at most; 0: all."""
    offset = 0
    while not limit or offset < limit:
        size = min(PAGE, limit - offset) if limit else PAGE
        asked = msgspec.structs.replace(query, offset=offset, limit=size)
        page = await session.client.request(messages.GetHistory(asked), messages.HistoryPage)
        for cast in page.casts:
            yield cast
        offset += len(page.casts)
        if not page.casts or offset >= page.total or (limit and offset >= limit):
            if page.unreadable:
                number, verb = page.unreadable, "is" if page.unreadable == 1 else "are"
                print(
                    f"castray: {number} in the history can't be read, and {verb} left out.", file=sys.stderr
                )
            return


def _without_deliveries(form: CastForm) -> dict[str, object]:
    """The history has them for one cast at a time."""
    fields = plain(form)
    del fields["deliveries"]
    return fields


def _print_csv(casts: list[CastForm]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    for cast in casts:
        fields = plain(cast) | {
            "recipients": " ".join(cast.recipients),
            "cluster": cast.cluster.address,
            "local": str(cast.cluster.local).lower(),
            "followed_links": cast.links.followed,
            "kept_links": cast.links.kept,
            "dangling_links": cast.links.dangling,
        }
        writer.writerow([_cell(fields[column]) for column in COLUMNS])


def _cell(value: object) -> object:
    """A value for a spreadsheet: what would be taken for a formula there is made a text."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return "" if value is None else value


async def statistics(options: argparse.Namespace) -> int:
    """All casts in numbers."""
    async with Session() as session:
        report = await session.client.request(messages.GetStatistics(), messages.StatisticsReport)
    if options.json:
        fields = whole(report)
        del fields["type"]
        text.print_json(fields)
    else:
        past_text.print_statistics(report)
    return arguments.EXIT_DELIVERED


async def settings(options: argparse.Namespace) -> int:
    """Say the engine's settings, after changing those that are given."""
    async with Session() as session:
        known = (await session.client.request(messages.GetSettings(), messages.SettingsChanged)).settings
        wanted = msgspec.structs.replace(known, **_changes(options))
        if wanted != known:
            await session.client.request(messages.ChangeSettings(wanted), messages.Done)
    if options.json:
        text.print_json(whole(wanted))
    else:
        past_text.print_settings(wanted)
    return arguments.EXIT_DELIVERED


def _changes(options: argparse.Namespace) -> dict[str, object]:
    """The settings that are given, by their names."""
    given = {
        "casts_at_once": options.casts_at_once,
        "go_on": None if options.go_on is None else options.go_on == "yes",
        "history_days": options.history_days,
        "demo_nodes": options.demo_nodes,
        "stay_awake": None if options.stay_awake is None else options.stay_awake == "yes",
    }
    return {name: value for name, value in given.items() if value is not None}
