"""The relay in one picture."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from castray_desktop.ui.controls.widgets import paint_icon
from castray_desktop.ui.theme import BRAND_END, BRAND_START, ON_GRADIENT, SOURCE_START, Theme, mix


class RelayPicture(QWidget):
    """One source, three copies, each from the one before."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.setFixedSize(265, 65)
        theme.changed.connect(self.update)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._source(painter)
        for number in range(3):
            self._hop(painter, 57 + number * 68, number)
            self._node(painter, 101 + number * 68, number)

    def _source(self, painter: QPainter) -> None:
        gradient = QLinearGradient(6, 6, 58, 58)
        gradient.setColorAt(0, QColor(SOURCE_START))
        gradient.setColorAt(1, QColor(BRAND_END))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(gradient)
        painter.drawEllipse(QPointF(27, 32), 26, 26)
        paint_icon(painter, QRect(15, 20, 24, 24), "monitor-up", ON_GRADIENT, 24)

    def _color(self, number: float) -> QColor:
        start, end = (
            (self._theme.palette.path_start, self._theme.palette.path_end)
            if self._theme.dark
            else (BRAND_START, BRAND_END)
        )
        return mix(start, end, number / 3)

    def _hop(self, painter: QPainter, x: float, number: int) -> None:
        color = self._color(number + 0.3)
        painter.setPen(QPen(color, 3.5, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
        painter.drawLine(QPointF(x, 32), QPointF(x + 10, 32))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(color)
        painter.drawPolygon(QPolygonF([QPointF(x + 9, 26), QPointF(x + 20, 32), QPointF(x + 9, 38)]))

    def _node(self, painter: QPainter, x: float, number: int) -> None:
        painter.setPen(QPen(self._color(number + 0.7), 2))
        painter.setBrush(self._theme.color("card"))
        painter.drawEllipse(QRectF(x - 20, 13, 38, 38))
        pen = QPen(self._theme.color("ok_fill"), 2.6, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap)
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        painter.setPen(pen)
        painter.drawPolyline(QPolygonF([QPointF(x - 8, 32), QPointF(x - 3, 37.5), QPointF(x + 7, 26.5)]))
