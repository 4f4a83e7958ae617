"""Recipients that are lost, return, are removed, or are added while a cast runs."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from castray_desktop.core.casts.grace_period import AbsenceTracker
from castray_desktop.core.casts.states import DeliveryEvent, FailoverEvent, FailoverState
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import CastMode, SendRequest
from castray_desktop.core.protocol.nodes.agent_protocol import DestinationReply
from castray_desktop.workers.casts.session.agent_orders import AgentDirectory, OrderSender
from castray_desktop.workers.casts.session.cast_status import CastStatus, offline_failure
from castray_desktop.workers.casts.session.recipient_survey import RecipientSurvey, survey_recipients
from castray_desktop.workers.casts.session.route_executor import RouteExecutor
from castray_desktop.workers.casts.session.shared_destination import SharedDestinations
from castray_desktop.workers.casts.session.source_failover import SourceFailover


class LostNodes:
    """Tracks lost nodes and what follows for the others; `left(node)` is called when an agent is gone."""

    def __init__(
        self,
        ledger: CastStatus,
        feed: SourceFailover,
        relay: RouteExecutor,
        writers: SharedDestinations,
        absences: AbsenceTracker,
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

    def node_lost(self, node: str, failure: Failure) -> bool:
        """The node's agent is gone and may return. Returns whether the node takes part in the cast."""
        source, now = self._ledger.request.source, self._clock()
        if node in self._ledger.recipients:
            self._absences.mark_away(node, failure, now)
            self._ledger.node_away(node, Failure(FailureKind.NODE_AWAY, {"node": node}))
            self._left(node)
            self._writers.replace_writer(node)
        elif node == source:
            self._absences.mark_away(node, failure, now)
            self._ledger.source_away(self._ledger.failure)
        else:
            return False
        route = self._relay.route
        feeder = route.source if route is not None else source
        if feeder == node and self._feed.state is not FailoverState.AWAY:
            self._feed.advance(FailoverEvent.LOST)
            self._ledger.source_away(Failure(FailureKind.NODE_AWAY, {"node": source}))
            self._relay.source_changed(feeder)
        self._relay.node_lost(node)
        return True

    def node_returned(self, node: str) -> bool:
        """The node has a new agent, without state of the cast. Returns whether it was away."""
        if node not in self._absences:
            return False
        self._absences.mark_back(node)
        if node in self._ledger.recipients:
            self._ledger.node_back(node)
        return True

    def node_removed(self, node: str) -> bool:
        """The node was removed. Whether the cast has to do with it."""
        if node == self._ledger.request.source:
            self._feed.fail(offline_failure(node))
        elif node not in self._ledger.recipients:
            return False
        self.node_lost(node, offline_failure(node))
        if node in self._ledger.recipients:
            self._absences.mark_back(node)
            self._ledger.end_delivery(node, DeliveryEvent.FAILED, self._clock(), offline_failure(node))
        return True

    def expire(self, counting: bool) -> None:
        """Give up nodes whose grace period has expired."""
        for node in self._absences.expired(self._clock(), counting, self._ledger.paused):
            failure = self._absences.reason(node)
            if node == self._ledger.request.source:
                self._feed.fail(failure)
                continue
            self._absences.mark_back(node)
            event, failure = absent_outcome(self._ledger.request, node, failure)
            self._ledger.end_delivery(node, event, self._clock(), failure)


def absent_outcome(request: SendRequest, node: str, failure: Failure) -> tuple[DeliveryEvent, Failure]:
    """How the delivery to an absent node ends: deferred if requested, else failed."""
    if request.await_offline and failure.kind in _NOT_THERE:
        return DeliveryEvent.PUT_OFF, Failure(FailureKind.NODE_AWAITED, {"node": node})
    return DeliveryEvent.FAILED, failure


_NOT_THERE = frozenset({FailureKind.NODE_OFFLINE, FailureKind.NODE_SILENT})


class AddedRecipients:
    """Surveys new recipients and adds them; the cast does not end meanwhile.

    `check()` raises CastRayError(CAST_FINISHED) if the cast accepts no recipients any more.
    """

    def __init__(
        self,
        ledger: CastStatus,
        agents: AgentDirectory,
        orders: OrderSender,
        feed: SourceFailover,
        writers: SharedDestinations,
        clock: Callable[[], float],
        check: Callable[[], None],
    ) -> None:
        self.pending = 0  # requests in progress
        self._ledger = ledger
        self._agents = agents
        self._orders = orders
        self._feed = feed
        self._writers = writers
        self._clock = clock
        self._check = check

    async def add_recipients(self, nodes: tuple[str, ...], mode: CastMode) -> RecipientSurvey:
        """Add these recipients; those that can't take it fail alone.

        Raises CastRayError: CAST_FINISHED.
        """
        self._check()
        ledger = self._ledger
        totals = ledger.totals
        if totals is None:
            raise RuntimeError("a route before the scan")
        self.pending += 1
        try:
            survey = await survey_recipients(
                ledger.cast, ledger.request, totals, nodes, self._agents, self._orders
            )
            self._check()
            replies = {node: self._lacks_hashes(node) or reply for node, reply in survey.replies.items()}
            await self._writers.find_shared(
                {node: reply for node, reply in replies.items() if not reply.failure}
            )
            self._check()
            for node, reply in replies.items():
                self._join(node, reply, mode)
            ledger.request = msgspec.structs.replace(ledger.request, recipients=ledger.recipients)
            return RecipientSurvey(survey.totals, replies)
        finally:
            self.pending -= 1

    def _join(self, node: str, reply: DestinationReply, mode: CastMode) -> None:
        """Add one recipient; the next reaction gives it an upstream."""
        info = self._agents.nodes.get(node)
        self._ledger.add_recipient(node, info.address if info is not None else "", mode)
        if reply.failure is not None:
            self._ledger.end_delivery(node, DeliveryEvent.FAILED, self._clock(), reply.failure)
        else:
            self._writers.add_recipient(node)

    def _lacks_hashes(self, node: str) -> DestinationReply | None:
        """The failure if it lacks the cast's hash algorithms."""
        try:
            hello = self._agents.hello(node)
        except CastRayError as error:
            return DestinationReply(failure=error.failure)
        used = self._feed.algorithms
        if used.piece in hello.piece_digests and used.file in hello.file_hashes:
            return None
        values = {"node": node, "hashes": f"{used.piece}, {used.file}"}
        return DestinationReply(failure=Failure(FailureKind.HASH_MISSING, values))
