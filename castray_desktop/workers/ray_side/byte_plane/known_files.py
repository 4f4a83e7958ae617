"""A source's files: whether they are those that were scanned, and their hashes from earlier casts."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Optional

from castray_desktop.core.parcel import Entry, FileResult, FileStatus
from castray_desktop.workers.ray_side.byte_plane.hash_cache import FileKey, HashCache
from castray_desktop.workers.ray_side.byte_plane.scan import Scan


class KnownFiles:
    """The regular files of one cast, by number."""

    def __init__(self, scan: Scan, files: Sequence[Entry], cache: HashCache, algorithm: str) -> None:
        self.hashes: Optional[list[bytes]] = (
            None  # of earlier casts, empty where unknown; None: not looked for
        )
        self._scan = scan
        self._files = files
        self._cache = cache
        self._algorithm = algorithm
        self._since_ns = time.time_ns()
        self._steady = bytearray(len(files))

    def is_scanned(self, file: int, found: os.stat_result) -> bool:
        """Whether it is still as it was scanned."""
        entry = self._files[file]
        return (
            found.st_mtime_ns == entry.mtime_ns
            and found.st_size == entry.size
            and found.st_ino == self._scan.inodes[file]
            and found.st_dev == self._scan.devices[file]
        )

    def is_remote(self, file: int) -> bool:
        """Whether others may write to it without this machine's noticing it at once."""
        return self._scan.systems.is_remote(
            self._scan.devices[file], self._scan.place(self._files[file].path)
        )

    def note(self, file: int, found: os.stat_result) -> None:
        """How it looked when it had been read."""
        self._steady[file] = self.is_steady_as(file, found)

    def is_steady_as(self, file: int, found: os.stat_result) -> bool:
        """Whether nobody has touched it since it was scanned: a write, but also a new mode or name, shows."""
        return found.st_ctime_ns == self._scan.ctimes[file]

    def is_steady(self, file: int) -> bool:
        """Whether nobody had touched it at all when it was looked at last."""
        return bool(self._steady[file])

    def hash_of(self, file: int) -> bytes:
        """Its hash from an earlier cast."""
        return self.hashes[file] if self.hashes else b""

    def find(self) -> None:
        """Look for the hashes of earlier casts. Takes a while for many files."""
        files = range(len(self._files))
        found = self._cache.find(self._algorithm, filter(None, map(self._lasting_key, files)))
        self.hashes = [found.get(self._key(file), b"") for file in files]

    def keep(self, results: Sequence[Optional[FileResult]]) -> None:
        """Remember the hashes of what was read, for later casts, in a thread: nobody waits for it."""
        self._cache.keep_later(self._algorithm, lambda: self._learned(results))

    def _key(self, file: int) -> FileKey:
        entry, scan = self._files[file], self._scan
        return FileKey(scan.devices[file], scan.inodes[file], entry.size, entry.mtime_ns, scan.ctimes[file])

    def _lasting_key(self, file: int) -> Optional[FileKey]:
        """None where its attributes may be out of date: it has changed too lately for a cache of them."""
        key = self._key(file)
        return key if key.is_settled(time.time_ns(), self.is_remote(file)) else None

    def _learned(self, results: Sequence[Optional[FileResult]]) -> dict[FileKey, bytes]:
        learned = {}
        for file, result in enumerate(results):
            if result is None or result.status is not FileStatus.OK or not self._steady[file]:
                continue
            key = self._key(file)
            if key.size and key.is_settled(self._since_ns, self.is_remote(file)) and not self.hash_of(file):
                learned[key] = result.hash
        return learned
