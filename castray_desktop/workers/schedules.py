"""All schedules of the engine: kept in the home, run when they are due, steered by clients."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from datetime import tzinfo
from pathlib import Path

import msgspec

from castray_desktop.core import messages
from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.messages import (
    CastResult,
    Event,
    OnConflict,
    Schedule,
    SchedulesChanged,
    SendRequest,
)
from castray_desktop.core.schedule import NextTime, check, find, what_it_sends
from castray_desktop.workers.scheduling.local_time import local_zone, next_time
from castray_desktop.workers.scheduling.schedule_file import ScheduleFile, Standing, as_bytes
from castray_desktop.workers.scheduling.schedule_life import Casts, Life, Surroundings
from castray_desktop.workers.tasks import to_the_end

LOOK_UP_SECONDS = 20.0
"""Clocks are set and machines sleep: the time is looked at this often at least."""

PUBLISH_SECONDS = 0.5
DEMONSTRATION_SECONDS = 60.0
DEMONSTRATION_FILE = Path("demonstration", "castray-demonstration.txt")

log = logging.getLogger("castray.schedules")


class Schedules:
    """`start` reads the file and begins, `close` ends all but the casts."""

    def __init__(
        self,
        path: Path,
        casts: Casts,
        publish: Callable[[Event], None],
        wall: Callable[[], float] = time.time,
        zone: Callable[[], tzinfo] = local_zone,
        cron: NextTime = next_time,
    ) -> None:
        self._file = ScheduleFile(path)
        self._casts = casts
        self._publish = publish
        self._wall = wall
        self._demonstration = path.parent / DEMONSTRATION_FILE
        self._around = Surroundings(casts, self._changed, wall, zone, cron, self._demonstration)
        self._lives: dict[str, Life] = {}
        self._wake = asyncio.Event()
        self._dirty = asyncio.Event()
        self._written = b""
        self._chores: dict[Life, asyncio.Task[None]] = {}
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    async def start(self) -> None:
        """Begin with what the file has; casts that go on have to be known by now."""
        for standing in await asyncio.to_thread(self._file.read, self._check):
            life = self._lives[standing.schedule.schedule] = Life(standing, self._around)
            life.begin(missed=True)
        self._hold()
        self._tasks = (
            asyncio.create_task(self._attend(), name="schedules"),
            asyncio.create_task(self._tell(), name="tell schedules"),
        )

    async def close(self) -> None:
        """Stop watching and waiting, and write what has not been written."""
        ending = [*self._tasks, *self._chores.values()]
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending)
        for life in self._lives.values():
            await life.end()
        await self._write()

    @property
    def active(self) -> bool:
        """Whether one is enabled: then the engine stays."""
        return any(life.schedule.enabled for life in self._lives.values())

    def ended(self, result: CastResult) -> None:
        """A cast has ended, of one of them perhaps."""
        life = self._lives.get(result.summary.schedule)
        if life is not None:
            life.ended(result)

    # --- commands -------------------------------------------------------------------------------

    async def answer(self, command: messages.ScheduleCommand) -> messages.Reply:
        """Carry out one of the commands about schedules. Raises CastRayError."""
        match command:
            case messages.ListSchedules():
                return self._told()
            case messages.AddSchedule(schedule):
                return self._added(self._add(schedule))
            case messages.AddDemonstration():
                return self._added(self._add_demonstration())
            case messages.RunSchedule(schedule):
                return messages.Accepted(await self._find(schedule).run_now())
            case messages.ChangeSchedule(schedule):
                await self._change(schedule)
            case messages.RemoveSchedule(schedule):
                life = self._find(schedule)
                del self._lives[life.schedule.schedule]
                await self._end(life)
            case messages.EnableSchedule(schedule, enabled):
                for life in [self._find(schedule)] if schedule else tuple(self._lives.values()):
                    await self._replace(life, msgspec.structs.replace(life.schedule, enabled=enabled))
        self._hold()
        self._changed()
        return messages.Done()

    def _check(self, schedule: Schedule) -> None:
        check(schedule, self._around.next_time)

    def _added(self, schedule: str) -> messages.ScheduleAdded:
        return messages.ScheduleAdded(schedule, self._lives[schedule].schedule.cluster)

    def _add(self, schedule: Schedule) -> str:
        self._check(schedule)
        self._check_name(schedule)
        name = secrets.token_hex(6)
        schedule = msgspec.structs.replace(schedule, schedule=name, name=schedule.name.strip())
        life = self._lives[name] = Life(Standing(schedule), self._around)
        life.begin(missed=False)
        self._hold()
        self._changed()
        return name

    def _add_demonstration(self) -> str:
        for name, life in self._lives.items():
            if life.schedule.demonstration:
                return name
        request = SendRequest(
            (str(self._demonstration),), ("all",), on_conflict=OnConflict.OVERWRITE, leave_out=True
        )
        return self._add(
            Schedule(
                "",
                "Demonstration",
                request,
                every=DEMONSTRATION_SECONDS,
                enabled=False,
                demonstration=True,
            )
        )

    def _check_name(self, schedule: Schedule, own: str = "") -> None:
        """Raises CastRayError(SCHEDULE_EXISTS) where another one than `own` has that name."""
        name = schedule.name.strip()
        if any(life.schedule.name == name for other, life in self._lives.items() if other != own):
            raise CastRayError(FailureKind.SCHEDULE_EXISTS, name=name)

    async def _change(self, schedule: Schedule) -> None:
        self._check(schedule)
        life = self._find(schedule.schedule)
        own = life.schedule  # an id may have been given by its beginning
        if schedule.name.strip() != own.name:  # two that have shared one since earlier can be changed
            self._check_name(schedule, own.schedule)
        await self._replace(
            life,
            msgspec.structs.replace(
                schedule,
                schedule=own.schedule,
                name=schedule.name.strip(),
                demonstration=own.demonstration and schedule.request.paths == own.request.paths,
            ),
        )

    async def _replace(self, life: Life, schedule: Schedule) -> None:
        """The same standing under other rules; its times begin anew."""
        standing, before = life.standing, life.schedule
        if schedule == before:
            return
        await self._end(life)
        standing.schedule = schedule
        standing.failure, standing.failures = None, 0
        if (schedule.cluster, what_it_sends(schedule.request)) != (
            before.cluster,
            what_it_sends(before.request),
        ):
            standing.sent_to, standing.unchanged = {}, False
        fresh = self._lives[schedule.schedule] = Life(standing, self._around)
        fresh.begin(missed=False)

    async def _end(self, life: Life) -> None:
        """It begins nothing any more; a run that looks what to send is ended."""
        chore = self._chores.get(life)
        if chore is not None and chore is not asyncio.current_task():
            chore.cancel()
            await asyncio.wait([chore])
        await life.end()

    def _find(self, schedule: str) -> Life:
        """See `core.schedule.find`."""
        found = find(schedule, (life.schedule for life in self._lives.values()))
        return self._lives[found.schedule]

    def _hold(self) -> None:
        enabled = (life.schedule for life in self._lives.values() if life.schedule.enabled)
        self._casts.hold({schedule.cluster for schedule in enabled})
        self._wake.set()

    # --- what goes on ---------------------------------------------------------------------------

    async def _attend(self) -> None:
        while True:
            self._wake.clear()
            now = self._wall()
            for life in tuple(self._lives.values()):
                if life.due_at() <= now:
                    self._spawn(life)
            await asyncio.sleep(0)  # a run that has begun is not due
            due = min((life.due_at() for life in self._lives.values()), default=now + LOOK_UP_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(max(due - self._wall(), 0.01), LOOK_UP_SECONDS)):
                    await self._wake.wait()

    def _spawn(self, life: Life) -> None:
        chore = asyncio.create_task(self._run(life), name=f"schedule {life.schedule.schedule}")
        self._chores[life] = chore
        chore.add_done_callback(lambda _: self._chores.pop(life, None))

    async def _run(self, life: Life) -> None:
        try:
            await life.attend()
        except Exception as error:  # one schedule must not end the others
            log.exception("schedule %s", life.schedule.name)
            life.failed(Failure(FailureKind.INTERNAL, {"reason": f"{type(error).__name__}: {error}"}))
            self._changed()

    def _changed(self) -> None:
        self._dirty.set()
        self._wake.set()

    def _told(self) -> SchedulesChanged:
        return SchedulesChanged(tuple(life.info() for life in self._lives.values()))

    async def _tell(self) -> None:
        """Clients hear of changes, and the file is written, twice a second at most."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            self._publish(self._told())
            await self._write()
            await asyncio.sleep(PUBLISH_SECONDS)

    async def _write(self) -> None:
        content = as_bytes([life.standing for life in self._lives.values()])
        if content == self._written:
            return
        try:
            await to_the_end(asyncio.to_thread(self._file.write, content))
        except OSError as error:
            log.warning("schedules are not kept: %s", error)
            return
        self._written = content
