"""The end of a cast: the last counts are waited for, and what is left at the nodes is removed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from castray_desktop.core.absence import Absences
from castray_desktop.core.cast import CastEvent, DeliveryEvent
from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.workers.casts.ledger import CastLedger
from castray_desktop.workers.casts.orders import Orders
from castray_desktop.workers.casts.relay import Relay
from castray_desktop.workers.ray_side import protocol

CLEANUP_SECONDS = 5.0
SETTLE_SECONDS = 0.5

log = logging.getLogger("castray.cast")


class Ending:
    """`stopped` are the recipients whose agents have said that they are through with the cast.

    `until(condition)` waits for news that make it true, `advance` takes an event of the cast.
    """

    def __init__(
        self,
        ledger: CastLedger,
        relay: Relay,
        orders: Orders,
        absences: Absences,
        clock: Callable[[], float],
        until: Callable[[Callable[[], bool]], Awaitable[None]],
        advance: Callable[[CastEvent, Failure | None], None],
    ) -> None:
        self.stopped: set[str] = set()
        self._ledger = ledger
        self._relay = relay
        self._orders = orders
        self._absences = absences
        self._clock = clock
        self._until = until
        self._advance = advance

    async def settle(self) -> None:
        """Wait for the source's last count of what it sent; the result shall be exact."""
        if self._ledger.source is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._until(lambda: self._ledger.source_settled)

    async def end(self, failure: Failure | None) -> None:
        """End the cast: by a failure, or as its deliveries have ended."""
        if failure is None:
            self._advance(self._ledger.outcome(), None)
        elif failure.kind is FailureKind.CANCELLED:
            await self._clean_up()  # who has landed it meanwhile has it
            self.end_all(DeliveryEvent.CANCELLED, failure)
            self._advance(CastEvent.CANCELLED, failure)
        else:
            self.end_all(DeliveryEvent.FAILED, failure)
            await self._clean_up()
            self._advance(CastEvent.FAILED, failure)

    async def _clean_up(self) -> None:
        """Have all agents end the cast, and wait until the recipients have removed their part files."""
        involved = {self._ledger.request.source, *self._ledger.recipients} - set(self._absences)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLEANUP_SECONDS):
                await self._orders.tell(involved, protocol.CancelCast(self._ledger.cast))
                await self._until(lambda: not any(self._is_busy(node) for node in self._ledger.recipients))

    def _is_busy(self, node: str) -> bool:
        return node in self._relay.told and node not in self._absences and node not in self.stopped

    def end_all(self, event: DeliveryEvent, failure: Failure) -> None:
        """No delivery goes on."""
        for node in self._ledger.unfinished:
            self._ledger.end_delivery(node, event, self._clock(), failure)


def failure_of(work: asyncio.Task[None] | None, cancelled: Failure) -> Failure | None:
    """Why a cast's work ended, which is over or has never begun; `cancelled` if it was ended from outside."""
    if work is None or work.cancelled():
        return cancelled
    error = work.exception()
    if error is None:
        return None
    if isinstance(error, CastRayError):
        return error.failure
    log.error("%s", work.get_name(), exc_info=error)
    return Failure(FailureKind.INTERNAL, {"reason": f"{type(error).__name__}: {error}"})
