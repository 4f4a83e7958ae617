"""Rate limits of what leaves this node: one for each cast, one for all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Callable

from castray_desktop.core.protocol.nodes.token_bucket import TokenBucket

CHECK_SECONDS = 0.1
"""A changed limit, or the end of a cast, takes effect within this time."""


class RateLimiter:
    """A token bucket that threads share, on the monotonic clock. Limits are in bytes per second, 0
    is none.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pacer = TokenBucket()

    @property
    def limit(self) -> int:
        return self._pacer.limit

    def set_limit(self, limit: int) -> None:
        """Change the limit, also for waiting threads."""
        with self._lock:
            self._pacer.set_limit(time.monotonic(), limit)

    def wait(self, length: int, pause: Callable[[float], None]) -> None:
        """Wait until `length` bytes may leave. `pause(seconds)` waits; what it raises ends the waiting."""
        if not self._pacer.limit:  # the common case needs no lock
            return
        with self._lock:
            ticket = self._pacer.reserve(time.monotonic(), length)
        try:
            while (left := self._left(ticket)) > 0:
                pause(min(left, CHECK_SECONDS))
        except BaseException:
            with self._lock:
                self._pacer.release(time.monotonic(), length)
            raise

    def _left(self, ticket: int) -> float:
        with self._lock:
            return self._pacer.delay(time.monotonic(), ticket)


def wait_for_limits(limiters: Iterable[RateLimiter], length: int, pause: Callable[[float], None]) -> None:
    """Wait until `length` bytes may leave by every limit, one after the other.

    The narrower limit, the cast's own, comes first: a waiting cast takes nothing from other casts.
    """
    for limiter in limiters:
        limiter.wait(length, pause)
