"""The node graph's scene: keeps its items in step with the nodes, the selection and the watched cast."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPointF, QRectF, Signal
from PySide6.QtWidgets import QGraphicsScene, QWidget

from castray_desktop.core.protocol.messages import CastState, NodeInfo
from castray_desktop.ui.graph.graph_appearance import (
    MulticastStream,
    cast_lines,
    hops,
    node_appearance,
    stream,
    tool_tip,
)
from castray_desktop.ui.graph.node_items import Dot, DotsItem, NodeHighlights, NodeItem
from castray_desktop.ui.graph.node_layout import Box, GraphLayout, NodeShape, Point, compute_layout
from castray_desktop.ui.graph.path_layer import PathLayer
from castray_desktop.ui.graph.scene_items import CastSummaryItem, ZoneItem, to_box
from castray_desktop.ui.model.node_list import NodeList, glyph_word, natural_key, node_glyph
from castray_desktop.ui.model.recipient_selection import RecipientSelection
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.path_text import (
    encryption_state,
    hop_encryption_line,
    multicast_encryption_line,
    read_out_lines,
    transport_text,
)
from castray_desktop.ui.transfers.transfer_text import percent_text
from castray_desktop.ui.widgets.status_glyphs import GlyphState

Places = tuple[str, tuple[tuple[str, str], ...]]
_CachedInput = tuple[tuple[NodeInfo, ...], tuple[object, ...], Places]  # of these nodes, these places


class GraphScene(QGraphicsScene):
    """The items of the graph.

    Signal: `layout_changed()` after nodes have moved.
    """

    layout_changed = Signal()

    def __init__(
        self,
        theme: Theme,
        nodes: NodeList,
        selection: RecipientSelection,
        parent: QWidget,
        now: Callable[[], float],
    ) -> None:
        super().__init__(parent)
        self.setItemIndexMethod(QGraphicsScene.ItemIndexMethod.NoIndex)
        self._theme, self._nodes, self._selection, self._now = theme, nodes, selection, now
        self.layout: GraphLayout = compute_layout(736, 424, [])
        self.items_by_name: dict[str, NodeItem] = {}
        self._zones: list[ZoneItem] = []
        self.path = PathLayer(theme, self, self.layout)
        self._dots = DotsItem(theme)
        self.addItem(self._dots)
        self._summary = CastSummaryItem(theme)
        self.addItem(self._summary)
        self._summary.hide()
        self._laid_out_for: tuple[object, ...] = ()
        self._path_for: tuple[object, ...] = ()
        self._dots_for: tuple[object, ...] = ()
        self._layout_input: _CachedInput | None = None
        self.focus_node = ""
        self.targets: frozenset[str] = frozenset()
        self.easing = False  # rings move in steps of `ease`
        self.dragging = False

    def retranslate(self) -> None:
        """Set all texts in the current language."""
        self._place_zones()
        self.refresh()

    # --- places ----------------------------------------------------------------------------

    @property
    def source(self) -> str:
        """The source of the shown cast; without one, or when it is gone, that of the next cast."""
        cast = self._nodes.cast
        if cast is None or cast.state is CastState.CANCELLED or self._nodes.get(cast.source) is None:
            return self._selection.source
        return cast.source

    @property
    def layout_outdated(self) -> bool:
        """Whether the source has changed since the layout was computed."""
        return bool(self._laid_out_for) and self._laid_out_for[2] != self.source

    def layout_input(self) -> Places:
        """What the layout depends on apart from the size: the source, and the recipients with their zones."""
        source, nodes = self.source, self._nodes.nodes()
        known = self._layout_input
        if known is not None and known[0] is nodes and known[2][0] == source:
            return known[2]
        seen = (source, tuple((node.name, node.zone, node.address) for node in nodes))
        if known is None or known[1] != seen:
            ordered = sorted(nodes, key=_network_order)
            places = (source, tuple((node.name, node.zone) for node in ordered if node.name != source))
        else:
            places = known[2]
        self._layout_input = (nodes, seen, places)
        return places

    def preview_layout(self, width: float, height: float) -> GraphLayout:
        """The layout for this size."""
        return compute_layout(width, height, self.layout_input()[1])

    def fit(self, width: float, height: float) -> None:
        """Compute the layout for this size and move all items; does nothing without a change."""
        source, recipients = self.layout_input()
        key = (width, height, source, recipients)
        if key == self._laid_out_for:
            return
        self._laid_out_for = key
        self.layout = compute_layout(width, height, recipients)
        self.setSceneRect(QRectF(0, 0, self.layout.width, self.layout.height))
        self._place_zones()
        self.path.set_layout(self.layout, source, self.caption_boxes())
        self._remove_missing()
        self.refresh()
        self.layout_changed.emit()

    def _remove_missing(self) -> None:
        kept = {node.name for node in self._nodes.nodes()}
        if self.focus_node not in kept:
            self.focus_node = ""
        if self.layout.cell is NodeShape.DOT:
            kept &= {self.source}
        for name in self.items_by_name.keys() - kept:
            self.removeItem(self.items_by_name.pop(name))

    def _place_zones(self) -> None:
        for item in self._zones:
            self.removeItem(item.name)
            self.removeItem(item)
        self._zones = []
        for zone in self.layout.zones:
            count = len(zone.members)
            template = self.tr("{zone} · {count} node") if count == 1 else self.tr("{zone} · {count} nodes")
            item = ZoneItem(self._theme, zone, template.format(zone=zone.name, count=count))
            item.name.move_clear([other.name.label for other in self._zones], self.layout.width)
            self._zones.append(item)
            self.addItem(item)
            self.addItem(item.name)

    def place(self, name: str) -> Point | None:
        """The centre of a node's circle."""
        return self.layout.source if name == self.source else self.layout.nodes.get(name)

    # --- appearances -----------------------------------------------------------------------------

    def refresh(self) -> None:
        """Draw the nodes, the path and the figures as they are now."""
        self._refresh_nodes()
        self._refresh_path()
        self._refresh_summary()

    def _refresh_nodes(self) -> None:
        selected, source = self._selection.selected(), self.source
        dots = self.layout.cell is NodeShape.DOT
        self._refresh_dots(selected, shown=dots)
        for node in self._nodes.nodes() if not dots else filter(None, [self._nodes.get(source)]):
            place = self.place(node.name)
            if place is not None:
                self._refresh_node(node, place, selected=node.name in selected)

    def _refresh_dots(self, selected: frozenset[str], *, shown: bool) -> None:
        """Rebuild the dots only when one of them looks different."""
        if not shown:
            self._dots_for = ()
            self._dots.show_dots((), QRectF(), dim=self.dragging)
            return
        appearances = (self._nodes.state_version, selected, self.targets, self.focus_node, self.dragging)
        if self._dots_for != (self.layout, *appearances):
            self._dots_for = (self.layout, *appearances)
            self._dots.show_dots(self._dots_now(selected), self.sceneRect(), dim=self.dragging)

    def _dots_now(self, selected: frozenset[str]) -> tuple[Dot, ...]:
        marked = self.targets | {self.focus_node}
        return tuple(
            Dot(
                place,
                node_glyph(node, self._nodes.activity(name)),
                name in selected,
                name in marked,
            )
            for name, place in self.layout.nodes.items()
            if (node := self._nodes.get(name)) is not None
        )

    def _refresh_node(self, node: NodeInfo, place: Point, *, selected: bool) -> None:
        is_source = node.name == self.source
        appearance = node_appearance(
            node,
            self._nodes.cast,
            self._nodes.activity(node.name),
            NodeHighlights(
                selected=selected,
                focused=node.name == self.focus_node,
                target=node.name in self.targets,
                dim=self._is_dimmed(node.name),
            ),
            source=is_source,
            next_source=node.name == self._selection.source and not is_source,
            now=self._now(),
        )
        item = self.items_by_name.get(node.name)
        if item is None:
            item = self.items_by_name[node.name] = NodeItem(self._theme, appearance, self.layout.cell)
            self.addItem(item)
        item.setPos(*place)
        item.set_appearance(appearance, self.layout.cell, self.layout.name_width, eased=self.easing)

    def _is_dimmed(self, name: str) -> bool:
        if not self.dragging:
            return False
        return name not in self.targets if self.targets else not self._selection.selectable(name)

    def tool_tip(self, name: str) -> str:
        """A node's facts."""
        node = self._nodes.get(name)
        return tool_tip(node, self._nodes, self.source) if node else ""

    def tool_tip_at(self, place: QPointF) -> str:
        """The tool tip at a position; "" for none."""
        if name := self.node_at(place):
            return self.tool_tip(name)
        point = Point(place.x(), place.y())
        if lock := self.path.lock_at(point):
            return hop_encryption_line(lock.encrypted, lock.upstream, lock.node)
        on_bus = any(box.contains(point) for box in self.path.bus_figures())
        if not on_bus:
            return ""
        return "\n".join((*read_out_lines(self._nodes.listening), multicast_encryption_line()))

    def spoken_description(self, name: str) -> str:
        """A node in one line, for screen readers; "" for an unknown one."""
        node = self._nodes.get(name)
        if node is None:
            return ""
        item = self.items_by_name.get(name)
        parts = [name, glyph_word(node_glyph(node, self._nodes.activity(name)))]
        if item is not None and item.appearance.share is not None:
            parts.append(percent_text(item.appearance.share))
        parts += transport_text(name, self._nodes.listening, self._nodes.repairs)
        if (activity := self._nodes.activity(name)) is not None:
            parts.append(encryption_state(activity.encrypted))
        if name in self._selection.selected():
            parts.append(glyph_word(GlyphState.SELECTED))
        return ", ".join(part for part in parts if part)

    def _refresh_path(self) -> None:
        cast, flow = self._nodes.cast, stream(self._nodes)
        faded = bool(cast and cast.state.finished)
        self.path.refresh_stream(flow, faded=faded, dim=self.dragging)
        key = self._path_key(flow) if self.layout.cell is NodeShape.DOT else ()
        if not key or key != self._path_for:
            self._path_for = key
            path = hops(self._nodes, frozenset(flow.receivers) if flow is not None else ())
            self.path.refresh_hops(path, faded=faded, dim=self.dragging)

    def _path_key(self, flow: MulticastStream | None) -> tuple[object, ...]:
        """Rebuild the lines between dots only when a hop changes."""
        nodes, cast = self._nodes, self._nodes.cast
        shown = cast and (cast.cast, cast.chain, cast.state)
        receivers = flow and flow.receivers
        return self.layout, shown, nodes.state_version, receivers, nodes.repairs.keys(), self.dragging

    def _refresh_summary(self) -> None:
        cast, room = self._nodes.cast, self.layout.summary if self.has_summary else None
        self._summary.setVisible(cast is not None and room is not None)
        if cast is not None and room is not None:
            self._summary.show_lines(cast_lines(cast), room, dim=self.dragging)

    @property
    def has_summary(self) -> bool:
        """Whether the layout has space for a cast's figures."""
        return self.layout.summary is not None and self.path.clears(self.layout.summary)

    def label_boxes(self) -> list[Box]:
        """Where figures are drawn: the rates of the hops and the shown cast's in the middle."""
        shown = self.path.label_boxes()
        if self._summary.isVisible() and self.layout.summary is not None:
            shown.append(self.layout.summary)
        return shown

    def caption_boxes(self) -> list[Box]:
        """The names of the zones."""
        return [to_box(zone.name.label) for zone in self._zones]

    # --- motion and finding ----------------------------------------------------------------

    def ease(self) -> None:
        """Move every ring a step towards its share."""
        for item in self.items_by_name.values():
            item.ease()

    def node_at(self, place: QPointF) -> str:
        """The node at a place; "" for none."""
        point = Point(place.x(), place.y())
        if self.source and NodeShape.FULL.box(self.layout.source).contains(point):
            return self.source
        for name, centre in self.layout.nodes.items():
            if self.layout.cell.box(centre).contains(point):
                return name
        return ""

    def places(self) -> dict[str, Point]:
        """The centre of the circle of every node."""
        source = self.source
        return ({source: self.layout.source} if source else {}) | self.layout.nodes

    def zone_at(self, place: QPointF) -> tuple[str, ...]:
        """The nodes of the zone whose label is at a place."""
        return next((item.zone.members for item in self._zones if item.name.label.contains(place)), ())

    def nodes_in(self, area: QRectF) -> frozenset[str]:
        """The recipients whose circle an area touches."""
        radius = self.layout.cell.radius
        reach = area.adjusted(-radius, -radius, radius, radius)
        return frozenset(
            name
            for name, place in self.places().items()
            if name != self._selection.source and reach.contains(*place)
        )


def _network_order(node: NodeInfo) -> tuple[object, ...]:
    """Sorts neighbours in the network side by side, and the nodes of one machine by name."""
    address = "" if node.address.startswith("127.") else node.address
    return (natural_key(address), natural_key(node.name))
