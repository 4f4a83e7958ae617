"""A lock for two threads: one waits for it, the other one takes it only where nobody does."""

from __future__ import annotations

import threading


class YieldingLock:
    """`with` waits for it, in one thread at a time. Python's own locks go to whoever is faster, which is the
    one that has just released it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.is_awaited = False
        """Whether somebody waits: whoever holds it for long should release it."""

    def __enter__(self) -> None:
        self.is_awaited = True
        self._lock.acquire()
        self.is_awaited = False

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def take(self) -> bool:
        """Take it if it is free and nobody waits; `release` it."""
        return not self.is_awaited and self._lock.acquire(blocking=False)

    def release(self) -> None:
        self._lock.release()

    def locked(self) -> bool:
        """Whether somebody has it."""
        return self._lock.locked()
