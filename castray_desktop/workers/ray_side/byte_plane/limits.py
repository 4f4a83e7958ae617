"""Limits on what leaves this node: one for each cast, one for all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Callable

from castray_desktop.core.pacing import Pacer

LOOK_SECONDS = 0.1
"""Another limit, or the end of a cast, is noticed within this time by those who wait."""


class Limiter:
    """A `Pacer` that threads share, on the monotonic clock. A limit is in bytes per second, 0 is none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pacer = Pacer()

    @property
    def limit(self) -> int:
        return self._pacer.limit

    def change(self, limit: int) -> None:
        """Another limit, for those who wait already as well."""
        with self._lock:
            self._pacer.change(time.monotonic(), limit)

    def wait(self, length: int, pause: Callable[[float], None]) -> None:
        """Wait until so many bytes may leave. `pause(seconds)` waits; what it raises ends the waiting."""
        if not self._pacer.limit:  # the common case needs no lock
            return
        with self._lock:
            ticket = self._pacer.take(time.monotonic(), length)
        try:
            while (left := self._left(ticket)) > 0:
                pause(min(left, LOOK_SECONDS))
        except BaseException:
            with self._lock:
                self._pacer.give_back(time.monotonic(), length)
            raise

    def _left(self, ticket: int) -> float:
        with self._lock:
            return self._pacer.wait(time.monotonic(), ticket)


def wait_for_all(limiters: Iterable[Limiter], length: int, pause: Callable[[float], None]) -> None:
    """Wait until so many bytes may leave by every limit, one after the other.

    The narrower one, a cast's own, belongs before the node's: who waits there takes nothing from other casts.
    """
    for limiter in limiters:
        limiter.wait(length, pause)
