"""Writes into a log for how long the window could not have answered, where that log is wanted."""

from __future__ import annotations

import logging
import logging.handlers
from pathlib import Path

from PySide6.QtCore import QObject

from castray_desktop.ui.stall_meter import Gap, StallMeter

log = logging.getLogger("castray.window")

LOG_BYTES = 1024 * 1024


class StallLog(QObject):
    """While started, every gap above 16 ms is a line of level DEBUG; at another level nothing is measured."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._meter = StallMeter(self._tell, self)

    def start(self) -> None:
        """Measure, if anybody reads it."""
        if log.isEnabledFor(logging.DEBUG):
            self._meter.start()

    def stop(self) -> None:
        """Measure no more."""
        self._meter.stop()

    def _tell(self, gap: Gap) -> None:
        log.debug(
            "no answer for %.0f ms: %.0f busy, %.0f without a processor",
            gap.late_ms,
            gap.busy_ms,
            gap.starved_ms,
        )


def open_window_log(folder: Path, level: str) -> logging.Handler | None:
    """Log what the window does to `window.log`, at this level or above; None where no level is named.

    Raises OSError.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        return None
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handler = logging.handlers.RotatingFileHandler(folder / "window.log", maxBytes=LOG_BYTES, backupCount=1)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(number)
    return handler


def close_window_log(handler: logging.Handler | None) -> None:
    """The last line has been written."""
    if handler is not None:
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)
        handler.close()
