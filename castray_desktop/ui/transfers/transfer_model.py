"""The item model of the transfers table: casts, and their deliveries below them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from PySide6.QtCore import (
    QAbstractItemModel,
    QModelIndex,
    QObject,
    Qt,
    QTimer,
    Signal,
)

from castray_desktop.core.casts.states import waits_for_server
from castray_desktop.core.protocol.messages import CastSummary, DeliverySnapshot
from castray_desktop.ui.i18n.failure_text import failure_text
from castray_desktop.ui.transfers import path_text
from castray_desktop.ui.transfers.transfer_columns import COLUMNS, TransferColumn, delivery_text
from castray_desktop.ui.transfers.transfer_text import (
    cast_status,
    cast_title,
    direction,
    full_time,
    hash_text,
    hook_text,
)
from castray_desktop.ui.widgets.text_table import NO_PARENT, Index


@dataclass(eq=False)
class CastRow:
    """A cast with what is known of its deliveries."""

    serial: int  # the internal id of its children
    summary: CastSummary
    deliveries: list[DeliverySnapshot] = field(default_factory=list)
    position: dict[str, int] = field(default_factory=dict)  # of each node's delivery

    def set_deliveries(self, deliveries: Iterable[DeliverySnapshot]) -> None:
        """Update deliveries whose rows are not shown."""
        for delivery in deliveries:
            place = self.position.setdefault(delivery.node, len(self.deliveries))
            self.deliveries[place : place + 1] = [delivery]

    @property
    def hash(self) -> str:
        """The hash of a single file, shortened, as the first delivery tells it."""
        return next((hash_text(item) for item in self.deliveries if item.hash), "")


def passes(cast: CastSummary, words: list[str]) -> bool:
    """Whether a cast's name, nodes, destination and state hold every one of the words."""
    if not words:
        return True
    names = (cast_title(cast), cast.source, *cast.recipients, cast.options.destination, cast_status(cast))
    text = " ".join(names).casefold()
    return all(word in text for word in words)


def drawn(before: CastSummary, after: CastSummary, column: TransferColumn) -> bool:
    """Whether a cell looks different though its text is the same: bars are finer than percents."""
    if column is TransferColumn.PROGRESS:
        return (before.done_bytes, before.bytes, before.state) != (after.done_bytes, after.bytes, after.state)
    if column is TransferColumn.STATUS:
        return (before.state, before.failed, before.lagging) != (after.state, after.failed, after.lagging)
    return column is TransferColumn.NAME and _beside_name(before) != _beside_name(after)


def _beside_name(cast: CastSummary) -> tuple[object, ...]:
    """What is drawn beside the name of a cast."""
    return cast.files, cast.folder, cast.counts, cast.attempts


def runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending numbers as runs without gaps: first and last of each."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def tool_tip(cast: CastSummary, item: CastSummary | DeliverySnapshot, column: TransferColumn) -> str | None:
    if isinstance(item, CastSummary):
        if column is TransferColumn.DESTINATION:
            return item.options.destination or None
        if column is TransferColumn.STARTED:
            return full_time(item.started)
        encryption = path_text.cast_encryption_text(item)
        if column is TransferColumn.STATUS:
            failure = failure_text(item.failure) if item.failure is not None else ""
            first = failure or path_text.stopped_text(item.multicast, item.source)
            return _lines(first, encryption)
        return _lines(cast_title(item), encryption) if column is TransferColumn.NAME else None
    if column is TransferColumn.STATUS and item.hook_status:
        return hook_text(item)
    if item.failure is not None:
        return failure_text(item.failure) if column >= TransferColumn.SPEED else None
    if column is TransferColumn.STATUS:
        encryption = path_text.delivery_encryption_line(item, cast.source)
        return _lines(*path_text.came_lines(cast, item), encryption)
    if column >= TransferColumn.RECIPIENTS and item.hash:
        return item.hash
    return "\n".join(item.paths) or None if column is TransferColumn.NAME else None


def _lines(*lines: str) -> str | None:
    """Those that say something, one below the other."""
    return "\n".join(filter(None, lines)) or None


@dataclass(frozen=True)
class CastSortOrder:
    """Sorts casts by a column, then by their start; by default the newest first."""

    column: TransferColumn = TransferColumn.STARTED
    descending: bool = True

    def ordered(self, rows: Iterable[CastRow]) -> list[CastRow]:
        """The rows as they are shown."""
        return sorted(rows, key=self._row_key, reverse=self.descending)

    def moves(self, before: CastSummary, after: CastSummary) -> bool:
        """Whether a change of a cast may change its place."""
        key = COLUMNS[self.column].key
        return key(before) != key(after)

    def place_for(self, summary: CastSummary, rows: list[CastRow]) -> int:
        """Where a new cast goes among rows that are in this order."""
        key = self._key(summary)
        if self.descending:
            return len(rows) - bisect_left(rows[::-1], key, key=self._row_key)
        return bisect_left(rows, key, key=self._row_key)

    def _key(self, cast: CastSummary) -> tuple[object, ...]:
        return (COLUMNS[self.column].key(cast), cast.started, cast.cast)

    def _row_key(self, row: CastRow) -> tuple[object, ...]:
        return self._key(row.summary)


RESORT_MS = 500
COUNT_DOWN_MS = 1000
MOST_STEPS = 100
"""More changes than this at once are one reset."""

LAST_COLUMN = max(TransferColumn)
ITEM_ROLE = Qt.ItemDataRole.UserRole + 1
"""The `CastSummary` or `DeliverySnapshot` of a row."""
CAST_ROLE = Qt.ItemDataRole.UserRole + 2
"""The `CastSummary` of a row, or of the row above it."""


class TransferModel(QAbstractItemModel):
    """See the module. Signal: `counts_changed()`: there are more or fewer casts, or one has another state."""

    counts_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: list[CastRow] = []
        self._row_of: dict[str, CastRow] = {}
        self._by_serial: dict[int, CastRow] = {}
        self._place: dict[int, int] = {}  # serial -> row number
        self._next_serial = 1
        self._words: list[str] = []  # what a row has to hold to be shown
        self._here = ""
        self._order = CastSortOrder()
        self._resort = QTimer(self, singleShot=True, interval=RESORT_MS)
        self._counting_down = QTimer(self, interval=COUNT_DOWN_MS)  # while a cast waits for a server
        self._counting_down.timeout.connect(self._count_down)
        self._resort.timeout.connect(self._sort_now)

    def retranslate(self) -> None:
        """Update every cell and heading after a change of the language."""
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, LAST_COLUMN)
        if self._rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self._rows) - 1, LAST_COLUMN))
            for row in self._rows:
                self._announce_deliveries(row)

    def _announce_deliveries(self, row: CastRow) -> None:
        if row.deliveries:
            parent = self.index(self._place[row.serial], 0)
            last = self.index(len(row.deliveries) - 1, LAST_COLUMN, parent)
            self.dataChanged.emit(self.index(0, 0, parent), last)

    # --- what the window reads -------------------------------------------------------------

    def casts(self) -> tuple[CastSummary, ...]:
        """Every cast: those that are shown in their order, then those that the filter holds back."""
        shown = tuple(row.summary for row in self._rows)
        if len(shown) == len(self._row_of):
            return shown
        return shown + tuple(row.summary for row in self._row_of.values() if row.serial not in self._place)

    @property
    def filtered(self) -> bool:
        """Whether a filter is on."""
        return bool(self._words)

    def summary(self, cast: str) -> CastSummary | None:
        """The cast of that id."""
        row = self._row_of.get(cast)
        return row.summary if row else None

    def deliveries(self, cast: str) -> tuple[DeliverySnapshot, ...]:
        """What is known of a cast's deliveries; empty for an unknown cast."""
        row = self._row_of.get(cast)
        return tuple(row.deliveries) if row else ()

    def deliveries_beside(self, cast: CastSummary) -> Iterator[DeliverySnapshot]:
        """The deliveries of the other casts under way on its cluster."""
        for row in self._row_of.values():
            other = row.summary
            if (
                other.cast != cast.cast
                and other.cluster.target == cast.cluster.target
                and not other.state.finished
            ):
                yield from row.deliveries

    def under_way_on(self, node: str) -> list[tuple[CastSummary, DeliverySnapshot | None]]:
        """The casts under way that a node takes part in, each with its delivery, None for the source."""
        return [
            (row.summary, next((item for item in row.deliveries if item.node == node), None))
            for row in self._row_of.values()
            if not row.summary.state.finished
            and (node == row.summary.source or node in row.summary.recipients)
        ]

    def index_of(self, cast: str) -> QModelIndex:
        """The first cell of a cast's row; an invalid index for one that is unknown or not shown."""
        row = self._row_of.get(cast)
        shown = row is not None and row.serial in self._place
        return self.index(self._place[row.serial], 0) if row and shown else QModelIndex()

    # --- what is shown ---------------------------------------------------------------------

    def set_here(self, node: str) -> None:
        """The name of this computer's node."""
        if node != self._here:
            self._here = node
            if self._rows:
                column = TransferColumn.DIRECTION
                self.dataChanged.emit(self.index(0, column), self.index(len(self._rows) - 1, column))

    def set_filter(self, text: str) -> None:
        """Show only casts whose name, nodes, destination or state hold every word of `text`."""
        self._words = text.casefold().split()
        gone = [number for number, row in enumerate(self._rows) if not self._passes(row.summary)]
        self._take_out(gone)
        fresh = [
            row
            for row in self._row_of.values()
            if row.serial not in self._place and self._passes(row.summary)
        ]
        self._put_in(fresh)
        self.counts_changed.emit()

    def tick(self) -> None:
        """Update the elapsed time of running casts."""
        for number, row in enumerate(self._rows):
            if not row.summary.state.finished:
                self._announce_cell(number, TransferColumn.ELAPSED)

    def _count_down(self) -> None:
        """Update the status of casts that wait for a server."""
        for number, row in enumerate(self._rows):
            if waits_for_server(row.summary):
                self._announce_cell(number, TransferColumn.STATUS)
        if not any(waits_for_server(row.summary) for row in self._row_of.values()):  # also hidden ones
            self._counting_down.stop()

    def _start_to_count_down(self, casts: Iterable[CastSummary]) -> None:
        if not self._counting_down.isActive() and any(map(waits_for_server, casts)):
            self._counting_down.start()

    def _announce_cell(self, number: int, column: TransferColumn) -> None:
        index = self.index(number, column)
        self.dataChanged.emit(index, index)

    def _passes(self, cast: CastSummary) -> bool:
        return passes(cast, self._words)

    # --- what the engine reports -----------------------------------------------------------

    def load(
        self,
        casts: Iterable[CastSummary],
        deliveries: Mapping[str, Iterable[DeliverySnapshot]] | None = None,
    ) -> None:
        """Take over the complete state, as on connecting; casts that are not in it go."""
        casts = tuple(casts)
        self.remove(self._row_of.keys() - {cast.cast for cast in casts})
        deliveries = deliveries or {}
        known = [cast for cast in casts if cast.cast in self._row_of]
        fresh = [cast for cast in casts if cast.cast not in self._row_of]
        if fresh:
            self._insert_many(fresh, deliveries)
        for cast in known:
            self.apply_summary(cast)
            self.apply_deliveries(cast.cast, deliveries.get(cast.cast, ()))

    def apply_summary(self, summary: CastSummary) -> None:
        """A cast that is new or has changed."""
        row = self._row_of.get(summary.cast)
        if row is None:
            self._insert_many([summary], {})
            return
        before, row.summary = row.summary, summary
        self._start_to_count_down((summary,))
        if self._words:
            self._show_or_hide(row)
        number = self._place.get(row.serial)
        if number is None:
            return
        changed = [
            column
            for column, spec in COLUMNS.items()
            if spec.cast(before) != spec.cast(summary) or drawn(before, summary, column)
        ]
        for first, last in runs(changed):
            self.dataChanged.emit(self.index(number, first), self.index(number, last))
        if before.state is not summary.state:
            self.counts_changed.emit()
        if self._order.moves(before, summary) and not self._resort.isActive():
            self._resort.start()

    def _show_or_hide(self, row: CastRow) -> None:
        """Check again whether the filter matches a changed cast."""
        number, passes = self._place.get(row.serial), self._passes(row.summary)
        if number is not None and not passes:
            self._take_out([number])
        elif number is None and passes:
            self._put_in([row])

    def apply_deliveries(self, cast: str, deliveries: Iterable[DeliverySnapshot]) -> None:
        """Deliveries of a cast that are new or have changed. Does nothing for an unknown cast."""
        row = self._row_of.get(cast)
        if row is None:
            return
        if row.serial not in self._place:
            row.set_deliveries(deliveries)
            return
        hash_before = row.hash
        fresh: list[DeliverySnapshot] = []
        changed: list[int] = []
        for delivery in deliveries:
            position = row.position.get(delivery.node)
            if position is None:
                fresh.append(delivery)
            elif row.deliveries[position] != delivery:
                row.deliveries[position] = delivery
                changed.append(position)
        number = self._place[row.serial]
        parent = self.index(number, 0)
        if changed:  # told once for all of them: ten times a second a thousand may have changed
            first, last = self.index(min(changed), 0, parent), self.index(max(changed), LAST_COLUMN, parent)
            self.dataChanged.emit(first, last)
        if fresh:
            count = len(row.deliveries)
            self.beginInsertRows(parent, count, count + len(fresh) - 1)
            row.position.update((item.node, count + i) for i, item in enumerate(fresh))
            row.deliveries.extend(fresh)
            self.endInsertRows()
        if row.hash != hash_before:
            self._announce_cell(number, TransferColumn.HASH)

    def remove(self, casts: Iterable[str]) -> None:
        """Forget casts; unknown ones do not matter."""
        gone = {name for name in casts if name in self._row_of}
        if not gone:
            return
        self._take_out([i for i, row in enumerate(self._rows) if row.summary.cast in gone])
        for name in gone:
            del self._by_serial[self._row_of.pop(name).serial]
        self.counts_changed.emit()

    def _take_out(self, numbers: list[int]) -> None:
        """Show these rows no more."""
        pieces = runs(numbers)
        if len(pieces) > MOST_STEPS:
            gone = set(numbers)
            self._become([row for number, row in enumerate(self._rows) if number not in gone])
            return
        for first, last in reversed(pieces):
            self.beginRemoveRows(QModelIndex(), first, last)
            del self._rows[first : last + 1]
            self._number_rows()
            self.endRemoveRows()

    def _become(self, rows: list[CastRow]) -> None:
        """Reset the model, where single changes would block the window."""
        self.beginResetModel()
        self._rows = self._order.ordered(rows)
        self._number_rows()
        self.endResetModel()

    def _insert_many(
        self, casts: list[CastSummary], deliveries: Mapping[str, Iterable[DeliverySnapshot]]
    ) -> None:
        """Rows that hold their deliveries already, so that the views hear of each once."""
        rows = []
        for summary in casts:
            row = CastRow(self._next_serial, summary)
            row.set_deliveries(deliveries.get(summary.cast, ()))
            self._next_serial += 1
            self._row_of[summary.cast] = row
            self._by_serial[row.serial] = row
            rows.append(row)
        self._start_to_count_down(casts)
        self._put_in([row for row in rows if self._passes(row.summary)])
        self.counts_changed.emit()

    def _put_in(self, rows: list[CastRow]) -> None:
        """Show rows at their places."""
        if not self._rows and rows:
            self._insert_run(0, self._order.ordered(rows))
        elif len(rows) > MOST_STEPS:
            self._become(self._rows + rows)
        else:
            for row in rows:
                self._insert_run(self._order.place_for(row.summary, self._rows), [row])

    def _insert_run(self, first: int, rows: list[CastRow]) -> None:
        self.beginInsertRows(QModelIndex(), first, first + len(rows) - 1)
        self._rows[first:first] = rows
        self._number_rows()
        self.endInsertRows()

    def _number_rows(self) -> None:
        self._place = {row.serial: number for number, row in enumerate(self._rows)}

    # --- order -----------------------------------------------------------------------------

    def _sort_now(self) -> None:
        ordered = self._order.ordered(self._rows)
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
        self._order = CastSortOrder(TransferColumn(max(0, column)), order is Qt.SortOrder.DescendingOrder)
        self._sort_now()

    # A view asks these of every row after an insertion, so they are written to be quick.

    def index(self, row: int, column: int, parent: Index = NO_PARENT) -> QModelIndex:
        if not 0 <= column <= LAST_COLUMN or row < 0:
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
        return len(COLUMNS)

    def hasChildren(self, parent: Index = NO_PARENT) -> bool:
        return self.rowCount(parent) > 0

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
        column = TransferColumn(index.column())
        spec = COLUMNS[column]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            if isinstance(item, DeliverySnapshot):
                return delivery_text(row.summary, item, column)
            if column is TransferColumn.HASH:
                return row.hash
            return direction(item, self._here) if column is TransferColumn.DIRECTION else spec.cast(item)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return spec.alignment
        if role == Qt.ItemDataRole.ToolTipRole:
            return tool_tip(row.summary, item, column)
        return None

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> object:
        if orientation is not Qt.Orientation.Horizontal or not 0 <= section < len(TransferColumn):
            return None
        spec = COLUMNS[TransferColumn(section)]
        if role == Qt.ItemDataRole.DisplayRole:
            return spec.title()
        return spec.alignment if role == Qt.ItemDataRole.TextAlignmentRole else None
