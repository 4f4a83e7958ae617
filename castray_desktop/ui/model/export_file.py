"""A file that an export writes; it has its name once it is whole."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from castray_desktop.core.failures.kinds import CastRayError, FailureKind


class ExportFile:
    """CSV with a header, or JSON with a list, as the ending of `path` says.

    Errors of the disk raise CastRayError(FILE_NOT_WRITTEN), and leave no file.
    """

    def __init__(self, path: str, columns: Sequence[str]) -> None:
        self._path = Path(path)
        self.is_json = path.casefold().endswith(".json")
        self._written = False
        try:
            number, name = tempfile.mkstemp(prefix=".castray-export-", dir=self._path.parent)
            self._temporary = Path(name)
            self._file = os.fdopen(number, "w", encoding="utf-8", newline="")
        except OSError as error:
            raise self._failed(error) from error
        self._writer = csv.writer(self._file)
        self._run(lambda: self._file.write("[") if self.is_json else self._writer.writerow(columns))

    def write_rows(self, rows: Iterable[Sequence[object]]) -> None:
        """Add lines to a CSV."""
        self._run(lambda: self._writer.writerows(rows))

    def write_object(self, value: object) -> None:
        """Add an object to a JSON list."""
        separator, self._written = ",\n" if self._written else "\n", True
        self._run(lambda: self._file.write(separator + json.dumps(value, ensure_ascii=False)))

    def finish(self) -> None:
        """Rename the file to its final name."""
        if self.is_json:
            self._run(lambda: self._file.write("\n]\n"))
        self._run(self._file.close)
        self._run(lambda: self._temporary.replace(self._path))

    def drop(self) -> None:
        """Remove the temporary file."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _run(self, work: Callable[[], object]) -> None:
        try:
            work()
        except OSError as error:
            self.drop()
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> CastRayError:
        return CastRayError(
            FailureKind.FILE_NOT_WRITTEN, path=self._path, reason=error.strerror or str(error)
        )
