"""The shown cast's path on the scene: hops with their rates, and the bus of the stream for many at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from PySide6.QtCore import QRectF
from PySide6.QtWidgets import QGraphicsScene

from castray_desktop.ui.graph.edge_geometry import Bus, Curve, clear_curve, lay_bus, leaves_free, line_boxes
from castray_desktop.ui.graph.graph_appearance import Hop, Stream
from castray_desktop.ui.graph.hop_items import HopAppearance, HopItem, RateItem, Thread, ThreadsItem
from castray_desktop.ui.graph.multicast_items import MulticastAppearance, MulticastItem, MulticastRateItem
from castray_desktop.ui.graph.node_layout import SOURCE_RADIUS, Box, NodeShape, Plan, Point, ink
from castray_desktop.ui.graph.zone_items import DOT_GAP, to_point
from castray_desktop.ui.i18n.number_format import format_rate
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.path_text import repair_rate

REROUTED = "↪"
"""Before the rate of a hop that has replaced another one."""

OVER_BUS = 4  # what a rate costs there; 10: it is not shown
SIGN_REACH = 8.0
SIGN_PLACES = (0.5, 0.42, 0.58, 0.35, 0.65, 0.28, 0.72, 0.2, 0.8)
MOST_MOVING = 16  # ways of a bus with dots that run
LARGE = (NodeShape.FULL, NodeShape.COMPACT)


class PathLayer:
    """Keeps these items in step with the path that it is told; among dots a hop is a thread."""

    def __init__(self, theme: Theme, scene: QGraphicsScene) -> None:
        self._theme, self._scene = theme, scene
        self._plan, self._source = Plan(NodeShape.FULL, True, 0, 0, Point(0, 0), Point(0, 0), {}), ""
        self.hops: dict[str, HopItem] = {}
        self.rates: dict[str, RateItem] = {}
        self.bus: MulticastItem | None = None
        self.bus_label: MulticastRateItem | None = None
        self._bus_for: tuple[Plan, Collection[str], Bus] | None = None  # laid once for the same listeners
        self._bus_boxes: tuple[Box, ...] = ()  # where its lines are
        self._labels: list[Box] = []  # of the zones
        self._curves: dict[tuple[Point, Point, tuple[float, float]], Curve] = {}  # as the nodes lie now
        self._rate_boxes: dict[str, tuple[object, Box | None]] = {}  # a place is searched once for a hop
        self.threads = ThreadsItem(theme)
        scene.addItem(self.threads)

    def arrange(self, plan: Plan, source: str, labels: list[Box]) -> None:
        """Use this layout of nodes and zone names."""
        self._plan, self._source, self._labels = plan, source, labels
        self._curves = {}

    def refresh_hops(self, path: Sequence[Hop], *, calm: bool, dim: bool) -> None:
        """Draw these hops; calm once the cast has ended."""
        shown = [hop for hop in path if self._can_draw(hop)]
        dots = self._plan.cell is NodeShape.DOT
        self._refresh_threads(shown if dots else [], dim=dim)
        self._refresh_hops([] if dots else shown, calm=calm, dim=dim)

    def place(self, name: str) -> Point | None:
        """Where a node's circle lies."""
        return self._plan.source if name == self._source else self._plan.nodes.get(name)

    def figures(self) -> list[Box]:
        """Where the rates are drawn."""
        return [*self._hop_figures(), *self.bus_figures()]

    def bus_figures(self) -> list[Box]:
        """Where the rate of the stream for many is drawn; nowhere without one."""
        if self.bus_label is None:
            return []
        label = self.bus_label.boundingRect()
        return [Box(label.x(), label.y(), label.width(), label.height())]

    def _hop_figures(self) -> list[Box]:
        return [box for name, (_, box) in self._rate_boxes.items() if box is not None and name in self.rates]

    def leaves_free(self, figures: Box) -> bool:
        """Whether the bus, where there is one, runs over none of these figures."""
        return self._bus_for is None or leaves_free(self._bus_for[2], figures)

    # --- the bus ---------------------------------------------------------------------------

    def refresh_stream(self, stream: Stream | None, *, calm: bool, dim: bool) -> None:
        """Draw this stream for many at once; None draws none."""
        fed = [name for name in stream.fed if name in self._plan.nodes] if stream is not None else []
        if stream is None or not fed:
            for item in (self.bus, self.bus_label):
                if item is not None:
                    self._scene.removeItem(item)
            self.bus = self.bus_label = self._bus_for = None
            self._go_round(())
            return
        calm = calm or not stream.sending
        bus = self._lay(fed)
        few = self._plan.cell in LARGE and len(bus.ways) <= MOST_MOVING
        look = MulticastAppearance(bus, self._plan.cell, stream.rate >= 1 and not calm and few, calm, dim)
        if self.bus is None or self.bus_label is None:
            self.bus, self.bus_label = MulticastItem(self._theme, look), MulticastRateItem(self._theme)
            self._scene.addItem(self.bus)
            self._scene.addItem(self.bus_label)
        self.bus.show_look(look)
        self.bus_label.show_rate(stream.label, to_point(look.bus.label), calm=calm, dim=dim)

    def _lay(self, fed: list[str]) -> Bus:
        known = self._bus_for
        if known is None or known[0] is not self._plan or known[1] != fed:
            known = self._bus_for = (self._plan, fed, lay_bus(self._plan, frozenset(fed)))
            self._go_round(tuple(line_boxes(known[2])) if self._plan.cell in LARGE else ())
        return known[2]

    def _go_round(self, boxes: tuple[Box, ...]) -> None:
        """Route the hops around these areas."""
        if boxes != self._bus_boxes:
            self._bus_boxes = boxes
            self._curves = {}

    # --- the hops --------------------------------------------------------------------------

    def _refresh_hops(self, shown: Sequence[Hop], *, calm: bool, dim: bool) -> None:
        for gone in self.hops.keys() - {hop.node for hop in shown}:
            self._scene.removeItem(self.hops.pop(gone))
        for gone in self.rates.keys() - {hop.node for hop in shown if hop.rate >= 1}:
            self._scene.removeItem(self.rates.pop(gone))
        taken: list[Box] = []
        for hop in shown:
            look = self._hop_look(hop, calm=calm, dim=dim)
            item = self.hops.get(hop.node)
            if item is None:
                item = self.hops[hop.node] = HopItem(self._theme, look)
                self._scene.addItem(item)
            item.show_look(look)
            if hop.rate >= 1 and self._plan.cell in LARGE:
                self._show_rate(hop, look.curve, taken, dim=dim)

    def _refresh_threads(self, shown: Iterable[Hop], *, dim: bool) -> None:
        """All of them are one item."""
        whole: list[Thread] = []
        failed: list[Thread] = []
        repairs: list[Thread] = []
        paused: list[Thread] = []
        for hop in shown:
            start, end = self.place(hop.upstream), self.place(hop.node)
            if start is not None and end is not None:
                kind = failed if hop.failed else repairs if hop.repair else paused if hop.paused else whole
                kind.append((start, end))
        threads = (tuple(whole), tuple(failed), tuple(repairs), tuple(paused))
        self.threads.show_threads(threads, self._scene.sceneRect() if any(threads) else QRectF(), dim=dim)

    def _can_draw(self, hop: Hop) -> bool:
        both = self.place(hop.upstream) is not None and self.place(hop.node) is not None
        return both and hop.upstream != hop.node

    def _hop_look(self, hop: Hop, *, calm: bool, dim: bool) -> HopAppearance:
        plan, large = self._plan, self._plan.cell in LARGE
        start, end = self.place(hop.upstream) or plan.source, self.place(hop.node) or plan.source
        gap = {NodeShape.FULL: 6.0, NodeShape.COMPACT: 7.0}.get(plan.cell, 3.0)
        from_source = hop.upstream == self._source
        cut_start = SOURCE_RADIUS + 6.0 if from_source else plan.cell.radius + gap
        if large or from_source:
            curve = self._curve(start, end, (cut_start, plan.cell.radius + gap + 3))
            width = (3.0 if hop.lagging or plan.cell is NodeShape.COMPACT else 4.0) if large else 1.5
        else:
            curve, width = Curve.straight(start, end, cut_start, plan.cell.radius + gap), 1.5
        return HopAppearance(
            curve,
            hop.first,
            hop.last,
            1.75 if hop.repair or hop.paused else width,
            hop.moving and large,
            calm,
            dim=dim,
            head=large,
            failed=hop.failed,
            repair=hop.repair,
            paused=hop.paused,
            sign_at=self._sign_at(curve) if large and (hop.failed or hop.paused) else 0.5,
        )

    def _sign_at(self, curve: Curve) -> float:
        """Near the middle, where the sign of a failed or paused hop covers no circle and no name."""
        taken = [box for place in self._plan.nodes.values() for box in ink(self._plan.cell, place)]
        taken += [*ink(NodeShape.FULL, self._plan.source), *self._labels]
        for t in SIGN_PLACES:
            x, y = curve.at(t)
            sign = Box(x - SIGN_REACH, y - SIGN_REACH, 2 * SIGN_REACH, 2 * SIGN_REACH)
            if not any(sign.overlaps(box) for box in taken):
                return t
        return SIGN_PLACES[0]

    def _curve(self, start: Point, end: Point, cuts: tuple[float, float]) -> Curve:
        """Clear of other nodes and of the figures, as far as that goes; worked out once for each hop."""
        known = self._curves.get((start, end, cuts))
        if known is None:
            plan, others = (
                self._plan,
                [place for place in self._plan.nodes.values() if place not in (start, end)],
            )
            if plan.source not in (start, end):
                others.append(plan.source)
            obstacles = 2 * [box for place in others for box in ink(plan.cell, place)]
            obstacles.extend(self._bus_boxes)
            if plan.middle is not None:
                obstacles.append(plan.middle)
            room, badge = self._bend_room(), plan.cell.badge
            known = clear_curve(start, end, plan.centre, cuts, room, obstacles, badge)
            self._curves[start, end, cuts] = known
        return known

    def _bend_room(self) -> float:
        rightmost = max((place.x for place in self._plan.nodes.values()), default=0.0)
        return max(24.0, min(84.0, self._plan.width - rightmost - 8))

    def _show_rate(self, hop: Hop, curve: Curve, taken: list[Box], *, dim: bool) -> None:
        item = self.rates.get(hop.node)
        if item is None:
            item = self.rates[hop.node] = RateItem(self._theme)
            self._scene.addItem(item)
        text = self._rate_text(hop)
        width, height = RateItem.room(text, hop.lagging)
        key = (curve, width, height, self._plan.middle, self._bus_boxes)
        known = self._rate_boxes.get(hop.node)
        if known is not None and known[0] == key:
            box = known[1]
        else:
            outside = hop.upstream == self._source
            box = self._rate_box(curve, width, height, taken, outside=outside)
            self._rate_boxes[hop.node] = (key, box)
        item.setVisible(box is not None)
        if box is not None:
            over = any(box.overlaps(other) for other in self._bus_boxes)
            item.show_rate(text, box, lagging=hop.lagging, dim=dim, over=over)
            taken.append(box)

    def _rate_text(self, hop: Hop) -> str:
        short = self._plan.cell is NodeShape.COMPACT
        if hop.repair:
            return repair_rate(hop.rate, short=short)
        text = format_rate(hop.rate)
        text = text.split(" ")[0] if short else text
        return f"{REROUTED} {text}" if hop.rerouted else text

    def _rate_box(
        self, curve: Curve, width: float, height: float, taken: list[Box], *, outside: bool
    ) -> Box | None:
        """Beside the middle of the curve, where it covers the least; None where it would cover something."""
        cells = [box for place in self._plan.nodes.values() for box in ink(self._plan.cell, place)]
        cells.extend(ink(NodeShape.FULL, self._plan.source))
        cells.extend(self._labels)
        if self._plan.middle is not None:
            cells.append(self._plan.middle)
        best: Box | None = None
        least = 1e9
        for cost, t in ((0, 0.5), (1, 0.42), (1, 0.58), (2, 0.35), (2, 0.65), (3, 0.25), (3, 0.75)):
            for side in (True, False):
                box = self._beside(curve, t, width, height, outside=side)
                covered = sum(box.overlaps(other) for other in cells)
                covered += 3 * sum(box.overlaps(other) for other in taken)
                over = OVER_BUS * sum(box.overlaps(other) for other in self._bus_boxes)
                covered += sum(box.holds(curve.at(step / 24)) for step in range(25))
                covered += 4 * (not self._inside(box))
                score = covered * 10 + over + cost + (0.5 if side is not outside else 0)
                if score < least:
                    best, least = box, score
        return best if least < 10 else None

    def _beside(self, curve: Curve, t: float, width: float, height: float, *, outside: bool) -> Box:
        at, before, after = curve.at(t), curve.at(t - 0.05), curve.at(t + 0.05)
        dx, dy = after.x - before.x, after.y - before.y
        length = (dx * dx + dy * dy) ** 0.5 or 1.0
        nx, ny = -dy / length, dx / length
        towards = nx * (self._plan.centre.x - at.x) + ny * (self._plan.centre.y - at.y) > 0
        sign = 1.0 if towards is not outside else -1.0
        reach = 8 + abs(nx) * width / 2 + abs(ny) * height / 2
        return Box(at.x + sign * nx * reach - width / 2, at.y + sign * ny * reach - height / 2, width, height)

    def _inside(self, box: Box) -> bool:
        plan = self._plan
        return (
            box.x >= 2
            and box.y >= 2
            and box.x + box.width <= plan.width - 2
            and (box.y + box.height <= plan.height - 2)
        )

    # --- motion ----------------------------------------------------------------------------

    @property
    def moving(self) -> bool:
        """Whether dots run along a hop or the bus."""
        return any(item.appearance.moving for item in self.hops.values()) or (
            self.bus is not None and self.bus.appearance.moving
        )

    def run_dots(self, pixels: float) -> None:
        """Move the dots to where they are after having run that far."""
        for item in self.hops.values():
            item.run_dots(pixels % DOT_GAP)
        if self.bus is not None:
            self.bus.run_dots(pixels % DOT_GAP)
