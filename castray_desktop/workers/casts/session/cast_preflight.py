"""The preflight of a cast: the source scans, recipients answer, and those that can't take it are left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from castray_desktop.core.casts.states import DeliveryEvent, FailoverEvent, FailoverState
from castray_desktop.core.content.stream_layout import MAX_PIECE_BYTES, choose_piece_bytes
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import Removal, TransportOption
from castray_desktop.core.protocol.nodes.agent_protocol import AgentHello, SourceState
from castray_desktop.workers.casts.session.admission import Admission
from castray_desktop.workers.casts.session.agent_orders import common_algorithms
from castray_desktop.workers.casts.session.membership import absent_outcome
from castray_desktop.workers.casts.session.recipient_survey import (
    RecipientSurvey,
    find_prunable,
    scan_order,
    survey_recipients,
)
from castray_desktop.workers.casts.session.session_context import SessionContext
from castray_desktop.workers.casts.session.source_failover import SourceFailover


class CastPreflight:
    """Lets the source scan and surveys the recipients."""

    def __init__(self, context: SessionContext, failover: SourceFailover, admission: Admission) -> None:
        self._context = context
        self._status = context.status
        self._failover = failover
        self._admission = admission

    async def survey(self, ask: bool = True) -> RecipientSurvey:
        """Scan the source and survey recipients if `ask`; nothing is written anywhere.

        Raises CastRayError if the cast can't start at all.
        """
        status = self._status
        await self._context.orders.call(self._context.source, scan_order(status.cast, status.request))
        await self._context.wakeup.until(self._scanned_or_not)
        report, totals = status.source, status.totals
        if report is None or report.state is not SourceState.PREPARED or totals is None:
            raise CastRayError.of(self._failover.source_failure())
        asked = status.unfinished if ask else ()
        found = await survey_recipients(self._context, totals, asked)
        return dataclasses.replace(found, left_out=report.problems)

    async def removals(self, survey: RecipientSurvey) -> tuple[Removal, ...]:
        """What recipients would prune. Raises CastRayError."""
        request = self._status.request
        if not request.options.remove_extra or survey.totals.left_out:
            return ()
        asked = tuple(node for node, reply in survey.replies.items() if reply.failure is None)
        return await find_prunable(self._context, asked)

    async def survey_with_retries(self) -> RecipientSurvey:
        """Survey, repeated when the source went away during it. Raises CastRayError."""
        while True:
            await self._context.wakeup.until(
                lambda: self._context.source not in self._context.absences or self._given_up()
            )
            if self._context.source in self._context.absences:
                raise CastRayError.of(self._context.absences.reason(self._context.source))
            if self._failover.state is FailoverState.AWAY:
                self._failover.advance(FailoverEvent.BACK)
            try:
                survey = await self.survey()
            except CastRayError:
                if self._context.source not in self._context.absences:
                    raise
                continue
            if self._context.source not in self._context.absences:
                return survey

    def leave_out(self, survey: RecipientSurvey) -> None:
        """Fail recipients that can't take it, before the first byte; others are unaffected.

        Raises CastRayError if the cast can't continue without them.
        """
        status, problems = self._status, []
        for node, problem in survey.problems.items():
            event, failure = absent_outcome(status.request, node, problem)
            self._context.end_delivery(node, event, failure)
            problems += [failure] if event is DeliveryEvent.FAILED else []
        if problems and not (status.request.leave_out and status.unfinished):
            for node in status.unfinished:
                self._context.end_delivery(node, DeliveryEvent.CANCELLED, Failure(FailureKind.CANCELLED))
            raise CastRayError.of(problems[0])

    def choose_algorithms(self) -> None:
        """Choose the best algorithms that all participants support, and the piece size."""
        totals, recipients = self._status.totals, len(self._status.unfinished)
        length = choose_piece_bytes(totals.stream_bytes if totals is not None else 0, recipients)
        if (
            self._status.request.options.transport is TransportOption.UDP
        ):  # pieces come to all at once, not hop by hop
            length = MAX_PIECE_BYTES
        self._failover.algorithms = dataclasses.replace(common_algorithms(self._hellos()), piece_bytes=length)

    def _hellos(self) -> Iterator[AgentHello]:
        """Hellos of online nodes; the others take no part."""
        for node in (self._context.source, *self._status.unfinished):
            if (hello := self._context.hello(node)) is not None:
                yield hello

    def _given_up(self) -> bool:
        return self._context.source in self._context.absences.expired(
            self._context.now, self._admission.absences_count, self._status.paused_recipients
        )

    def _scanned_or_not(self) -> bool:
        report = self._status.source
        return self._context.source in self._context.absences or (
            report is not None and report.state is not SourceState.SCANNING
        )
