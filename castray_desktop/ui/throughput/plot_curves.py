"""The curves: one for each recipient, or a band around many; their total; the grid. Needs pyqtgraph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPixmap
from PySide6.QtWidgets import QVBoxLayout, QWidget

from castray_desktop.ui.theme.theme import Palette
from castray_desktop.ui.throughput.rate_history import RateWindow

MOST_LINES = 8  # with more recipients: the slowest and a band
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
        self.lines = [self._curve() for _ in range(MOST_LINES)]
        self.total = self._curve()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.plot)

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
        """All of it, with what is painted over it."""
        return QPixmap(self.plot.grab())

    def set_span(self, seconds: int) -> None:
        """Reach so far back."""
        self.plot.setXRange(-seconds, 0, padding=0)

    def set_top(self, top: float) -> None:
        """Reach so high: the value of the topmost grid line."""
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
        many = len(window.nodes) > MOST_LINES
        self.band.setVisible(many)
        if many:
            self._band_low.blockSignals(True)  # or the band is filled twice
            self._band_low.setData(x, window.low)
            self._band_low.blockSignals(False)
            self._band_high.setData(x, window.high)
        else:
            _clear(self._band_low)
            _clear(self._band_high)

    def restyle(self, palette: Palette) -> None:
        """In these colours."""
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
    """Setting nothing costs as much as setting something."""
    if curve.xData is not None and len(curve.xData):
        curve.setData([], [])
