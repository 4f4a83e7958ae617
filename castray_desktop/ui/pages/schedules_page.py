"""The schedules page: when each schedule runs, what it sends, how its last run ended; and its commands."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING

import msgspec
from PySide6.QtCore import QCoreApplication, QPoint, Qt, Signal
from PySide6.QtWidgets import QMenu, QWidget

from castray_desktop.core.failures.sentences import Explanation
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import Schedule, ScheduleInfo, SendRequest
from castray_desktop.ui.i18n.failure_text import failure_text
from castray_desktop.ui.i18n.language import Retranslator
from castray_desktop.ui.i18n.number_format import DASH, format_list
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.transfer_text import CAST_GLYPHS, cast_word, clock, full_time
from castray_desktop.ui.widgets.banner import Banner, lay_out
from castray_desktop.ui.widgets.basic_widgets import bind_text, button
from castray_desktop.ui.widgets.popups import open_menu
from castray_desktop.ui.widgets.status_glyphs import GlyphState
from castray_desktop.ui.widgets.text_table import TableCell, TextTable, TextTableModel

if TYPE_CHECKING:
    from castray_desktop.ui.pages.schedule_editor import ScheduleEditor

translate = QCoreApplication.translate

UNITS = (86400, 3600, 60, 1)


def span_text(seconds: float) -> str:
    """A span in its largest whole unit: "2 h", "90 s"."""
    words = (
        translate("Schedules", "{count} d"),
        translate("Schedules", "{count} h"),
        translate("Schedules", "{count} min"),
        translate("Schedules", "{count} s"),
    )
    whole = round(seconds)
    for unit, word in zip(UNITS, words, strict=True):
        if whole >= unit and whole % unit == 0:
            return word.format(count=whole // unit)
    return words[-1].format(count=whole)


def when_text(schedule: Schedule) -> str:
    """When a schedule runs, in words."""
    if schedule.every:
        return translate("Schedules", "Every {span}").format(span=span_text(schedule.every))
    if schedule.cron:
        return translate("Schedules", "At {times}").format(times=schedule.cron)
    return translate("Schedules", "{span} after the last change").format(span=span_text(schedule.quiet))


def what_text(schedule: Schedule) -> str:
    """What it sends: names, or a name and how many more."""
    paths = schedule.request.shown_paths
    if schedule.demonstration:
        return translate("Schedules", "A small test file")
    if not paths:
        return DASH
    first = PurePath(paths[0]).name or paths[0]
    if len(paths) == 1:
        return first
    return translate("Schedules", "{name} and {count} more").format(name=first, count=len(paths) - 1)


def to_text(schedule: Schedule) -> str:
    """Whom it sends to."""
    who = schedule.request.recipients
    return translate("Schedules", "All nodes") if who == ("all",) else format_list(who)


def when(at: float) -> str:
    """The time of day; for another day than today with its date."""
    return clock(at, "%m-%d %H:%M")


def last_cell(info: ScheduleInfo) -> TableCell:
    """How the last run ended, or what it waits for."""
    if info.running:
        return TableCell(translate("Schedules", "Running"), "accent", GlyphState.RECEIVING)
    if info.failure is not None:
        text = failure_text(info.failure)
        return TableCell(text, "bad", GlyphState.FAILED, text)
    if info.unchanged and info.last_run:
        return TableCell(
            translate("Schedules", "Nothing new"), "text_2", GlyphState.VERIFIED, full_time(info.last_run)
        )
    if info.last_state is None:
        return TableCell(DASH, "text_3")
    tone = {"completed": "ok", "cancelled": "text_2"}.get(info.last_state.value, "bad")
    if not info.last_state.finished:
        tone = "text"
    tip = full_time(info.last_run) if info.last_run else ""
    return TableCell(cast_word(info.last_state), tone, CAST_GLYPHS[info.last_state], tip)


def next_cell(info: ScheduleInfo) -> TableCell:
    """When it runs next, or what it has seen."""
    if not info.schedule.enabled:
        return TableCell(translate("Schedules", "Disabled"), "text_3")
    if info.changes_seen:
        text = translate("Schedules", "{count} changes pending").format(count=f"{info.changes_seen:,}")
        return TableCell(text, "accent")
    if info.next_run:
        return TableCell(when(info.next_run), "text", tip=full_time(info.next_run))
    if info.looks_every:
        text = translate("Schedules", "Checks every {span}").format(span=span_text(info.looks_every))
        return TableCell(text, "text_2")
    watched = bool(info.schedule.quiet)
    return TableCell(translate("Schedules", "When files change") if watched else DASH, "text_2")


def schedule_cells(info: ScheduleInfo) -> list[TableCell]:
    """A schedule's row."""
    schedule = info.schedule
    on = schedule.enabled
    state = GlyphState.ONLINE if on else GlyphState.PAUSED
    return [
        TableCell(schedule.name, "text" if on else "text_3", state, schedule.name),
        TableCell(what_text(schedule), "text_2", tip="\n".join(schedule.request.shown_paths)),
        TableCell(to_text(schedule), "text_2", tip=to_text(schedule)),
        TableCell(when_text(schedule), "text_2"),
        next_cell(info),
        TableCell(when(info.last_run), "text_2", tip=full_time(info.last_run) if info.last_run else ""),
        last_cell(info),
    ]


EVERY_HOUR = 3600.0


class SchedulesPage(QWidget):
    """See the module. `draft` returns what a new schedule sends: the request of the send panel."""

    ran = Signal(str)

    def __init__(self, theme: Theme, link: EngineLink, draft: Callable[[], SendRequest]) -> None:
        super().__init__()
        self._theme, self._link, self._draft = theme, link, draft
        self._cluster = "local"
        self._schedules: tuple[ScheduleInfo, ...] = ()
        self.editor: ScheduleEditor | None = None
        headings = (
            lambda: self.tr("Name"),
            lambda: self.tr("Sends"),
            lambda: self.tr("To"),
            lambda: self.tr("When"),
            lambda: self.tr("Next"),
            lambda: self.tr("Last run"),
            lambda: self.tr("Last result"),
        )
        self.model = TextTableModel(headings, parent=self)
        self.table = TextTable(
            theme,
            self.model,
            lambda: self.tr("Schedules"),
            (180, 180, 120, 170, 140, 130, 170),
            0,
            self._empty_words,
        )
        self.banner = Banner(theme, "bad")
        self.add_button = button(theme, lambda: self.tr("Add…"), "plus", kind="flat")
        self.edit_button = button(theme, lambda: self.tr("Change…"), "settings", kind="flat")
        self.run_button = button(theme, lambda: self.tr("Run now"), "play", kind="flat")
        self.toggle_button = button(theme, "", "pause", kind="flat")
        self.remove_button = button(theme, lambda: self.tr("Remove…"), "trash-2", kind="flat")
        self.demonstration_button = button(theme, "", "zap", kind="flat")
        self._build()
        self._wire()
        Retranslator(self, self._refresh)

    def _build(self) -> None:
        bind_text(
            self.demonstration_button,
            self.demonstration_button.setToolTip,
            lambda: self.tr("Sends a small file to every node of the local cluster once a minute"),
        )
        lay_out(
            self,
            (self.add_button, self.edit_button, self.run_button, self.toggle_button, self.remove_button),
            (self.demonstration_button,),
            self.banner,
            self.table,
            spacing=4,
        )

    def _wire(self) -> None:
        self.add_button.clicked.connect(self.add)
        self.edit_button.clicked.connect(self.edit)
        self.run_button.clicked.connect(self.run)
        self.toggle_button.clicked.connect(self.toggle)
        self.remove_button.clicked.connect(self.ask_to_remove)
        self.demonstration_button.clicked.connect(self.toggle_demonstration)
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.table.customContextMenuRequested.connect(self._show_menu)
        self.table.keys = {
            Qt.Key.Key_Return: self.edit,
            Qt.Key.Key_Enter: self.edit,
            Qt.Key.Key_Delete: self.ask_to_remove,
            Qt.Key.Key_Space: self.toggle,
        }
        self.table.doubleClicked.connect(self.edit)
        self.table.selectionModel().currentRowChanged.connect(self._show_buttons)
        self._link.schedules_changed.connect(self._take)
        self._link.welcome.connect(self._on_welcome)
        self._link.cluster_changed.connect(self._on_cluster)

    # --- what is shown ---------------------------------------------------------------------

    def _on_welcome(self, welcome: messages.Welcome) -> None:
        self._on_cluster(welcome.cluster)

        def listed(reply: messages.SchedulesChanged) -> None:
            self._take(reply.schedules)

        self._link.ask(messages.ListSchedules(), messages.SchedulesChanged, listed, self.banner.show_failure)

    def _on_cluster(self, cluster: messages.ClusterStatus) -> None:
        self._cluster = cluster.target or self._cluster
        self._show_buttons()

    def _take(self, schedules: tuple[ScheduleInfo, ...]) -> None:
        self._schedules = schedules
        self._refresh()

    def _refresh(self) -> None:
        current = self.current()
        self.model.set_rows([(info.schedule.schedule, schedule_cells(info)) for info in self._schedules])
        if current is not None and not self.table.currentIndex().isValid():
            names = [info.schedule.schedule for info in self._schedules]
            if current.schedule.schedule in names:
                self.table.selectRow(names.index(current.schedule.schedule))
        self._show_buttons()

    def current(self) -> ScheduleInfo | None:
        """The schedule of the current row."""
        key = self.table.current_key()
        return next((info for info in self._schedules if info.schedule.schedule == key), None)

    def _demonstration(self) -> ScheduleInfo | None:
        return next((info for info in self._schedules if info.schedule.demonstration), None)

    def _show_buttons(self) -> None:
        info = self.current()
        for widget in (self.edit_button, self.run_button, self.toggle_button, self.remove_button):
            widget.setEnabled(info is not None)
        on = info is None or info.schedule.enabled
        self.toggle_button.setText(self.tr("Disable") if on else self.tr("Enable"))
        self.toggle_button.setAccessibleName(self.toggle_button.text())
        shown = self._demonstration()
        running = shown is not None and shown.schedule.enabled
        text = self.tr("Stop the demonstration") if running else self.tr("Start a demonstration")
        self.demonstration_button.setText(text)
        self.demonstration_button.setVisible(self._cluster == "local")

    def _empty_words(self) -> tuple[str, str]:
        hint = self.tr(
            "A schedule sends automatically: at an interval, at fixed times, or when a folder changes."
        )
        return self.tr("No schedules yet"), hint

    # --- what can be done ------------------------------------------------------------------

    def add(self) -> None:
        """Open the editor for a new schedule of the send panel's request."""
        request = self._draft()
        name = request.shown_paths[0].rstrip("/").rsplit("/", 1)[-1] if request.paths else ""
        if not request.recipients:
            request = msgspec.structs.replace(request, recipients=("all",))
        self._open(Schedule("", name, request, self._cluster, every=EVERY_HOUR))

    def edit(self) -> None:
        """Change the current schedule."""
        info = self.current()
        if info is not None:
            self._open(info.schedule)

    def _open(self, schedule: Schedule) -> None:
        if self.editor is not None:
            self.editor.close()
            self.editor.deleteLater()
        from castray_desktop.ui.pages.schedule_editor import ScheduleEditor

        self.editor = ScheduleEditor(self._theme, self._link, schedule, self.window())
        self.editor.show()

    def run(self) -> None:
        """Run the current schedule now."""
        info = self.current()
        if info is None:
            return

        def accepted(reply: messages.Accepted) -> None:
            self.ran.emit(reply.cast)

        command = messages.RunSchedule(info.schedule.schedule)
        self._link.ask(command, messages.Accepted, accepted, self.banner.show_failure)

    def toggle(self) -> None:
        """Switch the current schedule off or on."""
        info = self.current()
        if info is not None:
            self._enable(info.schedule.schedule, not info.schedule.enabled)

    def _enable(self, schedule: str, enabled: bool) -> None:
        command = messages.EnableSchedule(schedule, enabled)
        self._link.ask(command, messages.Done, None, self.banner.show_failure)

    def toggle_demonstration(self) -> None:
        """Start the demonstration: it sends a small file to every node once a minute until it is disabled."""
        info = self._demonstration()
        if info is not None:
            self._enable(info.schedule.schedule, not info.schedule.enabled)
            return

        def added(reply: messages.ScheduleAdded) -> None:
            self._enable(reply.schedule, True)

        self._link.ask(messages.AddDemonstration(), messages.ScheduleAdded, added, self.banner.show_failure)

    def ask_to_remove(self) -> None:
        """Remove the current schedule, after a question."""
        info = self.current()
        if info is None:
            return

        def text() -> Explanation:
            happened = self.tr("Remove the schedule {name}?").format(name=info.schedule.name)
            return Explanation(happened, self.tr("Files that it has sent are not affected."))

        remove = (lambda: self.tr("Remove"), partial(self._remove, info.schedule.schedule))
        self.banner.show_message(text, remove, tone="warn")

    def _remove(self, schedule: str) -> None:
        self._link.ask(messages.RemoveSchedule(schedule), messages.Done, None, self.banner.show_failure)

    def _show_menu(self, place: QPoint) -> None:
        menu = QMenu(self)
        info = self.current()
        if info is not None:
            menu.addAction(self.tr("Run now"), self.run)
            on = info.schedule.enabled
            menu.addAction(self.tr("Disable") if on else self.tr("Enable"), self.toggle)
            menu.addAction(self.tr("Change…"), self.edit)
            menu.addAction(self.tr("Remove…"), self.ask_to_remove)
            menu.addSeparator()
        menu.addAction(self.tr("Add…"), self.add)
        open_menu(menu, self.table.viewport().mapToGlobal(place), self.table)
