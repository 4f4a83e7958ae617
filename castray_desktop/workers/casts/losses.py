"""Nodes of a running cast that go away, come back, or don't."""

from __future__ import annotations

from collections.abc import Callable

from castray_desktop.core.absence import Absences
from castray_desktop.core.cast import DeliveryEvent
from castray_desktop.core.failure import Failure, FailureKind
from castray_desktop.core.feed import FeedEvent, FeedState
from castray_desktop.core.messages import SendRequest
from castray_desktop.workers.casts.feeding import Feeding
from castray_desktop.workers.casts.ledger import CastLedger, offline
from castray_desktop.workers.casts.relay import Relay
from castray_desktop.workers.casts.writers import Writers


class Losses:
    """Notes who is away and what that means for the others; `left(node)` hears of an agent that has gone."""

    def __init__(
        self,
        ledger: CastLedger,
        feed: Feeding,
        relay: Relay,
        writers: Writers,
        absences: Absences,
        clock: Callable[[], float],
        left: Callable[[str], None],
    ) -> None:
        self._ledger = ledger
        self._feed = feed
        self._relay = relay
        self._writers = writers
        self._absences = absences
        self._clock = clock
        self._left = left

    def lost(self, node: str, failure: Failure) -> bool:
        """The node's agent has gone, and may come back. Whether the cast has to do with it."""
        source, now = self._ledger.request.source, self._clock()
        if node in self._ledger.recipients:
            self._absences.left(node, failure, now)
            self._ledger.away(node, Failure(FailureKind.NODE_AWAY, {"node": node}))
            self._left(node)
            self._writers.pass_on(node)
        elif node == source:
            self._absences.left(node, failure, now)
            self._ledger.source_away(self._ledger.failure)
        else:
            return False
        route = self._relay.route
        feeder = route.source if route is not None else source
        if feeder == node and self._feed.state is not FeedState.AWAY:
            self._feed.go(FeedEvent.LOST)
            self._ledger.source_away(Failure(FailureKind.NODE_AWAY, {"node": source}))
            self._relay.feed_from(feeder)
        self._relay.lost(node)
        return True

    def back(self, node: str) -> bool:
        """The node has an agent again, which knows nothing of the cast. Whether it had been away."""
        if node not in self._absences:
            return False
        self._absences.back(node)
        if node in self._ledger.recipients:
            self._ledger.back(node)
        return True

    def removed(self, node: str) -> bool:
        """The node will not come back. Whether the cast has to do with it."""
        if node == self._ledger.request.source:
            self._feed.fail(offline(node))
        elif node not in self._ledger.recipients:
            return False
        self.lost(node, offline(node))
        if node in self._ledger.recipients:
            self._absences.back(node)
            self._ledger.end_delivery(node, DeliveryEvent.FAILED, self._clock(), offline(node))
        return True

    def give_up(self, counting: bool) -> None:
        """Part with those that have been away for too long; time that does not count passes for nobody."""
        for node in self._absences.look(self._clock(), counting, self._ledger.paused):
            failure = self._absences.why(node)
            if node == self._ledger.request.source:
                self._feed.fail(failure)
                continue
            self._absences.back(node)
            event, failure = put_off(self._ledger.request, node, failure)
            self._ledger.end_delivery(node, event, self._clock(), failure)


def put_off(request: SendRequest, node: str, failure: Failure) -> tuple[DeliveryEvent, Failure]:
    """How the delivery to a node that is not there ends: put off if that was asked for, else failed."""
    if request.await_offline and failure.kind in _NOT_THERE:
        return DeliveryEvent.PUT_OFF, Failure(FailureKind.NODE_AWAITED, {"node": node})
    return DeliveryEvent.FAILED, failure


_NOT_THERE = frozenset({FailureKind.NODE_OFFLINE, FailureKind.NODE_SILENT})
