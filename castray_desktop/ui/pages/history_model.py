"""The item model of ended casts, fetched from the engine page by page."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from PySide6.QtCore import QCoreApplication, QObject, QTimer

from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastState, CastSummary, HistoryQuery
from castray_desktop.ui.i18n.number_format import (
    DASH,
    format_bytes,
    format_duration,
    format_list,
    format_rate,
)
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.transfers.transfer_text import (
    cast_glyph,
    cast_status,
    cast_title,
    destination_text,
    elapsed,
    full_time,
)
from castray_desktop.ui.widgets.paged_model import PagedTextModel, Taken
from castray_desktop.ui.widgets.text_table import TableCell

AGAIN_MS = 500


translate = QCoreApplication.translate


class HistoryModel(PagedTextModel):
    """As many rows as casts fit the query. `query` says which casts are shown."""

    def __init__(self, link: EngineLink, parent: QObject | None = None) -> None:
        headings = (
            lambda: translate("History", "Name"),
            lambda: translate("History", "Result"),
            lambda: translate("History", "Size"),
            lambda: translate("History", "Recipients"),
            lambda: translate("History", "Source"),
            lambda: translate("History", "Saved to"),
            lambda: translate("History", "Duration"),
            lambda: translate("History", "Speed"),
            lambda: translate("History", "Ended"),
        )
        super().__init__(headings, frozenset({2, 3, 6, 7, 8}), parent)
        self._link = link
        self.query = HistoryQuery()
        self._again = QTimer(self, singleShot=True, interval=AGAIN_MS)
        self._again.timeout.connect(self.refresh)

    def search(self, text: str, states: tuple[CastState, ...]) -> None:
        """Show the casts that match the query."""
        query = HistoryQuery(text=text.strip(), states=states)
        if query != self.query:
            self.query = query
            self.refresh()

    def refresh_soon(self) -> None:
        """Refresh once no further change arrives for a moment."""
        self._again.start()

    def cast_at(self, row: int) -> CastSummary | None:
        """The cast of a row, if its page is here; else the page is asked for."""
        cast = self.row(row)
        return cast if isinstance(cast, CastSummary) else None

    def _fetch(self, offset: int, limit: int, done: Taken, failed: Callable[[Failure], None]) -> bool:
        if not self._link.connected:
            return False
        query = msgspec.structs.replace(self.query, offset=offset, limit=limit)
        self._link.ask(
            messages.GetHistory(query),
            messages.HistoryPage,
            lambda page: done(page.casts, page.total),
            failed,
        )
        return True

    # --- cells -----------------------------------------------------------------------------

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
            return TableCell(f"{cast.verified}/{len(cast.recipients)}", tip=format_list(cast.recipients[:40]))
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
