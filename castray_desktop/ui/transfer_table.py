"""The transfer table: a tree of casts, each opening into its deliveries.

`TransferTable(theme, model, nodes)` is the view of a `TransferModel`. Signals: `cast_selected(id)` when the
current cast is another one ("" when there is none), `cancel_requested(id)` from the context menu or Del,
`clear_finished_requested()` from the context menu. Methods: `select_cast(id)`, `selected_cast()`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PySide6.QtCore import (
    QEvent,
    QItemSelectionModel,
    QModelIndex,
    QObject,
    QPoint,
    QPointF,
    QRect,
    QRectF,
    QRunnable,
    Qt,
    QThreadPool,
    QTimer,
    QUrl,
    Signal,
)
from PySide6.QtGui import (
    QAccessible,
    QColor,
    QContextMenuEvent,
    QDesktopServices,
    QGuiApplication,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QMenu, QStyleOptionViewItem, QTreeView, QWidget

from castray_desktop.core.messages import CastSummary, DeliverySnapshot
from castray_desktop.ui.icons import pixmap
from castray_desktop.ui.nodes import NodeList
from castray_desktop.ui.painting import CENTRE, LEFT, RIGHT, metrics, paint_text, paint_wrapped
from castray_desktop.ui.theme import Theme
from castray_desktop.ui.transfer_delegate import EDGE, PADDING, TransferDelegate, paint_row_end, spans_reason
from castray_desktop.ui.transfer_model import CAST_ROLE, ITEM_ROLE, NUMBERS, Column, Index, TransferModel
from castray_desktop.ui.transfer_text import delivery_status
from castray_desktop.ui.widgets import say
from castray_desktop.ui.words import Words

WIDTHS = {
    Column.NAME: 276,
    Column.SIZE: 68,
    Column.PROGRESS: 176,
    Column.STATUS: 128,
    Column.SPEED: 84,
    Column.ETA: 60,
    Column.RECIPIENTS: 88,
    Column.STARTED: 72,
}
NAME_LEAST = 140
HEADER = 28
MOST_MEASURED = 200
CHEVRON_END = EDGE + 20


class _Header(QHeaderView):
    """Column titles 11 px high, the sort arrow before the title."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self._theme = theme
        self.setSectionsClickable(True)
        self.setFixedHeight(HEADER)
        self.setMinimumSectionSize(40)

    def paintSection(self, painter: QPainter, rect: QRect, logical: int) -> None:
        palette, column = self._theme.palette, Column(logical)
        painter.save()
        painter.fillRect(rect, QColor(palette.inset))
        painter.fillRect(QRect(rect.left(), rect.bottom(), rect.width(), 1), QColor(palette.line))
        title = str(self.model().headerData(logical, Qt.Orientation.Horizontal))
        sorted_by = self.sortIndicatorSection() == logical
        color, weight = (palette.text, 600) if sorted_by else (palette.text_3, 500)
        left = EDGE if column is Column.NAME else PADDING
        right = EDGE if column is Column.STARTED else PADDING
        inner = QRectF(rect).adjusted(left, 0, -right, -1)
        number = column in NUMBERS
        if column is Column.NAME:
            inner.setLeft(inner.left() + 4)
        used = paint_text(painter, inner, title, color, 11, weight, RIGHT if number else LEFT)
        if sorted_by:
            down = self.sortIndicatorOrder() is Qt.SortOrder.DescendingOrder
            arrow = pixmap("arrow-down" if down else "arrow-up", color, 12, self.devicePixelRatioF())
            x = inner.right() - used - 15 if number else inner.left() + used + 3
            painter.drawPixmap(QPointF(x, inner.center().y() - 6), arrow)
        painter.restore()


class _PathCheck(QRunnable):
    """Looks, off the window's loop, whether a folder is there; may take long on a dead mount."""

    class Told(QObject):
        there = Signal(bool)

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder
        self.told = self.Told()

    def run(self) -> None:
        self.told.there.emit(Path(self._folder).is_dir())


class TransferTable(QTreeView):
    """See the module."""

    cancel_requested = Signal(str)
    cast_selected = Signal(str)
    clear_finished_requested = Signal()

    def __init__(
        self, theme: Theme, model: TransferModel, nodes: NodeList | None = None, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._theme, self._casts, self._nodes = theme, model, nodes
        self._hovered = QModelIndex()
        self._checks: set[_PathCheck] = set()
        self._menu: QMenu | None = None
        self._measuring = QTimer(self)  # once for all rows that open or come at a time
        self._measuring.setSingleShot(True)
        self._measuring.timeout.connect(self._measure_or_not)
        self.setModel(model)
        self.setHeader(_Header(theme, self))
        self.setItemDelegate(TransferDelegate(theme, self))
        say(self, self.setAccessibleName, lambda: self.tr("Transfers"))
        self._set_up_view()
        self.header().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self.setSortingEnabled(True)
        self.header().setSortIndicator(Column.STARTED, Qt.SortOrder.DescendingOrder)
        self.sortByColumn(Column.STARTED, Qt.SortOrder.DescendingOrder)
        model.rowsInserted.connect(self._rows_changed)
        model.rowsRemoved.connect(self._rows_changed)
        self.expanded.connect(self._measure_soon)
        self.collapsed.connect(self._measure_soon)
        theme.changed.connect(self._restyle)
        self._restyle()
        self._rows_changed()
        Words(self, model.say)

    def _set_up_view(self) -> None:
        self.setIndentation(0)
        self.setRootIsDecorated(False)
        self.setFrameShape(QTreeView.Shape.NoFrame)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        # Rows have two heights; scrolling by pixels would measure all 10,000 of them after every insertion.
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerItem)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.setMouseTracking(True)
        self.setAnimated(False)
        self.header().setStretchLastSection(False)

    # --- what the window calls -------------------------------------------------------------

    def selected_cast(self) -> str:
        """The id of the current cast, or of the one whose delivery is current; "" without one."""
        cast = self.currentIndex().data(CAST_ROLE)
        return cast.cast if isinstance(cast, CastSummary) else ""

    def select_cast(self, cast: str) -> None:
        """Make a cast the current one and show it. Does nothing for an unknown cast."""
        index = self._casts.index_of(cast)
        if index.isValid():
            flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
            self.selectionModel().setCurrentIndex(index, flags)
            self.scrollTo(index)

    # --- actions ---------------------------------------------------------------------------

    def _cancel(self, cast: str) -> None:
        summary = self._casts.summary(cast)
        if summary is not None and not summary.state.finished:
            self.cancel_requested.emit(cast)

    def context_menu(self, index: QModelIndex) -> QMenu:
        """The menu for a row: only what can be done with it."""
        menu = QMenu(self)
        item, cast = index.data(ITEM_ROLE), index.data(CAST_ROLE)
        if isinstance(cast, CastSummary):
            if not cast.state.finished:
                menu.addAction(self.tr("Cancel") + "\tDel", partial(self._cancel, cast.cast))
                menu.addSeparator()
            if isinstance(item, DeliverySnapshot):
                self._add_delivery_actions(menu, item)
            menu.addAction(self.tr("Copy name"), partial(_copy, cast.name))
        if any(summary.state.finished for summary in self._casts.casts()):
            menu.addSeparator()
            menu.addAction(self.tr("Clear finished"), self.clear_finished_requested.emit)
        return menu

    def _add_delivery_actions(self, menu: QMenu, delivery: DeliverySnapshot) -> None:
        if delivery.paths:
            if self._is_here(delivery):
                self._add_open_folder(menu, str(Path(delivery.paths[0]).parent))
            menu.addAction(self.tr("Copy path"), partial(_copy, "\n".join(delivery.paths)))
        if delivery.hash:
            menu.addAction(self.tr("Copy hash"), partial(_copy, delivery.hash))

    def _add_open_folder(self, menu: QMenu, folder: str) -> None:
        """The action can be used once a look at the disk, off the loop, has found the folder."""
        action = menu.addAction(self.tr("Open folder"), partial(_open, folder))
        action.setEnabled(False)
        check = _PathCheck(folder)
        self._checks.add(check)
        check.setAutoDelete(False)
        check.told.there.connect(action.setEnabled)
        check.told.there.connect(partial(self._checked, check))
        QThreadPool.globalInstance().start(check)

    def _checked(self, check: _PathCheck, _there: bool) -> None:
        self._checks.discard(check)

    def _is_here(self, delivery: DeliverySnapshot) -> bool:
        node = self._nodes.get(delivery.node) if self._nodes else None
        address = (node.address if node else "") or delivery.address
        return bool(node and node.this_computer) or address.startswith("127.") or address == "::1"

    # --- looks -----------------------------------------------------------------------------

    def _restyle(self) -> None:
        self.setStyleSheet(
            "QTreeView { background: transparent; border: none; outline: none; }"
            f"QHeaderView {{ background: {self._theme.palette.inset}; border: none; }}"
        )
        self.viewport().update()
        self.header().viewport().update()

    def _fit_columns(self) -> None:
        """The name takes what the others leave; in a narrow table the bar gives way first."""
        room = self.viewport().width()
        others = sum(width for column, width in WIDTHS.items() if column is not Column.NAME)
        short = max(0, NAME_LEAST + others - room)
        progress = max(110, WIDTHS[Column.PROGRESS] - short)
        for column, width in WIDTHS.items():
            if column is not Column.NAME:
                self.header().resizeSection(column, progress if column is Column.PROGRESS else width)
        rest = room - others + WIDTHS[Column.PROGRESS] - progress
        self.header().resizeSection(Column.NAME, max(NAME_LEAST, rest))

    def _rows_changed(self) -> None:
        self._hovered = QModelIndex()
        self._measure_soon()
        self.header().setVisible(self._casts.rowCount() > 0)
        self.viewport().update()

    def _measure_soon(self) -> None:
        if not self._measuring.isActive():
            self._measuring.start(0)

    def _measure_or_not(self) -> None:
        """Qt measures every row above the first one seen; thousands would hold up the window, so in a long
        table deliveries are as high as casts.
        """
        rows = self._casts.rowCount()
        if rows <= MOST_MEASURED:
            tops = (self._casts.index(row, 0) for row in range(rows))
            rows += sum(self._casts.rowCount(top) for top in tops if self.isExpanded(top))
        self.setUniformRowHeights(rows > MOST_MEASURED)

    def _span(self, first: Column, rect: QRect) -> QRectF:
        left = self.header().sectionViewportPosition(first)
        last = self.header().sectionViewportPosition(Column.STARTED)
        right = last + self.header().sectionSize(Column.STARTED)
        return QRectF(left, rect.top(), right - left, rect.height())

    def _paint_background(self, painter: QPainter, rect: QRect, index: QModelIndex) -> None:
        palette = self._theme.palette
        row = QRectF(0, rect.top(), self.viewport().width(), rect.height())
        selected = self.selectionModel().isRowSelected(index.row(), index.parent())
        hovered = self._hovered.isValid() and self._hovered.siblingAtColumn(0) == index.siblingAtColumn(0)
        child = index.parent().isValid()
        fill = (
            palette.selected if selected else palette.hover if hovered else palette.inset if child else None
        )
        if fill:
            painter.fillRect(row, QColor(fill))
        last = not child and not self.isExpanded(index.siblingAtColumn(0))
        last = last or (child and index.row() == self.model().rowCount(index.parent()) - 1)
        if last or not child:
            painter.fillRect(QRectF(row.x(), row.bottom() - 1, row.width(), 1), QColor(palette.line))
        current = self.currentIndex().siblingAtColumn(0) == index.siblingAtColumn(0)
        if current and self.hasFocus() and self._keyboard_used:
            painter.setPen(QPen(QColor(palette.accent), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(row.adjusted(1, 1, -1, -2))

    _keyboard_used = False

    def _paint_empty(self) -> None:
        palette = self._theme.palette
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(self.viewport().rect())
        top = area.center().y() - 58
        tile = QRectF(area.center().x() - 24, top, 48, 48)
        painter.setPen(QPen(QColor(palette.line_strong), 1))
        painter.setBrush(QColor(palette.inset))
        painter.drawRoundedRect(tile, 12, 12)
        mark = pixmap("arrow-left-right", palette.text_2, 20, self.devicePixelRatioF())
        painter.drawPixmap(QPointF(tile.center().x() - 10, tile.center().y() - 10), mark)
        title = QRectF(16, top + 58, area.width() - 32, 22)
        paint_text(painter, title, self.tr("No transfers yet"), palette.text, 14, 600, CENTRE)
        hint = self.tr(
            "Drop files, tick recipients, press Send. Progress, speed and hashes of every node show up here."
        )
        paint_wrapped(painter, QRectF(16, top + 82, area.width() - 32, 36), hint, palette.text_2)
        painter.end()

    # --- Qt --------------------------------------------------------------------------------

    def dataChanged(self, first: Index, last: Index, roles: Sequence[int] = ()) -> None:
        """Qt would ask for the height of each row in between, which never changes."""
        if QAccessible.isActive():
            super().dataChanged(first, last, roles)
        elif not first.parent().isValid() or self.isExpanded(first.parent()):
            self.viewport().update()

    def drawRow(self, painter: QPainter, options: QStyleOptionViewItem, index: Index) -> None:
        rect: QRect = options.rect
        painter.save()
        row = self.model().index(index.row(), 0, index.parent())
        self._paint_background(painter, rect, row)
        painter.restore()
        super().drawRow(painter, options, index)
        item = index.data(ITEM_ROLE)
        if isinstance(item, DeliverySnapshot):
            reason = spans_reason(item)
            span = self._span(Column.SPEED if reason else Column.RECIPIENTS, rect)
            if reason:  # the state's word is short, so the reason gets what it leaves
                word = metrics(12, 500).horizontalAdvance(delivery_status(item))
                span.setLeft(span.left() - self.header().sectionSize(Column.STATUS) + word + 2 * PADDING)
            painter.save()
            paint_row_end(painter, span, item, self._theme)
            painter.restore()

    def drawBranches(self, painter: QPainter, rect: QRect, index: Index) -> None:
        """The delegate draws the chevron."""

    def currentChanged(self, current: Index, previous: Index) -> None:
        super().currentChanged(current, previous)
        before, after = previous.data(CAST_ROLE), current.data(CAST_ROLE)
        name = after.cast if isinstance(after, CastSummary) else ""
        if name != (before.cast if isinstance(before, CastSummary) else ""):
            self.cast_selected.emit(name)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._keyboard_used = False
        index = self.indexAt(event.position().toPoint())
        left = event.button() is Qt.MouseButton.LeftButton
        item = index.data(ITEM_ROLE)
        x = event.position().x() - self.header().sectionViewportPosition(0)
        if left and isinstance(item, CastSummary) and 0 <= x < CHEVRON_END:
            first = index.siblingAtColumn(0)
            self.setExpanded(first, not self.isExpanded(first))
            return
        super().mousePressEvent(event)
        if left and isinstance(item, DeliverySnapshot) and index.column() >= Column.RECIPIENTS and item.hash:
            _copy(item.hash)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        self._hover(self.indexAt(event.position().toPoint()))

    def _hover(self, index: QModelIndex) -> None:
        if index.siblingAtColumn(0) != self._hovered:
            self._hovered = index.siblingAtColumn(0)
            self.viewport().update()

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._hover(QModelIndex())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        self._keyboard_used = True
        cast = self.selected_cast()
        if event.key() == Qt.Key.Key_Delete and cast:
            self._cancel(cast)
            return
        super().keyPressEvent(event)
        self.viewport().update()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        by_key = event.reason() is QContextMenuEvent.Reason.Keyboard
        index = self.currentIndex() if by_key else self.indexAt(event.pos())
        menu = self.context_menu(index)
        if menu.isEmpty():
            menu.deleteLater()
            return
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        place = self.visualRect(index).bottomLeft() + QPoint(EDGE, 0) if by_key else event.pos()
        menu.popup(self.viewport().mapToGlobal(place))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit_columns()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self._casts.rowCount():
            self._paint_empty()


def _copy(text: str) -> None:
    QGuiApplication.clipboard().setText(text)


def _open(folder: str) -> None:
    QDesktopServices.openUrl(QUrl.fromLocalFile(folder))
