"""The relay route: who fetches from whom, planned and changed without clock or sockets.

A route is a tree of hops with the node that feeds all others as its root. Every change gives another route
with a new epoch; `core.routing.reparenting` says when which node may be told.

A chain moves B bytes to R recipients in B/T + R*L over links of T bytes per second with a latency of L
for each hop (Ghemawat, Gobioff and Leung, *The Google File System*, SOSP 2003, section 3.2). A node that
feeds k others divides its link among them, k*B/T, but R nodes are then only about log R hops deep: the
trade of depth against fan-out that multicast trees are built by (Castro and others, *SplitStream*, SOSP
2003, section 2.3). Small parcels for many nodes want a tree, large ones a chain. `plan_route` makes a few
trees and takes the one that ends first.
"""

from __future__ import annotations

import functools
import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import median
from types import MappingProxyType

from castray_desktop.core.content.stream_layout import choose_piece_bytes

HOP_SECONDS = 0.0021

"""Delay that one more hop adds where the link is not the limit (`python -m benchmarks.relay hop`)."""

DEFAULT_SPEED = 125_000_000.0

"""Default speed of a node in bytes per second: 1 Gbit/s."""

NEARLY_BEST_FACTOR = 1.05

NEARLY_BEST_SECONDS = 0.05

"""Plans within this factor and time of the best one are equivalent: the one with the fewest copies is taken,
then the one with the earliest average end."""

GAIN = 1.02

"""A chain that takes this factor and `UNNOTICED_SECONDS` longer at most is taken: it relies on no speed."""

WRONG = 1.1

REPAIR_SECONDS = 0.9

"""Were all nodes alike, a route must not be slower than another one by more than this factor. What
`FanOutWatch` repairs costs `REPAIR_SECONDS` (`tests/test_simulate.py`)."""

FAN_OUTS = (1, 2, 3, 4, 6, 8)

"""Fan-outs that are tried."""

QUANTILES = (0.0, 0.01, 0.05, 0.2, 0.5, 1.0)

"""Quantiles of the speeds, highest first, for which plans are made."""


@dataclass(frozen=True)
class Route:
    """The upstream of every recipient. Without cycles; every path ends at the source.

    `source` is the root of the route: the cast's own source, or the recipient that took over from it
    (`rerooted`), which then has no upstream.
    """

    source: str
    upstreams: Mapping[str, str]
    epoch: int = 1

    @functools.cached_property
    def downstreams(self) -> Mapping[str, Sequence[str]]:
        """The direct downstreams of every node that has some."""
        return _children(self.upstreams)

    def order(self) -> tuple[str, ...]:
        """The source, then every recipient after its upstream, those with fewer hops first."""
        return tuple(_subtree(self.downstreams, self.source))

    def without_node(self, node: str) -> Route:
        """The route without `node`: its downstreams are moved below its upstream.

        The first of several takes its place and the others go below leaves near it, so that the upstream and
        all below it do not have to divide their links further.
        """
        if node not in self.upstreams:
            return self
        rest = dict(self.upstreams)
        upstream = rest.pop(node)
        return self._changed(rest, _reparent_orphans(rest, node, upstream))

    def reparented(self, node: str, upstream: str) -> Route:
        """The route with `node`, which may be a new one, and all below it, below `upstream`.

        Raises ValueError if that would close a cycle, KeyError for an unknown upstream.
        """
        if upstream != self.source and upstream not in self.upstreams:
            raise KeyError(upstream)
        above = upstream
        while above != self.source:
            if above == node:
                raise ValueError(f"{upstream} is below {node}")
            above = self.upstreams[above]
        return self._changed(self.upstreams, {node: upstream})

    def moved_to_tail(self, node: str) -> Route:
        """The route with `node` at the end of its branch, where it delays nobody.

        Its downstreams are moved as in `without_node`; `node` goes below the deepest node of its upstream's
        branch. A node that is already there stays. Raises KeyError for a node that is not on the route.
        """
        rest = dict(self.upstreams)
        upstream = rest.pop(node)
        orphans = _reparent_orphans(rest, node, upstream)
        tail = _subtree(_children(rest | orphans), upstream)[-1]
        if tail == upstream:
            return self
        return self._changed(self.upstreams, orphans | {node: tail})

    def chained(self, progress: Mapping[str, int], zones: Mapping[str, str]) -> Route:
        """The route as one chain, those with the most bytes first, so that each has something to pass on.

        Zones stay together, in the order in which they are entered now.
        """
        order = self.order()[1:]
        first = {zones.get(node, ""): number for number, node in reversed([*enumerate(order)])}
        chain = sorted(order, key=lambda node: (first[zones.get(node, "")], -progress.get(node, 0)))
        return self._changed(self.upstreams, dict(zip(chain, (self.source, *chain), strict=False)))

    def rerooted(self, root: str) -> Route:
        """The route with `root` as its source: a complete recipient, or the source's next agent.

        Direct downstreams of the source go below `root`; all others keep their upstream, including those that
        `root` fetched from.
        """
        left = dict(self.upstreams)
        left.pop(root, None)
        orphans = {child: root for child, upstream in left.items() if upstream == self.source}
        return self._changed(left, orphans, source=root)

    def _changed(self, upstreams: Mapping[str, str], moved: Mapping[str, str], source: str = "") -> Route:
        return Route(source or self.source, MappingProxyType({**upstreams, **moved}), self.epoch + 1)


def _children(upstreams: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for child, upstream in upstreams.items():
        found.setdefault(upstream, []).append(child)
    return found


def _reparent_orphans(rest: Mapping[str, str], node: str, upstream: str) -> dict[str, str]:
    """New upstreams for the downstreams of `node`, whose upstream was `upstream` and which `rest` omits."""
    children = _children(rest)
    found: dict[str, str] = {}
    orphans = children.pop(node, [])
    for orphan in orphans:
        reached = _subtree(children, orphans[0])
        found[orphan] = next(leaf for leaf in reached if leaf not in children) if found else upstream
        children.setdefault(found[orphan], []).append(orphan)
    return found


def _subtree(children: Mapping[str, Sequence[str]], top: str) -> list[str]:
    """`top` and all below it, nearest first; the last one is a deepest one."""
    result = [top]
    for node in result:
        result.extend(children.get(node, ()))
    return result


@dataclass(frozen=True)
class PlanEstimate:
    """Estimate of a plan: seconds until the last node is complete and on average, and how many copies the
    source sends."""

    seconds: float
    average: float
    copies: int


def plan_route(
    source: str,
    recipients: Iterable[str],
    *,
    zones: Mapping[str, str] = MappingProxyType({}),
    speeds: Mapping[str, float] = MappingProxyType({}),
    size: int,
    hop_seconds: float = HOP_SECONDS,
) -> Route:
    """The route for `size` bytes from `source` to `recipients`.

    `zones` maps nodes to zones; each zone is entered once, the source's own first, the one with the slowest
    node last. `speeds` are in bytes per second; within a zone the fastest nodes come first, equal ones in the
    given order, and an unknown one counts as the median of those known.
    """
    known = [speed for node, speed in speeds.items() if speed > 0]
    usual = median(known) if known else DEFAULT_SPEED

    def speed(node: str) -> float:
        return max(speeds.get(node, usual), 0.0) or usual

    def zone(node: str) -> str:
        return zones.get(node, "")

    nodes = list(dict.fromkeys(recipients))
    slowest: dict[str, float] = {}
    for node in nodes:
        slowest[zone(node)] = min(slowest.get(zone(node), inf), speed(node))
    own = zone(source)
    nodes.sort(key=lambda node: (zone(node) != own, -slowest[zone(node)], zone(node), -speed(node)))
    sequence = [source, *nodes]
    zone_of, speed_of = [zone(node) for node in sequence], [speed(node) for node in sequence]
    shape = best_shape(speed_of, zone_of, size, hop_seconds)
    alike = [usual] * len(sequence)
    if known and speed_of != alike:
        plain = best_shape(alike, zone_of, size, hop_seconds)
        careful = estimate(plain, alike, size, hop_seconds).seconds
        wrong = min(estimate(shape, alike, size, hop_seconds).seconds, careful + REPAIR_SECONDS)
        if wrong > careful * WRONG + NEARLY_BEST_SECONDS:
            shape = plain
    upstreams = {node: sequence[shape[number]] for number, node in enumerate(nodes, start=1)}
    return Route(source, MappingProxyType(upstreams))


def best_shape(speeds: Sequence[float], zones: Sequence[str], size: int, hop_seconds: float) -> list[int]:
    """The upstream of each node, by number: 0 is the source; every upstream precedes its nodes."""
    plans: list[tuple[PlanEstimate, list[int]]] = []
    enough = inf
    for rate in _rates(speeds):
        if _at_least(speeds, zones, size, rate) > enough:
            continue
        shape = grow_tree(speeds, zones, rate)
        plans.append((estimate(shape, speeds, size, hop_seconds), shape))
        enough = min(enough, plans[-1][0].seconds * NEARLY_BEST_FACTOR + NEARLY_BEST_SECONDS)
    result, chain = plans[0]  # no node can feed two at the first rate
    if result.seconds <= min(result.seconds for result, _ in plans) * GAIN + NEARLY_BEST_SECONDS:
        return chain
    good = [(result.copies, result.average, shape) for result, shape in plans if result.seconds <= enough]
    return min(good, key=lambda item: item[:2])[2]


def _at_least(speeds: Sequence[float], zones: Sequence[str], size: int, rate: float) -> float:
    """Lower bound of the seconds that a plan for `rate` takes."""
    near = sum(zone == zones[0] for zone in zones) - 1
    seconds = 0.0
    for speed in speeds[:2]:
        fed = min(_places(speed, rate), near)
        near -= fed
        seconds = max(seconds, size * fed / speed)
    return seconds


def _places(speed: float, rate: float) -> int:
    """How many nodes a node of this speed can serve at `rate`; a slower one serves one all the same."""
    return max(1, min(FAN_OUTS[-1], int(speed / rate + 1e-9)))


def _rates(speeds: Sequence[float]) -> list[float]:
    """Rates to plan for, highest first. The first one makes a chain, since no node can serve two."""
    ordered = sorted(speeds, reverse=True)
    picks = {ordered[round(share * (len(ordered) - 1))] for share in QUANTILES} | {speeds[0]}
    return [inf, *sorted({pick / fed for pick in picks for fed in FAN_OUTS}, reverse=True)]


def grow_tree(speeds: Sequence[float], zones: Sequence[str], rate: float) -> list[int]:
    """Attach every node nearest to the source so that each gets `rate` bytes per second.

    A node of speed v serves v/rate others; one that is slower than `rate` serves one, which is no faster,
    since fast nodes come first.
    """
    free = [_places(speed, rate) for speed in speeds]
    shape, depth = [-1], [0]
    entries: list[tuple[int, int]] = []  # where another zone may begin: depth and number
    number, count = 1, len(speeds)
    begin = 0
    while True:
        at = begin  # the nearest node of this zone with a place
        while number < count and zones[number] == zones[begin]:
            while not free[at]:
                at += 1
            free[at] -= 1
            shape.append(at)
            depth.append(depth[at] + 1)
            number += 1
        if number == count:
            return shape
        for node in range(begin, number):
            if free[node]:
                heapq.heappush(entries, (depth[node], node))
        above = entries[0][1]
        free[above] -= 1
        if not free[above]:
            heapq.heappop(entries)
        shape.append(above)
        depth.append(depth[above] + 1)
        begin = number
        number += 1


def estimate(shape: Sequence[int], speeds: Sequence[float], size: int, hop_seconds: float) -> PlanEstimate:
    """When the last node would be complete, if each node divides its speed evenly among those it serves.

    A hop takes `hop_seconds`, or as long as a piece needs on it, whichever is longer.
    """
    fed = [0] * len(shape)
    for above in shape[1:]:
        fed[above] += 1
    piece = min(size, choose_piece_bytes(size, len(shape) - 1))
    flow, delay = [speeds[0]], [0.0]
    last = total = 0.0
    for above, speed in zip(shape[1:], speeds[1:], strict=True):
        rate = min(flow[above], speeds[above] / fed[above], speed)
        late = delay[above] + max(hop_seconds, piece / rate)
        flow.append(rate)
        delay.append(late)
        seconds = size / rate + late
        last = max(last, seconds)
        total += seconds
    return PlanEstimate(last, total / max(1, len(shape) - 1), fed[0])


KEEPS_UP_SHARE = 0.9

"""A node with less than this share of what the best relay has can't serve at full speed."""


def choose_upstream(route: Route, progress: Mapping[str, int], own: int = 0) -> str | None:
    """Choose the upstream of a node that joins or returns with `own` bytes; None if no node can serve it.

    `progress` has the verified bytes of every node that may serve, including the route's source. The best
    upstream has what the node lacks, keeps up with the others, serves the fewest nodes that keep up, and is
    not the source, whose upload all share; among equals, the one with the most bytes.
    """
    if not progress:
        return None
    relays = [count for node, count in progress.items() if node != route.source]
    full = KEEPS_UP_SHARE * max(relays, default=0)
    children: dict[str, int] = dict.fromkeys(progress, 0)
    for child, upstream in route.upstreams.items():
        if upstream in children and progress.get(child, 0) >= full:
            children[upstream] += 1

    def rank(node: str) -> tuple[bool, bool, int, bool, int]:
        count = progress[node]
        return count < own, count < full, children[node], node == route.source, -count

    return min(progress, key=rank)
