"""One schedule from run to run: when it is due, what it sends, and what became of that.

What a source would send is known by the digest of its manifest (names, sizes, times, modes), made without
reading a file. A recipient that has got that digest from this schedule is sent nothing; without any other
there is no cast.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Protocol

import msgspec

from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.messages import (
    CastResult,
    CastState,
    DeliveryState,
    Schedule,
    ScheduleInfo,
    SendRequest,
)
from castray_desktop.core.schedule import NextTime, next_run, retry_after
from castray_desktop.workers.scheduling.file_watch import Watch
from castray_desktop.workers.scheduling.schedule_file import Standing

WAIT_SECONDS = 5.0
"""For a cluster that is not there; then it is looked for again."""

LOOK_SECONDS = 10.0
"""What can't be watched is looked at this often at most, and a tenth of the time at most."""

SURE_SECONDS = 600.0
"""What is watched is looked at this often all the same: a kernel may have had too much to tell."""

MOST_CHANGES = 100_000
"""Paths that are counted."""

log = logging.getLogger("castray.schedules")


@dataclass(frozen=True)
class Look:
    """What would be sent now, and to whom."""

    digest: str
    recipients: tuple[str, ...]
    offline: frozenset[str] = frozenset()  # of the recipients


class Casts(Protocol):
    """What schedules need of clusters and their casts."""

    def is_ready(self, target: str) -> bool:
        """Whether something can be sent on that cluster now."""

    async def bring_up(self, target: str) -> None:
        """Start it or attach to it, unless the user has left it."""

    def is_here(self, target: str, source: str) -> bool:
        """Whether the files of that source are files of this machine."""

    async def look(self, target: str, request: SendRequest) -> Look:
        """See what would be sent. Raises CastRayError."""

    def send(self, target: str, request: SendRequest, schedule: str) -> str:
        """Start a cast; its id. Raises CastRayError."""

    def runs(self, cast: str) -> bool:
        """Whether that cast has not ended."""

    def hold(self, targets: set[str]) -> None:
        """Keep to these clusters although nobody looks at them."""


@dataclass(frozen=True)
class Surroundings:
    """What the life of a schedule depends on."""

    casts: Casts
    changed: Callable[[], None]  # something that is kept or shown has changed
    wall: Callable[[], float]
    zone: Callable[[], tzinfo]
    next_time: NextTime
    demonstration: Path


class Life:
    """A schedule that stands in the file. `attend` is called often; only one run goes on at a time."""

    def __init__(self, standing: Standing, around: Surroundings) -> None:
        self.standing = standing
        self._around = around
        self._watch: Watch | None = None
        self._retired: list[Watch] = []
        self._watch_again = 0.0
        self._looks_every = 0.0
        self._look_due = 0.0
        self._seen = ""  # the digest of the last look, while it can't be watched
        self._changes: set[str] = set()
        self._changed_at = 0.0
        self._wait_until = 0.0
        self._busy = False

    # --- what it is -----------------------------------------------------------------------------

    @property
    def schedule(self) -> Schedule:
        return self.standing.schedule

    @property
    def running(self) -> bool:
        """Whether its last cast has not ended."""
        return bool(self.standing.last_cast) and self.standing.last_state is None

    def info(self) -> ScheduleInfo:
        """As clients see it."""
        standing = self.standing
        return ScheduleInfo(
            standing.schedule,
            next_run=standing.next_run if standing.schedule.enabled else 0.0,
            last_run=standing.last_run,
            last_cast=standing.last_cast,
            last_state=standing.last_state,
            running=self.running,
            unchanged=standing.unchanged,
            changes_seen=len(self._changes),
            looks_every=self._looks_every,
            failure=standing.failure,
        )

    # --- orders ---------------------------------------------------------------------------------

    def begin(self, missed: bool) -> None:
        """It is kept from now on, or the engine has started; `missed` runs are made up for."""
        standing, now = self.standing, self._around.wall()
        if self.running and not self._around.casts.runs(standing.last_cast):
            standing.last_state = CastState.FAILED  # lost with an engine that was killed
        if not standing.schedule.enabled:
            return
        due = missed and 0 < standing.next_run <= now
        if standing.schedule.quiet:
            standing.next_run = now  # for what has changed while nobody watched
        elif not due:
            standing.next_run = self._next(now)

    async def end(self) -> None:
        """Stop watching."""
        watches = [*self._retired, *([self._watch] if self._watch is not None else [])]
        self._watch, self._retired, self._looks_every = None, [], 0.0
        self._changes.clear()
        for watch in watches:
            await watch.stop()

    # --- time -----------------------------------------------------------------------------------

    def due_at(self) -> float:
        """When it has to be attended to next, as far as that is known; POSIX seconds."""
        if not self.schedule.enabled or self.running or self._busy:
            return float("inf")
        times = [self.standing.next_run] if self.standing.next_run else []
        if self._changes:
            times.append(self._changed_at + self.schedule.quiet)
        if self.schedule.quiet and self._look_due:
            times.append(self._look_due)
        return max(self._wait_until, min(times, default=float("inf")))

    async def attend(self) -> None:
        """Do what is due."""
        if self.due_at() > self._around.wall():
            return
        self._busy = True
        try:
            if not self._around.casts.is_ready(self.schedule.cluster):
                await self._wait_for_cluster()
            else:
                await self._run()
        except CastRayError as error:
            self.failed(error.failure)
        except OSError as error:
            self.failed(Failure(FailureKind.INTERNAL, {"reason": str(error)}))
        finally:
            self._busy = False
            self._around.changed()

    async def run_now(self) -> str:
        """A cast to all of its recipients, whether anything has changed or not. Raises CastRayError."""
        if self.running or self._busy:
            raise CastRayError(FailureKind.SCHEDULE_RUNNING, name=self.schedule.name)
        if not self._around.casts.is_ready(self.schedule.cluster):
            raise CastRayError(FailureKind.NO_CLUSTER)
        self._busy = True
        try:
            look = await self._look()
            self._send(look, look.recipients)
        finally:
            self._busy = False
            self._around.changed()
        return self.standing.last_cast

    # --- a run ----------------------------------------------------------------------------------

    async def _wait_for_cluster(self) -> None:
        self._wait_until = self._around.wall() + WAIT_SECONDS
        self.standing.failure = Failure(FailureKind.SCHEDULE_WAITS, {"target": self.schedule.cluster})
        await self._around.casts.bring_up(self.schedule.cluster)

    async def _run(self) -> None:
        self._see_to_watch()
        started, self._look_due = self._around.wall(), 0.0
        look = await self._look()
        now = self._around.wall()
        if self._looks_every:
            self._looks_every = max(LOOK_SECONDS, self.schedule.quiet, 10 * (now - started))
        if not self._look_due:  # else the watch wants another one, having begun or ended meanwhile
            self._look_due = now + (self._looks_every or SURE_SECONDS)
        if self._changes_still(look):
            return
        lacking = self._lacking(look)
        if lacking:
            self._send(look, lacking)
        else:
            self._nothing_to_send(look)

    async def _look(self) -> Look:
        if self.schedule.demonstration:
            _write_demonstration(self._around.demonstration, self._around.wall())
        self._changes.clear()
        return await self._around.casts.look(self.schedule.cluster, self.schedule.request)

    def _changes_still(self, look: Look) -> bool:
        """Whether what can't be watched has to be looked at again before it counts as quiet."""
        if not self._looks_every or look.digest == self._seen or not self._lacking(look):
            return False
        self._seen, self.standing.next_run = look.digest, 0.0
        return True

    def _lacking(self, look: Look) -> tuple[str, ...]:
        """The recipients that have not got this, as far as something can be done about it."""
        awaited = self.schedule.request.await_offline
        return tuple(
            node
            for node in look.recipients
            if self.standing.sent_to.get(node) != look.digest and (awaited or node not in look.offline)
        )

    def _send(self, look: Look, recipients: tuple[str, ...]) -> None:
        request = msgspec.structs.replace(self.schedule.request, recipients=recipients, leave_out=True)
        cast = self._around.casts.send(self.schedule.cluster, request, self.schedule.schedule)
        standing = self.standing
        standing.last_cast, standing.last_state, standing.sending = cast, None, look.digest
        self._has_run(unchanged=False)

    def _nothing_to_send(self, look: Look) -> None:
        self._has_run(unchanged=True)
        missing = [node for node in look.recipients if self.standing.sent_to.get(node) != look.digest]
        if missing:  # they are offline, and get it when they are back
            self.standing.failure = Failure(FailureKind.NODE_OFFLINE, {"node": ", ".join(missing)})
            self._try_again()

    def _has_run(self, unchanged: bool) -> None:
        standing, now = self.standing, self._around.wall()
        standing.last_run, standing.unchanged, standing.failure = now, unchanged, None
        standing.next_run = self._next(now)

    def failed(self, failure: Failure) -> None:
        """It could not begin; it is tried again in its time."""
        now = self._around.wall()
        log.warning("schedule %s: %s %s", self.schedule.name, failure.kind.value, failure.values)
        self.standing.last_run, self.standing.failure = now, failure
        self.standing.failures += 1
        self.standing.next_run = self._next(now)
        self._look_due = now + (self._looks_every or SURE_SECONDS)
        self._try_again()

    def _try_again(self) -> None:
        """A schedule that has no times of its own has to be given one."""
        if self.schedule.quiet:
            self.standing.next_run = self._around.wall() + retry_after(self.standing.failures)

    def ended(self, result: CastResult) -> None:
        """A cast of it has ended."""
        standing = self.standing
        if result.summary.cast != standing.last_cast:
            return
        standing.last_state = result.summary.state
        for delivery in result.deliveries:
            if delivery.state.delivered or delivery.state is DeliveryState.AWAITED:
                standing.sent_to[delivery.node] = standing.sending
            else:
                standing.sent_to.pop(delivery.node, None)
        served = result.summary.state is CastState.COMPLETED
        standing.failures = 0 if served else standing.failures + 1
        if self.schedule.enabled:
            standing.next_run = self._next(self._around.wall())
            if not served:
                self._try_again()
        self._around.changed()

    def _next(self, now: float) -> float:
        around = self._around
        return next_run(self.schedule, self.standing.last_run, now, around.zone(), around.next_time)

    # --- watching -------------------------------------------------------------------------------

    def _see_to_watch(self) -> None:
        """Watch what is to be watched, or say how often it is looked at instead."""
        schedule, now = self.schedule, self._around.wall()
        if not schedule.quiet or self._watch is not None or now < self._watch_again:
            return
        self._watch_again = now + SURE_SECONDS
        if not self._around.casts.is_here(schedule.cluster, schedule.request.source):
            self._looks_every = max(LOOK_SECONDS, schedule.quiet)
            return
        request = schedule.request
        self._looks_every = 0.0
        self._watch = Watch(request.paths, request.exclude, self._watches, self._saw, self._lost)
        self._watch.start()

    def _watches(self) -> None:
        """What changed before the kernel had been told of all folders has to be found by another look."""
        self._look_due = self._around.wall()
        self._around.changed()

    def _saw(self, paths: set[str]) -> None:
        if len(self._changes) < MOST_CHANGES:
            self._changes |= paths
        self._changed_at = self._around.wall()
        self._around.changed()

    def _lost(self, error: Exception) -> None:
        """The watch has ended. What is only not there is watched when it is back."""
        if self._watch is not None:
            self._retired.append(self._watch)
            self._watch = None
        self._looks_every = max(LOOK_SECONDS, self.schedule.quiet)
        self._look_due = now = self._around.wall()
        if isinstance(error, FileNotFoundError):
            self._watch_again = now + LOOK_SECONDS
        log.warning(
            "The files of schedule %s can't be watched (%s); they are looked at every %.0f s.",
            *(self.schedule.name, error, self._looks_every),
        )
        self._around.changed()


def _write_demonstration(path: Path, now: float) -> None:
    """A few lines that differ each time."""
    lines = path.read_text().splitlines()[-9:] if path.exists() else []
    moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.write_text("\n".join([*lines, f"CastRay wrote this line at {moment}."]) + "\n")
    beside.replace(path)
