"""Ended casts, statistics, and the traffic of the last day.

SQLite blocks, so it has its own thread; statistics and traffic are in memory. Without a usable file the
engine works all the same, and requests for the past fail with the reason.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import sqlite3
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from castray_desktop.core.casts.cast_statistics import (
    PERSISTED_STEPS,
    BusyIntervals,
    CastTotals,
    NodeTotals,
    StatisticsCounter,
    TrafficHistory,
)
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastResult, CastState, Event, SendRequest, Throughput
from castray_desktop.workers.base.async_tasks import BackgroundTasks, finish
from castray_desktop.workers.history.file_list_store import FileListStore, FileRecord
from castray_desktop.workers.history.history_store import HistoryStore, PastCast, is_damage

FLUSH_SECONDS = 60.0
"""Totals that changed without a cast's end, and the traffic, are written at this interval."""

FORGET_SECONDS = 3600.0
CHANGED_SECONDS = 1.0
MOST_GRACE_SECONDS = 60.0
KEPT_SECONDS = 25 * 3600.0
"""Nodes keep what a failed delivery has received for a day; what ended earlier has nothing left there."""

MOST_RATE_SECONDS = 24 * 3600.0
DAY = 24 * 3600.0

Answer = TypeVar("Answer")

log = logging.getLogger("castray.history")


class CastHistory:
    """Past casts, statistics and traffic. `start` opens the file, `close` writes pending data."""

    def __init__(
        self,
        path: Path,
        publish: Callable[[Event], None],
        states: Callable[[], Collection[CastState]],
        wall: Callable[[], float] = time.time,
        unfinished: Callable[[], Collection[str]] = tuple,
        discard_kept: Callable[[Collection[str]], None] = lambda casts: None,
    ) -> None:
        """`states` returns those of the engine's casts, `unfinished` the ids of unfinished ones.

        `wall` returns POSIX seconds. `discard_kept(casts)` removes what nodes keep for retries of casts.
        """
        self._path = path
        self._publish = publish
        self._states = states
        self._wall = wall
        self._unfinished = unfinished
        self._discard_kept = discard_kept
        self._files = FileListStore(path.with_name("files"))
        self._thread = ThreadPoolExecutor(1, "castray-history")
        self._store: HistoryStore | None = None
        self._why_not = CastRayError(FailureKind.HISTORY_UNAVAILABLE, reason="it has not been opened")
        self._engine = StatisticsCounter(CastTotals(since=wall()))
        self._all_time = StatisticsCounter(CastTotals())
        self._busy = BusyIntervals()
        self._rates = TrafficHistory(wall())
        self._new_peaks: set[str] = set()  # nodes whose new peak was not written yet
        self._days = 0
        self._background = BackgroundTasks()
        self._clearing = asyncio.Lock()  # the store hides the casts of one clear at a time
        self._timer: asyncio.Task[None] | None = None
        self._publish_timer: asyncio.TimerHandle | None = None
        self._delete_timer: asyncio.TimerHandle | None = None  # deletes hidden casts later
        self._closing = False

    async def start(self) -> None:
        """Open the file and load it; an unusable file is logged, and queries fail."""
        try:
            await self._on_thread(self._open)
        except CastRayError as error:
            self._why_not = error
            log.warning("history is not available: %s", error.failure.values["reason"])
        except Exception as error:  # the engine starts without a history
            log.exception("the history can't be opened")
            self._why_not = CastRayError(FailureKind.HISTORY_UNAVAILABLE, reason=str(error))
        self._timer = asyncio.create_task(self._save_regularly(), name="keep history")
        self._background.run(self._assign_crowds(), "crowds of past casts")

    def _open(self) -> None:
        store = self._store = HistoryStore(self._path)
        try:
            self._all_time = StatisticsCounter(*self._work(store, HistoryStore.totals))
            for step in PERSISTED_STEPS:
                self._rates.restore(step, self._work(store, functools.partial(HistoryStore.rates, step=step)))
        except BaseException:
            self._store = None
            store.close()
            raise

    # --- events ---------------------------------------------------------------------------------

    def cast_ended(
        self, request: SendRequest, target: str, result: CastResult, *, again: bool = False
    ) -> None:
        """A cast on the cluster `target` has ended; it is written in a thread.

        `again`: its last waiting recipients are done. Their deliveries were separate casts, and are counted.
        """
        if not again:
            end = result.summary.finished or self._wall()
            busy = self._busy.add_interval(end - result.seconds, end)
            self._engine.count_cast(result, busy)
            self._all_time.count_cast(result, busy)
        past = PastCast(request, target, result)
        self._background.run(self._add(past), f"history of {result.summary.cast}")

    def throughput(self, cluster: str, now: Throughput) -> None:
        """Record the current traffic of a cluster."""
        self._rates.record(now, cluster)
        rates = [(item.node, item.received) for item in now.nodes]
        self._engine.record_traffic(now.total, rates)
        self._new_peaks.update(self._all_time.record_traffic(now.total, rates))

    def set_retention_days(self, days: int) -> None:
        """Delete casts that ended longer ago, now and in future; 0: never."""
        self._days = days
        if days:
            self._background.run(self._delete_old(), "forget old casts")

    # --- files of casts -------------------------------------------------------------------------

    def keep_file_record(self, cast: str, record: FileRecord) -> None:
        """Keep what became of the files of a cast, as long as it is in the history; written in a thread."""

        def written(done: Future[None]) -> None:
            if (error := done.exception()) is not None:
                log.warning("the outcome of the files of cast %s is not kept: %s", cast, error)

        self._thread.submit(self._files.append, cast, record).add_done_callback(written)

    async def file_records(self, cast: str) -> list[FileRecord]:
        """What is kept of the files of a cast, oldest first."""
        return await self._on_thread(lambda: self._files.load(cast))

    async def _drop_file_lists(self) -> None:
        """Remove those of casts that are neither in the history nor running."""
        unfinished = set(self._unfinished())
        try:
            await self._ask(lambda store: self._files.retain(lambda casts: store.known(casts) | unfinished))
        except CastRayError as error:
            log.warning("lists of files were not removed: %s", error)

    # --- commands -------------------------------------------------------------------------------

    async def answer(self, command: messages.HistoryCommand) -> messages.Reply:
        """Execute a command about the history. Raises CastRayError."""
        match command:
            case messages.GetHistory(query):
                return await self._ask(lambda store: store.page(query))
            case messages.GetPastCast(cast):
                return (await self.find_cast(cast)).result
            case messages.ClearHistory(casts, grace):
                grace = min(MOST_GRACE_SECONDS, grace)  # in this order also for NaN
                async with self._clearing:
                    await finish(self._clear(casts, grace))  # even if the client leaves meanwhile
                return messages.Done()
            case messages.KeepHistory():
                await self._restore_hidden()
                return messages.Done()
            case messages.GetRates(seconds):
                return self._rates.history(min(max(0.0, seconds), MOST_RATE_SECONDS), self._wall())
            case messages.GetStatistics():
                return self.statistics()

    async def _clear(self, casts: tuple[str, ...], grace: float) -> None:
        if self._delete_timer is not None:  # the undo of an earlier clear ends here
            await self._delete_hidden()
        await self._ask(lambda store: store.hide(casts))
        self._delete_timer = asyncio.get_running_loop().call_later(
            grace, lambda: self._background.run(self.end_undo(), "forget casts")
        )
        if grace <= 0:
            await self._delete_hidden()
        self._publish_soon()

    async def end_undo(self) -> None:
        """Delete what a clear has hidden. It can't be undone any more."""
        try:
            await self._delete_hidden()
        except CastRayError as error:
            log.warning("hidden casts were not deleted: %s", error)

    async def _delete_hidden(self) -> None:
        timer, self._delete_timer = self._delete_timer, None
        if timer is not None:
            timer.cancel()
            since = self._wall() - KEPT_SECONDS
            self._discard_kept(await self._ask(lambda store: store.forget_hidden(since)))
            await self._drop_file_lists()

    async def _restore_hidden(self) -> None:
        timer, self._delete_timer = self._delete_timer, None
        if timer is None:
            raise CastRayError(FailureKind.HISTORY_FORGOTTEN)
        timer.cancel()
        await self._ask(lambda store: store.show_hidden())
        self._publish_soon()

    async def find_cast(self, cast: str) -> PastCast:
        """Find an ended cast by its id or a prefix of it. Raises CastRayError."""
        return await self._ask(lambda store: store.find_cast(cast))

    def statistics(self) -> messages.StatisticsReport:
        """Totals since this engine's start and of all time."""
        going_on = [state for state in self._states() if not state.finished]
        queued = going_on.count(CastState.QUEUED)
        return messages.StatisticsReport(
            self._engine.statistics(), self._all_time.statistics(), len(going_on) - queued, queued
        )

    async def close(self) -> None:
        """Write pending data and close the file."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.wait([self._timer])
        if self._publish_timer is not None:
            self._publish_timer.cancel()
        await self._background.wait()
        await self.end_undo()
        await self._save_totals()
        store, self._store = self._store, None
        if store is not None:
            await self._on_thread(store.close)
        self._thread.shutdown()

    # --- inside ---------------------------------------------------------------------------------

    async def _add(self, past: PastCast) -> None:
        names = {item.node for item in past.result.deliveries}
        nodes = {name: self._all_time.nodes[name] for name in names & self._all_time.nodes.keys()}
        try:
            await self._ask(lambda store: store.add_cast(past, self._all_time.all, nodes))
        except CastRayError as error:
            log.warning("cast %s was not added to the history: %s", past.result.summary.cast, error)
            return
        self._publish_soon()

    async def _save_regularly(self) -> None:
        since_forgetting = 0.0
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self._save_totals()
            since_forgetting += FLUSH_SECONDS
            if self._days and since_forgetting >= FORGET_SECONDS:
                since_forgetting = 0.0
                await self._delete_old()

    async def _assign_crowds(self) -> None:
        """Give casts of an earlier version their crowd, in batches between which queries are answered."""
        try:
            while not self._closing and await self._ask(HistoryStore.assign_crowds):
                pass
        except CastRayError as error:
            log.warning("searches take longer: %s", error)

    async def _save_totals(self) -> None:
        rates = self._rates.drain_completed(self._wall())
        new_peaks, self._new_peaks = self._new_peaks, set()
        if not rates and not new_peaks:
            return
        nodes = {node: self._all_time.nodes.get(node, NodeTotals()) for node in new_peaks}
        now = self._wall()
        try:
            await self._ask(lambda store: store.save_totals(self._all_time.all, nodes, rates, now))
        except CastRayError as error:
            log.warning("statistics were not saved: %s", error)

    async def _delete_old(self) -> None:
        before = self._wall() - self._days * DAY
        try:
            gone = await self._ask(lambda store: store.clear_before(before))
        except CastRayError as error:
            log.warning("old casts were not deleted: %s", error)
            return
        if gone:
            await self._drop_file_lists()
            log.info("deleted %d casts that ended more than %d days ago", gone, self._days)
            self._publish_soon()

    def _publish_soon(self) -> None:
        """Notify clients of changes at most once a second."""
        if self._publish_timer is None:
            self._publish_timer = asyncio.get_running_loop().call_later(CHANGED_SECONDS, self._publish_change)

    def _publish_change(self) -> None:
        self._publish_timer = None
        self._publish(messages.HistoryChanged())

    async def _ask(self, work: Callable[[HistoryStore], Answer]) -> Answer:
        """Run `work` in the thread of the store. Raises CastRayError(HISTORY_UNAVAILABLE)."""
        store = self._store
        if store is None:
            raise CastRayError.of(self._why_not.failure)
        return await self._on_thread(lambda: self._work(store, work))

    def _work(self, store: HistoryStore, work: Callable[[HistoryStore], Answer]) -> Answer:
        """Run `work`, once more with a new file if this one turns out to be damaged."""
        try:
            return work(store)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            store.begin_again(error)
            store.save_totals(self._all_time.all, dict(self._all_time.nodes), (), self._wall())
            return work(store)

    async def _on_thread(self, work: Callable[[], Answer]) -> Answer:
        try:
            return await finish(asyncio.get_running_loop().run_in_executor(self._thread, work))
        except (sqlite3.Error, OSError) as error:
            raise CastRayError(FailureKind.HISTORY_UNAVAILABLE, reason=str(error)) from error
