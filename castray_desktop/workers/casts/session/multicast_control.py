"""Multicast of one cast: which recipients join which group, and what the source is told.

The relay runs in any case and brings what does not arrive by datagrams. So nothing here can fail a cast:
each way to end is a state that says why (`MulticastEnd`).
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
from collections.abc import Iterable

from castray_desktop.core.casts.states import FailoverState
from castray_desktop.core.casts.transfer_options import Encryption
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.multicast.datagrams import GROUP_PORTS, MulticastEnd, MulticastState, group_address
from castray_desktop.core.protocol.messages import TransportOption
from castray_desktop.core.protocol.nodes.agent_orders import JoinGroup, SendToGroup
from castray_desktop.core.protocol.nodes.agent_reports import AgentHello
from castray_desktop.core.protocol.nodes.cast_parcel import MulticastGroup
from castray_desktop.core.protocol.nodes.data_variables import PORTS_VARIABLE, parse_ports
from castray_desktop.core.routing.route_plan import Route
from castray_desktop.workers.casts.session.cast_route import RouteExecutor
from castray_desktop.workers.casts.session.session_context import SessionContext
from castray_desktop.workers.casts.session.source_failover import SourceFailover

HOPS_VARIABLE = "CASTRAY_MULTICAST_HOPS"
"""Hop limit of datagrams; default 1: they stay within the network."""

MAX_REPORTS = 500
"""Reports per second of all receivers together: the sender handles each."""

LONGEST_REPORT_SECONDS = 0.5
"""A receiver that is silent for twice this long counts as unable to follow."""

MAX_HOPS = 255

MAX_ATTEMPTS = 100
"""With few ports, two casts may have to share one; their addresses differ."""

JOIN_TIMEOUT_SECONDS = 1.5
"""A recipient that has not joined the group after this long receives everything by the relay."""

BEHIND_BYTES = 4 << 20
"""A node that lacks more than this, and much more than its downstreams, delays them."""

log = logging.getLogger("castray.cast")


def configured_hops() -> int:
    """The configured hop limit, else 1."""
    value = os.environ.get(HOPS_VARIABLE, "").strip()
    if value.isascii() and value.isdigit() and 1 <= int(value) <= MAX_HOPS:
        return int(value)
    if value:
        log.warning("%s=%s is not a number from 1 to %d; using 1", HOPS_VARIABLE, value, MAX_HOPS)
    return 1


def configured_ports() -> tuple[int, int]:
    """The configured data ports, else those of `core.multicast.datagrams`."""
    try:
        return parse_ports(os.environ.get(PORTS_VARIABLE, "")) or GROUP_PORTS
    except ValueError:  # no agent can start with these, and each says why
        return GROUP_PORTS


class MulticastGroups:
    """Allocates and releases multicast groups. No two casts share an address or a port at the same time.

    A network device filters addresses, and a socket filters ports; sharing either would cost both casts.
    """

    def __init__(self) -> None:
        self._hops = configured_hops()
        self._ports = configured_ports()
        self._taken: dict[str, MulticastGroup] = {}

    def allocate(self, cast: str, source: str, listeners: int, incarnation: int = 0) -> MulticastGroup:
        """Allocate the group of a cast whose datagrams come from the address `source`; repeated calls return
        the same.

        `listeners` is the expected number of receivers; `incarnation` distinguishes the groups of the
        source's agents.
        """
        if cast not in self._taken:
            group = self._free_group(f"{cast} {incarnation}" if incarnation else cast, source)
            seconds = max(group.report_seconds, min(listeners / MAX_REPORTS, LONGEST_REPORT_SECONDS))
            self._taken[cast] = dataclasses.replace(group, report_seconds=seconds)
        return self._taken[cast]

    def release(self, cast: str) -> None:
        """The cast has ended."""
        self._taken.pop(cast, None)

    def _free_group(self, cast: str, source: str) -> MulticastGroup:
        addresses = {group.address for group in self._taken.values()}
        ports = {group.port for group in self._taken.values()}
        for attempt in itertools.count():
            address, port = group_address(cast, ":" in source, attempt, self._ports)
            if address not in addresses and (port not in ports or attempt > MAX_ATTEMPTS):
                break
        return MulticastGroup(address, port, source, self._hops)


class MulticastControl:
    """Has recipients listen, and gives the source its orders; agents that came back get theirs again.

    It does nothing for a cast with another transport.
    """

    def __init__(
        self,
        context: SessionContext,
        executor: RouteExecutor,
        failover: SourceFailover,
        groups: MulticastGroups,
    ) -> None:
        self._context = context
        self._status = context.status
        self._executor = executor
        self._failover = failover
        self._groups = groups
        self._group: MulticastGroup | None = None  # while recipients are told to listen
        # Without multicast, the relay delivers everything.
        self._over = context.status.request.options.transport is not TransportOption.UDP
        self._told: dict[str, tuple[int, float]] = {}  # which agent of a node was told to listen, and when
        self._joining: set[str] = set()  # with an order to listen that has not been answered
        self._heard: set[str] = set()  # recipients that have listened
        self._moved: set[str] = set()  # to the tail, since they don't
        self._incarnation = 0  # which agent of the source the group is of
        self._ordered: frozenset[str] = frozenset()  # the listeners that it was told
        self._ordering = False

    # --- for the relay --------------------------------------------------------------------------

    def group_for(self, node: str) -> MulticastGroup | None:
        """The group for a node that is told to fetch now."""
        if self._group is None or not self._can_receive(node):
            return None
        self._told[node] = self._executor.incarnations[node], self._context.now
        return self._group

    @property
    def is_sending(self) -> bool:
        """Whether recipients receive by multicast instead of along the route."""
        return self._group is not None and self._status.multicast.sends

    # --- steps ----------------------------------------------------------------------------------

    def step(self) -> None:
        """Take the next steps."""
        route = self._status.route
        if route is None:
            return
        if not self._over:
            self._follow_report()
        if self._failover.state is not FailoverState.SERVING:
            return
        self._move_to_tail(route)
        if self._over:
            return
        if self._group is None:
            self._begin(route)
        if self._group is not None:
            self._follow_source()
            self._order_joins()
            self._order()

    def close(self) -> None:
        """The cast has ended."""
        self._groups.release(self._context.cast)

    # --- whether --------------------------------------------------------------------------------

    def _begin(self, route: Route) -> None:
        """Give the cast a group, if a recipient can listen to it."""
        source = self._context.agents.hello(self._context.source)
        if source is None:
            return
        listeners = self._possible(route)
        always = self._status.request.options.encrypt is Encryption.ALWAYS
        if always or any(hello.encrypted for hello in (source, *listeners)):
            self._give_up(MulticastEnd.ENCRYPTED)
        elif not listeners:
            self._status.multicast.stop(MulticastEnd.NOBODY)  # unless one joins
        else:
            self._incarnation = self._executor.incarnations[self._context.source]
            self._group = self._groups.allocate(
                self._context.cast, source.address, len(self._status.unfinished)
            )
            self._status.multicast.mark_tried()
            log.info(
                "cast %s: multicast group %s, port %d",
                self._context.cast,
                self._group.address,
                self._group.port,
            )

    def _possible(self, route: Route) -> list[AgentHello]:
        """Recipients that fetch, or will, and could receive multicast."""
        nodes = (node for node in route.upstreams if not self._status.delivery(node).state.finished)
        return [
            hello
            for node in nodes
            if self._can_receive(node) and (hello := self._context.agents.hello(node)) is not None
        ]

    def _can_receive(self, node: str) -> bool:
        """Whether a node is online and does not receive everything by the local transport."""
        source, hello = self._context.agents.hello(self._context.source), self._context.agents.hello(node)
        if source is None or hello is None or node in self._context.absences:
            return False
        return not (source.host == hello.host and source.local_path and hello.local_path)

    # --- who listens ----------------------------------------------------------------------------

    def recipients_resumed(self, nodes: Iterable[str]) -> None:
        """A recipient that was detached has left the group, and needs a while to rejoin."""
        for node in nodes:
            if self._executor.has_upstream(node):
                continue  # it was paused with the cast, and is still in the group
            if node in self._told:
                self._told[node] = self._told[node][0], self._context.now
            self._heard.discard(node)
            self._moved.discard(node)

    def _order_joins(self) -> None:
        """Let recipients that already fetch join as well."""
        for node in self._executor.fetching:
            unfinished = not self._status.delivery(node).state.finished
            told = self._told.get(node, (-1, 0.0))[0] == self._executor.incarnations[node]
            if not told and unfinished and self._can_receive(node):
                self._told[node] = self._executor.incarnations[node], self._context.now
                self._joining.add(node)
                self._context.background.run(self._tell_to_join(node, self._group))

    async def _tell_to_join(self, node: str, group: MulticastGroup | None) -> None:
        await self._context.broadcast((node,), JoinGroup(self._context.cast, group))
        self._joining.discard(node)
        self._context.wakeup.wake()

    def _told_to_join(self) -> tuple[str, ...]:
        """Nodes whose current agent was told to join, and which have not finished."""
        return tuple(
            node
            for node, (incarnation, _) in self._told.items()
            if incarnation == self._executor.incarnations[node]
            and node not in self._context.absences
            and not self._status.delivery(node).state.finished
        )

    def _leave_group(self) -> None:
        """The stream has ended; missing data must not be waited for."""
        self._group, self._over = None, True
        for node in self._told_to_join():
            if node in self._executor.fetching:
                self._context.background.run(self._tell_to_join(node, None))

    def _move_to_tail(self, route: Route) -> None:
        """A node that can't follow must not serve nodes that can, even after the end: it would delay digests
        and repairs."""
        if not self.is_sending and not self._heard:
            return
        self._heard |= {node for node in self._told if self._status.delivery(node).listening}
        children = route.downstreams
        for node in route.order()[1:]:
            if node in self._moved or not self._has_left(node):
                continue
            if any(self._holds_up(node, child) for child in children.get(node, ())):
                log.info("cast %s: %s can't keep up with the multicast group", self._context.cast, node)
                self._moved.add(node)
                self._executor.set_route(route.moved_to_tail(node))
                return

    def _holds_up(self, node: str, child: str) -> bool:
        """Whether a node without multicast lacks what a downstream waits for."""
        lacks, waits_for = (
            self._status.source.stream_bytes - self._status.verified_bytes(at) for at in (node, child)
        )
        if self.is_sending and self._status.delivery(child).listening:
            return lacks > 0
        return waits_for > 0 and lacks > max(2 * waits_for, BEHIND_BYTES)

    def _has_left(self, node: str) -> bool:
        """Whether a node was told to join and does not receive."""
        if node not in self._told or self._status.delivery(node).listening:
            return False
        return node in self._heard or self._context.now - self._told[node][1] >= JOIN_TIMEOUT_SECONDS

    # --- the source -----------------------------------------------------------------------------

    def _follow_report(self) -> None:
        """Act on the source's multicast report."""
        report = self._status.multicast.report
        if self._failover.state is FailoverState.REPLACED and self._group is not None:
            self._give_up(MulticastEnd.SOURCE_LOST)
        elif self._group is None or report is None:
            return
        elif report.state is MulticastState.STOPPED:
            log.info("cast %s: multicast stopped: %s", self._context.cast, report.end)
            self._leave_group()
        elif report.state is MulticastState.DONE:
            self._group, self._over = None, True

    def _follow_source(self) -> None:
        """A new agent of the source has another group: all have left the first one, or are about to."""
        incarnation, source = (
            self._executor.incarnations[self._context.source],
            self._context.agents.hello(self._context.source),
        )
        if incarnation == self._incarnation or source is None:
            return
        self._groups.release(self._context.cast)
        listeners = len(self._status.unfinished)
        self._group = self._groups.allocate(self._context.cast, source.address, listeners, incarnation)
        self._incarnation, self._ordered = incarnation, frozenset()
        self._told.clear()
        self._heard.clear()

    def _give_up(self, end: MulticastEnd, reason: str = "") -> None:
        self._status.multicast.stop(end, reason)
        self._leave_group()

    def _order(self) -> None:
        """Send the source its receivers, once there is one, and whenever there are more."""
        listeners = tuple(node for node in self._told_to_join() if not self._status.is_recipient_paused(node))
        there = any(node in self._executor.fetching and node not in self._joining for node in listeners)
        if there and not self._ordering and not self._ordered.issuperset(listeners):
            self._ordering, self._ordered = True, frozenset(listeners)
            self._context.background.run(self._tell_source(listeners, self._incarnation))

    async def _tell_source(self, listeners: tuple[str, ...], incarnation: int) -> None:
        order = SendToGroup(self._context.cast, self._group, listeners)
        try:
            if incarnation == self._executor.incarnations[self._context.source]:
                await self._context.agents.call(self._context.source, order)
        except CastRayError as error:
            lost = (
                error.failure.kind is FailureKind.NODE_OFFLINE
                or incarnation != self._executor.incarnations[self._context.source]
            )
            if not lost and not self._over:
                self._give_up(MulticastEnd.NO_NETWORK, sentence(error.failure))
        finally:
            self._ordering = False
        self._context.wakeup.wake()
