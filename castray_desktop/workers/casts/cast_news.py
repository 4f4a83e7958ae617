"""What clients hear of the casts that run: changed summaries, changed deliveries, and the throughput."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from castray_desktop.core.messages import (
    CastChanged,
    CastSummary,
    DeliveriesChanged,
    Event,
    NodeRate,
    Throughput,
)
from castray_desktop.workers.agents import Agents
from castray_desktop.workers.casts.ledger import CastLedger

PUBLISH_SECONDS = 0.1
"""Summaries and deliveries leave at most this often."""

THROUGHPUT_SECONDS = 0.25
IDLE_SECONDS = 1.0


class CastNews:
    """Publishes what has changed since the last time, again and again until `close`.

    `running` has the ledgers of the casts that have not ended, by their ids.
    """

    def __init__(
        self,
        agents: Agents,
        publish: Callable[[Event], None],
        clock: Callable[[], float],
        wall: Callable[[], float],
        running: Callable[[], Mapping[str, CastLedger]],
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
        """Something may be worth telling."""
        self._dirty.set()

    def tell(self, ledger: CastLedger) -> None:
        """Publish at once what has changed of a cast."""
        now = self._clock()
        summary = ledger.summary(now)
        if self._summaries.get(ledger.cast) != summary:
            self._summaries[ledger.cast] = summary
            self._publish(CastChanged(summary))
        if changed := ledger.changed_deliveries(now):
            self._publish(DeliveriesChanged(ledger.cast, changed))

    def forget(self, cast: str) -> None:
        """Nothing will be told of it any more."""
        self._summaries.pop(cast, None)

    async def close(self) -> None:
        """Publish nothing any more."""
        self._publishing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._publishing

    async def _publish_changes(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):  # rates decay also while nobody reports
                async with asyncio.timeout(IDLE_SECONDS if self._running() or self._flowing else None):
                    await self._dirty.wait()
            self._dirty.clear()
            running = tuple(self._running().values())
            for ledger in running:
                self.tell(ledger)
            self._tell_throughput(running)
            await asyncio.sleep(PUBLISH_SECONDS)

    def _tell_throughput(self, running: Iterable[CastLedger]) -> None:
        now = self._clock()
        if now < self._next_throughput and running:
            return
        self._next_throughput = now + THROUGHPUT_SECONDS
        received: dict[str, float] = defaultdict(float)
        sent: dict[str, float] = defaultdict(float)
        for ledger in running:
            for rate in ledger.rates(now):
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
