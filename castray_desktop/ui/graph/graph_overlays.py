"""What lies over the node graph: the legend, and the place to drop files for every node."""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from castray_desktop.ui.controls.glyphs import GlyphState, paint_glyph
from castray_desktop.ui.controls.icons import pixmap
from castray_desktop.ui.controls.painting import CENTRE, metrics, paint_text
from castray_desktop.ui.nodes import glyph_word
from castray_desktop.ui.theme import Theme
from castray_desktop.ui.words import Words

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
        Words(self, self._say)

    def _say(self) -> None:
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
    """Two lines about the relay: its slowest hop. Lies over the scene and lets the pointer through.

    Where it is no higher than a line of text, both are one line without a frame.
    """

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self.lines = ("", "")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        theme.changed.connect(self.update)
        self.hide()

    def say(self, which: str, why: str) -> None:
        """Show these two lines."""
        if (which, why) != self.lines:
            self.lines = (which, why)
            self.setAccessibleName(f"{which}. {why}")
            self.update()

    def wanted_size(self) -> QSize:
        """With two lines in a frame."""
        which, why = self._widths()
        return QSize(min(MOST_WIDE, math.ceil(max(which, why)) + 44), 44)

    def _widths(self) -> tuple[float, float]:
        which, why = self.lines
        return metrics(12, 600, True).horizontalAdvance(which), metrics(11).horizontalAdvance(why)

    def _places(self) -> tuple[QRectF, QRectF]:
        """Of the two; the reason keeps its width where they share a line."""
        if self.height() > STRIP:
            return QRectF(30, 5, self.width() - 40, 18), QRectF(30, 22, self.width() - 40, 17)
        left, right, height = 20, self.width(), self.height()
        which, why = (min(width + 2, right - left) for width in self._widths())
        which = min(which, max(right - left - why - STRIP_GAP, (right - left) // 2))
        after = left + which + STRIP_GAP
        return QRectF(left, 0, which, height), QRectF(after, 0, right - after, height)

    def paintEvent(self, event: QPaintEvent) -> None:
        palette = self._theme.palette
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        framed = self.height() > STRIP
        if framed:
            painter.setPen(QPen(QColor(palette.line), 1))
            painter.setBrush(QColor(palette.card))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 8, 8)
        mark = pixmap("gauge", palette.text_2, 14, self.devicePixelRatioF())
        painter.drawPixmap(QPointF(10, 8) if framed else QPointF(0, (self.height() - 14) / 2), mark)
        which, why = self._places()
        elide = Qt.TextElideMode.ElideMiddle
        paint_text(painter, which, self.lines[0], palette.text, 12, 600, elide=elide, tabular=True)
        paint_text(painter, why, self.lines[1], palette.text_2, 11, elide=elide)
        painter.end()


class AllNodesPill(QWidget):
    """A place to drop files for every node; there only while files are dragged over the graph."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self._text, self._target = "", False
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    def show_state(self, text: str, *, target: bool) -> None:
        """Say this, marked as what a drop would hit or not."""
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
