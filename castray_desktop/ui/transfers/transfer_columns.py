"""The columns of the transfers table and their header: sorted, moved, hidden and resized by the user."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from PySide6.QtCore import QByteArray, QCoreApplication, QPointF, QRect, QRectF, QSettings, Qt, Signal
from PySide6.QtGui import QColor, QContextMenuEvent, QPainter
from PySide6.QtWidgets import QHeaderView, QMenu, QWidget

from castray_desktop.core.protocol.messages import CastSummary, DeliverySnapshot, DeliveryState
from castray_desktop.ui.i18n.failure_text import reason_text
from castray_desktop.ui.i18n.language import Text
from castray_desktop.ui.i18n.number_format import DASH, format_bytes, format_duration
from castray_desktop.ui.model.node_list import natural_key
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.file_text import row_end_text
from castray_desktop.ui.transfers.transfer_text import (
    cast_share,
    cast_title,
    clock,
    delivery_rate,
    delivery_share,
    delivery_status,
    destination_text,
    elapsed,
    percent_text,
    rate_text,
    row_status,
)
from castray_desktop.ui.widgets.painting import LEFT, RIGHT, paint_text, pixmap
from castray_desktop.ui.widgets.popups import add_choice, open_menu

translate = QCoreApplication.translate


class TransferColumn(enum.IntEnum):
    """The columns, in their default order."""

    NAME = 0
    SIZE = 1
    PROGRESS = 2
    STATUS = 3
    SPEED = 4
    ETA = 5
    RECIPIENTS = 6
    STARTED = 7
    DIRECTION = 8
    ELAPSED = 9
    DESTINATION = 10
    HASH = 11


@dataclass(frozen=True)
class ColumnSpec:
    """A column: its title, its width at first, what casts are sorted by, and the text of its cells.

    `number` aligns it to the right, `quiet` makes it less visible. Without `delivery` it is about casts only.
    """

    title: Text
    width: int
    key: Callable[[CastSummary], tuple[object, ...]]
    cast: Callable[[CastSummary], str]
    delivery: Callable[[CastSummary, DeliverySnapshot], str] | None = None
    number: bool = False
    quiet: bool = False
    hidden: bool = False

    @property
    def alignment(self) -> Qt.AlignmentFlag:
        return RIGHT if self.number else LEFT


# The text of DIRECTION and of HASH depends on more than the summary: see `TransferModel`.
COLUMNS: Mapping[TransferColumn, ColumnSpec] = {
    TransferColumn.NAME: ColumnSpec(
        lambda: translate("TransferModel", "Name"),
        252,
        lambda cast: (natural_key(cast.name), cast.others),
        cast_title,
        lambda cast, delivery: delivery.node,
    ),
    TransferColumn.SIZE: ColumnSpec(
        lambda: translate("TransferModel", "Size"),
        68,
        lambda cast: (cast.bytes,),
        lambda cast: format_bytes(cast.bytes) if cast.bytes or cast.files else DASH,
        lambda cast, delivery: format_bytes(cast.bytes if delivery.state.delivered else delivery.bytes),
        number=True,
        quiet=True,
    ),
    TransferColumn.PROGRESS: ColumnSpec(
        lambda: translate("TransferModel", "Progress"),
        176,
        lambda cast: (cast.done_bytes / cast.bytes if cast.bytes else 1.0,),
        lambda cast: percent_text(cast_share(cast)),
        lambda cast, delivery: percent_text(delivery_share(cast, delivery)),
    ),
    TransferColumn.STATUS: ColumnSpec(
        lambda: translate("TransferModel", "Status"),
        152,
        lambda cast: (cast.state.value,),
        row_status,
        lambda cast, delivery: delivery_status(delivery),
    ),
    TransferColumn.SPEED: ColumnSpec(
        lambda: translate("TransferModel", "Speed"),
        84,
        lambda cast: (cast.rate,),
        lambda cast: rate_text(0.0 if cast.state.finished else cast.rate),
        lambda cast, delivery: rate_text(delivery_rate(delivery)),
        number=True,
    ),
    TransferColumn.ETA: ColumnSpec(
        lambda: translate("TransferModel", "ETA"),
        60,
        lambda cast: (cast.eta if cast.eta is not None else -1.0,),
        lambda cast: format_duration(None if cast.state.finished else cast.eta),
        lambda cast, delivery: format_duration(None if delivery.state.finished else delivery.eta),
        number=True,
    ),
    TransferColumn.RECIPIENTS: ColumnSpec(
        lambda: translate("TransferModel", "Recipients"),
        88,
        lambda cast: (cast.verified, len(cast.recipients)),
        lambda cast: f"{cast.verified}/{len(cast.recipients)}",
        number=True,
    ),
    TransferColumn.STARTED: ColumnSpec(
        lambda: translate("TransferModel", "Started"),
        72,
        lambda cast: (cast.started,),
        lambda cast: clock(cast.started),
        number=True,
        quiet=True,
    ),
    TransferColumn.DIRECTION: ColumnSpec(
        lambda: translate("TransferModel", "Direction"),
        92,
        lambda cast: (cast.source,),
        lambda cast: "",
        hidden=True,
    ),
    TransferColumn.ELAPSED: ColumnSpec(
        lambda: translate("TransferModel", "Elapsed"),
        72,
        lambda cast: (cast.finished - cast.started if cast.finished else 0.0,),
        lambda cast: format_duration(elapsed(cast)),
        lambda cast, delivery: format_duration(delivery.seconds or None),
        number=True,
        quiet=True,
        hidden=True,
    ),
    TransferColumn.DESTINATION: ColumnSpec(
        lambda: translate("TransferModel", "Saved to"),
        150,
        lambda cast: (cast.options.destination,),
        destination_text,
        lambda cast, delivery: delivery.paths[0] if delivery.paths else "",
        quiet=True,
        hidden=True,
    ),
    TransferColumn.HASH: ColumnSpec(
        lambda: translate("TransferModel", "Hash"),
        132,
        lambda cast: (cast.cast,),
        lambda cast: "",
        lambda cast, delivery: row_end_text(delivery),
        number=True,
        quiet=True,
        hidden=True,
    ),
}

OF_CASTS = frozenset(column for column, spec in COLUMNS.items() if spec.delivery is None)
"""Columns that say nothing about a delivery. Its row has its hash there, what became of its
files, or why it failed."""


def delivery_text(cast: CastSummary, delivery: DeliverySnapshot, column: TransferColumn) -> str:
    """A cell of a delivery's row. A failed one gives the reason in the columns after its state."""
    if column > TransferColumn.STATUS and spans_reason(delivery) and delivery.failure is not None:
        return reason_text(delivery.failure)
    text = COLUMNS[column].delivery
    if text is not None:
        return text(cast, delivery)
    return "" if column is TransferColumn.DIRECTION else row_end_text(delivery)


def spans_reason(item: object) -> bool:
    """Whether a row gives the columns after its state to the reason of its failure."""
    return (
        isinstance(item, DeliverySnapshot) and item.state is DeliveryState.FAILED and item.failure is not None
    )


HEIGHT = 28
PADDING = 8
EDGE = 12  # the table's own padding, inside its first and last column
NAME_LEAST = 140
PROGRESS_LEAST = 110
SETTING = "transfers/columns"


class TransferHeader(QHeaderView):
    """Column titles 11 px high, the sort arrow before the title.

    Signals: `arranged()` when columns were hidden, shown or moved.
    """

    arranged = Signal()

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self._theme = theme
        self._widths = {column: spec.width for column, spec in COLUMNS.items()}
        self._fitting = False
        self.setSectionsClickable(True)
        self.setSectionsMovable(True)
        self.setFirstSectionMovable(True)
        self.setFixedHeight(HEIGHT)
        self.setMinimumSectionSize(40)
        self.setStretchLastSection(False)
        self.sectionResized.connect(self._resized)
        self.sectionMoved.connect(self.arranged)

    # --- arrangement -----------------------------------------------------------------------

    def shown(self) -> list[TransferColumn]:
        """The columns that can be seen, left to right."""
        places = range(self.count())
        order = [self.logicalIndex(place) for place in places]
        return [TransferColumn(logical) for logical in order if not self.isSectionHidden(logical)]

    def set_shown(self, column: TransferColumn, shown: bool) -> None:
        """Show a column or hide it; the name stays."""
        if column is not TransferColumn.NAME:
            self.setSectionHidden(column, not shown)
            self.arranged.emit()

    def reset(self) -> None:
        """Reset all columns."""
        for column in TransferColumn:
            self.moveSection(self.visualIndex(column), column)
            self.setSectionHidden(column, COLUMNS[column].hidden)
        self._widths = {column: spec.width for column, spec in COLUMNS.items()}
        self.arranged.emit()

    def save(self, settings: QSettings) -> None:
        """Remember order, widths, what is hidden and the sorting."""
        settings.setValue(SETTING, self.saveState())
        settings.setValue(SETTING + "/widths", [self._widths[column] for column in TransferColumn])

    def restore(self, settings: QSettings) -> None:
        """Restore the saved state, if it is for these columns."""
        state, widths = settings.value(SETTING), settings.value(SETTING + "/widths")
        if isinstance(widths, list) and len(widths) == len(TransferColumn):
            for column, width in zip(TransferColumn, widths, strict=True):
                if str(width).isdecimal():
                    self._widths[column] = max(40, min(2000, int(width)))
        if isinstance(state, QByteArray) and self.restoreState(state):
            self.setSectionHidden(TransferColumn.NAME, False)
            self.setSectionsMovable(True)
            self.setSectionsClickable(True)
        self.arranged.emit()

    def fit(self, room: int) -> None:
        """The name takes what the others leave; in a narrow table the bar gives way first."""
        self._fitting = True
        shown = self.shown()
        others = sum(self._widths[column] for column in shown if column is not TransferColumn.NAME)
        bar = self._widths[TransferColumn.PROGRESS]
        short = max(0, NAME_LEAST + others - room)
        progress = max(min(bar, PROGRESS_LEAST), bar - short)
        if TransferColumn.PROGRESS in shown:
            others += progress - bar
        widths = self._widths | {
            TransferColumn.PROGRESS: progress,
            TransferColumn.NAME: max(NAME_LEAST, room - others),
        }
        for column in shown:
            self.resizeSection(column, widths[column])
        self._fitting = False

    def _resized(self, logical: int, before: int, now: int) -> None:
        if self._fitting or not now or not before:
            return
        self._widths[TransferColumn(logical)] = now

    def menu(self) -> QMenu:
        """The menu that shows and hides columns."""
        menu = QMenu(self)
        for column in TransferColumn:
            hidden = self.isSectionHidden(column)
            show = partial(self.set_shown, column, hidden)
            add_choice(menu, COLUMNS[column].title(), show, chosen=not hidden)
        menu.actions()[TransferColumn.NAME].setEnabled(False)
        menu.addSeparator()
        menu.addAction(self.tr("Reset columns"), self.reset)
        return menu

    # --- Qt --------------------------------------------------------------------------------

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        menu = self.menu()
        open_menu(menu, event.globalPos(), self)

    def paintSection(self, painter: QPainter, rect: QRect, logical: int) -> None:
        palette, column = self._theme.palette, TransferColumn(logical)
        painter.save()
        painter.fillRect(rect, QColor(palette.inset))
        painter.fillRect(QRect(rect.left(), rect.bottom(), rect.width(), 1), QColor(palette.line))
        title = str(self.model().headerData(logical, Qt.Orientation.Horizontal))
        sorted_by = self.sortIndicatorSection() == logical
        color, weight = (palette.text, 600) if sorted_by else (palette.text_3, 500)
        shown = self.shown()
        left = EDGE if column is TransferColumn.NAME else PADDING
        right = EDGE if shown and column is shown[-1] else PADDING
        inner = QRectF(rect).adjusted(left, 0, -right, -1)
        spec = COLUMNS[column]
        if column is TransferColumn.NAME:
            inner.setLeft(inner.left() + 4)
        used = paint_text(painter, inner, title, color, 11, weight, spec.alignment)
        if sorted_by:
            down = self.sortIndicatorOrder() is Qt.SortOrder.DescendingOrder
            arrow = pixmap("arrow-down" if down else "arrow-up", color, 12, self.devicePixelRatioF())
            x = inner.right() - used - 15 if spec.number else inner.left() + used + 3
            painter.drawPixmap(QPointF(x, inner.center().y() - 6), arrow)
        painter.restore()
