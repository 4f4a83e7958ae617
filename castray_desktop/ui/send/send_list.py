"""The send list: entries, their sizes as far as known, the list view, and the area to drop files on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePath
from typing import Any

from PySide6.QtCore import (
    QAbstractItemModel,
    QAbstractListModel,
    QCoreApplication,
    QEvent,
    QModelIndex,
    QPoint,
    QRect,
    QRectF,
    QSize,
    Qt,
    Signal,
    SignalInstance,
)
from PySide6.QtGui import (
    QColor,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHBoxLayout,
    QListView,
    QMenu,
    QPushButton,
    QSizePolicy,
    QSpacerItem,
    QStackedLayout,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from castray_desktop.core.content.file_names import display_name
from castray_desktop.core.content.urls import is_url, url_file_name
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import PathSummary
from castray_desktop.ui.i18n.failure_text import failure_text, reason_text
from castray_desktop.ui.i18n.language import Retranslator, Text
from castray_desktop.ui.i18n.number_format import format_bytes, format_count
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import (
    INNER_RADIUS,
    IconLabel,
    Rule,
    bind_text,
    button,
    label,
    lay_in,
    paint_icon,
    set_name,
)
from castray_desktop.ui.widgets.painting import RIGHT, icon, metrics, paint_text
from castray_desktop.ui.widgets.popups import open_menu
from castray_desktop.ui.widgets.text_table import Index

ROW_HEIGHT = 32
REMOVE_WIDTH = 24
ROOT = QModelIndex()

_ICONS = {
    ".json": "file-json",
    ".tar": "archive",
    ".gz": "archive",
    ".zst": "archive",
    ".zip": "archive",
    ".xz": "archive",
    ".safetensors": "box",
    ".gguf": "box",
    ".bin": "box",
    ".pt": "box",
    ".onnx": "box",
}


@dataclass(frozen=True)
class SendEntry:
    """One file or folder to send; `summary` is missing until the engine has counted it."""

    path: str
    summary: PathSummary | None = None

    @property
    def name(self) -> str:
        return (
            display_name(url_file_name(self.path))
            if is_url(self.path)
            else PurePath(self.path).name or self.path
        )

    @property
    def failure(self) -> Failure | None:
        return self.summary.failure if self.summary is not None else None

    @property
    def folder(self) -> bool:
        return self.summary is not None and self.summary.folder

    @property
    def busy(self) -> bool:
        """Whether its server does not say yet what it is, which keeps nobody from sending it."""
        return self.failure is not None and self.failure.kind is FailureKind.SERVER_BUSY

    @property
    def icon(self) -> str:
        if self.failure is not None and not self.busy:
            return "triangle-alert"
        return "folder" if self.folder else _ICONS.get(PurePath(self.name).suffix.lower(), "file")


class SendList(QAbstractListModel):
    """The entries in the order in which they were added, each path once.

    `rowsInserted`, `rowsRemoved`, `modelReset` and `dataChanged` tell about changes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[SendEntry] = []

    def paths(self) -> tuple[str, ...]:
        return tuple(entry.path for entry in self._entries)

    def measure_again(self) -> None:
        """Forget all sizes, so that they are measured again."""
        self._entries = [SendEntry(entry.path) for entry in self._entries]
        if self._entries:
            self.dataChanged.emit(self.index(0), self.index(len(self._entries) - 1))

    def unmeasured(self) -> tuple[str, ...]:
        return tuple(entry.path for entry in self._entries if entry.summary is None)

    @property
    def files(self) -> int:
        return sum(entry.summary.files for entry in self._entries if entry.summary is not None)

    @property
    def bytes(self) -> int:
        return sum(entry.summary.bytes for entry in self._entries if entry.summary is not None)

    def broken(self) -> SendEntry | None:
        """The first entry that can't be sent."""
        broken = (entry for entry in self._entries if entry.failure is not None and not entry.busy)
        return next(broken, None)

    def busy(self) -> tuple[SendEntry, ...]:
        """The entries whose size is not known yet, since their servers are busy."""
        return tuple(entry for entry in self._entries if entry.busy)

    def add(self, paths: Iterable[str]) -> bool:
        """Append what is not there yet; says whether anything was new."""
        known = set(self.paths())
        fresh = [path for path in dict.fromkeys(map(_plain, paths)) if path and path not in known]
        if not fresh:
            return False
        first = len(self._entries)
        self.beginInsertRows(ROOT, first, first + len(fresh) - 1)
        self._entries.extend(SendEntry(path) for path in fresh)
        self.endInsertRows()
        return True

    def remove(self, row: int) -> None:
        if 0 <= row < len(self._entries):
            self.beginRemoveRows(ROOT, row, row)
            del self._entries[row]
            self.endRemoveRows()

    def clear(self) -> None:
        if self._entries:
            self.beginResetModel()
            self._entries.clear()
            self.endResetModel()

    def measured(self, paths: Sequence[str], summaries: Sequence[PathSummary]) -> None:
        """Take over what the engine counted for these paths."""
        found = dict(zip(paths, summaries, strict=False))
        for row, entry in enumerate(self._entries):
            if entry.path in found:
                self._entries[row] = replace(entry, summary=found[entry.path])
        if self._entries:
            self.dataChanged.emit(self.index(0), self.index(len(self._entries) - 1))

    def entry(self, index: Index) -> SendEntry:
        return self._entries[index.row()]

    def rowCount(self, parent: Index = ROOT) -> int:
        return 0 if parent.isValid() else len(self._entries)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        entry = self.entry(index)
        if role == Qt.ItemDataRole.DisplayRole:
            return entry.name
        if role == Qt.ItemDataRole.ToolTipRole:
            return failure_text(entry.failure) if entry.failure is not None else entry.path
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return ", ".join(word for word in (entry.name, count_text(entry), size_text(entry)) if word)
        return None


def _plain(path: str) -> str:
    return path if is_url(path) else path.rstrip("/") or path


def size_text(entry: SendEntry) -> str:
    """The size column."""
    if entry.summary is None:
        return "…"
    if entry.failure is not None:
        return reason_text(entry.failure)
    return format_bytes(entry.summary.bytes)


def count_text(entry: SendEntry) -> str:
    """How many files a folder holds."""
    if entry.summary is None or not entry.folder or entry.failure is not None:
        return ""
    return files_text(entry.summary.files)


def files_text(count: int) -> str:
    """ "1 file", "14 files"."""
    translate = QCoreApplication.translate
    text = translate("SendList", "{count} file") if count == 1 else translate("SendList", "{count} files")
    return text.format(count=format_count(count))


class SendListView(QListView):
    """The rows: icon, name, count, size, and a cross that removes; Delete removes too."""

    def __init__(self, theme: Theme, model: SendList) -> None:
        super().__init__()
        self._model = model
        self.setModel(model)
        self.setItemDelegate(SendListDelegate(theme, self))
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setUniformItemSizes(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setProperty("kind", "plain")
        self.setMouseTracking(True)
        self.setAcceptDrops(False)
        bind_text(self, self.setAccessibleName, lambda: self.tr("What will be sent"))

    def sizeHint(self) -> QSize:
        return QSize(200, 3 * ROW_HEIGHT)

    def minimumSizeHint(self) -> QSize:
        return QSize(120, ROW_HEIGHT)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace) and self.currentIndex().isValid():
            self._model.remove(self.currentIndex().row())
            return
        super().keyPressEvent(event)


class SendListDelegate(QStyledItemDelegate):
    """Paints a row and removes it when its cross is clicked."""

    def __init__(self, theme: Theme, view: SendListView) -> None:
        super().__init__(view)
        self._theme = theme

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(100, ROW_HEIGHT)

    def cross(self, row: QRect) -> QRect:
        """Where the cross of a row is."""
        return QRect(row.right() - REMOVE_WIDTH + 1, row.top() + 4, REMOVE_WIDTH, REMOVE_WIDTH)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        model = index.model()
        if not isinstance(model, SendList):
            return
        entry, rect, palette = model.entry(index), QRect(option.rect), self._theme.palette
        painter.save()
        if option.state & QStyle.StateFlag.State_HasFocus:
            painter.fillRect(rect, self._theme.color("hover"))
        bad = entry.failure is not None
        icon = QRect(rect.left(), rect.top(), 16, rect.height())
        paint_icon(painter, icon, entry.icon, palette.warn_fill if bad else palette.accent, 16)
        paint_icon(painter, self.cross(rect), "x", palette.text_2, 14)
        texts = QRectF(rect.adjusted(24, 0, -REMOVE_WIDTH - 7, 0))
        tone = palette.warn if bad else palette.text_2
        size_width = paint_text(painter, texts, size_text(entry), tone, 12, align=RIGHT, tabular=True)
        texts.setRight(texts.right() - size_width - 8)
        count, name = count_text(entry), entry.name + ("/" if entry.folder else "")
        count_width = metrics(12).horizontalAdvance(count) + 8 if count else 0
        name_rect = texts.adjusted(0, 0, -count_width, 0)
        middle = Qt.TextElideMode.ElideMiddle
        name_width = paint_text(painter, name_rect, name, palette.text, 13, 500, elide=middle)
        texts.setLeft(texts.left() + round(name_width) + 8)
        paint_text(painter, texts, count, palette.text_2, 12, tabular=True)
        painter.restore()

    def editorEvent(
        self, event: QEvent, model: QAbstractItemModel, option: QStyleOptionViewItem, index: Index
    ) -> bool:
        if not isinstance(model, SendList) or event.type() != QEvent.Type.MouseButtonRelease:
            return False
        assert isinstance(event, QMouseEvent)
        if self.cross(QRect(option.rect)).contains(event.position().toPoint()):
            model.remove(index.row())
            return True
        return False


MIN_HEIGHT = 108  # the invitation without its picture; Chinese lines are higher than English ones
LOW_HEIGHT = 74  # without its second line, too: on a small screen, so that no field below is cut
INVITATION_FROM = 150
PICTURE_FROM = 164


class DropArea(QWidget):
    """Shows `SendList`. Signals: `files_wanted()`, `folder_wanted()` when the user wants to browse,
    `url_wanted()` to enter an address; `invitation_changed(bool)`: whether there is room for *browse* below
    the list.
    """

    files_wanted = Signal()
    folder_wanted = Signal()
    url_wanted = Signal()
    invitation_changed = Signal(bool)

    def __init__(self, theme: Theme, entries: SendList) -> None:
        super().__init__()
        self._theme = theme
        self._entries = entries
        self._hovered = False
        self._compact = False
        self.view = SendListView(theme, entries)
        self._files = label("", 12, 400, "2", tabular=True)
        self._bytes = label("", 13, 600, tabular=True)
        self.setMinimumHeight(MIN_HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self._stack = QStackedLayout(self)
        self._picture = IconLabel(theme, "file-down", "accent", 24, side=48, tile="card")
        self._picture_gap = QSpacerItem(0, 10)
        self.browse = self._browse_button()
        self._invitation = QWidget()
        self._stack.addWidget(self._empty_page())
        self._stack.addWidget(self._list_page())
        for signal in (entries.rowsInserted, entries.rowsRemoved, entries.modelReset, entries.dataChanged):
            signal.connect(self._show_entries)
        Retranslator(self, self._show_entries)

    def set_hovered(self, hovered: bool) -> None:
        """Whether a drag that would land here is over the window."""
        if hovered != self._hovered:
            self._hovered = hovered
            self.update()

    @property
    def inviting(self) -> bool:
        """Whether *browse* is shown below the list."""
        return not self._invitation.isHidden()

    def set_compact(self, compact: bool) -> None:
        """Without picture and invitation where there is little room."""
        self._compact = compact
        self.setMinimumHeight(LOW_HEIGHT if compact else MIN_HEIGHT)
        self._fit()

    def _fit(self) -> None:
        """The picture goes before a word does, the invitation before a row does."""
        pictured = not self._compact and self.height() >= PICTURE_FROM
        self._picture.setVisible(pictured)
        self._picture_gap.changeSize(0, 10 if pictured else 0)
        self._anywhere.setVisible(self.height() >= MIN_HEIGHT)
        room = not self._compact and self.height() >= INVITATION_FROM
        if room is self._invitation.isHidden():
            self._invitation.setVisible(room)
            self.invitation_changed.emit(room)

    def _empty_page(self) -> QWidget:
        page = QWidget()
        adding = (
            self._add_button(
                lambda: self.tr("Files"), lambda: self.tr("Add files"), "file-plus", self.files_wanted
            ),
            self._add_button(
                lambda: self.tr("Folder"), lambda: self.tr("Add folder"), "folder-plus", self.folder_wanted
            ),
            self._add_button(
                lambda: self.tr("URL"), lambda: self.tr("Add from URL"), "link", self.url_wanted
            ),
        )
        buttons = lay_in(QHBoxLayout(), None, *adding, None, spacing=8)
        center = Qt.AlignmentFlag.AlignHCenter
        column = lay_in(QVBoxLayout(page), None, spacing=0, margins=(8, 6, 8, 6))
        column.addWidget(self._picture, 0, center)
        column.addItem(self._picture_gap)
        column.addWidget(label(lambda: self.tr("Drop files or folders here"), 14, 600), 0, center)
        column.addSpacing(2)
        self._anywhere = label(lambda: self.tr("or anywhere in this window"), 12, 400, "2")
        column.addWidget(self._anywhere, 0, center)
        lay_in(column, 12, buttons, None)
        return page

    def _add_button(self, text: Text, name: Text, icon_name: str, wanted: SignalInstance) -> QPushButton:
        """A button with a short text, so that three of them fit side by side."""
        add = button(self._theme, text, icon_name)
        bind_text(add, partial(set_name, add), name)
        add.clicked.connect(wanted)
        return add

    def _list_page(self) -> QWidget:
        page = QWidget()
        body = lay_in(QVBoxLayout(), (self.view, 1), spacing=0, margins=(12, 0, 7, 0))
        more = label(lambda: self.tr("Drop more files or folders, or"), 12, 400, "2")
        invite = QHBoxLayout(self._invitation)
        lay_in(invite, None, more, self.browse, None, spacing=4, margins=(0, 2, 0, 6))
        self._files.setFixedHeight(30)
        total = lay_in(QHBoxLayout(), self._files, None, self._bytes, margins=(12, 0, 12 + 24, 0))
        parts = ((body, 1), self._invitation, Rule(self._theme), total)
        lay_in(QVBoxLayout(page), *parts, spacing=0, margins=(1, 4, 1, 1))
        return page

    def _browse_button(self) -> QPushButton:
        browse = button(self._theme, lambda: self.tr("browse"), kind="link", height=20)
        bind_text(browse, browse.setAccessibleName, lambda: self.tr("Browse for files or folders"))
        browse.clicked.connect(lambda: self.open_menu(browse))
        return browse

    def open_menu(self, below: QWidget) -> None:
        """The choice between files and a folder, below a widget."""
        menu = QMenu(self)
        color = self._theme.palette.text_2
        menu.addAction(icon("file-plus", color), self.tr("Add files…"), self.files_wanted.emit)
        menu.addAction(icon("folder-plus", color), self.tr("Add folder…"), self.folder_wanted.emit)
        menu.addAction(icon("link", color), self.tr("Add from URL…"), self.url_wanted.emit)
        open_menu(menu, below.mapToGlobal(QPoint(0, below.height() + 4)), below)

    def _show_entries(self) -> None:
        entries = self._entries
        self._stack.setCurrentIndex(1 if entries.rowCount() else 0)
        waiting, busy = bool(entries.unmeasured()), bool(entries.busy())
        unknown = self.tr("Counting…") if waiting else self.tr("Size not known yet") if busy else ""
        self._files.setText(unknown or files_text(entries.files))
        self._bytes.setText("…" if unknown else format_bytes(entries.bytes))
        self.update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def paintEvent(self, event: QPaintEvent) -> None:
        palette = self._theme.palette
        inviting = self._hovered or not self._entries.rowCount()
        fill = palette.accent_soft if inviting else palette.inset
        line = palette.accent if self._hovered else palette.accent_line if inviting else palette.line_strong
        width = 2.0 if self._hovered else 1.5
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        pen = QPen(QColor(line), width)
        pen.setDashPattern([4 / width, 3 / width])
        pen.setCapStyle(Qt.PenCapStyle.FlatCap)
        painter.setPen(pen)
        painter.setBrush(QColor(fill))
        half = width / 2
        inner = QRectF(self.rect()).adjusted(half, half, -half, -half)
        painter.drawRoundedRect(inner, INNER_RADIUS - half, INNER_RADIUS - half)
