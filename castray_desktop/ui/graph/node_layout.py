"""Places the nodes of the graph: geometry, no widget.

`compute_layout` depends on the size, the source and the recipients alone, so the same nodes always have the
same places. Few recipients lie clockwise on a ring to the right of the source, in their natural
order; many fill a grid, zone after zone. The largest cell that fits is taken. Columns of names are as wide
as these need, as far as there is room. Lengths are pixels,
y grows downwards, a node's place is the centre of its circle.
"""

from __future__ import annotations

import enum
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby, pairwise
from typing import NamedTuple


class Point(NamedTuple):
    """A place in the scene."""

    x: float
    y: float


ORIGIN = Point(0.0, 0.0)


class Box(NamedTuple):
    """A rectangle in the scene."""

    x: float
    y: float
    width: float
    height: float

    @classmethod
    def around(cls, centre: Point, reach: float) -> Box:
        """The square that reaches so far from its centre to each side."""
        return cls(centre.x - reach, centre.y - reach, 2 * reach, 2 * reach)

    def intersects(self, other: Box) -> bool:
        """Whether the two share more than an edge."""
        slack = 1e-6
        return (
            self.x + self.width > other.x + slack
            and other.x + other.width > self.x + slack
            and self.y + self.height > other.y + slack
            and other.y + other.height > self.y + slack
        )

    def widened(self, by: float) -> Box:
        """The box with so many pixels more on each side."""
        return Box(self.x - by, self.y - by, self.width + 2 * by, self.height + 2 * by)

    def contains(self, point: Point) -> bool:
        """Whether the point is inside, not on the edge."""
        return self.x < point.x < self.x + self.width and self.y < point.y < self.y + self.height

    def is_inside(self, width: float, height: float, margin: float = 0.0) -> bool:
        """Whether all of the box is in a scene of this size, and not in its margin."""
        return (
            self.x >= margin
            and self.y >= margin
            and self.x + self.width <= width - margin
            and self.y + self.height <= height - margin
        )


class NodeShape(enum.Enum):
    """How much of a node is drawn."""

    FULL = (120, 112, 26, 38)  # ring, name and facts
    COMPACT = (72, 72, 18, 26)  # ring and name
    NAMED = (68, 34, 7, 11)  # a state glyph and name, at least so wide
    GLYPH = (28, 28, 7, 14)  # a state glyph
    DOT = (10, 10, 4, 5)  # a dot

    def __init__(self, width: int, height: int, radius: int, above: int) -> None:
        self.width, self.height = width, height  # of the cell
        self.radius, self.above = radius, above  # of the circle; from the cell's upper edge to its centre

    @property
    def badge(self) -> float:
        """The distance of the badges from the circle's centre, to the right and up or down."""
        return self.radius * 0.92

    def box(self, centre: Point) -> Box:
        """The cell of a node with this centre of its circle."""
        return Box(centre.x - self.width / 2, centre.y - self.above, self.width, self.height)


def source_boxes(centre: Point) -> tuple[Box, Box]:
    """The rectangles that the source paints: its circle and its name."""
    name = Box(centre.x - SOURCE_HALF, centre.y + 36, 2 * SOURCE_HALF, 34)
    return Box.around(centre, SOURCE_RADIUS + 4), name


NAME_WIDTHS = {NodeShape.FULL: 108.0, NodeShape.COMPACT: 66.0, NodeShape.NAMED: 56.0}
"""Names are elided to this width, or to that of the layout: a line has to pass between two neighbours."""

SMALL_NAME_TOP, SMALL_NAME_HEIGHT = 10.0, 13.0  # below the centre of a glyph
NAME_ROWS = {
    NodeShape.FULL: (36.0, 34.0),
    NodeShape.COMPACT: (24.0, 16.0),
    NodeShape.NAMED: (SMALL_NAME_TOP, SMALL_NAME_HEIGHT),
}
"""How far below the circle's centre the name begins, and its height."""


@dataclass(frozen=True)
class ZoneLayout:
    """A zone's enclosure: on a ring a stroke of `width` along `path`, in a grid the `box`."""

    name: str
    members: tuple[str, ...]
    label: Point  # centre of the pill with its name
    path: tuple[Point, ...] = ()
    width: float = 0.0
    box: Box | None = None


@dataclass(frozen=True)
class GraphLayout:
    """The positions of all nodes, zones and figures."""

    cell: NodeShape
    ring: bool
    width: float
    height: float
    source: Point
    centre: Point  # of the recipients; hops bend away from it
    nodes: dict[str, Point]
    zones: tuple[ZoneLayout, ...] = ()
    summary: Box | None = None  # for the shown cast's figures; None where it would cover nodes
    step: Point = ORIGIN  # from column to column and from row to row of a grid
    name_width: float = 0.0  # 0: the usual one of the cell

    def painted(self, place: Point) -> tuple[Box, Box]:
        """The rectangles that the recipient at this place paints: its circle, and its name if it has one."""
        cell = self.cell
        circle = Box.around(place, cell.radius + (9 if cell in (NodeShape.FULL, NodeShape.COMPACT) else 4))
        if cell not in NAME_WIDTHS:
            return circle, Box(place.x, place.y, 0, 0)
        width, (below, height) = self.name_width or NAME_WIDTHS[cell], NAME_ROWS[cell]
        return circle, Box(place.x - width / 2, place.y + below, width, height)

    @property
    def row_gap(self) -> float:
        """Between the cells of two rows of a grid."""
        return self.step.y - self.cell.height


SOURCE_RADIUS = 32
SOURCE_HALF = 62  # half of the source's width with its label
SUMMARY_WIDTH, SUMMARY_HEIGHT = 232, 74
STEP = 184
ZONE_WIDTHS, ZONE_BEYOND = {NodeShape.FULL: 136.0, NodeShape.COMPACT: 92.0}, 14.0
ZONE_GAP = 4.0  # around an enclosure on a ring
ZONE_DROP = {
    NodeShape.FULL: 20.0,
    NodeShape.COMPACT: 10.0,
}  # from the circles to the middle of what is drawn of nodes
LABEL_HALF = 10.0  # of the height of a zone's name
GRID_GAP = {NodeShape.COMPACT: 8, NodeShape.NAMED: 2, NodeShape.GLYPH: 4, NodeShape.DOT: 4}
NAME_GAP = 12.0  # between the names of two neighbours
MAX_NAME_WIDTH = 150.0
LETTER_WIDTH = 6.6  # of a small name, on average; wide letters are elided
WIDE_STEP = 110.0  # between columns where there is more room than short names need
WIDE_ROW_GAP = 12.0


def compute_layout(width: float, height: float, recipients: Sequence[tuple[str, str]]) -> GraphLayout:
    """Places for the source and for these recipients: pairs of name and zone, in their order.

    The layout is at least `width` x `height` and grows downwards when even dots do not fit.
    """
    ordered = sorted(recipients, key=lambda pair: pair[1])  # stable: zones stay together
    for cell in (NodeShape.FULL, NodeShape.COMPACT):
        ring = _ring(width, height, ordered, cell)
        if ring is not None:
            return ring
    for cell in (NodeShape.COMPACT, NodeShape.NAMED, NodeShape.GLYPH, NodeShape.DOT):
        plan = _plan_grid(width, height, ordered, cell)
        if plan.height <= height:
            break
    return _grid(width, height, ordered, plan)


def _source_x(width: float) -> float:
    return max(SOURCE_HALF + 4.0, min(89.0, width * 0.121))


# --- the ring ------------------------------------------------------------------------------


def _ring(
    width: float, height: float, recipients: Sequence[tuple[str, str]], cell: NodeShape
) -> GraphLayout | None:
    """Two rows and, for an odd number, a node at their right end; None where that does not fit."""
    count = len(recipients)
    columns, odd = divmod(count, 2)
    if count > 16:
        return None
    zoned = any(zone for _, zone in recipients)
    source_x = _source_x(width)
    left = source_x + SOURCE_HALF + 10 + cell.width / 2
    right = width - cell.width / 2 - max(8.0, min(76.0, (width - 420) * 0.24))
    if zoned:
        right = min(right, width - ZONE_WIDTHS[cell] / 2 - ZONE_BEYOND - ZONE_GAP)
    pad = 45.0 if zoned else 16.0
    top = pad + cell.above
    bottom = height - pad - (cell.height - cell.above) + (13 if zoned else 0)
    row_gap = bottom - top
    bulge = min(29.0, row_gap * 0.13) if columns > 1 else 0.0
    if columns and row_gap - 2 * bulge < cell.height + (24 if odd else 8):
        return None
    middle_y = (top + bottom) / 2
    row_right = right
    if odd and columns:
        row_right = right - min(STEP * 0.8, (right - left) / columns)
    if columns > 1 and (row_right - left) / (columns - 1) < cell.width + 2:
        return None
    xs = _columns(left, row_right, columns, odd=bool(odd))
    if columns and xs[-1] - xs[0] < -1:
        return None
    lift = [bulge * (1 - (2 * i / (columns - 1) - 1) ** 2) if columns > 1 else 0.0 for i in range(columns)]
    places = [Point(x, top + bulge - up) for x, up in zip(xs, lift, strict=True)]
    if odd:
        places.append(Point(right if columns else left + (right - left) * 0.85, middle_y))
    places += [Point(x, bottom - bulge + up) for x, up in zip(reversed(xs), reversed(lift), strict=True)]
    nodes = {name: place for (name, _), place in zip(recipients, places, strict=True)}
    boxes = [cell.box(place) for place in places]
    apart = not any(one.intersects(other) for one, other in combinations(boxes, 2))
    if not (apart and all(box.is_inside(width, height) for box in boxes)):
        return None
    source = Point(source_x, middle_y)
    centre = Point((places[0].x + max(p.x for p in places)) / 2, middle_y) if places else source
    if count == 1:
        centre = Point(centre.x, middle_y + 40)  # bends the only hop upwards, over the figures
    return GraphLayout(
        cell,
        True,
        width,
        height,
        source,
        centre,
        nodes,
        tuple(_ring_zones(recipients, nodes, middle_y, cell)),
        _summary(source, places, boxes),
    )


def _columns(left: float, right: float, count: int, *, odd: bool) -> list[float]:
    if count == 1:
        return [left + (right - left) * (0.62 if odd else 0.9)]
    return [left + (right - left) * i / (count - 1) for i in range(count)]


def _summary(source: Point, places: Sequence[Point], boxes: Sequence[Box]) -> Box | None:
    """The box of the figures: between the rows, clear of every cell."""
    if not places:
        return None
    middle_y = source.y
    if len(places) == 1:
        gap_left, gap_right, y = source.x + SOURCE_HALF, boxes[0].x, middle_y + 4
    else:
        beside = [box.x for box in boxes if box.y < middle_y < box.y + box.height and box.x > source.x]
        gap_left = source.x + SOURCE_HALF
        gap_right = min(beside, default=max(place.x for place in places) + 60)
        upper = max((b.y + b.height for p, b in zip(places, boxes, strict=True) if p.y < middle_y), default=0)
        lower = min((b.y for p, b in zip(places, boxes, strict=True) if p.y > middle_y), default=0)
        y = (upper + lower - SUMMARY_HEIGHT) / 2
    if len(places) % 2 == 0 and len(places) > 2:
        gap_left = min(place.x for place in places) - 60
    x = (gap_left + gap_right - SUMMARY_WIDTH) / 2
    summary = Box(x, y, SUMMARY_WIDTH, SUMMARY_HEIGHT)
    own = Box(source.x - SOURCE_HALF, source.y - 38, 2 * SOURCE_HALF, 112)
    if x < gap_left - 1 or any(summary.intersects(box) for box in (*boxes, own)):
        return None
    return summary


def _ring_zones(
    recipients: Sequence[tuple[str, str]], nodes: dict[str, Point], middle_y: float, cell: NodeShape
) -> Iterator[ZoneLayout]:
    steps = [math.dist(a, b) for a, b in pairwise(nodes.values())]
    width = max(72.0, min([ZONE_WIDTHS[cell], *(step - 8 for step in steps)]))
    between = [
        step for step, pair in zip(steps, pairwise(recipients), strict=True) if pair[0][1] != pair[1][1]
    ]
    beyond = min([ZONE_BEYOND, *(max(0.0, (step - width - ZONE_GAP) / 2) for step in between)])
    for zone, pairs in groupby(recipients, key=lambda pair: pair[1]):
        members = tuple(name for name, _ in pairs)
        if not zone:
            continue
        own = [nodes[name] for name in members]
        path = tuple(Point(p.x, p.y + ZONE_DROP[cell]) for p in own)
        yield ZoneLayout(
            zone, members, _zone_label(own, width, middle_y, cell), _lengthened(path, beyond), width
        )


def _zone_label(nodes: Sequence[Point], width: float, middle_y: float, cell: NodeShape) -> Point:
    """On the border of the enclosure, further out where it would cover a circle or a name.

    Hops come clockwise: the node at the right end of both rows gets its hop from above, and its label below.
    """
    mean_y = sum(p.y for p in nodes) / len(nodes)
    anchor = nodes[len(nodes) // 2] if len(nodes) % 2 else _between(nodes)
    if mean_y < middle_y - 1:
        anchor = min((anchor, *nodes), key=lambda p: (p.y, abs(p.x - anchor.x)))
        return Point(anchor.x, anchor.y + min(ZONE_DROP[cell] - width / 2, -cell.radius - 9 - LABEL_HALF))
    anchor = max((anchor, *nodes), key=lambda p: (p.y, -abs(p.x - anchor.x)))
    return Point(anchor.x, anchor.y + max(ZONE_DROP[cell] + width / 2, cell.height - cell.above + LABEL_HALF))


def _between(path: Sequence[Point]) -> Point:
    a, b = path[len(path) // 2 - 1], path[len(path) // 2]
    return Point((a.x + b.x) / 2, (a.y + b.y) / 2)


def _lengthened(path: tuple[Point, ...], beyond: float) -> tuple[Point, ...]:
    """The path with both ends moved outwards, so that the enclosure reaches beyond its last nodes."""
    if len(path) == 1:
        return (Point(path[0].x - beyond, path[0].y), Point(path[0].x + max(0.5, beyond), path[0].y))
    return (_beyond(path[1], path[0], beyond), *path, _beyond(path[-2], path[-1], beyond))


def _beyond(before: Point, end: Point, beyond: float) -> Point:
    length = math.dist(before, end) or 1.0
    return Point(end.x + (end.x - before.x) * beyond / length, end.y + (end.y - before.y) * beyond / length)


# --- the grid ------------------------------------------------------------------------------


def _first_column(width: float) -> float:
    """Where the grid begins."""
    return _source_x(width) + SOURCE_HALF + 16


class _Margins(NamedTuple):
    """Of a grid: above and below it; of a zone: for its name above its rows, and below them."""

    top: float
    bottom: float
    header: float
    footer: float


USUAL_MARGINS, SMALL_MARGINS = _Margins(16.0, 8.0, 30.0, 14.0), _Margins(10.0, 4.0, 20.0, 7.0)


@dataclass(frozen=True)
class _GridPlan:
    """How many columns a grid has, how far these and the rows are from each other, and its height."""

    cell: NodeShape
    columns: int
    step: Point
    margins: _Margins
    height: float


def _plan_grid(
    width: float, height: float, recipients: Sequence[tuple[str, str]], cell: NodeShape
) -> _GridPlan:
    """The grid for these nodes, without a place for each of a thousand."""
    counts = Counter(zone for _, zone in recipients)
    room = width - _first_column(width) - 16
    if cell is NodeShape.NAMED:
        return _plan_names(room, height, recipients, counts)
    gap = GRID_GAP[cell]
    step = Point(cell.width + gap, cell.height + gap)
    columns = max(1, int((room + gap) // step.x))
    whole = _grid_height(counts, columns, step.y, USUAL_MARGINS)
    return _GridPlan(cell, columns, step, USUAL_MARGINS, whole)


def _plan_names(
    room: float, height: float, recipients: Sequence[tuple[str, str]], counts: Counter[str]
) -> _GridPlan:
    """Columns in which the longest name fits, or more of them where the rows would be too many."""
    cell = NodeShape.NAMED
    longest = max((len(name) for name, _ in recipients), default=0) * LETTER_WIDTH
    wanted = max(cell.width, min(longest, MAX_NAME_WIDTH) + NAME_GAP)
    lowest = cell.height + GRID_GAP[cell]
    most = max(1, int(room // cell.width))
    columns = max(1, min(most, int(room // wanted)))
    while columns < most and _grid_height(counts, columns, lowest, SMALL_MARGINS) > height:
        columns += 1
    largest = max(counts.values(), default=1)
    columns = math.ceil(largest / math.ceil(largest / columns))  # the same rows, each as long as the others
    rows = sum(math.ceil(count / columns) for count in counts.values())
    whole = _grid_height(counts, columns, lowest, SMALL_MARGINS)
    spare = min(WIDE_ROW_GAP, max(0.0, (height - whole) / max(1, rows)))
    step = Point(min(room / columns, max(wanted, WIDE_STEP)), lowest + math.floor(spare))
    whole = _grid_height(counts, columns, step.y, SMALL_MARGINS)
    return _GridPlan(cell, columns, step, SMALL_MARGINS, whole)


def _grid_height(counts: Counter[str], columns: int, step: float, margins: _Margins) -> float:
    zoned = any(counts.keys() - {""})
    bands = (
        margins.header * bool(zone) + math.ceil(count / columns) * step + margins.footer * zoned
        for zone, count in counts.items()
    )
    return margins.top + sum(bands) + margins.bottom


def _grid(width: float, height: float, recipients: Sequence[tuple[str, str]], plan: _GridPlan) -> GraphLayout:
    """Rows to the right of the source, every other one backwards, each zone in a band of its own."""
    cell, columns, step, margins = plan.cell, plan.columns, plan.step, plan.margins
    gap = GRID_GAP[cell] if cell is not NodeShape.NAMED else 0.0  # names are narrower than their columns
    left = _first_column(width)
    zoned = any(zone for _, zone in recipients)
    y = margins.top
    nodes: dict[str, Point] = {}
    zones: list[ZoneLayout] = []
    for zone, pairs in groupby(recipients, key=lambda pair: pair[1]):
        members = tuple(name for name, _ in pairs)
        band_top = y
        y += margins.header if zone else 0
        for index, name in enumerate(members):
            row, place = divmod(index, columns)
            column = place if row % 2 == 0 else columns - 1 - place
            nodes[name] = Point(left + column * step.x + (step.x - gap) / 2, y + row * step.y + cell.above)
        y += math.ceil(len(members) / columns) * step.y + margins.footer * zoned
        if zone:
            used = max(min(columns, len(members)), math.ceil(190 / step.x))
            box_width = min(used, columns) * step.x - gap + 16
            box = Box(left - 8, band_top + 8, box_width, y - band_top - 14)
            zones.append(ZoneLayout(zone, members, Point(box.x + box.width / 2, box.y), box=box))
    full_height = max(height, y + margins.bottom)
    source = Point(_source_x(width), height / 2 - 15)
    centre = Point(left + columns * step.x / 2, full_height / 2)
    name_width = step.x - NAME_GAP if cell is NodeShape.NAMED else 0.0
    return GraphLayout(
        cell, False, width, full_height, source, centre, nodes, tuple(zones), step=step, name_width=name_width
    )
