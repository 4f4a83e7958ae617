"""A tick box in the window's look."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QCheckBox

from castray_desktop.ui.controls.widgets import say
from castray_desktop.ui.fonts import font
from castray_desktop.ui.theme import Palette, Theme
from castray_desktop.ui.words import Text

SIDE, GAP = 16, 10


class CheckBox(QCheckBox):
    """A box with its words beside it, on several lines where they don't fit on one."""

    def __init__(self, theme: Theme, text: Text, size: int = 13) -> None:
        super().__init__()
        self._theme = theme
        self.setFont(font(size))
        say(self, self.setText, text)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        metrics = QFontMetrics(self.font())
        return QSize(SIDE + GAP + metrics.horizontalAdvance(self.text()) + 4, max(24, metrics.height() + 6))

    def minimumSizeHint(self) -> QSize:
        return QSize(120, self.sizeHint().height())

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        flags = int(Qt.TextFlag.TextWordWrap)
        room = QRect(0, 0, max(1, width - SIDE - GAP), 10_000)
        return max(24, QFontMetrics(self.font()).boundingRect(room, flags, self.text()).height() + 6)

    def hitButton(self, place: object) -> bool:
        return True

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        palette = self._theme.palette
        top = (
            (QFontMetrics(self.font()).height() + 6 - SIDE) / 2
            if self.height() > 32
            else (self.height() - SIDE) / 2
        )
        box = QRectF(1, top, SIDE, SIDE)
        paint_tick_box(painter, box, palette, ticked=self.isChecked(), enabled=self.isEnabled())
        if self.hasFocus() and self.focusPolicy() & Qt.FocusPolicy.TabFocus:
            painter.setPen(QPen(QColor(palette.accent), 1.5))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(box.adjusted(-0.5, -0.5, 0.5, 0.5), 5, 5)
        painter.setPen(QColor(palette.text if self.isEnabled() else palette.text_3))
        painter.setFont(self.font())
        words = QRect(SIDE + GAP, 0, self.width() - SIDE - GAP, self.height())
        painter.drawText(
            words, int(Qt.AlignmentFlag.AlignVCenter) | int(Qt.TextFlag.TextWordWrap), self.text()
        )


def paint_tick_box(painter: QPainter, rect: QRectF, palette: Palette, *, ticked: bool, enabled: bool) -> None:
    """The box alone, 16 by 16."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    if not ticked:
        painter.setPen(QPen(QColor(palette.control if enabled else palette.line_strong), 1.5))
        painter.setBrush(QColor(palette.field if enabled else palette.hover))
        painter.drawRoundedRect(rect.adjusted(0.75, 0.75, -0.75, -0.75), 4, 4)
        return
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(palette.accent if enabled else palette.control))
    painter.drawRoundedRect(rect, 4, 4)
    pen = QPen(QColor(palette.on_accent), 1.8)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    painter.setPen(pen)
    x, y = rect.x(), rect.y()
    painter.drawPolyline([QPointF(x + dx, y + dy) for dx, dy in ((4.2, 8.3), (7.0, 11.0), (11.8, 5.4))])
