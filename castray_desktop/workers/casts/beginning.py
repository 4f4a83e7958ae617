"""The beginning of a cast: the survey, until it is through, and who is left out by it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Iterator

from castray_desktop.core.absence import Absences
from castray_desktop.core.cast import DeliveryEvent
from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.feed import FeedEvent, FeedState
from castray_desktop.core.messages import Removal, Ways
from castray_desktop.core.piece_size import LONGEST, piece_bytes
from castray_desktop.workers.agents import Agents, common_algorithms
from castray_desktop.workers.casts.feeding import Feeding
from castray_desktop.workers.casts.ledger import CastLedger
from castray_desktop.workers.casts.losses import put_off
from castray_desktop.workers.casts.orders import Orders
from castray_desktop.workers.casts.removals import find_removals
from castray_desktop.workers.casts.surveying import Survey, ask_recipients, scan_order
from castray_desktop.workers.ray_side.protocol import AgentHello, SourceState


class Beginning:
    """Has the source scan and the recipients answer.

    `until(condition)` waits for news that make it true; `counts()` says whether somebody who is away is
    missing at the moment.
    """

    def __init__(
        self,
        ledger: CastLedger,
        agents: Agents,
        orders: Orders,
        feed: Feeding,
        absences: Absences,
        clock: Callable[[], float],
        until: Callable[[Callable[[], bool]], Awaitable[None]],
        counts: Callable[[], bool],
    ) -> None:
        self._ledger = ledger
        self._source = ledger.request.source
        self._agents = agents
        self._orders = orders
        self._feed = feed
        self._absences = absences
        self._clock = clock
        self._until = until
        self._counts = counts

    async def survey(self, ask: bool = True) -> Survey:
        """Scan the source and ask every recipient, if they are to be asked; nothing is written anywhere.

        Raises CastRayError with what keeps the cast from starting at all.
        """
        ledger = self._ledger
        await self._orders.call(self._source, scan_order(ledger.cast, ledger.request))
        await self._until(self._scanned_or_not)
        report, totals = ledger.source, ledger.totals
        if report is None or report.state is not SourceState.PREPARED or totals is None:
            raise CastRayError.of(self._feed.source_failure())
        asked = ledger.unfinished if ask else ()
        found = await ask_recipients(ledger.cast, ledger.request, totals, asked, self._agents, self._orders)
        return dataclasses.replace(found, left_out=report.problems)

    async def removals(self, survey: Survey) -> tuple[Removal, ...]:
        """What the recipients that could take it would remove. Raises CastRayError."""
        request = self._ledger.request
        if not request.remove_extra or survey.totals.left_out:
            return ()
        asked = tuple(node for node, reply in survey.replies.items() if reply.failure is None)
        return await find_removals(self._ledger.cast, request, asked, self._orders)

    async def patient_survey(self) -> Survey:
        """The survey, again when the source went away during it. Raises CastRayError."""
        while True:
            await self._until(lambda: self._source not in self._absences or self._given_up())
            if self._source in self._absences:
                raise CastRayError.of(self._absences.why(self._source))
            if self._feed.state is FeedState.AWAY:
                self._feed.go(FeedEvent.BACK)
            try:
                survey = await self.survey()
            except CastRayError:
                if self._source not in self._absences:
                    raise
                continue
            if self._source not in self._absences:
                return survey

    def leave_out(self, survey: Survey) -> None:
        """Recipients that can't take it end before the first byte, and touch nobody else.

        Raises CastRayError when the cast can't go on without them.
        """
        ledger, now, problems = self._ledger, self._clock(), []
        for node, problem in survey.problems.items():
            event, failure = put_off(ledger.request, node, problem)
            ledger.end_delivery(node, event, now, failure)
            problems += [failure] if event is DeliveryEvent.FAILED else []
        if problems and not (ledger.request.leave_out and ledger.unfinished):
            for node in ledger.unfinished:
                ledger.end_delivery(node, DeliveryEvent.CANCELLED, now, Failure(FailureKind.CANCELLED))
            raise CastRayError.of(problems[0])

    def choose_algorithms(self) -> None:
        """The best that all can compute who take part, and pieces that suit their number."""
        totals, recipients = self._ledger.totals, len(self._ledger.unfinished)
        length = piece_bytes(totals.stream_bytes if totals is not None else 0, recipients)
        if self._ledger.request.transport is Ways.UDP:  # pieces come to all at once, not hop by hop
            length = LONGEST
        self._feed.algorithms = dataclasses.replace(common_algorithms(self._hellos()), piece_bytes=length)

    def _hellos(self) -> Iterator[AgentHello]:
        """Of those that are there; the others have no part in the cast."""
        for node in (self._source, *self._ledger.unfinished):
            with contextlib.suppress(CastRayError):
                yield self._agents.hello(node)

    def _given_up(self) -> bool:
        return self._source in self._absences.look(self._clock(), self._counts(), self._ledger.paused)

    def _scanned_or_not(self) -> bool:
        report = self._ledger.source
        return self._source in self._absences or (
            report is not None and report.state is not SourceState.SCANNING
        )
