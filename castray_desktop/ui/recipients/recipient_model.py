"""The rows of the recipient list: model, filter and order, and the delegate that paints them."""

from __future__ import annotations

import enum
from collections.abc import Callable

from PySide6.QtCore import QAbstractListModel, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPen
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from castray_desktop.core.protocol.messages import NodeInfo, NodeState
from castray_desktop.ui.i18n.number_format import format_ago, format_bytes
from castray_desktop.ui.model.node_list import NodeList, glyph_word, node_glyph
from castray_desktop.ui.model.recipient_selection import RecipientSelection
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.fields import paint_tick_box
from castray_desktop.ui.widgets.painting import RIGHT, paint_bar, paint_text
from castray_desktop.ui.widgets.status_glyphs import GlyphState, paint_glyph
from castray_desktop.ui.widgets.text_table import NO_PARENT, Index

NODE_ROLE = Qt.ItemDataRole.UserRole + 1
"""The `NodeInfo` of a row."""
GLYPH_ROLE = Qt.ItemDataRole.UserRole + 2
"""The `GlyphState` of a row."""
ROW = 48
BUSY = 0.85  # of the processor, above which the load is shown as a warning
LOAD_TEXT_WIDTH = 60


class RecipientOrder(enum.Enum):
    """How the rows are sorted."""

    NAME = "name"
    FREE_ROOM = "free room"
    LOAD = "load"


KEYS: dict[RecipientOrder, Callable[[NodeInfo], float]] = {
    RecipientOrder.NAME: lambda node: 0.0,  # the nodes are sorted by name, and keep that order among equals
    RecipientOrder.FREE_ROOM: lambda node: -node.disk_free,
    RecipientOrder.LOAD: lambda node: node.load,
}


class RecipientModel(QAbstractListModel):
    """One row for each node but the source, that the filter lets through. Ticks go to the selection."""

    def __init__(self, nodes: NodeList, selection: RecipientSelection, now: Callable[[], float]) -> None:
        super().__init__()
        self._nodes, self._selection, self._now = nodes, selection, now
        self._rows: list[NodeInfo] = []
        self._filter = ""
        self.order = RecipientOrder.NAME
        self._glyphs: dict[str, GlyphState] = {}
        self._ticked: frozenset[str] = frozenset()
        self._state_version = -1  # of the nodes, when the glyphs were compared
        nodes.changed.connect(self.refresh)
        nodes.activity_changed.connect(self._refresh_glyphs)
        selection.changed.connect(self._selection_changed)
        self.refresh()

    def set_filter(self, text: str) -> None:
        """Show only nodes whose name, address, zone or labels hold every word of `text`."""
        self._filter = text.casefold()
        self.refresh()

    def set_order(self, order: RecipientOrder) -> None:
        """Sort by this; names decide among equals."""
        self.order = order
        self.refresh()

    def retranslate(self) -> None:
        """Repaint every row after a change of the language."""
        if self._rows:
            self.dataChanged.emit(self.index(0), self.index(len(self._rows) - 1))

    def names(self) -> list[str]:
        """The nodes shown, in order."""
        return [node.name for node in self._rows]

    def refresh(self) -> None:
        """Take over the nodes. Rows that stay where they are keep their place in the view."""
        rows = sorted(filter(self._passes, self._nodes.nodes()), key=KEYS[self.order])
        self._glyphs = {node.name: self._glyph(node) for node in rows}
        if [node.name for node in rows] == self.names():
            changed = [i for i, (old, new) in enumerate(zip(self._rows, rows, strict=True)) if old != new]
            self._rows = rows
            if changed:
                self.dataChanged.emit(self.index(changed[0]), self.index(changed[-1]))
            return
        if len(rows) == len(self._rows) and {n.name for n in rows} == set(self.names()):
            self._reorder(rows)
            return
        self.beginResetModel()
        self._rows = rows
        self.endResetModel()

    def _reorder(self, rows: list[NodeInfo]) -> None:
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        place = {node.name: number for number, node in enumerate(rows)}
        after = [self.createIndex(place[self._rows[index.row()].name], 0) for index in before]
        self._rows = rows
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def _passes(self, node: NodeInfo) -> bool:
        if node.name == self._selection.source:
            return False
        if not self._filter:
            return True
        labels = " ".join(f"{key}={value}" for key, value in node.labels.items())
        text = f"{node.name} {node.address} {node.zone} {labels}".casefold()
        return all(word in text for word in self._filter.split())

    def _glyph(self, node: NodeInfo) -> GlyphState:
        return node_glyph(node, self._nodes.activity(node.name))

    def _refresh_glyphs(self) -> None:
        if self._nodes.state_version == self._state_version:
            return
        self._state_version = self._nodes.state_version
        before, self._glyphs = self._glyphs, {node.name: self._glyph(node) for node in self._rows}
        changed = [row for row, name in enumerate(self._glyphs) if self._glyphs[name] is not before[name]]
        if changed:  # told once: a thousand change when a cast begins
            self.dataChanged.emit(self.index(changed[0]), self.index(changed[-1]), [GLYPH_ROLE])

    def _selection_changed(self) -> None:
        if self._selection.source in self.names() or len(self._rows) < len(self._selection.recipients()):
            self.refresh()
        ticked = self._selection.selected()
        if self._rows and ticked != self._ticked:
            role = Qt.ItemDataRole.CheckStateRole
            self.dataChanged.emit(self.index(0), self.index(len(self._rows) - 1), [role])
        self._ticked = ticked

    # --- Qt --------------------------------------------------------------------------------

    def rowCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self._rows)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if not index.isValid() or index.row() >= len(self._rows):
            return None
        node = self._rows[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return node.name
        if role == NODE_ROLE:
            return node
        if role == GLYPH_ROLE:
            return self._glyphs[node.name]
        if role == Qt.ItemDataRole.CheckStateRole:
            ticked = node.name in self._selection.selected()
            return Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked
        if role == Qt.ItemDataRole.AccessibleTextRole:
            parts = [node.name, node.address, glyph_word(self._glyphs[node.name]), *self.facts(node)]
            return ", ".join(part for part in parts if part)
        if role == Qt.ItemDataRole.ToolTipRole:
            if node.state is NodeState.OFFLINE:
                return self.tr("Offline. If selected, it receives the files when it is back online.")
            return node.inbox or None
        return None

    def setData(self, index: Index, value: object, role: int = Qt.ItemDataRole.EditRole) -> bool:
        if role != Qt.ItemDataRole.CheckStateRole or not index.isValid():
            return False
        name = self._rows[index.row()].name
        # Qt.CheckState or its number: views and screen readers send either.
        wanted = getattr(value, "value", value) == Qt.CheckState.Checked.value
        before = name in self._selection.selected()
        if wanted != before:
            self._selection.toggle(name)
        return (name in self._selection.selected()) == wanted

    def flags(self, index: Index) -> Qt.ItemFlag:
        if not index.isValid() or index.row() >= len(self._rows):
            return Qt.ItemFlag.NoItemFlags
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemNeverHasChildren
        name = self._rows[index.row()].name
        tickable = self._selection.selectable(name) or self._selection.awaitable(name)
        if tickable or name in self._selection.selected():
            flags |= Qt.ItemFlag.ItemIsUserCheckable
        return flags

    def facts(self, node: NodeInfo) -> tuple[str, str]:
        """The two lines at the right of a row: free room and load, or since when it is offline."""
        if node.state is NodeState.OFFLINE:
            seen = self.tr("seen {ago}").format(ago=format_ago(self._now() - node.last_seen))
            return self.tr("Offline"), seen if node.last_seen else ""
        if node.state is NodeState.STARTING:
            return self.tr("Starting…"), ""
        room = self.tr("{size} free").format(size=format_bytes(node.disk_free)) if node.disk_total else ""
        # Beside a disk's free room a share alone would be taken for how full that disk is.
        return room, self.tr("CPU {percent}%").format(percent=round(node.load * 100))


class RecipientDelegate(QStyledItemDelegate):
    """Rows 48 px high: tick box, glyph, name over address; right: room over load."""

    def __init__(self, theme: Theme, model: RecipientModel, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme, self._rows = theme, model
        self.show_focus = False  # the keyboard was used last

    def _paint_facts(self, painter: QPainter, rect: QRectF, node: NodeInfo) -> float:
        """Returns the width taken."""
        palette = self._theme.palette
        first, second = self._rows.facts(node)
        upper = QRectF(rect.x(), rect.y() + 7, rect.width(), 18)
        lower = QRectF(rect.x(), rect.y() + 24, rect.width(), 16)
        online = node.state is NodeState.ONLINE
        color = palette.text_2 if online else palette.text_3
        width = paint_text(painter, upper, first, color, 12, 400, RIGHT, tabular=True)
        if not online:
            return max(width, paint_text(painter, lower, second, palette.text_3, 11, 400, RIGHT))
        busy = node.load > BUSY
        role = palette.warn if busy else palette.text_2
        load_width = paint_text(painter, lower, second, role, 11, 400, RIGHT, tabular=True)
        if rect.width() <= 240:
            return max(width, load_width)
        bar = QRectF(lower.right() - LOAD_TEXT_WIDTH - 48, lower.center().y() - 2, 48, 4)
        paint_bar(painter, bar, node.load, palette.warn_fill if busy else palette.accent, palette.track)
        return max(width, lower.right() - bar.left())

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        palette = self._theme.palette
        node = index.data(NODE_ROLE)
        if not isinstance(node, NodeInfo):
            return
        rect = QRectF(option.rect)
        painter.save()
        if option.state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(rect, QColor(palette.hover))
        painter.fillRect(QRectF(rect.x(), rect.bottom() - 1, rect.width(), 1), QColor(palette.line))
        if self.show_focus and option.state & QStyle.StateFlag.State_HasFocus:
            painter.setPen(QPen(QColor(palette.accent), 2))
            painter.drawRoundedRect(rect.adjusted(3, 2, -3, -3), 6, 6)
        inner = rect.adjusted(16, 0, -16, -1)
        ticked = index.data(Qt.ItemDataRole.CheckStateRole) is Qt.CheckState.Checked
        enabled = bool(index.flags() & Qt.ItemFlag.ItemIsUserCheckable)
        middle = inner.center().y()
        box = QRectF(inner.x(), middle - 8, 16, 16)
        paint_tick_box(painter, box, palette, ticked=ticked, enabled=enabled)
        glyph = index.data(GLYPH_ROLE)
        paint_glyph(painter, QRectF(inner.x() + 26, middle - 7, 14, 14), glyph, palette)
        facts = self._paint_facts(painter, inner, node)
        room = inner.adjusted(48, 0, 0, 0)
        offline = node.state is NodeState.OFFLINE
        name_color = palette.text_3 if offline else palette.text
        name = QRectF(room.x(), room.y() + 6, room.width() - facts - 8, 19)
        address = QRectF(room.x(), room.y() + 24, room.width() - facts - 8, 16)
        paint_text(painter, name, node.name, name_color, 13, 600)
        address_color = palette.text_3 if offline else palette.text_2
        paint_text(painter, address, node.address, address_color, 11, tabular=True)
        painter.restore()

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(100, ROW)
