"""A limit on how fast bytes leave. Standard library only: this module is shipped to the nodes.

The generic cell rate algorithm in its virtual scheduling form (ITU-T I.371): no timer and no counter to
refill, only the time at which the next byte is due.
"""

from __future__ import annotations

BURST_SECONDS = 0.1


class Pacer:
    """Spreads bytes over time at `limit` bytes per second; 0 is no limit. The time is passed in."""

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self._due = 0.0

    def delay(self, now: float, length: int) -> float:
        """How many seconds to wait at `now` before these bytes may leave. They count as sent."""
        if not self.limit:
            return 0.0
        self._due = max(self._due, now - BURST_SECONDS)
        wait = max(0.0, self._due - now)
        self._due += length / self.limit
        return wait
