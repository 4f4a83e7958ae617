"""Where the one stream for all listeners is drawn: plain geometry, no widget.

It is a bus, told from the relay's curves by its shape: one line leaves the source, runs beside the rows of
nodes, and a short branch turns off it to each listener. Around a ring of nodes it has a rail below the names
of the upper row and one above the lower row; in a grid it has a rail above each row.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from castray_desktop.ui.graph.graph_layout import GRID_GAP, SOURCE_HALF, SOURCE_RADIUS, Box, Cell, Plan, Point

Line = tuple[Point, ...]

SPINE = {True: SOURCE_HALF + 10.0, False: SOURCE_HALF + 3.0}  # beside the source's centre; on a ring or not
WIDTHS = {Cell.FULL: 4.0, Cell.COMPACT: 3.0, Cell.GLYPH: 2.0, Cell.DOT: 1.0}  # of its lines
NAMES_END = {Cell.FULL: 70.0, Cell.COMPACT: 40.0}  # below a circle's centre
MARKS_BEGIN = {Cell.FULL: 35.0, Cell.COMPACT: 25.0, Cell.GLYPH: 11.0, Cell.DOT: 4.5}  # above and beside it
TURN_OFF = {Cell.FULL: 60.0, Cell.COMPACT: 39.0}  # left of it, where a branch leaves the rail
AIR = 8.0
CLEAR = 10.0  # between a rail and the names


@dataclass(frozen=True)
class Bus:
    """Lines with corners. Each of `ways` begins at the source; `taps` leave the ways in a grid."""

    ways: tuple[Line, ...]  # on a ring one to each listener, which overlap; in a grid one for each row
    taps: tuple[Line, ...]  # short ones from a row's way to its listeners
    label: Point  # the middle of the right end of what is written beside it
    end: float  # how far to the right it goes


def lay_bus(plan: Plan, fed: Collection[str]) -> Bus:
    """The bus to these nodes; those that have no place are left out."""
    spine = _crisp(plan.source.x + SPINE[plan.ring], plan.cell)
    places = [place for name, place in plan.nodes.items() if name in fed]
    ways = tuple((_ring_ways if plan.ring else _rows)(plan, places, spine))
    taps = () if plan.ring else tuple(_taps(plan, places))
    label = Point(spine - 9, plan.source.y - SOURCE_RADIUS - 26)
    return Bus(ways, taps, label, max((place.x for place in places), default=spine))


def line_boxes(bus: Bus, reach: float = 4.0) -> Iterator[Box]:
    """Where its lines are, with so much to both sides; each stretch once."""
    seen = {stretch for line in (*bus.ways, *bus.taps) for stretch in pairwise(line)}
    for start, end in sorted(seen):
        x, y = min(start.x, end.x) - reach, min(start.y, end.y) - reach
        yield Box(x, y, abs(end.x - start.x) + 2 * reach, abs(end.y - start.y) + 2 * reach)


def leaves_free(bus: Bus, figures: Box) -> bool:
    """Whether it runs over none of these figures, which have some air around them."""
    words = Box(figures.x + AIR, figures.y + AIR, figures.width - 2 * AIR, figures.height - 2 * AIR)
    return not any(line.overlaps(words) for line in line_boxes(bus))


def _ring_ways(plan: Plan, places: Sequence[Point], spine: float) -> Iterator[Line]:
    upper, lower = _rails(plan)
    reach, turn = MARKS_BEGIN[plan.cell], TURN_OFF[plan.cell]
    start = _start(plan)
    for place in places:
        off = _crisp(place.x - turn, plan.cell)
        rail = upper if place.y < plan.source.y - 1 else lower
        end = Point(place.x - reach, place.y)
        if off - spine < 4:
            corners = [Point(spine, start.y), Point(spine, place.y)]
        else:
            corners = [Point(spine, start.y), Point(spine, rail), Point(off, rail), Point(off, place.y)]
        yield _without_turns_back((start, *corners, end))


def _rails(plan: Plan) -> tuple[float, float]:
    """The heights of the upper and the lower one; the same where no figures lie between the rows."""
    names, marks = NAMES_END[plan.cell], MARKS_BEGIN[plan.cell]
    centre, middle = plan.source.y, plan.middle
    above = max((p.y + names for p in plan.nodes.values() if p.y < centre - 1), default=None)
    below = min((p.y - marks for p in plan.nodes.values() if p.y > centre + 1), default=None)
    if above is None or below is None:
        free = middle.y - CLEAR if middle is not None else centre
        return _crisp(free, plan.cell), _crisp(free, plan.cell)
    if middle is None or above > middle.y or below < middle.y + middle.height:
        free = (above + below) / 2
        return _crisp(free, plan.cell), _crisp(free, plan.cell)
    upper = min(above + CLEAR, (above + middle.y) / 2)
    lower = max(below - CLEAR, (below + middle.y + middle.height) / 2)
    return _crisp(upper, plan.cell), _crisp(lower, plan.cell)


def _start(plan: Plan) -> Point:
    """Beside the source's circle."""
    return Point(plan.source.x + SOURCE_RADIUS + 6, plan.source.y)


def _crisp(at: float, cell: Cell) -> float:
    """Where a line's edges fall between two pixels."""
    return math.floor(at) + 0.5 if WIDTHS[cell] % 2 else float(round(at))


def _without_turns_back(line: Line) -> Line:
    """Without corners that are none."""
    kept = [line[0]]
    for point in line[1:]:
        if abs(point.x - kept[-1].x) > 0.5 or abs(point.y - kept[-1].y) > 0.5:
            kept.append(point)
    return tuple(kept)


def _rows(plan: Plan, places: Sequence[Point], spine: float) -> Iterator[Line]:
    start = _start(plan)
    for height, row in groupby(sorted(places, key=lambda place: place.y), key=lambda place: place.y):
        rail = _rail_above(plan.cell, height)
        last = max(place.x for place in row)
        yield _without_turns_back(
            (start, Point(spine, start.y), Point(spine, rail), Point(last, rail)),
        )


def _rail_above(cell: Cell, height: float) -> float:
    """Between the cells of two rows."""
    _, _, _, above = cell.value
    return _crisp(height - above - GRID_GAP[cell] / 2 - (3 if cell is Cell.COMPACT else 0), cell)


def _taps(plan: Plan, places: Sequence[Point]) -> Iterator[Line]:
    reach = MARKS_BEGIN[plan.cell]
    for place in places:
        yield Point(place.x, _rail_above(plan.cell, place.y)), Point(place.x, place.y - reach)
