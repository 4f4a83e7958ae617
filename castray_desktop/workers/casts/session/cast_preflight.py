"""The preflight of a cast: the source scans, recipients answer, and those that can't take it are left out."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Iterator

from castray_desktop.core.casts.grace_period import AbsenceTracker
from castray_desktop.core.casts.states import DeliveryEvent, FailoverEvent, FailoverState
from castray_desktop.core.content.stream_layout import MAX_PIECE_BYTES, choose_piece_bytes
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import Removal, TransportOption
from castray_desktop.core.protocol.nodes.agent_protocol import AgentHello, SourceState
from castray_desktop.workers.casts.session.agent_orders import AgentDirectory, OrderSender, common_algorithms
from castray_desktop.workers.casts.session.cast_status import CastStatus
from castray_desktop.workers.casts.session.membership import absent_outcome
from castray_desktop.workers.casts.session.recipient_survey import (
    RecipientSurvey,
    find_prunable,
    scan_order,
    survey_recipients,
)
from castray_desktop.workers.casts.session.source_failover import SourceFailover


class CastPreflight:
    """Lets the source scan and surveys the recipients.

    `until(condition)` waits until it is true; `counts()` returns whether absence counts at the moment.
    """

    def __init__(
        self,
        ledger: CastStatus,
        agents: AgentDirectory,
        orders: OrderSender,
        feed: SourceFailover,
        absences: AbsenceTracker,
        clock: Callable[[], float],
        until: Callable[[Callable[[], bool]], Awaitable[None]],
        absence_counts: Callable[[], bool],
    ) -> None:
        self._ledger = ledger
        self._source = ledger.request.source
        self._agents = agents
        self._orders = orders
        self._feed = feed
        self._absences = absences
        self._clock = clock
        self._until = until
        self._counts = absence_counts

    async def survey(self, ask: bool = True) -> RecipientSurvey:
        """Scan the source and survey recipients if `ask`; nothing is written anywhere.

        Raises CastRayError if the cast can't start at all.
        """
        ledger = self._ledger
        await self._orders.call(self._source, scan_order(ledger.cast, ledger.request))
        await self._until(self._scanned_or_not)
        report, totals = ledger.source, ledger.totals
        if report is None or report.state is not SourceState.PREPARED or totals is None:
            raise CastRayError.of(self._feed.source_failure())
        asked = ledger.unfinished if ask else ()
        found = await survey_recipients(
            ledger.cast, ledger.request, totals, asked, self._agents, self._orders
        )
        return dataclasses.replace(found, left_out=report.problems)

    async def removals(self, survey: RecipientSurvey) -> tuple[Removal, ...]:
        """What recipients would prune. Raises CastRayError."""
        request = self._ledger.request
        if not request.remove_extra or survey.totals.left_out:
            return ()
        asked = tuple(node for node, reply in survey.replies.items() if reply.failure is None)
        return await find_prunable(self._ledger.cast, request, asked, self._orders)

    async def survey_with_retries(self) -> RecipientSurvey:
        """Survey, repeated when the source went away during it. Raises CastRayError."""
        while True:
            await self._until(lambda: self._source not in self._absences or self._given_up())
            if self._source in self._absences:
                raise CastRayError.of(self._absences.reason(self._source))
            if self._feed.state is FailoverState.AWAY:
                self._feed.advance(FailoverEvent.BACK)
            try:
                survey = await self.survey()
            except CastRayError:
                if self._source not in self._absences:
                    raise
                continue
            if self._source not in self._absences:
                return survey

    def leave_out(self, survey: RecipientSurvey) -> None:
        """Fail recipients that can't take it, before the first byte; others are unaffected.

        Raises CastRayError if the cast can't continue without them.
        """
        ledger, now, problems = self._ledger, self._clock(), []
        for node, problem in survey.problems.items():
            event, failure = absent_outcome(ledger.request, node, problem)
            ledger.end_delivery(node, event, now, failure)
            problems += [failure] if event is DeliveryEvent.FAILED else []
        if problems and not (ledger.request.leave_out and ledger.unfinished):
            for node in ledger.unfinished:
                ledger.end_delivery(node, DeliveryEvent.CANCELLED, now, Failure(FailureKind.CANCELLED))
            raise CastRayError.of(problems[0])

    def choose_algorithms(self) -> None:
        """Choose the best algorithms that all participants support, and the piece size."""
        totals, recipients = self._ledger.totals, len(self._ledger.unfinished)
        length = choose_piece_bytes(totals.stream_bytes if totals is not None else 0, recipients)
        if (
            self._ledger.request.transport is TransportOption.UDP
        ):  # pieces come to all at once, not hop by hop
            length = MAX_PIECE_BYTES
        self._feed.algorithms = dataclasses.replace(common_algorithms(self._hellos()), piece_bytes=length)

    def _hellos(self) -> Iterator[AgentHello]:
        """Hellos of online nodes; the others take no part."""
        for node in (self._source, *self._ledger.unfinished):
            with contextlib.suppress(CastRayError):
                yield self._agents.hello(node)

    def _given_up(self) -> bool:
        return self._source in self._absences.expired(self._clock(), self._counts(), self._ledger.paused)

    def _scanned_or_not(self) -> bool:
        report = self._ledger.source
        return self._source in self._absences or (
            report is not None and report.state is not SourceState.SCANNING
        )
