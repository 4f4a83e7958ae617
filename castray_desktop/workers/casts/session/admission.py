"""Whether a cast may run now: admitted and not paused; and recipients that are paused alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from castray_desktop.core.casts.states import CastEvent
from castray_desktop.core.protocol.nodes.agent_protocol import PauseCast
from castray_desktop.workers.casts.session.agent_orders import OrderSender
from castray_desktop.workers.casts.session.cast_status import CastStatus
from castray_desktop.workers.casts.session.route_executor import RouteExecutor
from castray_desktop.workers.casts.session.shared_destination import SharedDestinations


class Admission:
    """Admission and pauses of one cast.

    `request_admission()` asks to run, answered by `start`; `on_resume()` is called when it continues after a
    pause, before any data flows; `changed()` after every change.
    """

    def __init__(
        self,
        ledger: CastStatus,
        relay: RouteExecutor,
        orders: OrderSender,
        clock: Callable[[], float],
        request_admission: Callable[[], None] | None,
        on_resume: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self.paused = False
        self._ledger = ledger
        self._relay = relay
        self._orders = orders
        self._clock = clock
        self._ask = request_admission or self.start
        self._goes_on = on_resume
        self._changed = changed
        self._ready = False
        self._has = False
        self._pauses = 0  # number of pause and resume orders
        self._holding: asyncio.Future[None] | None = None  # the last order to pause

    @property
    def is_active(self) -> bool:
        """Whether the cast may act: admitted and not paused."""
        return self._has and not self.paused

    def cluster_ready(self) -> None:
        """The cast's cluster is in use: request admission."""
        self._ready = True
        if not self.paused:
            self._ask()

    def start(self) -> None:
        """Admitted: start, or continue. No effect if it was paused meanwhile, or has ended."""
        if self.paused or self._ledger.state.finished:
            return
        self._has = True
        self._ledger.advance(CastEvent.STARTED, self._clock())
        if self._relay.route is not None:
            self._ledger.advance(CastEvent.PREPARED, self._clock())
        if self._pauses:
            self._goes_on()
            self._orders.run_in_background(self._let_go(self._order(False)))
        self._changed()

    def pause(self) -> None:
        """Pause until `resume` and admission; nothing leaves any node once `wait_paused` returns."""
        if not self.paused:
            if self._has:
                self._holding = self._orders.run_in_background(self._relay.broadcast(self._order(True)))
            self.paused, self._has = True, False
            self._ledger.advance(CastEvent.PAUSED, self._clock())
            self._ledger.pause(self._ledger.recipients)
            self._changed()

    async def wait_paused(self) -> None:
        """Wait until all nodes know of the pause."""
        if self._holding is not None:
            await asyncio.wait([self._holding])

    def resume(self, nodes: Iterable[str] = ()) -> None:
        """Resume these recipients, or all. A paused cast requests admission if one of them continues."""
        chosen = tuple(nodes)
        resumed = self._ledger.resume(chosen or self._ledger.recipients)
        if self.paused and (resumed or not chosen):
            self.paused = False
            self._ledger.advance(CastEvent.RESUMED, self._clock())
            if self._ready:
                self._ask()
        self._changed()

    async def _let_go(self, order: PauseCast) -> None:
        """Resume all, after detaching recipients that stay paused."""
        await self._relay.wait_detached(self._ledger.paused)
        await self._relay.broadcast(order)

    def _order(self, paused: bool) -> PauseCast:
        """The order is numbered now, so that no later one has a lower number."""
        self._pauses += 1
        return PauseCast(self._ledger.cast, paused, self._pauses)


class PausedRecipients:
    """Detaches paused recipients from the route. A cast whose recipients are all paused is paused itself.

    `withdraw()` lets another cast run.
    """

    def __init__(
        self,
        ledger: CastStatus,
        relay: RouteExecutor,
        writers: SharedDestinations,
        turn: Admission,
        withdraw: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._relay = relay
        self._writers = writers
        self._turn = turn
        self._step_back = withdraw

    def pause(self, nodes: tuple[str, ...]) -> None:
        """Pause these recipients until they are resumed."""
        self._ledger.pause(nodes)
        self.step()

    async def wait_paused(self, nodes: tuple[str, ...]) -> None:
        """Wait until these recipients receive nothing any more."""
        if self._turn.paused:
            await self._turn.wait_paused()
        await self._relay.wait_detached(nodes)

    def step(self) -> None:
        """Detach recipients that are paused and still take part.

        While the cast itself is paused, none is detached: no byte leaves any node, and all keep their places.
        """
        if self._turn.paused:
            return
        if self._ledger.all_paused:
            self._turn.pause()
            self._step_back()
            return
        for node in self._ledger.paused:
            self._writers.replace_paused_writer(node)
            if self._relay.has_upstream(node):
                self._relay.detach(node)
        self._relay.send_detachments()
