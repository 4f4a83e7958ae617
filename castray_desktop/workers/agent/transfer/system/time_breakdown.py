"""How a transfer thread spends its time: waiting, hashing, disk. Shows what limits it."""

from __future__ import annotations

import time
from collections.abc import Callable

WAITING, CHECKING, DISK = 0, 1, 2
"""Waiting for data or demand; processor, for digests and hashes; reads or writes."""


class TimeBreakdown:
    """Seconds by activity. Threads that alternate report their activity; any thread may read."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds = [0.0, 0.0, 0.0]
        self._now, self._since = WAITING, clock()

    def switch(self, what: int) -> None:
        """Switch to this activity."""
        now = self._clock()
        self._seconds[self._now] += now - self._since
        self._now, self._since = what, now

    def seconds(self, what: int) -> float:
        """Seconds so far, including the current activity."""
        going_on = self._clock() - self._since if self._now == what else 0.0
        return self._seconds[what] + going_on
