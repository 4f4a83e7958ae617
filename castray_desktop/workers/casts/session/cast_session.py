"""One cast from its preflight to its end: how reports change it, and what is ordered next.

Reports come in through methods; `_react` acts on them, one step after the other in one task.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from castray_desktop.core.casts.grace_period import AbsenceTracker
from castray_desktop.core.casts.states import CastEvent, DeliveryEvent, FailoverState
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import CastMode, CastState, NodeState, TransportOption
from castray_desktop.core.protocol.nodes import agent_protocol
from castray_desktop.core.protocol.nodes.agent_protocol import FINAL_RECIPIENT_STATES, RecipientState
from castray_desktop.core.routing.node_speeds import SpeedMeasurement
from castray_desktop.workers.casts.session.admission import Admission, PausedRecipients
from castray_desktop.workers.casts.session.agent_orders import AgentDirectory, OrderSender
from castray_desktop.workers.casts.session.cast_completion import CastCompletion, failure_of
from castray_desktop.workers.casts.session.cast_preflight import CastPreflight
from castray_desktop.workers.casts.session.cast_status import CastStatus, offline_failure
from castray_desktop.workers.casts.session.checkpoint import CastCheckpoint, CheckpointWriter, SaveCheckpoint
from castray_desktop.workers.casts.session.membership import AddedRecipients, LostNodes
from castray_desktop.workers.casts.session.multicast_control import MulticastControl, MulticastGroups
from castray_desktop.workers.casts.session.recipient_survey import RecipientSurvey
from castray_desktop.workers.casts.session.route_executor import RouteExecutor, TrailerBroadcast
from castray_desktop.workers.casts.session.route_policy import RoutePolicy
from castray_desktop.workers.casts.session.shared_destination import SharedDestinations
from castray_desktop.workers.casts.session.source_failover import SourceFailover

TICK_SECONDS = 0.25

"""Polling interval while a node is away."""


class Wakeup:
    """Wakes waiting conditions of one cast; `changed()` is called each time."""

    def __init__(self, absences: AbsenceTracker, changed: Callable[[], None]) -> None:
        self._absences = absences
        self._changed = changed
        self._come = asyncio.Event()

    def wake(self) -> None:
        """Something changed."""
        self._come.set()
        self._changed()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` is true; it is evaluated first and after each change."""
        while not condition():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS if self._absences else None):
                    await self._come.wait()
            self._come.clear()


def make_delivery_order(
    ledger: CastStatus,
    feed: SourceFailover,
    writers: SharedDestinations,
    node: str,
    epoch: int,
    upstream: agent_protocol.Upstream,
    group: agent_protocol.MulticastGroup | None,
) -> agent_protocol.StartDelivery:
    """The first order of a recipient: fetch from `upstream`, as of the route of that epoch, and join
    `group`.
    """
    if ledger.totals is None:
        raise RuntimeError("a delivery before its plan")
    request = ledger.request
    return agent_protocol.StartDelivery(
        cast=ledger.cast,
        secret=feed.secret,
        epoch=epoch,
        upstream=upstream,
        totals=ledger.totals,
        algorithms=feed.algorithms,
        destination=request.destination,
        on_conflict=request.on_conflict.value,
        limit=request.limit,
        transport=(
            TransportOption.AUTO if request.transport is TransportOption.UDP else request.transport
        ).value,
        group=group,
        hook=request.hook,
        remove_extra=writers.may_remove(node),
        exclude=request.exclude if request.remove_extra else (),
    )


class CastSession:
    """Runs one cast; its deliveries are in the status."""

    def __init__(
        self,
        ledger: CastStatus,
        agents: AgentDirectory,
        clock: Callable[[], float],
        changed: Callable[[], None],
        speeds: Mapping[str, float],
        save_checkpoint: SaveCheckpoint | None = None,
        record: CastCheckpoint | None = None,
        request_admission: Callable[[], None] | None = None,
        multicast_groups: MulticastGroups | None = None,
        withdraw: Callable[[], None] = lambda: None,
    ) -> None:
        """`request_admission()` asks to run, `withdraw()` gives that up."""
        self.status = ledger
        self._cast, self._source = ledger.cast, ledger.request.source
        self._agents, self._clock, self._changed = agents, clock, changed
        self._orders = OrderSender(agents)
        self._absences = AbsenceTracker()
        news = Wakeup(self._absences, changed)
        self._wake, self._until = news.wake, news.until
        self._feed = SourceFailover(
            *(ledger, agents, self._orders, self._absences, clock, self._order_failed),
            record.manifest_digest if record is not None else "",
        )
        self._relay = RouteExecutor(
            *(ledger, agents, self._orders),
            self._start_order,
            *(self._feed.can_serve, self._order_failed, self._wake),
        )
        self._sealing = TrailerBroadcast(ledger, self._relay, self._orders)
        self._multicasting = MulticastControl(
            *(ledger, agents, self._orders, self._relay, self._feed, self._absences, clock),
            done=self._wake,
            groups=multicast_groups or MulticastGroups(),
        )
        self._writers = SharedDestinations(ledger, self._orders, self._absences, clock)
        feed, writers, absences = self._feed, self._writers, self._absences
        self._losses = LostNodes(ledger, feed, self._relay, writers, absences, clock, self._left)
        self._rerouting = RoutePolicy(ledger, agents, self._relay, feed, writers, absences, speeds, clock)
        self._additions = AddedRecipients(
            ledger, agents, self._orders, feed, writers, clock, self._check_going_on
        )
        self._recording = CheckpointWriter(ledger, agents, self._feed, self._writers, save_checkpoint, record)
        self._record = record  # of a previous engine
        if record is not None:
            self._feed.algorithms = record.algorithms
            self._writers.restore(record.writers, record.folders)
        self.admission = Admission(
            *(ledger, self._relay, self._orders, clock, request_admission),
            on_resume=self._goes_on,
            changed=self._turn_changed,
        )
        self._pausing = PausedRecipients(ledger, self._relay, self._writers, self.admission, withdraw)
        self.preflight = CastPreflight(
            *(ledger, agents, self._orders, self._feed, self._absences, clock),
            until=self._until,
            absence_counts=self._counts,
        )
        self.waits_for_cluster = record is not None
        self._under_way = asyncio.Event()  # set once there is a route, or will never be one
        self._closed = False  # no recipients can be added any more
        self._handled: set[str] = set()  # recipients whose end was handled
        self._ending = CastCompletion(
            *(ledger, self._relay, self._orders, self._absences, clock),
            until=self._until,
            advance=self._advance,
        )
        self._work: asyncio.Task[None] | None = None
        self._ended_by: Failure | None = None

    # --- news -----------------------------------------------------------------------------------

    def source_reported(self, report: agent_protocol.SourceReport) -> None:
        """Handle a report of the source."""
        self.status.source_reported(report, self._clock())
        self._wake()

    def delivery_reported(self, node: str, report: agent_protocol.DeliveryReport) -> None:
        """Handle a report of a recipient."""
        if node not in self.status.recipients or self._writers.writer_of(node) is not None:
            return
        if report.state in FINAL_RECIPIENT_STATES:
            self._ending.stopped.add(node)
        self.status.delivery_reported(node, report, self._clock())
        if report.state is RecipientState.CONNECTING and report.failure is not None:
            self._rerouting.upstream_unreachable(node, report.epoch, report.failure)
        self._wake()

    def cluster_changed(self) -> None:
        """The cluster's status changed."""
        self._wake()

    def agent_lost(self, node: str) -> None:
        """A node's agent is gone. It may return."""
        info = self._agents.nodes.get(node)
        self._lose(node, (info and info.failure) or offline_failure(node))

    def agent_up(self, node: str) -> None:
        """A node has a new agent, without state of this cast."""
        if self._losses.node_returned(node):
            self._rerouting.restart_monitor()
            self._wake()

    def node_removed(self, node: str) -> None:
        """A node was removed."""
        if self._losses.node_removed(node):
            self._wake()

    def _lose(self, node: str, failure: Failure) -> None:
        if self._losses.node_lost(node, failure):
            self._wake()

    def _left(self, node: str) -> None:
        self._sealing.node_lost(node)
        self._ending.stopped.discard(node)

    @property
    def measured_speeds(self) -> dict[str, SpeedMeasurement]:
        """Measured speeds of nodes."""
        return self._rerouting.monitor.measured()

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
            self._under_way.set()
            self._multicasting.close()
            self._orders.close()

    async def _run(self) -> None:
        if self._ended_by is None:
            self._work = asyncio.create_task(self._carry_out(), name=f"work of cast {self._cast}")
            await asyncio.wait([self._work])
        self._closed = True
        self._under_way.set()
        cancelled = self._ended_by or Failure(FailureKind.CANCELLED)
        await self._ending.end(failure_of(self._work, cancelled))

    def end(self, failure: Failure | None = None) -> None:
        """End the cast soon: cancelled, or failed with `failure`. The first reason counts."""
        self._ended_by = self._ended_by or failure or Failure(FailureKind.CANCELLED)
        if self._work is not None:
            self._work.cancel()

    # --- more and fewer of it -------------------------------------------------------------------

    def checkpoint(self) -> CastCheckpoint:
        """A checkpoint from which another engine can continue."""
        return self._recording.checkpoint(self.admission.paused)

    def reorder(self, order: float) -> None:
        """Change its position in the queue."""
        self.status.order = order
        self._note()

    def _note(self) -> None:
        self._recording.save_if_changed(len(self._handled), self.admission.paused)

    def pause_recipients(self, nodes: tuple[str, ...]) -> Awaitable[None]:
        """Pause these recipients; done when they receive nothing any more."""
        self._check_going_on()
        self._pausing.pause(nodes)
        self._wake()
        return self._pausing.wait_paused(nodes)

    def _goes_on(self) -> None:
        """The cast was resumed: detach recipients that stay paused before all others continue."""
        self._pausing.step()
        self._rerouting.restart_monitor()

    def resume(self, nodes: tuple[str, ...] = ()) -> None:
        """Resume these recipients, or all, once the cast is admitted."""
        self.admission.resume(nodes)
        self._rerouting.restart_monitor()

    async def drop_recipients(self, nodes: tuple[str, ...]) -> None:
        """Cancel these deliveries; returns when their part files are removed, or their nodes don't answer."""
        self._check_going_on()
        for node in nodes:
            self.status.end_delivery(
                node, DeliveryEvent.CANCELLED, self._clock(), Failure(FailureKind.CANCELLED)
            )
        self._wake()
        await self._orders.broadcast(nodes, agent_protocol.CancelCast(self._cast))

    async def add_recipients(self, nodes: tuple[str, ...], mode: CastMode) -> RecipientSurvey:
        """Add recipients once the cast runs; those that can't take it fail alone.

        Raises CastRayError: CAST_FINISHED.
        """
        await self._under_way.wait()
        try:
            return await self._additions.add_recipients(nodes, mode)
        finally:
            self._wake()

    @property
    def is_running(self) -> bool:
        """Whether commands still have an effect."""
        return not self._closed and self._ended_by is None

    def _check_going_on(self) -> None:
        if not self.is_running:
            raise CastRayError(FailureKind.CAST_FINISHED, cast=self._cast)

    async def set_limit(self, limit: int) -> None:
        """Change the rate limit of every present and future hop."""
        self.status.request = msgspec.structs.replace(self.status.request, limit=limit)
        order = agent_protocol.SetCastLimit(self._cast, limit)
        await self._orders.broadcast({self._source, *self.status.recipients}, order)
        self._changed()

    async def release_nodes(self) -> None:
        """Let all nodes release the cast's resources."""
        order = agent_protocol.ForgetCast(self._cast)
        await self._orders.broadcast({self._source, *self.status.recipients}, order)

    async def _carry_out(self) -> None:
        await self._cluster_there()
        self._note()
        self.admission.cluster_ready()
        await self._until(lambda: self.admission.is_active)
        if self._record is not None and self._feed.digest:
            self._go_on(self._record)
        else:
            survey = await self.preflight.survey_with_retries()
            await self._until(lambda: self.admission.is_active)
            self.preflight.leave_out(survey)
            self._note_ended()
            self.preflight.choose_algorithms()
            await self._writers.find_shared({node: survey.replies[node] for node in self.status.unfinished})
            self._writers.assign(self.status.unfinished)
        await self._until(self._react)
        self._closed = True
        await self._ending.wait_for_final_counts()

    async def _cluster_there(self) -> None:
        """A restored cast waits for its cluster."""
        if self._record is None:
            return
        target = self._record.target
        self.status.wait_for(Failure(FailureKind.CLUSTER_AWAITED, {"target": target}))
        self._changed()
        await self._until(lambda: self._agents.target == target and self._is_up())
        self.waits_for_cluster = False
        self.status.wait_for(None)

    def _counts(self) -> bool:
        """Whether absence of nodes counts now."""
        return self._agents.settled and self.admission.is_active

    def _turn_changed(self) -> None:
        self._note()
        self._wake()

    def _is_up(self) -> bool:
        return self._agents.settled and any(self._online(node) for node in self._agents.nodes)

    def _go_on(self, record: CastCheckpoint) -> None:
        """Continue without a survey: recipients that had started have reserved space."""
        self._note_ended()
        for node in (self._source, *self.status.unfinished):
            if not self._online(node):
                self._lose(node, offline_failure(node))
        self._feed.start(self._relay)

    def _note_ended(self) -> None:
        """Ended deliveries take no part in the relay."""
        self._handled.update(set(self.status.recipients) - set(self.status.unfinished))

    # --- while it runs --------------------------------------------------------------------------

    def _react(self) -> bool:
        """Act on changes; returns whether everything has ended."""
        self._losses.expire(self._counts())
        self._pausing.step()
        if self.admission.is_active:
            self._feed.step(self._relay)
        if (
            self.admission.is_active
            and self._feed.state is FailoverState.SERVING
            and self._relay.route is None
        ):
            self._rerouting.plan()
            self._advance(CastEvent.PREPARED)
            self._under_way.set()
        if self._feed.broken is not None:
            self._ending.end_all(DeliveryEvent.FAILED, self._feed.broken)
            return True
        for node in self.status.recipients:
            if self.status.delivery(node).state.finished and node not in self._handled:
                self._handled.add(node)
                if self._writers.delivery_ended(node):
                    self._relay.remove_node(node)
        if self.admission.is_active:
            self._rerouting.step(uses_relay=not self._multicasting.is_sending)
            self._multicasting.step()
            self._relay.send_due_moves()
        self._sealing.step()
        self._follow_bytes()
        self._note()
        return not self.status.unfinished and not self._additions.pending

    def _follow_bytes(self) -> None:
        if self.status.all_bytes_there and self.status.state is CastState.SENDING:
            self._advance(CastEvent.ALL_BYTES)
        waiting = self.status.unfinished and not self.status.all_bytes_there
        if waiting and self.status.state is CastState.VERIFYING:
            self._advance(CastEvent.BYTES_MISSING)

    def _online(self, node: str) -> bool:
        info = self._agents.nodes.get(node)
        return info is not None and info.state is NodeState.ONLINE

    def _advance(self, event: CastEvent, failure: Failure | None = None) -> None:
        self.status.advance(event, self._clock(), failure)
        self._changed()

    # --- talking to agents ----------------------------------------------------------------------

    def _start_order(
        self, node: str, epoch: int, upstream: agent_protocol.Upstream
    ) -> agent_protocol.StartDelivery:
        group = self._multicasting.group_for(node)
        return make_delivery_order(self.status, self._feed, self._writers, node, epoch, upstream, group)

    def _order_failed(self, node: str, failure: Failure) -> None:
        if failure.kind is FailureKind.NODE_OFFLINE:
            self._lose(node, failure)
        elif node == self._source:
            self._feed.fail(failure)
        else:
            self.status.end_delivery(node, DeliveryEvent.FAILED, self._clock(), failure)
        self._wake()
