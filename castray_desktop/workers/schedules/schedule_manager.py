"""All schedules of the engine: saved, run when due, changed by clients, and the clusters that they use.

Cron times are local time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from cronsim import CronSim, CronSimError

from castray_desktop.core.casts.node_selector import find_node
from castray_desktop.core.casts.schedule_rules import NextTime, check_schedule, content_key, find
from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import (
    THIS_COMPUTER,
    CastResult,
    ClusterPhase,
    Event,
    NodeState,
    OnConflict,
    Schedule,
    SchedulesChanged,
    SendRequest,
)
from castray_desktop.core.protocol.nodes.driver_protocol import LOCAL_TARGET
from castray_desktop.workers.base.async_tasks import finish
from castray_desktop.workers.base.state_files import replace_file
from castray_desktop.workers.clusters.cluster_registry import ClusterRegistry, ManagedCluster
from castray_desktop.workers.schedules.schedule_runner import (
    ScheduleContext,
    ScheduledCasts,
    ScheduleRunner,
    ScheduleState,
    SourceSnapshot,
    load_states,
)

CONNECT_RETRY_SECONDS = 60.0
"""Minimum interval between attempts to reach a cluster."""

MAX_SLEEP_SECONDS = 20.0
"""Maximum time between two checks of the clock, since clocks may be set and machines sleep."""

PUBLISH_SECONDS = 0.5
DEMONSTRATION_SECONDS = 60.0
DEMONSTRATION_FILE = Path("demonstration", "castray-demonstration.txt")
LOCAL_ZONE = Path("/etc/localtime")

log = logging.getLogger("castray.schedules")


class ScheduleClusters:
    """`ScheduledCasts` on the clusters of the engine."""

    def __init__(self, clusters: ClusterRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        self._clusters = clusters
        self._clock = clock
        self._tried: dict[str, float] = {}
        self._left: set[str] = set()

    def left(self, target: str) -> None:
        """The user left this cluster: it is not connected until it is used again."""
        self._left.add(target)

    def used(self, target: str) -> None:
        """The user wants this cluster."""
        self._left.discard(target)

    def is_ready(self, target: str) -> bool:
        """See `ScheduledCasts`."""
        cluster = self._find_cluster(target)
        return (
            cluster is not None
            and cluster.agents.settled
            and any(node.state is NodeState.ONLINE for node in cluster.agents.nodes.values())
        )

    async def bring_up(self, target: str) -> None:
        """See `ScheduledCasts`."""
        cluster, now = self._clusters.get(self._resolve(target)), self._clock()
        if (
            cluster.target in self._left
            or not cluster.target
            or cluster.status.phase not in (ClusterPhase.NONE, ClusterPhase.FAILED)
        ):
            return
        if now - self._tried.get(target, -CONNECT_RETRY_SECONDS) >= CONNECT_RETRY_SECONDS:
            self._tried[target] = now
            log.info("connecting to %s for a schedule", target)
            await cluster.supervisor.use(target)

    def is_local(self, target: str, source: str) -> bool:
        """See `ScheduledCasts`."""
        if source == THIS_COMPUTER or target == LOCAL_TARGET:
            return True
        cluster = self._find_cluster(target)
        if cluster is None:
            return False
        try:
            return find_node(source, cluster.agents.nodes).this_computer
        except CastRayError:
            return False

    async def snapshot(self, target: str, request: SendRequest) -> SourceSnapshot:
        """See `ScheduledCasts`."""
        cluster = self._clusters.get(self._resolve(target))
        digest, source, recipients = await cluster.casts.dry_runs.snapshot(request)
        await asyncio.to_thread(_check_apart, cluster, request, source, recipients)
        nodes = cluster.agents.nodes
        offline = (node for node in recipients if nodes[node].state is not NodeState.ONLINE)
        return SourceSnapshot(digest, recipients, frozenset(offline))

    def send(self, target: str, request: SendRequest, schedule: str) -> str:
        """See `ScheduledCasts`."""
        return self._clusters.get(self._resolve(target)).casts.send(request, schedule=schedule)

    def is_running(self, cast: str) -> bool:
        """See `ScheduledCasts`."""
        return any(cast in cluster.casts.unfinished for cluster in self._clusters)

    def keep_in_use(self, targets: set[str]) -> None:
        """See `ScheduledCasts`."""
        self._clusters.held = {self._resolve(target) for target in targets}

    def _resolve(self, target: str) -> str:
        """The schedule's cluster; the current one if it names none."""
        return self._clusters.current().target if target in ("", "auto") else target

    def _find_cluster(self, target: str) -> ManagedCluster | None:
        resolved = self._resolve(target)
        return next((cluster for cluster in self._clusters if cluster.target == resolved), None)


def _check_apart(
    cluster: ManagedCluster, request: SendRequest, source: str, recipients: tuple[str, ...]
) -> None:
    """Check that the destination is not part of what is sent, or every run would find new files.

    Only recipients on the source's machine matter. Raises CastRayError(BAD_SCHEDULE).
    """
    nodes = cluster.agents.nodes
    for node in (name for name in recipients if nodes[name].address == nodes[source].address):
        folder = os.path.realpath((request.options.destination or nodes[node].inbox).replace("{node}", node))
        for path in request.local_paths:
            if (folder + "/").startswith(os.path.realpath(path).rstrip("/") + "/"):
                raise CastRayError(
                    FailureKind.BAD_SCHEDULE,
                    name=path,
                    reason=f"{node} would receive the files inside the folder that is sent",
                )


def local_zone(variable: str | None = None, file: Path = LOCAL_ZONE) -> tzinfo:
    """The zone of `TZ`, else the machine's, else UTC."""
    name = (os.environ.get("TZ", "") if variable is None else variable).removeprefix(":")
    if name:
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
    try:
        with file.open("rb") as opened:
            return ZoneInfo.from_file(opened, key="local time")
    except (OSError, ValueError):
        return UTC


def next_cron_time(cron: str, after: datetime) -> datetime | None:
    """See `schedule_rules.NextTime`. Five fields, as Debian's cron reads them."""
    try:
        return next(CronSim(cron, after), None)
    except CronSimError as error:
        raise ValueError(str(error)) from error


class ScheduleManager:
    """`start` loads the schedules, `close` stops them; running casts continue."""

    def __init__(
        self,
        path: Path,
        casts: ScheduledCasts,
        publish: Callable[[Event], None],
        wall: Callable[[], float] = time.time,
        zone: Callable[[], tzinfo] = local_zone,
        cron: NextTime = next_cron_time,
    ) -> None:
        self._path = path
        self._publish = publish
        demonstration = path.parent / DEMONSTRATION_FILE
        self._context = ScheduleContext(casts, self._changed, wall, zone, cron, demonstration)
        self._runners: dict[str, ScheduleRunner] = {}
        self._wake = asyncio.Event()
        self._dirty = asyncio.Event()
        self._written = b""
        self._runs: dict[ScheduleRunner, asyncio.Task[None]] = {}
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    async def start(self) -> None:
        """Load the schedules; resumed casts have to be known by now."""
        for state in await asyncio.to_thread(load_states, self._path, self._check):
            runner = self._runners[state.schedule.schedule] = ScheduleRunner(state, self._context)
            runner.start(missed=True)
        self._keep_clusters()
        self._tasks = (
            asyncio.create_task(self._start_due_runs(), name="schedules"),
            asyncio.create_task(self._publish_changes(), name="publish schedules"),
        )

    async def close(self) -> None:
        """Stop all watches and timers, and write pending changes."""
        ending = [*self._tasks, *self._runs.values()]
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending)
        for runner in self._runners.values():
            await runner.stop()
        await self._write()

    @property
    def active(self) -> bool:
        """Whether any schedule is enabled: the engine keeps running then."""
        return any(runner.schedule.enabled for runner in self._runners.values())

    def ended(self, result: CastResult) -> None:
        """Handle the end of a cast, which may belong to a schedule."""
        runner = self._runners.get(result.summary.schedule)
        if runner is not None:
            runner.cast_ended(result)

    # --- commands -------------------------------------------------------------------------------

    async def answer(self, command: messages.ScheduleCommand) -> messages.Reply:
        """Execute a command about schedules. Raises CastRayError."""
        match command:
            case messages.ListSchedules():
                return self._message()
            case messages.AddSchedule(schedule):
                return self._added(self._add(schedule))
            case messages.AddDemonstration():
                return self._added(self._add_demonstration())
            case messages.RunSchedule(schedule):
                return messages.Accepted(await self._find(schedule).run_now())
            case messages.ChangeSchedule(schedule):
                await self._change(schedule)
            case messages.RemoveSchedule(schedule):
                runner = self._find(schedule)
                del self._runners[runner.schedule.schedule]
                await self._end(runner)
            case messages.EnableSchedule(schedule, enabled):
                for runner in [self._find(schedule)] if schedule else tuple(self._runners.values()):
                    await self._replace(runner, msgspec.structs.replace(runner.schedule, enabled=enabled))
        self._keep_clusters()
        self._changed()
        return messages.Done()

    def _check(self, schedule: Schedule) -> None:
        check_schedule(schedule, self._context.next_time)

    def _added(self, schedule: str) -> messages.ScheduleAdded:
        return messages.ScheduleAdded(schedule, self._runners[schedule].schedule.cluster)

    def _add(self, schedule: Schedule) -> str:
        self._check(schedule)
        schedule.request.check_paths()
        self._check_name(schedule)
        name = secrets.token_hex(6)
        schedule = msgspec.structs.replace(schedule, schedule=name, name=schedule.name.strip())
        runner = self._runners[name] = ScheduleRunner(ScheduleState(schedule), self._context)
        runner.start(missed=False)
        self._keep_clusters()
        self._changed()
        return name

    def _add_demonstration(self) -> str:
        for name, runner in self._runners.items():
            if runner.schedule.demonstration:
                return name
        request = SendRequest(
            (str(self._context.demonstration),),
            ("all",),
            leave_out=True,
            options=TransferOptions(on_conflict=OnConflict.OVERWRITE),
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
        if any(runner.schedule.name == name for other, runner in self._runners.items() if other != own):
            raise CastRayError(FailureKind.SCHEDULE_EXISTS, name=name)

    async def _change(self, schedule: Schedule) -> None:
        self._check(schedule)
        schedule.request.check_paths()
        runner = self._find(schedule.schedule)
        own = runner.schedule  # the id may be a prefix
        if schedule.name.strip() != own.name:  # two that have shared one since earlier can be changed
            self._check_name(schedule, own.schedule)
        await self._replace(
            runner,
            msgspec.structs.replace(
                schedule,
                schedule=own.schedule,
                name=schedule.name.strip(),
                demonstration=own.demonstration and schedule.request.paths == own.request.paths,
            ),
        )

    async def _replace(self, runner: ScheduleRunner, schedule: Schedule) -> None:
        """Replace a schedule, keeping its state; its times start again."""
        state, before = runner.state, runner.schedule
        if schedule == before:
            return
        await self._end(runner)
        state.schedule = schedule
        state.failure, state.failures = None, 0
        if (schedule.cluster, content_key(schedule.request)) != (
            before.cluster,
            content_key(before.request),
        ):
            state.sent_to, state.unchanged = {}, False
        fresh = self._runners[schedule.schedule] = ScheduleRunner(state, self._context)
        fresh.start(missed=False)

    async def _end(self, runner: ScheduleRunner) -> None:
        """Stop a schedule; a run that is still scanning is cancelled."""
        run = self._runs.get(runner)
        if run is not None and run is not asyncio.current_task():
            run.cancel()
            await asyncio.wait([run])
        await runner.stop()

    def _find(self, schedule: str) -> ScheduleRunner:
        """See `schedule_rules.find`."""
        found = find(schedule, (runner.schedule for runner in self._runners.values()))
        return self._runners[found.schedule]

    def _keep_clusters(self) -> None:
        enabled = (runner.schedule for runner in self._runners.values() if runner.schedule.enabled)
        self._context.casts.keep_in_use({schedule.cluster for schedule in enabled})
        self._wake.set()

    # --- runs -----------------------------------------------------------------------------------

    async def _start_due_runs(self) -> None:
        while True:
            self._wake.clear()
            now = self._context.wall()
            for runner in tuple(self._runners.values()):
                if runner.due_at() <= now:
                    self._spawn(runner)
            await asyncio.sleep(0)  # a started run is not due
            due = min((runner.due_at() for runner in self._runners.values()), default=now + MAX_SLEEP_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(max(due - self._context.wall(), 0.01), MAX_SLEEP_SECONDS)):
                    await self._wake.wait()

    def _spawn(self, runner: ScheduleRunner) -> None:
        run = asyncio.create_task(self._run(runner), name=f"schedule {runner.schedule.schedule}")
        self._runs[runner] = run
        run.add_done_callback(lambda _: self._runs.pop(runner, None))

    async def _run(self, runner: ScheduleRunner) -> None:
        try:
            await runner.run_if_due()
        except Exception as error:  # an error of one schedule must not stop the others
            log.exception("schedule %s", runner.schedule.name)
            runner.failed(Failure(FailureKind.INTERNAL, {"reason": f"{type(error).__name__}: {error}"}))
            self._changed()

    def _changed(self) -> None:
        self._dirty.set()
        self._wake.set()

    def _message(self) -> SchedulesChanged:
        return SchedulesChanged(tuple(runner.info() for runner in self._runners.values()))

    async def _publish_changes(self) -> None:
        """Notify clients and write the file at most twice a second."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            self._publish(self._message())
            await self._write()
            await asyncio.sleep(PUBLISH_SECONDS)

    async def _write(self) -> None:
        content = msgspec.json.encode([runner.state for runner in self._runners.values()])
        if content == self._written:
            return
        try:
            await finish(asyncio.to_thread(replace_file, self._path, content, synced=True))
        except OSError as error:
            log.warning("schedules could not be saved: %s", error)
            return
        self._written = content
