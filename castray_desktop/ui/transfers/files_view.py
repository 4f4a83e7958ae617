"""The files of a cast in its details: searched, filtered, sorted, copied, exported; live while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QPoint, QSignalBlocker, Qt, QTimer
from PySide6.QtGui import QHideEvent, QKeySequence, QShortcut, QShowEvent
from PySide6.QtWidgets import QAbstractItemView, QHBoxLayout, QMenu, QVBoxLayout, QWidget

from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.failures.sentences import Explanation
from castray_desktop.core.protocol.messages import CastFile, FileOrder, FilesPage, FileState
from castray_desktop.ui.i18n.failure_text import explain_failure
from castray_desktop.ui.i18n.language import Retranslator
from castray_desktop.ui.model.desktop_services import ask_where_to_save, copy
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.file_export import FileListExport, FileRows, plain_lines
from castray_desktop.ui.transfers.file_model import ORDERS, FileModel
from castray_desktop.ui.transfers.file_text import file_state_word
from castray_desktop.ui.widgets.banner import Banner
from castray_desktop.ui.widgets.basic_widgets import button, label, lay_in
from castray_desktop.ui.widgets.fields import Dropdown, search_field
from castray_desktop.ui.widgets.popups import add_choice, open_menu
from castray_desktop.ui.widgets.text_table import TextTable

translate = QCoreApplication.translate

SEARCH_MS = 200
LIVE_MS = 2000

STATES: tuple[tuple[FileState, ...], ...] = ((), *((state,) for state in FileState))


class FilesView(QWidget):
    """What became of each file of a cast. `show_cast` says of which one."""

    def __init__(self, theme: Theme, link: EngineLink) -> None:
        super().__init__()
        self._theme, self._link = theme, link
        self.problem: Failure | None = None
        self._nodes: tuple[str, ...] = ()
        self._rows: FileRows | None = None
        self._export: FileListExport | None = None
        self.model = FileModel(link, self)
        widths = (220, 72, 330, 130)
        self.table = TextTable(
            theme, self.model, lambda: translate("CastDetails", "Files"), widths, 2, self._empty_words
        )
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.table.horizontalHeader().setSectionsClickable(True)
        self.banner = Banner(theme, "warn")
        self.search = search_field(
            lambda: self.tr("Name, new name or hash"), lambda: self.tr("Search the files")
        )
        self.state = Dropdown(theme, lambda: self.tr("State"))
        self.node = Dropdown(theme, lambda: self.tr("Recipient"))
        for dropdown, width in ((self.state, 140), (self.node, 160)):
            dropdown.setFixedHeight(28)
            dropdown.setFixedWidth(width)
        for _ in STATES:
            self.state.addItem("")
        self.count = label("", 12, 400, "2", tabular=True)
        self.copy_button = button(theme, lambda: self.tr("Copy rows"), "copy", kind="flat")
        self.export_button = button(theme, lambda: self.tr("Export…"), "download", kind="flat")
        left = (self.search, self.state, self.node, self.count)
        tools = lay_in(QHBoxLayout(), *left, None, self.copy_button, self.export_button, spacing=8)
        lay_in(QVBoxLayout(self), tools, self.banner, (self.table, 1), spacing=8, margins=(0, 0, 0, 0))
        self._typing = QTimer(self, singleShot=True, interval=SEARCH_MS)
        self._live = QTimer(self, singleShot=True, interval=LIVE_MS)
        self._wire()
        Retranslator(self, self._retranslate)

    def _wire(self) -> None:
        self._typing.timeout.connect(self._search)
        self._live.timeout.connect(self.refresh)
        self.search.textChanged.connect(self._typing.start)
        self.state.currentIndexChanged.connect(self._search)
        self.node.currentIndexChanged.connect(self._search)
        self.copy_button.clicked.connect(self.copy_rows)
        self.export_button.clicked.connect(self._show_export_menu)
        self.model.described.connect(self._described)
        self.model.failed.connect(self._failed)
        self.table.horizontalHeader().sectionClicked.connect(self._sort_by)
        in_table = Qt.ShortcutContext.WidgetShortcut
        QShortcut(QKeySequence.StandardKey.Copy, self.table, context=in_table).activated.connect(
            self.copy_rows
        )
        self.table.customContextMenuRequested.connect(self._show_menu)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._enable())

    def _retranslate(self) -> None:
        self.state.setItemText(0, self.tr("All states"))
        for number, (state,) in enumerate(STATES[1:], 1):
            self.state.setItemText(number, file_state_word(state))
        if self.node.count():
            self.node.setItemText(0, self.tr("All recipients"))
        self._show_count()

    # --- what is shown ---------------------------------------------------------------------

    def show_cast(self, cast: str, recipients: Sequence[str]) -> None:
        """Show the files of a cast, once the view is visible."""
        if cast != self.model.cast:
            self._cancel()
            self.banner.hide()
            self.problem = None
            with QSignalBlocker(self.search), QSignalBlocker(self.state):
                self.search.clear()
                self.state.setCurrentIndex(0)
        if tuple(recipients) != self._nodes or cast != self.model.cast:
            self._nodes = tuple(recipients)
            with QSignalBlocker(self.node):
                self.node.clear()
                self.node.addItems([self.tr("All recipients"), *recipients])
        if self.isVisible():
            self.model.show_cast(cast)
        elif cast != self.model.cast:
            self.model.cast = cast
            self.model.page = None
            self.model.clear()
        self._show_count()

    def refresh(self) -> None:
        """Request the rows again, since some may have changed. Old rows are shown until then."""
        if self.isVisible() and self.model.cast:
            self.model.refresh()
            self.table.viewport().update()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.refresh()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._live.stop()

    def _search(self) -> None:
        node = self.node.currentIndex()
        nodes = (self._nodes[node - 1],) if node > 0 else ()
        self.model.search(self.search.text(), STATES[max(0, self.state.currentIndex())], nodes)

    def _described(self, page: FilesPage) -> None:
        self.problem = None
        self._show_count()
        if page.live and self.isVisible():
            self._live.start()

    def _failed(self, failure: Failure) -> None:
        self.problem = failure
        self.model.clear()
        self._show_count()
        self._live.start()  # the list may become available a moment later

    def _show_count(self) -> None:
        page = self.model.page
        if page is None:
            self.count.setText("")
        elif page.total == page.all:
            one, many = self.tr("{count} file"), self.tr("{count} files")
            self.count.setText((one if page.all == 1 else many).format(count=f"{page.all:,}"))
        else:
            text = self.tr("{count} of {total} files")
            self.count.setText(text.format(count=f"{page.total:,}", total=f"{page.all:,}"))
        self._enable()
        self.table.viewport().update()

    def _enable(self) -> None:
        self.copy_button.setEnabled(self.table.selectionModel().hasSelection())
        self.export_button.setEnabled(self.model.total > 0)

    def _empty_words(self) -> tuple[str, str]:
        if self.problem is not None:
            said = explain_failure(self.problem)
            return said.happened, said.remedy
        page = self.model.page
        if page is None:
            return self.tr("Loading the files…"), ""
        if page.all and not page.total:
            return self.tr("Nothing found"), self.tr("No files of this cast match.")
        return self.tr("No files"), self.tr("This cast has folders only.")

    def _sort_by(self, column: int) -> None:
        if column in ORDERS:
            self.model.sort_by(ORDERS[column])

    # --- what can be done ------------------------------------------------------------------

    def _show_menu(self, place: QPoint) -> None:
        menu = QMenu(self)
        file = self.table.current_key()
        if isinstance(file, CastFile):
            menu.addAction(self.tr("Copy rows") + "\tCtrl+C", self.copy_rows)
            menu.addAction(self.tr("Copy path"), partial(copy, file.path))
            if file.hash:
                menu.addAction(self.tr("Copy hash"), partial(copy, file.hash))
            menu.addSeparator()
        for order, text in (
            (FileOrder.PATH, self.tr("Sort by name")),
            (FileOrder.SIZE, self.tr("Sort by size")),
            (FileOrder.STATE, self.tr("Sort by outcome")),
        ):
            chosen = self.model.query.order is order
            add_choice(menu, text, partial(self.model.sort_by, order), chosen=chosen)
        open_menu(menu, self.table.viewport().mapToGlobal(place), self.table)

    def copy_rows(self) -> None:
        """Copy the selected rows as text; those that are not here yet are fetched first."""
        ranges = sorted(
            (selected.top(), selected.bottom())
            for selected in self.table.selectionModel().selection().toList()
        )
        if not ranges:
            return
        if self._rows is not None:
            self._rows.stop()
        found: list[CastFile] = []
        self._rows = rows = FileRows(
            self._link, self.model.cast, self.model.query, found.extend, self.banner.show_failure, self
        )

        def next_range() -> None:
            if ranges:
                first, last = ranges.pop(0)
                rows.fetch(first, last, next_range)
            else:
                copy(plain_lines(found))
                rows.deleteLater()
                self._rows = None

        next_range()

    def _show_export_menu(self) -> None:
        menu = QMenu(self)
        menu.addAction(self.tr("As CSV, one line per file and recipient…"), partial(self._ask_where, "csv"))
        menu.addAction(self.tr("As JSON, files with their recipients…"), partial(self._ask_where, "json"))
        below = self.export_button.mapToGlobal(self.export_button.rect().bottomLeft())
        open_menu(menu, below, self.export_button)

    def _ask_where(self, kind: str) -> None:
        name = f"castray-files-{self.model.cast}.{kind}"
        ask_where_to_save(self.window(), self.tr("Export the list of files"), name, self.export_to)

    def export_to(self, path: str) -> None:
        """Write the files that are shown to a file; its ending says how."""
        self._cancel()
        self._export = export = FileListExport(self._link, self.model.cast, self.model.query, path, self)
        export.file.done.connect(self._exported)
        export.file.failed.connect(self.banner.show_failure)
        export.start()

    def _exported(self, path: str) -> None:
        folder, name = str(Path(path).parent), Path(path).name

        def text() -> Explanation:
            return Explanation(self.tr("The list of files was exported to {name}.").format(name=name), folder)

        self.banner.show_message(text, tone="ok")

    def _cancel(self) -> None:
        if self._rows is not None:
            self._rows.stop()
            self._rows = None
        if self._export is not None:
            self._export.cancel()
            self._export.deleteLater()
            self._export = None
