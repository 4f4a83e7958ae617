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

    def open_scanned(self, file: int) -> int:
        """The file, if it is still the one that was scanned. Raises OSError."""
        fd = self.open(file)
        if not self.known.is_scanned(file, os.fstat(fd)):
            os.close(fd)
            raise OSError(errno.ESTALE, "changed")
        return fd

    def unchanged(self, file: int, fd: int) -> bool:
        """Whether it is still the one that was scanned."""
        found = os.fstat(fd)
        self.known.note(file, found)
        return self.known.is_scanned(file, found)

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
