"""Where the bytes of a running cast come from: the steps with its source, or without it.

The states are a table in `core/feed.py`.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable

from castray_desktop.core.absence import Absences
from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.feed import FeedEvent, FeedState, next_feed_state
from castray_desktop.core.messages import DeliveryState, NodeState
from castray_desktop.workers.agents import Agents
from castray_desktop.workers.casts.ledger import CastLedger, offline
from castray_desktop.workers.casts.orders import Orders
from castray_desktop.workers.casts.relay import Relay
from castray_desktop.workers.casts.surveying import scan_order
from castray_desktop.workers.ray_side import protocol
from castray_desktop.workers.ray_side.protocol import SourceState

log = logging.getLogger("castray.cast")

SourceOrder = protocol.PrepareSource | protocol.ServeSource | protocol.ReadToEnd


class Feeding:
    """Has the source scan and serve, again when it was away; or a recipient take over from it.

    `digest` is the manifest's, where it is known already. `failed(node, failure)` hears of an order that did
    not get there.
    """

    def __init__(
        self,
        ledger: CastLedger,
        agents: Agents,
        orders: Orders,
        absences: Absences,
        clock: Callable[[], float],
        failed: Callable[[str, Failure], None],
        digest: str = "",
    ) -> None:
        self.state = FeedState.SCANNING
        self.broken: Failure | None = None  # why nothing can come from the source any more
        self.digest = digest
        self._resumed = bool(digest)  # agents before the source's present one have served
        self._read_to_end = False  # its present agent was told to
        self.secret = secrets.token_hex(32)
        self.algorithms = protocol.Algorithms()
        self.changed_copies: set[str] = set()  # recipients whose copy is not what was delivered there
        self._ledger = ledger
        self._source = ledger.request.source
        self._agents = agents
        self._orders = orders
        self._absences = absences
        self._clock = clock
        self._failed = failed

    def go(self, event: FeedEvent) -> None:
        """Take an event. Raises IllegalEventError."""
        self.state = next_feed_state(self.state, event)

    def fail(self, failure: Failure) -> None:
        """Nothing can come from the source any more. The first reason counts."""
        self.broken = self.broken or failure

    def feeds(self, node: str) -> bool:
        """Whether others may fetch from `node` now."""
        if node in self._absences:
            return False
        return node != self._source or self.state is FeedState.SERVING

    def begin(self, relay: Relay) -> None:
        """Have the source scan, without a survey."""
        if self.state is FeedState.SCANNING:
            self._scan(relay)

    def go_on(self, relay: Relay) -> None:
        """Take the next step that the news allow."""
        if self.state is FeedState.AWAY:
            self._replace(relay)
        report = self._ledger.source
        if report is None or self.state is FeedState.REPLACED:
            return
        if report.state in (SourceState.FAILED, SourceState.CANCELLED):
            self.fail(self.source_failure())
        elif self.state is FeedState.SCANNING and report.state is SourceState.PREPARED:
            self._compare(report)
            self._serve(relay)
        elif report.state is SourceState.SEALED and report.trailer_digest != self._ledger.trailer_digest:
            self.fail(Failure(FailureKind.PARCEL_CHANGED, {"node": self._source}))
        elif report.state is SourceState.SERVING and self._resumed and self._nobody_asks():
            self._have_read_to_end(relay)

    def _nobody_asks(self) -> bool:
        """Who has all bytes fetches nothing any more, and waits for the trailer's digest."""
        ledger = self._ledger
        states = {ledger.delivery(node).state for node in ledger.unfinished}
        return DeliveryState.VERIFYING in states and DeliveryState.RECEIVING not in states

    def _have_read_to_end(self, relay: Relay) -> None:
        """A source reads as far as its recipients ask, and those may have all bytes from its agent before."""
        if not self._read_to_end:
            self._read_to_end = True
            log.info(
                "cast %s: %s reads to the end, since nobody asks it for more", self._ledger.cast, self._source
            )
            self._tell(protocol.ReadToEnd(self._ledger.cast), relay)

    def source_failure(self) -> Failure:
        """Why the source can't go on."""
        if self._source in self._absences:
            return self._absences.why(self._source)
        report = self._ledger.source
        return (report and report.failure) or offline(self._source)

    def _replace(self, relay: Relay) -> None:
        """Go on with a recipient that has everything, else with the source's next agent."""
        successor, route = self._successor(relay), relay.route
        if successor is not None and route is not None:
            self.go(FeedEvent.TAKEN_OVER)
            log.info("cast %s: %s feeds the others now", self._ledger.cast, successor)
            self._absences.back(self._source)
            self._ledger.source_back()
            relay.change(route.rerooted(successor)[0])
        elif self._source not in self._absences and self._is_online():
            self.go(FeedEvent.BACK)
            self._resumed, self._read_to_end = True, False
            self._scan(relay)
        else:
            self._absences.left(self._source, offline(self._source), self._clock())

    def _successor(self, relay: Relay) -> str | None:
        """A recipient that has every byte and the hashes, and can feed the others."""
        ledger, route = self._ledger, relay.route
        if route is None or not ledger.trailer_digest or ledger.totals is None:
            return None
        for node in route.order()[1:]:
            if node in self._absences or node in self.changed_copies:
                continue
            if ledger.verified_bytes(node) >= ledger.totals.stream_bytes:
                return node
        return None

    def _is_online(self) -> bool:
        info = self._agents.nodes.get(self._source)
        return info is not None and info.state is NodeState.ONLINE

    def _compare(self, report: protocol.SourceReport) -> None:
        digest = report.totals.manifest_digest if report.totals is not None else ""
        self.digest = self.digest or digest
        if digest != self.digest:
            self.fail(Failure(FailureKind.PARCEL_CHANGED, {"node": self._source}))

    def _scan(self, relay: Relay) -> None:
        self._tell(scan_order(self._ledger.cast, self._ledger.request), relay)

    def _serve(self, relay: Relay) -> None:
        """Nobody waits for the answer: who dials before the source serves dials again at once."""
        self.go(FeedEvent.SCANNED)
        epoch = relay.route.epoch if relay.route is not None else 1
        limit = self._ledger.request.limit
        serve = protocol.ServeSource(self._ledger.cast, self.secret, epoch, self.algorithms, limit)
        self._tell(serve, relay)
        self._ledger.source_back()
        relay.feed_from(self._source)

    def _tell(self, order: SourceOrder, relay: Relay) -> None:
        self._orders.spawn(self._ask(order, relay, relay.life(self._source)))

    async def _ask(self, order: SourceOrder, relay: Relay, life: int) -> None:
        """The order is for one agent of the source: the next one has to be told something else first."""
        if life != relay.life(self._source):
            return
        try:
            await self._orders.call(self._source, order)
        except CastRayError as error:
            if life == relay.life(self._source):
                self._failed(self._source, error.failure)
