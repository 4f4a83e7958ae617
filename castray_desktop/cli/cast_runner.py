"""Starts a cast, shows it until it ends, and returns the exit status of the command that started it."""

from __future__ import annotations

import asyncio
import contextlib

from castray_desktop.cli.exit_status import EXIT_DELIVERED, EXIT_NOT_DELIVERED
from castray_desktop.cli.output.cast_reporters import CastReporter, new_reporter
from castray_desktop.cli.session import Session
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastResult, CastState, CastSummary

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
