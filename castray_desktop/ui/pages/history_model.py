"""The item model of ended casts, fetched from the engine page by page."""

from __future__ import annotations

from collections import OrderedDict

import msgspec
from PySide6.QtCore import QCoreApplication, QObject, QTimer, Signal

from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastState, CastSummary, HistoryQuery
from castray_desktop.ui.i18n.number_format import DASH, format_bytes, format_duration, format_rate
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.transfers.transfer_text import (
    cast_glyph,
    cast_status,
    cast_title,
    destination_text,
    elapsed,
    full_time,
)
from castray_desktop.ui.widgets.text_table import NO_PARENT, Index, TableCell, TextTableModel

PAGE = 200
MOST_PAGES = 20
AGAIN_MS = 500


translate = QCoreApplication.translate


class HistoryModel(TextTableModel):
    """As many rows as casts fit the query; a page of them is asked for when one of its rows is painted.

    `query` says which casts are shown, `total` how many there are.
    Signals: `counted(int)` when the number of casts is known; `failed(Failure)`.
    """

    counted = Signal(int)
    failed = Signal(object)

    def __init__(self, link: EngineLink, parent: QObject | None = None) -> None:
        headings = (
            lambda: translate("History", "Name"),
            lambda: translate("History", "Result"),
            lambda: translate("History", "Size"),
            lambda: translate("History", "Recipients"),
            lambda: translate("History", "Source"),
            lambda: translate("History", "Saved to"),
            lambda: translate("History", "Took"),
            lambda: translate("History", "Rate"),
            lambda: translate("History", "Ended"),
        )
        super().__init__(headings, frozenset({2, 3, 6, 7, 8}), parent)
        self._link = link
        self.query = HistoryQuery()
        self.total = 0
        self._pages: OrderedDict[int, tuple[CastSummary, ...]] = OrderedDict()
        self._asked: set[int] = set()
        self._version = 0  # answers to older questions are thrown away
        self._again = QTimer(self, singleShot=True, interval=AGAIN_MS)
        self._again.timeout.connect(self.refresh)

    def search(self, text: str, states: tuple[CastState, ...]) -> None:
        """Show those that fit."""
        query = HistoryQuery(text=text.strip(), states=states)
        if query != self.query:
            self.query = query
            self.refresh()

    def refresh(self) -> None:
        """Fetch the shown rows again."""
        self._version += 1
        self._asked.clear()
        self._ask(0)

    def refresh_soon(self) -> None:
        """Something has changed; look once it is quiet."""
        self._again.start()

    def cast_at(self, row: int) -> CastSummary | None:
        """The cast of a row, if its page is here; else the page is asked for."""
        page = self._pages.get(row // PAGE)
        if page is None:
            self._ask(row // PAGE)
            return None
        self._pages.move_to_end(row // PAGE)
        return page[row % PAGE] if row % PAGE < len(page) else None

    def _ask(self, page: int) -> None:
        if page in self._asked or not self._link.connected:
            return
        self._asked.add(page)
        version = self._version
        query = msgspec.structs.replace(self.query, offset=page * PAGE, limit=PAGE)

        def done(reply: messages.HistoryPage) -> None:
            if version == self._version:
                self._take(page, reply)

        def failed(failure: Failure) -> None:
            if version == self._version:
                self.failed.emit(failure)

        self._link.ask(messages.GetHistory(query), messages.HistoryPage, done, failed)

    def _take(self, page: int, reply: messages.HistoryPage) -> None:
        if page == 0 or reply.total != self.total:
            self._become(reply.total)
        self._pages[page] = reply.casts
        while len(self._pages) > MOST_PAGES:
            gone, _ = self._pages.popitem(last=False)
            self._asked.discard(gone)
        first, last = page * PAGE, min(self.total, (page + 1) * PAGE) - 1
        if last >= first:
            self.dataChanged.emit(self.index(first, 0), self.index(last, self.columnCount() - 1))
        self.counted.emit(self.total)

    def _become(self, total: int) -> None:
        """Forget the rows, since any of them may have moved."""
        self._pages.clear()
        if total > self.total:
            self.beginInsertRows(NO_PARENT, self.total, total - 1)
            self.total = total
            self.endInsertRows()
        elif total < self.total:
            self.beginRemoveRows(NO_PARENT, total, self.total - 1)
            self.total = total
            self.endRemoveRows()
        self._asked &= {0}

    # --- cells -----------------------------------------------------------------------------

    def rowCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else self.total

    def key(self, row: int) -> object:
        cast = self.cast_at(row)
        return cast.cast if cast is not None else None

    def cell(self, row: int, column: int) -> TableCell | None:
        cast = self.cast_at(row)
        if cast is None:
            return TableCell("…", "text_3") if column == 0 else None
        return history_cell(cast, column)


def history_cell(cast: CastSummary, column: int) -> TableCell:
    """A cell of a cast's row."""
    match column:
        case 0:
            return TableCell(cast_title(cast), tip=cast_title(cast))
        case 1:
            tones = {CastState.COMPLETED: "ok", CastState.CANCELLED: "text_2"}
            return TableCell(cast_status(cast), tones.get(cast.state, "bad"), cast_glyph(cast))
        case 2:
            return TableCell(format_bytes(cast.bytes) if cast.bytes or cast.files else DASH, "text_2")
        case 3:
            return TableCell(f"{cast.verified}/{len(cast.recipients)}", tip=", ".join(cast.recipients[:40]))
        case 4:
            return TableCell(cast.source, "text_2")
        case 5:
            return TableCell(destination_text(cast), "text_2")
        case 6:
            return TableCell(format_duration(elapsed(cast)), "text_2")
        case 7:
            return TableCell(mean_rate(cast), "text_2")
    return TableCell(short_time(cast.finished or cast.started), "text_2", tip=full_time(cast.finished))


def mean_rate(cast: CastSummary) -> str:
    """What all recipients together got, over the cast's time."""
    seconds = elapsed(cast)
    if not seconds or not cast.verified:
        return DASH
    return format_rate(cast.bytes * cast.verified / seconds)


def short_time(at: float) -> str:
    """The local date and time to the minute."""
    return full_time(at)[:16] if at > 0 else DASH
