"""The history as a file: CSV with a line for each delivery, or JSON with results as scripts get them."""

from __future__ import annotations

import time

import msgspec
from PySide6.QtCore import QObject, Signal

from castray_desktop.core.casts.json_views import form_to_json, result_form
from castray_desktop.core.casts.states import cast_name
from castray_desktop.core.failures.kinds import CastRayError, Failure
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastResult, CastSummary, HistoryQuery
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.model.export_file import ExportFile

PAGE = 200
CSV_COLUMNS = (
    *("cast", "name", "state", "source", "recipient", "address", "result", "started", "ended", "files"),
    *("bytes", "delivered_bytes", "seconds", "transport", "hash", "path", "reason", "cluster", "local"),
    "encrypted",
)


def csv_rows(result: CastResult) -> list[list[object]]:
    """A row for each delivery of a cast; times in ISO 8601 and UTC."""
    cast = result.summary
    return [
        [
            *(cast.cast, cast_name(cast), cast.state.value, cast.source, item.node, item.address),
            *(item.state.value, iso(cast.started), iso(cast.finished), cast.files, cast.bytes, item.bytes),
            *(round(item.seconds, 3), item.transport.value if item.transport else "", item.hash),
            *("\n".join(item.paths), sentence(item.failure) if item.failure else ""),
            *(cast.cluster.address, str(cast.cluster.local).lower()),
            "" if item.encrypted is None else str(item.encrypted).lower(),
        ]
        for item in result.deliveries
    ]


def iso(at: float) -> str:
    """A time in UTC, to the second; empty for none."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)) if at > 0 else ""


class HistoryExport(QObject):
    """Writes what fits a query, page by page; the file has its name once it is whole.

    Signals: `progress(int, int)` done and in all; `done(str)` with the path; `failed(Failure)`. `cancel` ends
    it without a file and without another signal.
    """

    progress = Signal(int, int)
    done = Signal(str)
    failed = Signal(object)

    def __init__(
        self, link: EngineLink, query: HistoryQuery, path: str, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._link, self._query, self._path = link, query, path
        self._file: ExportFile | None = None  # while it is written
        self._written = self._total = self._offset = 0
        self._waiting: list[CastSummary] = []

    def start(self) -> None:
        """Begin. Errors of the disk come as `failed`, too."""
        try:
            self._file = ExportFile(self._path, CSV_COLUMNS)
        except CastRayError as error:
            self.failed.emit(error.failure)
            return
        self._next_page()

    def cancel(self) -> None:
        """Stop, and remove the file."""
        if self._file is not None:
            self._file.drop()
            self._file = None

    def _next_page(self) -> None:
        query = msgspec.structs.replace(self._query, offset=self._offset, limit=PAGE)
        self._link.ask(messages.GetHistory(query), messages.HistoryPage, self._take_page, self._on_failed)

    def _take_page(self, page: messages.HistoryPage) -> None:
        self._total = page.total
        self._offset += len(page.casts)
        self._waiting = list(page.casts)
        self._next_cast() if page.casts else self._finish()

    def _next_cast(self) -> None:
        if self._file is None:
            return
        if not self._waiting:
            self._next_page() if self._offset < self._total else self._finish()
            return
        cast = self._waiting.pop(0)
        self._link.ask(messages.GetPastCast(cast.cast), CastResult, self._take_cast, self._on_failed)

    def _take_cast(self, result: CastResult) -> None:
        if self._file is None:
            return
        try:
            if self._file.is_json:
                self._file.write_object(form_to_json(result_form(result)))
            else:
                self._file.write_rows(csv_rows(result))
        except CastRayError as error:
            self._on_failed(error.failure)
            return
        self._written += 1
        self.progress.emit(self._written, self._total)
        self._next_cast()

    def _finish(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.finish()
        except CastRayError as error:
            self.failed.emit(error.failure)
            return
        self.done.emit(self._path)

    def _on_failed(self, failure: Failure) -> None:
        if self._file is not None:
            self.cancel()
            self.failed.emit(failure)
