"""Recipients that are lost, return, are removed, or are added while a cast runs."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from castray_desktop.core.casts.states import DeliveryEvent, FailoverEvent, FailoverState
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import CastMode
from castray_desktop.core.protocol.nodes.agent_orders import DestinationReply
from castray_desktop.workers.casts.session.cast_preflight import (
    RecipientSurvey,
    absent_outcome,
    survey_recipients,
)
from castray_desktop.workers.casts.session.cast_route import RouteExecutor
from castray_desktop.workers.casts.session.cast_status import offline_failure
from castray_desktop.workers.casts.session.session_context import SessionContext
from castray_desktop.workers.casts.session.shared_destination import SharedDestinations
from castray_desktop.workers.casts.session.source_failover import SourceFailover


class LostNodes:
    """Tracks lost nodes, and what follows for the others."""

    def __init__(
        self,
        context: SessionContext,
        executor: RouteExecutor,
        failover: SourceFailover,
        destinations: SharedDestinations,
    ) -> None:
        self._context = context
        self._status = context.status
        self._executor = executor
        self._failover = failover
        self._destinations = destinations

    def node_lost(self, node: str, failure: Failure) -> None:
        """The node's agent is gone and may return."""
        source, now = self._context.source, self._context.now
        if node in self._status.recipients:
            self._context.absences.mark_away(node, failure, now)
            self._status.node_away(node, Failure(FailureKind.NODE_AWAY, {"node": node}))
            self._destinations.replace_writer(node)
        elif node == source:
            self._context.absences.mark_away(node, failure, now)
            self._status.source_away(self._status.failure)
        else:
            return
        route = self._status.route
        root = route.source if route is not None else source
        if root == node and self._failover.state is not FailoverState.AWAY:
            self._failover.advance(FailoverEvent.LOST)
            self._status.source_away(Failure(FailureKind.NODE_AWAY, {"node": source}))
            self._executor.source_changed(root)
        self._executor.node_lost(node)
        self._context.wakeup.wake()

    def node_returned(self, node: str) -> bool:
        """The node has a new agent, without state of the cast. Returns whether it was away."""
        if node not in self._context.absences:
            return False
        self._context.absences.mark_back(node)
        if node in self._status.recipients:
            self._status.node_back(node)
        return True

    def node_removed(self, node: str) -> None:
        """The node was removed."""
        if node == self._context.source:
            self._failover.fail(offline_failure(node))
        elif node not in self._status.recipients:
            return
        self.node_lost(node, offline_failure(node))
        if node in self._status.recipients:
            self._context.absences.mark_back(node)
            self._context.end_delivery(node, DeliveryEvent.FAILED, offline_failure(node))

    def expire(self, counting: bool) -> None:
        """Give up nodes whose grace period has expired."""
        for node in self._context.absences.expired(
            self._context.now, counting, self._status.paused_recipients
        ):
            failure = self._context.absences.reason(node)
            if node == self._context.source:
                self._failover.fail(failure)
                continue
            self._context.absences.mark_back(node)
            event, failure = absent_outcome(self._status.request, node, failure)
            self._context.end_delivery(node, event, failure)


class AddedRecipients:
    """Surveys new recipients and adds them; the cast does not end meanwhile.

    `check()` raises CastRayError(CAST_FINISHED) if the cast accepts no recipients any more.
    """

    def __init__(
        self,
        context: SessionContext,
        failover: SourceFailover,
        destinations: SharedDestinations,
        check: Callable[[], None],
    ) -> None:
        self.pending = 0  # requests in progress
        self._context = context
        self._status = context.status
        self._failover = failover
        self._destinations = destinations
        self._check = check

    async def add_recipients(self, nodes: tuple[str, ...], mode: CastMode) -> RecipientSurvey:
        """Add these recipients; those that can't take it fail alone.

        Raises CastRayError: CAST_FINISHED.
        """
        self._check()
        status = self._status
        totals = status.source.totals
        if totals is None:
            raise RuntimeError("a route before the scan")
        self.pending += 1
        try:
            survey = await survey_recipients(self._context, totals, nodes)
            self._check()
            replies = {node: self._lacks_hashes(node) or reply for node, reply in survey.replies.items()}
            await self._destinations.find_shared(
                {node: reply for node, reply in replies.items() if not reply.failure}
            )
            self._check()
            for node, reply in replies.items():
                self._add_recipient(node, reply, mode)
            status.request = msgspec.structs.replace(status.request, recipients=status.recipients)
            return RecipientSurvey(survey.totals, replies)
        finally:
            self.pending -= 1

    def _add_recipient(self, node: str, reply: DestinationReply, mode: CastMode) -> None:
        """Add one recipient; the next reaction gives it an upstream."""
        info = self._context.agents.nodes.get(node)
        self._status.add_recipient(node, info.address if info is not None else "", mode)
        if reply.failure is not None:
            self._context.end_delivery(node, DeliveryEvent.FAILED, reply.failure)
        else:
            self._destinations.add_recipient(node)

    def _lacks_hashes(self, node: str) -> DestinationReply | None:
        """The failure if it lacks the cast's hash algorithms."""
        hello = self._context.agents.hello(node)
        if hello is None:
            return DestinationReply(failure=offline_failure(node))
        used = self._failover.algorithms
        if used.piece in hello.piece_digests and used.file in hello.file_hashes:
            return None
        values = {"node": node, "hashes": f"{used.piece}, {used.file}"}
        return DestinationReply(failure=Failure(FailureKind.HASH_MISSING, values))
