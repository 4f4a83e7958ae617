"""`castray send`: start a cast, show how it goes, say how it ended."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from typing import Protocol

from castray_desktop.cli import arguments, text
from castray_desktop.cli.session import Session
from castray_desktop.core import messages
from castray_desktop.core.errors import sentence
from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.core.forms import cast_cluster_form, links_form, plain, result_form
from castray_desktop.core.messages import (
    CastResult,
    CastState,
    DeliverySnapshot,
    Links,
    OnConflict,
    SendRequest,
)
from castray_desktop.core.quantities import parse_rate
from castray_desktop.core.removal import check_removal

PROGRESS_SECONDS = 0.1

Starting = messages.Send | messages.Retry | messages.SendAgain | messages.RunSchedule


class Reporter(Protocol):
    """Shows a cast to whoever started the command."""

    def progress(self, result: messages.CastSummary | None, deliveries: tuple[DeliverySnapshot, ...]) -> None:
        """Some deliveries have changed."""

    def result(self, result: CastResult) -> None:
        """The cast has ended."""


async def send(options: argparse.Namespace) -> int:
    """Send; returns the exit status. Raises CastRayError when the cast could not be started."""
    request = request_of(options)
    async with Session() as session:
        await session.ready(options.cluster)
        if options.dry_run:
            return await _dry_run(session, request, options.json)
        return await follow_new(session, messages.Send(request), options.json)


async def follow_new(session: Session, command: Starting, as_json: bool) -> int:
    """Start a cast and show how it goes; it is cancelled when the command is interrupted.

    Returns the exit status. Raises CastRayError when it could not be started.
    """
    asking = asyncio.ensure_future(session.client.request(command, messages.Accepted))
    try:
        accepted = await asyncio.shield(asking)
        return _status(await _follow(session, accepted.cast, _reporter(as_json)))
    except asyncio.CancelledError:
        with contextlib.suppress(CastRayError):  # also what was accepted just now
            cast = (await asking).cast
            await session.client.request(messages.Cancel(cast), messages.Done)
        raise


def request_of(options: argparse.Namespace) -> SendRequest:
    """The request that the options make. Raises CastRayError for what is wrong with them."""
    paths = tuple(os.path.abspath(path) for path in options.paths)
    recipients = arguments.names(options.to)
    limit = parse_rate(options.limit) if options.limit else 0
    if not recipients:
        raise CastRayError(FailureKind.NO_RECIPIENTS)
    if options.dest and not options.dest.startswith("/"):
        raise CastRayError(FailureKind.BAD_DESTINATION, destination=options.dest)
    if options.source is None:  # before a cluster is started for nothing
        from castray_desktop.workers.measure import check_path  # what agents need: much, and for this alone

        for path in paths:
            if (failure := check_path(path, options.links)) is not None:
                raise CastRayError.of(failure)
    request = SendRequest(
        paths=paths,
        recipients=recipients,
        source=options.source or messages.THIS_COMPUTER,
        destination=options.dest,
        on_conflict=OnConflict(options.on_conflict),
        links=Links(options.links),
        exclude=tuple(options.exclude),
        limit=limit,
        transport=messages.Ways(options.transport),
        leave_out=True,
        await_offline=options.await_offline,
        hook=options.hook,
        remove_extra=options.delete,
    )
    check_removal(request)
    return request


async def _dry_run(session: Session, request: SendRequest, as_json: bool) -> int:
    report = await session.client.request(messages.Preflight(request), messages.PreflightReport)
    if as_json:
        problems = [{"node": item.node, "reason": sentence(item.failure)} for item in report.problems]
        plan = {
            "event": "preflight",
            "cluster": plain(cast_cluster_form(report.cluster)),
            "files": report.files,
            "bytes": report.bytes,
            "recipients": list(report.recipients),
            "problems": problems,
            "broken_links": report.broken_links,
            "links": plain(links_form(report)),
            "left_out": [{"path": item.path, "reason": sentence(item.failure)} for item in report.left_out],
            "left_out_count": report.left_out_count,
            "removals": [
                {"node": item.node, "count": item.count, "paths": list(item.paths)}
                for item in report.removals
            ],
        }
        text.print_json(plan)
    else:
        text.print_preflight(report)
    good = not report.problems and not report.left_out_count
    return arguments.EXIT_DELIVERED if good else arguments.EXIT_NOT_DELIVERED


async def _follow(session: Session, cast: str, reporter: Reporter) -> CastResult:
    """Show progress until the cast has ended."""
    summary: messages.CastSummary | None = None
    async for event in session.events():
        match event:
            case messages.CastChanged(changed) if changed.cast == cast:
                summary = changed
            case messages.DeliveriesChanged(changed_cast, deliveries) if changed_cast == cast:
                reporter.progress(summary, deliveries)
            case CastResult() if event.summary.cast == cast:
                reporter.result(event)
                return event
    raise CastRayError(FailureKind.ENGINE_UNREACHABLE, reason="it ended while the cast was running")


def _status(result: CastResult) -> int:
    """0 when everything was delivered. What failed before its start fails with its reason's status."""
    state, failure = result.summary.state, result.summary.failure
    if state is CastState.COMPLETED:
        return arguments.EXIT_DELIVERED
    if state is CastState.FAILED and failure is not None and not result.summary.chain:
        raise CastRayError.of(failure)
    return arguments.EXIT_NOT_DELIVERED


def _reporter(as_json: bool) -> Reporter:
    if as_json:
        return JsonReporter()
    return text.BarReporter() if sys.stderr.isatty() else text.LineReporter()


class JsonReporter:
    """One object a line on stdout, as scripts rely on."""

    def __init__(self) -> None:
        self._next = 0.0

    def progress(
        self, summary: messages.CastSummary | None, deliveries: tuple[DeliverySnapshot, ...]
    ) -> None:
        """At most ten lines a second."""
        now = asyncio.get_running_loop().time()
        if now < self._next or summary is None:
            return
        self._next = now + PROGRESS_SECONDS
        rows = [{"node": item.node, "bytes": item.bytes, "rate": round(item.rate)} for item in deliveries]
        text.print_json({"event": "progress", "cast": summary.cast, "deliveries": rows})

    def result(self, result: CastResult) -> None:
        """The last line."""
        text.warn_of_links(result.summary)
        text.print_json(plain(result_form(result)))
