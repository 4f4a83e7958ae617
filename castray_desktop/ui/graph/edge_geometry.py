"""Curves of hops and lines of the multicast bus that avoid nodes and their names: geometry, no widget."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, pairwise

from castray_desktop.ui.graph.hop_router import BentLine, HopEnds
from castray_desktop.ui.graph.node_layout import (
    SOURCE_HALF,
    SOURCE_RADIUS,
    Box,
    GraphLayout,
    NodeShape,
    Point,
)

BADGE_CLEARANCE = 12.0
"""Pixels between a badge's centre and the end of a hop."""


@dataclass(frozen=True)
class Curve:
    """A cubic curve from `start` to `end`."""

    start: Point
    control_1: Point
    control_2: Point
    end: Point

    @classmethod
    def straight(cls, ends: HopEnds) -> Curve:
        """A straight line from circle to circle."""
        start, end, cuts = ends.start, ends.end, ends.cuts
        length = math.dist(start, end) or 1.0
        x, y = (end.x - start.x) / length, (end.y - start.y) / length
        first = Point(start.x + x * cuts[0], start.y + y * cuts[0])
        last = Point(end.x - x * cuts[1], end.y - y * cuts[1])
        third = Point((last.x - first.x) / 3, (last.y - first.y) / 3)
        return cls(
            first,
            Point(first.x + third.x, first.y + third.y),
            Point(last.x - third.x, last.y - third.y),
            last,
        )

    def at(self, t: float) -> Point:
        """The point at `t`, 0..1."""
        u = 1 - t
        a, b, c, d = u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t
        return Point(
            a * self.start.x + b * self.control_1.x + c * self.control_2.x + d * self.end.x,
            a * self.start.y + b * self.control_1.y + c * self.control_2.y + d * self.end.y,
        )

    def part(self, t0: float, t1: float) -> Curve:
        """The same curve between two parameters."""
        start, end = self.at(t0), self.at(t1)
        scale = (t1 - t0) / 3
        first, last = self._slope(t0), self._slope(t1)
        return Curve(
            start,
            Point(start.x + first.x * scale, start.y + first.y * scale),
            Point(end.x - last.x * scale, end.y - last.y * scale),
            end,
        )

    def _slope(self, t: float) -> Point:
        u = 1 - t
        p0, p1, p2, p3 = self.start, self.control_1, self.control_2, self.end
        return Point(
            3 * (u * u * (p1.x - p0.x) + 2 * u * t * (p2.x - p1.x) + t * t * (p3.x - p2.x)),
            3 * (u * u * (p1.y - p0.y) + 2 * u * t * (p2.y - p1.y) + t * t * (p3.y - p2.y)),
        )


def route_hop(ends: HopEnds, centre: Point, max_bend: float, obstacles: Sequence[Box], badge: float) -> Curve:
    """The route of a hop: the first of several curves that crosses no obstacle, else the one that crosses
    the least. The curves are those of `hop_curve` with more and more bend, on both sides, and one that is
    level at its ends.
    """
    found: list[tuple[int, Curve]] = []
    for curve in _candidates(ends, centre, max_bend, badge):
        covered = sum(covers([curve.at(step / 40) for step in range(1, 40)], obstacles))
        if not covered:
            return curve
        found.append((covered, curve))
    return min(found, key=lambda pair: pair[0])[1]


def covers(points: Sequence[Point], boxes: Iterable[Box]) -> Iterator[bool]:
    """For each point, and each of the boxes that are near the line through them: whether it is inside."""
    area = bounds(points)
    near = [box for box in boxes if box.intersects(area)]
    return (box.contains(point) for box in near for point in points)


BENDS = ((False, 1.0), (False, 0.6), (False, 1.8), (True, 1.0), (True, 1.8), (False, 2.6), (True, 2.6))
"""Whether a curve bends towards the centre, and how much of its usual bend it has; the best first."""


def _candidates(ends: HopEnds, centre: Point, max_bend: float, badge: float) -> Iterator[Curve]:
    for inward, wider in BENDS:
        yield hop_curve(ends, centre, max_bend * wider, badge, inward=inward)
        if wider == 1.0 and abs(ends.end.x - ends.start.x) > 2 * sum(ends.cuts):
            yield _level_curve(ends)


def _level_curve(ends: HopEnds) -> Curve:
    """A curve that leaves to the side and arrives from the side."""
    start, end = ends.start, ends.end
    reach = (end.x - start.x) * 0.55
    curve = Curve(start, Point(start.x + reach, start.y), Point(end.x - reach, end.y), end)
    return _cut(curve, ends, ())


SAMPLES = 48


@lru_cache(maxsize=512)
def sampled(line: Curve | BentLine) -> tuple[Point, ...]:
    """Points on the line from its start to its end, near enough to each other to find what it crosses."""
    return tuple(line.at(step / SAMPLES) for step in range(SAMPLES + 1))


def bounds(points: Sequence[Point]) -> Box:
    """The smallest box around these points."""
    xs, ys = [point.x for point in points], [point.y for point in points]
    return Box(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))


def hop_curve(ends: HopEnds, centre: Point, max_bend: float, badge: float, *, inward: bool = False) -> Curve:
    """A curve between two nodes, cut clear of both circles.

    It bends away from `centre`, or towards it with `inward`, by at most `max_bend`. It leaves no node
    downwards and enters none from below, where the names are, and ends beside the badges, which are `badge`
    pixels to the right of the circle's centre and as far up and down, unless it is 0.
    """
    start, end = ends.start, ends.end
    dx, dy = end.x - start.x, end.y - start.y
    distance = math.hypot(dx, dy) or 1.0
    chord = math.atan2(dy, dx)
    # The sign says on which side of the chord the centre is; the curve bends to the other side.
    cross = dx * (centre.y - start.y) - dy * (centre.x - start.x)
    side = -1.0 if (cross >= 0) is not inward else 1.0
    steep = abs(dy) / distance
    bend = math.radians(18 + 50 * steep) * side
    reach = distance * (0.36 + 0.36 * steep * steep)
    reach = min(reach, max_bend / (0.75 * max(0.2, abs(math.sin(bend)))))
    leaving = _avoid_label(chord + bend)
    arriving = math.pi + _avoid_label(chord - bend + math.pi)
    curve = Curve(
        start,
        Point(start.x + math.cos(leaving) * reach, start.y + math.sin(leaving) * reach),
        Point(end.x - math.cos(arriving) * reach, end.y - math.sin(arriving) * reach),
        end,
    )
    badges = [Point(end.x + badge, end.y - badge), Point(end.x + badge, end.y + badge)] if badge else []
    return _cut(curve, ends, badges)


def _avoid_label(angle: float) -> float:
    """The direction from a circle's centre, turned out of the sector below it, where the name is."""
    angle = math.remainder(angle, 2 * math.pi)
    low, high = math.radians(26), math.radians(154)
    if low < angle < high:
        return low if angle < math.pi / 2 else high
    return angle


def _cut(curve: Curve, ends: HopEnds, badges: Sequence[Point]) -> Curve:
    """The part of the curve that is clear of both circles, and of the badges at its end."""
    steps = [step / 100 for step in range(1, 50)]
    leaves = (t for t in steps if math.dist(curve.at(t), ends.start) >= ends.cuts[0])
    arrives = (
        1 - t
        for t in steps
        if math.dist(place := curve.at(1 - t), ends.end) >= ends.cuts[1]
        and all(math.dist(place, badge) >= BADGE_CLEARANCE for badge in badges)
    )
    return curve.part(next(leaves, 0.3), next(arrives, 0.7))


Line = tuple[Point, ...]

TRUNK_OFFSET = {True: SOURCE_HALF + 10.0, False: SOURCE_HALF + 3.0}  # from the source; on a ring or not
WIDTHS = {  # of lines
    NodeShape.FULL: 4.0,
    NodeShape.COMPACT: 3.0,
    NodeShape.NAMED: 2.0,
    NodeShape.GLYPH: 2.0,
    NodeShape.DOT: 1.0,
}

# Distances from a circle's centre: to the end of a line, to the name's lower edge, to a branch at its left.
RING_RADIUS = {
    NodeShape.FULL: 35.0,
    NodeShape.COMPACT: 25.0,
    NodeShape.NAMED: 11.0,
    NodeShape.GLYPH: 11.0,
    NodeShape.DOT: 4.5,
}
NAME_BOTTOM = {NodeShape.FULL: 70.0, NodeShape.COMPACT: 40.0}
BRANCH_OFFSET = {NodeShape.FULL: 60.0, NodeShape.COMPACT: 39.0}

LABEL_MARGIN = 8.0
RAIL_CLEARANCE = 10.0  # between a rail and the names


@dataclass(frozen=True)
class Bus:
    """The lines of a multicast stream. `lines` begin at the source; in a grid `branches` leave them."""

    lines: tuple[Line, ...]  # on a ring one to each receiver, which overlap; in a grid one for each row
    branches: tuple[Line, ...]  # from the line of a row to its receivers
    label: Point  # the middle of the right end of its label
    end: float  # the x of its right end


def route_bus(layout: GraphLayout, receivers: Collection[str]) -> Bus:
    """The bus to these nodes; unknown names are ignored."""
    trunk_x = _snap_to_pixel(layout.source.x + TRUNK_OFFSET[layout.ring], layout.cell)
    places = [place for name, place in layout.nodes.items() if name in receivers]
    lines = tuple((_ring_lines if layout.ring else _rows)(layout, places, trunk_x))
    branches = () if layout.ring else tuple(_branches(layout, places))
    label = Point(trunk_x - 9, layout.source.y - SOURCE_RADIUS - 26)
    return Bus(lines, branches, label, max((place.x for place in places), default=trunk_x))


def line_boxes(bus: Bus, reach: float = 4.0) -> Iterator[Box]:
    """A box around each segment of its lines, `reach` wide to both sides."""
    segments = {segment for line in (*bus.lines, *bus.branches) for segment in pairwise(line)}
    for segment in sorted(segments):
        yield bounds(segment).widened(reach)


def clears(bus: Bus, figures: Box) -> bool:
    """Whether no line crosses these figures, apart from their margin."""
    words = figures.widened(-LABEL_MARGIN)
    return not any(line.intersects(words) for line in line_boxes(bus))


def _ring_lines(layout: GraphLayout, places: Sequence[Point], trunk_x: float) -> Iterator[Line]:
    upper, lower = _rails(layout)
    reach, turn = RING_RADIUS[layout.cell], BRANCH_OFFSET[layout.cell]
    start = _start(layout)
    for place in places:
        off = _snap_to_pixel(place.x - turn, layout.cell)
        rail = upper if place.y < layout.source.y - 1 else lower
        end = Point(place.x - reach, place.y)
        if off - trunk_x < 4:
            corners = [Point(trunk_x, start.y), Point(trunk_x, place.y)]
        else:
            corners = [Point(trunk_x, start.y), Point(trunk_x, rail), Point(off, rail), Point(off, place.y)]
        yield _without_repeats((start, *corners, end))


def _rails(layout: GraphLayout) -> tuple[float, float]:
    """The heights of the upper and the lower rail; the same where no figures are between the rows."""
    names, highlights = NAME_BOTTOM[layout.cell], RING_RADIUS[layout.cell]
    centre, summary = layout.source.y, layout.summary
    above = max((p.y + names for p in layout.nodes.values() if p.y < centre - 1), default=None)
    below = min((p.y - highlights for p in layout.nodes.values() if p.y > centre + 1), default=None)
    if above is None or below is None:
        upper = lower = summary.y - RAIL_CLEARANCE if summary is not None else centre
    elif summary is None or above > summary.y or below < summary.y + summary.height:
        upper = lower = (above + below) / 2
    else:
        upper = min(above + RAIL_CLEARANCE, (above + summary.y) / 2)
        lower = max(below - RAIL_CLEARANCE, (below + summary.y + summary.height) / 2)
    return _snap_to_pixel(upper, layout.cell), _snap_to_pixel(lower, layout.cell)


def _start(layout: GraphLayout) -> Point:
    """Beside the source's circle."""
    return Point(layout.source.x + SOURCE_RADIUS + 6, layout.source.y)


def _snap_to_pixel(at: float, cell: NodeShape) -> float:
    """The coordinate at which the edges of a line fall between two pixels."""
    return math.floor(at) + 0.5 if WIDTHS[cell] % 2 else float(round(at))


def _without_repeats(line: Line) -> Line:
    """The line without repeated points."""
    kept = [line[0]]
    for point in line[1:]:
        if abs(point.x - kept[-1].x) > 0.5 or abs(point.y - kept[-1].y) > 0.5:
            kept.append(point)
    return tuple(kept)


def _rows(layout: GraphLayout, places: Sequence[Point], trunk_x: float) -> Iterator[Line]:
    start = _start(layout)
    for height, row in groupby(sorted(places, key=lambda place: place.y), key=lambda place: place.y):
        rail = _rail_above(layout, height)
        last = max(place.x for place in row)
        yield _without_repeats((start, Point(trunk_x, start.y), Point(trunk_x, rail), Point(last, rail)))


def _rail_above(layout: GraphLayout, height: float) -> float:
    """Between the cells of two rows."""
    cell = layout.cell
    clear = 3 if cell is NodeShape.COMPACT else 0  # of the highlights
    return _snap_to_pixel(height - cell.above - layout.row_gap / 2 - clear, cell)


def _branches(layout: GraphLayout, places: Sequence[Point]) -> Iterator[Line]:
    reach = RING_RADIUS[layout.cell]
    for place in places:
        yield Point(place.x, _rail_above(layout, place.y)), Point(place.x, place.y - reach)
