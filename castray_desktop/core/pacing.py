"""A limit on how fast bytes leave. Standard library only: this module is shipped to the nodes.

The generic cell rate algorithm (ITU-T I.371), kept in bytes instead of times, so that another limit holds
at once for those who wait already.
"""

from __future__ import annotations

BURST_SECONDS = 0.1


class Pacer:
    """Lets bytes leave at `limit` bytes per second; 0 is no limit. The time is passed in.

    Whoever wants to send takes a ticket for its bytes and waits until it is due. Tickets come due in the
    order in which they were taken: of several senders with one ticket each at a time, none starves.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self._taken = 0  # bytes that tickets were given for
        self._earned = 0.0  # bytes that may have left by `_at`, at most a burst more than were taken
        self._at = 0.0

    def take(self, now: float, length: int) -> int:
        """A ticket for so many bytes."""
        self._earn(now)
        ticket = self._taken
        self._taken += length
        return ticket

    def wait(self, now: float, ticket: int) -> float:
        """How many seconds are left at `now` before the ticket is due; 0 if it is."""
        self._earn(now)
        return max(0.0, (ticket - self._earned) / self.limit) if self.limit else 0.0

    def give_back(self, now: float, length: int) -> None:
        """Bytes that a ticket was taken for won't be sent."""
        self._earn(now)
        self._earned = min(self._earned + length, self._most())

    def change(self, now: float, limit: int) -> None:
        """Another limit from `now` on."""
        self._earn(now)
        self.limit = limit
        self._earned = min(self._earned, self._most())

    def _earn(self, now: float) -> None:
        if self.limit:
            self._earned = min(self._earned + self.limit * (now - self._at), self._most())
        else:
            self._earned = float(self._taken)
        self._at = now

    def _most(self) -> float:
        return self._taken + self.limit * BURST_SECONDS


class Portion:
    """How many bytes are handed to the kernel at once: all of them, but on a slow line as many as that takes
    in a twentieth of a second, so that a pause is heeded soon.
    """

    def __init__(self) -> None:
        self.bytes = ALL_AT_ONCE

    def took(self, count: int, seconds: float) -> bool:
        """Handing over `count` bytes took so long. Whether portions have another size now."""
        if seconds > SLOW_SECONDS:
            size = max(LEAST_PORTION, int(count / seconds * PORTION_SECONDS))
        elif seconds < PORTION_SECONDS / 4 and count >= self.bytes:
            size = min(self.bytes * 2, ALL_AT_ONCE)
        else:
            return False
        changed = size != self.bytes
        self.bytes = size
        return changed


ALL_AT_ONCE = 1 << 26
LEAST_PORTION = 1 << 14
PORTION_SECONDS = 0.05
SLOW_SECONDS = 0.15
