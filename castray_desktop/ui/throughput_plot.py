"""The throughput plot: total and recipients over the last minutes or hours. Needs pyqtgraph.

`ThroughputPlot(theme)`: feed it every `Throughput` through `add`, and what was before it through `take_past`.
`set_span(seconds)`, `set_paused(bool)` and `set_bits(bool)` do what its controls do. It draws at most four
times a second, only what is new, and nothing while it is hidden. Signal: `chosen(span, bits)` when the user
has chosen a span or a unit; `failed(Failure)` when it could not be saved.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QBuffer, QByteArray, QEvent, QPoint, QPointF, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QHideEvent, QPainter, QPaintEvent, QPen, QPixmap, QShowEvent
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QVBoxLayout, QWidget

from castray_desktop.core.failure import Failure, FailureKind
from castray_desktop.core.messages import RateHistory as PastRates
from castray_desktop.core.messages import Throughput
from castray_desktop.ui.controls.painting import CENTRE, LEFT, RIGHT, paint_text
from castray_desktop.ui.controls.segments import Segments
from castray_desktop.ui.controls.widgets import IconTint, icon_button, label
from castray_desktop.ui.nodes import natural_key
from castray_desktop.ui.rate_history import LONG_STEP, STEP, RateHistory, Window
from castray_desktop.ui.theme import Theme
from castray_desktop.ui.units import format_ago
from castray_desktop.ui.words import Words

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
FRAME_MS = 250
CALM_SECONDS = 1.0  # between frames that only move, since nothing has arrived
FRAMES_A_SPAN = 800  # more than the plot is wide
MOST_PAUSE = 5.0  # seconds; what is new shall not wait longer
PNG, CSV = "png", "csv"
SCALE_EVERY = 1.0
CHOOSE_EVERY = 5.0
MOST_LINES = 8  # with more recipients: the seven slowest and a band
SLOWEST = 7
AXIS_LEFT, AXIS_BOTTOM = 48, 28
UNITS = ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "KB/s"), (1.0, "B/s"))
BIT_UNITS = ((1e9 / 8, "Gbit/s"), (1e6 / 8, "Mbit/s"), (1e3 / 8, "kbit/s"), (1 / 8, "bit/s"))


def nice_top(most: float) -> float:
    """The value of the topmost of three grid lines, for a largest value."""
    if most <= 0:
        return 600e6
    base = 10.0 ** np.floor(np.log10(most))
    for place in (1.2, 1.5, 1.8, 2.4, 3.0, 4.5, 6.0, 7.5, 9.0, 12.0):
        if most <= place * base * 1.05:
            return float(place * base)
    return float(15.0 * base)


class _Overlay(QWidget):
    """Axis words, the read-out under the pointer and the empty state; painted over the curves."""

    def __init__(self, owner: ThroughputPlot, parent: QWidget) -> None:
        super().__init__(parent)
        self._owner = owner
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._owner.paint_overlay(painter)
        painter.end()


class ThroughputPlot(QWidget):
    """See the module."""

    chosen = Signal(int, bool)
    failed = Signal(object)

    def __init__(
        self, theme: Theme, parent: QWidget | None = None, now: Callable[[], float] = time.time
    ) -> None:
        super().__init__(parent)
        self._theme, self._now = theme, now
        self._history = RateHistory()
        self._span = SPANS[0]
        self._top = nice_top(0)
        self._scaled_at = self._chosen_at = -1e9
        self._bits = False
        self._fresh = True
        self._drawn_at = -1e9
        self._moved_at = -1e9  # the newest sample
        self._frozen_at: float | None = None
        self._hover_age: float | None = None
        self._shown: Window | None = None
        self._names: list[str] = []
        self.frames = 0  # drawn, for tests
        self._build()
        self._timer = QTimer(self)
        self._timer.setInterval(FRAME_MS)
        self._timer.timeout.connect(self._frame)
        theme.changed.connect(self._restyle)
        self._restyle()
        Words(self, self._say)

    def _say(self) -> None:
        self.setAccessibleName(self.tr("Throughput"))
        pause = self.tr("Go on drawing") if self.paused else self.tr("Pause drawing")
        self._pause.setToolTip(pause)
        self._pause.setAccessibleName(pause)
        self.export_button.setToolTip(self.tr("Save or change the plot"))
        self.export_button.setAccessibleName(self.tr("Save or change the plot"))
        self._say_hours()
        self._overlay.update()

    def _say_hours(self) -> None:
        hours = (self._span if self._span in HOURS else HOURS[0]) // 3600
        self._spans.button(len(MINUTES)).setText(self.tr("{count} h").format(count=hours))

    # --- what the window calls -------------------------------------------------------------

    def add(self, sample: Throughput) -> None:
        """Take in a sample of the engine's."""
        received = {node.node: node.received for node in sample.nodes if node.received > 0}
        self._history.add(sample.at, sample.total, received)
        self._moved_at = max(self._moved_at, sample.at)
        self._fresh = True
        self._keep_time()

    def take_past(self, past: PastRates) -> None:
        """What the engine knows of the time before this plot; the longest stretch first."""
        self._history.take_past(past, self._now())
        if past.samples:
            self._moved_at = max(self._moved_at, past.samples[-1].at)
        self._draw_anew()

    @property
    def _moving_until(self) -> float:
        """When the last rate leaves the plot."""
        return self._moved_at + self._span

    def _draw_anew(self) -> None:
        self._fresh, self._drawn_at, self._scaled_at = True, -1e9, -1e9
        self._frame()

    @property
    def paused(self) -> bool:
        """Whether drawing stands still; samples are taken in all the while."""
        return self._frozen_at is not None

    def set_paused(self, paused: bool) -> None:
        """Stand still, or catch up."""
        self._frozen_at = self._now() if paused else None
        self._pause.setChecked(paused)
        self._say()
        self._pause_tint.set_name("play" if paused else "pause")
        self._draw_anew()

    def set_span(self, seconds: int) -> None:
        """Show this many of the last seconds: one of `SPANS`."""
        self._span = seconds
        self._spans.set_checked(min(SPANS.index(seconds), len(MINUTES)))
        self._say_hours()
        self._plot.setXRange(-seconds, 0, padding=0)
        self._draw_anew()

    def set_bits(self, bits: bool) -> None:
        """Speak of bits per second, or of bytes."""
        self._bits = bits
        self._unit.setText(self._scale_unit()[1])
        self._overlay.update()

    def picture(self) -> QPixmap:
        """The plot as it is, with its axes and lines."""
        return QPixmap(self._plot.grab())

    def table(self) -> str:
        """The numbers behind the plot as CSV: one line for each step, in bytes per second."""
        now = self._frozen_at if self._frozen_at is not None else self._now()
        window = self._history.window(now, self._span)
        names = sorted(window.nodes, key=natural_key)
        columns = [window.total, *(window.nodes[name] for name in names)]
        text = io.StringIO(newline="")
        rows = csv.writer(text)
        rows.writerow(["time", "total", *names])
        for place, age in enumerate(window.age.tolist()):
            at = datetime.fromtimestamp(now - age, UTC).isoformat(timespec="milliseconds")
            rows.writerow([at, *(f"{column[place]:.0f}" for column in columns)])
        return text.getvalue()

    # --- building --------------------------------------------------------------------------

    def _build(self) -> None:
        self._title = label(lambda: self.tr("Throughput"), 13, 600)
        self._unit = label("MB/s", 12, tone="3")
        self._spans = Segments(
            self._theme,
            [
                (lambda: self.tr("1 min"), lambda: self.tr("The last minute")),
                ("5", lambda: self.tr("The last 5 minutes")),
                ("30", lambda: self.tr("The last 30 minutes")),
                ("3 h", lambda: self.tr("The last hours")),
            ],
            exclusive=True,
        )
        self._spans.set_checked(0)
        self._spans.pressed.connect(self._span_pressed)
        self._pause = icon_button(self._theme, "pause", "")
        self._pause.setCheckable(True)
        self._pause_tint = self._pause.findChild(IconTint) or IconTint(
            self._theme, self._pause, "pause", "text_2", 16
        )
        self._pause.clicked.connect(self.set_paused)
        self.export_button = icon_button(self._theme, "download", "")
        self.menu = QMenu(self)
        self.menu.aboutToShow.connect(self._fill_menu)
        self.export_button.clicked.connect(lambda: self._pop_up(self.menu, self.export_button))
        bar = QHBoxLayout()
        bar.setContentsMargins(16, 8, 12, 0)
        bar.setSpacing(6)
        for widget in (self._title, self._unit):
            bar.addWidget(widget)
        bar.addStretch(1)
        bar.addWidget(self._spans)
        bar.addWidget(self._pause)
        bar.addWidget(self.export_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(bar)
        column.addWidget(self._build_plot(), 1)
        self.setMinimumSize(280, 140)

    def _build_plot(self) -> QWidget:
        self._plot: Any = pg.PlotWidget(self)
        self._plot.setFrameShape(pg.PlotWidget.Shape.NoFrame)
        self._plot.setBackground(None)
        self._plot.setStyleSheet("background: transparent; border: none;")
        self._plot.setAntialiasing(False)
        self._plot.setMouseEnabled(x=False, y=False)
        self._plot.setMenuEnabled(False)
        self._plot.hideButtons()
        self._plot.hideAxis("left")
        self._plot.hideAxis("bottom")
        self._plot.setXRange(-self._span, 0, padding=0)
        self._plot.setYRange(0, self._top * 1.1, padding=0)
        item = self._plot.getPlotItem()
        item.setContentsMargins(0, 0, 0, 0)
        item.layout.setContentsMargins(AXIS_LEFT, 12, 16, AXIS_BOTTOM)
        item.vb.setBorder(None)
        self._grid = [pg.InfiniteLine(self._top * step / 3, angle=0) for step in (1, 2, 3)]
        for rule in self._grid:
            rule.setZValue(-10)
            self._plot.addItem(rule, ignoreBounds=True)
        self._band_high, self._band_low = self._curve(), self._curve()
        self._band = pg.FillBetweenItem(self._band_low, self._band_high)
        self._plot.addItem(self._band)
        self._lines = [self._curve() for _ in range(MOST_LINES)]
        self._total = self._curve()
        self._overlay = _Overlay(self, self._plot)
        self._plot.viewport().installEventFilter(self)
        self._plot.viewport().setMouseTracking(True)
        for widget in (self._plot, self._plot.viewport()):
            widget.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        plot: QWidget = self._plot
        return plot

    def _curve(self) -> pg.PlotDataItem:
        curve = pg.PlotDataItem(antialias=False, skipFiniteCheck=True)
        curve.setDownsampling(auto=True, method="peak")
        curve.setClipToView(True)
        self._plot.addItem(curve)
        return curve

    def _restyle(self) -> None:
        palette = self._theme.palette
        fill = QColor(palette.accent)
        fill.setAlphaF(0.07)
        self._total.setPen(pg.mkPen(palette.accent, width=2))
        self._total.setFillLevel(0)
        self._total.setBrush(fill)
        for index, line in enumerate(self._lines):
            line.setPen(pg.mkPen(palette.series[index], width=1))
        for rule in self._grid:
            rule.setPen(pg.mkPen(palette.grid, width=1))
        for edge in (self._band_low, self._band_high):
            edge.setPen(None)
        band = QColor(palette.text_3)
        band.setAlphaF(0.25)
        self._band.setBrush(band)
        self._overlay.update()
        self._draw_anew()

    # --- drawing ---------------------------------------------------------------------------

    def _keep_time(self) -> None:
        """The timer runs only while there is something to move and somebody to see it."""
        run = self.isVisible() and not self.paused and self._now() <= self._moving_until
        if run and not self._timer.isActive():
            self._timer.start()
        elif not run and self._timer.isActive():
            self._timer.stop()

    def _frame(self) -> None:
        self._keep_time()
        if not self.isVisible() or self.window().isMinimized():
            return
        now = self._frozen_at if self._frozen_at is not None else self._now()
        if not self._fresh and (self.paused or now > self._moving_until + 1):
            return
        pause = self._span / FRAMES_A_SPAN if self._fresh else max(CALM_SECONDS, self._span / FRAMES_A_SPAN)
        if 0 <= now - self._drawn_at < min(pause, MOST_PAUSE) - 0.05:
            return
        self._drawn_at = now
        self._fresh = False
        self.frames += 1
        self._draw(self._history.window(now, self._span), now)

    def _draw(self, window: Window, now: float) -> None:
        self._shown = window
        x = -window.age
        self._names = self._lines_to_draw(window, now)
        for index, line in enumerate(self._lines):
            if index < len(self._names):
                line.setData(x, window.nodes[self._names[index]])
            else:
                line.setData([], [])
        self._draw_band(x, window)
        if self._history.empty:
            self._total.setData([], [])
        else:
            self._total.setData(x, window.total)
        self._scale(window, now)
        self._overlay.update()

    def _lines_to_draw(self, window: Window, now: float) -> list[str]:
        """All nodes in the order of their names; of many the slowest, chosen anew every few seconds only."""
        if len(window.nodes) <= MOST_LINES:
            return sorted(window.nodes, key=natural_key)
        due = abs(now - self._chosen_at) >= CHOOSE_EVERY
        if due or len(self._names) != SLOWEST or not window.nodes.keys() >= set(self._names):
            self._chosen_at = now
            step = STEP if self._span <= MINUTES[-1] else LONG_STEP
            speeds = window.nodes.lately(max(1, int(CHOOSE_EVERY / step)))
            slowest = sorted(speeds, key=lambda name: (speeds[name], natural_key(name)))[:SLOWEST]
            return sorted(slowest, key=natural_key)
        return self._names

    def _draw_band(self, x: np.typing.NDArray[np.float64], window: Window) -> None:
        many = len(window.nodes) > MOST_LINES
        self._band.setVisible(many)
        if many:
            self._band_low.setData(x, window.low)
            self._band_high.setData(x, window.high)
        else:
            self._band_low.setData([], [])
            self._band_high.setData([], [])

    def _scale(self, window: Window, now: float) -> None:
        if abs(now - self._scaled_at) < SCALE_EVERY:
            return
        self._scaled_at = now
        top = nice_top(float(window.total.max(initial=0.0)))
        if top != self._top:
            self._top = top
            self._plot.setYRange(0, top * 1.1, padding=0)
            for step, rule in enumerate(self._grid, 1):
                rule.setPos(top * step / 3)
        self._unit.setText(self._scale_unit()[1])

    def _scale_unit(self) -> tuple[float, str]:
        units = BIT_UNITS if self._bits else UNITS
        return next(((size, name) for size, name in units if self._top >= size * 0.999), units[-1])

    # --- overlay ---------------------------------------------------------------------------

    def _area(self) -> QRectF:
        box = self._plot.getPlotItem().vb
        return QRectF(self._plot.mapFromScene(box.sceneBoundingRect()).boundingRect())

    def _y(self, area: QRectF, value: float) -> float:
        return area.bottom() - area.height() * value / (self._top * 1.1)

    def paint_overlay(self, painter: QPainter) -> None:
        """Axis words, grid, read-out, empty state."""
        area = self._area()
        self._paint_axes(painter, area)
        if self._history.empty:
            hint = self.tr("Rates appear here as soon as bytes move")
            spot = QRectF(area.x(), area.center().y() - 12, area.width(), 24)
            paint_text(painter, spot, hint, self._theme.palette.text_2, 12, 400, CENTRE)
        elif self._hover_age is not None and self._shown is not None:
            self._paint_read_out(painter, area, self._shown, self._hover_age)

    def _paint_axes(self, painter: QPainter, area: QRectF) -> None:
        palette = self._theme.palette
        size, _ = self._scale_unit()
        for step in range(4):
            value = self._top * step / 3
            y = self._y(area, value)
            if step == 0:
                painter.setPen(QPen(QColor(palette.line_strong), 1))
                painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            text = f"{value / size:.3g}"
            place = QRectF(0, y - 8, area.left() - 8, 16)
            paint_text(painter, place, text, palette.text_3, 11, 400, RIGHT, tabular=True)
        for age in TICKS[self._span]:
            x = area.right() - area.width() * age / self._span
            first, last = age == self._span, age == 0
            align = LEFT if first else RIGHT if last else CENTRE
            left = x if first else x - 60 if last else x - 30
            place = QRectF(left, area.bottom() + 6, 60, 16)
            text = self._age_word(age, first=first)
            paint_text(painter, place, text, palette.text_3, 11, 400, align, tabular=True)

    def _age_word(self, age: float, *, first: bool) -> str:
        if age == 0:
            return self.tr("now")
        if self._span <= 60:
            text = f"{age:g}"
            return self.tr("{count} s").format(count=text) if first else text
        if self._span in HOURS:
            text = f"{age / 3600:.3g}"
            return self.tr("{count} h").format(count=text) if first else text
        text = f"{age / 60:.3g}"
        return self.tr("{count} min").format(count=text) if first else text

    def _paint_read_out(self, painter: QPainter, area: QRectF, window: Window, age: float) -> None:
        palette = self._theme.palette
        index = int(np.abs(window.age - age).argmin())
        x = area.right() - area.width() * age / self._span
        pen = QPen(QColor(palette.text_2), 1)
        pen.setDashPattern([3, 3])
        painter.setPen(pen)
        painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
        painter.setPen(QPen(QColor(palette.card), 1))
        marks = [(float(window.total[index]), palette.accent, 4.0)]
        marks += [
            (float(window.nodes[name][index]), palette.series[place], 2.5)
            for place, name in enumerate(self._names)
        ]
        for value, color, radius in marks:
            painter.setBrush(QColor(color))
            painter.drawEllipse(QPointF(x, self._y(area, value)), radius, radius)
        self._paint_box(painter, area, x, window, index)

    def _paint_box(self, painter: QPainter, area: QRectF, x: float, window: Window, index: int) -> None:
        palette = self._theme.palette
        rows = (len(self._names) + 1) // 2
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
        size, unit = self._scale_unit()
        line = QRectF(box.x() + 12, box.y() + 7, box.width() - 24, 18)
        painter.fillRect(QRectF(line.x(), line.center().y() - 1.5, 12, 3), QColor(palette.accent))
        total = self.tr("Total {rate} {unit}").format(rate=_figure(window.total[index], size), unit=unit)
        paint_text(painter, line.adjusted(18, 0, 0, 0), total, palette.text, 12, 600, tabular=True)
        ago = format_ago(float(window.age[index]))
        paint_text(painter, line, ago, palette.text_3, 11, 400, RIGHT, tabular=True)
        half = (box.width() - 24 - 16) / 2
        for place, name in enumerate(self._names):
            cell = QRectF(line.x() + (place % 2) * (half + 16), box.y() + 27 + place // 2 * 17, half, 17)
            painter.fillRect(QRectF(cell.x(), cell.center().y() - 1, 12, 2), QColor(palette.series[place]))
            paint_text(painter, cell.adjusted(18, 0, -38, 0), name, palette.text_2, 11)
            figure = _figure(window.nodes[name][index], size)
            paint_text(painter, cell, figure, palette.text, 11, 600, RIGHT, tabular=True)

    # --- slots -----------------------------------------------------------------------------

    def _span_pressed(self, which: int) -> None:
        if which < len(MINUTES):
            self._choose(MINUTES[which], self._bits)
        else:
            self._spans.set_checked(min(SPANS.index(self._span), len(MINUTES)))
            self._pop_up(self._hours_menu(), self._spans.button(which))

    def _hours_menu(self) -> QMenu:
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for seconds in HOURS:
            text = self.tr("The last {count} hours").format(count=seconds // 3600)
            action = menu.addAction(text, partial(self._choose, seconds, self._bits))
            action.setCheckable(True)
            action.setChecked(seconds == self._span)
        return menu

    def _pop_up(self, menu: QMenu, below: QWidget) -> None:
        menu.popup(below.mapToGlobal(QPoint(0, below.height() + 2)))

    def _choose(self, span: int, bits: bool) -> None:
        self.set_bits(bits)
        self.set_span(span)
        self.chosen.emit(span, bits)

    def _fill_menu(self) -> None:
        menu = self.menu
        menu.clear()
        menu.addAction(self.tr("Save as a picture (PNG)…"), partial(self._ask_where, PNG))
        menu.addAction(self.tr("Save the numbers (CSV)…"), partial(self._ask_where, CSV))
        menu.addSeparator()
        for bits, text in ((False, self.tr("Bytes per second")), (True, self.tr("Bits per second"))):
            action = menu.addAction(text, partial(self._choose, self._span, bits))
            action.setCheckable(True)
            action.setChecked(bits is self._bits)

    def _ask_where(self, ending: str) -> None:
        dialog = QFileDialog(self, self.tr("Save the throughput"))
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix(ending)
        dialog.setNameFilter(f"{ending.upper()} (*.{ending})")
        dialog.selectFile(f"throughput.{ending}")
        dialog.fileSelected.connect(self.save)
        dialog.open()

    def save(self, path: str) -> None:
        """Write the picture or the numbers, as the name ends; says above the plot when that fails."""
        try:
            if path.lower().endswith(f".{PNG}"):
                Path(path).write_bytes(_png(self.picture()))
            else:
                Path(path).write_text(self.table(), encoding="utf-8", newline="")
        except OSError as error:
            values = {"path": path, "reason": error.strerror or str(error)}
            self.failed.emit(Failure(FailureKind.FILE_NOT_WRITTEN, values))

    def hover_at(self, place: QPointF | None) -> None:
        """Show the read-out for a place in the plot; None takes it away."""
        area = self._area()
        inside = place is not None and area.adjusted(-2, -8, 2, 8).contains(place)
        age = None
        if inside and place is not None:
            share = (area.right() - place.x()) / max(1.0, area.width())
            age = min(1.0, max(0.0, share)) * self._span
        if age != self._hover_age:
            self._hover_age = age
            self._overlay.update()

    # --- Qt --------------------------------------------------------------------------------

    def eventFilter(self, watched: object, event: QEvent) -> bool:
        kind = event.type()
        if kind is QEvent.Type.MouseMove:
            self.hover_at(event.position())  # type: ignore[attr-defined]
        elif kind is QEvent.Type.Leave:
            self.hover_at(None)
        elif kind is QEvent.Type.Resize:
            self._overlay.resize(self._plot.viewport().size())
            self._fresh = True
        return False

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._draw_anew()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._keep_time()

    def sizeHint(self) -> QSize:
        return QSize(432, 256)


def _png(picture: QPixmap) -> bytes:
    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QBuffer.OpenModeFlag.WriteOnly)
    picture.save(buffer, "PNG")
    return bytes(data.data())


def _figure(rate: float, size: float) -> str:
    value = float(rate) / size
    if value >= 9.95 or value == 0:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"
