"""What the throughput plot draws: curves and grid by pyqtgraph; axes, read-out and hover marks over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, QSignalBlocker, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPixmap
from PySide6.QtWidgets import QVBoxLayout, QWidget

from castray_desktop.ui.i18n.number_format import format_ago
from castray_desktop.ui.theme.theme import Palette, Theme
from castray_desktop.ui.throughput.rate_history import RateWindow
from castray_desktop.ui.widgets.basic_widgets import lay_in
from castray_desktop.ui.widgets.painting import CENTRE, LEFT, RIGHT, metrics, paint_text

MAX_LINES = 8  # with more recipients: the slowest and a band
MAX_NAME = 120  # pixels of a name in the legend
AXIS_LEFT, AXIS_BOTTOM = 48, 28
HEADROOM = 1.1  # of the topmost grid line


class PlotCurves(QWidget):
    """A plot from `-span` seconds to now, and from 0 to a little more than `top` bytes per second."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.plot: Any = pg.PlotWidget(self)
        self.grid: list[Any] = [pg.InfiniteLine(0.0, angle=0) for _ in range(3)]
        self._set_up_plot()
        self._band_high, self._band_low = self._curve(), self._curve()
        self.band = pg.FillBetweenItem(self._band_low, self._band_high)
        self.plot.addItem(self.band)
        self.lines = [self._curve() for _ in range(MAX_LINES)]
        self.total = self._curve()
        lay_in(QVBoxLayout(self), self.plot, margins=(0, 0, 0, 0))

    @property
    def viewport(self) -> QWidget:
        """The widget below the pointer; the overlay has the same coordinates."""
        viewport: QWidget = self.plot.viewport()
        return viewport

    def area(self) -> QRectF:
        """Where the curves are, in the viewport."""
        box = self.plot.getPlotItem().vb
        return QRectF(self.plot.mapFromScene(box.sceneBoundingRect()).boundingRect())

    def picture(self) -> QPixmap:
        """The plot with its axes, grid and curves."""
        return QPixmap(self.plot.grab())

    def set_span(self, seconds: int) -> None:
        """Show the last `seconds`."""
        self.plot.setXRange(-seconds, 0, padding=0)

    def set_top(self, top: float) -> None:
        """Set the value of the topmost grid line."""
        self.plot.setYRange(0, top * HEADROOM, padding=0)
        for step, rule in enumerate(self.grid, 1):
            rule.setPos(top * step / 3)

    def draw(self, window: RateWindow, names: Sequence[str], *, empty: bool) -> None:
        """Show lines for these recipients, a band where there are more, and the total unless `empty`."""
        x = -window.age
        for index, line in enumerate(self.lines):
            if index < len(names):
                line.setData(x, window.nodes[names[index]])
            else:
                _clear(line)
        self._draw_band(x, window)
        if empty:
            _clear(self.total)
        else:
            self.total.setData(x, window.total)

    def _draw_band(self, x: np.typing.NDArray[np.float64], window: RateWindow) -> None:
        many = len(window.nodes) > MAX_LINES
        self.band.setVisible(many)
        if many:
            with QSignalBlocker(self._band_low):  # otherwise the band is filled twice
                self._band_low.setData(x, window.low)
            self._band_high.setData(x, window.high)
        else:
            _clear(self._band_low)
            _clear(self._band_high)

    def restyle(self, palette: Palette) -> None:
        """Use these colours."""
        fill = QColor(palette.accent)
        fill.setAlphaF(0.07)
        self.total.setPen(pg.mkPen(palette.accent, width=2))
        self.total.setFillLevel(0)
        self.total.setBrush(fill)
        for index, line in enumerate(self.lines):
            line.setPen(pg.mkPen(palette.series[index], width=1))
        for rule in self.grid:
            rule.setPen(pg.mkPen(palette.grid, width=1))
        for edge in (self._band_low, self._band_high):
            edge.setPen(None)
        band = QColor(palette.text_3)
        band.setAlphaF(0.25)
        self.band.setBrush(band)

    def _set_up_plot(self) -> None:
        plot = self.plot
        plot.setFrameShape(pg.PlotWidget.Shape.NoFrame)
        plot.setBackground(None)
        plot.setStyleSheet("background: transparent; border: none;")
        plot.setAntialiasing(False)
        plot.setMouseEnabled(x=False, y=False)
        plot.setMenuEnabled(False)
        plot.hideButtons()
        plot.hideAxis("left")
        plot.hideAxis("bottom")
        item = plot.getPlotItem()
        item.setContentsMargins(0, 0, 0, 0)
        item.layout.setContentsMargins(AXIS_LEFT, 12, 16, AXIS_BOTTOM)
        item.vb.setBorder(None)
        for rule in self.grid:
            rule.setZValue(-10)
            plot.addItem(rule, ignoreBounds=True)
        plot.viewport().setMouseTracking(True)
        for widget in (plot, plot.viewport()):
            widget.setFocusPolicy(Qt.FocusPolicy.NoFocus)

    def _curve(self) -> Any:
        curve = pg.PlotDataItem(antialias=False, skipFiniteCheck=True)
        curve.setDownsampling(auto=True, method="peak")
        curve.setClipToView(True)
        self.plot.addItem(curve)
        return curve


def _clear(curve: Any) -> None:
    """Empty a curve, unless it is empty: setting no data costs as much as setting some."""
    if curve.xData is not None and len(curve.xData):
        curve.setData([], [])


MINUTES, HOURS = (60, 300, 1800), (3 * 3600, 12 * 3600, 24 * 3600)
SPANS = MINUTES + HOURS
TICKS = {
    60: (60, 45, 30, 15, 0),
    300: (300, 240, 180, 120, 60, 0),
    1800: (1800, 1200, 600, 0),
    HOURS[0]: (10800, 7200, 3600, 0),
    HOURS[1]: (43200, 32400, 21600, 10800, 0),
    HOURS[2]: (86400, 64800, 43200, 21600, 0),
}

UNITS = ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "KB/s"), (1.0, "B/s"))
BIT_UNITS = ((1e9 / 8, "Gbit/s"), (1e6 / 8, "Mbit/s"), (1e3 / 8, "kbit/s"), (1 / 8, "bit/s"))
SWATCH, ENTRY_GAP = 12, 14


@dataclass(frozen=True)
class LegendEntry:
    """A colour of the plot and its meaning; `thick` for the total and for a band."""

    text: str
    color: str
    thick: bool = False


class PlotLegend(QWidget):
    """What the colours stand for, in one line; what does not fit is counted at its end."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.entries: tuple[LegendEntry, ...] = ()
        self.setFixedHeight(18)

    def show_entries(self, entries: tuple[LegendEntry, ...]) -> None:
        """Show these, from left to right."""
        if entries != self.entries:
            self.entries = entries
            self.setAccessibleName(", ".join(entry.text for entry in entries))
            self.setToolTip("\n".join(entry.text for entry in entries))
            self.update()

    def _fitting(self) -> int:
        """How many have room, beside the count of the others."""
        font, used = metrics(11, 400), 0.0
        for number, entry in enumerate(self.entries):
            used += SWATCH + 6 + min(MAX_NAME, font.horizontalAdvance(entry.text)) + ENTRY_GAP
            others = len(self.entries) - number - 1
            rest = font.horizontalAdvance(f"+{others}") if others else -ENTRY_GAP
            if used + rest > self.width():
                return number
        return len(self.entries)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        font, x, palette = metrics(11, 400), 0.0, self._theme.palette
        shown, middle = self._fitting(), self.height() / 2
        for entry in self.entries[:shown]:
            height = 3.0 if entry.thick else 2.0
            painter.fillRect(QRectF(x, middle - height / 2, SWATCH, height), QColor(entry.color))
            width = min(MAX_NAME, font.horizontalAdvance(entry.text))
            place = QRectF(x + SWATCH + 6, 0, width + 1, self.height())
            paint_text(painter, place, entry.text, palette.text_2, 11, elide=Qt.TextElideMode.ElideMiddle)
            x += SWATCH + 6 + width + ENTRY_GAP
        if left := len(self.entries) - shown:
            rest = QRectF(x, 0, self.width() - x, self.height())
            paint_text(painter, rest, f"+{left}", palette.text_3, 11)
        painter.end()


def nice_top(most: float) -> float:
    """The value of the topmost of three grid lines, for a largest value."""
    if most <= 0:
        return 600e6
    base = 10.0 ** np.floor(np.log10(most))
    for place in (1.2, 1.5, 1.8, 2.4, 3.0, 4.5, 6.0, 7.5, 9.0, 12.0):
        if most <= place * base * 1.05:
            return float(place * base)
    return float(15.0 * base)


def scale_unit(top: float, *, bits: bool) -> tuple[float, str]:
    """The unit for rates up to this one: how many bytes per second it is, and its name."""
    units = BIT_UNITS if bits else UNITS
    return next(((size, name) for size, name in units if top >= size * 0.999), units[-1])


def figure(rate: float, size: float) -> str:
    """A rate in units of `size`, with as few digits as are needed."""
    value = float(rate) / size
    if value >= 9.95 or value == 0:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"


@dataclass(frozen=True)
class PlotSnapshot:
    """What the plot shows: the last `span` seconds up to `top` bytes per second, with these lines."""

    span: int
    top: float
    bits: bool
    names: Sequence[str]
    window: RateWindow | None  # None: nothing yet
    hover_age: float | None  # seconds before now, where the pointer is


class PlotOverlay(QWidget):
    """Axes and read-out. Calls `snapshot` and `area` at each paint; transparent for the pointer."""

    def __init__(
        self, theme: Theme, parent: QWidget, snapshot: Callable[[], PlotSnapshot], area: Callable[[], QRectF]
    ) -> None:
        super().__init__(parent)
        self._theme, self._take_snapshot, self._area = theme, snapshot, area
        self._snapshot = PlotSnapshot(60, 1.0, False, (), None, None)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)

    def _y(self, area: QRectF, value: float) -> float:
        return area.bottom() - area.height() * value / (self._snapshot.top * HEADROOM)

    def paintEvent(self, event: QPaintEvent) -> None:
        self._snapshot = self._take_snapshot()
        area = self._area()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_axes(painter, area)
        if self._snapshot.window is None:
            hint = self.tr("Speeds appear here once a transfer starts")
            spot = QRectF(area.x(), area.center().y() - 12, area.width(), 24)
            paint_text(painter, spot, hint, self._theme.palette.text_2, 12, 400, CENTRE)
        elif self._snapshot.hover_age is not None:
            self._paint_read_out(painter, area, self._snapshot.window, self._snapshot.hover_age)
        painter.end()

    def _paint_axes(self, painter: QPainter, area: QRectF) -> None:
        palette = self._theme.palette
        size, _ = scale_unit(self._snapshot.top, bits=self._snapshot.bits)
        for step in range(4):
            value = self._snapshot.top * step / 3
            y = self._y(area, value)
            if step == 0:
                painter.setPen(QPen(QColor(palette.line_strong), 1))
                painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            text = f"{value / size:.3g}"
            place = QRectF(0, y - 8, area.left() - 8, 16)
            paint_text(painter, place, text, palette.text_3, 11, 400, RIGHT, tabular=True)
        for age in TICKS[self._snapshot.span]:
            x = area.right() - area.width() * age / self._snapshot.span
            first, last = age == self._snapshot.span, age == 0
            align = LEFT if first else RIGHT if last else CENTRE
            left = x if first else x - 60 if last else x - 30
            place = QRectF(left, area.bottom() + 6, 60, 16)
            text = self._age_word(age, first=first)
            paint_text(painter, place, text, palette.text_3, 11, 400, align, tabular=True)

    def _age_word(self, age: float, *, first: bool) -> str:
        if age == 0:
            return self.tr("now")
        if self._snapshot.span <= 60:
            text, template = f"{age:g}", self.tr("{count} s")
        elif self._snapshot.span in HOURS:
            text, template = f"{age / 3600:.3g}", self.tr("{count} h")
        else:
            text, template = f"{age / 60:.3g}", self.tr("{count} min")
        return template.format(count=text) if first else text

    def _paint_read_out(self, painter: QPainter, area: QRectF, window: RateWindow, age: float) -> None:
        palette = self._theme.palette
        index = int(np.abs(window.age - age).argmin())
        x = area.right() - area.width() * age / self._snapshot.span
        pen = QPen(QColor(palette.text_2), 1)
        pen.setDashPattern([3, 3])
        painter.setPen(pen)
        painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
        painter.setPen(QPen(QColor(palette.card), 1))
        marks = [(float(window.total[index]), palette.accent, 4.0)]
        marks += [
            (float(window.nodes[name][index]), palette.series[place], 2.5)
            for place, name in enumerate(self._snapshot.names)
        ]
        for value, color, radius in marks:
            painter.setBrush(QColor(color))
            painter.drawEllipse(QPointF(x, self._y(area, value)), radius, radius)
        self._paint_box(painter, area, x, window, index)

    def _paint_box(self, painter: QPainter, area: QRectF, x: float, window: RateWindow, index: int) -> None:
        palette = self._theme.palette
        rows = (len(self._snapshot.names) + 1) // 2
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
        size, unit = scale_unit(self._snapshot.top, bits=self._snapshot.bits)
        line = QRectF(box.x() + 12, box.y() + 7, box.width() - 24, 18)
        painter.fillRect(QRectF(line.x(), line.center().y() - 1.5, 12, 3), QColor(palette.accent))
        total = self.tr("Total {rate} {unit}").format(rate=figure(window.total[index], size), unit=unit)
        paint_text(painter, line.adjusted(18, 0, 0, 0), total, palette.text, 12, 600, tabular=True)
        ago = format_ago(float(window.age[index]))
        paint_text(painter, line, ago, palette.text_3, 11, 400, RIGHT, tabular=True)
        half = (box.width() - 24 - 16) / 2
        for place, name in enumerate(self._snapshot.names):
            cell = QRectF(line.x() + (place % 2) * (half + 16), box.y() + 27 + place // 2 * 17, half, 17)
            painter.fillRect(QRectF(cell.x(), cell.center().y() - 1, 12, 2), QColor(palette.series[place]))
            paint_text(painter, cell.adjusted(18, 0, -38, 0), name, palette.text_2, 11)
            text = figure(window.nodes[name][index], size)
            paint_text(painter, cell, text, palette.text, 11, 600, RIGHT, tabular=True)
