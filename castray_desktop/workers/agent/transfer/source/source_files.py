"""The files of a source: opened, compared with the scan, hashes of earlier casts, and each file's result."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Optional

from castray_desktop.core.content.file_names import display_name
from castray_desktop.core.content.manifest import FileResult, FileStatus, ManifestEntry
from castray_desktop.core.protocol.nodes.agent_protocol import FileProblem
from castray_desktop.workers.agent.transfer.source.scanner import MAX_PROBLEMS, ScanResult
from castray_desktop.workers.agent.transfer.store.hash_cache import FileKey, HashCache
from castray_desktop.workers.agent.transfer.system.linux_calls import fstat
from castray_desktop.workers.agent.transfer.system.os_failures import file_failure, user_name


class ScannedFiles:
    """The scanned regular files of one cast, by number."""

    def __init__(
        self, scan: ScanResult, files: Sequence[ManifestEntry], cache: HashCache, algorithm: str
    ) -> None:
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
        """Whether it is unchanged since the scan."""
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
            self._scan.devices[file], self._scan.local_path(self._files[file].path)
        )

    def record_read(self, file: int, found: os.stat_result) -> None:
        """Record its state after reading."""
        self._steady[file] = self.is_steady_as(file, found)

    def is_steady_as(self, file: int, found: os.stat_result) -> bool:
        """Whether nobody has touched it since it was scanned: a write, but also a new mode or name, shows."""
        return found.st_ctime_ns == self._scan.ctimes[file]

    def is_steady(self, file: int) -> bool:
        """Whether it was completely unchanged at the last check."""
        return bool(self._steady[file])

    def hash_of(self, file: int) -> bytes:
        """Its hash from an earlier cast."""
        return self.hashes[file] if self.hashes else b""

    def find_hashes(self) -> None:
        """Look up hashes of earlier casts. Takes a while for many files."""
        files = range(len(self._files))
        found = self._cache.find(self._algorithm, filter(None, map(self._lasting_key, files)))
        self.hashes = [found.get(self._key(file), b"") for file in files]

    def save_hashes(self, results: Sequence[Optional[FileResult]]) -> None:
        """Save the hashes of read files for later casts, in a background thread."""
        self._cache.save_in_background(self._algorithm, lambda: self._learned(results))

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


log = logging.getLogger("castray.byte_plane")


class SourceFiles:
    """The regular files of a scan.

    Thread-safe; `report_progress()` is called for each file that failed.
    """

    def __init__(
        self,
        scan: ScanResult,
        files: Sequence[ManifestEntry],
        known: ScannedFiles,
        progressed: Callable[[], None],
    ) -> None:
        self.scanned = known
        self._scan = scan
        self._files = files
        self._progressed = progressed
        self._lock = threading.Lock()
        self._results: list[Optional[FileResult]] = [None] * len(files)
        self._problems: list[FileProblem] = []
        self._problem_count = 0

    # --- the files themselves

    def open(self, file: int) -> int:
        """Open the file, whatever it is by now. Raises OSError."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
        return os.open(self._scan.local_path(self._files[file].path), flags)

    def open_scanned(self, file: int) -> tuple[int, os.stat_result]:
        """Open the file, if it is still the scanned one. Raises OSError.

        A file that was touched meanwhile is sent as it is now. Not one with holes: they may be elsewhere.
        """
        fd = self.open(file)
        try:
            found = self._fstat(file, fd)
            touched = not self.scanned.is_steady_as(file, found)
            if not self.scanned.is_scanned(file, found) or (touched and self._files[file].data is not None):
                raise OSError(errno.ESTALE, "changed")
        except OSError:
            os.close(fd)
            raise
        return fd, found

    def unchanged(self, file: int, fd: int) -> bool:
        """Whether it is still as it was scanned, and nobody has touched it."""
        found = self._fstat(file, fd)
        self.scanned.record_read(file, found)
        return self.scanned.is_scanned(file, found) and self.scanned.is_steady(file)

    def look(self, file: int, fd: int) -> Optional[os.stat_result]:
        """How it looks by now, None if it is not the one that was scanned any more."""
        found = self._fstat(file, fd)
        self.scanned.record_read(file, found)
        return found if self.scanned.is_scanned(file, found) else None

    def _fstat(self, file: int, fd: int) -> os.stat_result:
        return fstat(fd, self.scanned.is_remote(file))

    # --- how they went

    def record_result(self, file: int, status: FileStatus, hash_: bytes = b"", reason: str = "") -> None:
        """Record the result of a file, once; a changed file stays changed."""
        path = self._files[file].path
        with self._lock:
            before = self._results[file]
            if before is not None and status is FileStatus.OK:
                return
            self._results[file] = FileResult(status, hash_)
            if status is FileStatus.OK or (before is not None and before.status is not FileStatus.OK):
                return
            self._problem_count += 1
            if len(self._problems) < MAX_PROBLEMS:
                user = user_name() if status is FileStatus.NOT_READABLE else reason
                failure = file_failure(status, self._scan.named(path), user)
                self._problems.append(FileProblem(display_name(path), failure))
        log.warning("%s: %s %s", display_name(path), status.name, reason)
        self._progressed()

    def is_readable(self, file: int) -> bool:
        """Whether it could be read so far."""
        result = self._results[file]
        return result is None or result.status in (FileStatus.OK, FileStatus.CHANGED)

    def results(self) -> list[FileResult]:
        """Results of all files, for the trailer."""
        with self._lock:
            return [result or FileResult(FileStatus.OK, b"") for result in self._results]

    def problems(self) -> tuple[tuple[FileProblem, ...], int]:
        """Files that were not sent as scanned: the first of them, and how many."""
        with self._lock:
            return tuple(self._problems), self._problem_count

    def save_hashes(self) -> None:
        """Save the hashes of read files for later casts."""
        self.scanned.save_hashes(self._results)
