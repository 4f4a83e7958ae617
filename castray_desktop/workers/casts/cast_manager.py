"""All casts of one cluster: start them, pass reports to the right one, publish what changed."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterable

import msgspec

from castray_desktop.core.casts.node_selector import find_node, nobody_online, resolve_recipients
from castray_desktop.core.casts.states import recipients_mode
from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol.messages import (
    CastAttempt,
    CastChanged,
    CastCluster,
    CastMode,
    CastResult,
    CastSummary,
    DeliveriesChanged,
    DeliverySnapshot,
    DownloadPlacement,
    Event,
    NodeState,
    PlacementReason,
    PreflightReport,
    SendRequest,
    TransportOption,
)
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports
from castray_desktop.core.protocol.nodes.cast_parcel import ParcelTotals
from castray_desktop.workers.base.async_tasks import BackgroundTasks
from castray_desktop.workers.casts.agent_directory import AgentDirectory, broadcast
from castray_desktop.workers.casts.cast_commands import CastCommands
from castray_desktop.workers.casts.cast_publisher import CastPublisher, FinishedCasts
from castray_desktop.workers.casts.cast_table import CastServices, CastTable, ClusterContext
from castray_desktop.workers.casts.deferred_deliveries import DeferredDeliveries
from castray_desktop.workers.casts.file_lists import FileLists
from castray_desktop.workers.casts.session.cast_session import CastSession, SessionServices
from castray_desktop.workers.casts.session.cast_status import CastStatus
from castray_desktop.workers.casts.session.checkpoint import CastCheckpoint
from castray_desktop.workers.casts.verification import VerificationJobs
from castray_desktop.workers.history.history_store import PastCast
from castray_desktop.workers.sources.address_resolver import SHORT_PATIENCE_SECONDS

CLOSE_SECONDS = 1.0

MAX_ATTEMPTS = 20
"""Earlier attempts of a cast that are remembered."""

log = logging.getLogger("castray.cast")


class DryRuns:
    """`make(request)` makes a session that never sends; raises CastRayError for an invalid request.

    Reports for `sessions`, by id, must be passed to them; `release(session)` lets agents release their
    resources.
    """

    def __init__(
        self, make: Callable[[SendRequest], CastSession], release: Callable[[CastSession], None]
    ) -> None:
        self.sessions: dict[str, CastSession] = {}
        self._make = make
        self._release = release

    async def preflight(self, request: SendRequest) -> PreflightReport:
        """What a cast would send, and which recipients can't take it. Raises CastRayError."""
        async with self._run(request) as session:
            survey = await session.preflight.survey(measures=False, patience=SHORT_PATIENCE_SECONDS)
            removals = await session.preflight.removals(survey)
        if request.options.await_offline:
            survey = survey.without_failures(FailureKind.NODE_OFFLINE)
        report = survey.report(session.status.recipients, removals)
        return msgspec.structs.replace(report, download=session.status.download)

    async def scan(self, request: SendRequest) -> ParcelTotals:
        """What a request would send. Only the source is asked. Raises CastRayError."""
        async with self._run(request) as session:
            return (await session.preflight.survey(ask=False, measures=False)).totals

    async def snapshot(self, request: SendRequest) -> tuple[str, str, tuple[str, ...]]:
        """A digest of what would be sent now, with source and recipients.

        Only the source is asked. Raises CastRayError.
        """
        async with self._run(request) as session:
            survey = await session.preflight.survey(ask=False, measures=False)
        digest = session.preflight.content_digest(survey)
        return digest, session.status.request.source, session.status.request.recipients

    @contextlib.asynccontextmanager
    async def _run(self, request: SendRequest) -> AsyncIterator[CastSession]:
        session = self._make(request)
        self.sessions[session.status.cast] = session
        try:
            yield session
        finally:
            del self.sessions[session.status.cast]
            self._release(session)


def attempt_of(result: CastResult) -> CastAttempt:
    """An attempt of a cast that has ended."""
    summary = result.summary
    return CastAttempt(
        summary.started,
        summary.finished,
        summary.state,
        summary.retried or summary.recipients,
        {item.node: item.failure for item in result.deliveries if item.failure is not None},
        summary.contents,
    )


class CastManager:
    """Owns all casts of one cluster. `close` ends the running ones."""

    def __init__(
        self,
        agents: AgentDirectory,
        publish: Callable[[Event], None],
        services: CastServices | None = None,
        max_running: int = 0,
    ) -> None:
        """At most `max_running` casts run at once; 0: unlimited."""
        self._agents = agents
        self._services = services or CastServices()
        self._table = CastTable(max_running)
        self._releasing: dict[str, asyncio.Task[None]] = {}  # casts that have ended, by id
        self._awaited_results: dict[str, set[asyncio.Future[CastResult]]] = {}  # by cast
        # Paused casts that are about to wait for their cluster.
        self._requeued: dict[str, CastCheckpoint] = {}
        self.dry_runs = DryRuns(self._new_session, self._release_nodes)
        self._background = BackgroundTasks()
        context = self._context = ClusterContext(agents, publish, self._services, self._table)
        self._publisher = CastPublisher(context)
        self._session_services = SessionServices(
            agents,
            self._services.clock,
            changed=self._publisher.changed,
            request_admission=self._request_admission,
            withdraw=self._withdraw,
            multicast_groups=self._services.multicast_groups,
            resolver=self._services.resolver,
            wall=self._services.wall,
            hop_limit=lambda cast, node: self._table.hop_limit(cast, node, self._services.limit()),
            downloads=self._services.downloads,
        )
        self._finished = FinishedCasts(context, self._publisher, self.discard_kept)
        self._files = FileLists(context)
        self._verifying = VerificationJobs(context)
        self._deferred = DeferredDeliveries(
            context,
            self.send,
            self.dry_runs.scan,
            self._verifying.is_intact,
            self._finished.deferred_settled,
        )
        self.commands = CastCommands(
            context, self._admit, self.send, self._deferred.cancel, self._verifying, self._files
        )

    # --- commands -------------------------------------------------------------------------------

    def send(self, request: SendRequest, *, schedule: str = "", follows: str = "") -> str:
        """Start a cast as soon as it is admitted, and return its id.

        `schedule` is the id of its schedule, `follows` that of the cast whose recipients it serves. Raises
        CastRayError for an invalid request.
        """
        return self._start_session(self._new_session(request, schedule, follows))

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
            self._context.now - max(0.0, self._services.wall() - record.started),
            record.schedule,
            record.follows,
        )
        status.restore(deliveries, record.sent_bytes, record.totals)
        status.download = record.download
        status.attempts, status.retried = record.attempts, record.retried
        status.order, status.contents = record.order or record.started, record.contents
        self._set_cluster(status, record.target)
        if record.seconds is not None:
            status.restore_end(record.seconds)
            self._table.casts[status.cast] = status
            self._finished.keep_deferring(record)
            self._deferred.add_cast(status)
            return
        session = self._make_session(status, record)
        if paused or record.paused:
            session.admission.pause()
        self._start_session(session)

    def retry(self, past: PastCast, recipients: tuple[str, ...]) -> str:
        """Repeat these failed deliveries of an ended cast; returns its id.

        It is a further attempt of the same cast, and recipients go on with what they have received. It waits
        for its cluster if that is not in use. A cast that still waits for recipients is followed by a new one
        instead. Raises CastRayError.
        """
        summary = past.result.summary
        if summary.cast in self._table.sessions:
            raise CastRayError(FailureKind.CAST_GOES_ON, cast=summary.cast)
        if summary.awaited:
            request = msgspec.structs.replace(past.request, recipients=recipients)
            return self.send(request, follows=summary.cast)
        nodes = self._agents.nodes
        if nodes and not any(node.state is NodeState.ONLINE for node in nodes.values()):
            raise nobody_online(nodes, self._agents.target)
        request, download = past.request, None
        if request.is_download and request.source:
            download = DownloadPlacement(PlacementReason.NAMED)
        elif request.is_download:
            request = msgspec.structs.replace(request, source=summary.source)
            download = DownloadPlacement(PlacementReason.AWAITED)
        deliveries = tuple(
            DeliverySnapshot(item.node, address=item.address) if item.node in recipients else item
            for item in past.result.deliveries
        )
        wall = self._services.wall()
        record = CastCheckpoint(
            summary.cast,
            past.target,
            msgspec.structs.replace(request, leave_out=True),
            summary.mode,
            wall,
            deliveries,
            order=wall,
            schedule=summary.schedule,
            follows=summary.follows,
            attempts=(*summary.attempts, attempt_of(past.result))[-MAX_ATTEMPTS:],
            retried=recipients,
            download=download,
        )
        self._finished.retried(summary.cast)
        self.restore(record)
        received = {item.node: item.bytes for item in past.result.deliveries if item.node in recipients}
        self._table.casts[summary.cast].received_before = received
        return summary.cast

    def give_up_waiting(self, cast: str, failure: Failure) -> None:
        """The cluster that a cast waits for can't be used. No effect if the cast does not wait any more."""
        session = self._table.sessions.get(cast)
        if session is not None and session.waits_for_cluster:
            session.end(failure)

    def discard_kept(self, casts: Iterable[str]) -> None:
        """Remove what nodes keep for retries of these casts, which will not come."""
        for cast in casts:
            if cast not in self._table.sessions:
                self._background.run(
                    broadcast(self._agents, tuple(self._agents.nodes), agent_orders.ForgetCast(cast)),
                    f"discard {cast}",
                )

    def _start_session(self, session: CastSession) -> str:
        cast = session.status.cast
        self._table.casts[cast], self._table.sessions[cast] = session.status, session
        self._table.queue.register(cast)
        task = asyncio.create_task(self._run_session(session), name=f"cast {cast}")
        self._table.tasks[cast] = task
        task.add_done_callback(lambda _: self._task_ended(cast))
        self._publisher.publish_cast(session.status)  # clients must know the cast before they get its id
        self._publisher.changed()
        return cast

    async def _run_session(self, session: CastSession) -> None:
        """Run it, once all nodes have released an attempt before: that order would end this one there."""
        if (releasing := self._releasing.get(session.status.cast)) is not None:
            await asyncio.wait([releasing])
        await session.run()

    async def cancel(self, cast: str) -> None:
        """Cancel a cast; returns when its part files are removed. Raises CastRayError."""
        status = self._table.find(cast)
        session = self._table.sessions.get(status.cast)
        if session is None:
            self._deferred.cancel(status.cast)
            return
        session.end()
        await asyncio.wait([self._table.tasks[status.cast]])

    async def result(self, cast: str) -> CastResult:
        """The result of a cast, once it has ended. Raises CastRayError, also if the engine stops before."""
        status = self._table.find(cast)
        if status.cast not in self._table.tasks:
            return status.result(self._context.now)
        ended: asyncio.Future[CastResult] = asyncio.get_running_loop().create_future()
        awaited = self._awaited_results.setdefault(status.cast, set())
        awaited.add(ended)
        try:
            return await ended
        finally:
            awaited.discard(ended)

    async def add_recipients(self, cast: str, selectors: tuple[str, ...]) -> PreflightReport:
        """Add recipients to a cast; returns when they are part of it. Raises CastRayError."""
        session = self._table.find_unfinished(cast)
        nodes, request = self._agents.nodes, session.status.request
        named = resolve_recipients(selectors, request.source, nodes, self._services.groups())
        added = tuple(node for node in named if node not in request.recipients)
        if not added:
            raise CastRayError(FailureKind.RECIPIENT_ALREADY, node=", ".join(named))
        mode = self._recipients_mode(request, len(session.status.recipients + added))
        survey = await session.add_recipients(added, mode)
        return msgspec.structs.replace(survey.report(added), cluster=session.status.cluster)

    async def set_limit(self, cast: str, limit: int) -> None:
        """Change the rate limit of every hop of a cast, in bytes per second; 0: none. Raises CastRayError."""
        await self._table.find_unfinished(cast).set_limit(limit)

    def limit_changed(self) -> None:
        """The limit of all casts changes now."""
        for session in self._table.sessions.values():
            session.limit_changed()

    def clear_finished(self) -> None:
        """Remove ended casts from the list, but failed ones only where no others are left."""
        self._finished.clear()

    async def end_all(self, failure: Failure | None = None) -> None:
        """End every cast: cancelled, or failed with `failure`. Returns when they have ended.

        Paused casts wait for their cluster instead.
        """
        for cast in [cast for cast in self._table.tasks if self._table.sessions[cast].status.is_paused]:
            if cast in self._table.tasks:  # it may have ended meanwhile
                await self._requeue_paused(cast)
        ending = []
        for cast, task in self._table.tasks.items():
            if not self._table.sessions[cast].waits_for_cluster:
                self._table.sessions[cast].end(failure)
                ending.append(task)
        if ending:
            await asyncio.wait(ending)

    async def _requeue_paused(self, cast: str) -> None:
        """Turn a paused cast into one that waits for its cluster, as after a restart."""
        session, task = self._table.sessions[cast], self._table.tasks[cast]
        if not session.waits_for_cluster:
            self._requeued[cast] = session.checkpoint()
            task.cancel()
            await asyncio.wait([task])

    async def close(self) -> None:
        """Stop without ending casts: the next engine continues them if there is a checkpoint store.

        Otherwise cancel all; returns when they have ended.
        """
        self._verifying.close()
        self._files.close()
        await self._deferred.close()
        if self._services.checkpoints is None:
            await self.end_all()
        leaving = tuple(self._table.tasks.values())
        for task in leaving:
            task.cancel()
        if leaving:
            await asyncio.wait(leaving)
        if self._services.checkpoints is not None:
            await self._services.checkpoints.close()
        await self._background.wait(CLOSE_SECONDS)
        self._background.cancel()
        await self._publisher.close()
        reason = "it stopped while the cast was running"
        for cast in tuple(self._awaited_results):
            for ended in self._pending_results(cast):
                ended.set_exception(CastRayError(FailureKind.ENGINE_UNREACHABLE, reason=reason))

    # --- the casts ------------------------------------------------------------------------------

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Unfinished casts."""
        return tuple(self._table.tasks)

    @property
    def retryable(self) -> tuple[str, ...]:
        """Ended casts that are listed, and a retry of which may use what nodes have kept."""
        return tuple(cast for cast, status in self._table.casts.items() if status.is_retryable)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Casts of a previous engine that wait for their cluster."""
        return tuple(cast for cast in self._table.tasks if self._table.sessions[cast].waits_for_cluster)

    def is_waiting(self, cast: str) -> bool:
        """Whether the cast waits for its cluster, which is not in use."""
        session = self._table.sessions.get(cast)
        return session is not None and session.waits_for_cluster and not session.is_cluster_there

    def knows(self, cast: str) -> bool:
        """Whether a cast has this id or id prefix."""
        return bool(self._table.matching(cast))

    def find_id(self, cast: str) -> str:
        """The id of the cast that this prefix means. Raises CastRayError."""
        return self._table.find(cast).cast

    @property
    def has_deferred(self) -> bool:
        """Whether ended casts have deferred deliveries."""
        return bool(self._deferred)

    def summaries(self) -> tuple[CastSummary, ...]:
        """Every cast, oldest first."""
        now = self._context.now
        return tuple(status.summary(now) for status in self._table.casts.values())

    def deliveries(self) -> dict[str, tuple[DeliverySnapshot, ...]]:
        """Every cast's deliveries."""
        now = self._context.now
        return {cast: status.deliveries(now) for cast, status in self._table.casts.items()}

    def present(self, cast: str) -> tuple[CastChanged, DeliveriesChanged]:
        """What a client has to know of a cast. Raises CastRayError."""
        status, now = self._table.find(cast), self._context.now
        return CastChanged(status.summary(now)), DeliveriesChanged(cast, status.deliveries(now))

    # --- reports --------------------------------------------------------------------------------

    def agent_reported(self, node: str, report: agent_reports.AgentReport) -> None:
        """Pass an agent's report to the casts and verifications that it concerns."""
        self._verifying.reported(node, report.verifications)
        for source in report.sources:
            session = self._table.sessions.get(source.cast) or self.dry_runs.sessions.get(source.cast)
            if session is not None and session.status.request.source == node:
                session.source_reported(source)
        for delivery in report.deliveries:
            if (session := self._table.sessions.get(delivery.cast)) is not None:
                if node in session.status.recipients:
                    self._files.reported(session, node, delivery)
                session.delivery_reported(node, dataclasses.replace(delivery, outcomes=""))
        for wanted in report.requests:
            self._start_requested(node, wanted)

    def cluster_changed(self) -> None:
        """The cluster's status changed; casts may wait for that."""
        for session in self._active_sessions():
            self._update_address(session.status)
            session.cluster_changed()
        self._deferred.check_nodes()

    def agent_lost(self, node: str) -> None:
        """A node's agent is gone; notify every cast."""
        for session in self._active_sessions():
            session.agent_lost(node)
        self._verifying.agent_lost(node)

    def agent_up(self, node: str) -> None:
        """A node's agent is ready; notify every cast."""
        for session in self._active_sessions():
            session.agent_up(node)
        # an earlier agent may have left what a retry can use, which is kept a day
        for cast in self.retryable:
            if self._table.casts[cast].has_failed(node):
                order = agent_orders.ForgetCast(cast, keep_parts=True)
                self._background.run(broadcast(self._agents, (node,), order), f"keep {cast}")
        self._deferred.check_nodes()

    def node_removed(self, node: str) -> None:
        """A node was removed; notify every cast."""
        for session in self._active_sessions():
            session.node_removed(node)

    def _start_requested(self, node: str, wanted: agent_reports.TransferRequest) -> None:
        """Start a cast from that node and send its agent the id, or why it was refused."""
        request = SendRequest(
            wanted.paths,
            wanted.recipients,
            source=node,
            leave_out=True,
            options=TransferOptions(transport=TransportOption(wanted.transport)),
        )
        try:
            answer = agent_orders.AnswerTransfer(wanted.number, self.send(request))
        except CastRayError as error:
            log.warning("%s requested a cast: %s", node, sentence(error.failure))
            answer = agent_orders.AnswerTransfer(wanted.number, refusal=sentence(error.failure))
        self._background.run(self._answer_request(node, answer), f"answer {node}")

    async def _answer_request(self, node: str, answer: agent_orders.AnswerTransfer) -> None:
        with contextlib.suppress(CastRayError):  # the agent has ended, and its caller
            await self._agents.call(node, answer)

    def _active_sessions(self) -> tuple[CastSession, ...]:
        sessions = (*self._table.sessions.values(), *self.dry_runs.sessions.values())
        return tuple(session for session in sessions if not session.status.state.finished)

    # --- inside ---------------------------------------------------------------------------------

    def _new_session(self, request: SendRequest, schedule: str = "", follows: str = "") -> CastSession:
        nodes = self._agents.nodes
        if not any(node.state is NodeState.ONLINE for node in nodes.values()):
            raise nobody_online(nodes, self._agents.target)
        if not request.paths:
            raise CastRayError(FailureKind.NOTHING_TO_SEND)
        request.check_paths()
        options = request.options.with_default_encryption(self._services.encryption())
        options.check(request.paths)
        options = options.settled()
        source, recipients = self._resolve_nodes(request)
        if options.destination and not options.destination.startswith("/"):
            raise CastRayError(FailureKind.BAD_DESTINATION, destination=options.destination)
        status = CastStatus(
            secrets.token_hex(6),
            msgspec.structs.replace(request, source=source, recipients=recipients, options=options),
            {node: nodes[node].address for node in recipients},
            self._recipients_mode(request, len(recipients)),
            self._services.wall(),
            self._context.now,
            schedule,
            follows,
        )
        self._set_cluster(status, self._agents.target)
        if request.is_download:
            reason = PlacementReason.NAMED if request.source else PlacementReason.AWAITED
            status.download = DownloadPlacement(reason)
        return self._make_session(status, None)

    def _resolve_nodes(self, request: SendRequest) -> tuple[str, tuple[str, ...]]:
        """Names of the source and of the recipients. Raises CastRayError."""
        nodes, groups = self._agents.nodes, self._services.groups()
        if not request.is_download:
            source = find_node(request.source, nodes).name
            return source, resolve_recipients(request.recipients, source, nodes, groups)
        recipients = resolve_recipients(request.recipients, "", nodes, groups)
        if request.source:
            return find_node(request.source, nodes).name, recipients
        online = [node for node in recipients if nodes[node].state is NodeState.ONLINE]
        return (online or recipients)[0], recipients

    def _recipients_mode(self, request: SendRequest, recipients: int) -> CastMode:
        """The source of a download can receive the files as well."""
        return recipients_mode(recipients, len(self._agents.nodes) - (not request.is_download))

    def _make_session(self, status: CastStatus, record: CastCheckpoint | None) -> CastSession:
        nodes = self._agents.nodes.values()
        speeds = self._services.speeds.speeds(nodes) if self._services.speeds is not None else {}
        checkpoints = self._services.checkpoints
        save = checkpoints.save if checkpoints is not None else None
        return CastSession(status, self._session_services, speeds, save, record)

    def _set_cluster(self, status: CastStatus, target: str) -> None:
        status.cluster = CastCluster.of(target)
        self._update_address(status)

    def _update_address(self, status: CastStatus) -> None:
        """The head of its cluster may be started again at another address."""
        target, address = self._agents.target, self._agents.address
        if address and target == status.cluster.target:
            status.cluster = CastCluster.of(target, address)

    def _request_admission(self, cast: str) -> None:
        self._table.queue.enqueue(cast)
        self._admit()

    def _withdraw(self, cast: str) -> None:
        self._table.queue.withdraw(cast)
        self._admit()

    def _admit(self) -> None:
        """Start casts that are admitted, and update the positions of the others."""
        for cast in self._table.queue.admit():
            self._table.sessions[cast].admission.start()
        for place, cast in enumerate(self._table.queue.waiting):
            self._table.sessions[cast].status.place = place
        self._publisher.changed()

    def set_max_running(self, max_running: int) -> None:
        """Change how many casts may run at once; 0: unlimited."""
        self._table.queue.max_running = max_running
        self._admit()

    def _task_ended(self, cast: str) -> None:
        self._table.queue.remove(cast)
        session, requeued = self._table.sessions.pop(cast), self._requeued.pop(cast, None)
        if self._table.tasks.pop(cast).cancelled():
            if requeued is not None:
                self.restore(requeued)
            return  # otherwise the next engine continues it
        # Clients read them after all events of the end, also if one of the next steps fails.
        for ended in self._pending_results(cast):
            ended.set_result(session.status.result(self._context.now))
        self._admit()
        self._finished.cast_ended(session)
        if self._services.speeds is not None and session.measured_speeds:
            self._services.speeds.record(self._agents.nodes.values(), session.measured_speeds)
        self._release_later(session)
        if session.status.awaited:
            self._deferred.add_cast(session.status)
        self._deferred.cast_ended(session.status)

    def _pending_results(self, cast: str) -> list[asyncio.Future[CastResult]]:
        """The results of the cast that clients still wait for; none afterwards."""
        return [ended for ended in self._awaited_results.pop(cast, ()) if not ended.done()]

    def _release_nodes(self, session: CastSession) -> None:
        """Let the agents release their resources, in the background."""
        self._background.run(session.release_nodes(), f"forget {session.status.cast}")

    def _release_later(self, session: CastSession) -> None:
        """Keep its list of files, and let the agents release their resources, in the background."""
        cast = session.status.cast
        task = self._background.run(self._gather_and_release(session), f"forget {cast}")
        self._releasing[cast] = task
        task.add_done_callback(lambda _: self._releasing.pop(cast))

    async def _gather_and_release(self, session: CastSession) -> None:
        await self._files.gather(session)
        await session.release_nodes()
