"""In which order the transfer table shows its casts."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from castray_desktop.core.messages import CastSummary
from castray_desktop.ui.transfers.transfer_columns import KEYS, Column
from castray_desktop.ui.transfers.transfer_rows import CastRow


@dataclass(frozen=True)
class RowOrder:
    """By a column, and casts that are alike there by their start; the newest on top unless told otherwise."""

    column: Column = Column.STARTED
    descending: bool = True

    def ordered(self, rows: Iterable[CastRow]) -> list[CastRow]:
        """The rows as they are shown."""
        return sorted(rows, key=self._row_key, reverse=self.descending)

    def moves(self, before: CastSummary, after: CastSummary) -> bool:
        """Whether a change of a cast may change its place."""
        key = KEYS[self.column]
        return key(before) != key(after)

    def place_for(self, summary: CastSummary, rows: list[CastRow]) -> int:
        """Where a new cast goes among rows that are in this order."""
        key = self._key(summary)
        if self.descending:
            return len(rows) - bisect_left(rows[::-1], key, key=self._row_key)
        return bisect_left(rows, key, key=self._row_key)

    def _key(self, cast: CastSummary) -> tuple[object, ...]:
        return (KEYS[self.column](cast), cast.started, cast.cast)

    def _row_key(self, row: CastRow) -> tuple[object, ...]:
        return self._key(row.summary)
