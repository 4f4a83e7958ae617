"""The history as a file: CSV with a line for each delivery, or JSON with results as scripts get them."""

from __future__ import annotations

import time

import msgspec
from PySide6.QtCore import QObject, Signal

from castray_desktop.core.casts.json_views import form_to_json, result_form
from castray_desktop.core.casts.states import cast_name
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
    """Writes what fits a query to `file`, page by page. Signal: `progress(int, int)` done and in all."""

    progress = Signal(int, int)

    def __init__(self, link: EngineLink, query: HistoryQuery, path: str, parent: QObject) -> None:
        super().__init__(parent)
        self._link, self._query = link, query
        self.file = ExportFile(path, CSV_COLUMNS, self)
        self._written = self._total = self._offset = 0
        self._waiting: list[CastSummary] = []

    def start(self) -> None:
        """Begin."""
        self.file.open()
        self._next_cast()

    def _next_cast(self) -> None:
        if not self.file.writing:
            return
        if self._waiting:
            command = messages.GetPastCast(self._waiting.pop(0).cast)
            self._link.ask(command, CastResult, self._take_cast, self.file.fail)
        elif not self._offset or self._offset < self._total:
            query = msgspec.structs.replace(self._query, offset=self._offset, limit=PAGE)
            self._link.ask(messages.GetHistory(query), messages.HistoryPage, self._take_page, self.file.fail)
        else:
            self.file.finish()

    def _take_page(self, page: messages.HistoryPage) -> None:
        self._total = page.total
        self._offset += len(page.casts)
        self._waiting = list(page.casts)
        if page.casts and not self._query.until:  # casts that end meanwhile would move the others
            self._query = msgspec.structs.replace(self._query, until=page.casts[0].finished)
        self._next_cast() if page.casts else self.file.finish()

    def _take_cast(self, result: CastResult) -> None:
        if self.file.is_json:
            self.file.write_object(form_to_json(result_form(result)))
        else:
            self.file.write_rows(csv_rows(result))
        if self.file.writing:
            self._written += 1
            self.progress.emit(self._written, self._total)
            self._next_cast()
