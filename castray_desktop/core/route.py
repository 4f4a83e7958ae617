"""Who fetches from whom: the relay chain, planned and changed without any clock or socket.

A route is a tree of hops with the source as its root. Today's plans are one chain, as the Google
File System pushes data (Ghemawat, Gobioff and Leung, SOSP 2003, section 3.2): R recipients take
about B/T + R*L. Every change is one kind of move, *change the upstream*, and carries a new epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Move:
    """An order to one node: fetch from `upstream` from now on."""

    node: str
    upstream: str


@dataclass(frozen=True)
class Route:
    """The upstream of every recipient. Without cycles; every path ends at the source."""

    source: str
    upstreams: Mapping[str, str]
    epoch: int = 1

    def upstream_of(self, node: str) -> str:
        """Where `node` fetches from. Raises KeyError for a node that is not on the route."""
        return self.upstreams[node]

    def below(self, node: str) -> tuple[str, ...]:
        """The nodes that fetch from `node` directly."""
        return tuple(child for child, upstream in self.upstreams.items() if upstream == node)

    def order(self) -> tuple[str, ...]:
        """The source, then every recipient after its upstream."""
        result = [self.source]
        for node in result:
            result.extend(self.below(node))
        return tuple(result)

    def without(self, node: str) -> tuple[Route, tuple[Move, ...]]:
        """The route after `node` has dropped out: what was below it goes below its upstream."""
        if node not in self.upstreams:
            return self, ()
        upstream = self.upstreams[node]
        orphans = self.below(node)
        changed = {child: upstream if parent == node else parent for child, parent in self.upstreams.items()}
        del changed[node]
        moves = tuple(Move(child, upstream) for child in orphans)
        return Route(self.source, MappingProxyType(changed), self.epoch + 1), moves

    def with_leaf(self, node: str, upstream: str) -> tuple[Route, tuple[Move, ...]]:
        """The route with a new `node` that nobody fetches from yet. Raises KeyError, ValueError."""
        if node == self.source or node in self.upstreams:
            raise ValueError(f"{node} is on the route")
        return self.moved(node, upstream)

    def moved(self, node: str, upstream: str) -> tuple[Route, tuple[Move, ...]]:
        """The route with `node` below `upstream`, and what is below `node` going with it.

        Raises ValueError when that would close a circle, KeyError for an unknown node.
        """
        if upstream != self.source and upstream not in self.upstreams:
            raise KeyError(upstream)
        above = upstream
        while above != self.source:
            if above == node:
                raise ValueError(f"{upstream} is below {node}")
            above = self.upstreams[above]
        changed = dict(self.upstreams) | {node: upstream}
        return Route(self.source, MappingProxyType(changed), self.epoch + 1), (Move(node, upstream),)


def plan_chain(source: str, recipients: Iterable[str], zones: Mapping[str, str] | None = None) -> Route:
    """One chain through all recipients that crosses each border between zones once.

    The source's own zone comes first, then the others by name; within a zone the given order holds.
    """
    zones = zones or {}
    own = zones.get(source, "")
    ordered = sorted(recipients, key=lambda node: (zones.get(node, "") != own, zones.get(node, "")))
    upstreams: dict[str, str] = {}
    above = source
    for node in ordered:
        upstreams[node] = above
        above = node
    return Route(source, MappingProxyType(upstreams))
