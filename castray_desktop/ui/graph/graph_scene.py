"""The node graph's scene: keeps its items in step with the nodes, the selection and the watched cast."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping

from PySide6.QtCore import QPointF, QRectF, Signal
from PySide6.QtWidgets import QGraphicsScene, QWidget

from castray_desktop.core.messages import CastState, CastSummary, DeliverySnapshot, DeliveryState, NodeInfo
from castray_desktop.ui.controls.glyphs import GlyphState
from castray_desktop.ui.graph.graph_items import (
    DOT_GAP,
    HopItem,
    HopLook,
    MiddleItem,
    RateItem,
    Thread,
    ThreadsItem,
    ZoneItem,
)
from castray_desktop.ui.graph.graph_layout import (
    SOURCE_RADIUS,
    Box,
    Cell,
    Curve,
    Plan,
    Point,
    arrange,
    clear_curve,
    ink,
)
from castray_desktop.ui.graph.graph_looks import Hop, Marks, cast_lines, hops, node_look, tool_tip, way_lines
from castray_desktop.ui.graph.graph_node import Dot, DotsItem, NodeItem
from castray_desktop.ui.nodes import NodeList, glyph_word, natural_key, node_glyph
from castray_desktop.ui.selection import RecipientSelection
from castray_desktop.ui.theme import Theme
from castray_desktop.ui.transfers.transfer_text import percent_text
from castray_desktop.ui.units import format_rate

Places = tuple[str, tuple[tuple[str, str], ...]]
_Population = tuple[tuple[object, ...], Places]  # of these nodes, these places


REPAIRED = "↪"
"""Before the rate of a hop that has replaced another one."""


class GraphScene(QGraphicsScene):
    """The items and where they are.

    Signal: `arranged()` when nodes lie elsewhere or the middle came or went.
    """

    arranged = Signal()

    def __init__(
        self,
        theme: Theme,
        nodes: NodeList,
        selection: RecipientSelection,
        parent: QWidget,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(parent)
        self.setItemIndexMethod(QGraphicsScene.ItemIndexMethod.NoIndex)
        self._theme, self._nodes, self._selection, self._now = theme, nodes, selection, now
        self.plan: Plan = arrange(736, 424, [])
        self.items_by_name: dict[str, NodeItem] = {}
        self._zones: list[ZoneItem] = []
        self._hops: dict[str, HopItem] = {}
        self._rates: dict[str, RateItem] = {}
        self._curves: dict[tuple[Point, Point, tuple[float, float]], Curve] = {}  # as the nodes lie now
        self._rate_boxes: dict[str, tuple[object, Box | None]] = {}  # a place is searched once for a hop
        self._threads = ThreadsItem(theme)
        self._threads_for: tuple[object, ...] = ()
        self.addItem(self._threads)
        self._dots = DotsItem(theme)
        self.addItem(self._dots)
        self._middle = MiddleItem(theme)
        self.addItem(self._middle)
        self._middle.hide()
        self._arranged_for: tuple[object, ...] = ()
        self._population: _Population | None = None
        self.focus_node = ""
        self.targets: frozenset[str] = frozenset()
        self.easing = False  # rings move in steps of `ease`
        self.dragging = False

    def say(self) -> None:
        """Say everything in the language that is spoken now."""
        self._place_zones()
        self.refresh()

    # --- places ----------------------------------------------------------------------------

    @property
    def source(self) -> str:
        """Of the shown cast; where none is shown, or that node is gone, the one chosen for the next cast."""
        cast = self._nodes.cast
        if cast is None or cast.state is CastState.CANCELLED or self._nodes.get(cast.source) is None:
            return self._selection.source
        return cast.source

    @property
    def outdated(self) -> bool:
        """Whether nodes have to lie elsewhere since another one is the source."""
        return bool(self._arranged_for) and self._arranged_for[2] != self.source

    def population(self) -> Places:
        """What the places depend on beside the room: the source, and the recipients with their zones."""
        source, nodes = self.source, self._nodes.nodes()
        seen = (source, tuple((node.name, node.zone, node.address) for node in nodes))
        if self._population is None or self._population[0] != seen:
            ordered = sorted(nodes, key=_neighbourhood)
            places = tuple((node.name, node.zone) for node in ordered if node.name != source)
            self._population = (seen, (source, places))
        return self._population[1]

    def fit(self, width: float, height: float) -> None:
        """Lay everything out for this room; does nothing when nothing about it is different."""
        source, recipients = self.population()
        key = (width, height, source, recipients)
        if key == self._arranged_for:
            return
        self._arranged_for = key
        self.plan = arrange(width, height, recipients)
        self._curves = {}
        self.setSceneRect(QRectF(0, 0, self.plan.width, self.plan.height))
        self._place_zones()
        self._drop_gone()
        self.refresh()
        self.arranged.emit()

    def _drop_gone(self) -> None:
        kept = {node.name for node in self._nodes.nodes()}
        if self.focus_node not in kept:
            self.focus_node = ""
        if self.plan.cell is Cell.DOT:
            kept &= {self.source}
        for name in self.items_by_name.keys() - kept:
            self.removeItem(self.items_by_name.pop(name))

    def _place_zones(self) -> None:
        for item in self._zones:
            self.removeItem(item)
        self._zones = []
        for plan in self.plan.zones:
            count = len(plan.members)
            template = self.tr("{zone} · {count} node") if count == 1 else self.tr("{zone} · {count} nodes")
            item = ZoneItem(self._theme, plan, template.format(zone=plan.name, count=count))
            item.keep_clear_of([other.label for other in self._zones])
            item.keep_within(self.plan.width)
            self._zones.append(item)
            self.addItem(item)

    def place(self, name: str) -> Point | None:
        """Where a node's circle lies."""
        return self.plan.source if name == self.source else self.plan.nodes.get(name)

    # --- looks -----------------------------------------------------------------------------

    def refresh(self) -> None:
        """Draw the nodes, the path and the figures as they are now."""
        self._refresh_nodes()
        self._refresh_hops()
        self._refresh_middle()

    def _refresh_nodes(self) -> None:
        selected, source = self._selection.selected(), self.source
        dots = self._dots_now(selected) if self.plan.cell is Cell.DOT else ()
        self._dots.show_dots(dots, self.sceneRect() if dots else QRectF(), dim=self.dragging)
        for node in self._nodes.nodes() if not dots else filter(None, [self._nodes.get(source)]):
            place = self.place(node.name)
            if place is not None:
                marks = Marks(
                    selected=node.name in selected,
                    focused=node.name == self.focus_node,
                    target=node.name in self.targets,
                    dim=self._dims(node.name),
                )
                self._refresh_node(node, marks, place)

    def _dots_now(self, selected: frozenset[str]) -> tuple[Dot, ...]:
        marked = self.targets | {self.focus_node}
        return tuple(
            Dot(
                place,
                node_glyph(node, self._nodes.activity(name)),
                name in selected,
                name in marked,
            )
            for name, place in self.plan.nodes.items()
            if (node := self._nodes.get(name)) is not None
        )

    def _refresh_node(self, node: NodeInfo, marks: Marks, place: Point) -> None:
        is_source = node.name == self.source
        activity = self._nodes.activity(node.name)
        is_next = node.name == self._selection.source and not is_source
        look = node_look(
            node, self._nodes.cast, activity, marks, source=is_source, next_source=is_next, now=self._now()
        )
        item = self.items_by_name.get(node.name)
        if item is None:
            item = self.items_by_name[node.name] = NodeItem(self._theme, look, self.plan.cell)
            self.addItem(item)
        item.show_look(look, self.plan.cell, eased=self.easing)
        item.setPos(*place)

    def _dims(self, name: str) -> bool:
        if not self.dragging:
            return False
        return name not in self.targets if self.targets else not self._selection.selectable(name)

    def tool_tip(self, name: str) -> str:
        """A node's facts."""
        node = self._nodes.get(name)
        delivery = self._nodes.activity(name)
        way = way_lines(delivery, self._nodes.upstream_before(name), self._nodes.slowest)
        return tool_tip(node, delivery, way) if node else ""

    def words(self, name: str) -> str:
        """A node in one line, as a screen reader says it; "" for an unknown one."""
        node = self._nodes.get(name)
        if node is None:
            return ""
        look = self.items_by_name.get(name)
        parts = [name, glyph_word(node_glyph(node, self._nodes.activity(name)))]
        if look is not None and look.look.share is not None:
            parts.append(percent_text(look.look.share))
        if name in self._selection.selected():
            parts.append(glyph_word(GlyphState.SELECTED))
        return ", ".join(part for part in parts if part)

    def _refresh_hops(self) -> None:
        cast = self._nodes.cast
        deliveries = {item.node: item for item in self._nodes.deliveries()}
        dots = self.plan.cell is Cell.DOT
        self._refresh_threads(cast if dots else None, deliveries)
        path = hops(cast, deliveries, self._nodes.upstream_before) if not dots else []
        shown = [hop for hop in path if self._can_draw(hop)]
        names = {hop.node for hop in shown}
        for gone in self._hops.keys() - names:
            self.removeItem(self._hops.pop(gone))
        for gone in self._rates.keys() - {hop.node for hop in shown if hop.rate >= 1}:
            self.removeItem(self._rates.pop(gone))
        taken: list[Box] = []
        for hop in shown:
            look = self._hop_look(hop, calm=bool(cast and cast.state.finished))
            item = self._hops.get(hop.node)
            if item is None:
                item = self._hops[hop.node] = HopItem(self._theme, look)
                self.addItem(item)
            item.show_look(look)
            if hop.rate >= 1 and self.plan.cell in (Cell.FULL, Cell.COMPACT):
                self._show_rate(hop, look.curve, taken)

    def _refresh_threads(self, cast: CastSummary | None, deliveries: Mapping[str, DeliverySnapshot]) -> None:
        """Among dots a hop is a thread, and all of them are one item; made anew when a way has changed."""
        ways = [
            (item.node, item.upstream, item.state is DeliveryState.FAILED) for item in deliveries.values()
        ]
        key = (self.plan, cast and (cast.cast, cast.chain, cast.state), ways, self.dragging)
        if key == self._threads_for:
            return
        self._threads_for = key
        path = hops(cast, deliveries)
        lines: tuple[list[Thread], list[Thread]] = ([], [])
        for hop in path:
            start, end = self.place(hop.upstream), self.place(hop.node)
            if start is not None and end is not None:
                lines[hop.failed].append((start, end))
        room = self.sceneRect() if path else QRectF()
        self._threads.show_threads(tuple(lines[False]), tuple(lines[True]), room, dim=self.dragging)

    def _can_draw(self, hop: Hop) -> bool:
        both = self.place(hop.upstream) is not None and self.place(hop.node) is not None
        return both and hop.upstream != hop.node

    def _hop_look(self, hop: Hop, *, calm: bool) -> HopLook:
        plan, large = self.plan, self.plan.cell in (Cell.FULL, Cell.COMPACT)
        start, end = self.place(hop.upstream) or plan.source, self.place(hop.node) or plan.source
        gap = {Cell.FULL: 6.0, Cell.COMPACT: 7.0}.get(plan.cell, 3.0)
        from_source = hop.upstream == self.source
        cut_start = SOURCE_RADIUS + 6.0 if from_source else plan.cell.radius + gap
        if not large and not from_source:
            curve = Curve.straight(start, end, cut_start, plan.cell.radius + gap)
            return HopLook(
                curve, hop.first, hop.last, 1.5, False, calm, dim=self.dragging, head=False, failed=hop.failed
            )
        curve = self._curve(start, end, (cut_start, plan.cell.radius + gap + 3))
        width = (3.0 if hop.lagging or plan.cell is Cell.COMPACT else 4.0) if large else 1.5
        return HopLook(
            curve,
            hop.first,
            hop.last,
            width,
            hop.moving and large,
            calm,
            dim=self.dragging,
            head=large,
            failed=hop.failed,
        )

    def _curve(self, start: Point, end: Point, cuts: tuple[float, float]) -> Curve:
        """Clear of other nodes and of the figures, as far as that goes; worked out once for each hop."""
        known = self._curves.get((start, end, cuts))
        if known is None:
            plan, others = (
                self.plan,
                [place for place in self.plan.nodes.values() if place not in (start, end)],
            )
            if plan.source not in (start, end):
                others.append(plan.source)
            obstacles = [box for place in others for box in ink(plan.cell, place)]
            if plan.middle is not None:
                obstacles.append(plan.middle)
            known = clear_curve(start, end, plan.centre, cuts, self._bend_room(), obstacles)
            self._curves[start, end, cuts] = known
        return known

    def _bend_room(self) -> float:
        rightmost = max((place.x for place in self.plan.nodes.values()), default=0.0)
        return max(24.0, min(84.0, self.plan.width - rightmost - 8))

    def _show_rate(self, hop: Hop, curve: Curve, taken: list[Box]) -> None:
        item = self._rates.get(hop.node)
        if item is None:
            item = self._rates[hop.node] = RateItem(self._theme)
            self.addItem(item)
        text = format_rate(hop.rate)
        if self.plan.cell is Cell.COMPACT:
            text = text.split(" ")[0]
        if hop.repaired:
            text = f"{REPAIRED} {text}"
        width, height = RateItem.room(text, hop.lagging)
        key = (curve, width, height, self.plan.middle)
        known = self._rate_boxes.get(hop.node)
        if known is not None and known[0] == key:
            box = known[1]
        else:
            outside = hop.upstream == self.source
            box = self._rate_box(curve, width, height, taken, outside=outside)
            self._rate_boxes[hop.node] = (key, box)
        item.setVisible(box is not None)
        if box is not None:
            item.show_rate(text, box, lagging=hop.lagging, dim=self.dragging)
            taken.append(box)

    def _rate_box(
        self, curve: Curve, width: float, height: float, taken: list[Box], *, outside: bool
    ) -> Box | None:
        """Beside the middle of the curve, where it covers the least; None where it would cover something."""
        cells = [box for place in self.plan.nodes.values() for box in ink(self.plan.cell, place)]
        cells.extend(ink(Cell.FULL, self.plan.source))
        if self.plan.middle is not None:
            cells.append(self.plan.middle)
        best: Box | None = None
        least = 1e9
        for cost, t in ((0, 0.5), (1, 0.42), (1, 0.58), (2, 0.35), (2, 0.65), (3, 0.25), (3, 0.75)):
            for side in (True, False):
                box = self._beside(curve, t, width, height, outside=side)
                covered = sum(box.overlaps(other) for other in cells)
                covered += 3 * sum(box.overlaps(other) for other in taken)
                covered += sum(_holds(box, curve.at(step / 24)) for step in range(25))
                covered += 4 * (not self._inside(box))
                score = covered * 10 + cost + (0.5 if side is not outside else 0)
                if score < least:
                    best, least = box, score
        return best if least < 10 else None

    def _beside(self, curve: Curve, t: float, width: float, height: float, *, outside: bool) -> Box:
        at, before, after = curve.at(t), curve.at(t - 0.05), curve.at(t + 0.05)
        dx, dy = after.x - before.x, after.y - before.y
        length = (dx * dx + dy * dy) ** 0.5 or 1.0
        nx, ny = -dy / length, dx / length
        towards = nx * (self.plan.centre.x - at.x) + ny * (self.plan.centre.y - at.y) > 0
        sign = 1.0 if towards is not outside else -1.0
        reach = 8 + abs(nx) * width / 2 + abs(ny) * height / 2
        return Box(at.x + sign * nx * reach - width / 2, at.y + sign * ny * reach - height / 2, width, height)

    def _inside(self, box: Box) -> bool:
        plan = self.plan
        return (
            box.x >= 2
            and box.y >= 2
            and box.x + box.width <= plan.width - 2
            and (box.y + box.height <= plan.height - 2)
        )

    def _refresh_middle(self) -> None:
        cast, room = self._nodes.cast, self.plan.middle
        self._middle.setVisible(cast is not None and room is not None)
        if cast is not None and room is not None:
            self._middle.show_lines(*cast_lines(cast), room)
            if self._middle.dim != self.dragging:
                self._middle.dim = self.dragging
                self._middle.update()

    def figures(self) -> list[Box]:
        """Where figures are drawn: the rates of the hops and the shown cast's in the middle."""
        shown = [
            box for name, (_, box) in self._rate_boxes.items() if box is not None and name in self._rates
        ]
        if self._middle.isVisible() and self.plan.middle is not None:
            shown.append(self.plan.middle)
        return shown

    # --- motion and finding ----------------------------------------------------------------

    @property
    def moving(self) -> bool:
        """Whether dots run along a hop."""
        return any(item.look.moving for item in self._hops.values())

    def run_dots(self, pixels: float) -> None:
        """Move the dots to where they are after having run that far."""
        for item in self._hops.values():
            item.run_dots(pixels % DOT_GAP)

    def ease(self) -> None:
        """Move every ring a part of its way."""
        for item in self.items_by_name.values():
            item.ease()

    def node_at(self, place: QPointF) -> str:
        """The node at a place; "" for none."""
        point = Point(place.x(), place.y())
        if self.source and _holds(Cell.FULL.box(self.plan.source), point):
            return self.source
        for name, centre in self.plan.nodes.items():
            if _holds(self.plan.cell.box(centre), point):
                return name
        return ""

    def places(self) -> dict[str, Point]:
        """Every node and where its circle lies."""
        source = self.source
        return ({source: self.plan.source} if source else {}) | self.plan.nodes

    def zone_at(self, place: QPointF) -> tuple[str, ...]:
        """The nodes of the zone whose label is at a place."""
        return next((zone.plan.members for zone in self._zones if zone.label.contains(place)), ())

    def nodes_in(self, area: QRectF) -> frozenset[str]:
        """The recipients whose circle an area touches."""
        radius = self.plan.cell.radius
        reach = area.adjusted(-radius, -radius, radius, radius)
        return frozenset(
            name
            for name, place in self.places().items()
            if name != self._selection.source and reach.contains(*place)
        )

    def counts(self) -> Counter[str]:
        """How many items of each kind there are, for tests."""
        return Counter(type(item).__name__ for item in self.items())


def _neighbourhood(node: NodeInfo) -> tuple[object, ...]:
    """Neighbours in the network lie side by side; the nodes of one machine keep the order of their names."""
    address = "" if node.address.startswith("127.") else node.address
    return (natural_key(address), natural_key(node.name))


def _holds(box: Box, point: Point) -> bool:
    return box.x < point.x < box.x + box.width and box.y < point.y < box.y + box.height
