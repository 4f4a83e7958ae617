"""Loads past traffic into the plot, and remembers its span and unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QSettings

from castray_desktop.core.protocol import messages
from castray_desktop.ui.throughput.plot_overlay import SPANS
from castray_desktop.ui.throughput.throughput_plot import ThroughputPlot

if TYPE_CHECKING:
    from castray_desktop.ui.model.engine_link import EngineLink

SPAN, BITS = "plot/span", "plot/bits"
STRETCHES = (24 * 3600.0, 3 * 3600.0, 1800.0, 300.0)
"""The longest first; the engine tells the shorter ones in finer steps."""


class PlotPersistence(QObject):
    """Asks the engine for the past at every connection, and remembers span and unit."""

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
        for seconds in STRETCHES:
            self._link.ask(messages.GetRates(seconds), messages.RateHistory, self._plot.load_past)
