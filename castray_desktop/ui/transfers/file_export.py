"""Files of a cast for elsewhere: rows as text for the clipboard, all that are shown as CSV or JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from PySide6.QtCore import QObject

from castray_desktop.core.casts.json_views import file_form, form_to_json
from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastFile, FileQuery, FilesPage
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.model.export_file import ExportFile
from castray_desktop.ui.transfers.file_text import outcome_text

PAGE = 1000
CSV_COLUMNS = ("path", "bytes", "hash", "link", "recipient", "state", "recipient_path", "reason")


def csv_lines(file: CastFile) -> list[list[object]]:
    """A line for each recipient of a file."""
    return [
        [
            *(file.path, file.bytes, file.hash, str(file.link).lower(), node, group.state.value, group.place),
            sentence(group.failure) if group.failure is not None else "",
        ]
        for group in file.recipients
        for node in group.nodes
    ]


def plain_lines(files: Sequence[CastFile]) -> str:
    """Files as text, a line for each, with tabs between path, size, what became of it, and hash."""
    return "\n".join("\t".join((file.path, str(file.bytes), outcome_text(file), file.hash)) for file in files)


class FileRows(QObject):
    """Fetches rows of a cast's files, in order. `take` gets each page, `ended` is called after the last."""

    def __init__(
        self,
        link: EngineLink,
        cast: str,
        query: FileQuery,
        take: Callable[[Sequence[CastFile]], object],
        failed: Callable[[Failure], object],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._link, self._cast, self._query = link, cast, query
        self._take, self._failed = take, failed
        self._stopped = False

    def fetch(self, first: int, last: int | None, ended: Callable[[], object]) -> None:
        """Fetch the rows from `first` to `last`, or to the end."""
        limit = PAGE if last is None else min(PAGE, last - first + 1)
        query = msgspec.structs.replace(self._query, offset=first, limit=limit)

        def took(page: FilesPage) -> None:
            if self._stopped:
                return
            self._take(page.files)
            at = first + len(page.files)
            if self._stopped:
                return
            if not page.files or at >= page.total or (last is not None and at > last):
                ended()
            else:
                self.fetch(at, last, ended)

        self._link.ask(messages.GetFiles(self._cast, query), FilesPage, took, self._fail)

    def stop(self) -> None:
        """Fetch no further pages."""
        self._stopped = True

    def _fail(self, failure: Failure) -> None:
        if not self._stopped:
            self._stopped = True
            self._failed(failure)


class FileListExport(QObject):
    """Writes the files that fit a query to `file`."""

    def __init__(self, link: EngineLink, cast: str, query: FileQuery, path: str, parent: QObject) -> None:
        super().__init__(parent)
        self.file = ExportFile(path, CSV_COLUMNS, self)
        self._rows = FileRows(link, cast, query, self._write, self.file.fail, self)
        self.file.failed.connect(self._rows.stop)

    def start(self) -> None:
        """Begin."""
        self.file.open()
        if self.file.writing:
            self._rows.fetch(0, None, self.file.finish)

    def cancel(self) -> None:
        """Stop, and remove the file."""
        self._rows.stop()
        self.file.cancel()

    def _write(self, files: Sequence[CastFile]) -> None:
        if self.file.is_json:
            for file in files:
                self.file.write_object(form_to_json(file_form(file)))
        else:
            self.file.write_rows(line for file in files for line in csv_lines(file))
