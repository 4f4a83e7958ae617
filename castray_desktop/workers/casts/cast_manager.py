"""All casts of one cluster: start them, pass reports to the right one, publish what changed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine

import msgspec

from castray_desktop.core.casts.admission_queue import AdmissionQueue
from castray_desktop.core.casts.node_selector import Groups, nobody_online, resolve_recipients, resolve_source
from castray_desktop.core.casts.states import recipients_mode
from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol.messages import (
    CastCluster,
    CastResult,
    CastSummary,
    DeliverySnapshot,
    Event,
    NodeState,
    PreflightReport,
    SendRequest,
    TransportOption,
)
from castray_desktop.core.protocol.nodes import agent_protocol
from castray_desktop.core.protocol.nodes.agent_protocol import ParcelTotals
from castray_desktop.workers.casts.cast_commands import CastCommands, FindPastCast
from castray_desktop.workers.casts.cast_publisher import CastEnded, CastPublisher, FinishedCasts
from castray_desktop.workers.casts.deferred_deliveries import DeferredDeliveries
from castray_desktop.workers.casts.node_speed_store import NodeSpeedStore
from castray_desktop.workers.casts.session.agent_orders import AgentDirectory
from castray_desktop.workers.casts.session.cast_session import CastSession, SessionServices
from castray_desktop.workers.casts.session.cast_status import CastStatus
from castray_desktop.workers.casts.session.checkpoint import CastCheckpoint, CheckpointStore
from castray_desktop.workers.casts.session.multicast_control import MulticastGroups
from castray_desktop.workers.casts.verification import VerificationJobs

CLOSE_SECONDS = 1.0
ANSWER_SECONDS = 15.0

log = logging.getLogger("castray.cast")


class DryRuns:
    """`make(request)` makes a session that never sends; raises CastRayError for an invalid request.

    Reports for `sessions`, by id, must be passed to them; `forget(run)` lets agents release their resources.
    """

    def __init__(
        self, make: Callable[[SendRequest], CastSession], forget: Callable[[CastSession], None]
    ) -> None:
        self.sessions: dict[str, CastSession] = {}
        self._make = make
        self._forget = forget

    async def preflight(self, request: SendRequest) -> PreflightReport:
        """What a cast would send, and which recipients can't take it. Raises CastRayError."""
        async with self._run(request) as run:
            survey = await run.preflight.survey()
            removals = await run.preflight.removals(survey)
        if request.options.await_offline:
            survey = survey.without_failures(FailureKind.NODE_OFFLINE)
        return survey.report(run.status.recipients, removals)

    async def scan(self, request: SendRequest) -> ParcelTotals:
        """What a request would send. Only the source is asked. Raises CastRayError."""
        async with self._run(request) as run:
            return (await run.preflight.survey(ask=False)).totals

    async def snapshot(self, request: SendRequest) -> tuple[str, str, tuple[str, ...]]:
        """The digest of the manifest that would be sent now, with source and recipients.

        Nobody but the source is asked. Raises CastRayError.
        """
        async with self._run(request) as run:
            survey = await run.preflight.survey(ask=False)
        return survey.totals.manifest_digest, run.status.request.source, run.status.request.recipients

    @contextlib.asynccontextmanager
    async def _run(self, request: SendRequest) -> AsyncIterator[CastSession]:
        run = self._make(request)
        self.sessions[run.status.cast] = run
        try:
            yield run
        finally:
            del self.sessions[run.status.cast]
            self._forget(run)


class CastManager:
    """Owns all casts of one cluster. `close` ends the running ones."""

    def __init__(
        self,
        agents: AgentDirectory,
        publish: Callable[[Event], None],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        speeds: NodeSpeedStore | None = None,
        records: CheckpointStore | None = None,
        groups: Callable[[], Groups] = dict,
        ended: CastEnded | None = None,
        max_running: int = 0,
        find_past_cast: FindPastCast | None = None,
        multicast_groups: MulticastGroups | None = None,
    ) -> None:
        """`ended` is called when a cast ends, with the request, the cluster and the result.

        It is called again (True) when deferred deliveries have ended.
        """
        self._agents = agents
        self._publish = publish
        self._clock = clock
        self._wall = wall
        self._speeds = speeds
        self._records = records
        self._groups = groups
        self._runs: dict[str, CastSession] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.dry_runs = DryRuns(self._new_run, self._forget)
        self._chores: set[asyncio.Task[None]] = set()
        self._queue = AdmissionQueue(max_running)
        self._news = CastPublisher(agents, publish, clock, wall, self._running)
        self._services = SessionServices(
            agents,
            clock,
            changed=self._news.changed,
            request_admission=self._asked,
            withdraw=self._stepped_back,
            multicast_groups=multicast_groups or MulticastGroups(),
        )
        self._ends = FinishedCasts(self._runs, agents, self._news, publish, clock, records, ended)
        self._verifying = VerificationJobs(agents, publish, groups, clock)
        self._awaiting = DeferredDeliveries(
            agents,
            self._running,
            self.send,
            self.dry_runs.scan,
            self._verifying.is_intact,
            self._ends.deferred_settled,
        )
        self.commands = CastCommands(
            self._runs,
            self._tasks,
            self._queue,
            self._admit,
            self.send,
            find_past_cast,
            self._awaiting.cancel,
            self._verifying,
        )

    # --- commands -------------------------------------------------------------------------------

    def send(self, request: SendRequest, *, schedule: str = "", follows: str = "") -> str:
        """Start a cast as soon as it is admitted, and return its id.

        `schedule` is the id of its schedule, `follows` that of the cast whose recipients it serves. Raises
        CastRayError for an invalid request.
        """
        return self._begin(self._new_run(request, schedule, follows))

    def restore(self, record: CastCheckpoint, paused: bool = False) -> None:
        """Restore a cast of a previous engine; it continues once its cluster is in use.

        It is paused if it was paused before or `paused` is true.
        """
        deliveries = record.deliveries
        status = CastStatus(
            record.cast,
            record.request,
            {item.node: item.address for item in deliveries},
            record.mode,
            record.started,
            self._clock() - max(0.0, self._wall() - record.started),
            record.schedule,
            record.follows,
        )
        status.restore(deliveries, record.sent_bytes, record.totals)
        status.order = record.order or record.started
        run = self._make_run(status, record)
        if record.seconds is not None:
            status.restore_end(record.seconds)
            self._runs[status.cast] = run
            self._awaiting.add_cast(status)
            return
        if paused or record.paused:
            run.admission.pause()
        self._begin(run)

    def _begin(self, run: CastSession) -> str:
        cast = run.status.cast
        self._runs[cast] = run
        self._queue.register(cast)
        task = asyncio.create_task(run.run(), name=f"cast {cast}")
        self._tasks[cast] = task
        task.add_done_callback(lambda _: self._ended(cast))
        self._news.publish_cast(run.status)  # clients must know the cast before they get its id
        self._news.changed()
        return cast

    async def cancel(self, cast: str) -> None:
        """Cancel a cast; returns when its part files are removed. Raises CastRayError."""
        run = self.commands.find(cast)
        task = self._tasks.get(run.status.cast)
        if task is None:
            self._awaiting.cancel(run.status.cast)
            return
        run.end()
        await asyncio.wait([task])

    async def result(self, cast: str) -> CastResult:
        """The result of a cast, once it has ended. Raises CastRayError."""
        run = self.commands.find(cast)
        task = self._tasks.get(run.status.cast)
        if task is not None:
            await asyncio.wait([task])
        return run.status.result(self._clock())

    async def add_recipients(self, cast: str, selectors: tuple[str, ...]) -> PreflightReport:
        """Add recipients to a cast; returns when they are part of it. Raises CastRayError."""
        run = self.commands.find(cast)
        if run.status.cast not in self._tasks:
            raise CastRayError(FailureKind.CAST_FINISHED, cast=cast)
        nodes, request = self._agents.nodes, run.status.request
        named = resolve_recipients(selectors, request.source, nodes, self._groups())
        added = tuple(node for node in named if node not in request.recipients)
        if not added:
            raise CastRayError(FailureKind.RECIPIENT_ALREADY, node=", ".join(named))
        survey = await run.add_recipients(
            added, recipients_mode(len(run.status.recipients + added), len(nodes) - 1)
        )
        return msgspec.structs.replace(survey.report(added), cluster=run.status.cluster)

    async def set_limit(self, cast: str, limit: int) -> None:
        """Change the rate limit of every hop of a cast, in bytes per second; 0: none. Raises CastRayError."""
        run = self.commands.find(cast)
        if run.status.cast not in self._tasks:
            raise CastRayError(FailureKind.CAST_FINISHED, cast=cast)
        await run.set_limit(limit)

    def clear_finished(self) -> None:
        """Remove ended casts from the list."""
        self._ends.trim(0, 0)

    async def end_all(self, failure: Failure | None = None) -> None:
        """End every cast: cancelled, or failed with `failure`. Returns when they have ended.

        Paused casts wait for their cluster instead.
        """
        for cast in [cast for cast in self._tasks if self._runs[cast].status.is_paused]:
            if cast in self._tasks:  # it may have ended while others were looked after
                await self._wait_again(cast)
        for cast in self._tasks:
            if not self._runs[cast].waits_for_cluster:
                self._runs[cast].end(failure)
        ending = [task for cast, task in self._tasks.items() if not self._runs[cast].waits_for_cluster]
        if ending:
            await asyncio.wait(ending)

    async def _wait_again(self, cast: str) -> None:
        """Turn a paused cast into one that waits for its cluster, as after a restart."""
        run, task = self._runs[cast], self._tasks[cast]
        if not run.waits_for_cluster:
            record = run.checkpoint()
            task.cancel()
            await asyncio.wait([task])
            if task.cancelled():  # otherwise it has ended meanwhile
                self.restore(record)

    async def close(self) -> None:
        """Stop without ending casts: the next engine continues them if there is a checkpoint store.

        Otherwise cancel all; returns when they have ended.
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
        await self._news.close()

    # --- what is there --------------------------------------------------------------------------

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Unfinished casts."""
        return tuple(self._tasks)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Casts of a previous engine that wait for their cluster."""
        return tuple(cast for cast in self._tasks if self._runs[cast].waits_for_cluster)

    def knows(self, cast: str) -> bool:
        """Whether a cast has this id or id prefix."""
        return bool(cast) and any(known.startswith(cast) for known in self._runs)

    @property
    def has_deferred(self) -> bool:
        """Whether ended casts have deferred deliveries."""
        return bool(self._awaiting)

    @property
    def active(self) -> int:
        """Number of unfinished casts."""
        return len(self._tasks)

    def summaries(self) -> tuple[CastSummary, ...]:
        """Every cast, oldest first."""
        now = self._clock()
        return tuple(run.status.summary(now) for run in self._runs.values())

    def deliveries(self) -> dict[str, tuple[DeliverySnapshot, ...]]:
        """Every cast's deliveries."""
        now = self._clock()
        return {cast: run.status.deliveries(now) for cast, run in self._runs.items()}

    # --- reports --------------------------------------------------------------------------------

    def agent_reported(self, node: str, report: agent_protocol.AgentReport) -> None:
        """Pass an agent's report to the casts and verifications that it concerns."""
        self._verifying.reported(node, report.verifications)
        for source in report.sources:
            run = self._runs.get(source.cast) or self.dry_runs.sessions.get(source.cast)
            if run is not None and run.status.request.source == node:
                run.source_reported(source)
        for delivery in report.deliveries:
            if (run := self._runs.get(delivery.cast)) is not None:
                run.delivery_reported(node, delivery)
        for wanted in report.requests:
            self._start_requested(node, wanted)

    def cluster_changed(self) -> None:
        """The cluster's status changed; casts may wait for that."""
        for run in self._going_on():
            self._note_address(run.status)
            run.cluster_changed()
        self._awaiting.check_nodes()

    def agent_lost(self, node: str) -> None:
        """A node's agent is gone; notify every cast."""
        for run in self._going_on():
            run.agent_lost(node)
        self._verifying.agent_lost(node)

    def agent_up(self, node: str) -> None:
        """A node's agent is ready; notify every cast."""
        for run in self._going_on():
            run.agent_up(node)
        self._awaiting.check_nodes()

    def node_removed(self, node: str) -> None:
        """A node was removed; notify every cast."""
        for run in self._going_on():
            run.node_removed(node)

    def _start_requested(self, node: str, wanted: agent_protocol.TransferRequest) -> None:
        """Start a cast from that node and send its agent the id, or why it was refused."""
        request = SendRequest(
            wanted.paths,
            wanted.recipients,
            source=node,
            leave_out=True,
            options=TransferOptions(transport=TransportOption(wanted.transport)),
        )
        try:
            answer = agent_protocol.AnswerTransfer(wanted.number, self.send(request))
        except CastRayError as error:
            log.warning("%s requested a cast: %s", node, sentence(error.failure))
            answer = agent_protocol.AnswerTransfer(wanted.number, refusal=sentence(error.failure))
        self._run_in_background(self._answer_request(node, answer), f"answer {node}")

    async def _answer_request(self, node: str, answer: agent_protocol.AnswerTransfer) -> None:
        with contextlib.suppress(CastRayError, TimeoutError):  # the agent has ended, and its caller
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._agents.call(node, answer)

    def _running(self) -> dict[str, CastStatus]:
        return {cast: self._runs[cast].status for cast in self._tasks}

    def _going_on(self) -> tuple[CastSession, ...]:
        runs = (*self._runs.values(), *self.dry_runs.sessions.values())
        return tuple(run for run in runs if not run.status.state.finished)

    # --- inside ---------------------------------------------------------------------------------

    def _new_run(self, request: SendRequest, schedule: str = "", follows: str = "") -> CastSession:
        nodes = self._agents.nodes
        if not any(node.state is NodeState.ONLINE for node in nodes.values()):
            raise nobody_online(nodes, self._agents.target)
        if not request.paths:
            raise CastRayError(FailureKind.NOTHING_TO_SEND)
        request.options.check()
        source = resolve_source(request.source, nodes)
        recipients = resolve_recipients(request.recipients, source, nodes, self._groups())
        if request.options.destination and not request.options.destination.startswith("/"):
            raise CastRayError(FailureKind.BAD_DESTINATION, destination=request.options.destination)
        status = CastStatus(
            secrets.token_hex(6),
            msgspec.structs.replace(request, source=source, recipients=recipients),
            {node: nodes[node].address for node in recipients},
            recipients_mode(len(recipients), len(nodes) - 1),
            self._wall(),
            self._clock(),
            schedule,
            follows,
        )
        return self._make_run(status, None)

    def _make_run(self, status: CastStatus, record: CastCheckpoint | None) -> CastSession:
        status.cluster = CastCluster.of(record.target if record is not None else self._agents.target)
        self._note_address(status)
        nodes = self._agents.nodes.values()
        speeds = self._speeds.speeds(nodes) if self._speeds is not None else {}
        keep = (
            self._records.save
            if self._records is not None and status.cast not in self.dry_runs.sessions
            else None
        )
        return CastSession(status, self._services, speeds, keep, record)

    def _note_address(self, status: CastStatus) -> None:
        """The head of its cluster may be started again at another address."""
        target, address = self._agents.target, self._agents.address
        if address and target == status.cluster.target:
            status.cluster = CastCluster.of(target, address)

    def _asked(self, cast: str) -> None:
        self._queue.enqueue(cast)
        self._admit()

    def _stepped_back(self, cast: str) -> None:
        self._queue.withdraw(cast)
        self._admit()

    def _admit(self) -> None:
        """Start casts that are admitted, and update the positions of the others."""
        for cast in self._queue.admit():
            self._runs[cast].admission.start()
        for place, cast in enumerate(self._queue.waiting):
            self._runs[cast].status.place = place
        self._news.changed()

    def set_max_running(self, max_running: int) -> None:
        """Change how many casts may run at once; 0: unlimited."""
        self._queue.set_max_running(max_running)
        self._admit()

    def _ended(self, cast: str) -> None:
        self._queue.remove(cast)
        if self._tasks.pop(cast).cancelled():
            return  # the next engine continues it
        self._admit()
        run = self._runs[cast]
        self._ends.cast_ended(run)
        if self._speeds is not None and run.measured_speeds:
            self._speeds.record(self._agents.nodes.values(), run.measured_speeds)
        self._forget(run)
        if run.status.awaited:
            self._awaiting.add_cast(run.status)
        self._awaiting.cast_ended(run.status)

    def _forget(self, run: CastSession) -> None:
        """Let the agents release their resources, in the background."""
        self._run_in_background(run.release_nodes(), f"forget {run.status.cast}")

    def _run_in_background(self, work: Coroutine[None, None, None], name: str) -> None:
        chore = asyncio.create_task(work, name=name)
        self._chores.add(chore)
        chore.add_done_callback(self._chores.discard)
