"""When a move may be sent, so that nodes never fetch from each other in a cycle.

Orders and their acknowledgements take time, so a node may fetch from where it last acknowledged or from
where it was last told. A move is due when its edge closes no cycle with all of those edges together. One
is always due once the acknowledgements are in: of the nodes that are not yet where the target route has
them, take one nearest to the source; all above it are in place, so the path up from its new upstream does
not lead through it. Hence every target route is reached.

What a node is told follows from the target route alone:

    | the node                         | is on the route           | is not                         |
    | -------------------------------- | ------------------------- | ------------------------------ |
    | fetches, or may do so            | is moved, if elsewhere    | is told to fetch nothing       |
    | was told to fetch nothing        | is moved                  | stays detached                 |
    | has gone, or was never told      | starts                    | is not concerned               |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from castray_desktop.core.routing.route_plan import Route

NO_UPSTREAM = ""
"""The upstream of a detached node."""


@dataclass(frozen=True)
class Move:
    """An order to one node: fetch from `upstream` from now on, as of the route of that `epoch`."""

    node: str
    upstream: str
    epoch: int


class ReparentingPlan:
    """Moves the nodes of one cast from one route to the next.

    The caller sends `due_moves` and reports which ones were acknowledged. For a node without a delivery, the
    move is its first order.
    """

    def __init__(self, route: Route) -> None:
        self.target = route
        self.confirmed: dict[str, str] = {}  # the upstream that each node last acknowledged
        self._outdated: set[str] = set()  # acknowledged, but to be sent once more
        self._pending: dict[str, Move] = {}
        self._missing = dict.fromkeys(route.order()[1:])  # to be sent, nearest to the source first

    def edges(self) -> Iterator[tuple[str, str]]:
        """Every hop that may be in use: (node, upstream), as acknowledged and as last sent."""
        sent = ((move.node, move.upstream) for move in self._pending.values())
        for node, upstream in (*self.confirmed.items(), *sent):
            if upstream != NO_UPSTREAM:
                yield node, upstream

    def is_detaching(self, node: str) -> bool:
        """Whether the node is being detached and may still fetch."""
        known = node in self._pending or self.confirmed.get(node, NO_UPSTREAM) != NO_UPSTREAM
        return known and self._place_of(node) == NO_UPSTREAM

    def _is_in_place(self, node: str) -> bool:
        return self.confirmed.get(node) == self._place_of(node) and node not in self._outdated

    def _place_of(self, node: str) -> str:
        return self.target.upstreams.get(node, NO_UPSTREAM)

    def set_target(self, route: Route) -> None:
        """Set the target route. A route that is not newer than the target is ignored.

        Nodes that are not on it and have not gone are detached. The route's source need not be told, so its
        pending order is dropped.
        """
        if route.epoch <= self.target.epoch:
            return
        self.target = route
        self.forget_node(route.source)
        off_route = (node for node in self.confirmed if node not in route.upstreams)
        self._missing = {
            node: None
            for node in (*off_route, *route.order()[1:])
            if node not in self._pending and not self._is_in_place(node)
        }

    def due_detachments(self) -> tuple[Move, ...]:
        """Detachments that may be sent now; they count as sent."""
        return tuple(self._send(node) for node in tuple(self._missing) if self._place_of(node) == NO_UPSTREAM)

    def due_moves(self) -> tuple[Move, ...]:
        """The moves that may be sent now; they count as sent."""
        if not self._missing:
            return ()
        found = list(self.due_detachments())
        upward = _UpstreamGraph(self.edges())
        for node in tuple(self._missing):
            upstream = self._place_of(node)
            if upward.leads(upstream, node):
                continue
            upward.add(node, upstream)
            found.append(self._send(node))
        return tuple(found)

    def _send(self, node: str) -> Move:
        del self._missing[node]
        move = self._pending[node] = Move(node, self._place_of(node), self.target.epoch)
        return move

    def acknowledged(self, move: Move) -> None:
        """The node acknowledged the order. Answers to orders that are not outstanding are ignored."""
        if self._pending.get(move.node) == move:
            del self._pending[move.node]
            self.confirmed[move.node] = move.upstream
            self._outdated.discard(move.node)
            if self._place_of(move.node) != move.upstream:
                self._missing[move.node] = None

    def resend(self, node: str) -> None:
        """The address of the node's upstream has changed: its order has to be sent again.

        Until then it may fetch as before. An order that is outstanding is not sent again.
        """
        if node in self.confirmed and node not in self._pending:
            self._outdated.add(node)
            self._missing[node] = None

    def forget_node(self, node: str) -> None:
        """The node fetches nothing any more, and its orders are void.

        If it is on the target route, it starts over: its move is due again.
        """
        self.confirmed.pop(node, None)
        self._pending.pop(node, None)
        self._outdated.discard(node)
        self._missing.pop(node, None)
        if node in self.target.upstreams:
            self._missing[node] = None


class _UpstreamGraph:
    """The hops that may be in use, followed towards the source."""

    def __init__(self, edges: Iterator[tuple[str, str]]) -> None:
        self._above: dict[str, list[str]] = {}
        self._feeding: set[str] = set()
        for node, upstream in edges:
            self.add(node, upstream)

    def add(self, node: str, upstream: str) -> None:
        self._above.setdefault(node, []).append(upstream)
        self._feeding.add(upstream)

    def leads(self, start: str, target: str) -> bool:
        """Whether a path up from `start` passes `target`."""
        if start == target:
            return True
        if target not in self._feeding:  # no node fetches from it, so new nodes are cheap to check
            return False
        seen, waiting = {start}, [start]
        while waiting:
            for above in self._above.get(waiting.pop(), ()):
                if above == target:
                    return True
                if above not in seen:
                    seen.add(above)
                    waiting.append(above)
        return False
