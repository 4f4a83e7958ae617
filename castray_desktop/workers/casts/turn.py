"""Whether a cast may take steps at the moment: it has its turn, and is not paused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from castray_desktop.core.cast import CastEvent
from castray_desktop.workers.casts.ledger import CastLedger
from castray_desktop.workers.casts.orders import Orders
from castray_desktop.workers.casts.relay import Relay
from castray_desktop.workers.ray_side.protocol import PauseCast


class Turn:
    """The turn of one cast, and its pauses.

    `ask()` asks for a turn, which comes by `start`; `goes_on()` hears of every turn after a pause, before
    anything flows; `changed()` of every change.
    """

    def __init__(
        self,
        ledger: CastLedger,
        relay: Relay,
        orders: Orders,
        clock: Callable[[], float],
        ask: Callable[[], None] | None,
        goes_on: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self.paused = False
        self._ledger = ledger
        self._relay = relay
        self._orders = orders
        self._clock = clock
        self._ask = ask or self.start
        self._goes_on = goes_on
        self._changed = changed
        self._ready = False
        self._has = False
        self._pauses = 0  # orders to pause or to go on
        self._holding: asyncio.Future[None] | None = None  # the last order to pause

    @property
    def flows(self) -> bool:
        """Whether the cast may take steps."""
        return self._has and not self.paused

    def is_ready(self) -> None:
        """The cast's cluster is there: it takes part from now on."""
        self._ready = True
        if not self.paused:
            self._ask()

    def start(self) -> None:
        """It is its turn: begin, or go on. Does nothing for one that was paused meanwhile, or has ended."""
        if self.paused or self._ledger.state.finished:
            return
        self._has = True
        self._ledger.advance(CastEvent.STARTED, self._clock())
        if self._relay.route is not None:
            self._ledger.advance(CastEvent.PREPARED, self._clock())
        if self._pauses:
            self._goes_on()
            self._orders.spawn(self._let_go(self._order(False)))
        self._changed()

    def pause(self) -> None:
        """Take no step until `resume`, and then a turn; nothing leaves any node once that is `held`."""
        if not self.paused:
            if self._has:
                self._holding = self._orders.spawn(self._relay.tell(self._order(True)))
            self.paused, self._has = True, False
            self._ledger.advance(CastEvent.PAUSED, self._clock())
            self._ledger.pause(self._ledger.recipients)
            self._changed()

    async def held(self) -> None:
        """Returns when all nodes know of the pause."""
        if self._holding is not None:
            await asyncio.wait([self._holding])

    def resume(self, nodes: Iterable[str] = ()) -> None:
        """Have these recipients go on, or all. A paused cast asks for a turn if there is one to go on."""
        chosen = tuple(nodes)
        resumed = self._ledger.resume(chosen or self._ledger.recipients)
        if self.paused and (resumed or not chosen):
            self.paused = False
            self._ledger.advance(CastEvent.RESUMED, self._clock())
            if self._ready:
                self._ask()
        self._changed()

    async def _let_go(self, order: PauseCast) -> None:
        """Everything flows again, but not to those that stay paused: they part before."""
        await self._relay.parted(self._ledger.paused)
        await self._relay.tell(order)

    def _order(self, paused: bool) -> PauseCast:
        """The order has its number now, so that none that is given later is older."""
        self._pauses += 1
        return PauseCast(self._ledger.cast, paused, self._pauses)
