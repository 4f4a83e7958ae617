"""The table of transfers: a tree view of casts and their deliveries, and which cast is shown elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from PySide6.QtCore import (
    QEvent,
    QItemSelectionModel,
    QModelIndex,
    QObject,
    QPoint,
    QPointF,
    QRect,
    QRectF,
    Qt,
    QTimer,
    Signal,
)
from PySide6.QtGui import (
    QAccessible,
    QColor,
    QContextMenuEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QShowEvent,
)
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QMenu, QStyleOptionViewItem, QTreeView, QWidget

from castray_desktop.core.protocol.messages import CastSummary, DeliverySnapshot
from castray_desktop.ui.i18n.language import Retranslator
from castray_desktop.ui.model.desktop_services import copy
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.theme.theme import Palette, Theme
from castray_desktop.ui.transfers.cast_actions import CastActions, TransferMenu
from castray_desktop.ui.transfers.transfer_columns import COLUMNS, EDGE, TransferColumn, TransferHeader
from castray_desktop.ui.transfers.transfer_delegate import (
    SUB_ROW,
    RowEndPainter,
    TransferDelegate,
)
from castray_desktop.ui.transfers.transfer_model import CAST_ROLE, ITEM_ROLE, TransferModel
from castray_desktop.ui.widgets.basic_widgets import bind_text
from castray_desktop.ui.widgets.painting import CENTRE, paint_text, paint_wrapped, pixmap
from castray_desktop.ui.widgets.popups import open_menu
from castray_desktop.ui.widgets.text_table import Index

TILE, HINT_HEIGHT, MARGIN = 48, 36, 16


def paint_no_rows(viewport: QWidget, palette: Palette, icon_name: str, title: str, hint: str) -> None:
    """Paint an icon on a tile, a title and a sentence into the middle of a viewport."""
    painter = QPainter(viewport)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    area = QRectF(viewport.rect())
    top = area.center().y() - 58
    tile = QRectF(area.center().x() - TILE / 2, top, TILE, TILE)
    painter.setPen(QPen(QColor(palette.line_strong), 1))
    painter.setBrush(QColor(palette.inset))
    painter.drawRoundedRect(tile, 12, 12)
    mark = pixmap(icon_name, palette.text_2, 20, viewport.devicePixelRatioF())
    painter.drawPixmap(QPointF(tile.center().x() - 10, tile.center().y() - 10), mark)
    width = area.width() - 2 * MARGIN
    paint_text(painter, QRectF(MARGIN, top + 58, width, 22), title, palette.text, 14, 600, CENTRE)
    paint_wrapped(painter, QRectF(MARGIN, top + 82, width, HINT_HEIGHT), hint, palette.text_2)
    painter.end()


def row_position(index: QModelIndex) -> tuple[int, int]:
    """The position of a row, after that of its parent."""
    above = index.parent()
    return (above.row(), index.row() + 1) if above.isValid() else (index.row(), 0)


MOST_MEASURED = 200

CHEVRON_END = EDGE + 20

TICK_MS = 1000

PAINT_MS = 40

"""Delay from a change to its painting: after a report is handled, before the next one arrives."""


class TransferTable(QTreeView):
    """See the module. Signal: `cast_selected(str)` with the id of the current cast, "" without one."""

    cast_selected = Signal(str)

    def __init__(
        self,
        theme: Theme,
        model: TransferModel,
        nodes: NodeList,
        actions: CastActions,
    ) -> None:
        super().__init__()
        self._theme, self._casts, self._actions = theme, model, actions
        self._hovered = QModelIndex()
        self._menu = TransferMenu(self, actions, nodes)
        self._before_reset = ""
        self._measuring = QTimer(
            self, singleShot=True
        )  # once for all rows that are opened or inserted together
        self._measuring.timeout.connect(self._measure_or_not)
        self._changed: set[int] = set()  # columns that have to be painted
        self._painting = QTimer(self, singleShot=True, interval=PAINT_MS)
        self._painting.timeout.connect(self._paint_changed)
        self.setModel(model)
        self.columns = TransferHeader(theme, self)
        self.setHeader(self.columns)
        self._delegate = TransferDelegate(theme, self)
        self.setItemDelegate(self._delegate)
        self._ends = RowEndPainter(theme, self.columns, self._delegate)
        bind_text(self, self.setAccessibleName, lambda: self.tr("Transfers"))
        self._set_up_view()
        self.header().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self.setSortingEnabled(True)
        self.header().setSortIndicator(TransferColumn.STARTED, Qt.SortOrder.DescendingOrder)
        self.sortByColumn(TransferColumn.STARTED, Qt.SortOrder.DescendingOrder)
        for column, spec in COLUMNS.items():
            self.columns.setSectionHidden(column, spec.hidden)
        self.columns.arranged.connect(self._arrange)
        self._ticking = QTimer(self, interval=TICK_MS)
        self._ticking.timeout.connect(model.tick)
        model.modelAboutToBeReset.connect(self._remember_current)
        model.modelReset.connect(self._rows_changed)
        model.modelReset.connect(self._select_again)
        model.rowsInserted.connect(self._rows_changed)
        model.rowsRemoved.connect(self._rows_changed)
        model.rowsRemoved.connect(self._select_current)
        self.expanded.connect(self._measure_soon)
        self.collapsed.connect(self._measure_soon)
        self._arrange()
        self._rows_changed()
        Retranslator(self, model.retranslate)

    def _set_up_view(self) -> None:
        self.setIndentation(0)
        self.setRootIsDecorated(False)
        self.setProperty("kind", "plain")
        self.setFrameShape(QTreeView.Shape.NoFrame)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        # Rows have two heights; scrolling by pixels would measure all 10,000 of them after every insertion.
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerItem)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.setMouseTracking(True)
        self.setAnimated(False)

    # --- what the window calls -------------------------------------------------------------

    def selected_cast(self) -> str:
        """The id of the current cast, or of the one whose delivery is current; "" without one."""
        cast = self.currentIndex().data(CAST_ROLE)
        return cast.cast if isinstance(cast, CastSummary) else ""

    def set_cluster(self, target: str) -> None:
        """The cluster that is in use: casts of other ones are shown with the name of theirs."""
        if target != self._delegate.cluster:
            self._delegate.cluster = target
            self.viewport().update()

    def select_cast(self, cast: str) -> None:
        """Make a cast the current one and show it. Does nothing for an unknown cast."""
        index = self._casts.index_of(cast)
        if index.isValid():
            flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
            self.selectionModel().setCurrentIndex(index, flags)
            self.scrollTo(index)

    def _select_current(self) -> None:
        """Select the current row where none is selected: when rows go, Qt only makes another one current."""
        current, selection = self.currentIndex(), self.selectionModel()
        if current.isValid() and not selection.hasSelection():
            flags = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
            selection.select(current, flags)

    def chosen_casts(self) -> list[CastSummary]:
        """Every cast of which a row is selected, from top to bottom."""
        found = {cast.cast: cast for cast, _ in self._chosen()}
        return list(found.values())

    def chosen_names(self) -> list[str]:
        """The ids of `chosen_casts`."""
        return [cast.cast for cast in self.chosen_casts()]

    def chosen_rows(self) -> dict[str, tuple[str, ...]]:
        """The recipients whose rows are selected, by cast; none where the cast's own row is."""
        found: dict[str, tuple[str, ...]] = {}
        for cast, item in self._chosen():
            nodes = found.get(cast.cast)
            if isinstance(item, DeliverySnapshot) and nodes != ():
                found[cast.cast] = (*(nodes or ()), item.node)
            else:
                found[cast.cast] = ()
        return found

    def _chosen(self) -> list[tuple[CastSummary, CastSummary | DeliverySnapshot]]:
        rows = sorted(self.selectionModel().selectedRows(), key=row_position)
        return [(index.data(CAST_ROLE), index.data(ITEM_ROLE)) for index in rows]

    def context_menu(self, index: QModelIndex) -> QMenu:
        """The menu for a row: only what can be done with it, or with all that are selected."""
        menu = QMenu(self)
        item, cast = index.data(ITEM_ROLE), index.data(CAST_ROLE)
        if isinstance(cast, CastSummary):
            if isinstance(item, DeliverySnapshot):
                self._menu.for_delivery(menu, cast, item)
            else:
                chosen = self.chosen_casts()
                casts = chosen if any(each.cast == cast.cast for each in chosen) else [cast]
                alone = self._casts.deliveries(cast.cast) if len(casts) == 1 else ()
                self._menu.for_casts(menu, casts, alone)
        if clear := self._actions.clear_text():
            menu.addSeparator()
            menu.addAction(clear, self._actions.clear_finished)
        return menu

    # --- looks -----------------------------------------------------------------------------

    def _arrange(self) -> None:
        """Adapt to the columns that are shown."""
        self._ends.arrange(self.columns.shown())
        self._fit_columns()
        self._run_clock()

    def _fit_columns(self) -> None:
        self.columns.fit(self.viewport().width())
        self.viewport().update()

    def _run_clock(self) -> None:
        """Update elapsed times once a second while they are visible."""
        seen = self.isVisible() and not self.columns.isSectionHidden(TransferColumn.ELAPSED)
        if seen and not self._ticking.isActive():
            self._ticking.start()
        elif not seen:
            self._ticking.stop()

    def _remember_current(self) -> None:
        self._before_reset = self.selected_cast()

    def _select_again(self) -> None:
        if self._before_reset:
            self.select_cast(self._before_reset)

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

    def _empty_words(self) -> tuple[str, str]:
        if self._casts.filtered:
            return self.tr("Nothing found"), self.tr("No transfers match by name, node or state.")
        hint = self.tr(
            "Drop files, select recipients and press Send. Progress, speed and hashes of every node"
            " appear here."
        )
        return self.tr("No transfers yet"), hint

    # --- Qt --------------------------------------------------------------------------------

    def dataChanged(self, first: Index, last: Index, roles: Sequence[int] = ()) -> None:
        """Qt would ask for the height of each row in between, which never changes."""
        if QAccessible.isActive():
            super().dataChanged(first, last, roles)
        elif not first.parent().isValid():
            self._paint_soon(range(first.column(), last.column() + 1))
        elif self.isExpanded(first.parent()) and self._sees_below(first.parent()):
            self._paint_soon(TransferColumn)

    def _paint_soon(self, columns: Iterable[int]) -> None:
        """Once for all that a report changes, and not in the turns in which it is taken in."""
        self._changed.update(columns)
        if not self._painting.isActive():
            self._painting.start()

    def _paint_changed(self) -> None:
        header, height = self.header(), self.viewport().height()
        for column in self._changed:
            if width := header.sectionSize(column):
                self.viewport().update(header.sectionViewportPosition(column), 0, width, height)
        self._changed.clear()

    def _sees_below(self, parent: QModelIndex) -> bool:
        """Whether a row of this one's deliveries is on the screen."""
        places = range(0, self.viewport().height(), SUB_ROW)
        return any(self.indexAt(QPoint(0, y)).parent() == parent for y in places)

    def drawRow(self, painter: QPainter, options: QStyleOptionViewItem, index: Index) -> None:
        rect: QRect = options.rect
        painter.save()
        row = self.model().index(index.row(), 0, index.parent())
        self._paint_background(painter, rect, row)
        painter.restore()
        super().drawRow(painter, options, index)
        item = index.data(ITEM_ROLE)
        if isinstance(item, DeliverySnapshot):
            painter.save()
            self._ends.paint(painter, rect, index.data(CAST_ROLE), item)
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
        if left and self._on_retry(index, event.position()):
            self._actions.retry_to(index.data(CAST_ROLE).cast, (item.node,))
            return
        on_hash = index.column() in self._delegate.at_end or index.column() == TransferColumn.HASH
        if left and isinstance(item, DeliverySnapshot) and on_hash and item.hash:
            copy(item.hash)

    def _on_retry(self, index: QModelIndex, place: QPointF) -> bool:
        item = index.data(ITEM_ROLE)
        if not isinstance(item, DeliverySnapshot):
            return False
        return self._ends.retry_at(self.visualRect(index), index.data(CAST_ROLE), item, place)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        index = self.indexAt(event.position().toPoint())
        self._hover(index)
        hand = self._on_retry(index, event.position())
        self.viewport().setCursor(Qt.CursorShape.PointingHandCursor if hand else Qt.CursorShape.ArrowCursor)

    def _hover(self, index: QModelIndex) -> None:
        if index.siblingAtColumn(0) != self._hovered:
            self._hovered = index.siblingAtColumn(0)
            self.viewport().update()

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._hover(QModelIndex())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        self._keyboard_used = True
        if event.key() == Qt.Key.Key_Delete:
            self._actions.cancel(self.chosen_names())
            return
        plain = not event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and plain and self.selected_cast():
            self._actions.details_wanted.emit(self.selected_cast())
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
        place = self.visualRect(index).bottomLeft() + QPoint(EDGE, 0) if by_key else event.pos()
        open_menu(menu, self.viewport().mapToGlobal(place), self)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit_columns()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._run_clock()

    def paintEvent(self, event: QPaintEvent) -> None:
        self._delegate.region = event.region()
        super().paintEvent(event)
        self._delegate.region = None
        if not self._casts.rowCount():
            words, hint = self._empty_words()
            paint_no_rows(self.viewport(), self._theme.palette, "arrow-left-right", words, hint)


SHOW_MS = 15
"""Delay from a change of the shown cast until it is shown, in a turn of the event loop of its own."""


class ShownCast(QObject):
    """The cast that graph and status bar show: the one that is selected in the table.

    Passes changed casts on to the model, and selects a cast that was accepted. Signal: `changed(str)` when
    the shown cast has changed, once for a summary and the deliveries that follow it.
    """

    changed = Signal(str)

    def __init__(self, transfers: TransferModel, table: TransferTable, parent: QObject) -> None:
        super().__init__(parent)
        self._transfers, self._table = transfers, table
        self._expected = ""  # a cast that was accepted and is to be selected
        self._timer = QTimer(self, singleShot=True, interval=SHOW_MS)
        self._timer.timeout.connect(self._emit)

    def select_newest(self, casts: tuple[CastSummary, ...]) -> None:
        """Select the newest of these casts, unless one is selected."""
        if not self._table.selected_cast() and casts:
            self._table.select_cast(max(casts, key=lambda cast: cast.started).cast)

    def expect(self, cast: str) -> None:
        """Select a cast that was accepted, now or when it is told."""
        self._expected = cast
        summary = self._transfers.summary(cast)
        if summary is not None:
            self.apply_summary(summary)

    def apply_summary(self, summary: CastSummary) -> None:
        """A cast that is new or has changed."""
        self._transfers.apply_summary(summary)
        expected = summary.cast == self._expected
        if expected:
            self._expected = ""
        if expected or not (self._table.selected_cast() or summary.state.finished):
            self._table.select_cast(summary.cast)  # also of a script, where nothing else is shown
        self._note_change(summary.cast)

    def apply_deliveries(self, cast: str, deliveries: tuple[DeliverySnapshot, ...]) -> None:
        """Deliveries of a cast that are new or have changed."""
        self._transfers.apply_deliveries(cast, deliveries)
        self._note_change(cast)

    def _note_change(self, cast: str) -> None:
        if cast == self._table.selected_cast():
            self._timer.start()

    def _emit(self) -> None:
        self.changed.emit(self._table.selected_cast())
