"""Start a cast and show its progress until it ends: bars on a terminal, lines elsewhere, or JSON."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time

from rich.live import Live

from castray_desktop.cli.arguments import EXIT_DELIVERED, EXIT_NOT_DELIVERED
from castray_desktop.cli.interruption import has_hung_up
from castray_desktop.cli.output.cast_text import (
    MAX_ROWS,
    format_state,
    format_wait,
    print_cast_failure,
    print_result,
    print_troubles,
    warn_of_clear_text,
    warn_of_links,
)
from castray_desktop.cli.output.progress_view import ProgressView
from castray_desktop.cli.output.terminal import new_console, output_style, print_json, print_line, print_note
from castray_desktop.cli.session import Session, in_background
from castray_desktop.core.casts.json_views import form_to_json, result_form
from castray_desktop.core.casts.states import cast_name, waits_for_server
from castray_desktop.core.content.quantities import format_rate
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.failures.sentences import TEMPLATES, sentence
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import (
    CastResult,
    CastState,
    CastSummary,
    DeliverySnapshot,
    DeliveryState,
)

JSON_SECONDS = 0.1
LINE_SECONDS = 5.0
BARS_A_SECOND = 8


class CastReporter:
    """Shows a cast from its start to its end. This one shows only how it ended."""

    def progress(self, summary: CastSummary | None, deliveries: tuple[DeliverySnapshot, ...]) -> None:
        """Show deliveries that have changed."""

    def result(self, result: CastResult) -> None:
        """Print how the cast ended; with `--quiet` only what went wrong."""
        print_troubles(result) if output_style().quiet else print_result(result)

    def stop(self) -> None:
        """Show no more progress: the cast has ended, or the command leaves it."""


def new_reporter(as_json: bool) -> CastReporter:
    """The reporter for scripts, or for a person who looks at standard error, as the output style says."""
    if as_json:
        return JsonReporter()
    if not output_style().shows_progress:
        return CastReporter()
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return BarReporter()
    return LineReporter()


class JsonReporter(CastReporter):
    """One object on each line of stdout, as scripts rely on."""

    def __init__(self) -> None:
        self._next = 0.0

    def progress(self, summary: CastSummary | None, deliveries: tuple[DeliverySnapshot, ...]) -> None:
        """Print at most ten lines a second."""
        if not output_style().shows_progress:
            return
        now = asyncio.get_running_loop().time()
        if now < self._next or summary is None:
            return
        self._next = now + JSON_SECONDS
        rows = [{"node": item.node, "bytes": item.bytes, "rate": round(item.rate)} for item in deliveries]
        print_json({"event": "progress", "cast": summary.cast, "deliveries": rows})

    def result(self, result: CastResult) -> None:
        """Print the last line."""
        warn_of_links(result.summary)
        warn_of_clear_text(result.summary, result.deliveries)
        print_cast_failure(result.summary)
        print_json(form_to_json(result_form(result)))


class EarlyWarnings:
    """What a user should know before the cast has ended; each is printed once."""

    def __init__(self) -> None:
        self._links = self._clear_text = False
        self._waits = ""

    def print_new(self, summary: CastSummary, deliveries: tuple[DeliverySnapshot, ...]) -> None:
        """Print those that are due."""
        if summary.broken_links and not self._links:
            self._links = True
            warn_of_links(summary)
        if not self._clear_text and any(item.encrypted is False for item in deliveries):
            self._clear_text = True
            warn_of_clear_text(summary, deliveries)
        failure = summary.failure
        if failure is not None and waits_for_server(summary):
            reason = sentence(failure)
            if reason != self._waits:
                self._waits = reason
                print_note(reason)


class LineReporter(CastReporter):
    """Plain lines: each change of state, and progress every few seconds.

    With many recipients only failures have lines of their own.
    """

    def __init__(self) -> None:
        self._warnings = EarlyWarnings()
        self._states: dict[str, DeliveryState] = {}
        self._next = time.monotonic() + LINE_SECONDS
        self._next_wait = 0.0

    def progress(self, summary: CastSummary | None, deliveries: tuple[DeliverySnapshot, ...]) -> None:
        """Print new states, and the progress if it is due."""
        if summary is None:
            return
        self._warnings.print_new(summary, deliveries)
        if waits_for_server(summary) and time.monotonic() >= self._next_wait:
            self._next_wait = time.monotonic() + LINE_SECONDS
            print_line(f"{cast_name(summary)}: {format_wait(summary)}")
        for item in deliveries:
            if item.state is not self._states.get(item.node, DeliveryState.WAITING):
                self._states[item.node] = item.state
                if not item.state.finished and len(summary.recipients) <= MAX_ROWS:
                    print_line(f"{item.node}: {format_state(item.state)}")
        if summary.bytes and time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_SECONDS
            share = 100 * summary.done_bytes // summary.bytes
            done = f", {summary.verified} of {len(summary.recipients)} done" if summary.verified else ""
            failed = f", {summary.failed} failed" if summary.failed else ""
            rate = format_rate(summary.rate)
            print_line(f"{cast_name(summary)}: {share} % on average, {rate}{done}{failed}")


class BarReporter(CastReporter):
    """Progress bars on a terminal, which disappear at the end, before the result; `keep`: they stay."""

    def __init__(self, *, keep: bool = False) -> None:
        self._view = ProgressView()
        self._live = Live(
            self._view, console=new_console(stderr=True), refresh_per_second=BARS_A_SECOND, transient=not keep
        )
        self._warnings = EarlyWarnings()

    def progress(self, summary: CastSummary | None, deliveries: tuple[DeliverySnapshot, ...]) -> None:
        """Update the bars."""
        if summary is None:
            return
        self._warnings.print_new(summary, deliveries)
        self._view.update(summary, deliveries)
        if summary.bytes or waits_for_server(summary):
            self._live.start()

    def result(self, result: CastResult) -> None:
        """Remove the bars and print the result."""
        self.stop()
        super().result(result)

    def stop(self) -> None:
        """Remove the bars, or leave them as they are."""
        self._live.stop()


StartCommand = messages.Send | messages.Retry | messages.SendAgain | messages.RunSchedule


async def run_cast(session: Session, command: StartCommand, as_json: bool, *, detach: bool = False) -> int:
    """Start a cast and show it until it ends; with `detach`, print its id and leave it to the engine.

    The cast is cancelled when the command is interrupted, and left to the engine when nobody reads the output
    any more: the terminal is gone, or the pipe is closed.
    Returns the exit status. Raises CastRayError if it can't be started.
    """
    asking = asyncio.ensure_future(session.client.request(command, messages.Accepted))
    try:
        accepted = await asyncio.shield(asking)
        if not detach:
            return result_status(await follow_cast(session, accepted.cast, new_reporter(as_json)))
        await keep_running(session, accepted.cast)
    except asyncio.CancelledError:
        with contextlib.suppress(CastRayError):  # the engine may accept it after the interrupt
            cast = (await asking).cast
            if has_hung_up():
                await keep_running(session, cast)
            else:
                await session.client.request(messages.Cancel(cast), messages.Done)
                if not output_style().quiet:
                    print_note(f"cast {cast} was cancelled.")
        raise
    except OSError:  # the output is gone: its reader has seen enough, or the terminal was closed
        with contextlib.suppress(CastRayError):
            await keep_running(session, (await asking).cast)
        raise
    if as_json:
        print_json({"event": "accepted", "cast": accepted.cast})
    else:
        print_line(accepted.cast)
        if sys.stderr.isatty() and not output_style().quiet:
            print_note(f"the cast runs in the background. Show it with: castray follow {accepted.cast}")
    return EXIT_DELIVERED


async def keep_running(session: Session, cast: str) -> None:
    """Leave a cast to the engine, which then runs until the cast has ended."""
    await session.client.request(messages.KeepUntilEnded(cast), messages.Done)
    session.keep = True


async def follow_cast(session: Session, cast: str, reporter: CastReporter) -> CastResult:
    """Show a cast until it has ended, also one that ended long ago; returns its result.

    The cast goes on when the command ends earlier. Raises CastRayError for an unknown cast, and when the
    engine stops before the cast has ended.
    """
    known = session.cache.find(cast)
    if known is not None and not known.state.finished:
        reporter.progress(known, session.cache.deliveries(known.cast))
    try:
        async with in_background(
            _show_progress(session, cast if known is None else known.cast, reporter), "follow cast"
        ):
            # The reply follows the last event of the cast, and is about this attempt of it.
            result = await find_result(session, cast)
    finally:
        reporter.stop()
    reporter.result(result)
    return result


async def find_result(session: Session, cast: str) -> CastResult:
    """The result of a cast, once it has ended, also of one in the history.

    Raises CastRayError for an unknown cast, and when the engine stops before the cast has ended.
    """
    try:
        return await session.client.request(messages.GetResult(cast), CastResult)
    except CastRayError as error:
        if error.failure.kind is FailureKind.ENGINE_UNREACHABLE:
            raise CastRayError(
                FailureKind.ENGINE_UNREACHABLE, reason="it stopped while the cast was running"
            ) from error
        if error.failure.kind is not FailureKind.CAST_UNKNOWN:
            raise
    return await session.client.request(messages.GetPastCast(cast), CastResult)


async def _show_progress(session: Session, cast: str, reporter: CastReporter) -> None:
    """Show the changes of the cast with this id until the connection ends."""
    known = session.cache.casts.get(cast)
    waited = known is not None and waits_for_server(known)
    async for event in session.events():
        match event:
            case messages.DeliveriesChanged(changed, deliveries) if changed == cast:
                reporter.progress(session.cache.casts.get(cast), deliveries)
            case messages.CastChanged(summary) if summary.cast == cast:
                waits = waits_for_server(summary)
                if waits or waited:  # its deliveries don't change meanwhile
                    reporter.progress(summary, session.cache.deliveries(cast))
                waited = waits


def result_status(result: CastResult) -> int:
    """0 if everything was delivered, that of its failure for a cast that could not start, else 1."""
    state, failure = result.summary.state, result.summary.failure
    if state is CastState.COMPLETED:
        return EXIT_DELIVERED
    if state is CastState.FAILED and failure is not None and not result.summary.chain:
        return TEMPLATES[failure.kind].status.exit
    return EXIT_NOT_DELIVERED
