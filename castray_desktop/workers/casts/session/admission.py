"""Whether a cast may run now: admitted and not paused; and recipients that are paused alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from castray_desktop.core.casts.states import CastEvent
from castray_desktop.core.protocol.messages import CastState
from castray_desktop.core.protocol.nodes.agent_orders import PauseCast
from castray_desktop.workers.casts.session.cast_route import RouteExecutor, RoutePolicy
from castray_desktop.workers.casts.session.session_context import SessionContext
from castray_desktop.workers.casts.session.shared_destination import SharedDestinations

_ACTIVE_STATES = frozenset({CastState.PREPARING, CastState.SENDING, CastState.VERIFYING})


class Admission:
    """Admission and pauses of one cast and of its recipients.

    `request_admission(cast)` asks to run, answered by `start`; `withdraw(cast)` lets another cast run;
    `changed()` is called after every change.
    """

    def __init__(
        self,
        context: SessionContext,
        executor: RouteExecutor,
        policy: RoutePolicy,
        destinations: SharedDestinations,
        request_admission: Callable[[str], None],
        withdraw: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self._context = context
        self._status = context.status
        self._executor = executor
        self._policy = policy
        self._destinations = destinations
        self._request_admission = request_admission
        self._withdraw = withdraw
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
            self._request_admission(self._context.cast)

    def start(self) -> None:
        """Admitted: start, or continue. No effect if it was paused meanwhile, or has ended."""
        if self._status.is_paused or self._status.state.finished:
            return
        self._context.advance(CastEvent.STARTED)
        if self._status.route is not None:
            self._context.advance(CastEvent.PREPARED)
        if self._order_count:
            self.detach_paused()
            self._policy.restart_monitor()
            self._context.background.run(self._resume_nodes(self._next_order(False)))
        self._changed()

    def pause(self) -> None:
        """Pause until `resume` and admission; nothing leaves any node once `wait_paused` returns."""
        if not self._status.is_paused:
            if self.is_active:
                self._pause_order = self._context.background.run(
                    self._executor.broadcast(self._next_order(True))
                )
            self._context.advance(CastEvent.PAUSED)
            self._status.pause(self._status.recipients)
            self._changed()

    def pause_recipients(self, nodes: Iterable[str]) -> None:
        """Pause these recipients until they are resumed; they receive nothing once `wait_paused` returns."""
        self._status.pause(nodes)
        self.detach_paused()

    async def wait_paused(self, nodes: Iterable[str] = ()) -> None:
        """Wait until all nodes know that the cast is paused, and these recipients fetch nothing."""
        if self._status.is_paused and self._pause_order is not None:
            await asyncio.wait([self._pause_order])
        await self._executor.wait_detached(nodes)

    def detach_paused(self) -> None:
        """Detach paused recipients from the route. A cast whose recipients are all paused is paused itself.

        While the cast itself is paused, none is detached: no byte leaves any node, and all keep their places.
        """
        if self._status.is_paused:
            return
        if self._status.all_recipients_paused:
            self.pause()
            self._withdraw(self._context.cast)
            return
        for node in self._status.paused_recipients:
            self._destinations.replace_paused_writer(node)
            if self._executor.has_upstream(node):
                self._executor.detach(node)
        self._executor.send_detachments()

    def resume(self, nodes: Iterable[str] = ()) -> tuple[str, ...]:
        """Resume these recipients, or all; returns which were paused.

        A paused cast requests admission if one of them continues.
        """
        chosen = tuple(nodes)
        resumed = self._status.resume(chosen or self._status.recipients)
        if self._status.is_paused and (resumed or not chosen):
            self._context.advance(CastEvent.RESUMED)
            if self._ready:
                self._request_admission(self._context.cast)
        self._changed()
        self._policy.restart_monitor()
        return resumed

    async def _resume_nodes(self, order: PauseCast) -> None:
        """Resume all, after detaching recipients that stay paused."""
        await self._executor.wait_detached(self._status.paused_recipients)
        await self._executor.broadcast(order)

    def _next_order(self, paused: bool) -> PauseCast:
        """The order is numbered now, so that no later one has a lower number."""
        self._order_count += 1
        return PauseCast(self._context.cast, paused, self._order_count)
