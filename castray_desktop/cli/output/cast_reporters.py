"""Start a cast and show its progress until it ends: bars on a terminal, lines elsewhere, or JSON."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from typing import Protocol

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from castray_desktop.cli.arguments import EXIT_DELIVERED, EXIT_NOT_DELIVERED
from castray_desktop.cli.output.cast_text import (
    format_state,
    print_result,
    warn_of_clear_text,
    warn_of_links,
)
from castray_desktop.cli.output.terminal import new_console, print_json, print_line
from castray_desktop.cli.session import Session
from castray_desktop.core.casts.json_views import form_to_json, result_form
from castray_desktop.core.casts.states import cast_name
from castray_desktop.core.content.quantities import format_bytes
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
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
MAX_BARS = 24


class CastReporter(Protocol):
    """Shows a cast from its start to its end."""

    def progress(self, summary: CastSummary | None, deliveries: tuple[DeliverySnapshot, ...]) -> None:
        """Show deliveries that have changed."""

    def result(self, result: CastResult) -> None:
        """Show how the cast ended."""


def new_reporter(as_json: bool) -> CastReporter:
    """The reporter for this standard error, or for scripts."""
    if as_json:
        return JsonReporter()
    return BarReporter() if sys.stderr.isatty() else LineReporter()


class JsonReporter:
    """One object on each line of stdout, as scripts rely on."""

    def __init__(self) -> None:
        self._next = 0.0

    def progress(self, summary: CastSummary | None, deliveries: tuple[DeliverySnapshot, ...]) -> None:
        """Print at most ten lines a second."""
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
        print_json(form_to_json(result_form(result)))


class EarlyWarnings:
    """What a user should know before the cast has ended; each warning is printed once."""

    def __init__(self) -> None:
        self._links = self._clear_text = False

    def print_new(self, summary: CastSummary, deliveries: tuple[DeliverySnapshot, ...]) -> None:
        """Print those that are due."""
        if summary.broken_links and not self._links:
            self._links = True
            warn_of_links(summary)
        if not self._clear_text and any(item.encrypted is False for item in deliveries):
            self._clear_text = True
            warn_of_clear_text(summary, deliveries)


class LineReporter:
    """Plain lines: each change of state, and progress every few seconds."""

    def __init__(self) -> None:
        self._warnings = EarlyWarnings()
        self._states: dict[str, DeliveryState] = {}
        self._next = time.monotonic() + LINE_SECONDS

    def progress(self, summary: CastSummary | None, deliveries: tuple[DeliverySnapshot, ...]) -> None:
        """Print new states, and the progress if it is due."""
        if summary is None:
            return
        self._warnings.print_new(summary, deliveries)
        for item in deliveries:
            if item.state is not self._states.get(item.node, DeliveryState.WAITING):
                self._states[item.node] = item.state
                if not item.state.finished:
                    print_line(f"{item.node}: {format_state(item.state)}")
        if summary.bytes and time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_SECONDS
            share = 100 * summary.done_bytes // summary.bytes
            print_line(f"{cast_name(summary)}: {share} % on average, {format_bytes(summary.rate)}/s")

    def result(self, result: CastResult) -> None:
        """Print the result."""
        print_result(result)


class BarReporter:
    """A progress bar for each recipient, on a terminal."""

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[state]}"),
            console=new_console(stderr=True),
        )
        self._tasks: dict[str, TaskID] = {}
        self._running = False
        self._warnings = EarlyWarnings()

    def progress(self, summary: CastSummary | None, deliveries: tuple[DeliverySnapshot, ...]) -> None:
        """Update the bars."""
        if summary is None:
            return
        self._warnings.print_new(summary, deliveries)
        if not summary.bytes:
            return
        if not self._running:
            self._bars.start()
            self._running = True
        for item in deliveries:
            task = self._tasks.get(item.node)
            if task is None:
                if len(self._tasks) >= MAX_BARS:
                    continue
                task = self._tasks[item.node] = self._bars.add_task(item.node, state="")
            self._bars.update(task, total=summary.bytes, completed=item.bytes, state=format_state(item.state))

    def result(self, result: CastResult) -> None:
        """Stop the bars and print the result."""
        self.stop()
        print_result(result)

    def stop(self) -> None:
        """Leave the bars as they are."""
        if self._running:
            self._bars.stop()
            self._running = False


StartCommand = messages.Send | messages.Retry | messages.SendAgain | messages.RunSchedule


async def run_cast(session: Session, command: StartCommand, as_json: bool) -> int:
    """Start a cast and show it until it ends; it is cancelled when the command is interrupted.

    Returns the exit status. Raises CastRayError if it can't be started.
    """
    asking = asyncio.ensure_future(session.client.request(command, messages.Accepted))
    try:
        accepted = await asyncio.shield(asking)
        return result_status(await _follow(session, accepted.cast, new_reporter(as_json)))
    except asyncio.CancelledError:
        with contextlib.suppress(CastRayError):  # the engine may accept it after the interrupt
            cast = (await asking).cast
            await session.client.request(messages.Cancel(cast), messages.Done)
        raise


async def _follow(session: Session, cast: str, reporter: CastReporter) -> CastResult:
    """Show progress until the cast has ended."""
    summary: CastSummary | None = None
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


def result_status(result: CastResult) -> int:
    """0 if everything was delivered. Raises CastRayError for a cast that failed before its start."""
    state, failure = result.summary.state, result.summary.failure
    if state is CastState.COMPLETED:
        return EXIT_DELIVERED
    if state is CastState.FAILED and failure is not None and not result.summary.chain:
        raise CastRayError.of(failure)
    return EXIT_NOT_DELIVERED
