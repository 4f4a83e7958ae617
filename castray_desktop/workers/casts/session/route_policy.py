"""Decide the route: the first plan, and every reason to change it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from math import inf

from castray_desktop.core.casts.states import FailoverState
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.routing.node_speeds import SpeedMeasurement, SpeedMeter
from castray_desktop.core.routing.route_plan import Route, choose_upstream, plan_route
from castray_desktop.core.routing.stragglers import CHECK_SECONDS, FanOutWatch, SlowFanOut, StragglerDetector
from castray_desktop.workers.casts.session.route_executor import RouteExecutor
from castray_desktop.workers.casts.session.session_context import SessionContext
from castray_desktop.workers.casts.session.shared_destination import SharedDestinations
from castray_desktop.workers.casts.session.source_failover import SourceFailover


class ProgressMonitor:
    """Monitors the progress of one cast, as often as reports come. `speeds` are the known speeds."""

    def __init__(self, speeds: Mapping[str, float]) -> None:
        self.speeds = speeds
        self._meter = SpeedMeter()
        self._stragglers = StragglerDetector()
        self._fan_out = FanOutWatch({}, 0)
        self._last_check = -inf

    def restart(self, zones: Mapping[str, str], limit: int) -> None:
        """The cast has started, or a node has returned, whose count starts again.

        `limit` is the cast's own in bytes per second, 0 for none.
        """
        self._meter.interrupt()
        self._stragglers = StragglerDetector(zones, self.speeds, limit)
        self._fan_out = FanOutWatch(zones, limit)

    def interrupt(self) -> None:
        """Ignore hop speeds while data arrives by multicast."""
        self._meter.interrupt()

    def is_due(self, now: float) -> bool:
        """Whether a check is due."""
        return now - self._last_check >= CHECK_SECONDS

    def find_straggler(
        self,
        now: float,
        route: Route,
        progress: Mapping[str, int],
        received: Mapping[str, int],
        total: int,
    ) -> str | None:
        """The straggler to move to the tail now, if any."""
        self._last_check = now
        self._meter.update(now, route, progress, received)
        return self._stragglers.find_straggler(now, route, progress, total)

    def find_slow_fan_out(
        self, now: float, route: Route, progress: Mapping[str, int], total: int
    ) -> SlowFanOut | None:
        """Why a chain would be faster than this route, if it would. As in `FanOutWatch.look`."""
        slow = self._fan_out.update(now, route, progress, total)
        if slow is not None:
            self._meter.correct(slow.node, slow.rate)
        return slow

    def measured(self) -> dict[str, SpeedMeasurement]:
        """Measured speeds."""
        return self._meter.measured()


log = logging.getLogger("castray.cast")


class RoutePolicy:
    """Decides who fetches from whom. The route executor sends the orders."""

    def __init__(
        self,
        context: SessionContext,
        executor: RouteExecutor,
        failover: SourceFailover,
        destinations: SharedDestinations,
        speeds: Mapping[str, float],
    ) -> None:
        self.monitor = ProgressMonitor(speeds)
        self._context = context
        self._status = context.status
        self._executor = executor
        self._failover = failover
        self._destinations = destinations
        self._used_relay = True
        self._unreachable: dict[str, int] = {}  # can't fetch from its upstream, as of the route of that epoch

    def upstream_unreachable(self, node: str, epoch: int, failure: Failure) -> None:
        """The node can't fetch from the upstream that the route of that epoch gives it."""
        self._unreachable[node] = epoch
        if failure.kind is FailureKind.COPY_CHANGED:
            self._failover.changed_copies.add(failure.values.get("upstream", ""))

    def plan(self) -> None:
        """Make the first route."""
        speeds = self.monitor.speeds
        writers = [node for node in self._status.unfinished if self._should_fetch(node)]
        zones = self._zones()
        self._executor.start_route(
            plan_route(
                self._context.source,
                writers,
                zones=zones,
                speeds=speeds,
                size=self._status.source.stream_bytes,
            )
        )
        self.restart_monitor()

    def restart_monitor(self) -> None:
        """Restart the search for stragglers."""
        self.monitor.restart(self._zones(), self._status.request.options.limit)

    def step(self, uses_relay: bool = True) -> None:
        """Change the route where needed.

        Without `uses_relay`, progress says nothing about stragglers.
        """
        self._attach_nodes()
        self._bypass_unreachable()
        if uses_relay and not self._used_relay:
            self.restart_monitor()
        self._used_relay = uses_relay
        if uses_relay:
            self._move_straggler()
        else:
            self.monitor.interrupt()

    def _attach_nodes(self) -> None:
        """Give an upstream to recipients that need one: after a loss or a pause, new ones, new writers."""
        route = self._status.route
        if route is None or self._failover.state is FailoverState.AWAY:
            return
        for node in self._status.unfinished:
            if node in route.upstreams or node == route.source or not self._should_fetch(node):
                continue
            upstream = choose_upstream(
                route, self._possible_upstreams(route), self._status.verified_bytes(node)
            )
            if upstream is not None:
                route = route.with_leaf(node, upstream)[0]
                self._executor.set_route(route)

    def _should_fetch(self, node: str) -> bool:
        return (
            node not in self._context.absences
            and not self._status.is_recipient_paused(node)
            and self._destinations.writers.writer_of(node) is None
        )

    def _possible_upstreams(self, route: Route) -> dict[str, int]:
        """Nodes that can serve now, and their bytes of the stream."""
        found = {
            node: self._status.verified_bytes(node)
            for node in route.upstreams
            if (node in self._executor.fetching or self._status.delivery(node).state.delivered)
            and node not in self._failover.changed_copies
        }
        if self._failover.can_serve(route.source):
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
            upstream = route.upstream_of(node)
            if upstream != route.source:
                self._executor.set_route(route.reparented(node, route.upstream_of(upstream))[0])
            elif self._failover.can_serve(upstream):
                self._executor.set_route(route.moved_to_tail(node)[0])

    def _move_straggler(self) -> None:
        """Move a straggler to the tail."""
        route, now = self._status.route, self._context.now
        if route is None or not self.monitor.is_due(now) or not self._failover.can_serve(route.source):
            return
        progress = {node: self._status.verified_bytes(node) for node in route.upstreams}
        received = {node: self._status.received_bytes(node) for node in route.upstreams}
        fan_out = self.monitor.find_slow_fan_out(now, route, progress, self._status.source.stream_bytes)
        slow = self.monitor.find_straggler(now, route, progress, received, self._status.source.stream_bytes)
        if fan_out is not None:
            log.info(
                "cast %s: %s feeds several at %.1f MB/s in all; a chain is faster",
                self._context.cast,
                fan_out.node,
                fan_out.rate / 1e6,
            )
            self._executor.set_route(route.chained(progress, self._zones())[0])
        elif slow is not None:
            log.info("cast %s: %s is a straggler, moved to the tail", self._context.cast, slow)
            self._executor.set_route(route.moved_to_tail(slow)[0])

    def _zones(self) -> dict[str, str]:
        return {name: info.zone for name, info in self._context.agents.nodes.items()}
