"""Where the bytes come from: the source scans and serves; a complete recipient takes over if it is lost."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable

from castray_desktop.core.casts.grace_period import AbsenceTracker
from castray_desktop.core.casts.states import FailoverEvent, FailoverState, next_failover_state
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import DeliveryState, NodeState
from castray_desktop.core.protocol.nodes import agent_protocol
from castray_desktop.core.protocol.nodes.agent_protocol import SourceState
from castray_desktop.workers.casts.session.agent_orders import AgentDirectory, OrderSender
from castray_desktop.workers.casts.session.cast_status import CastStatus, offline_failure
from castray_desktop.workers.casts.session.recipient_survey import scan_order
from castray_desktop.workers.casts.session.route_executor import RouteExecutor

log = logging.getLogger("castray.cast")

SourceOrder = agent_protocol.PrepareSource | agent_protocol.ServeSource | agent_protocol.ReadToEnd


class SourceFailover:
    """Lets the source scan and serve, again after it was away, or lets a recipient take over.

    `digest` is the manifest's digest if known. `failed(node, failure)` is called when an order was not
    delivered.
    """

    def __init__(
        self,
        ledger: CastStatus,
        agents: AgentDirectory,
        orders: OrderSender,
        absences: AbsenceTracker,
        clock: Callable[[], float],
        failed: Callable[[str, Failure], None],
        digest: str = "",
    ) -> None:
        self.state = FailoverState.SCANNING
        self.broken: Failure | None = None  # why the source can't continue
        self.digest = digest
        self._resumed = bool(digest)  # agents before the source's present one have served
        self._read_to_end = False  # its present agent was told to
        self.secret = secrets.token_hex(32)
        self.algorithms = agent_protocol.Algorithms()
        self.changed_copies: set[str] = set()  # recipients whose copy is not what was delivered there
        self._ledger = ledger
        self._source = ledger.request.source
        self._agents = agents
        self._orders = orders
        self._absences = absences
        self._clock = clock
        self._failed = failed

    def advance(self, event: FailoverEvent) -> None:
        """Apply an event. Raises IllegalEventError."""
        self.state = next_failover_state(self.state, event)

    def fail(self, failure: Failure) -> None:
        """The source can't continue. The first reason counts."""
        self.broken = self.broken or failure

    def can_serve(self, node: str) -> bool:
        """Whether `node` can serve others now."""
        if node in self._absences:
            return False
        return node != self._source or self.state is FailoverState.SERVING

    def start(self, relay: RouteExecutor) -> None:
        """Let the source scan, without a survey."""
        if self.state is FailoverState.SCANNING:
            self._scan(relay)

    def step(self, relay: RouteExecutor) -> None:
        """Take the next possible step."""
        if self.state is FailoverState.AWAY:
            self._replace(relay)
        report = self._ledger.source
        if report is None or self.state is FailoverState.REPLACED:
            return
        if report.state in (SourceState.FAILED, SourceState.CANCELLED):
            self.fail(self.source_failure())
        elif self.state is FailoverState.SCANNING and report.state is SourceState.PREPARED:
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

    def _have_read_to_end(self, relay: RouteExecutor) -> None:
        """A source reads as far as its recipients ask, and those may have all bytes from its agent before."""
        if not self._read_to_end:
            self._read_to_end = True
            log.info(
                "cast %s: %s reads to the end, since nobody asks it for more", self._ledger.cast, self._source
            )
            self._tell(agent_protocol.ReadToEnd(self._ledger.cast), relay)

    def source_failure(self) -> Failure:
        """Why the source can't continue."""
        if self._source in self._absences:
            return self._absences.reason(self._source)
        report = self._ledger.source
        return (report and report.failure) or offline_failure(self._source)

    def _replace(self, relay: RouteExecutor) -> None:
        """Continue with a complete recipient, otherwise with the source's next agent."""
        successor, route = self._successor(relay), relay.route
        if successor is not None and route is not None:
            self.advance(FailoverEvent.TAKEN_OVER)
            log.info("cast %s: %s serves the others now", self._ledger.cast, successor)
            self._absences.mark_back(self._source)
            self._ledger.source_back()
            relay.set_route(route.rerooted(successor)[0])
        elif self._source not in self._absences and self._is_online():
            self.advance(FailoverEvent.BACK)
            self._resumed, self._read_to_end = True, False
            self._scan(relay)
        else:
            self._absences.mark_away(self._source, offline_failure(self._source), self._clock())

    def _successor(self, relay: RouteExecutor) -> str | None:
        """A recipient that has all bytes and hashes, and can serve the others."""
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

    def _compare(self, report: agent_protocol.SourceReport) -> None:
        digest = report.totals.manifest_digest if report.totals is not None else ""
        self.digest = self.digest or digest
        if digest != self.digest:
            self.fail(Failure(FailureKind.PARCEL_CHANGED, {"node": self._source}))

    def _scan(self, relay: RouteExecutor) -> None:
        self._tell(scan_order(self._ledger.cast, self._ledger.request), relay)

    def _serve(self, relay: RouteExecutor) -> None:
        """Nobody waits for the reply: a recipient that dials before the source serves retries at once."""
        self.advance(FailoverEvent.SCANNED)
        epoch = relay.route.epoch if relay.route is not None else 1
        limit = self._ledger.request.limit
        serve = agent_protocol.ServeSource(self._ledger.cast, self.secret, epoch, self.algorithms, limit)
        self._tell(serve, relay)
        self._ledger.source_back()
        relay.source_changed(self._source)

    def _tell(self, order: SourceOrder, relay: RouteExecutor) -> None:
        self._orders.run_in_background(self._ask(order, relay, relay.incarnation(self._source)))

    async def _ask(self, order: SourceOrder, relay: RouteExecutor, life: int) -> None:
        """The order is for one agent of the source: the next agent needs other orders first."""
        if life != relay.incarnation(self._source):
            return
        try:
            await self._orders.call(self._source, order)
        except CastRayError as error:
            if life == relay.incarnation(self._source):
                self._failed(self._source, error.failure)
