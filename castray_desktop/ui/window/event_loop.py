"""Measures how long the event loop was blocked, and logs it on request."""

from __future__ import annotations

import gc
import logging
import logging.handlers
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
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(TICK_MS)
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

LOG_BYTES = 1024 * 1024


class StallLog(QObject):
    """While started, every gap above 16 ms is a line of level DEBUG; at another level nothing is measured."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._meter = StallMeter(self._tell, self)

    def start(self) -> None:
        """Start measuring, if its results are logged."""
        if log.isEnabledFor(logging.DEBUG):
            self._meter.start()

    def stop(self) -> None:
        """Stop measuring."""
        self._meter.stop()

    def _tell(self, gap: Gap) -> None:
        log.debug(
            "no answer for %.0f ms: %.0f busy, %.0f without a processor",
            gap.late_ms,
            gap.busy_ms,
            gap.starved_ms,
        )


def open_window_log(
    folder: Path,
    level: str,
    new_file: Callable[..., logging.Handler] = logging.handlers.RotatingFileHandler,
) -> logging.Handler | None:
    """Log what the window does to `window.log`, at this level or above; None where no level is named.

    `new_file` opens the file, with the arguments of RotatingFileHandler.

    Raises OSError.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        return None
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handler = new_file(folder / "window.log", maxBytes=LOG_BYTES, backupCount=1)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(number)
    return handler


def close_window_log(handler: logging.Handler | None) -> None:
    """Close the handler of `open_window_log`."""
    if handler is not None:
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)
        handler.close()


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
