"""A rate limit as a token bucket. Standard library only: this module is shipped to the nodes.

The generic cell rate algorithm (ITU-T I.371), kept in bytes instead of times, so that another limit takes
effect at once for senders that are already waiting.
"""

from __future__ import annotations

BURST_SECONDS = 0.1


class TokenBucket:
    """Lets bytes leave at `limit` bytes per second; 0 is no limit. The time is passed in.

    A sender reserves its bytes and waits until the reservation is due. Reservations become due in the order
    in which they were made: of several senders with one reservation each, none starves.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self._taken = 0  # bytes reserved so far
        self._earned = 0.0  # bytes that may have left by `_at`, at most a burst more than reserved
        self._at = 0.0

    def reserve(self, now: float, length: int) -> int:
        """Reserve bytes; returns the reservation."""
        self._earn(now)
        ticket = self._taken
        self._taken += length
        return ticket

    def delay(self, now: float, ticket: int) -> float:
        """Seconds until the reservation is due at `now`; 0 if it is."""
        self._earn(now)
        return max(0.0, (ticket - self._earned) / self.limit) if self.limit else 0.0

    def release(self, now: float, length: int) -> None:
        """Release reserved bytes that will not be sent."""
        self._earn(now)
        self._earned = min(self._earned + length, self._most())

    def set_limit(self, now: float, limit: int) -> None:
        """Change the limit from `now` on."""
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


class SendSize:
    """How many bytes to pass to the kernel at a time: all of them, but on a slow link as many as it sends in
    a twentieth of a second, so that a pause takes effect soon.
    """

    def __init__(self) -> None:
        self.bytes = MAX_SEND_BYTES

    def record(self, count: int, seconds: float) -> bool:
        """Record that sending `count` bytes took this long. Returns whether the size has changed."""
        if seconds > SLOW_SEND_SECONDS:
            size = max(MIN_SEND_BYTES, int(count / seconds * TARGET_SEND_SECONDS))
        elif seconds < TARGET_SEND_SECONDS / 4 and count >= self.bytes:
            size = min(self.bytes * 2, MAX_SEND_BYTES)
        else:
            return False
        changed = size != self.bytes
        self.bytes = size
        return changed


MAX_SEND_BYTES = 1 << 26
MIN_SEND_BYTES = 1 << 14
TARGET_SEND_SECONDS = 0.05
SLOW_SEND_SECONDS = 0.15
