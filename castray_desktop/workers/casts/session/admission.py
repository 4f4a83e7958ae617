"""Whether a cast may run now: admitted and not paused; and recipients that are paused alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from castray_desktop.core.casts.states import CastEvent
from castray_desktop.core.protocol.messages import CastState
from castray_desktop.core.protocol.nodes.agent_orders import PauseCast
from castray_desktop.workers.casts.session.cast_route import RouteExecutor
from castray_desktop.workers.casts.session.cast_status import CastStatus
from castray_desktop.workers.casts.session.session_context import SessionContext
from castray_desktop.workers.casts.session.shared_destination import SharedDestinations

_ACTIVE_STATES = frozenset({CastState.PREPARING, CastState.SENDING, CastState.VERIFYING})


class Admission:
    """Admission and pauses of one cast.

    `request_admission()` asks to run, answered by `start`; `on_resume()` is called when it continues after a
    pause, before any data flows; `changed()` after every change.
    """

    def __init__(
        self,
        context: SessionContext,
        executor: RouteExecutor,
        request_admission: Callable[[], None],
        on_resume: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self._context = context
        self._status = context.status
        self._executor = executor
        self._request_admission = request_admission
        self._on_resume = on_resume
        self._changed = changed
        self._ready = False
        self._order_count = 0  # number of pause and resume orders
        self._pause_order: asyncio.Future[None] | None = None  # the last order to pause

    @property
    def is_active(self) -> bool:
        """Whether the cast may act: admitted and not paused."""
        return self._status.state in _ACTIVE_STATES

    @property
    def absences_count(self) -> bool:
        """Whether the absence of nodes counts: the cast may act, and its cluster is connected."""
        return self._context.agents.settled and self.is_active

    def cluster_ready(self) -> None:
        """The cast's cluster is in use: request admission."""
        self._ready = True
        if not self._status.is_paused:
            self._request_admission()

    def start(self) -> None:
        """Admitted: start, or continue. No effect if it was paused meanwhile, or has ended."""
        if self._status.is_paused or self._status.state.finished:
            return
        self._status.advance(CastEvent.STARTED, self._context.now)
        if self._status.route is not None:
            self._status.advance(CastEvent.PREPARED, self._context.now)
        if self._order_count:
            self._on_resume()
            self._context.background.run(self._resume_nodes(self._next_order(False)))
        self._changed()

    def pause(self) -> None:
        """Pause until `resume` and admission; nothing leaves any node once `wait_paused` returns."""
        if not self._status.is_paused:
            if self.is_active:
                self._pause_order = self._context.background.run(
                    self._executor.broadcast(self._next_order(True))
                )
            self._status.advance(CastEvent.PAUSED, self._context.now)
            self._status.pause(self._status.recipients)
            self._changed()

    async def wait_paused(self) -> None:
        """Wait until all nodes know of the pause."""
        if self._pause_order is not None:
            await asyncio.wait([self._pause_order])

    def resume(self, nodes: Iterable[str] = ()) -> tuple[str, ...]:
        """Resume these recipients, or all; returns which were paused.

        A paused cast requests admission if one of them continues.
        """
        chosen = tuple(nodes)
        resumed = self._status.resume(chosen or self._status.recipients)
        if self._status.is_paused and (resumed or not chosen):
            self._status.advance(CastEvent.RESUMED, self._context.now)
            if self._ready:
                self._request_admission()
        self._changed()
        return resumed

    async def _resume_nodes(self, order: PauseCast) -> None:
        """Resume all, after detaching recipients that stay paused."""
        await self._executor.wait_detached(self._status.paused_recipients)
        await self._executor.broadcast(order)

    def _next_order(self, paused: bool) -> PauseCast:
        """The order is numbered now, so that no later one has a lower number."""
        self._order_count += 1
        return PauseCast(self._context.cast, paused, self._order_count)


class PausedRecipients:
    """Detaches paused recipients from the route. A cast whose recipients are all paused is paused itself.

    `withdraw()` lets another cast run.
    """

    def __init__(
        self,
        status: CastStatus,
        executor: RouteExecutor,
        destinations: SharedDestinations,
        admission: Admission,
        withdraw: Callable[[], None],
    ) -> None:
        self._status = status
        self._executor = executor
        self._destinations = destinations
        self._admission = admission
        self._withdraw = withdraw

    def pause(self, nodes: tuple[str, ...]) -> None:
        """Pause these recipients until they are resumed."""
        self._status.pause(nodes)
        self.step()

    async def wait_paused(self, nodes: tuple[str, ...]) -> None:
        """Wait until these recipients receive nothing any more."""
        if self._status.is_paused:
            await self._admission.wait_paused()
        await self._executor.wait_detached(nodes)

    def step(self) -> None:
        """Detach recipients that are paused and still take part.

        While the cast itself is paused, none is detached: no byte leaves any node, and all keep their places.
        """
        if self._status.is_paused:
            return
        if self._status.all_recipients_paused:
            self._admission.pause()
            self._withdraw()
            return
        for node in self._status.paused_recipients:
            self._destinations.replace_paused_writer(node)
            if self._executor.has_upstream(node):
                self._executor.detach(node)
        self._executor.send_detachments()
