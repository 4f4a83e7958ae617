"""Casts that have ended: everybody hears of it, and the last ones are kept."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping

import msgspec

from castray_desktop.core.messages import CastResult, CastsRemoved, Event, SendRequest
from castray_desktop.workers.agents import Agents
from castray_desktop.workers.casts.cast_news import CastNews
from castray_desktop.workers.casts.cast_records import CastRecords
from castray_desktop.workers.casts.cast_run import CastRun
from castray_desktop.workers.casts.ledger import CastLedger

KEPT_CASTS = 200
"""So many of those that have ended are kept, the latest; fewer when they have very many deliveries."""

KEPT_DELIVERIES = 20_000
"""Of the casts that have ended, all together; the latest cast is kept in any case."""

Told = Callable[[SendRequest, str, CastResult, bool], None]


class EndedCasts:
    """Takes casts out of `runs` when they are not kept any more.

    One with deliveries that wait for their nodes stays, and has a record for the next engine. `told` hears of
    each end, and again of what has become of such deliveries.
    """

    def __init__(
        self,
        runs: MutableMapping[str, CastRun],
        agents: Agents,
        news: CastNews,
        publish: Callable[[Event], None],
        clock: Callable[[], float],
        records: CastRecords | None,
        told: Told | None,
    ) -> None:
        self._runs = runs
        self._agents = agents
        self._news = news
        self._publish = publish
        self._clock = clock
        self._records = records
        self._told = told
        self._kept: dict[str, int] = {}  # deliveries of each, in the order of the ends

    def ended(self, run: CastRun) -> None:
        """Its result goes to everybody, whatever progress was still to be told."""
        self._record(run)
        self._news.tell(run.ledger)
        self._publish(run.ledger.result(self._clock()))
        self._tell(run.ledger, again=False)
        self._news.changed()
        self._keep(run.ledger)

    def settled(self, ledger: CastLedger) -> None:
        """Deliveries of an ended cast that waited for their nodes do so no longer."""
        self._record(self._runs[ledger.cast])
        self._news.tell(ledger)
        self._tell(ledger, again=True)
        self._keep(ledger)

    def forget(self, casts: int, deliveries: int) -> None:
        """Forget the first of those that have ended, until so many are left at most."""
        gone = []
        while self._kept and (len(self._kept) > casts or sum(self._kept.values()) > deliveries):
            cast = next(iter(self._kept))
            del self._kept[cast], self._runs[cast]
            self._news.forget(cast)
            gone.append(cast)
        if gone:
            self._publish(CastsRemoved(tuple(gone)))

    def _keep(self, ledger: CastLedger) -> None:
        if not ledger.awaited:
            deliveries = len(ledger.recipients)
            self._kept[ledger.cast] = deliveries
            self.forget(KEPT_CASTS, max(KEPT_DELIVERIES, deliveries))

    def _record(self, run: CastRun) -> None:
        """The next engine needs to know of an ended cast as long as deliveries wait for their nodes."""
        if self._records is None:
            return
        if run.ledger.awaited:
            seconds = run.ledger.result(self._clock()).seconds
            self._records.put(msgspec.structs.replace(run.record(), seconds=seconds))
        else:
            self._records.drop(run.ledger.cast)

    def _tell(self, ledger: CastLedger, again: bool) -> None:
        if self._told is not None:
            result = ledger.result(self._clock())
            self._told(ledger.request, self._agents.target, result, again)
