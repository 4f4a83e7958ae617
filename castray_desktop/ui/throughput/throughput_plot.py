"""The throughput plot: title bar, drawing schedule, export, and its connection to engine and settings."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

from PySide6.QtCore import (
    QEvent,
    QIODevice,
    QObject,
    QPoint,
    QPointF,
    QSaveFile,
    QSettings,
    QSize,
    QTimer,
    Signal,
)
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QMenu, QVBoxLayout, QWidget

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import RateHistory, Throughput
from castray_desktop.ui.i18n.language import Retranslator
from castray_desktop.ui.model.desktop_services import ask_where_to_save
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.model.node_list import natural_key
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.throughput.plot_canvas import (
    AXIS_LEFT,
    HOURS,
    MAX_LINES,
    MINUTES,
    SPANS,
    LegendEntry,
    PlotCurves,
    PlotLegend,
    PlotOverlay,
    PlotSnapshot,
    nice_top,
    scale_unit,
)
from castray_desktop.ui.throughput.rate_history import LONG_STEP, STEP, PlotHistory, RateWindow
from castray_desktop.ui.widgets.basic_widgets import icon_button, label, lay_in, set_icon
from castray_desktop.ui.widgets.fields import SegmentedButtons
from castray_desktop.ui.widgets.popups import add_choice, open_menu

PNG, CSV = "png", "csv"


def as_csv(window: RateWindow, now: float) -> str:
    """One line for each step, in bytes per second; `now` is the POSIX time of the window's end."""
    names = sorted(window.nodes, key=natural_key)
    columns = [window.total, *(window.nodes[name] for name in names)]
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(["time", "total", *names])
    for place, age in enumerate(window.age.tolist()):
        at = datetime.fromtimestamp(now - age, UTC).isoformat(timespec="milliseconds")
        rows.writerow([at, *(f"{column[place]:.0f}" for column in columns)])
    return text.getvalue()


FRAME_MS = 250
IDLE_AFTER = 1.0  # seconds without a sample
IDLE_INTERVAL = 4.0  # seconds between frames from then on; each costs as much as one with new samples
FRAMES_PER_SPAN = 800  # more than the plot is wide
MAX_INTERVAL = 5.0  # seconds until a new sample is drawn
SCALE_INTERVAL = 1.0
CHOOSE_INTERVAL = 5.0
SLOWEST = 7


class ThroughputPlot(QWidget):
    """Rates of the last seconds to hours: one line for each node, or a band around many, and their total.

    Signals: `chosen(span, bits)` when the user has chosen; `failed(failure)` when an export was not written.
    """

    chosen = Signal(int, bool)
    failed = Signal(object)

    def __init__(self, theme: Theme, now: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._theme, self._now = theme, now
        self._history = PlotHistory()
        self._span = SPANS[0]
        self._top = nice_top(0)
        self._scaled_at = self._chosen_at = -1e9
        self._bits = False
        self._fresh = True
        self._drawn_at = -1e9
        self._moved_at = -1e9  # the newest sample
        self._frozen_at: float | None = None
        self._hover_age: float | None = None
        self._shown: RateWindow | None = None
        self._names: list[str] = []
        self.frames = 0  # how many were drawn
        self._curves = PlotCurves(self)
        self._curves.set_span(self._span)
        self._curves.set_top(self._top)
        self._curves.viewport.installEventFilter(self)
        self.legend = PlotLegend(theme)
        self._overlay = PlotOverlay(theme, self._curves.plot, self._snapshot, self._curves.area)
        self._build()
        self._timer = QTimer(self, interval=FRAME_MS)
        self._timer.timeout.connect(self._frame)
        theme.changed.connect(self._restyle)
        self._restyle()
        Retranslator(self, self._retranslate)

    def _retranslate(self) -> None:
        self.setAccessibleName(self.tr("Throughput"))
        pause = self.tr("Resume drawing") if self.paused else self.tr("Pause drawing")
        self._pause.setToolTip(pause)
        self._pause.setAccessibleName(pause)
        self._set_hours_text()
        if self._shown is not None:
            self._show_legend(self._shown)
        self._overlay.update()

    def _set_hours_text(self) -> None:
        hours = (self._span if self._span in HOURS else HOURS[0]) // 3600
        self._spans.button(len(MINUTES)).setText(self.tr("{count} h").format(count=hours))

    # --- what the window calls -------------------------------------------------------------

    def add(self, sample: Throughput) -> None:
        """Take in a sample of the engine's."""
        received = {node.node: node.received for node in sample.nodes if node.received > 0}
        self._history.add(sample.at, sample.total, received)
        self._moved_at = max(self._moved_at, sample.at)
        self._fresh = True
        self._update_timer()

    def load_past(self, past: RateHistory) -> None:
        """Load traffic from before this plot was opened; the longest span first."""
        self._history.load_past(past, self._now())
        if past.samples:
            self._moved_at = max(self._moved_at, past.samples[-1].at)
        self._redraw()

    @property
    def _moves_until(self) -> float:
        """The time from which the plot is empty and need not be drawn."""
        return self._moved_at + self._span + MAX_INTERVAL

    def _redraw(self) -> None:
        self._fresh, self._drawn_at, self._scaled_at = True, -1e9, -1e9
        self._frame()

    @property
    def paused(self) -> bool:
        """Whether drawing is paused; samples are still recorded."""
        return self._frozen_at is not None

    def set_paused(self, paused: bool) -> None:
        """Pause or continue drawing."""
        self._frozen_at = self._now() if paused else None
        self._pause.setChecked(paused)
        self._retranslate()
        set_icon(self._pause, "play" if paused else "pause")
        self._redraw()

    def set_span(self, seconds: int) -> None:
        """Show this many of the last seconds: one of `SPANS`."""
        self._span = seconds
        self._spans.set_checked(min(SPANS.index(seconds), len(MINUTES)))
        self._set_hours_text()
        self._curves.set_span(seconds)
        self._redraw()

    def set_bits(self, bits: bool) -> None:
        """Show bits per second, or bytes."""
        self._bits = bits
        self._unit.setText(scale_unit(self._top, bits=self._bits)[1])
        self._overlay.update()

    def table(self) -> str:
        """The numbers behind the plot as CSV: one line for each step, in bytes per second."""
        now = self._frozen_at if self._frozen_at is not None else self._now()
        return as_csv(self._history.window(now, self._span), now)

    # --- building --------------------------------------------------------------------------

    def _build(self) -> None:
        title = label(lambda: self.tr("Throughput"), 13, 600)
        self._unit = label("MB/s", 12, tone="3")
        self._spans = SegmentedButtons(
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
        self._pause.clicked.connect(self.set_paused)
        self.export_button = icon_button(self._theme, "download", lambda: self.tr("Save or change the plot"))
        self.export_button.clicked.connect(lambda: self._pop_up(self._export_menu(), self.export_button))
        buttons = (self._spans, self._pause, self.export_button)
        bar = lay_in(QHBoxLayout(), title, self._unit, None, *buttons, spacing=6, margins=(16, 8, 12, 0))
        keys = lay_in(QHBoxLayout(), self.legend, margins=(AXIS_LEFT, 4, 16, 0))
        lay_in(QVBoxLayout(self), bar, keys, (self._curves, 1), spacing=0, margins=(0, 0, 0, 0))
        self.setMinimumSize(280, 140)

    def _restyle(self) -> None:
        self._curves.restyle(self._theme.palette)
        self._overlay.update()
        self._redraw()

    # --- drawing ---------------------------------------------------------------------------

    def _update_timer(self) -> None:
        """Run the timer only while the plot is visible and its content moves."""
        now = self._now()
        run = self.isVisible() and not self.paused and now <= self._moves_until
        pause = FRAME_MS if now - self._moved_at < IDLE_AFTER else round(IDLE_INTERVAL * 1000)
        if self._timer.interval() != pause:
            self._timer.setInterval(pause)
        if run and not self._timer.isActive():
            self._timer.start()
        elif not run and self._timer.isActive():
            self._timer.stop()

    def _frame(self) -> None:
        self._update_timer()
        if not self.isVisible() or self.window().isMinimized():
            return
        now = self._frozen_at if self._frozen_at is not None else self._now()
        if not self._fresh and (self.paused or now > self._moves_until):
            return
        pause = max(0.0 if self._fresh else IDLE_INTERVAL, self._span / FRAMES_PER_SPAN)
        if 0 <= now - self._drawn_at < min(pause, MAX_INTERVAL) - 0.05:
            return
        self._drawn_at = now
        self._fresh = False
        self.frames += 1
        self._draw(self._history.window(now, self._span), now)

    def _draw(self, window: RateWindow, now: float) -> None:
        self._shown = window
        self._names = self._lines_to_draw(window, now)
        self._curves.draw(window, self._names, empty=self._history.empty)
        self._scale(window, now)
        self._show_legend(window)
        self._overlay.update()

    def _show_legend(self, window: RateWindow) -> None:
        self.legend.show_entries(() if self._history.empty else tuple(self._legend_entries(window)))

    def _legend_entries(self, window: RateWindow) -> Iterator[LegendEntry]:
        palette = self._theme.palette
        yield LegendEntry(self.tr("Total"), palette.accent, thick=True)
        if len(window.nodes) > MAX_LINES:
            yield LegendEntry(self.tr("Slowest to fastest node"), palette.text_3, thick=True)
        for name, color in zip(self._names, palette.series, strict=False):
            yield LegendEntry(name, color)

    def _lines_to_draw(self, window: RateWindow, now: float) -> list[str]:
        """All nodes by name; of many, the slowest, chosen again every few seconds only."""
        if len(window.nodes) <= MAX_LINES:
            return sorted(window.nodes, key=natural_key)
        due = abs(now - self._chosen_at) >= CHOOSE_INTERVAL
        if due or len(self._names) != SLOWEST or not window.nodes.keys() >= set(self._names):
            self._chosen_at = now
            step = STEP if self._span <= MINUTES[-1] else LONG_STEP
            speeds = window.nodes.recent_means(max(1, int(CHOOSE_INTERVAL / step)))
            slowest = sorted(speeds, key=lambda name: (speeds[name], natural_key(name)))[:SLOWEST]
            return sorted(slowest, key=natural_key)
        return self._names

    def _scale(self, window: RateWindow, now: float) -> None:
        if abs(now - self._scaled_at) < SCALE_INTERVAL:
            return
        self._scaled_at = now
        top = nice_top(float(window.total.max(initial=0.0)))
        if top != self._top:
            self._top = top
            self._curves.set_top(top)
        self._unit.setText(scale_unit(self._top, bits=self._bits)[1])

    def _snapshot(self) -> PlotSnapshot:
        window = None if self._history.empty else self._shown
        return PlotSnapshot(self._span, self._top, self._bits, self._names, window, self._hover_age)

    # --- slots -----------------------------------------------------------------------------

    def _span_pressed(self, which: int) -> None:
        if which < len(MINUTES):
            self._choose(MINUTES[which], self._bits)
        else:
            self._spans.set_checked(min(SPANS.index(self._span), len(MINUTES)))
            self._pop_up(self._hours_menu(), self._spans.button(which))

    def _hours_menu(self) -> QMenu:
        menu = QMenu(self)
        for seconds in HOURS:
            text = self.tr("The last {count} hours").format(count=seconds // 3600)
            add_choice(menu, text, partial(self._choose, seconds, self._bits), chosen=seconds == self._span)
        return menu

    def _pop_up(self, menu: QMenu, below: QWidget) -> None:
        open_menu(menu, below.mapToGlobal(QPoint(0, below.height() + 2)), below)

    def _choose(self, span: int, bits: bool) -> None:
        self.set_bits(bits)
        self.set_span(span)
        self.chosen.emit(span, bits)

    def _export_menu(self) -> QMenu:
        menu = QMenu(self)
        menu.addAction(self.tr("Save as a picture (PNG)…"), partial(self._ask_where, PNG))
        menu.addAction(self.tr("Save the numbers (CSV)…"), partial(self._ask_where, CSV))
        menu.addSeparator()
        for bits, text in ((False, self.tr("Bytes per second")), (True, self.tr("Bits per second"))):
            add_choice(menu, text, partial(self._choose, self._span, bits), chosen=bits is self._bits)
        return menu

    def _ask_where(self, ending: str) -> None:
        kind = f"{ending.upper()} (*.{ending})"
        ask_where_to_save(self, self.tr("Save the throughput"), f"throughput.{ending}", self.save, kind)

    def save(self, path: str) -> None:
        """Write a PNG or CSV file, by the ending of the name; emits `failed` on failure."""
        file = QSaveFile(path)
        written = file.open(QIODevice.OpenModeFlag.WriteOnly) and (
            self._curves.picture().save(file, "PNG")
            if path.lower().endswith(f".{PNG}")
            else file.write(self.table().encode()) >= 0
        )
        if not (written and file.commit()):
            reason = {"path": path, "reason": file.errorString()}
            self.failed.emit(Failure(FailureKind.FILE_NOT_WRITTEN, reason))

    def hover_at(self, place: QPointF | None) -> None:
        """Show the read-out for a position in the plot; None hides it."""
        area = self._curves.area()
        age = None
        if place is not None and area.adjusted(-2, -8, 2, 8).contains(place):
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
            self._overlay.resize(self._curves.viewport.size())
            self._fresh = True
        return False

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._redraw()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._update_timer()

    def sizeHint(self) -> QSize:
        return QSize(432, 256)


SPAN, BITS = "plot/span", "plot/bits"
PERIODS = (24 * 3600.0, 3 * 3600.0, 1800.0, 300.0)
"""The longest first; the engine has finer steps for shorter periods."""


class PlotPersistence(QObject):
    """Loads past rates from the engine at every connection, and keeps span and unit in the settings."""

    def __init__(self, plot: ThroughputPlot, link: EngineLink, settings: QSettings) -> None:
        super().__init__(plot)
        self._plot, self._link, self._settings = plot, link, settings
        plot.chosen.connect(self._remember)
        link.welcome.connect(self._ask)
        self._restore()
        if link.connected:
            self._ask()

    def _restore(self) -> None:
        span = self._settings.value(SPAN, SPANS[0])
        self._plot.set_bits(str(self._settings.value(BITS, "false")).lower() == "true")
        known = {str(each): each for each in SPANS}
        self._plot.set_span(known.get(str(span), SPANS[0]))

    def _remember(self, span: int, bits: bool) -> None:
        self._settings.setValue(SPAN, span)
        self._settings.setValue(BITS, bits)

    def _ask(self) -> None:
        for seconds in PERIODS:
            self._link.ask(messages.GetRates(seconds), messages.RateHistory, self._plot.load_past)
