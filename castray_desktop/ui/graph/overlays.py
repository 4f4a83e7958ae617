"""Widgets over the node graph (legend, read-out, drop target for all nodes), and where they have space."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QMargins, QPoint, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QGraphicsView, QVBoxLayout, QWidget

from castray_desktop.ui.graph.graph_scene import GraphScene
from castray_desktop.ui.graph.node_layout import Box, NodeShape, source_boxes
from castray_desktop.ui.graph.scene_items import to_point, to_rect
from castray_desktop.ui.graph.side_card import SideCard
from castray_desktop.ui.i18n.language import Retranslator
from castray_desktop.ui.model.node_list import glyph_word
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import lay_in
from castray_desktop.ui.widgets.painting import CENTRE, metrics, paint_text, pixmap
from castray_desktop.ui.widgets.status_glyphs import GlyphState, paint_glyph

LEGEND = (
    GlyphState.SELECTED,
    GlyphState.RECEIVING,
    GlyphState.VERIFIED,
    GlyphState.LAGGING,
    GlyphState.FAILED,
    GlyphState.OFFLINE,
)


MAX_WIDTH = 320  # of the read-out
STRIP = 30  # its height where it is one line
STRIP_GAP = 10


LEGEND_ROW, LEGEND_CELL = 18, 46  # its rows; what an entry has beside its word
LEGEND_MARGIN = 6
LEGEND_SIDE = 16  # beside its rows


class Legend(QWidget):
    """What the shapes mean; over the scene in a column, or below it in rows; transparent for the pointer."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        Retranslator(self, self._retranslate)

    def _retranslate(self) -> None:
        self.setAccessibleName(self.tr("Legend"))
        self.setAccessibleDescription(", ".join(glyph_word(state) for state in LEGEND))
        self.resize(self.column_size())

    def _cell_width(self) -> int:
        return math.ceil(max(metrics(11, 500).horizontalAdvance(glyph_word(state)) for state in LEGEND))

    def column_size(self) -> QSize:
        """The size with one entry below the other."""
        width = max(112, self._cell_width() + LEGEND_CELL)
        return QSize(width, len(LEGEND) * LEGEND_ROW + 2 * LEGEND_MARGIN)

    def rows_height(self, width: int) -> int:
        """The height with as many entries beside each other as fit into that width."""
        rows = math.ceil(len(LEGEND) / self._columns(width))
        return rows * LEGEND_ROW + LEGEND_MARGIN

    def _columns(self, width: int) -> int:
        """How many fit beside each other, in rows of equal length."""
        most = max(1, min(len(LEGEND), width // (self._cell_width() + LEGEND_CELL - 8)))
        return math.ceil(len(LEGEND) / math.ceil(len(LEGEND) / most))

    def paintEvent(self, event: QPaintEvent) -> None:
        palette = self._theme.palette
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        framed = self.size() == self.column_size()
        if framed:
            painter.setPen(QPen(QColor(palette.line), 1))
            painter.setBrush(QColor(palette.card))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 8, 8)
        columns = 1 if framed else self._columns(self.width())
        cell = self.width() / columns
        for place, state in enumerate(LEGEND):
            row, column = divmod(place, columns)
            x, y = column * cell, (LEGEND_MARGIN if framed else 0) + row * LEGEND_ROW
            paint_glyph(painter, QRectF(x + (13 if framed else 0), y + 3, 12, 12), state, palette)
            left = x + (33 if framed else 20)
            rest = QRectF(left, y, x + cell - 5 - left, LEGEND_ROW)
            paint_text(painter, rest, glyph_word(state), palette.text_2, 11, 500)
        painter.end()


class ReadOut(QWidget):
    """A few lines about the shown cast's path, over the scene, transparent for the pointer.

    In a height of one line of text, they become one line without a frame.
    """

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self.lines: tuple[str, ...] = ()
        self._icon = "gauge"
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    def show_lines(self, lines: tuple[str, ...], icon: str) -> None:
        """Show these lines, the first one larger, beside that icon."""
        if (lines, icon) != (self.lines, self._icon):
            self.lines, self._icon = lines, icon
            self.setAccessibleName(". ".join(lines))
            self.update()

    def wanted_size(self) -> QSize:
        """The size with all lines in a frame."""
        widest = max((_width(line, first=not row) for row, line in enumerate(self.lines)), default=0)
        return QSize(min(MAX_WIDTH, math.ceil(widest) + 44), max(32, 10 + 17 * len(self.lines)))

    def _placed(self) -> list[tuple[str, QRectF]]:
        """The lines and their rectangles; in a single line the first one is shortened before the others."""
        if self.height() > STRIP:
            top = (self.height() - 17 * len(self.lines)) / 2
            inner = self.width() - 40
            return [(line, QRectF(30, top + 17 * row, inner, 17)) for row, line in enumerate(self.lines)]
        first, rest = self.lines[0], self._rest(self.width() - 20.0)
        left, right, height = 20.0, float(self.width()), self.height()
        others = _width(rest, first=False) + 2
        width = min(_width(first, first=True) + 2, max(right - left - others - STRIP_GAP, (right - left) / 2))
        after = left + width + STRIP_GAP
        return [(first, QRectF(left, 0, width, height)), (rest, QRectF(after, 0, right - after, height))]

    def _rest(self, room: float) -> str:
        """The second line, with as many of the following ones as fit behind the first."""
        room -= min(_width(self.lines[0], first=True) + 2, room / 2) + STRIP_GAP
        for end in range(len(self.lines), 2, -1):
            rest = " · ".join(self.lines[1:end])
            if _width(rest, first=False) <= room:
                return rest
        return "".join(self.lines[1:2])

    def paintEvent(self, event: QPaintEvent) -> None:
        if not self.lines:
            return
        palette = self._theme.palette
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        framed = self.height() > STRIP
        if framed:
            painter.setPen(QPen(QColor(palette.line), 1))
            painter.setBrush(QColor(palette.card))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 8, 8)
        mark = pixmap(self._icon, palette.text_2, 14, self.devicePixelRatioF())
        painter.drawPixmap(QPointF(10, 8) if framed else QPointF(0, (self.height() - 14) / 2), mark)
        elide = Qt.TextElideMode.ElideMiddle
        for row, (line, place) in enumerate(self._placed()):
            color, size, weight = (palette.text_2, 11, 400) if row else (palette.text, 12, 600)
            paint_text(painter, place, line, color, size, weight, elide=elide, tabular=True)
        painter.end()


def _width(line: str, *, first: bool) -> float:
    return (metrics(12, 600, True) if first else metrics(11, 400, True)).horizontalAdvance(line)


class AllNodesPill(QWidget):
    """The drop target for all nodes; visible while files are dragged over the graph."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self._text, self._target = "", False
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    def show_state(self, text: str, *, target: bool) -> None:
        """Show this text; `target` highlights the pill as the drop target."""
        self._text, self._target = text, target
        self.resize(math.ceil(metrics(12, 600).horizontalAdvance(text)) + 40, 32)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        palette = self._theme.palette
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        width = 3.0 if self._target else 1.5
        pen = QPen(QColor(palette.accent), width)
        if not self._target:
            pen.setDashPattern([3, 2])
        painter.setPen(pen)
        painter.setBrush(QColor(palette.accent_soft))
        inset = width / 2
        radius = self.height() / 2 - inset
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(inset, inset, -inset, -inset), radius, radius)
        paint_text(painter, QRectF(self.rect()), self._text, palette.accent, 12, 600, CENTRE)
        painter.end()


class ViewContainer(QWidget):
    """Holds the view and the widgets over it. The view fills it, except for reserved margins."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        # reserved pixels: at the right; from the bottom upwards: the card, the legend, a line of text
        self.side = self.below = self.legend = self.strip = 0
        self._column = lay_in(QVBoxLayout(self), margins=(0, 0, 0, 0))

    def set_view(self, view: QWidget) -> None:
        """Let the view fill this widget."""
        self._column.addWidget(view)

    def reserve(
        self,
        *,
        side: int | None = None,
        below: int | None = None,
        strip: int | None = None,
        legend: int | None = None,
    ) -> None:
        """Reserve margins for the side card, the legend and a one-line read-out; resizes the view at once."""
        self.side = self.side if side is None else side
        self.below = self.below if below is None else below
        self.strip = self.strip if strip is None else strip
        self.legend = self.legend if legend is None else legend
        margins = QMargins(0, 0, self.side, self.below + self.legend + self.strip)
        if margins != self._column.contentsMargins():
            self._column.setContentsMargins(margins)
            self._column.activate()

    def strip_rect(self) -> QRect:
        bottom = self.height() - self.below - self.legend
        return QRect(0, bottom - self.strip, self.width() - self.side, self.strip)

    def legend_rect(self) -> QRect:
        return QRect(0, self.height() - self.below - self.legend, self.width() - self.side, self.legend)


GRID_STEP = 16  # between the positions that are tried
CARD_MARGIN = 10
MIN_VIEW_WIDTH, MIN_VIEW_HEIGHT = 440, 120  # what a side card beside or below the view leaves of it
MIN_CARD_HEIGHT = 90  # below the view; a lower card is placed over it
OWN_NODE_WEIGHT = 4.0  # of the node that the card describes
MAX_FINE_PARTS = 80  # with more parts only the edges and the middle are tried
OVERLAP_COST = 2000.0  # of touching a part at all, in square pixels


@dataclass(frozen=True)
class OccupiedArea:
    """An area to keep free; `weight` is its importance."""

    area: QRect
    weight: float = 1.0


class Overlays:
    """The widgets over the graph view, and where they have space, in the view's coordinates."""

    def __init__(
        self, theme: Theme, view: QGraphicsView, scene: GraphScene, container: ViewContainer
    ) -> None:
        self._view, self._scene, self._container = view, scene, container
        self.legend = Legend(theme, container)
        self.read_out = ReadOut(theme, container)
        self.side_card = SideCard(theme, container)
        self.pill = AllNodesPill(theme, container)
        self._read_out_key: tuple[object, ...] = ()
        self._read_out_rect: QRect | None = None
        self._card_key: tuple[object, ...] = ()

    def node_rects(self) -> list[QRect]:
        """The rectangles that nodes paint."""
        layout = self._scene.layout
        parts = [part for centre in layout.nodes.values() for part in layout.painted(centre)]
        parts.extend(source_boxes(layout.source))
        return [self._to_view(part) for part in parts]

    def label_rects(self) -> list[QRect]:
        """The rectangles of the hops' rates and of the cast's figures."""
        return [self._to_view(box) for box in self._scene.label_boxes()]

    def _first_free(
        self, corners: Iterable[tuple[int, int]], size: QSize, area: QRect, taken: Sequence[QRect] = ()
    ) -> QRect | None:
        """The first rectangle in the area, with one of these upper left corners, that covers nothing."""
        names = [self._to_view(box) for box in self._scene.caption_boxes()]
        occupied = [*self.node_rects(), *names, *self.label_rects(), *taken]
        on_lines = [self._view.mapFromScene(to_point(point)) for point in self._scene.path.line_points()]
        for x, y in corners:
            place = QRect(QPoint(x, y), size)
            beside = place.adjusted(-3, -3, 3, 3)
            if (
                area.contains(place)
                and not any(place.intersects(other) for other in occupied)
                and not any(beside.contains(point) for point in on_lines)
            ):
                return place
        return None

    def node_rect(self, name: str) -> QRect | None:
        """The cell of a node; None for an unknown one."""
        place = self._scene.place(name)
        if place is None:
            return None
        cell = NodeShape.FULL if name == self._scene.source else self._scene.layout.cell
        return self._to_view(cell.box(place))

    def _to_view(self, box: Box) -> QRect:
        return self._view.mapFromScene(to_rect(box)).boundingRect()

    def _view_state(self) -> tuple[object, ...]:
        """Changes when nodes, labels, lines or the legend may have moved."""
        view = self._view
        bars = (view.horizontalScrollBar().value(), view.verticalScrollBar().value())
        size = view.viewport().size()
        legend = self.legend.geometry() if self.legend.isVisible() else QRect()
        return self._scene.layout, view.transform().m11(), size, bars, legend

    def _lines_state(self) -> tuple[object, ...]:
        """The same, and changes when a hop takes another way or its rate is somewhere else."""
        return self._view_state(), self._scene.path.lines(), tuple(self._scene.label_boxes())

    # --- the legend ------------------------------------------------------------------------

    def place_legend(self) -> bool:
        """Move the legend where it covers nothing, or into its reserved rows; False without such a place."""
        legend, container = self.legend, self._container
        if container.legend:
            legend.setGeometry(container.legend_rect().adjusted(LEGEND_SIDE, 0, -LEGEND_SIDE, 0))
            return True
        size, box = legend.column_size(), self._view.geometry().adjusted(16, 10, -16, -14)
        legend.resize(size)
        left, right = box.left(), box.right() + 1 - size.width()
        top, bottom = box.top(), box.bottom() + 1 - size.height()
        corners = ((left, bottom), (right, bottom), (left, top), (right, top))
        place = self._first_free(corners, size, box)
        legend.setGeometry(QRect(QPoint(left, bottom), size) if place is None else place)
        return place is not None

    # --- the read-out ----------------------------------------------------------------------

    def show_read_out(self, lines: tuple[str, ...], icon: str) -> bool:
        """Show these lines in the reserved strip or where they cover no node; no lines hide the read-out.

        Returns False, and hides it, where there is no space.
        """
        self.read_out.show_lines(lines, icon)
        place = self._place_for_read_out() if lines else None
        self.read_out.setVisible(place is not None)
        if place is not None:
            self.read_out.setGeometry(place)
        return place is not None or not lines

    def _place_for_read_out(self) -> QRect | None:
        if self._container.strip:
            return self._container.strip_rect().adjusted(16, 0, -16, 0)
        card = self.side_card.geometry() if self.side_card.isVisible() else None
        key = (*self._lines_state(), self.read_out.wanted_size(), self._container.size(), card)
        if key != self._read_out_key:
            self._read_out_key = key
            self._read_out_rect = self._find_read_out_place()
        return self._read_out_rect

    def _find_read_out_place(self) -> QRect | None:
        """A free place at the bottom or top edge, also below a side card that is beside the view."""
        size, box = self.read_out.wanted_size(), self._container.rect().adjusted(14, 10, -14, -14)
        over = (other for other in (self.legend, self.side_card) if other.isVisible())
        taken = [other.geometry().adjusted(-8, -8, 8, 8) for other in over]
        right, left, middle = box.right() - size.width(), box.left(), box.center().x() - size.width() // 2
        xs = (right, middle, left, *range(right, left, -GRID_STEP))
        ys = (box.bottom() - size.height(), box.top())
        return self._first_free(((x, y) for y in ys for x in xs), size, box, taken)

    # --- the side card ---------------------------------------------------------------------

    def place_side_card(self, node: str) -> None:
        """Move the card beside this node, unless nothing has changed since the last call."""
        area = self._container.rect().adjusted(CARD_MARGIN, CARD_MARGIN, -CARD_MARGIN, -CARD_MARGIN)
        if self._card_state(node, area) != self._card_key:
            self.side_card.setGeometry(self._find_card_place(node, area))
            self.side_card.set_columns(2 if self._container.below else 1)
            self._card_key = self._card_state(node, area)

    def _card_state(self, node: str, area: QRect) -> tuple[object, ...]:
        sizes = [self.side_card.wanted_size(area.size(), columns) for columns in (1, 2)]
        margins = (self._container.side, self._container.below, self._container.strip)
        return node, area, sizes, margins, self._view_state(), len(self.label_rects())

    def _find_card_place(self, node: str, area: QRect) -> QRect:
        """Over the view where the card covers no node and no label; else reserve a margin of the view.

        The margin is at the right of a wide view, and below a narrow one.
        """
        container = self._container
        size = self.side_card.wanted_size(area.size(), 1)
        beside = size.width() + 2 * CARD_MARGIN
        wide = container.width() - beside >= MIN_VIEW_WIDTH
        max_height = area.height() + CARD_MARGIN - container.strip - MIN_VIEW_HEIGHT
        if wide:
            container.reserve(below=0)
        else:
            container.reserve(side=0)
        if not container.side and not container.below:
            place = self._least_covering_place(node, size, area)
            if not any(place.intersects(part) for part in (*self.node_rects(), *self.label_rects())):
                return place
            if not wide and max_height < MIN_CARD_HEIGHT:
                return place
        if wide:
            container.reserve(side=beside)
            return QRect(area.topRight() - QPoint(size.width() - 1, 0), size)
        size = self.side_card.wanted_size(QSize(area.width(), max_height), 2)
        container.reserve(below=size.height() + CARD_MARGIN)
        return QRect(area.bottomLeft() - QPoint(0, size.height() - 1), size)

    def _least_covering_place(self, node: str, size: QSize, area: QRect) -> QRect:
        parts = [OccupiedArea(part) for part in (*self.node_rects(), *self.label_rects())]
        own = self.node_rect(node)
        if own is not None:
            parts.append(OccupiedArea(own, OWN_NODE_WEIGHT))
        if self.legend.isVisible():
            parts.append(OccupiedArea(self.legend.geometry(), 0.5))
        if self.read_out.isVisible():
            parts.append(OccupiedArea(self.read_out.geometry()))
        near = own.center() if own is not None else area.center()
        above_strip = area.adjusted(0, 0, 0, -self._container.strip)
        return QRect(least_covering(size, above_strip, parts, near), size)


def least_covering(size: QSize, area: QRect, parts: Sequence[OccupiedArea], near: QPoint) -> QPoint:
    """The position in the area that covers the least; among equals the nearest to a point."""
    fine = len(parts) <= MAX_FINE_PARTS

    def cost(corner: QPoint) -> tuple[float, int]:
        place, covered = QRect(corner, size), 0.0
        for part in parts:
            if place.intersects(part.area):
                both = place.intersected(part.area)
                covered += part.weight * (OVERLAP_COST + both.width() * both.height())
        return covered, (place.center() - near).manhattanLength()

    xs = _positions(max(0, area.width() - size.width()), fine=fine)
    ys = _positions(max(0, area.height() - size.height()), fine=fine)
    return min((area.topLeft() + QPoint(x, y) for y in ys for x in xs), key=cost)


def _positions(free: int, *, fine: bool) -> list[int]:
    return sorted({*range(0, free, GRID_STEP), free}) if fine else sorted({0, free // 2, free})
