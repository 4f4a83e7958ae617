"""The card with the recipients as a check list; the accessible equal of the node graph.

Ticks go to the shared `RecipientSelection`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from PySide6.QtCore import QEvent, QModelIndex, QPoint, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QContextMenuEvent,
    QFocusEvent,
    QIcon,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLineEdit,
    QListView,
    QMenu,
    QSizePolicy,
    QSpacerItem,
    QVBoxLayout,
    QWidget,
)

from castray_desktop.ui.clusters.join_hint import JoinHint
from castray_desktop.ui.i18n.language import Retranslator
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.model.recipient_selection import RecipientSelection
from castray_desktop.ui.recipients.group_bar import GroupBar, GroupStore
from castray_desktop.ui.recipients.recipient_model import (
    ROW,
    RecipientDelegate,
    RecipientModel,
    RecipientOrder,
)
from castray_desktop.ui.theme.theme import Theme, mix
from castray_desktop.ui.widgets.basic_widgets import Badge, Card, Rule, bind_text, button, label, lay_in
from castray_desktop.ui.widgets.fields import SegmentedButtons
from castray_desktop.ui.widgets.painting import CENTRE, face, icon, paint_text, paint_wrapped
from castray_desktop.ui.widgets.popups import add_choice, open_menu

AGES_MS = 30_000
GHOSTS = ((96, 72, 1.0), (80, 56, 0.8), (104, 72, 0.55), (88, 60, 0.35))
NARROW = 280


class RecipientList(QListView):
    """The list itself: a click anywhere on a row, or Space, ticks it.

    Signals: `menu_requested(str node, QPoint on the screen)`; `facts_requested(str node)` when Enter was
    pressed on a row.
    """

    menu_requested = Signal(str, QPoint)
    facts_requested = Signal(str)

    def __init__(
        self, theme: Theme, model: RecipientModel, selection: RecipientSelection, parent: QWidget
    ) -> None:
        super().__init__(parent)
        self._theme, self._rows, self._selection = theme, model, selection
        self.searching = False
        self.setModel(model)
        self._painter = RecipientDelegate(theme, model, self)
        self.setItemDelegate(self._painter)
        bind_text(self, self.setAccessibleName, lambda: self.tr("Recipients"))
        self.setUniformItemSizes(True)
        self.setMouseTracking(True)
        self.setFrameShape(QListView.Shape.NoFrame)
        self.setSelectionMode(QListView.SelectionMode.NoSelection)
        self.setEditTriggers(QListView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setProperty("kind", "plain")

    def toggle(self, index: QModelIndex) -> None:
        """Tick a row, or no longer."""
        if index.isValid():
            ticked = index.data(Qt.ItemDataRole.CheckStateRole) is Qt.CheckState.Checked
            wanted = Qt.CheckState.Unchecked if ticked else Qt.CheckState.Checked
            self.model().setData(index, wanted, Qt.ItemDataRole.CheckStateRole)

    def _paint_empty(self) -> None:
        palette = self._theme.palette
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        width = self.viewport().width()
        room = self.viewport().height()
        rows = len(GHOSTS) if room >= len(GHOSTS) * ROW + 80 else max(0, (room - 80) // ROW)
        for row, (name, address, strength) in enumerate(GHOSTS[:rows]):
            painter.setBrush(mix(palette.card, palette.track, strength))
            y = row * ROW
            painter.drawRoundedRect(QRectF(16, y + 16, 16, 16), 4, 4)
            painter.drawEllipse(QRectF(42, y + 18, 12, 12))
            painter.drawRoundedRect(QRectF(64, y + 14, name, 8), 4, 4)
            painter.drawRoundedRect(QRectF(64, y + 28, address, 6), 3, 3)
            painter.drawRoundedRect(QRectF(width - 72, y + 21, 56, 6), 3, 3)
        top = rows * ROW + 18
        if self.searching:
            title, hint = self.tr("Nothing found"), self.tr("No node has this name, address or label.")
        else:
            title = self.tr("No nodes yet")
            hint = self.tr("The nodes of the cluster appear here for you to select.")
        paint_text(painter, QRectF(16, top, width - 32, 20), title, palette.text, 13, 600, CENTRE)
        paint_wrapped(painter, QRectF(20, top + 22, width - 40, 60), hint, palette.text_2)
        painter.end()

    # --- Qt --------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._painter.show_focus = False
        super().mousePressEvent(event)
        if event.button() is Qt.MouseButton.LeftButton:
            self.toggle(self.indexAt(event.position().toPoint()))

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.mousePressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        tab = (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason)
        self._painter.show_focus = event.reason() in tab
        super().focusInEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        self._painter.show_focus = True
        if event.key() == Qt.Key.Key_Space:
            self.toggle(self.currentIndex())
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            if self.currentIndex().isValid():
                self.facts_requested.emit(self._rows.names()[self.currentIndex().row()])
        elif event.matches(QKeySequence.StandardKey.SelectAll):
            self._selection.select_all()
        elif event.key() == Qt.Key.Key_Escape:
            self._selection.clear()
        else:
            super().keyPressEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        by_key = event.reason() is QContextMenuEvent.Reason.Keyboard
        index = self.currentIndex() if by_key else self.indexAt(event.pos())
        if index.isValid():
            place = self.visualRect(index).center() if by_key else event.pos()
            name = self._rows.names()[index.row()]
            self.menu_requested.emit(name, self.viewport().mapToGlobal(place))

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self._rows.rowCount():
            self._paint_empty()

    def viewportEvent(self, event: QEvent) -> bool:
        if event.type() is QEvent.Type.Leave:
            self.viewport().update()
        return super().viewportEvent(event)


class RecipientPicker(Card):
    """Title, search, buttons, groups, and the list."""

    def __init__(
        self,
        theme: Theme,
        nodes: NodeList,
        selection: RecipientSelection,
        groups: GroupStore,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(theme)
        self._selection = selection
        self.model = RecipientModel(nodes, selection, now)
        self.model.setParent(self)
        self.list = RecipientList(theme, self.model, selection, self)
        self.groups = GroupBar(theme, nodes, selection, groups)
        self.join_hint = JoinHint(theme)
        self._build(theme)
        self.search.textChanged.connect(self._search_changed)
        self._pick.pressed.connect(self._pick_pressed)
        selection.changed.connect(self._refresh)
        nodes.changed.connect(self._refresh)
        theme.changed.connect(self._restyle)
        self._ages = QTimer(self, interval=AGES_MS)
        self._ages.timeout.connect(self.list.viewport().update)
        self._ages.start()
        self.setMinimumSize(248, 240)
        self._restyle()
        Retranslator(self, self._retranslate)

    def _retranslate(self) -> None:
        self._label_sort_button()
        self.model.retranslate()
        self._refresh()

    def _build(self, theme: Theme) -> None:
        self.badge = Badge(theme)
        self.search = QLineEdit(self)
        bind_text(self.search, self.search.setPlaceholderText, lambda: self.tr("Name, address or label"))
        bind_text(self.search, self.search.setAccessibleName, lambda: self.tr("Search recipients"))
        self.search.setFixedHeight(32)
        self.search.setFont(face(13))
        self.search.setClearButtonEnabled(True)
        self._search_icon = self.search.addAction(QIcon(), QLineEdit.ActionPosition.LeadingPosition)
        bind_text(self.search, self._search_icon.setText, lambda: self.tr("Search recipients"))
        self._pick = SegmentedButtons(
            theme,
            [
                (lambda: self.tr("All"), lambda: self.tr("Select all nodes")),
                (lambda: self.tr("None"), lambda: self.tr("Select no nodes")),
                (lambda: self.tr("Invert"), lambda: self.tr("Invert the selection")),
            ],
        )
        self.sort_button = button(theme, "", "arrow-up-down")
        bind_text(
            self.sort_button, self.sort_button.setAccessibleName, lambda: self.tr("Sort the recipients")
        )
        bind_text(self.sort_button, self.sort_button.setToolTip, lambda: self.tr("Sort"))
        self.sort_button.clicked.connect(self._show_sort_menu)
        self._line = Rule(theme)
        lay_in(
            QVBoxLayout(self),
            _row(48, label(lambda: self.tr("Recipients"), 14, 600), None, self.badge),
            _row(32, self.search),
            8,
            _row(28, (self._pick, 1), self.sort_button, self.groups.save_button),
            8,
            self.groups,
            self._line,
            (self.list, 1),
            self.join_hint,
            spacing=0,
            margins=(1, 0, 1, 8),
        )

    def set_order(self, order: RecipientOrder) -> None:
        """Sort the rows by this."""
        self.model.set_order(order)
        self._label_sort_button()

    def _label_sort_button(self) -> None:
        words = {
            RecipientOrder.NAME: self.tr("Name"),
            RecipientOrder.FREE_ROOM: self.tr("Space"),
            RecipientOrder.LOAD: self.tr("Load"),
        }
        self.sort_button.setText("" if self.width() < NARROW else words[self.model.order])

    def _show_sort_menu(self) -> None:
        menu = QMenu(self)
        words = {
            RecipientOrder.NAME: self.tr("Name"),
            RecipientOrder.FREE_ROOM: self.tr("Most free space"),
            RecipientOrder.LOAD: self.tr("Least load"),
        }
        for order, word in words.items():
            add_choice(menu, word, partial(self.set_order, order), chosen=order is self.model.order)
        below = self.sort_button.mapToGlobal(self.sort_button.rect().bottomLeft())
        open_menu(menu, below, self.sort_button)

    def _search_changed(self, text: str) -> None:
        self.list.searching = bool(text.strip())
        self.model.set_filter(text)
        self.list.viewport().update()

    def _pick_pressed(self, which: int) -> None:
        """Make the buttons apply to the shown nodes only, during a search."""
        selected = self._selection.selected()
        shown = frozenset(self.model.names()) if self.list.searching else self._selection.recipients()
        wanted = (selected | shown, selected - shown, selected ^ shown)[which]
        if which == 1 and not self.list.searching:
            self._selection.clear()
        else:
            self._selection.set_selected(wanted)

    def _refresh(self) -> None:
        chosen, total = len(self._selection.selected()), len(self._selection.recipients())
        text = self.tr("{chosen} of {total}").format(chosen=chosen, total=total) if total else ""
        self.badge.set_text(text)
        for widget in (self._pick, self.sort_button, self.groups.save_button, self._line):
            widget.setVisible(total > 0)

    def _restyle(self) -> None:
        self._search_icon.setIcon(icon("search", self._theme.palette.text_2, 16))

    # --- Qt --------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._label_sort_button()

    def sizeHint(self) -> QSize:
        return QSize(304, 472)


def _row(height: int, *parts: QWidget | tuple[QWidget, int] | None) -> QHBoxLayout:
    """The parts side by side between the card's paddings, as `lay_in` takes them."""
    row = lay_in(QHBoxLayout(), *parts, spacing=8, margins=(15, 0, 15, 0))
    row.addSpacerItem(QSpacerItem(0, height, QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed))
    return row
