"""When a move may be sent: never so that nodes could fetch from each other in a circle.

Orders take time, and their answers too, so a node may fetch from where it last said, or from where it
was last told. A move is due when its edge closes no circle with all of those edges together. There is
always one due once the answers are in: of the nodes that are not yet where the wanted route has them,
take one nearest to its source; all above it are in place, so the way up from its new upstream does not
lead through it. Hence every wanted route is reached.

What a node is to do follows from the wanted route alone:

| the node                         | is on the route           | is not                         |
| -------------------------------- | ------------------------- | ------------------------------ |
| fetches, or may do so            | is moved, if elsewhere    | is told to fetch nothing       |
| was told to fetch nothing        | is moved                  | rests                          |
| has gone, or was never told      | begins                    | is not concerned               |
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

from castray_desktop.core.route import NOWHERE, Move, Route


class Steering:
    """Leads the nodes of one cast from one route to the next.

    Whoever uses it sends what is `due` and says how each call ended. Of a node that has nothing yet, the
    move stands for its first order (the delivery itself).
    """

    def __init__(self, route: Route) -> None:
        self._wanted = route
        self._confirmed: dict[str, str] = {}
        self._outdated: set[str] = set()  # acknowledged, but to be sent once more
        self._pending: dict[str, Move] = {}
        self._missing = dict.fromkeys(route.order()[1:])  # to be sent, nearest to the source first

    @property
    def wanted(self) -> Route:
        """Where everything is to end."""
        return self._wanted

    @property
    def confirmed(self) -> MappingProxyType[str, str]:
        """The upstream that each node last acknowledged, `NOWHERE` for those that rest."""
        return MappingProxyType(self._confirmed)

    @property
    def settled(self) -> bool:
        """Every node has acknowledged the place that the wanted route gives it, and no answer is
        outstanding."""
        concerned = {*self._wanted.upstreams, *self._confirmed}
        return not self._pending and all(self._is_in_place(node) for node in concerned)

    def edges(self) -> Iterator[tuple[str, str]]:
        """Every hop that may be in use: (node, upstream), as acknowledged and as last sent."""
        sent = ((move.node, move.upstream) for move in self._pending.values())
        for node, upstream in (*self._confirmed.items(), *sent):
            if upstream != NOWHERE:
                yield node, upstream

    def parts(self, node: str) -> bool:
        """Whether the node is to fetch nothing, and may fetch still."""
        known = node in self._pending or self._confirmed.get(node, NOWHERE) != NOWHERE
        return known and self._place_of(node) == NOWHERE

    def _is_in_place(self, node: str) -> bool:
        return self._confirmed.get(node) == self._place_of(node) and node not in self._outdated

    def _place_of(self, node: str) -> str:
        return self._wanted.upstreams.get(node, NOWHERE)

    def want(self, route: Route) -> None:
        """Lead to this route from now on. One that is not newer than the wanted one is ignored.

        Who is not on it, and has not gone, is to fetch nothing. The route's source needs not be told that,
        so what was on the way to it is forgotten.
        """
        if route.epoch <= self._wanted.epoch:
            return
        self._wanted = route
        self.gone(route.source)
        off_route = (node for node in self._confirmed if node not in route.upstreams)
        self._missing = {
            node: None
            for node in (*off_route, *route.order()[1:])
            if node not in self._pending and not self._is_in_place(node)
        }

    def due_partings(self) -> tuple[Move, ...]:
        """The moves to nowhere, as far as they may be sent now; they count as sent."""
        return tuple(self._send(node) for node in tuple(self._missing) if self._place_of(node) == NOWHERE)

    def due(self) -> tuple[Move, ...]:
        """The moves that may be sent now; they count as sent."""
        if not self._missing:
            return ()
        found = list(self.due_partings())
        upward = _Upward(self.edges())
        for node in tuple(self._missing):
            upstream = self._place_of(node)
            if upward.leads(upstream, node):
                continue
            upward.add(node, upstream)
            found.append(self._send(node))
        return tuple(found)

    def _send(self, node: str) -> Move:
        del self._missing[node]
        move = self._pending[node] = Move(node, self._place_of(node), self._wanted.epoch)
        return move

    def acknowledged(self, move: Move) -> None:
        """The node has taken the order. Answers to orders that are not outstanding are ignored."""
        if self._pending.get(move.node) == move:
            del self._pending[move.node]
            self._confirmed[move.node] = move.upstream
            self._outdated.discard(move.node)
            if self._place_of(move.node) != move.upstream:
                self._missing[move.node] = None

    def refused(self, move: Move) -> None:
        """The node is there and has not taken the order; it is not asked again before the next route."""
        if self._pending.get(move.node) == move:
            del self._pending[move.node]

    def outdated(self, node: str) -> None:
        """Where the node was told to fetch from is somewhere else now: it has to be told once more.

        Until then it may fetch as before. An order that is outstanding is not sent again.
        """
        if node in self._confirmed and node not in self._pending:
            self._outdated.add(node)
            self._missing[node] = None

    def gone(self, node: str) -> None:
        """The node fetches nothing any more, and what it was told does not count.

        If it is on the wanted route all the same, it is to begin anew: its move is due again.
        """
        self._confirmed.pop(node, None)
        self._pending.pop(node, None)
        self._outdated.discard(node)
        self._missing.pop(node, None)
        if node in self._wanted.upstreams:
            self._missing[node] = None


class _Upward:
    """The hops that may be in use, to be followed towards the source."""

    def __init__(self, edges: Iterator[tuple[str, str]]) -> None:
        self._above: dict[str, list[str]] = {}
        self._feeding: set[str] = set()
        for node, upstream in edges:
            self.add(node, upstream)

    def add(self, node: str, upstream: str) -> None:
        self._above.setdefault(node, []).append(upstream)
        self._feeding.add(upstream)

    def leads(self, start: str, target: str) -> bool:
        """Whether some way up from `start` passes `target`."""
        if start == target:
            return True
        if target not in self._feeding:  # nobody fetches from it: new nodes cost nothing to look at
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
