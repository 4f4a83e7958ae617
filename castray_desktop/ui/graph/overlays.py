"""Widgets over the node graph (legend, read-out, drop target for all nodes), and where they have space."""

from __future__ import annotations

import math

from PySide6.QtCore import QMargins, QPoint, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QGraphicsView, QVBoxLayout, QWidget

from castray_desktop.ui.graph.graph_scene import GraphScene
from castray_desktop.ui.graph.node_layout import Box, NodeShape, painted_boxes
from castray_desktop.ui.graph.scene_items import to_rect
from castray_desktop.ui.graph.side_card import SideCard
from castray_desktop.ui.i18n.retranslator import Retranslator
from castray_desktop.ui.model.node_list import glyph_word
from castray_desktop.ui.theme.theme import Theme
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


class Legend(QWidget):
    """What the shapes mean; lies over the scene and lets the pointer through."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        theme.changed.connect(self.update)
        Retranslator(self, self._retranslate)

    def _retranslate(self) -> None:
        self.setAccessibleName(self.tr("Legend"))
        self.setAccessibleDescription(", ".join(glyph_word(state) for state in LEGEND))
        widest = max(metrics(11, 500).horizontalAdvance(glyph_word(state)) for state in LEGEND)
        self.setFixedSize(max(112, math.ceil(widest) + 46), len(LEGEND) * 18 + 12)

    def paintEvent(self, event: QPaintEvent) -> None:
        palette = self._theme.palette
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(palette.line), 1))
        painter.setBrush(QColor(palette.card))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 8, 8)
        for row, state in enumerate(LEGEND):
            y = 6 + row * 18
            paint_glyph(painter, QRectF(13, y + 3, 12, 12), state, palette)
            rest = QRectF(33, y, self.width() - 38, 18)
            paint_text(painter, rest, glyph_word(state), palette.text_2, 11, 500)
        painter.end()


class ReadOut(QWidget):
    """A few lines about the shown cast's path. Lies over the scene and lets the pointer through.

    Where it is no higher than a line of text, all of them are one line without a frame.
    """

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self.lines: tuple[str, ...] = ()
        self._icon = "gauge"
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        theme.changed.connect(self.update)
        self.hide()

    def show_lines(self, lines: tuple[str, ...], icon: str) -> None:
        """Show these lines, the first one larger, beside that icon."""
        if (lines, icon) != (self.lines, self._icon):
            self.lines, self._icon = lines, icon
            self.setAccessibleName(". ".join(lines))
            self.update()

    def wanted_size(self) -> QSize:
        """With all lines in a frame."""
        widest = max((_width(line, first=not row) for row, line in enumerate(self.lines)), default=0)
        return QSize(min(MAX_WIDTH, math.ceil(widest) + 44), max(32, 10 + 17 * len(self.lines)))

    def _placed(self) -> list[tuple[str, QRectF]]:
        """The lines and where they are; what is not the first one keeps its width where all share a line."""
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
        """As many of the lines after the first as fit behind that, and one of them at least."""
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
    """A place to drop files for every node; there only while files are dragged over the graph."""

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


class OverlayPlacer:
    """Rectangles in the view's coordinates, which are those of `stage` too."""

    def __init__(
        self,
        view: QGraphicsView,
        scene: GraphScene,
        stage: ViewContainer,
        *,
        legend: Legend,
        read_out: ReadOut,
        side_card: SideCard,
    ) -> None:
        self._view, self._scene, self._stage = view, scene, stage
        self._legend, self._read_out, self._side_card = legend, read_out, side_card
        self._read_out_for: tuple[object, ...] = ()
        self._read_out_at: QRect | None = None

    def node_rects(self) -> list[QRect]:
        """The rectangles that nodes paint."""
        layout = self._scene.layout
        parts = [part for centre in layout.nodes.values() for part in painted_boxes(layout.cell, centre)]
        parts.extend(painted_boxes(NodeShape.FULL, layout.source))
        return [self._to_view(part) for part in parts]

    def label_rects(self) -> list[QRect]:
        """Where the rates of the hops and the shown cast's figures are."""
        return [self._to_view(box) for box in self._scene.label_boxes()]

    def node_rect(self, name: str) -> QRect | None:
        """Where a node is drawn; None for one that has no place."""
        place = self._scene.place(name)
        if place is None:
            return None
        cell = NodeShape.FULL if name == self._scene.source else self._scene.layout.cell
        return self._to_view(cell.box(place))

    def _to_view(self, box: Box) -> QRect:
        return self._view.mapFromScene(to_rect(box)).boundingRect()

    def state(self) -> tuple[object, ...]:
        """Different when nodes, figures or the legend may be elsewhere."""
        view = self._view
        bars = (view.horizontalScrollBar().value(), view.verticalScrollBar().value())
        size = view.viewport().size()
        return id(self._scene.layout), view.transform().m11(), size, bars, self._legend.isVisible()

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
        taken = self.node_rects()
        for other in (self._legend, self._side_card):
            if other.isVisible():
                taken.append(other.geometry().adjusted(-8, -8, 8, 8))
        right, left, middle = box.right() - size.width(), box.left(), box.center().x() - size.width() // 2
        places = [right, middle, left, *range(right, left, -STEP)]
        for parts in (taken + self.label_rects(), taken):
            for y in (box.bottom() - size.height(), box.top()):
                for x in places:
                    place = QRect(QPoint(x, y), size)
                    if box.contains(place) and not any(place.intersects(part) for part in parts):
                        return place
        return None
