"""The inner field of the send panel: an invitation while it is empty, the list of entries otherwise."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QMenu,
    QPushButton,
    QSizePolicy,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from castray_desktop.ui.i18n.number_format import format_bytes
from castray_desktop.ui.i18n.retranslator import Retranslator
from castray_desktop.ui.send.send_list import SendList, SendListView, files_text
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import INNER_RADIUS, IconLabel, Rule, bind_text, button, label
from castray_desktop.ui.widgets.painting import icon

MIN_HEIGHT = 108  # the invitation without its picture; Chinese lines are higher than English ones
INVITATION_FROM = 150
PICTURE_FROM = 164


class DropArea(QWidget):
    """Shows `SendList`. Signals: `files_wanted()`, `folder_wanted()` when the user wants to browse;
    `invitation_changed(bool)`: whether there is room for *browse* below the list.
    """

    files_wanted = Signal()
    folder_wanted = Signal()
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
        self.browse = self._browse_button()
        self._invitation = QWidget()
        self._stack.addWidget(self._empty_page())
        self._stack.addWidget(self._list_page())
        theme.changed.connect(self.update)
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
        self._fit()

    def _fit(self) -> None:
        """The picture goes before a word does, the invitation before a row does."""
        self._picture.setVisible(not self._compact and self.height() >= PICTURE_FROM)
        room = not self._compact and self.height() >= INVITATION_FROM
        if room is self._invitation.isHidden():
            self._invitation.setVisible(room)
            self.invitation_changed.emit(room)

    def _empty_page(self) -> QWidget:
        page = QWidget()
        files = button(self._theme, lambda: self.tr("Add files"), "file-plus")
        files.clicked.connect(self.files_wanted)
        folder = button(self._theme, lambda: self.tr("Add folder"), "folder-plus")
        folder.clicked.connect(self.folder_wanted)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addStretch()
        buttons.addWidget(files)
        buttons.addWidget(folder)
        buttons.addStretch()
        column = QVBoxLayout(page)
        column.setContentsMargins(8, 8, 8, 8)
        column.setSpacing(0)
        column.addStretch()
        column.addWidget(self._picture, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addSpacing(10)
        center = Qt.AlignmentFlag.AlignHCenter
        column.addWidget(label(lambda: self.tr("Drop files or folders here"), 14, 600), 0, center)
        column.addSpacing(2)
        column.addWidget(label(lambda: self.tr("or anywhere on this window"), 12, 400, "2"), 0, center)
        column.addSpacing(12)
        column.addLayout(buttons)
        column.addStretch()
        return page

    def _list_page(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(1, 4, 1, 1)
        column.setSpacing(0)
        body = QVBoxLayout()
        body.setContentsMargins(12, 0, 7, 0)
        body.setSpacing(0)
        body.addWidget(self.view, 1)
        column.addLayout(body, 1)
        invite = QHBoxLayout(self._invitation)
        invite.setContentsMargins(0, 2, 0, 6)
        invite.setSpacing(4)
        invite.addStretch()
        invite.addWidget(label(lambda: self.tr("Drop more files or folders, or"), 12, 400, "2"))
        invite.addWidget(self.browse)
        invite.addStretch()
        column.addWidget(self._invitation)
        column.addWidget(Rule(self._theme))
        column.addLayout(self._total_row())
        return page

    def _total_row(self) -> QHBoxLayout:
        total = QHBoxLayout()
        total.setContentsMargins(12, 0, 12 + 24, 0)
        self._files.setFixedHeight(30)
        total.addWidget(self._files)
        total.addStretch()
        total.addWidget(self._bytes)
        return total

    def _browse_button(self) -> QPushButton:
        browse = button(self._theme, lambda: self.tr("browse"), kind="link", height=20)
        bind_text(browse, browse.setAccessibleName, lambda: self.tr("Browse for files or folders"))
        browse.clicked.connect(self._open_menu)
        return browse

    def _open_menu(self) -> None:
        self.open_menu(self.browse)

    def open_menu(self, below: QWidget) -> None:
        """The choice between files and a folder, below a widget."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        color = self._theme.palette.text_2
        menu.addAction(icon("file-plus", color), self.tr("Add files…"), self.files_wanted.emit)
        menu.addAction(icon("folder-plus", color), self.tr("Add folder…"), self.folder_wanted.emit)
        menu.popup(below.mapToGlobal(QPoint(0, below.height() + 4)))

    def _show_entries(self) -> None:
        entries = self._entries
        self._stack.setCurrentIndex(1 if entries.rowCount() else 0)
        waiting = bool(entries.unmeasured())
        self._files.setText(self.tr("Counting…") if waiting else files_text(entries.files))
        self._bytes.setText("…" if waiting else format_bytes(entries.bytes))
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
