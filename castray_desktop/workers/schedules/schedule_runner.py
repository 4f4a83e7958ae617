"""One schedule from run to run: when it is due, what it sends, and the outcome; and the file of all states.

What a source would send is identified by the digest of its manifest (names, sizes, times, modes), made
without reading a file. A recipient that has got that digest from this schedule is sent nothing; if no
recipient lacks it, there is no cast.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Protocol

import msgspec

from castray_desktop.core.casts.schedule_rules import NextTime, next_run, retry_delay
from castray_desktop.core.casts.transfer_options import nest_options
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import (
    CastResult,
    CastState,
    DeliveryState,
    Schedule,
    ScheduleInfo,
    SendRequest,
)
from castray_desktop.workers.base.state_files import check_times, load_list, replace_file
from castray_desktop.workers.schedules.file_watch import FileWatch


class ScheduleState(msgspec.Struct):
    """A schedule and the state of its runs; kept over restarts."""

    schedule: Schedule
    next_run: float = 0.0
    last_run: float = 0.0
    last_cast: str = ""
    last_state: CastState | None = None
    unchanged: bool = False
    failure: Failure | None = None
    failures: int = 0  # consecutive runs that did not complete all deliveries
    sending: str = ""  # manifest digest of the last cast
    sent_to: dict[str, str] = msgspec.field(default_factory=dict)  # manifest digest by recipient


def load_states(path: Path, check: Callable[[Schedule], None]) -> list[ScheduleState]:
    """Read the saved schedules. What is damaged, or what `check` refuses, is set aside and never deleted."""

    def check_one(state: ScheduleState) -> None:
        check_times((state.next_run, state.last_run))
        check(state.schedule)

    return load_list(path, "the schedules", ScheduleState, check_one, _upgrade)


def _upgrade(item: Any) -> Any:
    schedule = item["schedule"]
    return {**item, "schedule": {**schedule, "request": nest_options(schedule["request"])}}


WAIT_SECONDS = 5.0
"""Wait time for a cluster that is not connected."""

POLL_SECONDS = 10.0
"""Minimum interval of scans of files that can't be watched; scans take at most a tenth of the time."""

URL_POLL_SECONDS = 60.0
"""Minimum interval at which servers are asked whether their files have changed."""

RECHECK_SECONDS = 600.0
"""Interval of scans of watched files, since the kernel may have dropped events."""

MAX_CHANGES = 100_000
"""Maximum number of recorded changed paths."""

log = logging.getLogger("castray.schedules")


@dataclass(frozen=True)
class SourceSnapshot:
    """Result of a scan: what would be sent now, and to whom."""

    digest: str
    recipients: tuple[str, ...]
    offline: frozenset[str] = frozenset()  # recipients that are offline


class ScheduledCasts(Protocol):
    """Interface of clusters and casts for schedules."""

    def is_ready(self, target: str) -> bool:
        """Whether casts can be sent on that cluster now."""

    async def bring_up(self, target: str) -> None:
        """Connect to the cluster, unless the user has left it."""

    def is_local(self, target: str, source: str) -> bool:
        """Whether the files of that source are files of this machine."""

    async def snapshot(self, target: str, request: SendRequest) -> SourceSnapshot:
        """Scan what would be sent. Raises CastRayError."""

    def send(self, target: str, request: SendRequest, schedule: str) -> str:
        """Start a cast; returns its id. Raises CastRayError."""

    def is_running(self, cast: str) -> bool:
        """Whether that cast still runs."""

    def keep_in_use(self, targets: set[str]) -> None:
        """Keep these clusters connected even without clients."""


@dataclass(frozen=True)
class ScheduleContext:
    """Dependencies of a schedule run."""

    casts: ScheduledCasts
    changed: Callable[[], None]  # saved or displayed state has changed
    wall: Callable[[], float]
    zone: Callable[[], tzinfo]
    next_time: NextTime
    demonstration: Path


class ScheduleRunner:
    """Runs one schedule. `run_if_due` is called often; at most one run is active."""

    def __init__(self, state: ScheduleState, context: ScheduleContext) -> None:
        self.state = state
        self._context = context
        self._watch: FileWatch | None = None
        self._retired: list[FileWatch] = []
        self._watch_again = 0.0
        self._poll_interval = 0.0
        self._scan_due = 0.0
        self._seen = ""  # digest of the last scan, if the files can't be watched
        self._changes: set[str] = set()
        self._changed_at = 0.0
        self._wait_until = 0.0
        self._busy = False

    # --- what it is -----------------------------------------------------------------------------

    @property
    def schedule(self) -> Schedule:
        return self.state.schedule

    @property
    def running(self) -> bool:
        """Whether its last cast still runs."""
        return bool(self.state.last_cast) and self.state.last_state is None

    def info(self) -> ScheduleInfo:
        """As clients see it."""
        state = self.state
        return ScheduleInfo(
            state.schedule,
            next_run=state.next_run if state.schedule.enabled else 0.0,
            last_run=state.last_run,
            last_cast=state.last_cast,
            last_state=state.last_state,
            running=self.running,
            unchanged=state.unchanged,
            changes_seen=len(self._changes),
            looks_every=self._poll_interval,
            failure=state.failure,
        )

    # --- orders ---------------------------------------------------------------------------------

    def start(self, missed: bool) -> None:
        """Start after creation or after the engine's start; `missed` runs are made up for."""
        state, now = self.state, self._context.wall()
        if self.running and not self._context.casts.is_running(state.last_cast):
            state.last_state = CastState.FAILED  # lost with a killed engine
        if not state.schedule.enabled:
            return
        due = missed and 0 < state.next_run <= now
        if state.schedule.quiet:
            state.next_run = now  # for changes while nothing was watched
        elif not due:
            state.next_run = self._next(now)

    async def stop(self) -> None:
        """Stop watching."""
        watches = [*self._retired, *([self._watch] if self._watch is not None else [])]
        self._watch, self._retired, self._poll_interval = None, [], 0.0
        self._changes.clear()
        for watch in watches:
            await watch.stop()

    # --- time -----------------------------------------------------------------------------------

    def due_at(self) -> float:
        """Time of the next call of `run_if_due`, if known; POSIX seconds."""
        if not self.schedule.enabled or self.running or self._busy:
            return float("inf")
        times = [self.state.next_run] if self.state.next_run else []
        if self._changes:
            times.append(self._changed_at + self.schedule.quiet)
        if self.schedule.quiet and self._scan_due:
            times.append(self._scan_due)
        return max(self._wait_until, min(times, default=float("inf")))

    async def run_if_due(self) -> None:
        """Do what is due."""
        if self.due_at() > self._context.wall():
            return
        self._busy = True
        try:
            if not self._context.casts.is_ready(self.schedule.cluster):
                await self._wait_for_cluster()
            else:
                await self._run()
        except CastRayError as error:
            self.failed(error.failure)
        except OSError as error:
            self.failed(Failure(FailureKind.INTERNAL, {"reason": str(error)}))
        finally:
            self._busy = False
            self._context.changed()

    async def run_now(self) -> str:
        """Start a cast to all recipients, whether or not anything has changed. Raises CastRayError."""
        if self.running or self._busy:
            raise CastRayError(FailureKind.SCHEDULE_RUNNING, name=self.schedule.name)
        if not self._context.casts.is_ready(self.schedule.cluster):
            raise CastRayError(FailureKind.NO_CLUSTER)
        self._busy = True
        try:
            snapshot = await self._scan()
            self._send(snapshot, snapshot.recipients)
        finally:
            self._busy = False
            self._context.changed()
        return self.state.last_cast

    # --- a run ----------------------------------------------------------------------------------

    async def _wait_for_cluster(self) -> None:
        self._wait_until = self._context.wall() + WAIT_SECONDS
        self.state.failure = Failure(FailureKind.SCHEDULE_WAITS, {"target": self.schedule.cluster})
        await self._context.casts.bring_up(self.schedule.cluster)

    async def _run(self) -> None:
        self._start_watch()
        started, self._scan_due = self._context.wall(), 0.0
        snapshot = await self._scan()
        now = self._context.wall()
        if self._poll_interval:
            self._poll_interval = max(self._shortest_interval, 10 * (now - started))
        if not self._scan_due:  # otherwise the watch has asked for another scan
            self._scan_due = now + (self._poll_interval or RECHECK_SECONDS)
        if self._still_changing(snapshot):
            return
        unserved = self._unserved(snapshot)
        if unserved:
            self._send(snapshot, unserved)
        else:
            self._nothing_to_send(snapshot)

    async def _scan(self) -> SourceSnapshot:
        if self.schedule.demonstration:
            _write_demonstration(self._context.demonstration, self._context.wall())
        self._changes.clear()
        return await self._context.casts.snapshot(self.schedule.cluster, self.schedule.request)

    def _still_changing(self, snapshot: SourceSnapshot) -> bool:
        """Whether unwatched files must be scanned again before they count as unchanged."""
        if not self._poll_interval or snapshot.digest == self._seen or not self._unserved(snapshot):
            return False
        self._seen, self.state.next_run = snapshot.digest, 0.0
        return True

    def _unserved(self, snapshot: SourceSnapshot) -> tuple[str, ...]:
        """Recipients without the current content that can be served."""
        awaited = self.schedule.request.options.await_offline
        return tuple(
            node
            for node in snapshot.recipients
            if self.state.sent_to.get(node) != snapshot.digest and (awaited or node not in snapshot.offline)
        )

    def _send(self, snapshot: SourceSnapshot, recipients: tuple[str, ...]) -> None:
        request = msgspec.structs.replace(self.schedule.request, recipients=recipients, leave_out=True)
        cast = self._context.casts.send(self.schedule.cluster, request, self.schedule.schedule)
        state = self.state
        state.last_cast, state.last_state, state.sending = cast, None, snapshot.digest
        self._record_run(unchanged=False)

    def _nothing_to_send(self, snapshot: SourceSnapshot) -> None:
        self._record_run(unchanged=True)
        missing = [node for node in snapshot.recipients if self.state.sent_to.get(node) != snapshot.digest]
        if missing:  # offline recipients get it when they are back
            self.state.failure = Failure(FailureKind.NODE_OFFLINE, {"node": ", ".join(missing)})
            self._try_again()

    def _record_run(self, unchanged: bool) -> None:
        state, now = self.state, self._context.wall()
        state.last_run, state.unchanged, state.failure = now, unchanged, None
        state.next_run = self._next(now)

    def failed(self, failure: Failure) -> None:
        """A run could not start; schedule a retry."""
        now = self._context.wall()
        log.warning("schedule %s: %s %s", self.schedule.name, failure.kind.value, failure.values)
        self.state.last_run, self.state.failure = now, failure
        self.state.failures += 1
        self.state.next_run = self._next(now)
        self._scan_due = now + (self._poll_interval or RECHECK_SECONDS)
        self._try_again()

    def _try_again(self) -> None:
        """Set a retry time for a schedule without fixed times."""
        if self.schedule.quiet:
            self.state.next_run = self._context.wall() + retry_delay(self.state.failures)

    def cast_ended(self, result: CastResult) -> None:
        """Handle the end of its cast."""
        state = self.state
        if result.summary.cast != state.last_cast:
            return
        state.last_state = result.summary.state
        for delivery in result.deliveries:
            if delivery.state.delivered or delivery.state is DeliveryState.AWAITED:
                state.sent_to[delivery.node] = state.sending
            else:
                state.sent_to.pop(delivery.node, None)
        served = result.summary.state is CastState.COMPLETED
        state.failures = 0 if served else state.failures + 1
        if self.schedule.enabled:
            state.next_run = self._next(self._context.wall())
            if not served:
                self._try_again()
        self._context.changed()

    def _next(self, now: float) -> float:
        context = self._context
        return next_run(self.schedule, self.state.last_run, now, context.zone(), context.next_time)

    # --- watching -------------------------------------------------------------------------------

    @property
    def _shortest_interval(self) -> float:
        """Seconds between two looks at files that can't be watched."""
        least = URL_POLL_SECONDS if self.schedule.request.urls else POLL_SECONDS
        return max(least, self.schedule.quiet)

    def _start_watch(self) -> None:
        """Watch the files if possible, otherwise set the scan interval."""
        schedule, now = self.schedule, self._context.wall()
        if not schedule.quiet or self._watch is not None or now < self._watch_again:
            return
        self._watch_again = now + RECHECK_SECONDS
        request = schedule.request
        if request.urls or not self._context.casts.is_local(schedule.cluster, request.source):
            self._poll_interval = self._shortest_interval
            return
        self._poll_interval = 0.0
        self._watch = FileWatch(
            request.local_paths,
            request.options.patterns,
            self._watch_started,
            self._files_changed,
            self._watch_failed,
        )
        self._watch.start()

    def _watch_started(self) -> None:
        """The watch is complete: scan once for earlier changes."""
        self._scan_due = self._context.wall()
        self._context.changed()

    def _files_changed(self, paths: set[str]) -> None:
        if len(self._changes) < MAX_CHANGES:
            self._changes |= paths
        self._changed_at = self._context.wall()
        self._context.changed()

    def _watch_failed(self, error: Exception) -> None:
        """The watch has failed. Missing files are watched again when they are back."""
        if self._watch is not None:
            self._retired.append(self._watch)
            self._watch = None
        self._poll_interval = self._shortest_interval
        self._scan_due = now = self._context.wall()
        if isinstance(error, FileNotFoundError):
            self._watch_again = now + POLL_SECONDS
        log.warning(
            "The files of schedule %s can't be watched (%s); they are scanned every %.0f s.",
            self.schedule.name,
            error,
            self._poll_interval,
        )
        self._context.changed()


def _write_demonstration(path: Path, now: float) -> None:
    """A few lines that differ each time."""
    lines = path.read_text().splitlines()[-9:] if path.exists() else []
    moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(path, ("\n".join([*lines, f"CastRay wrote this line at {moment}."]) + "\n").encode())
