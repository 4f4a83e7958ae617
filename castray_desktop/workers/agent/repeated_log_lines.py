"""Log lines that repeat: each is written once a minute, with a count."""

from __future__ import annotations

import logging
import threading
import time

REPEAT_SECONDS = 60.0
MAX_LINES = 100


class RepeatedLogLines:
    """Log lines with one format; equal lines within a minute are counted, and the next one includes the
    count."""

    def __init__(self, log: logging.Logger, level: int, line: str) -> None:
        """`line` as for `log.log`."""
        self._log = log
        self._level = level
        self._line = line
        self._lock = threading.Lock()
        self._said: dict[tuple[object, ...], tuple[float, int]] = {}

    def log(self, *values: object) -> None:
        """Log a line, or count it."""
        now = time.monotonic()
        with self._lock:
            said, count = self._said.get(values, (now - REPEAT_SECONDS, 0))
            if now - said < REPEAT_SECONDS:
                self._said[values] = said, count + 1
                return
            self._said.pop(values, None)
            self._said[values] = now, 0
            if len(self._said) > MAX_LINES:
                del self._said[next(iter(self._said))]
        if count:
            self._log.log(self._level, self._line + " (%d more times)", *values, count)
        else:
            self._log.log(self._level, self._line, *values)
