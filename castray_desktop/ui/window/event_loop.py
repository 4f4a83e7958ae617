"""Measures how long the event loop was blocked, and logs it on request."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Qt, QTimer

TICK_MS = 10

WORTH_TELLING_MS = 16.0


@dataclass(frozen=True)
class Gap:
    """A tick that came too late: by how many milliseconds, and what this thread did meanwhile."""

    late_ms: float
    busy_ms: float  # used the processor
    starved_ms: float  # was ready to, but other threads and processes had it; 0 where the system doesn't tell


class StallMeter(QObject):
    """Calls `tell` with every tick of 10 ms that came more than 16 ms too late."""

    def __init__(self, tell: Callable[[Gap], None], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._tell = tell
        self._last = time.perf_counter()
        self._last_busy = 0.0
        self._last_starved = 0.0
        self._timer = QTimer(self, interval=TICK_MS, timerType=Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)

    def start(self) -> None:
        self._last = time.perf_counter()
        self._last_busy, self._last_starved = time.thread_time(), starved_seconds()
        self._timer.start()

    def stop(self) -> None:
        self._timer.stop()

    def _tick(self) -> None:
        now, busy, starved = time.perf_counter(), time.thread_time(), starved_seconds()
        gap = Gap(
            (now - self._last) * 1000 - TICK_MS,
            (busy - self._last_busy) * 1000,
            (starved - self._last_starved) * 1000,
        )
        self._last, self._last_busy, self._last_starved = now, busy, starved
        if gap.late_ms > WORTH_TELLING_MS:
            self._tell(gap)


def starved_seconds() -> float:
    """For how long this thread has waited for a processor since it began; 0 where that is not known."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text("ascii").split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


log = logging.getLogger("castray.window")


def log_stalls(parent: QObject) -> StallMeter:
    """Log every gap above 16 ms at level DEBUG; at another level nothing is measured."""
    meter = StallMeter(_log_gap, parent)
    if log.isEnabledFor(logging.DEBUG):
        meter.start()
    return meter


def _log_gap(gap: Gap) -> None:
    log.debug(
        "no answer for %.0f ms: %.0f busy, %.0f without a processor",
        gap.late_ms,
        gap.busy_ms,
        gap.starved_ms,
    )


INTERVAL_MS = 500


class WindowThreadCollector(QObject):
    """Collects by a timer of the thread that starts it, and nowhere else, until `stop`."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._timer = QTimer(self, interval=INTERVAL_MS)
        self._timer.timeout.connect(self.collect)

    def start(self) -> None:
        gc.disable()
        self._timer.start()

    def stop(self) -> None:
        self._timer.stop()
        gc.enable()

    def collect(self) -> None:
        """Collect the oldest generation that is due: what Python would have done by itself."""
        due = [count > limit for count, limit in zip(gc.get_count(), gc.get_threshold(), strict=True)]
        if any(due):
            gc.collect(max(number for number, late in enumerate(due) if late))

    def settle(self) -> None:
        """Exclude all present objects from later collections."""
        gc.freeze()
