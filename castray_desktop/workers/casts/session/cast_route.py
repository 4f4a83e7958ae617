"""The route of one cast: who fetches from whom, every reason to change it, and the orders to the nodes.

`RoutePolicy` decides; `RouteExecutor` sends each node its upstream in a safe order. The nodes on the route
get the trailer's digest, and an upstream dials a recipient that can't dial it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from math import inf

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports, cast_parcel
from castray_desktop.core.protocol.nodes.agent_orders import AnnounceTrailer
from castray_desktop.core.routing.node_speeds import SpeedMeter
from castray_desktop.core.routing.reparenting import NO_UPSTREAM, Move, ReparentingPlan
from castray_desktop.core.routing.route_plan import Route, choose_upstream, plan_route
from castray_desktop.core.routing.stragglers import (
    CHECK_SECONDS,
    SLOW_SHARE,
    FanOutWatch,
    HopLimit,
    StragglerDetector,
)
from castray_desktop.workers.agent.repeated_log_lines import RepeatedLogLines
from castray_desktop.workers.casts.session.session_context import SessionContext
from castray_desktop.workers.casts.session.shared_destination import SharedDestinations

log = logging.getLogger("castray.cast")


class RoutePolicy:
    """Decides who fetches from whom. The route executor sends the orders."""

    def __init__(
        self,
        context: SessionContext,
        executor: RouteExecutor,
        destinations: SharedDestinations,
        speeds: Mapping[str, float],
        node_limit: HopLimit,
    ) -> None:
        """`speeds` are the known speeds of nodes.

        `node_limit` is what the limit of all casts leaves to each hop of this one.
        """
        self.meter = SpeedMeter()
        self._speeds = speeds
        self._node_limit = node_limit
        self._context = context
        self._status = context.status
        self._executor = executor
        self._destinations = destinations
        self._last_check = -inf
        self._unreachable: dict[str, int] = {}  # can't fetch from its upstream, as of the route of that epoch
        self.restart_monitor()

    def upstream_unreachable(self, node: str, epoch: int, failure: Failure) -> None:
        """The node can't fetch from the upstream that the route of that epoch gives it."""
        self._unreachable[node] = epoch
        if failure.kind is FailureKind.COPY_CHANGED:
            self._executor.changed_copies.add(failure.values.get("upstream", ""))

    def plan(self) -> None:
        """Make the first route."""
        source = self._context.source  # a recipient as well if it downloads the files
        writers = [node for node in self._status.unfinished if node != source and self._should_fetch(node)]
        size = self._status.source.stream_bytes
        route = plan_route(source, writers, zones=self._zones(), speeds=self._speeds, size=size)
        self._executor.set_route(route)
        self.restart_monitor()

    def restart_monitor(self) -> None:
        """Restart the search for stragglers: what was measured before says nothing any more."""
        zones = self._zones()
        self.meter.interrupt()
        self._stragglers = StragglerDetector(zones, self._speeds, self._hop_limit)
        self._fan_out = FanOutWatch(zones, self._status.request.options.limit)

    def hops_from(self, node: str) -> int:
        """How many unfinished recipients fetch from the node."""
        route = self._status.route
        below = route.downstreams.get(node, ()) if route is not None else ()
        return sum(not self._status.delivery(other).state.finished for other in below)

    def _hop_limit(self, node: str) -> float:
        """As in `HopLimit`: by the cast's own limit and by that of all casts."""
        own = self._status.request.options.limit
        return min(own / max(1, self.hops_from(node)) if own else inf, self._node_limit(node))

    def step(self, *, uses_relay: bool, has_source: bool) -> None:
        """Change the route where needed.

        Without `uses_relay`, progress says nothing about stragglers. Without `has_source`, no recipient joins
        the route.
        """
        if has_source:
            self._attach_nodes()
        self._bypass_unreachable()
        if uses_relay:
            self._move_straggler()
        else:
            self.restart_monitor()

    def _attach_nodes(self) -> None:
        """Give an upstream to recipients that need one: after a loss or a pause, new ones, new writers."""
        route = self._status.route
        if route is None:
            return
        for node in self._status.unfinished:
            if node in route.upstreams or node == route.source or not self._should_fetch(node):
                continue
            upstream = choose_upstream(
                route, self._possible_upstreams(route), self._status.verified_bytes(node)
            )
            if upstream is not None:
                route = route.reparented(node, upstream)
                self._executor.set_route(route)

    def _should_fetch(self, node: str) -> bool:
        return (
            node not in self._context.absences
            and not self._status.is_recipient_paused(node)
            and node not in self._destinations.writers
        )

    def _possible_upstreams(self, route: Route) -> dict[str, int]:
        """Nodes that can serve now, and their bytes of the stream."""
        found = {
            node: self._status.verified_bytes(node)
            for node in route.upstreams
            if (node in self._executor.fetching or self._status.delivery(node).state.delivered)
            and node not in self._executor.changed_copies
        }
        if self._executor.can_serve(route.source):
            found[route.source] = self._status.source.stream_bytes
        return found

    def _bypass_unreachable(self) -> None:
        """Give a node that can't reach its upstream the one above it, or move it to the tail."""
        unreachable, self._unreachable = self._unreachable, {}
        for node, epoch in unreachable.items():
            route = self._status.route
            if route is None or node not in route.upstreams or self._status.delivery(node).state.finished:
                continue
            if epoch < self._executor.last_epochs.get(node, 0):
                continue
            upstream = route.upstreams[node]
            if upstream != route.source:
                self._executor.set_route(route.reparented(node, route.upstreams[upstream]))
            elif self._executor.can_serve(upstream):
                self._executor.set_route(route.moved_to_tail(node))

    def _move_straggler(self) -> None:
        """Move a straggler to the tail, or make a chain where a node feeds several too slowly."""
        route, now, total = self._status.route, self._context.now, self._status.source.stream_bytes
        is_due = now - self._last_check >= CHECK_SECONDS
        if route is None or not is_due or not self._executor.can_serve(route.source):
            return
        self._last_check = now
        progress = {node: self._status.verified_bytes(node) for node in route.upstreams}
        received = {node: self._status.received_bytes(node) for node in route.upstreams}
        self.meter.update(now, route, progress, received, self._hop_limit)
        slow = self._stragglers.find_straggler(now, route, progress, total)
        fan_out = self._fan_out.update(now, route, progress, total)
        if fan_out is not None:
            limit = self._hop_limit(fan_out.node) * len(route.downstreams[fan_out.node])
            if fan_out.rate < SLOW_SHARE * limit:  # else it is the limit's rate
                self.meter.correct(fan_out.node, fan_out.rate)
            log.info(
                "cast %s: %s feeds several at %.1f MB/s in all; a chain is faster",
                self._context.cast,
                fan_out.node,
                fan_out.rate / 1e6,
            )
            self._executor.set_route(route.chained(progress, self._zones()))
        elif slow is not None:
            log.info("cast %s: %s is a straggler, moved to the tail", self._context.cast, slow)
            self._executor.set_route(route.moved_to_tail(slow))

    def _zones(self) -> dict[str, str]:
        return {name: info.zone for name, info in self._context.agents.nodes.items()}


class RouteExecutor:
    """Changes the route, and sends orders to the nodes concerned in a safe order.

    `start_order(node, epoch, upstream)` makes the first order for a node; `can_serve(node)` returns whether
    others may fetch from it now.
    """

    def __init__(
        self,
        context: SessionContext,
        start_order: Callable[[str, int, cast_parcel.Upstream], agent_orders.StartDelivery],
        can_serve: Callable[[str], bool],
    ) -> None:
        self.fetching: set[str] = set()  # nodes whose current agent acknowledged the order to fetch
        self.notified: set[str] = set()  # nodes to whose current agent that order was at least sent
        self.stopped: set[str] = set()  # nodes whose current agent has finished with the cast
        self.changed_copies: set[str] = set()  # recipients whose copy is not what was delivered there
        self.can_serve = can_serve
        self._context = context
        self._status = context.status
        self._start_order = start_order
        self.last_epochs: dict[str, int] = {}  # the epoch of the last order that a node was given
        self._plan = ReparentingPlan(Route(context.source, {}, epoch=0))
        self._pending: dict[str, asyncio.Future[None]] = {}  # the last order that was not answered yet
        self._root_changes = 0  # how often the root has changed
        # how many agents of a node were lost: replies of earlier ones are ignored
        self.incarnations: dict[str, int] = defaultdict(int)

    def set_route(self, route: Route) -> None:
        """Set the route. `send_due_moves` sends the orders."""
        self._status.route_changed(route)
        self._plan.set_target(route)

    def node_lost(self, node: str) -> None:
        """The node's agent is gone, with its orders."""
        self.incarnations[node] += 1
        self._pending.pop(node, None)
        self.fetching.discard(node)
        self.notified.discard(node)
        self.stopped.discard(node)
        self.remove_node(node)

    def remove_node(self, node: str) -> None:
        """Remove the node from the route; its downstreams go below its upstream."""
        if self._status.route is not None:
            self._plan.forget_node(node)
            self.set_route(self._status.route.without_node(node))

    def has_upstream(self, node: str) -> bool:
        """Whether the route has an upstream for the node."""
        return self._status.route is not None and node in self._status.route.upstreams

    def detach(self, node: str) -> None:
        """Like `remove_node`, for an online node that shall fetch nothing for now; `send_detachments` tells
        it.

        It may return to the route; then its order is to change its upstream.
        """
        if self._status.route is not None:
            self.set_route(self._status.route.without_node(node))

    async def wait_detached(self, nodes: Iterable[str]) -> None:
        """Wait until those of the nodes that are not on the route fetch nothing, or are lost."""
        chosen = tuple(nodes)
        while True:
            self.send_detachments()
            detaching = [self._pending.get(node) for node in chosen if self._plan.is_detaching(node)]
            pending = [order for order in detaching if order is not None and not order.done()]
            if not pending:
                return
            await asyncio.wait(pending)

    async def broadcast(self, order: agent_orders.Order) -> None:
        """Send an order to the source and to every node that fetches or is being told to.

        A node gets it after the orders that it has not acknowledged yet. Errors are ignored, since lost nodes
        are handled elsewhere.
        """
        nodes = sorted({self._context.source, *self.notified, *self._pending})
        work = (
            self._send_after(node, order, self.incarnations[node], self._pending.get(node)) for node in nodes
        )
        await asyncio.gather(*work)

    async def _send_after(
        self,
        node: str,
        order: agent_orders.Order,
        incarnation: int,
        before: asyncio.Future[None] | None,
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
        if self.incarnations[node] == incarnation:
            await self._context.broadcast((node,), order)

    def source_changed(self, root: str) -> None:
        """`root` is the source now, or it has a new agent: its direct downstreams are told again."""
        route = self._status.route
        if route is None:
            return
        self._root_changes += 1
        route = route.rerooted(root)
        there = self._plan.confirmed
        for node in route.downstreams.get(root, ()):
            # A node that has not confirmed the root as its upstream still fetches from another node. A node
            # with a pending order is told again after its answer.
            if there.get(node) == root and node not in self._pending:
                self._plan.resend(node)
        self.set_route(route)

    def feed_from_itself(self, node: str, epoch: int) -> None:
        """Let a recipient that downloads the files fetch from its own source. It is not on the route."""
        self._send_moves((Move(node, node, epoch),))

    def send_due_moves(self) -> None:
        """Send the orders that are due."""
        while moves := self._plan.due_moves():
            self._send_moves(moves)

    def send_detachments(self) -> None:
        """Send detachments only: these are allowed whether the cast is admitted or not."""
        self._send_moves(self._plan.due_detachments())

    def _send_moves(self, moves: tuple[Move, ...]) -> None:
        for move in moves:
            if self._status.delivery(move.node).state.finished:
                self._plan.acknowledged(move)  # it only serves, and needs no upstream
            else:
                self.last_epochs[move.node] = move.epoch
                before = self._pending.get(move.node)
                work = self._send_move(move, self.incarnations[move.node], before)
                self._pending[move.node] = self._context.background.run(work)

    async def _send_move(self, move: Move, incarnation: int, before: asyncio.Future[None] | None) -> None:
        """`before` is the node's pending order, which this one must not overtake."""
        if before is not None:
            await asyncio.wait([before])
        if self.incarnations[move.node] != incarnation:
            return
        node, root_changes = move.node, self._root_changes
        order = self._order(move)
        if order is None:
            self._drop_move(move)
            return
        if (failure := self._context.encryption_failure(node)) is not None:
            self._context.order_failed(node, failure)
            return
        self.notified.add(node)
        try:
            await self._context.agents.call(node, order)
        except CastRayError as error:
            if self.incarnations[node] == incarnation:
                self._context.order_failed(node, error.failure)
            return
        if self.incarnations[node] != incarnation:
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
        else:
            self._plan.forget_node(move.node)
            self._context.wakeup.wake()

    def _order(
        self, move: Move
    ) -> agent_orders.StartDelivery | agent_orders.SetUpstream | agent_orders.PauseDelivery | None:
        """The order for a move; None if the node has not started and has no upstream."""
        notified, cast = move.node in self.notified, self._status.cast
        if move.upstream == NO_UPSTREAM:
            return agent_orders.PauseDelivery(cast, move.epoch) if notified else None
        upstream = self._upstream(move)
        if notified:
            return agent_orders.SetUpstream(cast, move.epoch, upstream)
        return self._start_order(move.node, move.epoch, upstream) if upstream is not None else None

    def _upstream(self, move: Move) -> cast_parcel.Upstream | None:
        """The address of an upstream, if it can serve now."""
        if not self.can_serve(move.upstream):
            return None
        above, below = self._context.agents.hello(move.upstream), self._context.agents.hello(move.node)
        if above is None or below is None:
            return None  # it is lost as well, which gives another move
        encrypted = self._context.uses_engine_certificates(above, below)
        return cast_parcel.Upstream(
            move.upstream, above.address, above.port, above.host, above.local_path, encrypted
        )


class TrailerBroadcast:
    """Sends the trailer's digest to each agent once."""

    def __init__(self, context: SessionContext, executor: RouteExecutor) -> None:
        self._context = context
        self._status = context.status
        self._executor = executor
        self._informed: set[tuple[str, int]] = set()  # each node with the number of its agent

    def step(self) -> None:
        """Send it to agents that lack it, if it is known."""
        digest = self._status.source.trailer_digest
        if not digest:
            return
        agents = {(node, self._executor.incarnations[node]) for node in self._executor.fetching}
        uninformed = agents - self._informed
        self._informed |= uninformed
        going_on = [node for node, _ in uninformed if not self._status.delivery(node).state.finished]
        if going_on:
            self._context.background.run(
                self._context.broadcast(going_on, AnnounceTrailer(self._context.cast, digest))
            )


DIAL_ORDER_SECONDS = 5.0


class ReverseDialRequests:
    """Forwards each request of a recipient to be dialled by its upstream, once."""

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self._seen: dict[str, int] = {}  # the number of the last request of each recipient
        self._log = RepeatedLogLines(log, logging.INFO, "cast %s: %s is to dial %s")

    def delivery_reported(self, node: str, report: agent_reports.DeliveryReport) -> None:
        """Handle a recipient's report, which may request a reverse dial."""
        if report.asked == self._seen.get(node, 0) or report.state in agent_reports.FINAL_RECIPIENT_STATES:
            return
        self._seen[node] = report.asked  # fewer than before: it has a new agent
        if report.asked_upstream:
            self._context.background.run(self._order_dial(node, report))

    async def _order_dial(self, node: str, report: agent_reports.DeliveryReport) -> None:
        agents = self._context.agents
        hello, above = agents.hello(node), agents.hello(report.asked_upstream)
        if hello is None or above is None:
            return
        self._log.log(report.cast, report.asked_upstream, node)
        encrypted = self._context.uses_engine_certificates(above, hello)
        order = agent_orders.DialRecipient(
            report.cast, report.epoch, node, hello.address, hello.port, hello.host, encrypted
        )
        # After an error, the recipient asks again, or another transport connects.
        with contextlib.suppress(CastRayError):
            await agents.call(report.asked_upstream, order, DIAL_ORDER_SECONDS)
