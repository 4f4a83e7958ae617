"""Tables of text, for pages and sheets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QKeyEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from castray_desktop.ui.i18n.language import Retranslator, Text
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import bind_text
from castray_desktop.ui.widgets.painting import CENTRE, LEFT, RIGHT, metrics, paint_text, paint_wrapped
from castray_desktop.ui.widgets.status_glyphs import GlyphState, paint_glyph

Index = QModelIndex | QPersistentModelIndex

NO_PARENT = QModelIndex()
GLYPH_ROLE = Qt.ItemDataRole.UserRole + 1
"""The `GlyphState` before the text of a cell, or None."""
TONE_ROLE = Qt.ItemDataRole.UserRole + 2
"""The colour role of a cell's text, as named in `theme.Palette`."""
KEY_ROLE = Qt.ItemDataRole.UserRole + 3
"""The object that a row shows."""

ROW, HEADER = 28, 28
PADDING = 8
EDGE = 16
STRETCH_LEAST = 180


class TableCell:
    """A text with a tone, and a glyph before it."""

    __slots__ = ("glyph", "text", "tip", "tone")

    def __init__(self, text: str, tone: str = "text", glyph: GlyphState | None = None, tip: str = "") -> None:
        self.text, self.tone, self.glyph, self.tip = text, tone, glyph, tip


class TextTableModel(QAbstractTableModel):
    """Rows of cells. `numbers` are the columns that are aligned to the right."""

    def __init__(
        self, headings: Sequence[Text], numbers: frozenset[int] = frozenset(), parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._headings, self._numbers = headings, numbers
        self._rows: list[tuple[object, Sequence[TableCell]]] = []

    def set_rows(self, rows: Sequence[tuple[object, Sequence[TableCell]]]) -> None:
        """Replace the rows and their objects. The view keeps its position if the count is the same."""
        if len(rows) == len(self._rows):
            self._rows = list(rows)
            if rows:
                self.dataChanged.emit(self.index(0, 0), self.index(len(rows) - 1, len(self._headings) - 1))
            return
        self.beginResetModel()
        self._rows = list(rows)
        self.endResetModel()

    def retranslate(self) -> None:
        """Announce headings in the new language."""
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, len(self._headings) - 1)

    def cell(self, row: int, column: int) -> TableCell | None:
        """The cell at this place; models that create cells on demand override it."""
        return self._rows[row][1][column]

    def key(self, row: int) -> object:
        """The object that a row shows."""
        return self._rows[row][0]

    # --- Qt --------------------------------------------------------------------------------

    def rowCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self._headings)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if not index.isValid() or index.row() >= self.rowCount():
            return None
        if role == KEY_ROLE:
            return self.key(index.row())
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return RIGHT if index.column() in self._numbers else LEFT
        cell = self.cell(index.row(), index.column())
        if cell is None:
            return None
        match role:
            case Qt.ItemDataRole.DisplayRole | Qt.ItemDataRole.AccessibleTextRole:
                return cell.text
            case Qt.ItemDataRole.ToolTipRole:
                return cell.tip or None
            case int() if role == TONE_ROLE:
                return cell.tone
            case int() if role == GLYPH_ROLE:
                return cell.glyph
        return None

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> object:
        if orientation is not Qt.Orientation.Horizontal or not 0 <= section < len(self._headings):
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self._headings[section]()
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return RIGHT if section in self._numbers else LEFT
        return None


class _Header(QHeaderView):
    """A header in the window's style."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self._theme = theme
        self.setFixedHeight(HEADER)
        self.setSectionsClickable(False)
        self.setMinimumSectionSize(40)
        self.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)

    def paintSection(self, painter: QPainter, rect: QRect, logical: int) -> None:
        palette = self._theme.palette
        painter.save()
        painter.fillRect(rect, QColor(palette.inset))
        painter.fillRect(QRect(rect.left(), rect.bottom(), rect.width(), 1), QColor(palette.line))
        title = str(self.model().headerData(logical, Qt.Orientation.Horizontal))
        align = self.model().headerData(logical, Qt.Orientation.Horizontal, Qt.ItemDataRole.TextAlignmentRole)
        inner = QRectF(rect).adjusted(EDGE if logical == 0 else PADDING, 0, -PADDING, -1)
        paint_text(painter, inner, title, palette.text_3, 11, 500, align)
        painter.restore()


class _Delegate(QStyledItemDelegate):
    """Paints cells in the window's style."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        palette = self._theme.palette
        rect = QRectF(option.rect)
        painter.save()
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(rect, QColor(palette.selected))
        elif option.state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(rect, QColor(palette.hover))
        painter.fillRect(QRectF(rect.x(), rect.bottom() - 1, rect.width(), 1), QColor(palette.line))
        inner = rect.adjusted(EDGE if index.column() == 0 else PADDING, 0, -PADDING, -1)
        glyph = index.data(GLYPH_ROLE)
        if isinstance(glyph, GlyphState):
            paint_glyph(painter, QRectF(inner.x(), inner.center().y() - 6, 12, 12), glyph, palette)
            inner.setLeft(inner.left() + 20)
        align = index.data(Qt.ItemDataRole.TextAlignmentRole)
        tone = index.data(TONE_ROLE)
        color = getattr(palette, tone) if isinstance(tone, str) and tone else palette.text
        text = str(index.data() or "").replace("\n", "  ")
        weight = 500 if index.column() == 0 else 400
        paint_text(
            painter,
            inner,
            text,
            color,
            12,
            weight,
            align,
            tabular=True,
            elide=Qt.TextElideMode.ElideMiddle if index.column() == 0 else Qt.TextElideMode.ElideRight,
        )
        if (
            option.state & QStyle.StateFlag.State_HasFocus
            and option.state & QStyle.StateFlag.State_KeyboardFocusChange
        ):
            painter.setPen(QColor(palette.accent))
            painter.drawRect(rect.adjusted(1, 1, -2, -3))
        painter.restore()


class TextTable(QTableView):
    """A table of rows; `widths` are those of the columns, `stretch` is the column that takes the rest."""

    def __init__(
        self,
        theme: Theme,
        model: TextTableModel,
        name: Text,
        widths: Sequence[int],
        stretch: int,
        empty: Callable[[], tuple[str, str]] = lambda: ("", ""),
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._theme, self._plain, self._empty = theme, model, empty
        self.setModel(model)
        self.setHorizontalHeader(_Header(theme, self))
        self.setItemDelegate(_Delegate(theme, self))
        self._widths, self._stretch = list(widths), stretch
        self.keys: dict[int, Callable[[], object]] = {}  # actions of keys
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.verticalHeader().hide()
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setDefaultSectionSize(ROW)
        self.setShowGrid(False)
        self.setProperty("kind", "plain")
        self.setFrameShape(QTableView.Shape.NoFrame)
        self.setCornerButtonEnabled(False)
        self.setMouseTracking(True)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        bind_text(self, self.setAccessibleName, name)
        Retranslator(self, model.retranslate)

    def set_column_shown(self, column: int, shown: bool) -> None:
        """Show or hide a column; the one that stretches takes its width."""
        if self.isColumnHidden(column) is shown:
            self.setColumnHidden(column, not shown)
            self._fit()

    def current_key(self) -> object:
        """The object of the current row; None without one."""
        return self.currentIndex().data(KEY_ROLE)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        action = self.keys.get(event.key())
        if action is not None:
            action()
        else:
            super().keyPressEvent(event)

    def _fit(self) -> None:
        """Give one column the rest of the width; without enough space all columns shrink."""
        room, header = self.viewport().width(), self.horizontalHeader()
        least = min(self._widths[self._stretch], STRETCH_LEAST)
        shown = [column for column in range(len(self._widths)) if not self.isColumnHidden(column)]
        others = sum(self._widths[column] for column in shown) - self._widths[self._stretch]
        share = min(1.0, max(0, room - least) / others) if others else 1.0
        used = 0
        for column in shown:
            if column != self._stretch:
                width = int(self._widths[column] * share)
                header.resizeSection(column, width)
                used += width
        header.resizeSection(self._stretch, max(40, room - used))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self._plain.rowCount():
            return
        title, hint = self._empty()
        painter = QPainter(self.viewport())
        area = QRectF(self.viewport().rect())
        top = max(8.0, area.center().y() - 34)
        palette = self._theme.palette
        paint_text(painter, QRectF(16, top, area.width() - 32, 22), title, palette.text, 14, 600, CENTRE)
        paint_wrapped(painter, QRectF(16, top + 26, area.width() - 32, 60), hint, palette.text_2)
        painter.end()


def text_width(text: str) -> int:
    """The width of a cell with this text."""
    return round(metrics(12, 400, True).horizontalAdvance(text)) + 2 * PADDING + 2
