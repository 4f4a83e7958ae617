"""The sheet that browses the files of another node, to choose what it sends."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, Signal
from PySide6.QtWidgets import QHBoxLayout, QTableView, QVBoxLayout, QWidget

from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import FolderEntry
from castray_desktop.ui.i18n.number_format import DASH, format_bytes
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.transfer_text import full_time
from castray_desktop.ui.widgets.banner import Banner
from castray_desktop.ui.widgets.basic_widgets import button, icon_button, label, lay_in
from castray_desktop.ui.widgets.fields import TextField
from castray_desktop.ui.widgets.sheet import Sheet
from castray_desktop.ui.widgets.text_table import TableCell, TextTable, TextTableModel

if TYPE_CHECKING:
    from castray_desktop.ui.model.engine_link import EngineLink

translate = QCoreApplication.translate


def entry_cells(entry: FolderEntry) -> list[TableCell]:
    """A row of a folder."""
    name = entry.name + ("/" if entry.folder else "")
    return [
        TableCell(name, tip=name),
        TableCell(DASH if entry.folder else format_bytes(entry.bytes), "text_2"),
        TableCell(full_time(entry.modified)[:16] if entry.modified else DASH, "text_2"),
    ]


class NodeBrowser(Sheet):
    """Goes through the folders of a node. Signals: `picked(list)` with absolute paths there."""

    picked = Signal(list)

    def __init__(self, theme: Theme, link: EngineLink, parent: QWidget) -> None:
        super().__init__(theme, lambda: translate("Browser", "Files of a node"), parent, size=(720, 480))
        self._link = link
        self.node = self.path = ""
        headings = (
            lambda: translate("Browser", "Name"),
            lambda: translate("Browser", "Size"),
            lambda: translate("Browser", "Modified"),
        )
        self.model = TextTableModel(headings, frozenset({1, 2}), self)
        self.table = TextTable(
            theme,
            self.model,
            lambda: translate("Browser", "Folder"),
            (400, 90, 140),
            0,
            lambda: (translate("Browser", "Empty"), translate("Browser", "This folder is empty.")),
        )
        self.table.setSelectionMode(QTableView.SelectionMode.ExtendedSelection)
        self.address = TextField(lambda: translate("Browser", "Folder on the node"))
        self.up_button = icon_button(theme, "arrow-up", lambda: translate("Browser", "Up"), side=32)
        self.banner = Banner(theme, "bad")
        self.left_out = label("", 12, 400, "2")
        self.add_button = button(theme, lambda: translate("Browser", "Add to the list"), "plus", height=32)
        self.folder_button = button(
            theme, lambda: translate("Browser", "Add this folder"), "folder-plus", height=32
        )
        self._build()
        self.table.doubleClicked.connect(self._open)
        self.address.returnPressed.connect(lambda: self.go(self.address.text().strip()))
        self.up_button.clicked.connect(lambda: self.go(posixpath.dirname(self.path) or "/"))
        self.add_button.clicked.connect(self._pick)
        self.folder_button.clicked.connect(self._pick_folder)
        self.table.selectionModel().selectionChanged.connect(self._show_buttons)

    def _build(self) -> None:
        top = lay_in(QHBoxLayout(), self.up_button, (self.address, 1))
        self.set_body(lay_in(QVBoxLayout(), top, (self.table, 1), self.left_out))
        self.float_banner(self.banner)
        self.set_foot(lay_in(QHBoxLayout(), None, self.folder_button, self.add_button))

    def browse(self, node: str) -> None:
        """Show the files of a node, where it was left or in its home."""
        if node != self.node:
            self.node, self.path = node, ""
        self.set_fixed_title(node)
        self.show()
        self.raise_()
        self.go(self.path)

    def go(self, path: str) -> None:
        """Show this folder."""

        def got(reply: messages.FolderListing) -> None:
            if reply.node == self.node:
                self._take(reply)

        self._link.ask(
            messages.Browse(self.node, path), messages.FolderListing, got, self.banner.show_failure
        )

    def _take(self, listing: messages.FolderListing) -> None:
        self.banner.hide()
        self.path = listing.path
        self.address.setText(listing.path)
        self.model.set_rows([(entry, entry_cells(entry)) for entry in listing.entries])
        self.table.clearSelection()
        self.table.scrollToTop()
        text = translate("Browser", "{count} more not shown")
        self.left_out.setText(text.format(count=f"{listing.left_out:,}") if listing.left_out else "")
        self._show_buttons()

    def selected(self) -> list[str]:
        """The paths of the chosen rows."""
        rows = sorted(index.row() for index in self.table.selectionModel().selectedRows())
        entries = [self.model.key(row) for row in rows]
        return [posixpath.join(self.path, each.name) for each in entries if isinstance(each, FolderEntry)]

    def _open(self) -> None:
        entry = self.table.current_key()
        if isinstance(entry, FolderEntry) and entry.folder:
            self.go(posixpath.join(self.path, entry.name))
        else:
            self._pick()

    def _pick(self) -> None:
        if paths := self.selected():
            self.picked.emit(paths)

    def _pick_folder(self) -> None:
        if self.path:
            self.picked.emit([self.path])

    def _show_buttons(self) -> None:
        self.add_button.setEnabled(bool(self.selected()))
        self.folder_button.setEnabled(bool(self.path) and self.path != "/")
