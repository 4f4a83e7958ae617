"""Events for clients: changed casts and deliveries, throughput, and ended casts, of which the latest are
kept.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, MutableMapping

import msgspec

from castray_desktop.core.protocol.messages import (
    CastChanged,
    CastResult,
    CastsRemoved,
    CastSummary,
    DeliveriesChanged,
    Event,
    NodeRate,
    SendRequest,
    Throughput,
)
from castray_desktop.workers.casts.session.agent_orders import AgentDirectory
from castray_desktop.workers.casts.session.cast_session import CastSession
from castray_desktop.workers.casts.session.cast_status import CastStatus
from castray_desktop.workers.casts.session.checkpoint import CheckpointStore

PUBLISH_SECONDS = 0.1

"""Summaries and deliveries are published at most this often."""

THROUGHPUT_SECONDS = 0.25

IDLE_SECONDS = 1.0


class CastPublisher:
    """Publishes changes periodically until `close`.

    `running` returns the status of unfinished casts, by id.
    """

    def __init__(
        self,
        agents: AgentDirectory,
        publish: Callable[[Event], None],
        clock: Callable[[], float],
        wall: Callable[[], float],
        running: Callable[[], Mapping[str, CastStatus]],
    ) -> None:
        self._agents = agents
        self._publish = publish
        self._clock = clock
        self._wall = wall
        self._running = running
        self._summaries: dict[str, CastSummary] = {}
        self._dirty = asyncio.Event()
        self._next_throughput = 0.0
        self._flowing = False
        self._publishing = asyncio.create_task(self._publish_changes(), name="publish casts")

    def changed(self) -> None:
        """Something may have changed."""
        self._dirty.set()

    def publish_cast(self, status: CastStatus) -> None:
        """Publish changes of a cast at once."""
        now = self._clock()
        summary = status.summary(now)
        if self._summaries.get(status.cast) != summary:
            self._summaries[status.cast] = summary
            self._publish(CastChanged(summary))
        if changed := status.changed_deliveries(now):
            self._publish(DeliveriesChanged(status.cast, changed))

    def forget_cast(self, cast: str) -> None:
        """Stop publishing a cast."""
        self._summaries.pop(cast, None)

    async def close(self) -> None:
        """Stop."""
        self._publishing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._publishing

    async def _publish_changes(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):  # rates decay even without reports
                async with asyncio.timeout(IDLE_SECONDS if self._running() or self._flowing else None):
                    await self._dirty.wait()
            self._dirty.clear()
            running = tuple(self._running().values())
            for status in running:
                self.publish_cast(status)
            self._tell_throughput(running)
            await asyncio.sleep(PUBLISH_SECONDS)

    def _tell_throughput(self, running: Iterable[CastStatus]) -> None:
        now = self._clock()
        if now < self._next_throughput and running:
            return
        self._next_throughput = now + THROUGHPUT_SECONDS
        received: dict[str, float] = defaultdict(float)
        sent: dict[str, float] = defaultdict(float)
        for status in running:
            for rate in status.rates(now):
                received[rate.node] += rate.received
                sent[rate.node] += rate.sent
        flowing = any(received.values()) or any(sent.values())
        if not flowing and not self._flowing:
            return
        self._flowing = flowing
        nodes = tuple(NodeRate(name, received[name], sent[name]) for name in received | sent)
        own = {name for name, node in self._agents.nodes.items() if node.this_computer}
        upload = sum(rate for name, rate in sent.items() if name in own)
        self._publish(Throughput(self._wall(), sum(received.values()), upload, nodes))


MAX_KEPT_CASTS = 200

"""Maximum of ended casts that are kept; fewer if they have very many deliveries."""

MAX_KEPT_DELIVERIES = 20_000

"""Maximum of deliveries of all kept casts; the latest cast is kept in any case."""

CastEnded = Callable[[SendRequest, str, CastResult, bool], None]


class FinishedCasts:
    """Removes casts from `runs` when they are not kept any more.

    A cast with deferred deliveries stays, and has a checkpoint for the next engine. `told` is called at each
    end, and again when deferred deliveries have ended.
    """

    def __init__(
        self,
        runs: MutableMapping[str, CastSession],
        agents: AgentDirectory,
        news: CastPublisher,
        publish: Callable[[Event], None],
        clock: Callable[[], float],
        records: CheckpointStore | None,
        told: CastEnded | None,
    ) -> None:
        self._runs = runs
        self._agents = agents
        self._news = news
        self._publish = publish
        self._clock = clock
        self._records = records
        self._told = told
        self._kept: dict[str, int] = {}  # deliveries of each, in the order of the ends

    def cast_ended(self, run: CastSession) -> None:
        """Publish the result, after any pending progress."""
        self._record(run)
        self._news.publish_cast(run.status)
        self._publish(run.status.result(self._clock()))
        self._tell(run.status, again=False)
        self._news.changed()
        self._keep(run.status)

    def deferred_settled(self, status: CastStatus) -> None:
        """Deferred deliveries of an ended cast have ended."""
        self._record(self._runs[status.cast])
        self._news.publish_cast(status)
        self._tell(status, again=True)
        self._keep(status)

    def trim(self, casts: int, deliveries: int) -> None:
        """Remove the oldest ended casts until at most this many are left."""
        gone = []
        while self._kept and (len(self._kept) > casts or sum(self._kept.values()) > deliveries):
            cast = next(iter(self._kept))
            del self._kept[cast], self._runs[cast]
            self._news.forget_cast(cast)
            gone.append(cast)
        if gone:
            self._publish(CastsRemoved(tuple(gone)))

    def _keep(self, status: CastStatus) -> None:
        if not status.awaited:
            deliveries = len(status.recipients)
            self._kept[status.cast] = deliveries
            self.trim(MAX_KEPT_CASTS, max(MAX_KEPT_DELIVERIES, deliveries))

    def _record(self, run: CastSession) -> None:
        """Save a checkpoint as long as deliveries are deferred."""
        if self._records is None:
            return
        if run.status.awaited:
            seconds = run.status.result(self._clock()).seconds
            self._records.save(msgspec.structs.replace(run.checkpoint(), seconds=seconds))
        else:
            self._records.drop(run.status.cast)

    def _tell(self, status: CastStatus, again: bool) -> None:
        if self._told is not None:
            result = status.result(self._clock())
            self._told(status.request, self._agents.target, result, again)
