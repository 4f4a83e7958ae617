"""The first route of a running cast, and every reason to change it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from castray_desktop.core.absence import Absences
from castray_desktop.core.failure import Failure, FailureKind
from castray_desktop.core.feed import FeedState
from castray_desktop.core.joining import upstream_for
from castray_desktop.core.messages import DeliveryState
from castray_desktop.core.route import Route, plan
from castray_desktop.workers.agents import Agents
from castray_desktop.workers.casts.feeding import Feeding
from castray_desktop.workers.casts.ledger import CastLedger
from castray_desktop.workers.casts.pace import Pace
from castray_desktop.workers.casts.relay import Relay
from castray_desktop.workers.casts.writers import Writers

log = logging.getLogger("castray.cast")


class Rerouting:
    """Decides who fetches from whom. The relay gives the orders."""

    def __init__(
        self,
        ledger: CastLedger,
        agents: Agents,
        relay: Relay,
        feed: Feeding,
        writers: Writers,
        absences: Absences,
        speeds: Mapping[str, float],
        clock: Callable[[], float],
    ) -> None:
        self.pace = Pace(speeds)
        self._ledger = ledger
        self._agents = agents
        self._relay = relay
        self._feed = feed
        self._writers = writers
        self._absences = absences
        self._clock = clock
        self._along_route = True
        self._cut_off: dict[str, int] = {}  # can't fetch from its upstream, as of the route of that epoch

    def cut_off(self, node: str, epoch: int, failure: Failure) -> None:
        """The node can't fetch from the upstream that the route of that epoch gives it."""
        self._cut_off[node] = epoch
        if failure.kind is FailureKind.COPY_CHANGED:
            self._feed.changed_copies.add(failure.values.get("upstream", ""))

    def plan(self) -> None:
        """The first route; everybody on it is told at once."""
        ledger, speeds = self._ledger, self.pace.speeds
        writers = [node for node in ledger.unfinished if self._is_to_fetch(node)]
        zones = self._zones()
        self._relay.begin(
            plan(ledger.request.source, writers, zones=zones, speeds=speeds, size=self._stream_bytes)
        )
        self.begin_pace()

    def begin_pace(self) -> None:
        """What is known of who holds up others says nothing any more."""
        self.pace.begin(self._zones(), self._ledger.request.limit)

    def go_on(self, along_route: bool = True) -> None:
        """Change the route where the news ask for it.

        Bytes that don't come along it say nothing of who holds up others.
        """
        self._bring_in()
        self._go_around()
        if along_route and not self._along_route:
            self.begin_pace()
        self._along_route = along_route
        if along_route:
            self._move_slow()
        else:
            self.pace.rest()

    def _bring_in(self) -> None:
        """Those that should fetch and have no upstream get one: after a loss or a pause, joiners, heirs."""
        route = self._relay.route
        if route is None or self._feed.state is FeedState.AWAY:
            return
        for node in self._ledger.unfinished:
            if node in route.upstreams or node == route.source or not self._is_to_fetch(node):
                continue
            upstream = upstream_for(route, self._feeders(route), self._ledger.verified_bytes(node))
            if upstream is not None:
                route = route.with_leaf(node, upstream)[0]
                self._relay.change(route)

    def _is_to_fetch(self, node: str) -> bool:
        paused = self._ledger.delivery(node).state is DeliveryState.PAUSED
        return node not in self._absences and not paused and self._writers.writer_of(node) is None

    def _feeders(self, route: Route) -> dict[str, int]:
        """Who can feed another one now, and what each has of the stream."""
        found = {
            node: self._ledger.verified_bytes(node)
            for node in route.upstreams
            if (node in self._relay.fetching or self._ledger.delivery(node).state.delivered)
            and node not in self._feed.changed_copies
        }
        if self._feed.feeds(route.source):
            found[route.source] = self._stream_bytes
        return found

    def _go_around(self) -> None:
        """Whoever can't fetch from its upstream fetches from the one above it, or goes to the tail."""
        cut_off, self._cut_off = self._cut_off, {}
        for node, epoch in cut_off.items():
            route = self._relay.route
            if route is None or node not in route.upstreams or self._ledger.delivery(node).state.finished:
                continue
            if epoch < self._relay.ordered.get(node, 0):
                continue
            upstream = route.upstream_of(node)
            if upstream != route.source:
                self._relay.change(route.moved(node, route.upstream_of(upstream))[0])
            elif self._feed.feeds(upstream):
                self._relay.change(route.to_tail(node)[0])

    def _move_slow(self) -> None:
        """A node that holds up those below it goes to the tail."""
        route, now = self._relay.route, self._clock()
        if route is None or not self.pace.is_due(now) or not self._feed.feeds(route.source):
            return
        progress = {node: self._ledger.verified_bytes(node) for node in route.upstreams}
        received = {node: self._ledger.received_bytes(node) for node in route.upstreams}
        fan_out = self.pace.find_slow_fan_out(now, route, progress, self._stream_bytes)
        slow = self.pace.look(now, route, progress, received, self._stream_bytes)
        if fan_out is not None:
            log.info(
                "cast %s: %s feeds several at %.1f MB/s in all; a chain is faster",
                *(self._ledger.cast, fan_out.node, fan_out.rate / 1e6),
            )
            self._relay.change(route.chained(progress, self._zones())[0])
        elif slow is not None:
            log.info("cast %s: %s is slow", self._ledger.cast, slow)
            self._relay.change(route.to_tail(slow)[0])

    @property
    def _stream_bytes(self) -> int:
        return self._ledger.totals.stream_bytes if self._ledger.totals is not None else 0

    def _zones(self) -> dict[str, str]:
        return {name: info.zone for name, info in self._agents.nodes.items()}
