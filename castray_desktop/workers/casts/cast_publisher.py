"""Events for clients: changed casts and deliveries, throughput, and ended casts, of which the latest are
kept.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import msgspec

from castray_desktop.core.protocol.messages import (
    CastChanged,
    CastsRemoved,
    CastState,
    CastSummary,
    DeliveriesChanged,
    NodeRate,
    Throughput,
)
from castray_desktop.workers.casts.cast_table import ClusterContext
from castray_desktop.workers.casts.session.cast_session import CastSession
from castray_desktop.workers.casts.session.cast_status import CastStatus
from castray_desktop.workers.casts.session.checkpoint import CastCheckpoint

PUBLISH_SECONDS = 0.1
"""Summaries and deliveries are published at most this often."""

THROUGHPUT_SECONDS = 0.25

IDLE_SECONDS = 1.0


class CastPublisher:
    """Publishes changes periodically until `close`."""

    def __init__(self, context: ClusterContext) -> None:
        self._context = context
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
        now = self._context.now
        summary = status.summary(now)
        if self._summaries.get(status.cast) != summary:
            self._summaries[status.cast] = summary
            self._context.publish(CastChanged(summary))
        if changed := status.changed_deliveries(now):
            self._context.publish(DeliveriesChanged(status.cast, changed))

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
                async with asyncio.timeout(
                    IDLE_SECONDS if self._context.table.tasks or self._flowing else None
                ):
                    await self._dirty.wait()
            self._dirty.clear()
            running = self._context.table.unfinished()
            for status in running:
                self.publish_cast(status)
            self._publish_throughput(running)
            await asyncio.sleep(PUBLISH_SECONDS)

    def _publish_throughput(self, running: Iterable[CastStatus]) -> None:
        now = self._context.now
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
        own = {name for name, node in self._context.agents.nodes.items() if node.this_computer}
        upload = sum(rate for name, rate in sent.items() if name in own)
        self._context.publish(
            Throughput(self._context.services.wall(), sum(received.values()), upload, nodes)
        )


FAILED = frozenset({CastState.FAILED, CastState.PARTLY_FAILED})
"""States that *Clear finished* leaves in the list."""

MAX_KEPT_CASTS = 200
"""Maximum of ended casts that are kept; fewer if they have very many deliveries."""

MAX_KEPT_DELIVERIES = 20_000
"""Maximum of deliveries of all kept casts; the latest cast is kept in any case."""


class FinishedCasts:
    """Publishes the results of ended casts, and removes casts that are not kept any more.

    A cast with deferred deliveries stays, and has a checkpoint for the next engine.
    """

    def __init__(
        self,
        context: ClusterContext,
        publisher: CastPublisher,
        discard_kept: Callable[[Iterable[str]], None],
    ) -> None:
        """`discard_kept(casts)` removes what nodes keep for retries of casts."""
        self._context = context
        self._discard_kept = discard_kept
        self._publisher = publisher
        self._kept: dict[str, int] = {}  # deliveries of each, in the order of the ends
        self._deferring: dict[str, CastCheckpoint] = {}  # of casts with deferred deliveries

    def cast_ended(self, session: CastSession) -> None:
        """Publish the result, after any pending progress. Nothing but its status is needed then."""
        status = session.status
        if status.awaited:
            self.keep_deferring(session.checkpoint())
        self._save_checkpoint(status)
        self._publisher.publish_cast(status)
        self._context.publish(status.result(self._context.now))
        self._report_end(status, again=False)
        self._publisher.changed()
        self._keep_cast(status)

    def retried(self, cast: str) -> None:
        """An ended cast goes on with another attempt."""
        self._kept.pop(cast, None)

    def keep_deferring(self, record: CastCheckpoint) -> None:
        """Deliveries of this cast are deferred; it has ended, under this engine or a previous one."""
        self._deferring[record.cast] = record

    def deferred_settled(self, status: CastStatus) -> None:
        """Deferred deliveries of an ended cast have ended."""
        self._save_checkpoint(status)
        self._publisher.publish_cast(status)
        self._report_end(status, again=True)
        self._keep_cast(status)

    def _trim(self, casts: int, deliveries: int) -> None:
        """Remove the oldest ended casts until at most this many are left."""
        left, size = len(self._kept), sum(self._kept.values())
        gone = []
        for cast, count in self._kept.items():
            if left <= casts and size <= deliveries:
                break
            gone.append(cast)
            left, size = left - 1, size - count
        self._remove(gone)

    def clear(self) -> None:
        """Remove ended casts that did not fail; where all of them have failed, remove those."""
        failed = [cast for cast in self._kept if self._context.table.casts[cast].state in FAILED]
        if len(failed) == len(self._kept):
            failed = []
        self._remove([cast for cast in self._kept if cast not in failed])

    def _remove(self, gone: Sequence[str]) -> None:
        for cast in gone:
            del self._kept[cast]
            status = self._context.table.casts.pop(cast)
            self._publisher.forget_cast(cast)
            if status.is_retryable:
                self._discard_kept((cast,))
        if gone:
            self._context.publish(CastsRemoved(tuple(gone)))

    def _keep_cast(self, status: CastStatus) -> None:
        if not status.awaited:
            deliveries = len(status.recipients)
            self._kept[status.cast] = deliveries
            self._trim(MAX_KEPT_CASTS, max(MAX_KEPT_DELIVERIES, deliveries))

    def _save_checkpoint(self, status: CastStatus) -> None:
        """Save a checkpoint as long as deliveries are deferred."""
        record = self._deferring.pop(status.cast, None)
        if record is not None and status.awaited:
            record = self._deferring[status.cast] = msgspec.structs.replace(
                record,
                deliveries=tuple(map(status.delivery, status.recipients)),
                seconds=status.result(self._context.now).seconds,
            )
        checkpoints = self._context.services.checkpoints
        if checkpoints is None:
            return
        if record is not None and status.awaited:
            checkpoints.save(record)
        else:
            checkpoints.drop(status.cast)

    def _report_end(self, status: CastStatus, again: bool) -> None:
        self._context.services.ended(
            status.repeatable_request,
            self._context.agents.target,
            status.result(self._context.now),
            again,
        )
