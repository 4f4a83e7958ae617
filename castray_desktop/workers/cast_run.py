"""One cast from its survey to its end: what the news of its nodes lead to.

News come in through the methods named after them and are acted upon in `_react`, one step after the
other in one task. Who feeds whom is the relay's business (`relay.py`), where the bytes come from is a
table (`core/feed.py`), and so is how long somebody is waited for (`core/absence.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping

import msgspec

from castray_desktop.core.absence import Absences
from castray_desktop.core.cast import CastEvent, DeliveryEvent
from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.feed import FeedEvent, FeedState
from castray_desktop.core.joining import upstream_for
from castray_desktop.core.messages import CastMode, CastState, DeliverySnapshot, NodeState, SendRequest
from castray_desktop.core.route import Route, plan
from castray_desktop.core.sharing import Sharing
from castray_desktop.workers.agents import Agents, common_algorithms
from castray_desktop.workers.cast_records import CastRecord
from castray_desktop.workers.feeding import Feeding
from castray_desktop.workers.ledger import CastLedger, offline
from castray_desktop.workers.orders import Orders
from castray_desktop.workers.pace import Pace
from castray_desktop.workers.ray_side import protocol
from castray_desktop.workers.ray_side.protocol import FINAL_RECIPIENT_STATES, RecipientState, SourceState
from castray_desktop.workers.relay import Relay
from castray_desktop.workers.storage_groups import StorageGroups
from castray_desktop.workers.surveying import Survey, ask_recipients, scan_order

CLEANUP_SECONDS = 5.0
SETTLE_SECONDS = 0.5

TICK_SECONDS = 0.25
"""While somebody is away, the time is looked at this often."""

_AWAY = frozenset(
    {
        FailureKind.NODE_OFFLINE,
        FailureKind.NODE_SILENT,
        FailureKind.UPSTREAM_LOST,
        FailureKind.NOT_TRUSTED,
    }
)
_SOURCE_FAULTS = frozenset(
    {
        FailureKind.FILES_FAILED,
        FailureKind.CHANGED,
        FailureKind.VANISHED,
        FailureKind.READ_ERROR,
        FailureKind.NOT_READABLE,
    }
)

log = logging.getLogger("castray.cast")


class CastRun:
    """Runs one cast, whose deliveries the ledger has."""

    def __init__(
        self,
        ledger: CastLedger,
        agents: Agents,
        clock: Callable[[], float],
        changed: Callable[[], None],
        speeds: Mapping[str, float],
        keep: Callable[[CastRecord], None] | None = None,
        record: CastRecord | None = None,
    ) -> None:
        self.ledger = ledger
        self._cast = ledger.cast
        self._request: SendRequest = ledger.request
        self._source = ledger.request.source
        self._agents = agents
        self._clock = clock
        self._changed = changed
        self._orders = Orders(agents)
        self._absences = Absences()
        self._feed = Feeding(
            ledger,
            agents,
            self._orders,
            self._absences,
            clock,
            self._order_failed,
            self._wake,
            record.manifest_digest if record is not None else "",
        )
        self._relay = Relay(
            ledger,
            agents,
            self._orders,
            self._delivery_order,
            self._feed.feeds,
            self._order_failed,
            self._wake,
        )
        self._news = asyncio.Event()
        self._sharing = Sharing()
        self._folders: dict[str, protocol.PreflightReply] = {}  # where each recipient writes
        self.pace = Pace(speeds)
        self._keep = keep
        self._record = record  # of an engine before this one
        self._kept: tuple[object, ...] = ()  # what the record was made from
        self.waits_for_cluster = record is not None
        self._under_way = asyncio.Event()  # there is a route, or will never be
        self._closed = False  # nobody may join any more
        self._joining = 0  # requests for more recipients that are not through
        self._handled: set[str] = set()  # whose end was acted upon
        self._cut_off: dict[str, int] = {}  # can't reach its upstream, as of the route of that epoch
        self._sealed: set[str] = set()  # whose present agent knows the trailer's digest
        self._stopped: set[str] = set()  # recipients whose agent has said that it is through with it
        self._work: asyncio.Task[None] | None = None
        self._ended_by: Failure | None = None

    # --- news -----------------------------------------------------------------------------------

    def source_reported(self, report: protocol.SourceReport) -> None:
        """The source's agent has reported on this cast."""
        self.ledger.source_reported(report, self._clock())
        self._wake()

    def delivery_reported(self, node: str, report: protocol.DeliveryReport) -> None:
        """A recipient's agent has reported on this cast."""
        if node not in self.ledger.recipients or self._sharing.writer_of(node) is not None:
            return
        if report.state in FINAL_RECIPIENT_STATES:
            self._stopped.add(node)
        self.ledger.delivery_reported(node, report, self._clock())
        if report.state is RecipientState.CONNECTING and report.failure is not None:
            self._cut_off[node] = report.epoch
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
        if node in self._absences:
            self._absences.back(node)
            if node in self.ledger.recipients:
                self.ledger.back(node)
                self._begin_pace()
            self._wake()

    def node_removed(self, node: str) -> None:
        """A node will not come back."""
        if node == self._source:
            self._feed.fail(offline(node))
            self._lose(node, offline(node))
        elif node in self.ledger.recipients:
            self._lose(node, offline(node))
            self._absences.back(node)
            self.ledger.end_delivery(node, DeliveryEvent.FAILED, self._clock(), offline(node))
            self._wake()

    def _lose(self, node: str, failure: Failure) -> None:
        away = Failure(FailureKind.NODE_AWAY, {"node": node})
        if node in self.ledger.recipients:
            self._absences.left(node, failure, self._clock())
            self.ledger.away(node, away)
            self._sealed.discard(node)
            self._stopped.discard(node)
            self._pass_on_writing(node)
        elif node == self._source:
            self._absences.left(node, failure, self._clock())
            self.ledger.source_away(self.ledger.failure)
        else:
            return
        route = self._relay.route
        feeds = route.source == node if route is not None else node == self._source
        if feeds and self._feed.state is not FeedState.AWAY:
            self._feed.go(FeedEvent.LOST)
            self.ledger.source_away(Failure(FailureKind.NODE_AWAY, {"node": self._source}))
            self._relay.feed_from(route.source if route is not None else node)
        self._relay.lost(node)
        self._wake()

    # --- the cast -------------------------------------------------------------------------------

    async def survey(self) -> Survey:
        """Scan the source and ask every recipient, in that order; nothing is written anywhere.

        Raises CastRayError with what keeps the cast from starting at all.
        """
        await self._orders.call(self._source, scan_order(self._cast, self._request))
        await self._until(self._scanned_or_not)
        report, totals = self.ledger.source, self.ledger.totals
        if report is None or report.state is not SourceState.PREPARED or totals is None:
            raise CastRayError.of(self._feed.source_failure())
        asked = self.ledger.unfinished
        return await ask_recipients(self._cast, self._request, totals, asked, self._agents, self._orders)

    async def run(self) -> None:
        """The whole cast; it has ended afterwards, however. `end` ends it before its time."""
        if self._ended_by is None:
            self._work = asyncio.create_task(self._carry_out(), name=f"work of cast {self._cast}")
            await asyncio.wait([self._work])
        self._closed = True
        self._under_way.set()
        failure = self._failure_of_work()
        if failure is None:
            self._advance(self.ledger.outcome())
        elif failure.kind is FailureKind.CANCELLED:
            await self._clean_up()  # who has landed it meanwhile has it
            self._end_all(DeliveryEvent.CANCELLED, failure)
            self._advance(CastEvent.CANCELLED, failure)
        else:
            self._end_all(DeliveryEvent.FAILED, failure)
            await self._clean_up()
            self._advance(CastEvent.FAILED, failure)
        self._orders.close()

    def end(self, failure: Failure | None = None) -> None:
        """Have the cast end soon: cancelled, or failed by `failure`. The first reason counts."""
        self._ended_by = self._ended_by or failure or Failure(FailureKind.CANCELLED)
        if self._work is not None:
            self._work.cancel()

    async def add_recipients(self, nodes: tuple[str, ...], mode: CastMode) -> Survey:
        """Have more nodes receive it, once it is under way; what keeps some from it fails them alone.

        Raises CastRayError: CAST_FINISHED.
        """
        await self._under_way.wait()
        self._check_going_on()
        totals = self.ledger.totals
        if totals is None:
            raise RuntimeError("a route before the scan")
        self._joining += 1
        try:
            survey = await ask_recipients(
                self._cast, self._request, totals, nodes, self._agents, self._orders
            )
            self._check_going_on()
            replies = {node: self._lacks_hashes(node) or reply for node, reply in survey.replies.items()}
            await self._find_storage({node: reply for node, reply in replies.items() if not reply.failure})
            self._check_going_on()
            for node, reply in replies.items():
                self._join(node, reply, mode)
            self._request = msgspec.structs.replace(self._request, recipients=self.ledger.recipients)
            self.ledger.request = self._request
            return Survey(survey.totals, replies)
        finally:
            self._joining -= 1
            self._wake()

    def _check_going_on(self) -> None:
        if self._closed or self._ended_by is not None:
            raise CastRayError(FailureKind.CAST_FINISHED, cast=self._cast)

    def _join(self, node: str, reply: protocol.PreflightReply, mode: CastMode) -> None:
        """One more recipient; it gets an upstream with the next reaction."""
        info, now = self._agents.nodes.get(node), self._clock()
        self.ledger.add_recipient(node, info.address if info is not None else "", mode)
        if reply.failure is not None:
            self.ledger.end_delivery(node, DeliveryEvent.FAILED, now, reply.failure)
            return
        self._sharing.add(node, self._folders[node].storage)
        writer = self._sharing.writer_of(node)
        if writer is None:
            return
        state = self.ledger.delivery(writer).state
        if state.delivered:
            self._share(node, writer)
        elif state.finished:
            self._sharing.hand_over(writer, node)

    def _lacks_hashes(self, node: str) -> protocol.PreflightReply | None:
        """Why it can't check what the others are sent, if it can't."""
        try:
            hello = self._agents.hello(node)
        except CastRayError as error:
            return protocol.PreflightReply(failure=error.failure)
        used = self._feed.algorithms
        if used.piece in hello.piece_digests and used.file in hello.file_hashes:
            return None
        values = {"node": node, "hashes": f"{used.piece}, {used.file}"}
        return protocol.PreflightReply(failure=Failure(FailureKind.HASH_MISSING, values))

    async def set_limit(self, limit: int) -> None:
        """Every hop keeps to this limit from now on, those that are still to come as well."""
        self._request = msgspec.structs.replace(self._request, limit=limit)
        self.ledger.request = self._request
        order = protocol.SetCastLimit(self._cast, limit)
        await self._orders.tell({self._source, *self.ledger.recipients}, order)
        self._changed()

    async def forget(self) -> None:
        """Have everybody free what the cast holds."""
        order = protocol.ForgetCast(self._cast)
        await self._orders.tell({self._source, *self.ledger.recipients}, order)

    async def _carry_out(self) -> None:
        await self._cluster_there()
        self._advance(CastEvent.STARTED)
        self._keep_record()
        if self._record is not None and self._feed.digest:
            self._go_on(self._record)
        else:
            survey = await self._patient_survey()
            self._leave_out(survey)
            self._feed.algorithms = common_algorithms(self._hellos(self._source, *self.ledger.unfinished))
            await self._find_storage({node: survey.replies[node] for node in self.ledger.unfinished})
            for node in self.ledger.unfinished:
                self._sharing.add(node, self._folders[node].storage)
        await self._until(self._react)
        self._closed = True
        await self._settle()

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

    def _is_up(self) -> bool:
        return self._agents.settled and any(self._online(node) for node in self._agents.nodes)

    def _go_on(self, record: CastRecord) -> None:
        """Without a survey: who had begun has reserved its room."""
        self._feed.algorithms = record.algorithms
        self._sharing.restore(record.writers)
        self._folders.update(record.folders)
        self._handled.update(set(self.ledger.recipients) - set(self.ledger.unfinished))
        for node in (self._source, *self.ledger.unfinished):
            if not self._online(node):
                self._lose(node, offline(node))
        self._feed.begin(self._relay)

    def _keep_record(self) -> None:
        """Note what the next engine would need, where that has changed."""
        state = (
            len(self._handled),
            self._feed.digest,
            self._request,
            self._sharing.writers(),
            len(self._folders),
        )
        if self._keep is None or state == self._kept:
            return
        self._kept = state
        deliveries = (self.ledger.delivery(node) for node in self.ledger.recipients)
        record = CastRecord(
            cast=self._cast,
            target=self._agents.target if self._record is None else self._record.target,
            request=self._request,
            mode=self.ledger.mode,
            started=self.ledger.started,
            deliveries=tuple(
                item if item.state.finished else DeliverySnapshot(item.node, address=item.address)
                for item in deliveries
            ),
            manifest_digest=self._feed.digest,
            algorithms=self._feed.algorithms,
            writers=self._sharing.writers(),
            folders=dict(self._folders),
        )
        self._keep(record)

    async def _find_storage(self, replies: Mapping[str, protocol.PreflightReply]) -> None:
        """Note where these recipients write: `storage` is equal for all that write to one folder now."""
        groups = StorageGroups(self._cast, self._request.destination, self._orders.call, self._orders.spawn)
        there = {node: reply for node, reply in self._folders.items() if node not in self._absences}
        asked = {**there, **replies}
        for node, storage in (await groups.find(asked)).items():
            self._folders[node] = dataclasses.replace(asked[node], storage=storage)

    def _share(self, follower: str, writer: str) -> None:
        folders = self._folders[writer].destination, self._folders[follower].destination
        self.ledger.share(follower, writer, self._clock(), *folders)

    async def _patient_survey(self) -> Survey:
        """The survey, again when the source went away during it. Raises CastRayError."""
        while True:
            await self._until(lambda: self._source not in self._absences or self._given_up(self._source))
            if self._source in self._absences:
                raise CastRayError.of(self._absences.why(self._source))
            if self._feed.state is FeedState.AWAY:
                self._feed.go(FeedEvent.BACK)
            try:
                survey = await self.survey()
            except CastRayError:
                if self._source not in self._absences:
                    raise
                continue
            if self._source not in self._absences:
                return survey

    def _given_up(self, node: str) -> bool:
        return node in self._absences.look(self._clock(), self._agents.settled)

    def _scanned_or_not(self) -> bool:
        report = self.ledger.source
        return self._source in self._absences or (
            report is not None and report.state is not SourceState.SCANNING
        )

    def _failure_of_work(self) -> Failure | None:
        if self._work is None or self._work.cancelled():
            return self._ended_by or Failure(FailureKind.CANCELLED)
        error = self._work.exception()
        if error is None:
            return None
        if isinstance(error, CastRayError):
            return error.failure
        log.error("cast %s", self._cast, exc_info=error)
        return Failure(FailureKind.INTERNAL, {"reason": f"{type(error).__name__}: {error}"})

    def _leave_out(self, survey: Survey) -> None:
        """Recipients that can't take it fail before the first byte, and touch nobody else."""
        now = self._clock()
        for node, failure in survey.problems.items():
            self.ledger.end_delivery(node, DeliveryEvent.FAILED, now, failure)
            self._handled.add(node)
        if survey.problems and not (self._request.leave_out and self.ledger.unfinished):
            self._end_all(DeliveryEvent.CANCELLED, Failure(FailureKind.CANCELLED))
            raise CastRayError.of(next(iter(survey.problems.values())))

    def _hellos(self, *nodes: str) -> Iterator[protocol.AgentHello]:
        """Of those that are there; the others have no part in the cast."""
        for node in nodes:
            with contextlib.suppress(CastRayError):
                yield self._agents.hello(node)

    # --- while it runs --------------------------------------------------------------------------

    def _react(self) -> bool:
        """Act upon the news, then say whether everything has ended."""
        for node in self._absences.look(self._clock(), self._agents.settled):
            self._give_up(node)
        self._feed.go_on(self._relay)
        if self._feed.state is FeedState.SERVING and self._relay.route is None:
            self._plan()
        if self._feed.broken is not None:
            self._end_all(DeliveryEvent.FAILED, self._feed.broken)
            return True
        for node in self.ledger.recipients:
            if self.ledger.delivery(node).state.finished and node not in self._handled:
                self._handled.add(node)
                self._delivery_ended(node)
        self._bring_in()
        self._go_around()
        self._move_slow()
        self._relay.pump()
        self._seal()
        self._follow_bytes()
        self._keep_record()
        return not self.ledger.unfinished and not self._joining

    def _give_up(self, node: str) -> None:
        """A node has been away for too long."""
        failure = self._absences.why(node)
        if node == self._source:
            self._feed.fail(failure)
        else:
            self._absences.back(node)
            self.ledger.end_delivery(node, DeliveryEvent.FAILED, self._clock(), failure)

    def _delivery_ended(self, node: str) -> None:
        """Whoever depended on `node` goes on without it."""
        snapshot = self.ledger.delivery(node)
        followers = self._sharing.followers_of(node)
        if snapshot.state.delivered:
            for follower in followers:
                self._share(follower, node)
            return
        if snapshot.failure is not None and snapshot.failure.kind in _SOURCE_FAULTS:
            for follower in followers:  # it goes on serving what it has, which is all there is
                self.ledger.end_delivery(follower, DeliveryEvent.FAILED, self._clock(), snapshot.failure)
            return
        self._relay.leave(node)
        # The trouble of a writer's disk would be its followers' trouble as well.
        if snapshot.failure is not None and snapshot.failure.kind in _AWAY and self._pass_on_writing(node):
            return
        for follower in self._sharing.followers_of(node):
            failure = Failure(FailureKind.WRITER_FAILED, {"writer": node, "node": follower})
            self.ledger.end_delivery(follower, DeliveryEvent.FAILED, self._clock(), failure)

    def _pass_on_writing(self, writer: str) -> bool:
        """Have one of its followers write in the place of a writer that went away, if one is there."""
        if self.ledger.delivery(writer).state.delivered:
            return False
        for heir in self._sharing.followers_of(writer):
            if heir not in self._absences and not self.ledger.delivery(heir).state.finished:
                self._sharing.hand_over(writer, heir)
                return True
        return False

    def _bring_in(self) -> None:
        """Those that should fetch and have no upstream get one: who came back, joined, or inherited."""
        route = self._relay.route
        if route is None or self._feed.state is FeedState.AWAY:
            return
        for node in self.ledger.unfinished:
            if node in route.upstreams or node in self._absences or self._sharing.writer_of(node):
                continue
            if node == route.source:
                continue
            upstream = upstream_for(route, self._feeders(route))
            if upstream is not None:
                route = route.with_leaf(node, upstream)[0]
                self._relay.change(route)

    def _feeders(self, route: Route) -> dict[str, int]:
        """Who can feed another one now, and what each has of the stream."""
        found = {
            node: self.ledger.verified_bytes(node)
            for node in route.upstreams
            if node in self._relay.fetching or self.ledger.delivery(node).state.delivered
        }
        if self._feed.feeds(route.source):
            found[route.source] = self._stream_bytes
        return found

    def _go_around(self) -> None:
        """Whoever can't reach its upstream fetches from the one above it, or goes to the tail."""
        cut_off, self._cut_off = self._cut_off, {}
        for node, epoch in cut_off.items():
            route = self._relay.route
            if route is None or node not in route.upstreams or self.ledger.delivery(node).state.finished:
                continue
            if epoch < self._relay.ordered.get(node, 0):
                continue
            upstream = route.upstream_of(node)
            if upstream != route.source:
                self._relay.change(route.moved(node, route.upstream_of(upstream))[0])
            elif self._feed.feeds(upstream):
                self._relay.change(route.to_tail(node)[0])

    def _move_slow(self) -> None:
        """A node that holds up those below it goes to the tail."""
        route, now = self._relay.route, self._clock()
        if route is None or not self.pace.is_due(now) or not self._feed.feeds(route.source):
            return
        progress = {node: self.ledger.verified_bytes(node) for node in route.upstreams}
        slow = self.pace.look(now, route, progress, self._stream_bytes)
        if slow is not None:
            log.info("cast %s: %s is slow", self._cast, slow)
            self._relay.change(route.to_tail(slow)[0])

    @property
    def _stream_bytes(self) -> int:
        return self.ledger.totals.stream_bytes if self.ledger.totals is not None else 0

    def _seal(self) -> None:
        """Hand the trailer's digest to everybody who fetches, once the source has said it."""
        digest = self.ledger.trailer_digest
        if not digest:
            return
        unsealed = self._relay.fetching - self._sealed
        self._sealed |= unsealed
        going_on = [node for node in unsealed if not self.ledger.delivery(node).state.finished]
        if going_on:
            self._orders.spawn(self._orders.tell(going_on, protocol.Seal(self._cast, digest)))

    def _follow_bytes(self) -> None:
        if self.ledger.all_bytes_there and self.ledger.state is CastState.SENDING:
            self._advance(CastEvent.ALL_BYTES)
        waiting = self.ledger.unfinished and not self.ledger.all_bytes_there
        if waiting and self.ledger.state is CastState.VERIFYING:
            self._advance(CastEvent.BYTES_MISSING)

    # --- the route --------------------------------------------------------------

    def _plan(self) -> None:
        """The first route; everybody on it is told at once."""
        writers = [
            node
            for node in self.ledger.unfinished
            if self._sharing.writer_of(node) is None and node not in self._absences
        ]
        speeds = self.pace.speeds
        self._relay.begin(
            plan(self._source, writers, zones=self._zones(), speeds=speeds, size=self._stream_bytes)
        )
        self._begin_pace()
        self._advance(CastEvent.PREPARED)
        self._under_way.set()

    def _zones(self) -> dict[str, str]:
        return {name: info.zone for name, info in self._agents.nodes.items()}

    def _begin_pace(self) -> None:
        self.pace.begin(self._zones(), self._request.limit)

    def _online(self, node: str) -> bool:
        info = self._agents.nodes.get(node)
        return info is not None and info.state is NodeState.ONLINE

    # --- ending ---------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Wait for the source's last count of what it sent; the result shall be exact."""
        if self.ledger.source is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._until(lambda: self.ledger.source_settled)

    async def _clean_up(self) -> None:
        """Have all agents end the cast, and wait until the recipients have removed their part files."""
        involved = {self._source, *self.ledger.recipients} - set(self._absences)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLEANUP_SECONDS):
                await self._orders.tell(involved, protocol.CancelCast(self._cast))
                await self._until(lambda: not any(self._is_busy(node) for node in self.ledger.recipients))

    def _is_busy(self, node: str) -> bool:
        return node in self._relay.told and node not in self._absences and node not in self._stopped

    def _end_all(self, event: DeliveryEvent, failure: Failure) -> None:
        for node in self.ledger.unfinished:
            self.ledger.end_delivery(node, event, self._clock(), failure)

    def _advance(self, event: CastEvent, failure: Failure | None = None) -> None:
        self.ledger.advance(event, self._clock(), failure)
        self._changed()

    # --- talking to agents ----------------------------------------------------------------------

    def _delivery_order(self, node: str, epoch: int, upstream: protocol.Upstream) -> protocol.StartDelivery:
        if self.ledger.totals is None:
            raise RuntimeError("a delivery before its plan")
        return protocol.StartDelivery(
            cast=self._cast,
            secret=self._feed.secret,
            epoch=epoch,
            upstream=upstream,
            totals=self.ledger.totals,
            algorithms=self._feed.algorithms,
            destination=self._request.destination,
            on_conflict=self._request.on_conflict.value,
            limit=self._request.limit,
            transport=self._request.transport.value,
        )

    def _order_failed(self, node: str, failure: Failure) -> None:
        if failure.kind is FailureKind.NODE_OFFLINE:
            self._lose(node, failure)
        elif node == self._source:
            self._feed.fail(failure)
        else:
            self.ledger.end_delivery(node, DeliveryEvent.FAILED, self._clock(), failure)
        self._wake()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS if self._absences else None):
                    await self._news.wait()
            self._news.clear()

    def _wake(self) -> None:
        self._news.set()
        self._changed()
