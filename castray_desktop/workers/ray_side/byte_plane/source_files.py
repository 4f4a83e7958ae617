"""The files of a cast's source, by number: opened, compared with what was scanned, and how each went."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Optional

from castray_desktop.core.names import display
from castray_desktop.core.parcel import Entry, FileResult, FileStatus
from castray_desktop.workers.ray_side.byte_plane.failures import file_failure, user_name
from castray_desktop.workers.ray_side.byte_plane.file_systems import fstat
from castray_desktop.workers.ray_side.byte_plane.known_files import KnownFiles
from castray_desktop.workers.ray_side.byte_plane.scan import MAX_PROBLEMS, Scan
from castray_desktop.workers.ray_side.protocol import FileProblem

log = logging.getLogger("castray.byte_plane")


class SourceFiles:
    """The regular files that a scan has found.

    Several threads may use it; `progressed()` hears of each one that did not go well.
    """

    def __init__(
        self,
        scan: Scan,
        files: Sequence[Entry],
        known: KnownFiles,
        progressed: Callable[[], None],
    ) -> None:
        self.known = known
        self._scan = scan
        self._files = files
        self._progressed = progressed
        self._lock = threading.Lock()
        self._results: list[Optional[FileResult]] = [None] * len(files)
        self._problems: list[FileProblem] = []
        self._problem_count = 0

    # --- the files themselves

    def open(self, file: int) -> int:
        """The file, whatever it is by now. Raises OSError."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
        return os.open(self._scan.place(self._files[file].path), flags)

    def open_scanned(self, file: int) -> tuple[int, os.stat_result]:
        """The file, if it is still the one that was scanned, and how it looks by now. Raises OSError.

        A file that was touched meanwhile is sent as it is now. Not one with holes: they may be elsewhere.
        """
        fd = self.open(file)
        try:
            found = self._fstat(file, fd)
            touched = not self.known.is_steady_as(file, found)
            if not self.known.is_scanned(file, found) or (touched and self._files[file].data is not None):
                raise OSError(errno.ESTALE, "changed")
        except OSError:
            os.close(fd)
            raise
        return fd, found

    def unchanged(self, file: int, fd: int) -> bool:
        """Whether it is still as it was scanned, and nobody has touched it."""
        found = self._fstat(file, fd)
        self.known.note(file, found)
        return self.known.is_scanned(file, found) and self.known.is_steady(file)

    def look(self, file: int, fd: int) -> Optional[os.stat_result]:
        """How it looks by now, None if it is not the one that was scanned any more."""
        found = self._fstat(file, fd)
        self.known.note(file, found)
        return found if self.known.is_scanned(file, found) else None

    def _fstat(self, file: int, fd: int) -> os.stat_result:
        return fstat(fd, self.known.is_remote(file))

    # --- how they went

    def settle(self, file: int, status: FileStatus, hash_: bytes = b"", reason: str = "") -> None:
        """How a file went, once; what was changed while it was sent stays so."""
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
                self._problems.append(FileProblem(display(path), failure))
        log.warning("%s: %s %s", display(path), status.name, reason)
        self._progressed()

    def is_readable(self, file: int) -> bool:
        """Whether nothing has kept it from being read so far."""
        result = self._results[file]
        return result is None or result.status in (FileStatus.OK, FileStatus.CHANGED)

    def results(self) -> list[FileResult]:
        """How they all went, for the trailer."""
        with self._lock:
            return [result or FileResult(FileStatus.OK, b"") for result in self._results]

    def problems(self) -> tuple[tuple[FileProblem, ...], int]:
        """What was not sent as it had been scanned, the first of it; how much of that there is."""
        with self._lock:
            return tuple(self._problems), self._problem_count

    def remember(self) -> None:
        """Keep the hashes of what was read, for later casts."""
        self.known.keep(self._results)
