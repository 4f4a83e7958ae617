"""A file that an export writes; it has its name once it is whole."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind


class ExportFile(QObject):
    """CSV with a header, or JSON with a list, as the ending of `path` says.

    Signals: `done(str)` with the path once the file is whole; `failed(Failure)`, also for errors of the disk.
    After a failure, and after `cancel`, nothing more is written, and no file is left.
    """

    done = Signal(str)
    failed = Signal(object)

    def __init__(self, path: str, columns: Sequence[str], parent: QObject) -> None:
        super().__init__(parent)
        self._path, self._columns = Path(path), columns
        self.is_json = path.casefold().endswith(".json")
        self.writing = False
        self._empty = True

    def open(self) -> None:
        """Create a temporary file beside the path."""
        try:
            number, name = tempfile.mkstemp(prefix=".castray-export-", dir=self._path.parent)
        except OSError as error:
            self.failed.emit(self._failure(error))
            return
        self._temporary = Path(name)
        self._file = os.fdopen(number, "w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        self.writing = True
        self._run(lambda: self._file.write("[") if self.is_json else self._writer.writerow(self._columns))

    def write_rows(self, rows: Iterable[Sequence[object]]) -> None:
        """Add lines to a CSV."""
        self._run(lambda: self._writer.writerows(rows))

    def write_object(self, value: object) -> None:
        """Add an object to a JSON list."""
        separator, self._empty = "\n" if self._empty else ",\n", False
        self._run(lambda: self._file.write(separator + json.dumps(value, ensure_ascii=False)))

    def finish(self) -> None:
        """Rename the file to its final name."""
        if self.is_json:
            self._run(lambda: self._file.write("\n]\n"))
        self._run(self._file.close)
        self._run(lambda: self._temporary.replace(self._path))
        if self.writing:
            self.writing = False
            self.done.emit(str(self._path))

    def fail(self, failure: Failure) -> None:
        """Give up for this reason."""
        if self.writing:
            self.cancel()
            self.failed.emit(failure)

    def cancel(self) -> None:
        """Remove the file, without a signal."""
        if self.writing:
            self.writing = False
            with contextlib.suppress(OSError):  # of a full disk, which does not take what is buffered either
                self._file.close()
            self._temporary.unlink(missing_ok=True)

    def _run(self, work: Callable[[], object]) -> None:
        try:
            if self.writing:
                work()
        except OSError as error:
            self.fail(self._failure(error))

    def _failure(self, error: OSError) -> Failure:
        reason = error.strerror or str(error)
        return CastRayError(FailureKind.FILE_NOT_WRITTEN, path=self._path, reason=reason).failure
