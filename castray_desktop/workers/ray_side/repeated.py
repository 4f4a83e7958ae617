"""Log lines that repeat: the first is written, the others are counted."""

from __future__ import annotations

import logging
import threading
import time

AGAIN_SECONDS = 60.0


class Repeated:
    """One kind of line. The same values within a minute are counted, and the next line says how often."""

    def __init__(self, log: logging.Logger, level: int, line: str, seconds: float = AGAIN_SECONDS) -> None:
        """`line` as for `log.log`."""
        self._log = log
        self._level = level
        self._line = line
        self._seconds = seconds
        self._lock = threading.Lock()
        self._last: tuple[object, ...] = ()
        self._said = 0.0
        self._count = 0

    def tell(self, *values: object) -> None:
        """Write it, or count it."""
        now = time.monotonic()
        with self._lock:
            if values == self._last and now - self._said < self._seconds:
                self._count += 1
                return
            count, self._count = self._count, 0
            before, self._last, self._said = self._last, values, now
        if count:
            self._log.log(self._level, self._line + " (%d more times)", *before, count)
        if values != before or not count:
            self._log.log(self._level, self._line, *values)
