"""The casts and their deliveries as a tree for the transfer table.

`TransferModel` has one top-level row for each cast and, below it, one row for each delivery that is
known. It is fed by `load` (the whole picture), `apply_summary`, `apply_deliveries` and `remove`, and
announces only cells that changed. It sorts itself (newest on top until told otherwise): with 10,000
rows a proxy that asks Python for every comparison would hold up the window.
"""

from __future__ import annotations

import enum
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from PySide6.QtCore import (
    QAbstractItemModel,
    QCoreApplication,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    Qt,
    QTimer,
    Signal,
)

from castray_desktop.core.messages import CastSummary, DeliverySnapshot, DeliveryState
from castray_desktop.ui.nodes import natural_key
from castray_desktop.ui.transfer_text import cast_text, delivery_text, failure_text, full_time

Index = QModelIndex | QPersistentModelIndex

NO_PARENT = QModelIndex()
RESORT_MS = 500


class Column(enum.IntEnum):
    """The columns, left to right."""

    NAME = 0
    SIZE = 1
    PROGRESS = 2
    STATUS = 3
    SPEED = 4
    ETA = 5
    RECIPIENTS = 6
    STARTED = 7


COLUMNS = len(Column)

ITEM_ROLE = Qt.ItemDataRole.UserRole + 1
"""The `CastSummary` or `DeliverySnapshot` of a row."""
CAST_ROLE = Qt.ItemDataRole.UserRole + 2
"""The `CastSummary` of a row, or of the row above it."""

NUMBERS = frozenset({Column.SIZE, Column.SPEED, Column.ETA, Column.RECIPIENTS, Column.STARTED})


@dataclass(eq=False)
class _Row:
    """A cast with what is known of its deliveries."""

    serial: int  # the internal id of its children
    summary: CastSummary
    deliveries: list[DeliverySnapshot] = field(default_factory=list)
    position: dict[str, int] = field(default_factory=dict)  # of each node's delivery


_KEYS: Mapping[Column, Callable[[CastSummary], tuple[object, ...]]] = {
    Column.NAME: lambda cast: natural_key(cast.name),
    Column.SIZE: lambda cast: (cast.bytes,),
    Column.PROGRESS: lambda cast: (cast.done_bytes / cast.bytes if cast.bytes else 1.0,),
    Column.STATUS: lambda cast: (cast.state.value,),
    Column.SPEED: lambda cast: (cast.rate,),
    Column.ETA: lambda cast: (cast.eta if cast.eta is not None else -1.0,),
    Column.RECIPIENTS: lambda cast: (cast.verified, len(cast.recipients)),
    Column.STARTED: lambda cast: (cast.started,),
}


class TransferModel(QAbstractItemModel):
    """See the module. Signal: `counts_changed()` when there are more or fewer casts, or one has ended."""

    counts_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: list[_Row] = []
        self._row_of: dict[str, _Row] = {}
        self._by_serial: dict[int, _Row] = {}
        self._place: dict[int, int] = {}  # serial -> row number
        self._next_serial = 1
        self._sort_column = Column.STARTED
        self._sort_order = Qt.SortOrder.DescendingOrder
        self._resort = QTimer(self)
        self._resort.setSingleShot(True)
        self._resort.setInterval(RESORT_MS)
        self._resort.timeout.connect(self._sort_now)

    def say(self) -> None:
        """The language is another one: every cell and heading says something else."""
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, COLUMNS - 1)
        if self._rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self._rows) - 1, COLUMNS - 1))
            for row in self._rows:
                self._announce_deliveries(row)

    def _announce_deliveries(self, row: _Row) -> None:
        if row.deliveries:
            parent = self.index(self._place[row.serial], 0)
            last = self.index(len(row.deliveries) - 1, COLUMNS - 1, parent)
            self.dataChanged.emit(self.index(0, 0, parent), last)

    # --- what the window reads -------------------------------------------------------------

    def casts(self) -> tuple[CastSummary, ...]:
        """Every cast, in the order shown."""
        return tuple(row.summary for row in self._rows)

    def summary(self, cast: str) -> CastSummary | None:
        """The cast of that id."""
        row = self._row_of.get(cast)
        return row.summary if row else None

    def deliveries(self, cast: str) -> tuple[DeliverySnapshot, ...]:
        """What is known of a cast's deliveries; empty for an unknown cast."""
        row = self._row_of.get(cast)
        return tuple(row.deliveries) if row else ()

    def index_of(self, cast: str) -> QModelIndex:
        """The first cell of a cast's row; an invalid index for an unknown cast."""
        row = self._row_of.get(cast)
        return self.index(self._place[row.serial], 0) if row else QModelIndex()

    # --- what the engine reports -----------------------------------------------------------

    def load(
        self,
        casts: Iterable[CastSummary],
        deliveries: Mapping[str, Iterable[DeliverySnapshot]] | None = None,
    ) -> None:
        """Take over the whole picture, as on connecting; casts that are not in it go."""
        casts = tuple(casts)
        self.remove(self._row_of.keys() - {cast.cast for cast in casts})
        fresh = [cast for cast in casts if cast.cast not in self._row_of]
        for cast in casts:
            if cast.cast in self._row_of:
                self.apply_summary(cast)
        if fresh:
            self._insert_many(fresh)
        for name, items in (deliveries or {}).items():
            self.apply_deliveries(name, items)

    def apply_summary(self, summary: CastSummary) -> None:
        """A cast that is new or has changed."""
        row = self._row_of.get(summary.cast)
        if row is None:
            self._insert_many([summary])
            return
        before, row.summary = row.summary, summary
        number = self._place[row.serial]
        self._announce(
            number,
            QModelIndex(),
            [
                c
                for c in Column
                if cast_text(before, c) != cast_text(summary, c) or _drawn(before, summary, c)
            ],
        )
        if before.state.finished != summary.state.finished:
            self.counts_changed.emit()
        key = _KEYS[self._sort_column]
        if key(before) != key(summary) and not self._resort.isActive():
            self._resort.start()

    def apply_deliveries(self, cast: str, deliveries: Iterable[DeliverySnapshot]) -> None:
        """Deliveries of a cast that are new or have changed. Does nothing for an unknown cast."""
        row = self._row_of.get(cast)
        if row is None:
            return
        fresh: list[DeliverySnapshot] = []
        changed: list[int] = []
        for delivery in deliveries:
            position = row.position.get(delivery.node)
            if position is None:
                fresh.append(delivery)
            elif row.deliveries[position] != delivery:
                row.deliveries[position] = delivery
                changed.append(position)
        parent = self.index(self._place[row.serial], 0)
        if changed:  # told once for all of them: ten times a second a thousand may have changed
            first, last = self.index(min(changed), 0, parent), self.index(max(changed), COLUMNS - 1, parent)
            self.dataChanged.emit(first, last)
        if fresh:
            count = len(row.deliveries)
            self.beginInsertRows(parent, count, count + len(fresh) - 1)
            row.position.update((item.node, count + i) for i, item in enumerate(fresh))
            row.deliveries.extend(fresh)
            self.endInsertRows()

    def remove(self, casts: Iterable[str]) -> None:
        """Forget casts; unknown ones do not matter."""
        gone = {name for name in casts if name in self._row_of}
        if not gone:
            return
        for first, last in reversed(
            _runs([i for i, row in enumerate(self._rows) if row.summary.cast in gone])
        ):
            self.beginRemoveRows(QModelIndex(), first, last)
            for row in self._rows[first : last + 1]:
                del self._row_of[row.summary.cast], self._by_serial[row.serial]
            del self._rows[first : last + 1]
            self._number_rows()
            self.endRemoveRows()
        self.counts_changed.emit()

    def _insert_many(self, casts: list[CastSummary]) -> None:
        """One cast goes to its place; for many the order is made anew."""
        many = len(casts) > 1 and bool(self._rows)
        for summary in casts if many else ():
            self._insert_run(self._place_for(summary), [summary])
        if not many:
            ordered = sorted(casts, key=self._key, reverse=self._descending)
            self._insert_run(self._place_for(ordered[0]) if self._rows else 0, ordered)
        self.counts_changed.emit()

    def _insert_run(self, first: int, casts: list[CastSummary]) -> None:
        self.beginInsertRows(QModelIndex(), first, first + len(casts) - 1)
        rows = []
        for summary in casts:
            row = _Row(self._next_serial, summary)
            self._next_serial += 1
            self._row_of[summary.cast] = row
            self._by_serial[row.serial] = row
            rows.append(row)
        self._rows[first:first] = rows
        self._number_rows()
        self.endInsertRows()

    def _number_rows(self) -> None:
        self._place = {row.serial: number for number, row in enumerate(self._rows)}

    def _announce(self, row: int, parent: QModelIndex, columns: list[Column]) -> None:
        if columns:
            self.dataChanged.emit(
                self.index(row, min(columns), parent), self.index(row, max(columns), parent)
            )

    # --- order -----------------------------------------------------------------------------

    @property
    def _descending(self) -> bool:
        return self._sort_order is Qt.SortOrder.DescendingOrder

    def _key(self, cast: CastSummary) -> tuple[object, ...]:
        return (_KEYS[self._sort_column](cast), cast.started, cast.cast)

    def _place_for(self, summary: CastSummary) -> int:
        """Where a new cast goes. The newest goes on top without a search, in the usual order."""
        if self._descending:
            count = len(self._rows)
            return count - bisect_left(
                self._rows[::-1], self._key(summary), key=lambda row: self._key(row.summary)
            )
        return bisect_left(self._rows, self._key(summary), key=lambda row: self._key(row.summary))

    def _sort_now(self) -> None:
        ordered = sorted(self._rows, key=lambda row: self._key(row.summary), reverse=self._descending)
        if all(a is b for a, b in zip(ordered, self._rows, strict=True)):
            return
        self.layoutAboutToBeChanged.emit()
        before = [index for index in self.persistentIndexList() if index.internalId() == 0]
        rows = [self._rows[index.row()] for index in before]
        self._rows = ordered
        self._number_rows()
        after = [
            self.createIndex(self._place[row.serial], index.column(), 0)
            for index, row in zip(before, rows, strict=True)
        ]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    # --- Qt --------------------------------------------------------------------------------

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._sort_column, self._sort_order = Column(max(0, column)), order
        self._sort_now()

    # A view asks these of every row after an insertion, so they are written to be quick.

    def index(self, row: int, column: int, parent: Index = NO_PARENT) -> QModelIndex:
        if not 0 <= column < COLUMNS or row < 0:
            return QModelIndex()
        if not parent.isValid():
            return self.createIndex(row, column, 0) if row < len(self._rows) else QModelIndex()
        if parent.internalId() or parent.column() or parent.row() >= len(self._rows):
            return QModelIndex()
        above = self._rows[parent.row()]
        return self.createIndex(row, column, above.serial) if row < len(above.deliveries) else QModelIndex()

    def parent(self, index: Index = NO_PARENT) -> QModelIndex:  # type: ignore[override]
        serial = index.internalId() if index.isValid() else 0
        if not serial or serial not in self._place:
            return QModelIndex()
        return self.createIndex(self._place[serial], 0, 0)

    def rowCount(self, parent: Index = NO_PARENT) -> int:
        if not parent.isValid():
            return len(self._rows)
        if parent.internalId() or parent.column():
            return 0
        return len(self._rows[parent.row()].deliveries) if parent.row() < len(self._rows) else 0

    def columnCount(self, parent: Index = NO_PARENT) -> int:
        return COLUMNS

    def hasChildren(self, parent: Index = NO_PARENT) -> bool:
        if not parent.isValid():
            return bool(self._rows)
        if parent.internalId() or parent.column() or parent.row() >= len(self._rows):
            return False
        return bool(self._rows[parent.row()].deliveries)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if not index.isValid():
            return None
        serial = index.internalId()
        row = self._by_serial[serial] if serial else self._rows[index.row()]
        item = row.deliveries[index.row()] if serial else row.summary
        if role == ITEM_ROLE:
            return item
        if role == CAST_ROLE:
            return row.summary
        column = Column(index.column())
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            if isinstance(item, CastSummary):
                return cast_text(item, column)
            return delivery_text(row.summary, item, column)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if column in NUMBERS else Qt.AlignmentFlag.AlignLeft
            return side | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ToolTipRole:
            return _tool_tip(row.summary, item, column)
        return None

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> object:
        if orientation is not Qt.Orientation.Horizontal or not 0 <= section < len(Column):
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return _heading(Column(section))
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if section in NUMBERS else Qt.AlignmentFlag.AlignLeft
            return side | Qt.AlignmentFlag.AlignVCenter
        return None


def _drawn(before: CastSummary, after: CastSummary, column: Column) -> bool:
    """Whether a cell looks different though its text is the same: bars are finer than percents."""
    if column is Column.PROGRESS:
        return (before.done_bytes, before.bytes, before.state) != (after.done_bytes, after.bytes, after.state)
    if column is Column.STATUS:
        return (before.state, before.failed, before.lagging) != (after.state, after.failed, after.lagging)
    return column is Column.NAME and before.files != after.files


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Ascending numbers as runs without gaps: first and last of each."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _heading(column: Column) -> str:
    return {
        Column.NAME: QCoreApplication.translate("TransferModel", "Name"),
        Column.SIZE: QCoreApplication.translate("TransferModel", "Size"),
        Column.PROGRESS: QCoreApplication.translate("TransferModel", "Progress"),
        Column.STATUS: QCoreApplication.translate("TransferModel", "Status"),
        Column.SPEED: QCoreApplication.translate("TransferModel", "Speed"),
        Column.ETA: QCoreApplication.translate("TransferModel", "ETA"),
        Column.RECIPIENTS: QCoreApplication.translate("TransferModel", "Recipients"),
        Column.STARTED: QCoreApplication.translate("TransferModel", "Started"),
    }[column]


def _tool_tip(cast: CastSummary, item: CastSummary | DeliverySnapshot, column: Column) -> str | None:
    if isinstance(item, CastSummary):
        if column is Column.STARTED:
            return full_time(item.started)
        if column is Column.STATUS and item.failure is not None:
            return failure_text(item.failure)
        return item.name if column is Column.NAME else None
    if item.state is DeliveryState.FAILED or item.failure is not None:
        return delivery_text(cast, item, Column.ETA) if column >= Column.SPEED else None
    if column >= Column.RECIPIENTS and item.hash:
        return item.hash
    return "\n".join(item.paths) or None if column is Column.NAME else None
