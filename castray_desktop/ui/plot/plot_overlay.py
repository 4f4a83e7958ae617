"""Axis words, the read-out under the pointer and the empty state, painted over the plot's curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from castray_desktop.ui.controls.painting import CENTRE, LEFT, RIGHT, paint_text
from castray_desktop.ui.plot.curves import HEADROOM
from castray_desktop.ui.plot.scale import HOURS, TICKS, figure, scale_unit
from castray_desktop.ui.rate_history import Window
from castray_desktop.ui.theme import Theme
from castray_desktop.ui.units import format_ago


@dataclass(frozen=True)
class Seen:
    """What is drawn below it: the last `span` seconds up to `top` bytes per second, with these lines."""

    span: int
    top: float
    bits: bool
    names: Sequence[str]
    window: Window | None  # None: nothing yet
    hover_age: float | None  # seconds before now, where the pointer is


class PlotOverlay(QWidget):
    """Lets the pointer through. `look` tells what is drawn, `area` where, whenever this is painted."""

    def __init__(
        self, theme: Theme, parent: QWidget, look: Callable[[], Seen], area: Callable[[], QRectF]
    ) -> None:
        super().__init__(parent)
        self._theme, self._look, self._area = theme, look, area
        self._seen = Seen(60, 1.0, False, (), None, None)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)

    def _y(self, area: QRectF, value: float) -> float:
        return area.bottom() - area.height() * value / (self._seen.top * HEADROOM)

    def paintEvent(self, event: QPaintEvent) -> None:
        self._seen = self._look()
        area = self._area()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_axes(painter, area)
        if self._seen.window is None:
            hint = self.tr("Rates appear here as soon as bytes move")
            spot = QRectF(area.x(), area.center().y() - 12, area.width(), 24)
            paint_text(painter, spot, hint, self._theme.palette.text_2, 12, 400, CENTRE)
        elif self._seen.hover_age is not None:
            self._paint_read_out(painter, area, self._seen.window, self._seen.hover_age)
        painter.end()

    def _paint_axes(self, painter: QPainter, area: QRectF) -> None:
        palette = self._theme.palette
        size, _ = scale_unit(self._seen.top, bits=self._seen.bits)
        for step in range(4):
            value = self._seen.top * step / 3
            y = self._y(area, value)
            if step == 0:
                painter.setPen(QPen(QColor(palette.line_strong), 1))
                painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            text = f"{value / size:.3g}"
            place = QRectF(0, y - 8, area.left() - 8, 16)
            paint_text(painter, place, text, palette.text_3, 11, 400, RIGHT, tabular=True)
        for age in TICKS[self._seen.span]:
            x = area.right() - area.width() * age / self._seen.span
            first, last = age == self._seen.span, age == 0
            align = LEFT if first else RIGHT if last else CENTRE
            left = x if first else x - 60 if last else x - 30
            place = QRectF(left, area.bottom() + 6, 60, 16)
            text = self._age_word(age, first=first)
            paint_text(painter, place, text, palette.text_3, 11, 400, align, tabular=True)

    def _age_word(self, age: float, *, first: bool) -> str:
        if age == 0:
            return self.tr("now")
        if self._seen.span <= 60:
            text = f"{age:g}"
            return self.tr("{count} s").format(count=text) if first else text
        if self._seen.span in HOURS:
            text = f"{age / 3600:.3g}"
            return self.tr("{count} h").format(count=text) if first else text
        text = f"{age / 60:.3g}"
        return self.tr("{count} min").format(count=text) if first else text

    def _paint_read_out(self, painter: QPainter, area: QRectF, window: Window, age: float) -> None:
        palette = self._theme.palette
        index = int(np.abs(window.age - age).argmin())
        x = area.right() - area.width() * age / self._seen.span
        pen = QPen(QColor(palette.text_2), 1)
        pen.setDashPattern([3, 3])
        painter.setPen(pen)
        painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
        painter.setPen(QPen(QColor(palette.card), 1))
        marks = [(float(window.total[index]), palette.accent, 4.0)]
        marks += [
            (float(window.nodes[name][index]), palette.series[place], 2.5)
            for place, name in enumerate(self._seen.names)
        ]
        for value, color, radius in marks:
            painter.setBrush(QColor(color))
            painter.drawEllipse(QPointF(x, self._y(area, value)), radius, radius)
        self._paint_box(painter, area, x, window, index)

    def _paint_box(self, painter: QPainter, area: QRectF, x: float, window: Window, index: int) -> None:
        palette = self._theme.palette
        rows = (len(self._seen.names) + 1) // 2
        width, height = min(256.0, area.width() - 24), 34.0 + rows * 17
        left = x - 12 - width if x - 12 - width >= 4 else min(x + 12, self.width() - width - 4)
        highest = self._y(area, float(window.high[index]))
        upper = self._y(area, float(window.total[index]))
        between = (upper + highest - height) / 2
        top = min(max(between, 4.0), max(4.0, area.bottom() - height - 4))
        box = QRectF(left, top, width, height)
        painter.setPen(QPen(QColor(palette.line_strong), 1))
        painter.setBrush(QColor(palette.tip))
        painter.drawRoundedRect(box, 8, 8)
        size, unit = scale_unit(self._seen.top, bits=self._seen.bits)
        line = QRectF(box.x() + 12, box.y() + 7, box.width() - 24, 18)
        painter.fillRect(QRectF(line.x(), line.center().y() - 1.5, 12, 3), QColor(palette.accent))
        total = self.tr("Total {rate} {unit}").format(rate=figure(window.total[index], size), unit=unit)
        paint_text(painter, line.adjusted(18, 0, 0, 0), total, palette.text, 12, 600, tabular=True)
        ago = format_ago(float(window.age[index]))
        paint_text(painter, line, ago, palette.text_3, 11, 400, RIGHT, tabular=True)
        half = (box.width() - 24 - 16) / 2
        for place, name in enumerate(self._seen.names):
            cell = QRectF(line.x() + (place % 2) * (half + 16), box.y() + 27 + place // 2 * 17, half, 17)
            painter.fillRect(QRectF(cell.x(), cell.center().y() - 1, 12, 2), QColor(palette.series[place]))
            paint_text(painter, cell.adjusted(18, 0, -38, 0), name, palette.text_2, 11)
            text = figure(window.nodes[name][index], size)
            paint_text(painter, cell, text, palette.text, 11, 600, RIGHT, tabular=True)
