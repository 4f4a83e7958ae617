"""Carry out the route: send each node its upstream in a safe order, and the trailer's digest.

An upstream dials a recipient that can't dial it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable

from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.protocol.nodes import agent_protocol
from castray_desktop.core.protocol.nodes.agent_protocol import AnnounceTrailer
from castray_desktop.core.routing.reparenting import ReparentingPlan
from castray_desktop.core.routing.route_plan import NO_UPSTREAM, Move, Route
from castray_desktop.workers.agent.repeated_log_lines import RepeatedLogLines
from castray_desktop.workers.casts.session.agent_orders import AgentDirectory, OrderSender
from castray_desktop.workers.casts.session.session_context import SessionContext

log = logging.getLogger("castray.cast")


class RouteExecutor:
    """Changes the route, and sends orders to the nodes concerned in a safe order.

    `start_order(node, epoch, upstream)` makes the first order for a node; `can_serve(node)` returns whether
    others may fetch from it now.
    """

    def __init__(
        self,
        context: SessionContext,
        start_order: Callable[[str, int, agent_protocol.Upstream], agent_protocol.StartDelivery],
        can_serve: Callable[[str], bool],
    ) -> None:
        self.fetching: set[str] = set()  # nodes whose current agent acknowledged the order to fetch
        self.notified: set[str] = set()  # nodes to whose current agent that order was at least sent
        self._context = context
        self._status = context.status
        self._start_order = start_order
        self._can_serve = can_serve
        self.last_epochs: dict[str, int] = {}  # the epoch of the last order that a node was given
        self._plan: ReparentingPlan | None = None
        self._pending: dict[str, asyncio.Future[None]] = {}  # the last order that was not answered yet
        self._root_changes = 0  # how often the root has changed
        self._incarnations: dict[str, int] = defaultdict(int)  # how many agents of a node were lost

    def start_route(self, route: Route) -> None:
        """Start with the first plan."""
        self._plan = ReparentingPlan(route)
        self._status.route_changed(route)

    def set_route(self, route: Route) -> None:
        """Set the route. `send_due_moves` sends the orders."""
        self._status.route_changed(route)
        if self._plan is not None:
            self._plan.set_target(route)

    def node_lost(self, node: str) -> None:
        """The node's agent is gone, with its orders."""
        self._incarnations[node] += 1
        self._pending.pop(node, None)
        self.fetching.discard(node)
        self.notified.discard(node)
        self.remove_node(node)

    def remove_node(self, node: str) -> None:
        """Remove the node from the route; its downstreams go below its upstream."""
        if self._status.route is not None and self._plan is not None:
            self._plan.forget_node(node)
            self.set_route(self._status.route.without_node(node)[0])

    def has_upstream(self, node: str) -> bool:
        """Whether the route has an upstream for the node."""
        return self._status.route is not None and node in self._status.route.upstreams

    def detach(self, node: str) -> None:
        """Like `remove_node`, for an online node that shall fetch nothing for now; `send_detachments` tells
        it.

        It may return to the route; then its order is to change its upstream.
        """
        if self._status.route is not None:
            self.set_route(self._status.route.without_node(node)[0])

    async def wait_detached(self, nodes: Iterable[str]) -> None:
        """Wait until those of the nodes that are not on the route fetch nothing, or are lost."""
        chosen, plan = tuple(nodes), self._plan
        while plan is not None:
            self.send_detachments()
            detaching = [self._pending.get(node) for node in chosen if plan.is_detaching(node)]
            pending = [order for order in detaching if order is not None and not order.done()]
            if not pending:
                return
            await asyncio.wait(pending)

    async def broadcast(self, order: agent_protocol.Order) -> None:
        """Send an order to the source and to every node that fetches or is being told to.

        A node gets it after the orders that it has not acknowledged yet. Errors are ignored, since lost nodes
        are handled elsewhere.
        """
        nodes = sorted({self._context.source, *self.notified, *self._pending})
        work = (
            self._send_after(node, order, self._incarnations[node], self._pending.get(node)) for node in nodes
        )
        await asyncio.gather(*work)

    async def _send_after(
        self,
        node: str,
        order: agent_protocol.Order,
        incarnation: int,
        before: asyncio.Future[None] | None,
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
        if self._incarnations[node] == incarnation:
            await self._context.orders.broadcast((node,), order)

    def incarnation(self, node: str) -> int:
        """How many agents of the node were lost; replies of earlier ones are ignored."""
        return self._incarnations[node]

    def source_changed(self, root: str) -> None:
        """`root` is the source now, or it has a new agent: its direct downstreams are told again."""
        route = self._status.route
        if route is None or self._plan is None:
            return
        self._root_changes += 1
        route = route.rerooted(root)[0]
        there = self._plan.confirmed
        for node in route.direct_downstreams(root):
            # A node that has not confirmed the root as its upstream still fetches from another node. A node
            # with a pending order is told again after its answer.
            if there.get(node) == root and node not in self._pending:
                self._plan.resend(node)
        self.set_route(route)

    def send_due_moves(self) -> None:
        """Send the orders that are due."""
        if self._plan is not None:
            while moves := self._plan.due_moves():
                self._send_moves(self._plan, moves)

    def send_detachments(self) -> None:
        """Send detachments only: these are allowed whether the cast is admitted or not."""
        if self._plan is not None:
            self._send_moves(self._plan, self._plan.due_detachments())

    def _send_moves(self, plan: ReparentingPlan, moves: tuple[Move, ...]) -> None:
        for move in moves:
            if self._status.delivery(move.node).state.finished:
                plan.acknowledged(move)  # it only serves, and needs no upstream
            else:
                self.last_epochs[move.node] = move.epoch
                before = self._pending.get(move.node)
                work = self._send_move(move, self._incarnations[move.node], before)
                self._pending[move.node] = self._context.orders.run_in_background(work)

    async def _send_move(self, move: Move, incarnation: int, before: asyncio.Future[None] | None) -> None:
        """`before` is the node's pending order, which this one must not overtake."""
        if before is not None:
            await asyncio.wait([before])
        if self._incarnations[move.node] != incarnation:
            return
        node, root_changes = move.node, self._root_changes
        order = self._order(move)
        if order is None:
            self._drop_move(move)
            return
        self.notified.add(node)
        try:
            await self._context.orders.call(node, order)
        except CastRayError as error:
            if self._incarnations[node] == incarnation:
                self._context.order_failed(node, error.failure)
            return
        if self._incarnations[node] != incarnation or self._plan is None:
            return
        log.info("cast %s: %s fetches from %s", self._context.cast, node, move.upstream or "nobody")
        self.fetching.add(node)
        if self._pending.get(node) is asyncio.current_task():
            del self._pending[node]
        self._plan.acknowledged(move)
        if root_changes != self._root_changes and move.upstream == self._plan.target.source:
            self._plan.resend(node)  # it has the root's previous address
        self._context.wakeup.wake()

    def _drop_move(self, move: Move) -> None:
        """There is no upstream to start with, or nothing to end."""
        if move.upstream != NO_UPSTREAM:
            self.remove_node(move.node)
        elif self._plan is not None:
            self._plan.forget_node(move.node)
            self._context.wakeup.wake()

    def _order(
        self, move: Move
    ) -> agent_protocol.StartDelivery | agent_protocol.SetUpstream | agent_protocol.PauseDelivery | None:
        """The order for a move; None if the node has not started and has no upstream."""
        notified, cast = move.node in self.notified, self._status.cast
        if move.upstream == NO_UPSTREAM:
            return agent_protocol.PauseDelivery(cast, move.epoch) if notified else None
        upstream = self._upstream(move.upstream)
        if notified:
            return agent_protocol.SetUpstream(cast, move.epoch, upstream)
        return self._start_order(move.node, move.epoch, upstream) if upstream is not None else None

    def _upstream(self, node: str) -> agent_protocol.Upstream | None:
        """The address of an upstream, if it can serve now."""
        if not self._can_serve(node):
            return None
        hello = self._context.hello(node)
        if hello is None:
            return None  # it is lost as well, which gives another move
        return agent_protocol.Upstream(node, hello.address, hello.port, hello.host, hello.local_path)


class TrailerBroadcast:
    """Sends the trailer's digest to each agent once."""

    def __init__(self, context: SessionContext, executor: RouteExecutor) -> None:
        self._context = context
        self._status = context.status
        self._executor = executor
        self._informed: set[str] = set()  # nodes whose current agent knows the digest

    def node_lost(self, node: str) -> None:
        """The node's agent is gone, with its state."""
        self._informed.discard(node)

    def step(self) -> None:
        """Send it to agents that lack it, if it is known."""
        digest = self._status.source.trailer_digest
        if not digest:
            return
        uninformed = self._executor.fetching - self._informed
        self._informed |= uninformed
        going_on = [node for node in uninformed if not self._status.delivery(node).state.finished]
        if going_on:
            self._context.orders.run_in_background(
                self._context.orders.broadcast(going_on, AnnounceTrailer(self._context.cast, digest))
            )


DIAL_ORDER_SECONDS = 5.0


class ReverseDialRequests:
    """Forwards each request of a recipient to be dialled by its upstream, once."""

    def __init__(self, agents: AgentDirectory, orders: OrderSender) -> None:
        self._agents = agents
        self._orders = orders
        self._seen: dict[str, int] = {}  # the number of the last request of each recipient
        self._log = RepeatedLogLines(log, logging.INFO, "cast %s: %s is to dial %s")

    def delivery_reported(self, node: str, report: agent_protocol.DeliveryReport) -> None:
        """Handle a recipient's report, which may request a reverse dial."""
        if report.asked == self._seen.get(node, 0) or report.state in agent_protocol.FINAL_RECIPIENT_STATES:
            return
        self._seen[node] = report.asked  # fewer than before: it has a new agent
        if report.asked_upstream:
            self._orders.run_in_background(self._order_dial(node, report))

    async def _order_dial(self, node: str, report: agent_protocol.DeliveryReport) -> None:
        self._log.log(report.cast, report.asked_upstream, node)
        # After an error, the recipient asks again, or another transport connects.
        with contextlib.suppress(CastRayError, TimeoutError):
            hello = self._agents.hello(node)
            order = agent_protocol.DialRecipient(report.cast, report.epoch, node, hello.address, hello.port)
            async with asyncio.timeout(DIAL_ORDER_SECONDS):
                await self._orders.call(report.asked_upstream, order)
