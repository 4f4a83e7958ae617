"""Widgets over the node graph: legend, read-out of the path, and the drop target for all nodes."""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

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


MOST_WIDE = 320  # of the read-out
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
        return QSize(min(MOST_WIDE, math.ceil(widest) + 44), max(32, 10 + 17 * len(self.lines)))

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
        """Show this text; `target` marks the pill as the drop target."""
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
