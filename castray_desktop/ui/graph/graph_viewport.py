"""The area that the graph view shares with the widgets over it, and what is drawn where."""

from __future__ import annotations

from PySide6.QtCore import QMargins, QPoint, QRect
from PySide6.QtWidgets import QGraphicsView, QVBoxLayout, QWidget

from castray_desktop.ui.graph.graph_scene import GraphScene
from castray_desktop.ui.graph.node_layout import Box, NodeShape, ink
from castray_desktop.ui.graph.overlays import Legend, ReadOut
from castray_desktop.ui.graph.side_card import SideCard
from castray_desktop.ui.graph.zone_items import to_rect


class GraphStage(QWidget):
    """The view fills it but for its margins: the side card can stand at the right or at the bottom.

    Above what stands at the bottom there may be a strip for one line of words.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.side = self.below = self.strip = 0  # pixels that are left free
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)

    def fill(self, view: QWidget) -> None:
        """Let the view fill this widget."""
        self._column.addWidget(view)

    def set_side(self, width: int) -> None:
        """Leave so much free at the right, from now on; the view has its new size at once."""
        self.side = width
        self._make_room()

    def set_below(self, height: int) -> None:
        """Leave so much free at the bottom."""
        self.below = height
        self._make_room()

    def set_strip(self, height: int) -> None:
        """Leave so much free for a line of words, above what stands at the bottom."""
        self.strip = height
        self._make_room()

    def strip_place(self) -> QRect:
        """The rectangle of that line."""
        return QRect(0, self.height() - self.below - self.strip, self.width() - self.side, self.strip)

    def _make_room(self) -> None:
        wanted = QMargins(0, 0, self.side, self.below + self.strip)
        if wanted != self._column.contentsMargins():
            self._column.setContentsMargins(wanted)
            self._column.activate()


STEP = 16


class GraphViewport:
    """Rectangles in the view's coordinates, which are those of `stage` too."""

    def __init__(
        self,
        view: QGraphicsView,
        scene: GraphScene,
        stage: GraphStage,
        *,
        legend: Legend,
        read_out: ReadOut,
        side_card: SideCard,
    ) -> None:
        self._view, self._scene, self._stage = view, scene, stage
        self._legend, self._read_out, self._side_card = legend, read_out, side_card
        self._read_out_for: tuple[object, ...] = ()
        self._read_out_at: QRect | None = None

    def covered(self) -> list[QRect]:
        """The rectangles that nodes paint."""
        plan = self._scene.plan
        parts = [part for centre in plan.nodes.values() for part in ink(plan.cell, centre)]
        parts.extend(ink(NodeShape.FULL, plan.source))
        return [self._seen(part) for part in parts]

    def figures(self) -> list[QRect]:
        """Where the rates of the hops and the shown cast's figures are."""
        return [self._seen(box) for box in self._scene.figures()]

    def spot_of(self, name: str) -> QRect | None:
        """Where a node is drawn; None for one that has no place."""
        place = self._scene.place(name)
        if place is None:
            return None
        cell = NodeShape.FULL if name == self._scene.source else self._scene.plan.cell
        return self._seen(cell.box(place))

    def _seen(self, box: Box) -> QRect:
        return self._view.mapFromScene(to_rect(box)).boundingRect()

    def state(self) -> tuple[object, ...]:
        """Different when nodes, figures or the legend may be elsewhere."""
        view = self._view
        bars = (view.horizontalScrollBar().value(), view.verticalScrollBar().value())
        size = view.viewport().size()
        return id(self._scene.plan), view.transform().m11(), size, bars, self._legend.isVisible()

    def show_read_out(self, lines: tuple[str, ...], icon: str) -> bool:
        """Say this about the path, in the stage's strip or where it covers no node; no lines say nothing.

        False where there is no such place, and it is not said.
        """
        read_out = self._read_out
        read_out.show_lines(lines, icon)
        place = self._read_out_place() if lines else None
        read_out.setVisible(place is not None)
        if place is not None:
            read_out.setGeometry(place)
        return place is not None or not lines

    def _read_out_place(self) -> QRect | None:
        """The cached place, found again when something has moved."""
        if self._stage.strip:
            return self._stage.strip_place().adjusted(16, 0, -16, 0)
        card = self._side_card
        beside = card.geometry() if card.isVisible() else None
        key = (self.state(), self._read_out.wanted_size(), self._stage.size(), beside)
        if key != self._read_out_for:
            self._read_out_for = key
            self._read_out_at = self._find_read_out_place()
        return self._read_out_at

    def _find_read_out_place(self) -> QRect | None:
        """May be below the side card, when that is beside the view."""
        size, box = self._read_out.wanted_size(), self._stage.rect().adjusted(14, 10, -14, -14)
        taken = self.covered()
        for other in (self._legend, self._side_card):
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
