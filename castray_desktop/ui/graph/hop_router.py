"""Lines of hops that no curve can take past the nodes: geometry, no widget.

In a tree, or after a repair, a hop may lead past many nodes. Such a hop follows lanes beside the nodes, in
right angles; the cheapest way through the lanes is found with the A* algorithm.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from castray_desktop.ui.graph.node_layout import Box, Point

CLEARANCE = 1.0
"""Pixels between a line and what it passes."""

TURN_COST = 30.0
"""A line takes a detour of so many pixels rather than another corner."""

MERGED = 4.0
"""Lanes that are nearer to each other than this are one."""

EDGE = 4.0  # between a line and the border of the scene
BEYOND = 5.0  # pixels that a line goes straight beyond the cut at its ends


@dataclass(frozen=True)
class BentLine:
    """A line through these points; its corners are drawn round."""

    points: tuple[Point, ...]

    @property
    def start(self) -> Point:
        return self.points[0]

    @property
    def end(self) -> Point:
        return self.points[-1]

    def at(self, t: float) -> Point:
        """The point at `t`, 0..1, of the length."""
        due = t * sum(math.dist(a, b) for a, b in pairwise(self.points))
        for a, b in pairwise(self.points):
            length = math.dist(a, b)
            if due <= length and length > 0:
                return along(a, b, due / length)
            due -= length
        return self.points[-1]


def along(a: Point, b: Point, share: float) -> Point:
    """The point at this share of the way from one to the other."""
    return Point(a.x + (b.x - a.x) * share, a.y + (b.y - a.y) * share)


@dataclass(frozen=True)
class HopEnds:
    """The circles that a line connects, and how far from their centres it begins and ends."""

    start: Point
    end: Point
    cuts: tuple[float, float]


def route_line(
    ends: HopEnds, obstacles: Sequence[Box], size: tuple[float, float], gap: float
) -> BentLine | None:
    """The cheapest line that crosses no obstacle; None where there is none.

    It keeps inside of a scene of that `size`, and its lanes are `gap` pixels beside the obstacles. It leaves
    no circle downwards and enters none from below, where the names are. The circles of its ends must not be
    among the obstacles.
    """
    lanes = [at for box in obstacles for at in (box.x - gap, box.x + box.width + gap)]
    xs = sorted({*_merged(lanes, size[0]), ends.start.x, ends.end.x})
    lanes = [at for box in obstacles for at in (box.y - gap, box.y + box.height + gap)]
    ys = sorted({*_merged(lanes, size[1]), ends.start.y, ends.end.y})
    corners = _cheapest(ends, xs, ys, _blocked(xs, ys, obstacles))
    points = _trimmed([Point(xs[column], ys[row]) for column, row in corners], ends.cuts)
    return BentLine(points) if len(points) > 1 else None


def _merged(places: Iterable[float], length: float) -> list[float]:
    """These coordinates inside of the scene, each group of near ones as one."""
    groups: list[list[float]] = []
    for at in sorted(place for place in places if EDGE <= place <= length - EDGE):
        if groups and at - groups[-1][0] < MERGED:
            groups[-1].append(at)
        else:
            groups.append([at])
    return [sum(group) / len(group) for group in groups]


Step = tuple[int, int, int]  # from a column and a row, along the row (0) or the column (1)


def _blocked(xs: Sequence[float], ys: Sequence[float], obstacles: Sequence[Box]) -> set[Step]:
    """The steps to the next lane that an obstacle is in the way of."""
    return {
        step
        for box in obstacles
        for step in (
            *((column, row, 0) for column, row in _crossed(xs, ys, box)),
            *((column, row, 1) for row, column in _crossed(ys, xs, Box(box.y, box.x, box.height, box.width))),
        )
    }


def _crossed(along: Sequence[float], across: Sequence[float], box: Box) -> Iterator[tuple[int, int]]:
    """The places of the lanes between which a step crosses the box."""
    first = max(0, bisect_left(along, box.x - CLEARANCE) - 1)
    last = bisect_left(along, box.x + box.width + CLEARANCE)
    low = bisect_left(across, box.y - CLEARANCE)
    high = bisect_left(across, box.y + box.height + CLEARANCE)
    for place in range(first, min(last, len(along) - 1)):
        for lane in range(low, high):
            yield place, lane


DIRECTIONS = ((1, 0), (-1, 0), (0, -1), (0, 1))
OPPOSITES = (1, 0, 3, 2)
UP = 2  # its place in them


def _cheapest(
    ends: HopEnds, xs: Sequence[float], ys: Sequence[float], blocked: Collection[Step]
) -> list[tuple[int, int]]:
    start = (bisect_left(xs, ends.start.x), bisect_left(ys, ends.start.y))
    end = (bisect_left(xs, ends.end.x), bisect_left(ys, ends.end.y))
    straight_only, forbidden = _at_circles(ends, xs, ys)
    queue: list[tuple[float, float, int, int, int]] = []  # with the least that is left at first
    before: dict[Step, Step | None] = {}
    costs: dict[Step, float] = {}
    for direction in (0, 1, UP):
        first = (*start, direction)
        costs[first], before[first] = 0.0, None
        heapq.heappush(queue, (0.0, 0.0, *first))
    while queue:
        _, cost, column, row, direction = heapq.heappop(queue)
        here = (column, row, direction)
        if cost > costs[here]:
            continue
        if (column, row) == end and direction != UP:
            return _walked(before, here)
        for turn in (direction,) if (column, row) in straight_only else range(4):
            dx, dy = DIRECTIONS[turn]
            if turn == OPPOSITES[direction]:
                continue
            to = (column + dx, row + dy)
            if not (0 <= to[0] < len(xs) and 0 <= to[1] < len(ys)) or to in forbidden:
                continue
            if (min(column, to[0]), min(row, to[1]), 1 if dy else 0) in blocked:
                continue
            length = abs(xs[to[0]] - xs[column]) + abs(ys[to[1]] - ys[row])
            total = cost + length + (TURN_COST if turn != direction else 0.0)
            there = (*to, turn)
            if total < costs.get(there, math.inf):
                costs[there], before[there] = total, here
                left = abs(xs[to[0]] - ends.end.x) + abs(ys[to[1]] - ends.end.y)
                heapq.heappush(queue, (total + left, total, *there))
    return []


def _at_circles(
    ends: HopEnds, xs: Sequence[float], ys: Sequence[float]
) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """Where the lanes meet in one of the circles: where a line can't turn, and where it can't be."""
    straight_only, forbidden = set(), set()
    for place, cut in zip((ends.start, ends.end), ends.cuts, strict=True):
        reach = cut + BEYOND
        for column in range(bisect_right(xs, place.x - reach), bisect_left(xs, place.x + reach)):
            for row in range(bisect_right(ys, place.y - reach), bisect_left(ys, place.y + reach)):
                straight_only.add((column, row))
                if xs[column] != place.x and ys[row] != place.y:
                    forbidden.add((column, row))
    return straight_only, forbidden


def _walked(before: dict[Step, Step | None], last: Step) -> list[tuple[int, int]]:
    """The corners from the start to this step."""
    steps = [last]
    while (step := before[steps[-1]]) is not None:
        steps.append(step)
    steps.reverse()
    places = [(column, row) for column, row, _ in steps]
    return [
        place
        for number, place in enumerate(places)
        if number in (0, len(places) - 1) or steps[number][2] != steps[number + 1][2]
    ]


def _trimmed(points: Sequence[Point], cuts: tuple[float, float]) -> tuple[Point, ...]:
    """The line without what lies in the two circles."""
    kept = [point for point, _ in groupby(points)]
    if len(kept) < 2:
        return ()
    first, second = kept[0], kept[1]
    last, before = kept[-1], kept[-2]
    if len(kept) == 2 and math.dist(first, last) <= sum(cuts):
        return ()
    start = along(first, second, min(0.9, cuts[0] / math.dist(first, second)))
    end = along(last, before, min(0.9, cuts[1] / math.dist(last, before)))
    return (start, *kept[1:-1], end)
