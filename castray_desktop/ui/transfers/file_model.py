"""The item model of the files of a cast, fetched from the engine page by page."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from PySide6.QtCore import QCoreApplication, QObject, Qt, Signal

from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastFile, FileOrder, FileQuery, FilesPage, FileState
from castray_desktop.ui.i18n.number_format import DASH, format_bytes
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.transfers.file_text import FILE_GLYPHS, outcome_lines, outcome_text
from castray_desktop.ui.widgets.paged_model import PagedTextModel, Taken
from castray_desktop.ui.widgets.text_table import TableCell

translate = QCoreApplication.translate

ORDERS = {0: FileOrder.PATH, 1: FileOrder.SIZE, 2: FileOrder.STATE}
"""By column."""


class FileModel(PagedTextModel):
    """As many rows as files fit the query.

    `page` is what the engine said last. Signal: `described(FilesPage)` for each page.
    """

    described = Signal(object)

    def __init__(self, link: EngineLink, parent: QObject | None = None) -> None:
        titles = (
            lambda: translate("Files", "File"),
            lambda: translate("Files", "Size"),
            lambda: translate("Files", "Outcome"),
            lambda: translate("Files", "Hash"),
        )
        headings = tuple(self._heading(column, title) for column, title in enumerate(titles))
        super().__init__(headings, frozenset({1}), parent)
        self._link = link
        self.cast = ""
        self.query = FileQuery()
        self.page: FilesPage | None = None

    def _heading(self, column: int, title: Callable[[], str]) -> Callable[[], str]:
        """The title, with an arrow at the column that the files are sorted by."""

        def text() -> str:
            if ORDERS.get(column) is not self.query.order:
                return title()
            return f"{title()} {'↓' if self.query.descending else '↑'}"

        return text

    def show_cast(self, cast: str) -> None:
        """Show the files of this cast."""
        if cast != self.cast:
            self.cast, self.query, self.page = cast, FileQuery(), None
            self.clear()
        self.refresh()

    def search(self, text: str, states: tuple[FileState, ...], nodes: tuple[str, ...]) -> None:
        """Show the files that match the query."""
        query = msgspec.structs.replace(self.query, text=text.strip(), states=states, nodes=nodes)
        if query != self.query:
            self.query = query
            self.refresh()

    def sort_by(self, order: FileOrder) -> None:
        """Sort by this; the second time in the other direction."""
        descending = not self.query.descending if order is self.query.order else order is FileOrder.SIZE
        self.query = msgspec.structs.replace(self.query, order=order, descending=descending)
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, self.columnCount() - 1)
        self.refresh()

    def file_at(self, row: int) -> CastFile | None:
        """The file of a row, if its page is here; else the page is asked for."""
        file = self.row(row)
        return file if isinstance(file, CastFile) else None

    def _fetch(self, offset: int, limit: int, done: Taken, failed: Callable[[Failure], None]) -> bool:
        if not self.cast or not self._link.connected:
            return False
        asked = self.query
        query = msgspec.structs.replace(asked, offset=offset, limit=limit)

        def take(page: FilesPage) -> None:
            if page.cast == self.cast and asked == self.query:  # a slow answer may come after a later one
                self.page = page
                done(page.files, page.total)
                self.described.emit(page)

        self._link.ask(messages.GetFiles(self.cast, query), FilesPage, take, failed)
        return True

    # --- cells -----------------------------------------------------------------------------

    def key(self, row: int) -> object:
        return self.file_at(row)

    def cell(self, row: int, column: int) -> TableCell | None:
        file = self.file_at(row)
        if file is None:
            return TableCell("…", "text_3") if column == 0 else None
        match column:
            case 0:
                return TableCell(file.path, tip=file.path)
            case 1:
                size = translate("Files", "link") if file.link else format_bytes(file.bytes)
                return TableCell(size, "text_2")
            case 2:
                state = file.recipients[0].state if file.recipients else FileState.UNKNOWN
                tone = {FileState.FAILED: "bad", FileState.RENAMED: "warn", FileState.OVERWRITTEN: "warn"}
                return TableCell(
                    outcome_text(file), tone.get(state, "text_2"), FILE_GLYPHS[state], outcome_lines(file)
                )
        return TableCell(file.hash or DASH, "text_3", tip=file.hash)
