"""The end of a cast: wait for the last counts, and remove what is left on the nodes."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from castray_desktop.core.casts.states import CastEvent, DeliveryEvent
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.nodes import agent_protocol
from castray_desktop.workers.casts.session.route_executor import RouteExecutor
from castray_desktop.workers.casts.session.session_context import SessionContext

CLEANUP_SECONDS = 5.0
SETTLE_SECONDS = 0.5

log = logging.getLogger("castray.cast")


class CastCompletion:
    """`stopped` are recipients whose agents have finished with the cast."""

    def __init__(self, context: SessionContext, executor: RouteExecutor) -> None:
        self.stopped: set[str] = set()
        self._context = context
        self._status = context.status
        self._executor = executor

    async def wait_for_final_counts(self) -> None:
        """Wait for the source's final byte counts, so that the result is exact."""
        if self._status.source is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._context.wakeup.until(lambda: self._status.source_settled)

    async def end(self, failure: Failure | None) -> None:
        """End the cast: with a failure, or with the outcome of its deliveries."""
        if failure is None:
            self._context.advance(self._status.outcome())
        elif failure.kind is FailureKind.CANCELLED:
            await self._clean_up()  # deliveries that were committed meanwhile count
            self.end_all(DeliveryEvent.CANCELLED, failure)
            self._context.advance(CastEvent.CANCELLED, failure)
        else:
            self.end_all(DeliveryEvent.FAILED, failure)
            await self._clean_up()
            self._context.advance(CastEvent.FAILED, failure)

    async def _clean_up(self) -> None:
        """Cancel the cast on all agents and wait until recipients have removed their part files."""
        involved = {self._context.source, *self._status.recipients} - set(self._context.absences)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLEANUP_SECONDS):
                await self._context.orders.broadcast(involved, agent_protocol.CancelCast(self._context.cast))
                await self._context.wakeup.until(
                    lambda: not any(self._is_busy(node) for node in self._status.recipients)
                )

    def _is_busy(self, node: str) -> bool:
        return (
            node in self._executor.notified
            and node not in self._context.absences
            and node not in self.stopped
        )

    def end_all(self, event: DeliveryEvent, failure: Failure) -> None:
        """End all unfinished deliveries."""
        for node in self._status.unfinished:
            self._context.end_delivery(node, event, failure)


def failure_of(work: asyncio.Task[None] | None, cancelled: Failure) -> Failure | None:
    """Why a cast's task ended, or never started; `cancelled` if it was ended from outside."""
    if work is None or work.cancelled():
        return cancelled
    error = work.exception()
    if error is None:
        return None
    if isinstance(error, CastRayError):
        return error.failure
    log.error("%s", work.get_name(), exc_info=error)
    return Failure(FailureKind.INTERNAL, {"reason": f"{type(error).__name__}: {error}"})
