"""When a move may be sent: never so that nodes could fetch from each other in a circle.

Orders take time, and their answers too, so a node may fetch from where it last said, or from where it
was last told. A move is due when its edge closes no circle with all of those edges together. There is
always one due once the answers are in: of the nodes that are not yet where the wanted route has them,
take one nearest to its source; all above it are in place, so the way up from its new upstream does not
lead through it. Hence every wanted route is reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

from castray_desktop.core.route import Move, Route


class Steering:
    """Leads the nodes of one cast from one route to the next.

    Whoever uses it sends what is `due` and says how each call ended. Of a node that has nothing yet, the
    move stands for its first order (the delivery itself).
    """

    def __init__(self, route: Route) -> None:
        self._wanted = route
        self._confirmed: dict[str, str] = {}
        self._pending: dict[str, Move] = {}
        self._missing = dict.fromkeys(route.order()[1:])  # to be sent, nearest to the source first

    @property
    def wanted(self) -> Route:
        """Where everything is to end."""
        return self._wanted

    @property
    def confirmed(self) -> MappingProxyType[str, str]:
        """The upstream that each node last acknowledged."""
        return MappingProxyType(self._confirmed)

    @property
    def settled(self) -> bool:
        """Every node of the wanted route has acknowledged its place, and no answer is outstanding."""
        upstreams = self._wanted.upstreams
        return not self._pending and all(
            self._confirmed.get(node) == upstream for node, upstream in upstreams.items()
        )

    def edges(self) -> Iterator[tuple[str, str]]:
        """Every hop that may be in use: (node, upstream), as acknowledged and as last sent."""
        yield from self._confirmed.items()
        yield from ((move.node, move.upstream) for move in self._pending.values())

    def want(self, route: Route) -> None:
        """Lead to this route from now on. One that is not newer than the wanted one is ignored.

        The route's source fetches nothing, so what was on the way to it is forgotten.
        """
        if route.epoch <= self._wanted.epoch:
            return
        self._wanted = route
        self.gone(route.source)
        self._missing = {
            node: None
            for node in route.order()[1:]
            if node not in self._pending and self._confirmed.get(node) != route.upstreams[node]
        }

    def due(self) -> tuple[Move, ...]:
        """The moves that may be sent now; they count as sent."""
        if not self._missing:
            return ()
        upward = _Upward(self.edges())
        found: list[Move] = []
        for node in tuple(self._missing):
            upstream = self._wanted.upstreams[node]
            if upward.leads(upstream, node):
                continue
            upward.add(node, upstream)
            del self._missing[node]
            self._pending[node] = Move(node, upstream, self._wanted.epoch)
            found.append(self._pending[node])
        return tuple(found)

    def acknowledged(self, move: Move) -> None:
        """The node has taken the order. Answers to orders that are not outstanding are ignored."""
        if self._pending.get(move.node) == move:
            del self._pending[move.node]
            self._confirmed[move.node] = move.upstream
            if self._wanted.upstreams.get(move.node, move.upstream) != move.upstream:
                self._missing[move.node] = None

    def refused(self, move: Move) -> None:
        """The node is there and has not taken the order; it is not asked again before the next route."""
        if self._pending.get(move.node) == move:
            del self._pending[move.node]

    def gone(self, node: str) -> None:
        """The node fetches nothing any more, and what it was told does not count.

        If it is on the wanted route all the same, it is to begin anew: its move is due again.
        """
        self._confirmed.pop(node, None)
        self._pending.pop(node, None)
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
