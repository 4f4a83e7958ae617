"""Measures the gaps of the event loop: how long the window could not have answered."""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import QObject, Qt, QTimer

TICK_MS = 10
WORTH_TELLING_MS = 16.0


class StallMeter(QObject):
    """Calls `tell` with the milliseconds by which a tick of 10 ms came too late, from 16 ms on."""

    def __init__(self, tell: Callable[[float], None], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._tell = tell
        self._last = time.perf_counter()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self._tick)

    def start(self) -> None:
        self._last = time.perf_counter()
        self._timer.start()

    def stop(self) -> None:
        self._timer.stop()

    def _tick(self) -> None:
        now = time.perf_counter()
        gap = (now - self._last) * 1000 - TICK_MS
        self._last = now
        if gap > WORTH_TELLING_MS:
            self._tell(gap)
