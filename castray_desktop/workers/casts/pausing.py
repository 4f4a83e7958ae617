"""Recipients of a cast that are paused on their own: the others go on without them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from castray_desktop.workers.casts.ledger import CastLedger
from castray_desktop.workers.casts.orders import Orders
from castray_desktop.workers.casts.relay import Relay
from castray_desktop.workers.casts.turn import Turn
from castray_desktop.workers.casts.writers import Writers


class Pausing:
    """Takes paused recipients out of the relay. A cast whose recipients are all paused is paused itself.

    `step_back()` gives the cast's turn to others.
    """

    def __init__(
        self,
        ledger: CastLedger,
        relay: Relay,
        orders: Orders,
        writers: Writers,
        turn: Turn,
        step_back: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._relay = relay
        self._orders = orders
        self._writers = writers
        self._turn = turn
        self._step_back = step_back

    async def pause(self, nodes: tuple[str, ...]) -> None:
        """Have nothing come to these recipients until they are resumed; returns when they know it."""
        self._ledger.pause(nodes)
        if under_way := self.look():
            await asyncio.wait(under_way)

    def look(self) -> list[asyncio.Future[None]]:
        """Part with those that are paused and still take part; the orders that are given for that."""
        if self._turn.paused:
            return []
        if self._ledger.all_paused:
            self._turn.pause()
            self._step_back()
            return [self._orders.spawn(self._turn.hold_back())]
        if not self._turn.flows:
            return []
        paused = self._ledger.paused
        for node in paused:
            self._writers.stand_in_for(node)
        return [self._relay.rest(node) for node in paused if self._relay.is_fed(node)]
