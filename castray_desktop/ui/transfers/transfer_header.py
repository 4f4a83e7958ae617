"""The titles of the transfer table: sorted, moved, hidden and made wider by the user, and remembered."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QByteArray, QPointF, QRect, QRectF, QSettings, Qt, Signal
from PySide6.QtGui import QColor, QContextMenuEvent, QPainter
from PySide6.QtWidgets import QHeaderView, QMenu, QWidget

from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.transfer_columns import (
    HIDDEN_AT_FIRST,
    NUMBERS,
    WIDTHS,
    TransferColumn,
    heading,
)
from castray_desktop.ui.transfers.transfer_delegate import EDGE, PADDING
from castray_desktop.ui.widgets.painting import LEFT, RIGHT, paint_text, pixmap

HEIGHT = 28
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
