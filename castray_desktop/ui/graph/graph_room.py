"""Where things are in the graph's view, and where there is room for what lies over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, QRect

from castray_desktop.ui.graph.graph_items import to_rect
from castray_desktop.ui.graph.graph_layout import Box, Cell, ink
from castray_desktop.ui.graph.graph_scene import GraphScene
from castray_desktop.ui.graph.graph_stage import GraphStage

if TYPE_CHECKING:
    from castray_desktop.ui.graph.graph_view import GraphView

STEP = 16


class GraphRoom:
    """Rectangles in the view's coordinates, which are those of `stage` too."""

    def __init__(self, view: GraphView, scene: GraphScene, stage: GraphStage) -> None:
        self._view, self._scene, self._stage = view, scene, stage
        self._read_out_for: tuple[object, ...] = ()
        self._read_out_at: QRect | None = None

    def covered(self) -> list[QRect]:
        """Where nodes draw."""
        plan = self._scene.plan
        parts = [part for centre in plan.nodes.values() for part in ink(plan.cell, centre)]
        parts.extend(ink(Cell.FULL, plan.source))
        return [self._seen(part) for part in parts]

    def figures(self) -> list[QRect]:
        """Where the rates of the hops and the shown cast's figures are."""
        return [self._seen(box) for box in self._scene.figures()]

    def spot_of(self, name: str) -> QRect | None:
        """Where a node is drawn; None for one that has no place."""
        place = self._scene.place(name)
        if place is None:
            return None
        cell = Cell.FULL if name == self._scene.source else self._scene.plan.cell
        return self._seen(cell.box(place))

    def _seen(self, box: Box) -> QRect:
        return self._view.mapFromScene(to_rect(box)).boundingRect()

    def state(self) -> tuple[object, ...]:
        """Different when nodes, figures or the legend may be elsewhere."""
        view = self._view
        bars = (view.horizontalScrollBar().value(), view.verticalScrollBar().value())
        size = view.viewport().size()
        return id(self._scene.plan), view.zoom, size, bars, view.legend.isVisible()

    def show_read_out(self, lines: tuple[str, ...], icon: str) -> bool:
        """Say this about the path, in the stage's strip or where it covers no node; no lines say nothing.

        False where there is no such place, and it is not said.
        """
        read_out = self._view.read_out
        read_out.say(lines, icon)
        place = self._read_out_place() if lines else None
        read_out.setVisible(place is not None)
        if place is not None:
            read_out.setGeometry(place)
        return place is not None or not lines

    def _read_out_place(self) -> QRect | None:
        """Worked out anew when something lies elsewhere."""
        if self._stage.strip:
            return self._stage.strip_place().adjusted(16, 0, -16, 0)
        card = self._view.side_card
        beside = card.geometry() if card.isVisible() else None
        key = (self.state(), self._view.read_out.wanted_size(), self._stage.size(), beside)
        if key != self._read_out_for:
            self._read_out_for = key
            self._read_out_at = self._find_read_out_place()
        return self._read_out_at

    def _find_read_out_place(self) -> QRect | None:
        """Also below the side card, where that stands beside the view."""
        size, box = self._view.read_out.wanted_size(), self._stage.rect().adjusted(14, 10, -14, -14)
        taken = self.covered()
        for other in (self._view.legend, self._view.side_card):
            if other.isVisible():
                taken.append(other.geometry().adjusted(-8, -8, 8, 8))
        right, left, middle = box.right() - size.width(), box.left(), box.center().x() - size.width() // 2
        places = [right, middle, left, *range(right, left, -STEP)]
        for parts in (taken + self.figures(), taken):
            for y in (box.bottom() - size.height(), box.top()):
                for x in places:
                    place = QRect(QPoint(x, y), size)
                    if box.contains(place) and not any(place.intersects(part) for part in parts):
                        return place
        return None
