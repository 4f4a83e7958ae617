"""Multicast of a running cast that asks for it: who listens where, and what the source is told.

The relay runs as well; it brings what does not come by datagrams. So nothing here can fail a cast: each way
in which multicast ends is a state that says why (`MulticastEnd`), and the relay does the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from statistics import median_low

from castray_desktop.core.absence import Absences
from castray_desktop.core.back_off import BackOff
from castray_desktop.core.errors import sentence
from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.core.feed import FeedState
from castray_desktop.core.messages import Ways
from castray_desktop.core.multicast import MulticastEnd, MulticastState
from castray_desktop.core.route import Route
from castray_desktop.workers.agents import Agents
from castray_desktop.workers.casts.feeding import Feeding
from castray_desktop.workers.casts.group_addresses import GroupAddresses
from castray_desktop.workers.casts.ledger import CastLedger
from castray_desktop.workers.casts.orders import Orders
from castray_desktop.workers.casts.relay import Relay
from castray_desktop.workers.ray_side.protocol import (
    AgentHello,
    Listen,
    Multicast,
    MulticastGroup,
)

DEAF_SECONDS = 1.5
"""Whoever was told to listen this long ago, and does not, gets everything by the relay."""

FAR_BYTES = 4 << 20
"""Whoever lacks more than this, and much more than those below it, holds them up."""

REJOIN_SECONDS = 30.0
"""Whoever could not follow tries again after so long: the stream may be slower by now, or its link faster.
Then after twice as long, and so on, since its connection to its upstream begins anew each time."""

REJOIN_LEFT_SECONDS = 10.0
"""With less than this to go it stays with the relay."""

log = logging.getLogger("castray.cast")


class Multicasting:
    """Has recipients listen, and gives the source its orders; agents that came back get theirs again.

    It does nothing for a cast with another transport. `done()` hears of an order that was answered.
    """

    def __init__(
        self,
        ledger: CastLedger,
        agents: Agents,
        orders: Orders,
        relay: Relay,
        feed: Feeding,
        absences: Absences,
        clock: Callable[[], float],
        done: Callable[[], None],
        groups: GroupAddresses,
    ) -> None:
        self._ledger = ledger
        self._cast, self._source = ledger.cast, ledger.request.source
        self._agents = agents
        self._orders = orders
        self._relay = relay
        self._feed = feed
        self._absences = absences
        self._clock = clock
        self._done = done
        self._groups = groups
        self._group: MulticastGroup | None = None  # while recipients are told to listen
        self._over = ledger.request.transport is not Ways.UDP  # the relay does the rest
        self._rate = 0  # bytes per second that the source paced itself to, for its next agent; 0: not known
        self._told: dict[str, tuple[int, float]] = {}  # which agent of a node was told to listen, and when
        self._calling: set[str] = set()  # with an order to listen that has not been answered
        self._paused: frozenset[str] = frozenset()  # who takes nothing at the moment
        self._heard: set[str] = set()  # who has listened
        self._moved: set[str] = set()  # to the tail, since they don't
        self._back_off = BackOff(REJOIN_SECONDS)
        self._life = 0  # which agent of the source the group is of
        self._ordered: frozenset[str] = frozenset()  # the listeners that it was told
        self._ordering = False

    # --- for the relay --------------------------------------------------------------------------

    def group_for(self, node: str) -> MulticastGroup | None:
        """Where a node is to listen that is told to fetch now."""
        if self._group is None or not self._can_listen(node):
            return None
        self._told[node] = self._relay.life(node), self._clock()
        return self._group

    @property
    def sends(self) -> bool:
        """Whether recipients get their bytes otherwise than along the route."""
        return self._group is not None and self._ledger.multicast.sends

    # --- steps ----------------------------------------------------------------------------------

    def go_on(self) -> None:
        """Take the steps that the news ask for."""
        route = self._relay.route
        if route is None:
            return
        self._look_at_paused()
        if not self._over:
            self._heed_source()
        if self._feed.state is not FeedState.SERVING:
            return
        self._make_way(route)
        if self._over:
            return
        if self._group is None:
            self._begin(route)
        if self._group is not None:
            self._follow_source()
            self._have_listen()
            self._let_rejoin()
            self._order()

    def close(self) -> None:
        """The cast has ended."""
        self._groups.free(self._cast)

    # --- whether --------------------------------------------------------------------------------

    def _begin(self, route: Route) -> None:
        """Give the cast a group, if anybody can listen to it."""
        source = self._hello(self._source)
        if source is None:
            return
        listeners = self._possible(route)
        if any(hello.encrypted for hello in (source, *listeners)):
            self._give_up(MulticastEnd.ENCRYPTED)
        elif not listeners:
            self._ledger.multicast.stop(MulticastEnd.NOBODY)  # unless one joins
        else:
            self._life = self._relay.life(self._source)
            self._group = self._groups.take(self._cast, source.address, len(self._ledger.unfinished))
            self._ledger.multicast.tried()
            log.info("cast %s: to group %s, port %d", self._cast, self._group.address, self._group.port)

    def _possible(self, route: Route) -> list[AgentHello]:
        """Those who fetch, or will, and could listen."""
        nodes = (node for node in route.upstreams if not self._ledger.delivery(node).state.finished)
        return [
            hello for node in nodes if self._can_listen(node) and (hello := self._hello(node)) is not None
        ]

    def _can_listen(self, node: str) -> bool:
        """Whether a node is there, and does not get everything by the local way."""
        source, hello = self._hello(self._source), self._hello(node)
        if source is None or hello is None or node in self._absences:
            return False
        return not (source.host == hello.host and source.local_path and hello.local_path)

    def _hello(self, node: str) -> AgentHello | None:
        try:
            return self._agents.hello(node)
        except CastRayError:
            return None

    # --- who listens ----------------------------------------------------------------------------

    def _look_at_paused(self) -> None:
        """A paused recipient leaves the group; when it goes on, it needs a while to be there again."""
        paused = frozenset(self._ledger.paused)
        for node in self._paused - paused:
            if node in self._told:
                self._told[node] = self._told[node][0], self._clock()
            self._heard.discard(node)
            self._moved.discard(node)
        self._paused = paused

    def _have_listen(self) -> None:
        """Those who fetch already are told to listen as well."""
        for node in self._relay.fetching:
            unfinished = not self._ledger.delivery(node).state.finished
            told = self._told.get(node, (-1, 0.0))[0] == self._relay.life(node)
            if not told and unfinished and self._can_listen(node):
                self._call(node)

    def _let_rejoin(self) -> None:
        """Who could not follow tries again after a while, if that is worth it."""
        left = [
            node
            for node in self._listeners()
            if node in self._relay.fetching and self._has_left(node) and self._has_heard(node)
        ]
        due = self._back_off.due(left, self._clock())
        if not due or self._left_bytes() < REJOIN_LEFT_SECONDS * self._ledger.multicast.rate:
            return
        for node in due:
            log.info("cast %s: %s tries to follow the group again", self._cast, node)
            self._back_off.tried(node)
            self._heard.discard(node)
            self._moved.discard(node)
            self._call(node)

    def _left_bytes(self) -> int:
        """Bytes of the stream that the middle one of those lacks who were told to listen."""
        verified = (self._ledger.verified_bytes(node) for node in self._listeners())
        return self._ledger.stream_bytes - median_low(verified)

    def _has_heard(self, node: str) -> bool:
        """Whether it got anything by the group; for who does not, there is a filter on the way."""
        return self._ledger.delivery(node).datagram_bytes > 0

    def _call(self, node: str) -> None:
        """Have a node listen that fetches already."""
        self._told[node] = self._relay.life(node), self._clock()
        self._calling.add(node)
        self._orders.spawn(self._tell_to_listen(node, self._group))

    async def _tell_to_listen(self, node: str, group: MulticastGroup | None) -> None:
        await self._orders.tell((node,), Listen(self._cast, group))
        self._calling.discard(node)
        self._done()

    def _listeners(self) -> tuple[str, ...]:
        """Who listens, as far as orders go."""
        return tuple(node for node in self._told_to_listen() if node not in self._paused)

    def _told_to_listen(self) -> tuple[str, ...]:
        """Whose present agent was told to listen, and has not finished."""
        return tuple(
            node
            for node, (life, _) in self._told.items()
            if life == self._relay.life(node)
            and node not in self._absences
            and not self._ledger.delivery(node).state.finished
        )

    def _leave_group(self) -> None:
        """Nothing comes any more; what is missing is not to be waited for."""
        self._group, self._over = None, True
        for node in self._told_to_listen():
            if node in self._relay.fetching:
                self._orders.spawn(self._tell_to_listen(node, None))

    def _make_way(self, route: Route) -> None:
        """Who can't follow feeds nobody who can, also once all is sent: it would keep digests and repairs
        from them."""
        if not self.sends and not self._heard:
            return
        self._heard |= {node for node in self._told if self._ledger.delivery(node).listening}
        children = route.children()
        for node in route.order()[1:]:
            if node in self._moved or not self._has_left(node):
                continue
            if any(self._holds_up(node, child) for child in children.get(node, ())):
                log.info("cast %s: %s can't follow the group", self._cast, node)
                self._moved.add(node)
                self._relay.change(route.to_tail(node)[0])
                return

    def _holds_up(self, node: str, child: str) -> bool:
        """Whether a node that does not listen lacks what one below it waits for."""
        lacks, waits_for = (
            self._ledger.stream_bytes - self._ledger.verified_bytes(at) for at in (node, child)
        )
        if self.sends and self._ledger.delivery(child).listening:
            return lacks > 0
        return waits_for > 0 and lacks > max(2 * waits_for, FAR_BYTES)

    def _has_left(self, node: str) -> bool:
        """Whether a node was told to listen, and does not."""
        if node not in self._told or self._ledger.delivery(node).listening:
            return False
        return node in self._heard or self._clock() - self._told[node][1] >= DEAF_SECONDS

    # --- the source -----------------------------------------------------------------------------

    def _heed_source(self) -> None:
        """Act upon what the source reports of it."""
        report = self._ledger.multicast.report
        if self._feed.state is FeedState.REPLACED and self._group is not None:
            self._give_up(MulticastEnd.SOURCE_LOST)
        elif self._group is None or report is None:
            return
        elif report.state is MulticastState.STOPPED:
            log.info("cast %s: no multicast any more: %s", self._cast, report.end)
            self._leave_group()
        elif report.state is MulticastState.DONE:
            self._group, self._over = None, True
        elif report.state is MulticastState.SENDING:
            self._rate = report.rate

    def _follow_source(self) -> None:
        """Another agent of the source has another group: all have left the first one, or are about to."""
        life, source = self._relay.life(self._source), self._hello(self._source)
        if life == self._life or source is None:
            return
        self._groups.free(self._cast)
        listeners = len(self._ledger.unfinished)
        self._group = self._groups.take(self._cast, source.address, listeners, life)
        self._life, self._ordered = life, frozenset()
        self._told.clear()
        self._heard.clear()

    def _give_up(self, end: MulticastEnd, reason: str = "") -> None:
        self._ledger.multicast.stop(end, reason)
        self._leave_group()

    def _order(self) -> None:
        """Tell the source who listens, once somebody does, and whenever there are more of them."""
        listeners = self._listeners()
        there = any(node in self._relay.fetching and node not in self._calling for node in listeners)
        if there and not self._ordering and not self._ordered.issuperset(listeners):
            self._ordering, self._ordered = True, frozenset(listeners)
            self._orders.spawn(self._tell_source(listeners, self._life))

    async def _tell_source(self, listeners: tuple[str, ...], life: int) -> None:
        order = Multicast(self._cast, self._group, listeners, self._rate)
        try:
            if life == self._relay.life(self._source):
                await self._orders.call(self._source, order)
        except CastRayError as error:
            lost = error.failure.kind is FailureKind.NODE_OFFLINE or life != self._relay.life(self._source)
            if not lost and not self._over:
                self._give_up(MulticastEnd.NO_NETWORK, sentence(error.failure))
        finally:
            self._ordering = False
        self._done()
