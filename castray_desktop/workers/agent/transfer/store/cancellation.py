"""The early end of a delivery: it was cancelled, or one of its threads had an error."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Optional


class CastCancelledError(Exception):
    """The cast was cancelled here."""


class CancellationToken:
    """Whether a delivery has to end early, and why. Any thread may request that; its threads check it."""

    def __init__(self) -> None:
        self.cancelled = False
        self._lock = threading.Lock()
        self._error: Optional[BaseException] = None
        self._listeners: list[Callable[[], None]] = []

    def add_listener(self, listener: Callable[[], None]) -> None:
        """Call this, in the requesting thread, after each request to end."""
        self._listeners.append(listener)

    def cancel(self) -> None:
        """End because the cast is cancelled."""
        self.cancelled = True
        self._notify()

    def fail(self, error: BaseException) -> None:
        """End with this error, unless there was an earlier one."""
        with self._lock:
            self._error = self._error or error
        self._notify()

    def _notify(self) -> None:
        for listener in self._listeners:
            listener()

    @property
    def requested(self) -> bool:
        """Whether the delivery has to end."""
        return self.cancelled or self._error is not None

    def check(self) -> None:
        """Raise the reason to end, if there is one."""
        if self.cancelled:
            raise CastCancelledError
        if self._error is not None:
            raise self._error
