"""The shown cast's path on the scene: hops with their rates, and the multicast bus."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from PySide6.QtCore import QRectF
from PySide6.QtWidgets import QGraphicsScene

from castray_desktop.ui.graph.edge_geometry import (
    Bus,
    Curve,
    bounds,
    clears,
    covers,
    line_boxes,
    route_bus,
    route_hop,
    sampled,
)
from castray_desktop.ui.graph.graph_appearance import Hop, MulticastStream
from castray_desktop.ui.graph.hop_router import BentLine, HopEnds, route_line
from castray_desktop.ui.graph.node_layout import (
    SOURCE_RADIUS,
    Box,
    GraphLayout,
    NodeShape,
    Point,
    source_boxes,
)
from castray_desktop.ui.graph.path_items import (
    HopAppearance,
    HopItem,
    LockItem,
    MulticastAppearance,
    MulticastItem,
    MulticastRateItem,
    RateItem,
    Segment,
    SegmentsItem,
)
from castray_desktop.ui.graph.scene_items import DOT_GAP, to_box, to_point
from castray_desktop.ui.i18n.number_format import format_rate
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.path_text import repair_rate

REROUTED = "↪"
"""Before the rate of a hop that has replaced another one."""

BUS_COST = 4  # of covering the bus with a rate; from 10 on the rate is hidden
MARKER_RADIUS = 8.0
LOCK_HALF = 5.5  # of the square in a lock's disc, which no rate covers
MARKER_POSITIONS = (0.5, 0.42, 0.58, 0.35, 0.65, 0.28, 0.72, 0.2, 0.8)
MAX_MOVING = 16  # lines of a bus up to which its dots move
LARGE = (NodeShape.FULL, NodeShape.COMPACT)
LANE_GAPS = {
    NodeShape.FULL: (10.0, 16.0, 22.0),
    NodeShape.COMPACT: (7.0,),
    NodeShape.NAMED: (4.0,),
    NodeShape.GLYPH: (5.0,),
}
"""Between nodes and the bent lines beside them, in turn for the hops from each upstream."""

MAX_BENT = 40
"""Lines that are bent round the nodes in one layout; there is no time for more of them."""

LINE_HALF = 2.0  # of the width of a hop
RATE_REACH = 90.0  # from a curve to all that its rate may cover
HopLine = Curve | BentLine


class PathLayer:
    """Creates, updates and removes the items of the path; among dots, hops are thin lines."""

    def __init__(self, theme: Theme, scene: QGraphicsScene, layout: GraphLayout) -> None:
        self._theme, self._scene = theme, scene
        self._layout, self._source = layout, ""
        self.hops: dict[str, HopItem] = {}
        self.rates: dict[str, RateItem] = {}
        self.locks: dict[str, LockItem] = {}
        self.bus: MulticastItem | None = None
        self.bus_label: MulticastRateItem | None = None
        self._bus_for: tuple[GraphLayout, Collection[str], Bus] | None = None  # cached for the same receivers
        self._bus_boxes: tuple[Box, ...] = ()  # where its lines are
        self._short: tuple[Box, ...] = ()  # where hops between neighbours of a row are
        self._labels: list[Box] = []  # of the zones
        self._curves: dict[HopEnds, HopLine] = {}  # of the current layout
        self._bent: dict[Point, int] = {}  # the upstreams whose hops are bent, numbered
        self._bent_lines = 0
        self._marker_positions: dict[HopLine, float] = {}  # of the current layout
        self._rate_boxes: dict[str, tuple[object, Box | None]] = {}  # cached for each hop
        self.segments = SegmentsItem(theme)
        scene.addItem(self.segments)

    def set_layout(self, layout: GraphLayout, source: str, labels: list[Box]) -> None:
        """Use this layout of nodes and zone names."""
        self._layout, self._source, self._labels = layout, source, labels
        self._marker_positions = {}
        self._route_again()

    def _route_again(self) -> None:
        self._curves, self._bent, self._bent_lines = {}, {}, 0

    def refresh_hops(self, path: Sequence[Hop], *, faded: bool, dim: bool) -> None:
        """Draw these hops; `faded` after the end of the cast."""
        shown = [(hop, ends) for hop in path if (ends := self._ends(hop)) is not None]
        self._keep_free(ends for _, ends in shown)
        dots = self._layout.cell is NodeShape.DOT
        self._refresh_segments(shown if dots else [], dim=dim)
        self._refresh_hops([] if dots else shown, faded=faded, dim=dim)

    def place(self, name: str) -> Point | None:
        """The centre of a node's circle."""
        return self._layout.source if name == self._source else self._layout.nodes.get(name)

    def label_boxes(self) -> list[Box]:
        """Where the rates are drawn."""
        return [*self._hop_figures(), *self.bus_figures()]

    def lines(self) -> tuple[object, ...]:
        """The lines of all hops and of the bus: equal as long as none takes another way."""
        bus = self._bus_for[2] if self._bus_for is not None else None
        return (bus, *(item.appearance.curve for item in self.hops.values()))

    def line_points(self) -> list[Point]:
        """Points on all hops and on the bus."""
        points = [point for item in self.hops.values() for point in sampled(item.appearance.curve)]
        if self._bus_for is not None:
            bus = self._bus_for[2]
            points += [point for line in (*bus.lines, *bus.branches) for point in sampled(BentLine(line))]
        return points

    def bus_figures(self) -> list[Box]:
        """The box of the multicast rate; none without a bus."""
        if self.bus_label is None:
            return []
        return [to_box(self.bus_label.boundingRect())]

    def _hop_figures(self) -> list[Box]:
        return [box for name, (_, box) in self._rate_boxes.items() if box is not None and name in self.rates]

    def lock_at(self, point: Point) -> LockItem | None:
        """The lock at a point, if there is one."""
        return next((item for item in self.locks.values() if item.box.contains(point)), None)

    def clears(self, figures: Box) -> bool:
        """Whether neither the bus nor a hop crosses these figures."""
        if self._bus_for is not None and not clears(self._bus_for[2], figures):
            return False
        return not any(
            figures.contains(point) for item in self.hops.values() for point in sampled(item.appearance.curve)
        )

    # --- the bus ---------------------------------------------------------------------------

    def refresh_stream(self, stream: MulticastStream | None, *, faded: bool, dim: bool) -> None:
        """Draw this multicast stream, or none."""
        receivers = (
            [name for name in stream.receivers if name in self._layout.nodes] if stream is not None else []
        )
        if stream is None or not receivers:
            for item in (self.bus, self.bus_label):
                if item is not None:
                    self._scene.removeItem(item)
            self.bus = self.bus_label = self._bus_for = None
            self._go_round(())
            return
        faded = faded or not stream.sending
        bus = self._lay(receivers)
        few = self._layout.cell in LARGE and len(bus.lines) <= MAX_MOVING
        appearance = MulticastAppearance(
            bus, self._layout.cell, stream.rate >= 1 and not faded and few, faded, dim
        )
        if self.bus is None or self.bus_label is None:
            self.bus, self.bus_label = MulticastItem(self._theme, appearance), MulticastRateItem(self._theme)
            self._scene.addItem(self.bus)
            self._scene.addItem(self.bus_label)
        self.bus.set_appearance(appearance)
        self.bus_label.show_rate(stream.label, to_point(appearance.bus.label), faded=faded, dim=dim)

    def _lay(self, receivers: list[str]) -> Bus:
        known = self._bus_for
        if known is None or known[0] is not self._layout or known[1] != receivers:
            known = self._bus_for = (self._layout, receivers, route_bus(self._layout, frozenset(receivers)))
            self._go_round(tuple(line_boxes(known[2])) if self._layout.cell in LARGE else ())
        return known[2]

    def _go_round(self, boxes: tuple[Box, ...]) -> None:
        """Route the hops around these areas."""
        if boxes != self._bus_boxes:
            self._bus_boxes = boxes
            self._route_again()

    # --- the hops --------------------------------------------------------------------------

    def _keep_free(self, shown: Iterable[HopEnds]) -> None:
        """Remember where short hops are, which no bent line may cover: it would seem to begin in them."""
        short = () if self._layout.ring else tuple(self._short_hops(shown))
        if short != self._short:
            self._short = short
            self._route_again()

    def _short_hops(self, shown: Iterable[HopEnds]) -> Iterator[Box]:
        step, source = self._layout.step.x, self._layout.source
        for ends in shown:
            start, end = ends.start, ends.end
            if source not in (start, end) and start.y == end.y and abs(start.x - end.x) <= step + 1:
                reach = self._layout.painted(start)[0].width / 2
                left = min(start.x, end.x) + reach
                yield Box(left, start.y - 3, max(1.0, step - 2 * reach), 6)

    def _refresh_hops(self, shown: Sequence[tuple[Hop, HopEnds]], *, faded: bool, dim: bool) -> None:
        for gone in self.hops.keys() - {hop.node for hop, _ in shown}:
            self._scene.removeItem(self.hops.pop(gone))
        for gone in self.rates.keys() - {hop.node for hop, _ in shown if hop.rate >= 1}:
            self._scene.removeItem(self.rates.pop(gone))
        locked = {hop.node for hop, _ in shown if self._has_lock(hop)}
        for gone in self.locks.keys() - locked:
            self._scene.removeItem(self.locks.pop(gone))
        taken: list[Box] = []
        appearances = [(hop, self._hop_appearance(hop, ends, faded=faded, dim=dim)) for hop, ends in shown]
        for hop, appearance in appearances:
            if hop.node in locked:
                taken.append(self._show_lock(hop, appearance.curve, dim=dim))
        lines = tuple(appearance.curve for _, appearance in appearances)
        for hop, appearance in appearances:
            item = self.hops.get(hop.node)
            if item is None:
                item = self.hops[hop.node] = HopItem(self._theme, appearance)
                self._scene.addItem(item)
            item.set_appearance(appearance)
            if hop.rate >= 1 and self._layout.cell in LARGE:
                self._show_rate(hop, appearance.curve, lines, taken, dim=dim)

    def _has_lock(self, hop: Hop) -> bool:
        """The signs of a failed and of a paused hop take its place."""
        signed = hop.failed or hop.paused
        return hop.encrypted is not None and not signed and self._layout.cell in LARGE

    def _show_lock(self, hop: Hop, curve: HopLine, *, dim: bool) -> Box:
        """Show it on the curve; returns what the rates have to leave free."""
        item = self.locks.get(hop.node)
        if item is None:
            item = self.locks[hop.node] = LockItem(self._theme)
            self._scene.addItem(item)
        middle = curve.at(self._marker_position(curve))
        item.show_lock(
            (hop.upstream, hop.node), middle, self._layout.cell, encrypted=bool(hop.encrypted), dim=dim
        )
        return Box.around(middle, LOCK_HALF)

    def _refresh_segments(self, shown: Iterable[tuple[Hop, HopEnds]], *, dim: bool) -> None:
        """Draw all hops between dots by one item."""
        kinds: tuple[list[Segment], ...] = ([], [], [], [])  # as `SegmentsItem` takes them
        for hop, ends in shown:
            kind = 1 if hop.failed else 2 if hop.repair else 3 if hop.paused else 0
            kinds[kind].append((ends.start, ends.end))
        segments = tuple(map(tuple, kinds))
        self.segments.set_segments(segments, self._scene.sceneRect() if any(segments) else QRectF(), dim=dim)

    def _ends(self, hop: Hop) -> HopEnds | None:
        """The circles that the hop connects; None if it can't be drawn."""
        start, end, cell = self.place(hop.upstream), self.place(hop.node), self._layout.cell
        if start is None or end is None or hop.upstream == hop.node:
            return None
        gap = {NodeShape.FULL: 6.0, NodeShape.COMPACT: 7.0}.get(cell, 3.0)
        cut_start = SOURCE_RADIUS + 6.0 if hop.upstream == self._source else cell.radius + gap
        return HopEnds(start, end, (cut_start, cell.radius + gap + (3 if cell in LARGE else 0)))

    def _hop_appearance(self, hop: Hop, ends: HopEnds, *, faded: bool, dim: bool) -> HopAppearance:
        cell, large = self._layout.cell, self._layout.cell in LARGE
        curve = self._curve(ends, straight=not large and hop.upstream != self._source)
        width = (3.0 if hop.lagging or cell is NodeShape.COMPACT else 4.0) if large else 1.5
        return HopAppearance(
            curve,
            hop.first,
            hop.last,
            1.75 if hop.repair or hop.paused else width,
            hop.moving and large,
            faded,
            dim=dim,
            head=large,
            failed=hop.failed,
            repair=hop.repair,
            paused=hop.paused,
            marker_position=self._marker_position(curve) if large and (hop.failed or hop.paused) else 0.5,
        )

    def _marker_position(self, curve: HopLine) -> float:
        """The position nearest to the middle where the sign of a hop covers no circle and no name."""
        known = self._marker_positions.get(curve)
        if known is None:
            known = self._marker_positions[curve] = self._find_marker_position(curve)
        return known

    def _find_marker_position(self, curve: HopLine) -> float:
        taken = [box for place in self._layout.nodes.values() for box in self._layout.painted(place)]
        taken += [*source_boxes(self._layout.source), *self._labels]
        for t in MARKER_POSITIONS:
            sign = Box.around(curve.at(t), MARKER_RADIUS)
            if not any(sign.intersects(box) for box in taken):
                return t
        return MARKER_POSITIONS[0]

    def _curve(self, ends: HopEnds, *, straight: bool) -> HopLine:
        """A cached line that avoids nodes and the figures if possible."""
        known = self._curves.get(ends)
        if known is None:
            known = self._curves[ends] = self._find_curve(ends, straight=straight)
        return known

    def _find_curve(self, ends: HopEnds, *, straight: bool) -> HopLine:
        layout = self._layout
        nodes = [box.widened(LINE_HALF) for box in self._obstacles(ends)]
        beyond = layout.width - LINE_HALF - 1
        # hops between the right ends of two rows bend to the right
        outside = Box(beyond, 0, layout.width, layout.height)
        others = [*self._bus_boxes, outside, *filter(None, [layout.summary])]
        if straight:
            curve = Curve.straight(ends)
        else:
            weighed = [*nodes, *nodes, *others]
            curve = route_hop(ends, layout.centre, self._bend_room(), weighed, layout.cell.badge)
        obstacles = [*nodes, *others]
        gaps = LANE_GAPS.get(layout.cell, ())
        if not gaps or self._bent_lines >= MAX_BENT or not any(covers(sampled(curve), obstacles)):
            return curve
        self._bent_lines += 1
        gap = gaps[self._bent.setdefault(ends.start, len(self._bent)) % len(gaps)]
        size = (layout.width, layout.height)
        for avoided in ([*obstacles, *self._short], obstacles, nodes):
            bent = route_line(ends, avoided, size, gap)
            if bent is not None:
                return bent
        return curve

    def _obstacles(self, ends: HopEnds) -> list[Box]:
        """What nodes paint, apart from the two circles that a hop connects."""
        layout = self._layout
        boxes: list[Box] = []
        for place in (*layout.nodes.values(), layout.source):
            painted = source_boxes(place) if place is layout.source else layout.painted(place)
            boxes += painted[1:] if place in (ends.start, ends.end) else painted
        return [box for box in boxes if box.width]

    def _bend_room(self) -> float:
        rightmost = max((place.x for place in self._layout.nodes.values()), default=0.0)
        return max(24.0, min(84.0, self._layout.width - rightmost - 8))

    def _show_rate(
        self, hop: Hop, curve: HopLine, lines: tuple[HopLine, ...], taken: list[Box], *, dim: bool
    ) -> None:
        item = self.rates.get(hop.node)
        if item is None:
            item = self.rates[hop.node] = RateItem(self._theme)
            self._scene.addItem(item)
        text = self._rate_text(hop)
        width, height = RateItem.size_of(text, hop.lagging)
        key = (lines, curve, width, height, self._layout.summary, self._bus_boxes, len(self.locks))
        known = self._rate_boxes.get(hop.node)
        if known is not None and known[0] == key:
            box = known[1]
        else:
            outside = hop.upstream == self._source
            box = self._rate_box(curve, lines, (width, height), taken, outside=outside)
            self._rate_boxes[hop.node] = (key, box)
        item.setVisible(box is not None)
        if box is not None:
            over = any(box.intersects(other) for other in self._bus_boxes)
            item.show_rate(text, box, lagging=hop.lagging, dim=dim, over=over)
            taken.append(box)

    def _rate_text(self, hop: Hop) -> str:
        short = self._layout.cell is NodeShape.COMPACT
        if hop.repair:
            return repair_rate(hop.rate, short=short)
        text = format_rate(hop.rate)
        text = text.split(" ")[0] if short else text
        return f"{REROUTED} {text}" if hop.rerouted else text

    def _rate_box(
        self,
        curve: HopLine,
        lines: Sequence[HopLine],
        size: tuple[float, float],
        taken: Sequence[Box],
        *,
        outside: bool,
    ) -> Box | None:
        """The box beside the line that covers nothing and is nearest to its middle; None without one."""
        near = bounds(sampled(curve)).widened(RATE_REACH)
        cells = [box for box in self._all_painted() if box.intersects(near)]
        others = [box for box in taken if box.intersects(near)]
        points = [point for line in lines for point in sampled(line) if near.contains(point)]
        best: Box | None = None
        least = 1e9
        for cost, t in ((0, 0.5), (1, 0.42), (1, 0.58), (2, 0.35), (2, 0.65), (3, 0.25), (3, 0.75)):
            if least <= cost:
                break
            for side in (True, False):
                box = self._beside(curve, t, *size, outside=side)
                wide = box.widened(LINE_HALF)
                covered = sum(box.intersects(other) for other in cells)
                covered += 3 * sum(box.intersects(other) for other in others)
                over = BUS_COST * sum(box.intersects(other) for other in self._bus_boxes)
                covered += any(wide.contains(point) for point in points)
                covered += 4 * (not box.is_inside(self._layout.width, self._layout.height, 2))
                score = covered * 10 + over + cost + (0.5 if side is not outside else 0)
                if score < least:
                    best, least = box, score
        return best if least < 10 else None

    def _all_painted(self) -> Iterable[Box]:
        """What rates must not cover, apart from each other and lines."""
        for place in self._layout.nodes.values():
            yield from self._layout.painted(place)
        yield from source_boxes(self._layout.source)
        yield from self._labels
        if self._layout.summary is not None:
            yield self._layout.summary

    def _beside(self, curve: HopLine, t: float, width: float, height: float, *, outside: bool) -> Box:
        at, before, after = curve.at(t), curve.at(t - 0.05), curve.at(t + 0.05)
        dx, dy = after.x - before.x, after.y - before.y
        length = (dx * dx + dy * dy) ** 0.5 or 1.0
        nx, ny = -dy / length, dx / length
        towards = nx * (self._layout.centre.x - at.x) + ny * (self._layout.centre.y - at.y) > 0
        sign = 1.0 if towards is not outside else -1.0
        reach = 8 + abs(nx) * width / 2 + abs(ny) * height / 2
        return Box(at.x + sign * nx * reach - width / 2, at.y + sign * ny * reach - height / 2, width, height)

    # --- motion ----------------------------------------------------------------------------

    @property
    def moving(self) -> bool:
        """Whether dots move along a hop or the bus."""
        return any(item.appearance.moving for item in self._dotted())

    def advance_dots(self, pixels: float) -> None:
        """Show all dots where they are after that many pixels."""
        for item in self._dotted():
            item.dots.set_phase(pixels % DOT_GAP)

    def _dotted(self) -> list[HopItem | MulticastItem]:
        return [*self.hops.values(), self.bus] if self.bus is not None else [*self.hops.values()]
