"""One cast from its survey to its end: what the news of its nodes lead to.

News come in through the methods named after them and are acted upon in `_react`, one step after the
other in one task. Who feeds whom is the relay's business (`relay.py`), where the bytes come from is a
table (`core/feed.py`), and so is how long somebody is waited for (`core/absence.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from castray_desktop.core.absence import Absences
from castray_desktop.core.cast import CastEvent, DeliveryEvent
from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.feed import FeedState
from castray_desktop.core.messages import CastMode, CastState, NodeState
from castray_desktop.core.speeds import Measure
from castray_desktop.workers.agents import Agents
from castray_desktop.workers.casts.additions import Additions
from castray_desktop.workers.casts.beginning import Beginning
from castray_desktop.workers.casts.cast_records import CastRecord
from castray_desktop.workers.casts.ending import Ending, failure_of
from castray_desktop.workers.casts.feeding import Feeding
from castray_desktop.workers.casts.group_addresses import GroupAddresses
from castray_desktop.workers.casts.ledger import CastLedger, offline
from castray_desktop.workers.casts.losses import Losses
from castray_desktop.workers.casts.multicasting import Multicasting
from castray_desktop.workers.casts.news import News
from castray_desktop.workers.casts.orders import Orders
from castray_desktop.workers.casts.pausing import Pausing
from castray_desktop.workers.casts.recording import Keep, Recording
from castray_desktop.workers.casts.relay import Relay
from castray_desktop.workers.casts.rerouting import Rerouting
from castray_desktop.workers.casts.sealing import Sealing
from castray_desktop.workers.casts.start_order import start_order
from castray_desktop.workers.casts.surveying import Survey
from castray_desktop.workers.casts.turn import Turn
from castray_desktop.workers.casts.writers import Writers
from castray_desktop.workers.ray_side import protocol
from castray_desktop.workers.ray_side.protocol import FINAL_RECIPIENT_STATES, RecipientState


class CastRun:
    """Runs one cast, whose deliveries the ledger has."""

    def __init__(
        self,
        ledger: CastLedger,
        agents: Agents,
        clock: Callable[[], float],
        changed: Callable[[], None],
        speeds: Mapping[str, float],
        keep: Keep | None = None,
        record: CastRecord | None = None,
        ask: Callable[[], None] | None = None,
        multicast_groups: GroupAddresses | None = None,
        step_back: Callable[[], None] = lambda: None,
    ) -> None:
        """`ask()` asks for a turn, `step_back()` gives it to others."""
        self.ledger = ledger
        self._cast, self._source = ledger.cast, ledger.request.source
        self._agents, self._clock, self._changed = agents, clock, changed
        self._orders = Orders(agents)
        self._absences = Absences()
        news = News(self._absences, changed)
        self._wake, self._until = news.wake, news.until
        self._feed = Feeding(
            *(ledger, agents, self._orders, self._absences, clock, self._order_failed),
            record.manifest_digest if record is not None else "",
        )
        self._relay = Relay(
            *(ledger, agents, self._orders),
            self._start_order,
            *(self._feed.feeds, self._order_failed, self._wake),
        )
        self._sealing = Sealing(ledger, self._relay, self._orders)
        self._multicasting = Multicasting(
            *(ledger, agents, self._orders, self._relay, self._feed, self._absences, clock),
            done=self._wake,
            groups=multicast_groups or GroupAddresses(),
        )
        self._writers = Writers(ledger, self._orders, self._absences, clock)
        feed, writers, absences = self._feed, self._writers, self._absences
        self._losses = Losses(ledger, feed, self._relay, writers, absences, clock, self._left)
        self._rerouting = Rerouting(ledger, agents, self._relay, feed, writers, absences, speeds, clock)
        self._additions = Additions(ledger, agents, self._orders, feed, writers, clock, self._check_going_on)
        self._recording = Recording(ledger, agents, self._feed, self._writers, keep, record)
        self._record = record  # of an engine before this one
        if record is not None:
            self._feed.algorithms = record.algorithms
            self._writers.restore(record.writers, record.folders)
        self.turn = Turn(
            *(ledger, self._relay, self._orders, clock, ask),
            goes_on=self._goes_on,
            changed=self._turn_changed,
        )
        self._pausing = Pausing(ledger, self._relay, self._writers, self.turn, step_back)
        self.beginning = Beginning(
            *(ledger, agents, self._orders, self._feed, self._absences, clock),
            until=self._until,
            counts=self._counts,
        )
        self.waits_for_cluster = record is not None
        self._under_way = asyncio.Event()  # there is a route, or will never be
        self._closed = False  # nobody may join any more
        self._handled: set[str] = set()  # whose end was acted upon
        self._ending = Ending(
            *(ledger, self._relay, self._orders, self._absences, clock),
            until=self._until,
            advance=self._advance,
        )
        self._work: asyncio.Task[None] | None = None
        self._ended_by: Failure | None = None

    # --- news -----------------------------------------------------------------------------------

    def source_reported(self, report: protocol.SourceReport) -> None:
        """The source's agent has reported on this cast."""
        self.ledger.source_reported(report, self._clock())
        self._wake()

    def delivery_reported(self, node: str, report: protocol.DeliveryReport) -> None:
        """A recipient's agent has reported on this cast."""
        if node not in self.ledger.recipients or self._writers.writer_of(node) is not None:
            return
        if report.state in FINAL_RECIPIENT_STATES:
            self._ending.stopped.add(node)
        self.ledger.delivery_reported(node, report, self._clock())
        if report.state is RecipientState.CONNECTING and report.failure is not None:
            self._rerouting.cut_off(node, report.epoch, report.failure)
        self._wake()

    def cluster_changed(self) -> None:
        """The cluster's state is another one."""
        self._wake()

    def agent_lost(self, node: str) -> None:
        """A node's agent has gone. It may come back."""
        info = self._agents.nodes.get(node)
        self._lose(node, (info and info.failure) or offline(node))

    def agent_up(self, node: str) -> None:
        """A node's agent is there, and knows nothing of this cast."""
        if self._losses.back(node):
            self._rerouting.begin_pace()
            self._wake()

    def node_removed(self, node: str) -> None:
        """A node will not come back."""
        if self._losses.removed(node):
            self._wake()

    def _lose(self, node: str, failure: Failure) -> None:
        if self._losses.lost(node, failure):
            self._wake()

    def _left(self, node: str) -> None:
        self._sealing.left(node)
        self._ending.stopped.discard(node)

    @property
    def measured(self) -> dict[str, Measure]:
        """How fast nodes have shown to be."""
        return self._rerouting.pace.measured()

    # --- the cast -------------------------------------------------------------------------------

    async def run(self) -> None:
        """The whole cast; it has ended afterwards, however. `end` ends it before its time.

        Cancelled, it is left as it is: from its record, another engine can go on with it.
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
        """Have the cast end soon: cancelled, or failed by `failure`. The first reason counts."""
        self._ended_by = self._ended_by or failure or Failure(FailureKind.CANCELLED)
        if self._work is not None:
            self._work.cancel()

    # --- more and fewer of it -------------------------------------------------------------------

    def record(self) -> CastRecord:
        """What another run needs to go on with it."""
        return self._recording.record(self.turn.paused)

    def reorder(self, order: float) -> None:
        """Another place in the queue, as in the ledger."""
        self.ledger.order = order
        self._note()

    def _note(self) -> None:
        self._recording.note(len(self._handled), self.turn.paused)

    def pause_recipients(self, nodes: tuple[str, ...]) -> Awaitable[None]:
        """Have nothing come to these, and the others go on; done when that holds."""
        self._check_going_on()
        self._pausing.pause(nodes)
        self._wake()
        return self._pausing.paused(nodes)

    def _goes_on(self) -> None:
        """It is the cast's turn again: whoever stays paused is told before all others go on."""
        self._pausing.look()
        self._rerouting.begin_pace()

    def resume(self, nodes: tuple[str, ...] = ()) -> None:
        """Go on with these recipients, or with all, once it is the cast's turn."""
        self.turn.resume(nodes)
        self._rerouting.begin_pace()

    async def drop_recipients(self, nodes: tuple[str, ...]) -> None:
        """Cancel these deliveries; returns when their part files are gone, or their nodes don't answer."""
        self._check_going_on()
        for node in nodes:
            self.ledger.end_delivery(
                node, DeliveryEvent.CANCELLED, self._clock(), Failure(FailureKind.CANCELLED)
            )
        self._wake()
        await self._orders.tell(nodes, protocol.CancelCast(self._cast))

    async def add_recipients(self, nodes: tuple[str, ...], mode: CastMode) -> Survey:
        """Have more nodes receive it, once it is under way; what keeps some from it fails them alone.

        Raises CastRayError: CAST_FINISHED.
        """
        await self._under_way.wait()
        try:
            return await self._additions.add(nodes, mode)
        finally:
            self._wake()

    @property
    def going_on(self) -> bool:
        """Whether something can still become of it by what is asked for."""
        return not self._closed and self._ended_by is None

    def _check_going_on(self) -> None:
        if not self.going_on:
            raise CastRayError(FailureKind.CAST_FINISHED, cast=self._cast)

    async def set_limit(self, limit: int) -> None:
        """Every hop keeps to this limit from now on, those that are still to come as well."""
        self.ledger.request = msgspec.structs.replace(self.ledger.request, limit=limit)
        order = protocol.SetCastLimit(self._cast, limit)
        await self._orders.tell({self._source, *self.ledger.recipients}, order)
        self._changed()

    async def forget(self) -> None:
        """Have everybody free what the cast holds."""
        order = protocol.ForgetCast(self._cast)
        await self._orders.tell({self._source, *self.ledger.recipients}, order)

    async def _carry_out(self) -> None:
        await self._cluster_there()
        self._note()
        self.turn.is_ready()
        await self._until(lambda: self.turn.flows)
        if self._record is not None and self._feed.digest:
            self._go_on(self._record)
        else:
            survey = await self.beginning.patient_survey()
            await self._until(lambda: self.turn.flows)
            self.beginning.leave_out(survey)
            self._note_ended()
            self.beginning.choose_algorithms()
            await self._writers.find({node: survey.replies[node] for node in self.ledger.unfinished})
            self._writers.add(self.ledger.unfinished)
        await self._until(self._react)
        self._closed = True
        await self._ending.settle()

    async def _cluster_there(self) -> None:
        """A cast of an engine before this one waits for the cluster that it was sent on."""
        if self._record is None:
            return
        target = self._record.target
        self.ledger.wait_for(Failure(FailureKind.CLUSTER_AWAITED, {"target": target}))
        self._changed()
        await self._until(lambda: self._agents.target == target and self._is_up())
        self.waits_for_cluster = False
        self.ledger.wait_for(None)

    def _counts(self) -> bool:
        """Whether somebody who is away now is missing."""
        return self._agents.settled and self.turn.flows

    def _turn_changed(self) -> None:
        self._note()
        self._wake()

    def _is_up(self) -> bool:
        return self._agents.settled and any(self._online(node) for node in self._agents.nodes)

    def _go_on(self, record: CastRecord) -> None:
        """Without a survey: who had begun has reserved its room."""
        self._note_ended()
        for node in (self._source, *self.ledger.unfinished):
            if not self._online(node):
                self._lose(node, offline(node))
        self._feed.begin(self._relay)

    def _note_ended(self) -> None:
        """Those that have ended by now have no part in the relay."""
        self._handled.update(set(self.ledger.recipients) - set(self.ledger.unfinished))

    # --- while it runs --------------------------------------------------------------------------

    def _react(self) -> bool:
        """Act upon the news, then say whether everything has ended."""
        self._losses.give_up(self._counts())
        self._pausing.look()
        if self.turn.flows:
            self._feed.go_on(self._relay)
        if self.turn.flows and self._feed.state is FeedState.SERVING and self._relay.route is None:
            self._rerouting.plan()
            self._advance(CastEvent.PREPARED)
            self._under_way.set()
        if self._feed.broken is not None:
            self._ending.end_all(DeliveryEvent.FAILED, self._feed.broken)
            return True
        for node in self.ledger.recipients:
            if self.ledger.delivery(node).state.finished and node not in self._handled:
                self._handled.add(node)
                if self._writers.ended(node):
                    self._relay.leave(node)
        if self.turn.flows:
            self._rerouting.go_on(along_route=not self._multicasting.sends)
            self._multicasting.go_on()
            self._relay.pump()
        self._sealing.go_on()
        self._follow_bytes()
        self._note()
        return not self.ledger.unfinished and not self._additions.under_way

    def _follow_bytes(self) -> None:
        if self.ledger.all_bytes_there and self.ledger.state is CastState.SENDING:
            self._advance(CastEvent.ALL_BYTES)
        waiting = self.ledger.unfinished and not self.ledger.all_bytes_there
        if waiting and self.ledger.state is CastState.VERIFYING:
            self._advance(CastEvent.BYTES_MISSING)

    def _online(self, node: str) -> bool:
        info = self._agents.nodes.get(node)
        return info is not None and info.state is NodeState.ONLINE

    def _advance(self, event: CastEvent, failure: Failure | None = None) -> None:
        self.ledger.advance(event, self._clock(), failure)
        self._changed()

    # --- talking to agents ----------------------------------------------------------------------

    def _start_order(self, node: str, epoch: int, upstream: protocol.Upstream) -> protocol.StartDelivery:
        group = self._multicasting.group_for(node)
        return start_order(self.ledger, self._feed, self._writers, node, epoch, upstream, group)

    def _order_failed(self, node: str, failure: Failure) -> None:
        if failure.kind is FailureKind.NODE_OFFLINE:
            self._lose(node, failure)
        elif node == self._source:
            self._feed.fail(failure)
        else:
            self.ledger.end_delivery(node, DeliveryEvent.FAILED, self._clock(), failure)
        self._wake()
