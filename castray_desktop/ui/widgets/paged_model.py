"""An item model whose rows are fetched page by page, when they are painted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from PySide6.QtCore import QObject, Signal

from castray_desktop.core.failures.kinds import Failure
from castray_desktop.ui.i18n.language import Text
from castray_desktop.ui.widgets.text_table import NO_PARENT, Index, TextTableModel

PAGE = 200
MOST_PAGES = 20

Taken = Callable[[Sequence[object], int], None]
"""Takes the rows of a page, and how many rows there are."""


class PagedTextModel(TextTableModel):
    """As many rows as there are; a page of them is fetched when one of its rows is painted.

    Signals: `counted(int)` when the number of rows is known; `failed(Failure)`.
    """

    counted = Signal(int)
    failed = Signal(object)

    def __init__(
        self,
        headings: Sequence[Text],
        numbers: frozenset[int],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(headings, numbers, parent)
        self.total = 0
        self._pages: OrderedDict[int, Sequence[object]] = OrderedDict()
        self._asked: set[int] = set()
        self._version = 0  # answers to older questions are thrown away

    def _fetch(self, offset: int, limit: int, done: Taken, failed: Callable[[Failure], None]) -> bool:
        """Ask for `limit` rows at most from `offset` on. Returns False if that can't be asked for now."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Fetch the shown rows again, since others may be there now."""
        self.renew()
        self._ask(0)

    def renew(self) -> None:
        """Fetch rows again when they are painted; until then the old ones are shown."""
        self._version += 1
        self._asked.clear()

    def row(self, row: int) -> object | None:
        """What a row shows, if its page is here; the page is asked for."""
        self._ask(row // PAGE)
        page = self._pages.get(row // PAGE)
        if page is None:
            return None
        self._pages.move_to_end(row // PAGE)
        return page[row % PAGE] if row % PAGE < len(page) else None

    def _ask(self, page: int) -> None:
        if page in self._asked:
            return
        version = self._version

        def done(rows: Sequence[object], total: int) -> None:
            if version == self._version:
                self._take(page, rows, total)

        def failed(failure: Failure) -> None:
            if version == self._version:
                self.failed.emit(failure)

        self._asked.add(page)
        if not self._fetch(page * PAGE, PAGE, done, failed):
            self._asked.discard(page)

    def _take(self, page: int, rows: Sequence[object], total: int) -> None:
        if total != self.total:
            self._become(total)
        self._pages[page] = rows
        while len(self._pages) > MOST_PAGES:
            gone, _ = self._pages.popitem(last=False)
            self._asked.discard(gone)
        first, last = page * PAGE, min(self.total, (page + 1) * PAGE) - 1
        if last >= first:
            self.dataChanged.emit(self.index(first, 0), self.index(last, self.columnCount() - 1))
        self.counted.emit(self.total)

    def clear(self) -> None:
        """Show no rows, until `refresh`."""
        self.renew()
        self._become(0)

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

    def rowCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else self.total
