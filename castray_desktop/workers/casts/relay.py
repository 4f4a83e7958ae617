"""The relay of a running cast: its route, and the orders that make the route true."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable

from castray_desktop.core.failure import CastRayError, Failure
from castray_desktop.core.route import NOWHERE, Move, Route
from castray_desktop.core.steering import Steering
from castray_desktop.workers.agents import Agents
from castray_desktop.workers.casts.ledger import CastLedger
from castray_desktop.workers.casts.orders import Orders
from castray_desktop.workers.ray_side import protocol

log = logging.getLogger("castray.cast")


class Relay:
    """Changes the route, and tells every node that this concerns, in an order that is safe.

    `start_order(node, epoch, upstream)` makes the order for a node that does not fetch yet; `feeds(node)`
    says whether others may fetch from it now; `failed(node, failure)` hears of an order that did not get
    there, `done()` of one that did.
    """

    def __init__(
        self,
        ledger: CastLedger,
        agents: Agents,
        orders: Orders,
        start_order: Callable[[str, int, protocol.Upstream], protocol.StartDelivery],
        feeds: Callable[[str], bool],
        failed: Callable[[str, Failure], None],
        done: Callable[[], None],
    ) -> None:
        self.fetching: set[str] = set()  # whose present agent has taken the order to fetch
        self.told: set[str] = set()  # to whose present agent that order is on its way at least
        self._ledger = ledger
        self._agents = agents
        self._orders = orders
        self._start_order = start_order
        self._feeds = feeds
        self._failed = failed
        self._done = done
        self.ordered: dict[str, int] = {}  # the epoch of the last order that a node was given
        self._steering: Steering | None = None
        self._under_way: dict[str, asyncio.Future[None]] = {}  # the last order that was not answered yet
        self._feeds_told = 0  # how often the root has changed
        self._lives: dict[str, int] = defaultdict(int)  # how many agents of a node have gone

    @property
    def route(self) -> Route | None:
        """Who is to fetch from whom; None before there is a plan."""
        return self._ledger.route

    def begin(self, route: Route) -> None:
        """The first plan."""
        self._steering = Steering(route)
        self._ledger.planned(route)

    def change(self, route: Route) -> None:
        """From now on this is the route. `pump` gives the orders."""
        self._ledger.planned(route)
        if self._steering is not None:
            self._steering.want(route)

    def lost(self, node: str) -> None:
        """The node's agent has gone, and with it what it was told."""
        self._lives[node] += 1
        self._under_way.pop(node, None)
        self.fetching.discard(node)
        self.told.discard(node)
        self.leave(node)

    def leave(self, node: str) -> None:
        """The node is not part of the relay any more; what fetched from it goes below its upstream."""
        if self.route is not None and self._steering is not None:
            self._steering.gone(node)
            self.change(self.route.without(node)[0])

    def is_fed(self, node: str) -> bool:
        """Whether the route has an upstream for the node."""
        return self.route is not None and node in self.route.upstreams

    def rest(self, node: str) -> None:
        """Like `leave`, for a node that is there and shall fetch nothing for now; `part` tells it.

        It may come back to the route; then its order is to change its upstream.
        """
        if self.route is not None:
            self.change(self.route.without(node)[0])

    async def parted(self, nodes: Iterable[str]) -> None:
        """Returns when those of the nodes that are not on the route fetch nothing, or have gone."""
        chosen, steering = tuple(nodes), self._steering
        while steering is not None:
            self.part()
            parting = [self._under_way.get(node) for node in chosen if steering.parts(node)]
            under_way = [order for order in parting if order is not None and not order.done()]
            if not under_way:
                return
            await asyncio.wait(under_way)

    async def tell(self, order: protocol.Order) -> None:
        """An order to the source and to everybody who was told to fetch, or is just being told.

        Nobody gets it before the orders that it has not answered yet. Its loss does not matter, since the
        loss of a node is dealt with elsewhere.
        """
        nodes = sorted({self._ledger.request.source, *self.told, *self._under_way})
        work = (self._tell(node, order, self._lives[node], self._under_way.get(node)) for node in nodes)
        await asyncio.gather(*work)

    async def _tell(
        self, node: str, order: protocol.Order, life: int, before: asyncio.Future[None] | None
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
        if self._lives[node] == life:
            await self._orders.tell((node,), order)

    def life(self, node: str) -> int:
        """How many agents of the node have gone; an answer of an earlier one says nothing any more."""
        return self._lives[node]

    def feed_from(self, root: str) -> None:
        """The bytes come from `root` now, or its agent is another one: those below it are told so again."""
        route = self.route
        if route is None or self._steering is None:
            return
        self._feeds_told += 1
        route = route.rerooted(root)[0]
        there = self._steering.confirmed
        for node in route.below(root):
            # Who has not taken its place below the root yet fetches from another node until it does so, and
            # who has not answered is told again when its answer is there.
            if there.get(node) == root and node not in self._under_way:
                self._steering.outdated(node)
        self.change(route)

    def pump(self) -> None:
        """Give the orders that may be given now."""
        if self._steering is not None:
            while moves := self._steering.due():
                self._give(self._steering, moves)

    def part(self) -> None:
        """Give only those to fetch nothing: they may be given whether it is the cast's turn or not."""
        if self._steering is not None:
            self._give(self._steering, self._steering.due_partings())

    def _give(self, steering: Steering, moves: tuple[Move, ...]) -> None:
        for move in moves:
            if self._ledger.delivery(move.node).state.finished:
                steering.acknowledged(move)  # it only feeds, and needs no upstream
            else:
                self.ordered[move.node] = move.epoch
                before = self._under_way.get(move.node)
                work = self._carry_out(move, self._lives[move.node], before)
                self._under_way[move.node] = self._orders.spawn(work)

    async def _carry_out(self, move: Move, life: int, before: asyncio.Future[None] | None) -> None:
        """`before` is the order that the node has not answered yet: this one must not overtake it."""
        if before is not None:
            await asyncio.wait([before])
        if self._lives[move.node] != life:
            return
        node, told = move.node, self._feeds_told
        order = self._order(move)
        if order is None:
            self._not_begun(move)
            return
        self.told.add(node)
        try:
            await self._orders.call(node, order)
        except CastRayError as error:
            if self._lives[node] == life:
                self._failed(node, error.failure)
            return
        if self._lives[node] != life or self._steering is None:
            return
        log.info("cast %s: %s fetches from %s now", self._ledger.cast, node, move.upstream or "nobody")
        self.fetching.add(node)
        if self._under_way.get(node) is asyncio.current_task():
            del self._under_way[node]
        self._steering.acknowledged(move)
        if told != self._feeds_told and move.upstream == self._steering.wanted.source:
            self._steering.outdated(node)  # it was told where the root had been before
        self._done()

    def _not_begun(self, move: Move) -> None:
        """There is nothing to begin with now, or nothing to end."""
        if move.upstream != NOWHERE:
            self.leave(move.node)
        elif self._steering is not None:
            self._steering.gone(move.node)
            self._done()

    def _order(
        self, move: Move
    ) -> protocol.StartDelivery | protocol.SetUpstream | protocol.PauseDelivery | None:
        """What brings the move about; None for one that has not begun, and has nobody to begin with."""
        told, cast = move.node in self.told, self._ledger.cast
        if move.upstream == NOWHERE:
            return protocol.PauseDelivery(cast, move.epoch) if told else None
        upstream = self._upstream(move.upstream)
        if told:
            return protocol.SetUpstream(cast, move.epoch, upstream)
        return self._start_order(move.node, move.epoch, upstream) if upstream is not None else None

    def _upstream(self, node: str) -> protocol.Upstream | None:
        """Where to fetch from, if anybody can at the moment."""
        if not self._feeds(node):
            return None
        try:
            hello = self._agents.hello(node)
        except CastRayError:
            return None  # it has gone as well, and its own loss gives another move
        return protocol.Upstream(node, hello.address, hello.port, hello.host, hello.local_path)
