"""Where the time of a thread that moves bytes goes, so that one can say what holds it up."""

from __future__ import annotations

import time
from collections.abc import Callable

WAITING, CHECKING, DISK = 0, 1, 2
"""For bytes or for somebody who wants them; in the processor, for digests and hashes; in reads or writes."""


class Spending:
    """Seconds by what they went into. Threads that take turns say what they do; any may ask."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds = [0.0, 0.0, 0.0]
        self._now, self._since = WAITING, clock()

    def on(self, what: int) -> None:
        """From now on the time goes into this."""
        now = self._clock()
        self._seconds[self._now] += now - self._since
        self._now, self._since = what, now

    def seconds(self, what: int) -> float:
        """So far, what goes on included."""
        going_on = self._clock() - self._since if self._now == what else 0.0
        return self._seconds[what] + going_on
