"""The history page: search, open, export, clear and repeat ended casts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QShowEvent
from PySide6.QtWidgets import (
    QMenu,
    QSplitter,
    QStackedWidget,
    QWidget,
)

from castray_desktop.core.failures.sentences import Explanation
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastState, CastSummary
from castray_desktop.ui.i18n.language import Retranslator, Text
from castray_desktop.ui.model.desktop_services import ask_where_to_save, copy
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.pages.history_model import HistoryModel
from castray_desktop.ui.pages.statistics_view import StatisticsView
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.cast_actions import CastActions, can_retry, can_verify
from castray_desktop.ui.transfers.cast_sheets import make_delivery_table, show_deliveries
from castray_desktop.ui.transfers.transfer_text import cast_title
from castray_desktop.ui.widgets.banner import Banner, lay_out
from castray_desktop.ui.widgets.basic_widgets import bind_text, button, label, set_icon
from castray_desktop.ui.widgets.fields import ChoiceField, search_field
from castray_desktop.ui.widgets.popups import open_menu
from castray_desktop.ui.widgets.text_table import TextTable

if TYPE_CHECKING:
    from castray_desktop.ui.pages.history_export import HistoryExport

SEARCH_MS = 250
UNDO_MS = 10_000
GRACE_BEYOND = 5.0  # seconds that the engine waits after the button has disappeared
STATES: tuple[tuple[CastState, ...], ...] = (
    (),
    (CastState.COMPLETED,),
    (CastState.PARTLY_FAILED, CastState.FAILED),
    (CastState.CANCELLED,),
)


class CastHistoryPage(QWidget):
    """See the module. Signals: `details_wanted(CastResult)` for the sheet with everything."""

    details_wanted = Signal(object)

    def __init__(self, theme: Theme, link: EngineLink, actions: CastActions) -> None:
        super().__init__()
        self._theme, self._link, self._actions = theme, link, actions
        self._stale = True
        self._shown: messages.CastResult | None = None
        self._export: HistoryExport | None = None
        self.model = HistoryModel(link, self)
        self.table = TextTable(
            theme,
            self.model,
            lambda: self.tr("History"),
            (220, 130, 76, 84, 110, 120, 64, 88, 130),
            0,
            self._empty_words,
        )
        self.deliveries, self.delivery_table = make_delivery_table(theme)
        self.statistics = StatisticsView(theme, link)
        self.banner = Banner(theme, "warn")
        self.tools = QWidget()
        self._build()
        self._wire()
        Retranslator(self, self._retranslate)

    # --- building --------------------------------------------------------------------------

    def _build(self) -> None:
        self.search = search_field(
            lambda: self.tr("Name, node or folder"), lambda: self.tr("Search the history")
        )
        self.state = ChoiceField(
            self._theme,
            lambda: self.tr("Result"),
            STATES,
            lambda: (self.tr("All results"), self.tr("Delivered"), self.tr("Failed"), self.tr("Cancelled")),
        )
        bind_text(self.state, self.state.setAccessibleDescription, lambda: self.tr("Result"))
        self.state.setFixedSize(130, 28)
        self.count = label("", 12, 400, "2", tabular=True)
        self.statistics_button = button(self._theme, "", "activity", kind="flat")
        self.statistics_button.setCheckable(True)
        self.export_button = button(self._theme, lambda: self.tr("Export…"), "download", kind="flat")
        self.clear_button = button(self._theme, lambda: self.tr("Clear"), "trash-2", kind="flat")
        self._split = QSplitter(Qt.Orientation.Vertical)
        self._split.setChildrenCollapsible(False)
        self._split.addWidget(self.table)
        self._split.addWidget(self.delivery_table)
        self._split.setSizes([300, 160])
        self.delivery_table.hide()
        self.table.setMinimumHeight(80)
        self.delivery_table.setMinimumHeight(70)
        self._stack = QStackedWidget()
        self._stack.addWidget(self._split)
        self._stack.addWidget(self.statistics)
        lay_out(
            self,
            (self.search, self.state, self.count),
            (self.statistics_button, self.export_button, self.clear_button),
            self.banner,
            self._stack,
        )

    def _wire(self) -> None:
        self._typing = QTimer(self, singleShot=True, interval=SEARCH_MS)
        self._typing.timeout.connect(self._search)
        self.search.textChanged.connect(self._typing.start)
        self.state.currentIndexChanged.connect(self._search)
        self.statistics_button.toggled.connect(self._show_statistics)
        self.export_button.clicked.connect(self._show_export_menu)
        self.clear_button.clicked.connect(self._ask_to_clear)
        self.model.counted.connect(self._show_count)
        self.model.failed.connect(self.banner.show_failure)
        self.model.dataChanged.connect(self._follow_row)
        self.table.selectionModel().currentRowChanged.connect(self._on_row)
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.table.customContextMenuRequested.connect(self._show_menu)
        self.table.keys = {Qt.Key.Key_Return: self._open, Qt.Key.Key_Enter: self._open}
        self.table.doubleClicked.connect(self._open)
        self._link.history_changed.connect(self._on_changed)
        self._link.welcome.connect(self._on_welcome)

    def _retranslate(self) -> None:
        self._name_statistics_button()
        self._show_count(self.model.total)
        if self._shown is not None:
            show_deliveries(self.deliveries, self.delivery_table, self._shown.deliveries)

    # --- what is shown ---------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._activate()

    def _activate(self) -> None:
        """Fetch what may have changed while the page was hidden."""
        if self._stale:
            self._stale = False
            self.model.refresh()
        if self.statistics_button.isChecked():
            self.statistics.refresh()

    def _on_welcome(self, _: object) -> None:
        self._stale = True
        if self.isVisible():
            self._activate()

    def _on_changed(self) -> None:
        if self.isVisible():
            self.model.refresh_soon()
            if self.statistics_button.isChecked():
                self.statistics.refresh()
        else:
            self._stale = True

    def _search(self) -> None:
        self.model.search(self.search.text(), self.state.value())

    def _show_count(self, total: int) -> None:
        one, many = self.tr("{count} cast"), self.tr("{count} casts")
        self.count.setText((one if total == 1 else many).format(count=f"{total:,}"))
        self.export_button.setEnabled(total > 0)
        self.clear_button.setEnabled(total > 0)
        self.table.viewport().update()

    def _empty_words(self) -> tuple[str, str]:
        if self.model.query.text or self.model.query.states:
            return self.tr("Nothing found"), self.tr("No casts in the history match.")
        return self.tr("No history yet"), self.tr("Casts appear here once they have ended.")

    def _name_statistics_button(self) -> None:
        """Show *Back to history* while the statistics are shown."""
        back = self.statistics_button.isChecked()
        self.statistics_button.setText(self.tr("Back to history") if back else self.tr("Statistics"))
        set_icon(self.statistics_button, "chevron-left" if back else "activity")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape and self.statistics_button.isChecked():
            self.statistics_button.setChecked(False)
            return
        super().keyPressEvent(event)

    def _show_statistics(self, shown: bool) -> None:
        self._name_statistics_button()
        self._stack.setCurrentWidget(self.statistics if shown else self._split)
        for widget in (self.search, self.state, self.count, self.export_button, self.clear_button):
            widget.setVisible(not shown)
        if shown:
            self.statistics.refresh()

    def _follow_row(self) -> None:
        """The current row may show another cast now."""
        cast = self.current_cast()
        if cast is not None and (self._shown is None or self._shown.summary.cast != cast.cast):
            self._on_row()

    def _on_row(self) -> None:
        cast = self.current_cast()
        if cast is None:
            self.delivery_table.hide()
            return
        self._with_result(cast.cast, self._show_result)

    def current_cast(self) -> CastSummary | None:
        """The cast of the current row."""
        index = self.table.currentIndex()
        return self.model.cast_at(index.row()) if index.isValid() else None

    def _with_result(self, cast: str, use: Callable[[messages.CastResult], None]) -> None:
        self._link.ask(messages.GetPastCast(cast), messages.CastResult, use, self.banner.show_failure)

    def _show_result(self, result: messages.CastResult) -> None:
        cast = self.current_cast()
        if cast is not None and cast.cast == result.summary.cast:
            self._shown = result
            show_deliveries(self.deliveries, self.delivery_table, result.deliveries)
            self.delivery_table.setVisible(True)

    # --- what can be done ------------------------------------------------------------------

    def menu(self, cast: CastSummary) -> QMenu:
        """What can be done with a past cast."""
        menu = QMenu(self)
        menu.addAction(self.tr("Send again"), partial(self._actions.send_again, cast.cast))
        if can_retry(cast):
            menu.addAction(self.tr("Retry failed"), partial(self._actions.retry_to, cast.cast, ()))
        if can_verify(cast):
            menu.addAction(self.tr("Verify again…"), partial(self._actions.verify_wanted.emit, cast.cast))
        menu.addAction(self.tr("Details…"), self._open)
        menu.addSeparator()
        menu.addAction(self.tr("Copy name"), partial(copy, cast_title(cast)))
        menu.addSeparator()
        menu.addAction(self.tr("Remove from history"), partial(self._forget_one, cast))
        return menu

    def _show_menu(self, place: QPoint) -> None:
        cast = self.current_cast()
        if cast is not None:
            menu = self.menu(cast)
            open_menu(menu, self.table.viewport().mapToGlobal(place), self.table)

    def _open(self) -> None:
        cast = self.current_cast()
        if cast is not None:
            self._with_result(cast.cast, self.details_wanted.emit)

    def _ask_to_clear(self) -> None:
        everything = not (self.model.query.text or self.model.query.states)
        if not everything:
            self.search.clear()
            self.state.setCurrentIndex(0)

        def text() -> Explanation:
            happened = self.tr("Remove all casts from the history, including those not shown?")
            return Explanation(happened, self.tr("The delivered files are not affected."))

        if everything:
            self._forget_all()
        else:
            self.banner.show_message(text, (lambda: self.tr("Remove all"), self._forget_all), tone="warn")

    def _forget_all(self) -> None:
        count = self.model.total

        def happened() -> str:
            one, many = (
                self.tr("{count} cast removed from the history."),
                self.tr("{count} casts removed from the history."),
            )
            return (one if count == 1 else many).format(count=f"{count:,}")

        self._forget((), happened)

    def _forget_one(self, cast: CastSummary) -> None:
        self._forget(
            (cast.cast,), lambda: self.tr("{name} removed from the history.").format(name=cast_title(cast))
        )

    def _forget(self, casts: tuple[str, ...], happened: Text) -> None:
        """Remove casts at once, and offer to undo it for a while."""

        def text() -> Explanation:
            return Explanation(happened(), self.tr("The delivered files are not affected."))

        def done(_: messages.Done) -> None:
            self._shown = None
            self.delivery_table.hide()
            self.model.refresh()
            undo = (lambda: self.tr("Undo"), self._keep)
            self.banner.show_message(text, undo, tone="ok", milliseconds=UNDO_MS)

        command = messages.ClearHistory(casts, UNDO_MS / 1000 + GRACE_BEYOND)
        self._link.ask(command, messages.Done, done, self.banner.show_failure)

    def _keep(self) -> None:
        command = messages.KeepHistory()
        self._link.ask(command, messages.Done, lambda _: self.model.refresh(), self.banner.show_failure)

    # --- export ----------------------------------------------------------------------------

    def _show_export_menu(self) -> None:
        menu = QMenu(self)
        menu.addAction(self.tr("As CSV, one line per delivery…"), partial(self._ask_where, "csv"))
        menu.addAction(self.tr("As JSON, casts with their deliveries…"), partial(self._ask_where, "json"))
        below = self.export_button.mapToGlobal(self.export_button.rect().bottomLeft())
        open_menu(menu, below, self.export_button)

    def _ask_where(self, kind: str) -> None:
        title = self.tr("Export the history")
        ask_where_to_save(self.window(), title, f"castray-history.{kind}", self.export_to)

    def export_to(self, path: str) -> None:
        """Write what is shown to a file; its ending says how."""
        self._cancel_export()
        from castray_desktop.ui.pages.history_export import HistoryExport

        self._export = export = HistoryExport(self._link, self.model.query, path, self)
        export.file.done.connect(self._exported)
        export.file.failed.connect(self.banner.show_failure)
        export.progress.connect(self._show_progress)
        self._show_progress(0, self.model.total)
        export.start()

    def _show_progress(self, done: int, total: int) -> None:
        if done and done % 100:
            return
        cancel = (lambda: self.tr("Cancel"), self._cancel_export)
        text = self.tr("Exporting: {done} of {total} casts")
        self.banner.show_message(
            lambda: Explanation(text.format(done=f"{done:,}", total=f"{total:,}"), ""), cancel, tone="warn"
        )

    def _cancel_export(self) -> None:
        if self._export is not None:
            self._export.file.cancel()
            self._export.deleteLater()
            self._export = None

    def _exported(self, path: str) -> None:
        folder, name = str(Path(path).parent), Path(path).name

        def text() -> Explanation:
            return Explanation(self.tr("The history was exported to {name}.").format(name=name), folder)

        self.banner.show_message(text, tone="ok")
