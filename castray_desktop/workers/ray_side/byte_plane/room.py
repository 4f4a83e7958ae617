"""How much room a node has promised to casts that have not written it yet, for each file system."""

from __future__ import annotations

import os
import threading
from typing import Optional

UNCOUNTED = 1 << 62
"""Of a file system that has no count: whether there is room, or a place to write to at all, shows with the
first write."""


class Ledger:
    """Promised bytes by cast and file system, so that two casts never count on the same room."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._promised: dict[str, tuple[int, int]] = {}  # cast -> device, bytes still to come

    def promised(self, device: int, but: str = "") -> int:
        """What others than the cast `but` still want to write there."""
        with self._lock:
            return sum(size for cast, (dev, size) in self._promised.items() if dev == device and cast != but)

    def promise(self, cast: str, device: int, size: int) -> None:
        with self._lock:
            self._promised[cast] = (device, size)

    def wrote(self, cast: str, size: int) -> None:
        """That much of the promise has become bytes on disk, or a reservation of the file system."""
        with self._lock:
            device, left = self._promised.get(cast, (0, 0))
            self._promised[cast] = (device, max(left - size, 0))

    def release(self, cast: str) -> None:
        with self._lock:
            self._promised.pop(cast, None)

    def free(self, folder: bytes, but: str = "") -> int:
        """Free bytes in an existing folder, less what is promised."""
        found = os.statvfs(folder)
        if not found.f_blocks:
            return UNCOUNTED
        return found.f_bavail * found.f_frsize - self.promised(os.stat(folder).st_dev, but)


def free_files(folder: bytes) -> Optional[int]:
    """How many files can still be made there; None where the file system does not count them."""
    found = os.statvfs(folder)
    return found.f_favail if found.f_files else None
