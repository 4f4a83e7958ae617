"""Measures the gaps of the event loop: how long the window could not have answered."""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import QObject, Qt, QTimer

TICK_MS = 10
WORTH_TELLING_MS = 16.0


class StallMeter(QObject):
    """Calls `tell` with the milliseconds by which a tick of 10 ms came too late, from 16 ms on.

    The second number is the milliseconds of processor time that this thread used meanwhile: what is
    missing was taken by other processes.
    """

    def __init__(self, tell: Callable[[float, float], None], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._tell = tell
        self._last = time.perf_counter()
        self._last_busy = time.thread_time()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self._tick)

    def start(self) -> None:
        self._last = time.perf_counter()
        self._last_busy = time.thread_time()
        self._timer.start()

    def stop(self) -> None:
        self._timer.stop()

    def _tick(self) -> None:
        now, busy = time.perf_counter(), time.thread_time()
        gap = (now - self._last) * 1000 - TICK_MS
        used = (busy - self._last_busy) * 1000
        self._last, self._last_busy = now, busy
        if gap > WORTH_TELLING_MS:
            self._tell(gap, used)
