"""Disk space reserved for casts that have not written it yet, for each file system."""

from __future__ import annotations

import os
import threading
from typing import Optional

UNKNOWN_FREE_BYTES = 1 << 62
"""For a file system without a count: whether there is space shows at the first write."""


class SpaceReservations:
    """Reserved bytes by cast and file system, so that two casts never count on the same space."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._promised: dict[str, tuple[int, int]] = {}  # cast -> device, bytes still to come

    def reserved(self, device: int, but: str = "") -> int:
        """Bytes reserved by casts other than `but`."""
        with self._lock:
            return sum(size for cast, (dev, size) in self._promised.items() if dev == device and cast != but)

    def reserve(self, cast: str, device: int, size: int) -> None:
        with self._lock:
            self._promised[cast] = (device, size)

    def record_written(self, cast: str, size: int) -> None:
        """This much of the reservation was written, or reserved by the file system."""
        with self._lock:
            device, left = self._promised.get(cast, (0, 0))
            self._promised[cast] = (device, max(left - size, 0))

    def release(self, cast: str) -> None:
        with self._lock:
            self._promised.pop(cast, None)

    def free_bytes(self, folder: bytes, but: str = "") -> int:
        """Free bytes in an existing folder, less reserved ones."""
        found = os.statvfs(folder)
        if not found.f_blocks:
            return UNKNOWN_FREE_BYTES
        return found.f_bavail * found.f_frsize - self.reserved(os.stat(folder).st_dev, but)


def free_files(folder: bytes) -> Optional[int]:
    """How many more files can be created there; None if the file system does not count them."""
    found = os.statvfs(folder)
    return found.f_favail if found.f_files else None
