"""The columns of the transfer table: which there are, how wide, and by what each sorts."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping

from PySide6.QtCore import QByteArray, QCoreApplication, QPointF, QRect, QRectF, QSettings, Qt, Signal
from PySide6.QtGui import QColor, QContextMenuEvent, QPainter
from PySide6.QtWidgets import QHeaderView, QMenu, QWidget

from castray_desktop.core.protocol.messages import CastSummary
from castray_desktop.ui.model.node_list import natural_key
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.painting import LEFT, RIGHT, paint_text, pixmap


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


NUMBERS = frozenset(
    {
        TransferColumn.SIZE,
        TransferColumn.SPEED,
        TransferColumn.ETA,
        TransferColumn.RECIPIENTS,
        TransferColumn.STARTED,
        TransferColumn.ELAPSED,
        TransferColumn.HASH,
    }
)
"""Columns that are aligned to the right."""

HIDDEN_AT_FIRST = frozenset(
    {TransferColumn.DIRECTION, TransferColumn.ELAPSED, TransferColumn.DESTINATION, TransferColumn.HASH}
)

WIDTHS: Mapping[TransferColumn, int] = {
    TransferColumn.NAME: 276,
    TransferColumn.SIZE: 68,
    TransferColumn.PROGRESS: 176,
    TransferColumn.STATUS: 128,
    TransferColumn.SPEED: 84,
    TransferColumn.ETA: 60,
    TransferColumn.RECIPIENTS: 88,
    TransferColumn.STARTED: 72,
    TransferColumn.DIRECTION: 92,
    TransferColumn.ELAPSED: 72,
    TransferColumn.DESTINATION: 150,
    TransferColumn.HASH: 132,
}

KEYS: Mapping[TransferColumn, Callable[[CastSummary], tuple[object, ...]]] = {
    TransferColumn.NAME: lambda cast: (natural_key(cast.name), cast.others),
    TransferColumn.SIZE: lambda cast: (cast.bytes,),
    TransferColumn.PROGRESS: lambda cast: (cast.done_bytes / cast.bytes if cast.bytes else 1.0,),
    TransferColumn.STATUS: lambda cast: (cast.state.value,),
    TransferColumn.SPEED: lambda cast: (cast.rate,),
    TransferColumn.ETA: lambda cast: (cast.eta if cast.eta is not None else -1.0,),
    TransferColumn.RECIPIENTS: lambda cast: (cast.verified, len(cast.recipients)),
    TransferColumn.STARTED: lambda cast: (cast.started,),
    TransferColumn.DIRECTION: lambda cast: (cast.source,),
    TransferColumn.ELAPSED: lambda cast: (cast.finished - cast.started if cast.finished else 0.0,),
    TransferColumn.DESTINATION: lambda cast: (cast.options.destination,),
    TransferColumn.HASH: lambda cast: (cast.cast,),
}


def heading(column: TransferColumn) -> str:
    """The title of a column."""
    return {
        TransferColumn.NAME: QCoreApplication.translate("TransferModel", "Name"),
        TransferColumn.SIZE: QCoreApplication.translate("TransferModel", "Size"),
        TransferColumn.PROGRESS: QCoreApplication.translate("TransferModel", "Progress"),
        TransferColumn.STATUS: QCoreApplication.translate("TransferModel", "Status"),
        TransferColumn.SPEED: QCoreApplication.translate("TransferModel", "Speed"),
        TransferColumn.ETA: QCoreApplication.translate("TransferModel", "ETA"),
        TransferColumn.RECIPIENTS: QCoreApplication.translate("TransferModel", "Recipients"),
        TransferColumn.STARTED: QCoreApplication.translate("TransferModel", "Started"),
        TransferColumn.DIRECTION: QCoreApplication.translate("TransferModel", "Direction"),
        TransferColumn.ELAPSED: QCoreApplication.translate("TransferModel", "Elapsed"),
        TransferColumn.DESTINATION: QCoreApplication.translate("TransferModel", "Saved to"),
        TransferColumn.HASH: QCoreApplication.translate("TransferModel", "Hash"),
    }[column]


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
        self._widths = dict(WIDTHS)
        self._fitting = False
        self.setSectionsClickable(True)
        self.setSectionsMovable(True)
        self.setFirstSectionMovable(True)
        self.setFixedHeight(HEIGHT)
        self.setMinimumSectionSize(40)
        self.setStretchLastSection(False)
        self.sectionResized.connect(self._resized)
        self.sectionMoved.connect(self._changed)

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
            self._changed()

    def reset(self) -> None:
        """Reset all columns."""
        for column in TransferColumn:
            self.moveSection(self.visualIndex(column), column)
            self.setSectionHidden(column, column in HIDDEN_AT_FIRST)
        self._widths = dict(WIDTHS)
        self._changed()

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
        self._changed()

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
        for column in shown:
            if column is not TransferColumn.NAME:
                self.resizeSection(
                    column, progress if column is TransferColumn.PROGRESS else self._widths[column]
                )
        self.resizeSection(TransferColumn.NAME, max(NAME_LEAST, room - others))
        self._fitting = False

    def _resized(self, logical: int, before: int, now: int) -> None:
        if self._fitting or not now or not before:
            return
        self._widths[TransferColumn(logical)] = now

    def _changed(self) -> None:
        self.arranged.emit()

    def menu(self) -> QMenu:
        """The menu that shows and hides columns."""
        menu = QMenu(self)
        for column in TransferColumn:
            action = menu.addAction(heading(column))
            action.setCheckable(True)
            action.setChecked(not self.isSectionHidden(column))
            action.setEnabled(column is not TransferColumn.NAME)
            action.toggled.connect(self._shower(column))
        menu.addSeparator()
        menu.addAction(self.tr("Columns as at first"), self.reset)
        return menu

    def _shower(self, column: TransferColumn) -> Callable[[bool], None]:
        """Qt tells a partial nothing of the new state, so this is a function."""

        def show(shown: bool) -> None:
            self.set_shown(column, shown)

        return show

    # --- Qt --------------------------------------------------------------------------------

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        menu = self.menu()
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(event.globalPos())

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
        number = column in NUMBERS
        if column is TransferColumn.NAME:
            inner.setLeft(inner.left() + 4)
        used = paint_text(painter, inner, title, color, 11, weight, RIGHT if number else LEFT)
        if sorted_by:
            down = self.sortIndicatorOrder() is Qt.SortOrder.DescendingOrder
            arrow = pixmap("arrow-down" if down else "arrow-up", color, 12, self.devicePixelRatioF())
            x = inner.right() - used - 15 if number else inner.left() + used + 3
            painter.drawPixmap(QPointF(x, inner.center().y() - 6), arrow)
        painter.restore()
