"""All casts of the engine: starts them, hands reports to the right one, publishes what changed."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable

import msgspec

from castray_desktop.core.cast import mode_for
from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.groups import Groups
from castray_desktop.core.messages import (
    CastCluster,
    CastResult,
    CastSummary,
    DeliverySnapshot,
    Event,
    NodeState,
    PreflightReport,
    SendRequest,
)
from castray_desktop.core.queue import CastQueue
from castray_desktop.core.removal import check_removal
from castray_desktop.workers.agents import Agents
from castray_desktop.workers.casts.asked_by_agents import AskedByAgents
from castray_desktop.workers.casts.awaiting import Awaiting
from castray_desktop.workers.casts.cast_news import CastNews
from castray_desktop.workers.casts.cast_records import CastRecord, CastRecords
from castray_desktop.workers.casts.cast_run import CastRun
from castray_desktop.workers.casts.control import CastControl, Past
from castray_desktop.workers.casts.ended_casts import EndedCasts, Told
from castray_desktop.workers.casts.group_addresses import GroupAddresses
from castray_desktop.workers.casts.ledger import CastLedger
from castray_desktop.workers.casts.reaching import Reaching
from castray_desktop.workers.casts.speed_memory import SpeedMemory
from castray_desktop.workers.casts.surveys import Surveys
from castray_desktop.workers.casts.verifying import Verifying
from castray_desktop.workers.ray_side import protocol
from castray_desktop.workers.who import nobody_online, resolve_recipients, resolve_source

CLOSE_SECONDS = 1.0


class Dispatcher:
    """Owns every cast since the engine's start. `close` ends those that run."""

    def __init__(
        self,
        agents: Agents,
        publish: Callable[[Event], None],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        speeds: SpeedMemory | None = None,
        records: CastRecords | None = None,
        groups: Callable[[], Groups] = dict,
        ended: Told | None = None,
        at_once: int = 0,
        past: Past | None = None,
        multicast_groups: GroupAddresses | None = None,
    ) -> None:
        """`ended` hears of each cast that ends: what was asked for, on which cluster, and how it went.

        It hears of it again (True) when deliveries that waited for their nodes do so no longer.
        """
        self._agents = agents
        self._publish = publish
        self._clock = clock
        self._wall = wall
        self._speeds = speeds
        self._multicast_groups = multicast_groups or GroupAddresses()
        self._records = records
        self._groups = groups
        self._runs: dict[str, CastRun] = {}
        self._reaching = Reaching(agents)
        self._from_agents = AskedByAgents(agents, self.send)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.surveys = Surveys(self._new_run, self._forget)
        self._chores: set[asyncio.Task[None]] = set()
        self._queue = CastQueue(at_once)
        self._news = CastNews(agents, publish, clock, wall, self._running)
        self._ends = EndedCasts(self._runs, agents, self._news, publish, clock, records, ended)
        self._verifying = Verifying(agents, publish, groups, clock)
        self._awaiting = Awaiting(
            *(agents, self._running, self.send, self.surveys.scan),
            *(self._verifying.is_unharmed, self._ends.settled),
        )
        self.control = CastControl(
            *(self._runs, self._tasks, self._queue, self._admit, self.send, past),
            self._awaiting.cancel,
            self._verifying,
        )

    # --- commands -------------------------------------------------------------------------------

    def send(self, request: SendRequest, *, schedule: str = "", follows: str = "") -> str:
        """Start a cast, as soon as it is its turn, and return its id.

        `schedule` is the id of the schedule that wants it, `follows` that of the cast whose recipients it
        serves. Raises CastRayError when the request makes no sense.
        """
        return self._begin(self._new_run(request, schedule, follows))

    def go_on(self, record: CastRecord, paused: bool = False) -> None:
        """Go on with a cast of an engine before this one, as soon as its cluster is there.

        It is there, and paused, if it had been or `paused` says so.
        """
        deliveries = record.deliveries
        ledger = CastLedger(
            record.cast,
            record.request,
            {item.node: item.address for item in deliveries},
            record.mode,
            record.started,
            self._clock() - max(0.0, self._wall() - record.started),
            record.schedule,
            record.follows,
        )
        ledger.restore(deliveries, record.sent_bytes, record.totals)
        ledger.order = record.order or record.started
        run = self._make_run(ledger, record)
        if record.seconds is not None:
            ledger.restore_end(record.seconds)
            self._runs[ledger.cast] = run
            self._awaiting.add(ledger)
            return
        if paused or record.paused:
            run.turn.pause()
        self._begin(run)

    def _begin(self, run: CastRun) -> str:
        cast = run.ledger.cast
        self._runs[cast] = run
        self._queue.add(cast)
        task = asyncio.create_task(run.run(), name=f"cast {cast}")
        self._tasks[cast] = task
        task.add_done_callback(lambda _: self._ended(cast))
        self._news.tell(run.ledger)  # whoever is told its id next can look it up
        self._news.changed()
        return cast

    async def cancel(self, cast: str) -> None:
        """End a cast; returns when its part files are gone. Raises CastRayError."""
        run = self.control.find(cast)
        task = self._tasks.get(run.ledger.cast)
        if task is None:
            self._awaiting.cancel(run.ledger.cast)
            return
        run.end()
        await asyncio.wait([task])

    async def result(self, cast: str) -> CastResult:
        """How a cast ended, once it has. Raises CastRayError."""
        run = self.control.find(cast)
        task = self._tasks.get(run.ledger.cast)
        if task is not None:
            await asyncio.wait([task])
        return run.ledger.result(self._clock())

    async def add_recipients(self, cast: str, who: tuple[str, ...]) -> PreflightReport:
        """Have more nodes receive a cast; returns when they are part of it. Raises CastRayError."""
        run = self.control.find(cast)
        if run.ledger.cast not in self._tasks:
            raise CastRayError(FailureKind.CAST_FINISHED, cast=cast)
        nodes, request = self._agents.nodes, run.ledger.request
        named = resolve_recipients(who, request.source, nodes, self._groups())
        added = tuple(node for node in named if node not in request.recipients)
        if not added:
            raise CastRayError(FailureKind.RECIPIENT_ALREADY, node=", ".join(named))
        survey = await run.add_recipients(added, mode_for(len(run.ledger.recipients + added), len(nodes) - 1))
        return msgspec.structs.replace(survey.report(added), cluster=run.ledger.cluster)

    async def set_limit(self, cast: str, limit: int) -> None:
        """Another limit for every hop of a cast, in bytes per second; 0: none. Raises CastRayError."""
        run = self.control.find(cast)
        if run.ledger.cast not in self._tasks:
            raise CastRayError(FailureKind.CAST_FINISHED, cast=cast)
        await run.set_limit(limit)

    def clear_finished(self) -> None:
        """Forget the casts that have ended."""
        self._ends.forget(0, 0)

    async def end_all(self, failure: Failure | None = None) -> None:
        """End every cast: cancelled, or failed by `failure`. Returns when they have ended.

        Those that are paused wait for their cluster instead.
        """
        for cast in [cast for cast in self._tasks if self._runs[cast].turn.paused]:
            if cast in self._tasks:  # it may have ended while others were looked after
                await self._wait_again(cast)
        for cast in self._tasks:
            if not self._runs[cast].waits_for_cluster:
                self._runs[cast].end(failure)
        ending = [task for cast, task in self._tasks.items() if not self._runs[cast].waits_for_cluster]
        if ending:
            await asyncio.wait(ending)

    async def _wait_again(self, cast: str) -> None:
        """Have a paused cast be there as it would be under another engine."""
        run, task = self._runs[cast], self._tasks[cast]
        if not run.waits_for_cluster:
            record = run.record()
            task.cancel()
            await asyncio.wait([task])
            if task.cancelled():  # else it has ended by itself meanwhile
                self.go_on(record)

    async def close(self) -> None:
        """Leave every cast as it is: the next engine goes on with it, if there is a place for records.

        Else all are cancelled; returns when they have ended.
        """
        self._verifying.close()
        await self._awaiting.close()
        if self._records is None:
            await self.end_all()
        leaving = tuple(self._tasks.values())
        for task in leaving:
            task.cancel()
        if leaving:
            await asyncio.wait(leaving)
        if self._records is not None:
            await self._records.close()
        if self._chores:
            await asyncio.wait(self._chores, timeout=CLOSE_SECONDS)
        for chore in self._chores:
            chore.cancel()
        self._reaching.close()
        self._from_agents.close()
        await self._news.close()

    # --- what is there --------------------------------------------------------------------------

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The casts that have not ended."""
        return tuple(self._tasks)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The casts of an engine before this one that wait for their cluster."""
        return tuple(cast for cast in self._tasks if self._runs[cast].waits_for_cluster)

    def knows(self, cast: str) -> bool:
        """Whether a cast has this id, or this beginning of it."""
        return bool(cast) and any(known.startswith(cast) for known in self._runs)

    @property
    def awaits(self) -> bool:
        """Whether deliveries of casts that have ended wait for their nodes."""
        return bool(self._awaiting)

    @property
    def active(self) -> int:
        """How many casts have not ended."""
        return len(self._tasks)

    def summaries(self) -> tuple[CastSummary, ...]:
        """Every cast, oldest first."""
        now = self._clock()
        return tuple(run.ledger.summary(now) for run in self._runs.values())

    def deliveries(self) -> dict[str, tuple[DeliverySnapshot, ...]]:
        """Every cast's deliveries."""
        now = self._clock()
        return {cast: run.ledger.deliveries(now) for cast, run in self._runs.items()}

    # --- reports --------------------------------------------------------------------------------

    def agent_reported(self, node: str, report: protocol.AgentReport) -> None:
        """Hand an agent's report to the casts and verifications that it speaks of."""
        self._verifying.reported(node, report.verifications)
        for source in report.sources:
            run = self._runs.get(source.cast) or self.surveys.runs.get(source.cast)
            if run is not None and run.ledger.request.source == node:
                run.source_reported(source)
        for delivery in report.deliveries:
            if (run := self._runs.get(delivery.cast)) is not None:
                run.delivery_reported(node, delivery)
                self._reaching.reported(node, delivery)
        for asked in report.requests:
            self._from_agents.take(node, asked)

    def cluster_changed(self) -> None:
        """The cluster's state is another one; casts may wait for that."""
        for run in self._going_on():
            self._note_address(run.ledger)
            run.cluster_changed()
        self._awaiting.look()

    def agent_lost(self, node: str) -> None:
        """A node's agent has gone; every cast hears of it."""
        for run in self._going_on():
            run.agent_lost(node)
        self._verifying.agent_lost(node)

    def agent_up(self, node: str) -> None:
        """A node's agent is there; every cast hears of it."""
        for run in self._going_on():
            run.agent_up(node)
        self._awaiting.look()

    def node_removed(self, node: str) -> None:
        """A node will not come back; every cast hears of it."""
        for run in self._going_on():
            run.node_removed(node)

    def _running(self) -> dict[str, CastLedger]:
        return {cast: self._runs[cast].ledger for cast in self._tasks}

    def _going_on(self) -> tuple[CastRun, ...]:
        runs = (*self._runs.values(), *self.surveys.runs.values())
        return tuple(run for run in runs if not run.ledger.state.finished)

    # --- inside ---------------------------------------------------------------------------------

    def _new_run(self, request: SendRequest, schedule: str = "", follows: str = "") -> CastRun:
        nodes = self._agents.nodes
        if not any(node.state is NodeState.ONLINE for node in nodes.values()):
            raise nobody_online(nodes, self._agents.target)
        if not request.paths:
            raise CastRayError(FailureKind.NOTHING_TO_SEND)
        check_removal(request)
        source = resolve_source(request.source, nodes)
        recipients = resolve_recipients(request.recipients, source, nodes, self._groups())
        if request.destination and not request.destination.startswith("/"):
            raise CastRayError(FailureKind.BAD_DESTINATION, destination=request.destination)
        ledger = CastLedger(
            secrets.token_hex(6),
            msgspec.structs.replace(request, source=source, recipients=recipients),
            {node: nodes[node].address for node in recipients},
            mode_for(len(recipients), len(nodes) - 1),
            self._wall(),
            self._clock(),
            schedule,
            follows,
        )
        return self._make_run(ledger, None)

    def _make_run(self, ledger: CastLedger, record: CastRecord | None) -> CastRun:
        ledger.cluster = CastCluster.of(record.target if record is not None else self._agents.target)
        self._note_address(ledger)
        nodes = self._agents.nodes.values()
        speeds = self._speeds.speeds(nodes) if self._speeds is not None else {}
        keep = (
            self._records.put if self._records is not None and ledger.cast not in self.surveys.runs else None
        )
        return CastRun(
            *(ledger, self._agents, self._clock, self._news.changed, speeds, keep, record),
            ask=lambda: self._asked(ledger.cast),
            multicast_groups=self._multicast_groups,
            step_back=lambda: self._stepped_back(ledger.cast),
        )

    def _note_address(self, ledger: CastLedger) -> None:
        """The head of its cluster may be started again at another address."""
        target, address = self._agents.target, self._agents.address
        if address and target == ledger.cluster.target:
            ledger.cluster = CastCluster.of(target, address)

    def _asked(self, cast: str) -> None:
        self._queue.ask(cast)
        self._admit()

    def _stepped_back(self, cast: str) -> None:
        self._queue.step_back(cast)
        self._admit()

    def _admit(self) -> None:
        """Start those whose turn it is, and say how long the others have to wait."""
        for cast in self._queue.due():
            self._runs[cast].turn.start()
        for place, cast in enumerate(self._queue.waiting):
            self._runs[cast].ledger.place = place
        self._news.changed()

    def change_at_once(self, at_once: int) -> None:
        """So many casts may run at once from now on; 0: no bound."""
        self._queue.change(at_once)
        self._admit()

    def _ended(self, cast: str) -> None:
        self._queue.remove(cast)
        if self._tasks.pop(cast).cancelled():
            return  # the next engine goes on with it
        self._admit()
        run = self._runs[cast]
        self._reaching.forget(cast)
        self._ends.ended(run)
        if self._speeds is not None and run.measured:
            self._speeds.learn(self._agents.nodes.values(), run.measured)
        self._forget(run)
        if run.ledger.awaited:
            self._awaiting.add(run.ledger)
        self._awaiting.cast_ended(run.ledger)

    def _forget(self, run: CastRun) -> None:
        """Have the agents free what they hold; nobody waits for that."""
        chore = asyncio.create_task(run.forget(), name=f"forget {run.ledger.cast}")
        self._chores.add(chore)
        chore.add_done_callback(self._chores.discard)
