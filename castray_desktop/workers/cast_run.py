"""One cast from its preflight to its end: the orders that agents get, and what their reports lead to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from castray_desktop.core.cast import CastEvent, DeliveryEvent
from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.messages import CastState, NodeState, SendRequest
from castray_desktop.core.route import Move, plan_chain
from castray_desktop.workers.agents import Agents, common_algorithms
from castray_desktop.workers.ledger import CastLedger, offline
from castray_desktop.workers.ray_side import protocol
from castray_desktop.workers.ray_side.protocol import FINAL_RECIPIENT_STATES, RecipientState, SourceState

CALL_SECONDS = 15.0
"""An agent that has not answered an order by then is taken for lost."""

CLEANUP_SECONDS = 5.0
SETTLE_SECONDS = 0.5

_AWAY = frozenset({FailureKind.NODE_OFFLINE, FailureKind.NODE_SILENT, FailureKind.UPSTREAM_LOST})
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


@dataclass(frozen=True)
class Survey:
    """What the preflight found: who could take the parcel, who could not, and why."""

    totals: protocol.ParcelTotals
    replies: Mapping[str, protocol.PreflightReply]
    problems: Mapping[str, Failure]


class CastRun:
    """Runs one cast. Reports come in through `source_reported`, `delivery_reported` and `agent_lost`."""

    def __init__(
        self,
        ledger: CastLedger,
        recipients: tuple[str, ...],
        agents: Agents,
        clock: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        self.ledger = ledger
        self._cast = ledger.cast
        self._request: SendRequest = ledger.request
        self._recipients = recipients
        self._agents = agents
        self._clock = clock
        self._changed = changed
        self._news = asyncio.Event()
        self._lost: dict[str, Failure] = {}
        self._sharing: dict[str, str] = {}  # follower: the recipient that writes for it
        self._algorithms = protocol.Algorithms()
        self._secret = secrets.token_hex(32)
        self._handled: set[str] = set()
        self._moved: dict[str, int] = {}  # the epoch in which a node last got another upstream
        self._cut_off: dict[str, int] = {}  # can't reach its upstream, as of the route of that epoch
        self._chores: set[asyncio.Future[None]] = set()
        self._sealed = False
        self._delivering = False
        self._begun: set[str] = set()  # recipients that were told to fetch
        self._stopped: set[str] = set()  # recipients whose agent has said that it is through with it
        self._work: asyncio.Task[None] | None = None
        self._ended_by: Failure | None = None

    # --- reports --------------------------------------------------------------------------------

    def source_reported(self, report: protocol.SourceReport) -> None:
        """The source's agent has reported on this cast."""
        self.ledger.source_reported(report, self._clock())
        self._wake()

    def delivery_reported(self, node: str, report: protocol.DeliveryReport) -> None:
        """A recipient's agent has reported on this cast."""
        if node in self._recipients and node not in self._sharing:
            if report.state in FINAL_RECIPIENT_STATES:
                self._stopped.add(node)
            self.ledger.delivery_reported(node, report, self._clock())
            if report.state is RecipientState.CONNECTING and report.failure is not None:
                self._cut_off[node] = report.epoch
            self._wake()

    def agent_lost(self, node: str) -> None:
        """A node has gone."""
        if node == self._request.source or node in self._recipients:
            info = self._agents.nodes.get(node)
            self._lose(node, (info and info.failure) or offline(node))

    def _lose(self, node: str, failure: Failure) -> None:
        self._lost.setdefault(node, failure)
        self._wake()

    # --- the cast -------------------------------------------------------------------------------

    async def survey(self) -> Survey:
        """Scan the source and ask every recipient, in that order; nothing is written anywhere.

        Raises CastRayError with what keeps the cast from starting at all.
        """
        order = protocol.PrepareSource(
            self._cast, self._request.paths, self._request.links.value, self._request.exclude
        )
        await self._call(self._request.source, order)
        await self._until(lambda: self._source_state() in (SourceState.PREPARED, SourceState.FAILED))
        report = self.ledger.source
        if report is None or report.totals is None:
            raise CastRayError.of(self._source_failure())
        answers = await asyncio.gather(*(self._ask(node, report.totals) for node in self._recipients))
        replies = dict(zip(self._recipients, answers, strict=True))
        problems = {node: reply.failure for node, reply in replies.items() if reply.failure is not None}
        return Survey(report.totals, replies, problems)

    async def run(self) -> None:
        """The whole cast; it has ended afterwards, however. `end` ends it before its time."""
        if self._ended_by is None:
            self._work = asyncio.create_task(self._carry_out(), name=f"work of cast {self._cast}")
            await asyncio.wait([self._work])
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
        for chore in self._chores:
            chore.cancel()

    def end(self, failure: Failure | None = None) -> None:
        """Have the cast end soon: cancelled, or failed by `failure`. The first reason counts."""
        self._ended_by = self._ended_by or failure or Failure(FailureKind.CANCELLED)
        if self._work is not None:
            self._work.cancel()

    async def set_limit(self, limit: int) -> None:
        """Every hop keeps to this limit from now on, those that are still to come as well."""
        self._request = msgspec.structs.replace(self._request, limit=limit)
        self.ledger.request = self._request
        order = protocol.SetCastLimit(self._cast, limit)
        await self._tell({self._request.source, *self._recipients}, order)
        self._changed()

    async def _carry_out(self) -> None:
        self._advance(CastEvent.STARTED)
        survey = await self.survey()
        self._leave_out(survey)
        await self._start(survey)
        await self._until(self._all_ended)
        await self._settle()

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

    async def forget(self) -> None:
        """Have everybody free what the cast holds."""
        order = protocol.ForgetCast(self._cast)
        await self._tell({self._request.source, *self._recipients}, order)

    def _leave_out(self, survey: Survey) -> None:
        """Recipients that can't take it fail before the first byte, and touch nobody else."""
        now = self._clock()
        for node, failure in survey.problems.items():
            self.ledger.end_delivery(node, DeliveryEvent.FAILED, now, failure)
            self._handled.add(node)
        if survey.problems and not (self._request.leave_out and self.ledger.unfinished):
            self._end_all(DeliveryEvent.CANCELLED, Failure(FailureKind.CANCELLED))
            raise CastRayError.of(next(iter(survey.problems.values())))

    async def _start(self, survey: Survey) -> None:
        """Plan the chain and set everybody going."""
        self._algorithms = common_algorithms(self._hellos(self._request.source, *self.ledger.unfinished))
        self._group_by_storage(survey)
        writers = [node for node in self.ledger.unfinished if node not in self._sharing]
        zones = {name: info.zone for name, info in self._agents.nodes.items()}
        route = plan_chain(self._request.source, writers, zones)
        self.ledger.planned(route)
        self._advance(CastEvent.PREPARED)
        serve = protocol.ServeSource(
            self._cast, self._secret, route.epoch, self._algorithms, self._request.limit
        )
        await self._call(self._request.source, serve)
        if self._all_ended():  # who was lost meanwhile is not on the route any more
            return
        self._delivering = True
        on_route = self.ledger.route.upstreams if self.ledger.route else ()
        orders = {node: self._delivery_order(node) for node in on_route}
        await asyncio.gather(*(self._deliver(node, order) for node, order in orders.items()))

    def _hellos(self, *nodes: str) -> Iterator[protocol.AgentHello]:
        """Of those that are there; the others have no part in the cast."""
        for node in nodes:
            with contextlib.suppress(CastRayError):
                yield self._agents.hello(node)

    def _group_by_storage(self, survey: Survey) -> None:
        """Of several recipients that would write to the same folder, the first one writes for all."""
        writers: dict[str, str] = {}
        for node in self.ledger.unfinished:
            storage = survey.replies[node].storage
            if storage and storage in writers:
                self._sharing[node] = writers[storage]
            else:
                writers[storage] = node

    def _delivery_order(self, node: str) -> protocol.StartDelivery:
        totals, route = self.ledger.totals, self.ledger.route
        if totals is None or route is None:
            raise RuntimeError("a delivery before its plan")
        return protocol.StartDelivery(
            cast=self._cast,
            secret=self._secret,
            epoch=route.epoch,
            upstream=self._upstream(route.upstream_of(node)),
            totals=totals,
            algorithms=self._algorithms,
            destination=self._request.destination,
            on_conflict=self._request.on_conflict.value,
            limit=self._request.limit,
        )

    async def _deliver(self, node: str, order: protocol.StartDelivery) -> None:
        self._begun.add(node)
        try:
            await self._call(node, order)
        except CastRayError as error:
            self._lose(node, error.failure)

    def _upstream(self, node: str) -> protocol.Upstream:
        hello = self._agents.hello(node)
        return protocol.Upstream(node, hello.address, hello.port, hello.host, hello.local_path)

    # --- while it runs --------------------------------------------------------------------------

    def _all_ended(self) -> bool:
        """React to the news, then say whether everything has ended."""
        if self._source_gone():
            self._end_all(DeliveryEvent.FAILED, self._source_failure())
            return True
        for node in self._lost.keys() & set(self.ledger.unfinished):
            self.ledger.end_delivery(node, DeliveryEvent.FAILED, self._clock(), self._lost[node])
        for node in self._recipients:
            if self.ledger.delivery(node).state.finished and node not in self._handled:
                self._handled.add(node)
                self._delivery_ended(node)
        for node in self._lost:
            self._bypass(node)  # one that had everything served others still
        self._go_around()
        self._seal()
        if self.ledger.all_bytes_there and self.ledger.state is CastState.SENDING:
            self._advance(CastEvent.ALL_BYTES)
        return not self.ledger.unfinished

    def _delivery_ended(self, node: str) -> None:
        """Whoever depended on `node` goes on without it."""
        snapshot = self.ledger.delivery(node)
        followers = [follower for follower, writer in self._sharing.items() if writer == node]
        if snapshot.state.delivered:
            for follower in followers:
                self.ledger.share(follower, node, self._clock())
            return
        if snapshot.failure is not None and snapshot.failure.kind in _SOURCE_FAULTS:
            for follower in followers:  # it goes on serving what it has, which is all there is
                self.ledger.end_delivery(follower, DeliveryEvent.FAILED, self._clock(), snapshot.failure)
            return
        self._bypass(node)
        heir = self._heir(snapshot.failure, followers)
        if heir is not None:
            self._take_over(heir, [follower for follower in followers if follower != heir])
            return
        values = {"writer": node}
        for follower in followers:
            failure = Failure(FailureKind.WRITER_FAILED, values | {"node": follower})
            self.ledger.end_delivery(follower, DeliveryEvent.FAILED, self._clock(), failure)

    def _bypass(self, node: str) -> None:
        """Whoever fetches from `node` fetches from its upstream from now on."""
        if self.ledger.route is None or node not in self.ledger.route.upstreams:
            return
        route, moves = self.ledger.route.without(node)
        self.ledger.planned(route)
        for move in moves if self._delivering else ():
            self._spawn(self._move(move))

    def _go_around(self) -> None:
        """Whoever can't reach its upstream fetches from the one above it; above the source is nobody."""
        cut_off, self._cut_off = self._cut_off, {}
        for node, epoch in cut_off.items():
            route = self.ledger.route
            if route is None or node not in self.ledger.unfinished or epoch < self._moved.get(node, 0):
                continue
            upstream = route.upstreams.get(node, route.source)
            if upstream == route.source:
                continue
            changed, moves = route.moved(node, route.upstream_of(upstream))
            self._moved[node] = changed.epoch
            self.ledger.planned(changed)
            for move in moves:
                self._spawn(self._move(move))

    def _heir(self, failure: Failure | None, followers: list[str]) -> str | None:
        """The node that writes on when a writer went away; its disk's trouble would be theirs as well."""
        if failure is None or failure.kind not in _AWAY:
            return None
        return next((node for node in followers if node not in self._lost), None)

    def _take_over(self, heir: str, followers: list[str]) -> None:
        route = self.ledger.route
        if route is None:
            return
        del self._sharing[heir]
        self._sharing.update(dict.fromkeys(followers, heir))
        last = next(node for node in reversed(route.order()) if node not in self._lost)
        grown, _ = route.with_leaf(heir, last)
        self.ledger.planned(grown)
        if self._delivering:
            self._spawn(self._start_heir(heir, self._delivery_order(heir)))

    async def _start_heir(self, heir: str, order: protocol.StartDelivery) -> None:
        await self._deliver(heir, order)
        self._sealed = False  # the heir needs it too
        self._seal()

    async def _move(self, move: Move) -> None:
        route = self.ledger.route
        if route is None or move.node not in self.ledger.unfinished:
            return
        log.info("cast %s: %s fetches from %s now", self._cast, move.node, move.upstream)
        try:
            upstream = self._upstream(move.upstream)
        except CastRayError:
            return  # it has gone as well, and its own loss gives another move
        try:
            await self._call(move.node, protocol.SetUpstream(self._cast, route.epoch, upstream))
        except CastRayError as error:
            self._lose(move.node, error.failure)

    def _seal(self) -> None:
        """Hand the trailer's digest to everybody, once the source knows it."""
        report = self.ledger.source
        if self._sealed or not self._delivering:
            return
        if report is None or report.state is not SourceState.SEALED:
            return
        self._sealed = True
        seal = protocol.Seal(self._cast, report.trailer_digest)
        self._spawn(self._tell(set(self.ledger.unfinished) - set(self._sharing), seal))

    def _source_state(self) -> SourceState | None:
        if self._request.source in self._lost:
            return SourceState.FAILED
        return self.ledger.source.state if self.ledger.source is not None else None

    def _source_gone(self) -> bool:
        if self._request.source in self._lost:
            return True
        return self._source_state() in (SourceState.FAILED, SourceState.CANCELLED)

    def _source_failure(self) -> Failure:
        report = self.ledger.source
        if self._request.source in self._lost:
            return self._lost[self._request.source]
        return (report and report.failure) or offline(self._request.source)

    # --- ending ---------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Wait for the source's last count of what it sent; the result shall be exact."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._until(lambda: self.ledger.source_settled)

    async def _clean_up(self) -> None:
        """Have all agents end the cast, and wait until the recipients have removed their part files."""
        involved = {self._request.source, *self._recipients}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLEANUP_SECONDS):
                await self._tell(involved, protocol.CancelCast(self._cast))
                while any(self._is_busy(node) for node in self._recipients):
                    self._news.clear()
                    await self._news.wait()

    def _is_busy(self, node: str) -> bool:
        return node in self._begun and node not in self._lost and node not in self._stopped

    def _end_all(self, event: DeliveryEvent, failure: Failure) -> None:
        for node in self.ledger.unfinished:
            self.ledger.end_delivery(node, event, self._clock(), failure)

    def _advance(self, event: CastEvent, failure: Failure | None = None) -> None:
        self.ledger.advance(event, self._clock(), failure)
        self._changed()

    # --- talking to agents ----------------------------------------------------------------------

    async def _ask(self, node: str, totals: protocol.ParcelTotals) -> protocol.PreflightReply:
        info = self._agents.nodes.get(node)
        if info is None or info.state is not NodeState.ONLINE:
            return protocol.PreflightReply(failure=offline(node))
        order = protocol.Preflight(
            self._cast, self._request.destination, totals.top, totals.content_bytes, totals.entries
        )
        try:
            reply = await self._call(node, order)
        except CastRayError as error:
            return protocol.PreflightReply(failure=error.failure)
        return reply or protocol.PreflightReply(failure=offline(node))

    async def _call(self, node: str, order: protocol.Order) -> protocol.PreflightReply | None:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await self._agents.call(node, order)
        except TimeoutError:
            raise CastRayError(FailureKind.NODE_SILENT, node=node, seconds=int(CALL_SECONDS)) from None

    async def _tell(self, nodes: Iterable[str], order: protocol.Order) -> None:
        """An order whose loss does not matter, since the loss of a node is dealt with elsewhere."""
        await asyncio.gather(*(self._call(node, order) for node in nodes), return_exceptions=True)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._news.wait()
            self._news.clear()

    def _wake(self) -> None:
        self._news.set()
        self._changed()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
