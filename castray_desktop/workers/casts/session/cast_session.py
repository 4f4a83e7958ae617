"""One cast from its preflight to its end: how reports change it, and what is ordered next.

Reports come in through methods; `_react` acts on them, one step after the other in one task.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from castray_desktop.core.casts.grace_period import AbsenceTracker
from castray_desktop.core.casts.states import CastEvent, DeliveryEvent, FailoverState
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import CastMode, CastState
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports, cast_parcel
from castray_desktop.core.protocol.nodes.agent_reports import FINAL_RECIPIENT_STATES, RecipientState
from castray_desktop.core.routing.node_speeds import SpeedMeasurement
from castray_desktop.workers.base.async_tasks import BackgroundTasks
from castray_desktop.workers.casts.agent_directory import AgentDirectory
from castray_desktop.workers.casts.session.admission import Admission
from castray_desktop.workers.casts.session.cast_preflight import CastPreflight, RecipientSurvey
from castray_desktop.workers.casts.session.cast_route import (
    ReverseDialRequests,
    RouteExecutor,
    RoutePolicy,
    TrailerBroadcast,
)
from castray_desktop.workers.casts.session.cast_status import CastStatus, offline_failure
from castray_desktop.workers.casts.session.checkpoint import CastCheckpoint, CheckpointWriter, SaveCheckpoint
from castray_desktop.workers.casts.session.download_links import DownloadLinks
from castray_desktop.workers.casts.session.download_planner import DownloadPlanner
from castray_desktop.workers.casts.session.membership import AddedRecipients, LostNodes
from castray_desktop.workers.casts.session.multicast_control import MulticastControl, MulticastGroups
from castray_desktop.workers.casts.session.session_context import SessionContext, Wakeup
from castray_desktop.workers.casts.session.shared_destination import SharedDestinations
from castray_desktop.workers.casts.session.source_failover import SourceFailover
from castray_desktop.workers.casts.speed_stores import DownloadSpeedStore, RecentDownloaders
from castray_desktop.workers.sources.address_resolver import AddressResolver


@dataclass(frozen=True)
class SessionServices:
    """What all sessions of one cluster have in common.

    `changed()` is called after every change. `request_admission(cast)` asks to run, `withdraw(cast)` gives
    that up. `wall` returns POSIX seconds. `hop_limit(cast, node)` is what the limit of all casts leaves to
    each hop of the cast that begins at the node, in bytes per second.
    """

    agents: AgentDirectory
    clock: Callable[[], float]
    changed: Callable[[], None]
    request_admission: Callable[[str], None]
    withdraw: Callable[[str], None]
    multicast_groups: MulticastGroups
    resolver: AddressResolver
    wall: Callable[[], float]
    hop_limit: Callable[[str, str], float]
    downloads: DownloadSpeedStore | None = None
    recent: RecentDownloaders = field(default_factory=RecentDownloaders)


CLEANUP_SECONDS = 5.0
SETTLE_SECONDS = 0.5

log = logging.getLogger("castray.cast")


class CastCompletion:
    """Waits for the last counts, and removes what is left on the nodes."""

    def __init__(self, context: SessionContext, executor: RouteExecutor) -> None:
        self._context = context
        self._status = context.status
        self._executor = executor

    async def wait_for_final_counts(self) -> None:
        """Wait for the source's final byte counts, so that the result is exact."""
        if self._status.source.report is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._context.wakeup.until(lambda: self._status.source_settled)

    async def end(self, failure: Failure | None) -> None:
        """End the cast: with a failure, or with the outcome of its deliveries."""
        if failure is None:
            self._context.advance(self._status.outcome())
        elif failure.kind is FailureKind.CANCELLED:
            await self._clean_up()  # deliveries that were committed meanwhile count
            self.end_all(DeliveryEvent.CANCELLED, failure)
            self._context.advance(CastEvent.CANCELLED, failure)
        else:
            self.end_all(DeliveryEvent.FAILED, failure)
            await self._clean_up(keep_parts=True)
            earlier = self._status.attempts and self._status.outcome() is CastEvent.PARTLY_FAILED
            self._context.advance(CastEvent.PARTLY_FAILED if earlier else CastEvent.FAILED, failure)

    async def _clean_up(self, keep_parts: bool = False) -> None:
        """Cancel the cast on all agents and wait until recipients have removed or kept their part files."""
        involved = {self._context.source, *self._status.recipients} - set(self._context.absences)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLEANUP_SECONDS):
                order = agent_orders.CancelCast(self._context.cast, keep_parts=keep_parts)
                await self._context.broadcast(involved, order)
                await self._context.wakeup.until(
                    lambda: not any(self._is_busy(node) for node in self._status.recipients)
                )

    def _is_busy(self, node: str) -> bool:
        return (
            node in self._executor.notified
            and node not in self._executor.stopped
            and node not in self._context.absences
        )

    def end_all(self, event: DeliveryEvent, failure: Failure) -> None:
        """End all unfinished deliveries."""
        for node in self._status.unfinished:
            self._context.end_delivery(node, event, failure)


class CastSession:
    """Runs one cast; its deliveries are in the status."""

    def __init__(
        self,
        status: CastStatus,
        services: SessionServices,
        speeds: Mapping[str, float],
        save_checkpoint: SaveCheckpoint | None = None,
        record: CastCheckpoint | None = None,
    ) -> None:
        """`speeds` are the known speeds of nodes; `record` is of a previous engine."""
        self.status = status
        self._record = record
        absences = AbsenceTracker()
        wakeup = Wakeup(absences, services.changed)
        self._wake, self._until = wakeup.wake, wakeup.until
        context = SessionContext(
            status=status,
            agents=services.agents,
            background=BackgroundTasks(self._background_failed),
            absences=absences,
            wakeup=wakeup,
            clock=services.clock,
            order_failed=self._order_failed,
        )
        self._context = context
        self._recent = services.recent
        executor = RouteExecutor(context, self._start_order, self._can_serve)
        digest, remote = (record.manifest_digest, record.remote) if record is not None else ("", ())
        links = DownloadLinks(context, services.resolver, services.wall, remote)
        failover = SourceFailover(context, executor, links, digest)
        destinations = SharedDestinations(context)
        if record is not None and digest:  # without a digest there is a new survey, which finds all of these
            failover.algorithms = record.algorithms
            destinations.writers.update(record.writers)
            destinations.folders.update(record.folders)
        self._executor, self._failover, self._destinations = executor, failover, destinations
        self._trailer = TrailerBroadcast(context, executor)
        self._reverse_dials = ReverseDialRequests(context)
        self._multicast = MulticastControl(context, executor, failover, services.multicast_groups)
        self._lost_nodes = LostNodes(context, executor, failover, destinations)
        node_limit = functools.partial(services.hop_limit, status.cast)
        self._policy = RoutePolicy(context, executor, destinations, speeds, node_limit)
        self._additions = AddedRecipients(context, failover, destinations, self._check_running)
        self._checkpoints = CheckpointWriter(context, failover, destinations, save_checkpoint, record)
        self.admission = Admission(
            context,
            executor,
            self._policy,
            destinations,
            services.request_admission,
            services.withdraw,
            self._admission_changed,
        )
        self.preflight = CastPreflight(
            context,
            failover,
            self.admission,
            DownloadPlanner(context, links, services.downloads, services.recent),
        )
        self._completion = CastCompletion(context, executor)
        self.waits_for_cluster = record is not None
        self._route_ready = asyncio.Event()  # set once there is a route, or will never be one
        self._closed = False  # no recipients can be added any more
        self._handled: set[str] = set()  # recipients whose end was handled
        self._work: asyncio.Task[None] | None = None
        self._ended_by: Failure | None = None

    # --- reports --------------------------------------------------------------------------------

    def source_reported(self, report: agent_reports.SourceReport) -> None:
        """Handle a report of the source."""
        if self.waits_for_cluster:  # it is about an attempt before
            return
        self.status.source_reported(report, self._context.now)
        self._failover.links.source_reported(report)
        self._wake()

    def delivery_reported(self, node: str, report: agent_reports.DeliveryReport) -> None:
        """Handle a report of a recipient."""
        if self.waits_for_cluster:  # it is about an attempt before
            return
        if node not in self.status.recipients or node in self._destinations.writers:
            return
        if report.state in FINAL_RECIPIENT_STATES:
            self._executor.stopped.add(node)
        self._reverse_dials.delivery_reported(node, report)
        self.status.delivery_reported(node, report, self._context.now)
        if report.state is RecipientState.CONNECTING and report.failure is not None:
            self._policy.upstream_unreachable(node, report.epoch, report.failure)
        self._wake()

    def cluster_changed(self) -> None:
        """The cluster's status changed."""
        self._wake()

    def agent_lost(self, node: str) -> None:
        """A node's agent is gone. It may return."""
        info = self._context.agents.nodes.get(node)
        self._lost_nodes.node_lost(node, (info and info.failure) or offline_failure(node))

    def agent_up(self, node: str) -> None:
        """A node has a new agent, without state of this cast."""
        if self._lost_nodes.node_returned(node):
            self._policy.restart_monitor()
            self._wake()

    def node_removed(self, node: str) -> None:
        """A node was removed."""
        self._lost_nodes.node_removed(node)

    @property
    def file_hash(self) -> str:
        """The algorithm of the hashes of files."""
        return self._failover.algorithms.file

    @property
    def measured_speeds(self) -> dict[str, SpeedMeasurement]:
        """Measured speeds of nodes."""
        return self._policy.meter.measured()

    # --- the cast -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run the cast to its end. `end` ends it early.

        If cancelled, nothing is ended: another engine can continue from the checkpoint.
        """
        try:
            await self._run()
        except asyncio.CancelledError:
            if self._work is not None:
                self._work.cancel()
                await asyncio.wait([self._work])
            raise
        finally:
            self._route_ready.set()
            self._multicast.close()
            self._context.background.cancel()

    async def _run(self) -> None:
        if self._ended_by is None:
            self._work = asyncio.create_task(self._carry_out(), name=f"work of cast {self._context.cast}")
            await asyncio.wait([self._work])
        self._closed = True
        self._route_ready.set()
        if self.status.source.trailer_digest and (version := self._failover.links.version):
            self._recent.record(version, self._context.source)
        cancelled = self._ended_by or Failure(FailureKind.CANCELLED)
        await self._completion.end(_failure_of(self._work, cancelled))

    def end(self, failure: Failure | None = None) -> None:
        """End the cast soon: cancelled, or failed with `failure`. The first reason counts."""
        self._ended_by = self._ended_by or failure or Failure(FailureKind.CANCELLED)
        if self._work is not None:
            self._work.cancel()

    # --- commands -------------------------------------------------------------------------------

    def checkpoint(self) -> CastCheckpoint:
        """A checkpoint from which another engine can continue."""
        return self._checkpoints.checkpoint()

    def reorder(self, order: float) -> None:
        """Change its position in the queue."""
        self.status.order = order
        self._save_checkpoint()

    def _save_checkpoint(self) -> None:
        self._checkpoints.save_if_changed(len(self._handled))

    def pause_recipients(self, nodes: tuple[str, ...]) -> Awaitable[None]:
        """Pause these recipients; done when they receive nothing any more."""
        self._check_running()
        self.admission.pause_recipients(nodes)
        self._wake()
        return self.admission.wait_paused(nodes)

    def resume(self, nodes: tuple[str, ...] = ()) -> None:
        """Resume these recipients, or all, once the cast is admitted."""
        self._multicast.recipients_resumed(self.admission.resume(nodes))

    async def drop_recipients(self, nodes: tuple[str, ...]) -> None:
        """Cancel these deliveries; returns when their part files are removed, or their nodes don't answer."""
        self._check_running()
        for node in nodes:
            self._context.end_delivery(node, DeliveryEvent.CANCELLED, Failure(FailureKind.CANCELLED))
        self._wake()
        source = self._context.source
        order = agent_orders.CancelCast(self._context.cast)
        await self._context.broadcast([node for node in nodes if node != source], order)
        if source in nodes:
            order = agent_orders.CancelCast(self._context.cast, keep_source=True)
            await self._context.broadcast((source,), order)

    async def add_recipients(self, nodes: tuple[str, ...], mode: CastMode) -> RecipientSurvey:
        """Add recipients once the cast runs; those that can't take it fail alone.

        Raises CastRayError: CAST_FINISHED.
        """
        await self._route_ready.wait()
        try:
            return await self._additions.add_recipients(nodes, mode)
        finally:
            self._wake()

    @property
    def is_running(self) -> bool:
        """Whether commands still have an effect."""
        return not self._closed and self._ended_by is None

    def _check_running(self) -> None:
        if not self.is_running:
            raise CastRayError(FailureKind.CAST_FINISHED, cast=self._context.cast)

    async def set_limit(self, limit: int) -> None:
        """Change the rate limit of every present and future hop."""
        self.status.request = self.status.request.with_options(limit=limit)
        self.limit_changed()
        order = agent_orders.SetCastLimit(self._context.cast, limit)
        await self._context.broadcast({self._context.source, *self.status.recipients}, order)
        self.limit_changed()
        self._context.wakeup.changed()

    def limit_changed(self) -> None:
        """A rate limit changes now: what was measured before says nothing of stragglers."""
        self._policy.restart_monitor()

    def upload_weight(self, node: str) -> int:
        """The node's part in a round of its uploads, in bytes: each hop takes a piece in turn."""
        if not self.admission.is_active:
            return 0
        return self.piece_bytes * self._policy.hops_from(node)

    @property
    def piece_bytes(self) -> int:
        """The length of its pieces."""
        return self._failover.algorithms.piece_bytes

    async def release_nodes(self) -> None:
        """Let all nodes release the cast's resources, but for what a retry can use."""
        order = agent_orders.ForgetCast(self._context.cast, keep_parts=self.status.is_retryable)
        await self._context.broadcast({self._context.source, *self.status.recipients}, order)

    async def _carry_out(self) -> None:
        await self._wait_for_cluster()
        self._save_checkpoint()
        self.admission.cluster_ready()
        await self._until(lambda: self.admission.is_active)
        if self._record is not None and self._failover.digest:
            self._continue(self._record)
        else:
            survey = await self.preflight.survey_with_retries()
            await self._until(lambda: self.admission.is_active)
            self.status.contents = self.preflight.content_digest(survey)
            self.preflight.leave_out(survey)
            self._mark_ended()
            self.preflight.choose_algorithms()
            await self._destinations.find_shared(
                {node: survey.replies[node] for node in self.status.unfinished}
            )
            self._destinations.assign(self.status.unfinished)
        await self._until(self._react)
        self._closed = True
        await self._completion.wait_for_final_counts()

    async def _wait_for_cluster(self) -> None:
        """A restored cast waits for its cluster."""
        if self._record is None:
            return
        target = self._record.target
        self.status.wait_for(Failure(FailureKind.CLUSTER_AWAITED, {"target": target}))
        self._context.wakeup.changed()
        await self._until(lambda: self.is_cluster_there)
        self.waits_for_cluster = False
        self.status.wait_for(None)

    def _admission_changed(self) -> None:
        self._save_checkpoint()
        self._wake()

    @property
    def is_cluster_there(self) -> bool:
        """Whether the cluster that a restored cast waits for can be used."""
        agents = self._context.agents
        if self._record is None or agents.target != self._record.target or not agents.settled:
            return False
        return any(self._context.is_online(node) for node in agents.nodes)

    def _continue(self, record: CastCheckpoint) -> None:
        """Continue without a survey: recipients that had started have reserved space."""
        self._mark_ended()
        for node in (self._context.source, *self.status.unfinished):
            if not self._context.is_online(node):
                self._lost_nodes.node_lost(node, offline_failure(node))
        self._failover.start()

    def _mark_ended(self) -> None:
        """Ended deliveries take no part in the relay."""
        self._handled.update(set(self.status.recipients) - set(self.status.unfinished))

    # --- while it runs --------------------------------------------------------------------------

    def _react(self) -> bool:
        """Act on changes; returns whether everything has ended."""
        self._lost_nodes.expire(self.admission.absences_count)
        self.admission.detach_paused()
        if self.admission.is_active:
            self._failover.step()
        if (
            self.admission.is_active
            and self._failover.state is FailoverState.SERVING
            and self.status.route is None
        ):
            self._policy.plan()
            self._context.advance(CastEvent.PREPARED)
            self._route_ready.set()
        if self._failover.broken is not None:
            self._completion.end_all(DeliveryEvent.FAILED, self._failover.broken)
            return True
        for node in self.status.recipients:
            if self.status.delivery(node).state.finished and node not in self._handled:
                self._handled.add(node)
                if self._destinations.delivery_ended(node):
                    self._executor.remove_node(node)
        if self.admission.is_active:
            self._policy.step(
                uses_relay=not self._multicast.is_sending,
                has_source=self._failover.state is not FailoverState.AWAY,
            )
            self._multicast.step()
            self._executor.send_due_moves()
        self._trailer.step()
        self._update_phase()
        self._save_checkpoint()
        return not self.status.unfinished and not self._additions.pending

    def _update_phase(self) -> None:
        if self.status.all_bytes_there and self.status.state is CastState.SENDING:
            self._context.advance(CastEvent.ALL_BYTES)
        waiting = self.status.unfinished and not self.status.all_bytes_there
        if waiting and self.status.state is CastState.VERIFYING:
            self._context.advance(CastEvent.BYTES_MISSING)

    # --- talking to agents ----------------------------------------------------------------------

    def _start_order(
        self, node: str, epoch: int, upstream: cast_parcel.Upstream
    ) -> agent_orders.StartDelivery:
        """The first order of a recipient: fetch from `upstream`, as of the route of that epoch."""
        if self.status.source.totals is None:
            raise RuntimeError("a delivery before its plan")
        return agent_orders.StartDelivery(
            cast=self.status.cast,
            secret=self._failover.secret,
            epoch=epoch,
            upstream=upstream,
            totals=self.status.source.totals,
            algorithms=self._failover.algorithms,
            options=self.status.request.options,
            prune=self._destinations.may_remove(node),
            group=self._multicast.group_for(node),
            plain_peers=self._context.plain_peers,
            keep_failed=True,
            version=self._failover.links.version,
        )

    def _can_serve(self, node: str) -> bool:
        return self._failover.can_serve(node)

    def _background_failed(self, error: BaseException) -> None:
        """What is done in the background must not fail: the cast would never end."""
        log.error("cast %s", self._context.cast, exc_info=error)
        self._failover.fail(_internal(error))
        self._wake()

    def _order_failed(self, node: str, failure: Failure) -> None:
        if failure.kind is FailureKind.NODE_OFFLINE:
            self._lost_nodes.node_lost(node, failure)
        elif node == self._context.source:
            self._failover.fail(failure)
        else:
            self._context.end_delivery(node, DeliveryEvent.FAILED, failure)
        self._wake()


def _internal(error: BaseException) -> Failure:
    return Failure(FailureKind.INTERNAL, {"reason": f"{type(error).__name__}: {error}"})


def _failure_of(work: asyncio.Task[None] | None, cancelled: Failure) -> Failure | None:
    """Why a cast's task ended, or never started; `cancelled` if it was ended from outside."""
    if work is None or work.cancelled():
        return cancelled
    error = work.exception()
    if error is None:
        return None
    if isinstance(error, CastRayError):
        return error.failure
    log.error("%s", work.get_name(), exc_info=error)
    return _internal(error)
