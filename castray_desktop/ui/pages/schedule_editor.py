"""The sheet that adds or changes a schedule."""

from __future__ import annotations

import msgspec
from PySide6.QtCore import QCoreApplication, Signal
from PySide6.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QPlainTextEdit,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from castray_desktop.core.content.urls import is_url
from castray_desktop.core.failures.sentences import Explanation
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import Schedule, SendRequest
from castray_desktop.ui.i18n.language import Text
from castray_desktop.ui.model.desktop_services import ask_for_paths
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.send.option_fields import (
    OPTION_FIELDS,
    OptionForm,
    destination_problem,
    effective,
    split_list,
)
from castray_desktop.ui.theme.fonts import font
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.banner import Banner
from castray_desktop.ui.widgets.basic_widgets import bind_text, button, label, lay_in
from castray_desktop.ui.widgets.fields import ChoiceField, NumberField, TextField, labelled_form
from castray_desktop.ui.widgets.sheet import Sheet

translate = QCoreApplication.translate

EVERY, CRON, QUIET = range(3)
UNITS = (1, 60, 3600, 86400)


class ScheduleEditor(Sheet):
    """Makes a new schedule, or changes one. Signals: `saved()` once the engine keeps it."""

    saved = Signal()

    def __init__(self, theme: Theme, link: EngineLink, schedule: Schedule, parent: QWidget) -> None:
        self._schedule = schedule
        super().__init__(theme, self._heading, parent, size=(980, 440))
        self._link = link
        self.banner = Banner(theme, "bad")
        self._build(theme)
        self._fill(schedule)
        self._show_when()

    def _heading(self) -> str:
        new = not self._schedule.schedule
        return (
            translate("Schedules", "New schedule") if new else translate("Schedules", "Change the schedule")
        )

    # --- building --------------------------------------------------------------------------

    def _build(self, theme: Theme) -> None:
        self.name = TextField(lambda: translate("Schedules", "Name"))
        self.paths = QPlainTextEdit()
        self.paths.setFixedHeight(76)
        self.paths.setFont(font(12))
        self.paths.setTabChangesFocus(True)
        bind_text(
            self.paths, self.paths.setAccessibleName, lambda: translate("Schedules", "Paths, one per line")
        )
        self.recipients = TextField(lambda: translate("Schedules", "To"))
        bind_text(
            self.recipients,
            self.recipients.setPlaceholderText,
            lambda: translate("Schedules", "all, comma-separated names, or @group"),
        )
        self.when = ChoiceField(
            theme,
            lambda: translate("Schedules", "When"),
            (EVERY, CRON, QUIET),
            lambda: (
                translate("Schedules", "At an interval"),
                translate("Schedules", "At fixed times"),
                translate("Schedules", "When files change"),
            ),
        )
        self.form = OptionForm(theme, OPTION_FIELDS, self)
        self._files = button(theme, lambda: translate("Schedules", "Add files"), "file-plus")
        self._folder = button(theme, lambda: translate("Schedules", "Add folder"), "folder-plus")
        rows: list[tuple[Text | None, QWidget]] = [
            (lambda: translate("Schedules", "Name"), self.name),
            (lambda: translate("Schedules", "Send"), self._paths_with_buttons()),
            (lambda: translate("Schedules", "To"), self.recipients),
            (lambda: translate("Schedules", "When"), self._when_fields(theme)),
        ]
        left = lay_in(QVBoxLayout(), labelled_form(rows), None)
        right = lay_in(QVBoxLayout(), labelled_form(self.form.rows()), None)
        self.set_body(lay_in(QHBoxLayout(), (left, 5), (right, 6), spacing=24))
        self.float_banner(self.banner)
        self.save_button = button(theme, lambda: translate("Schedules", "Save"), "check", height=32)
        self.save_button.clicked.connect(self.save)
        self.set_foot(lay_in(QHBoxLayout(), None, self.save_button))
        self.when.currentIndexChanged.connect(self._show_when)
        self.paths.textChanged.connect(lambda: self.form.set_sent(self._lines()))
        self._files.clicked.connect(lambda: self._browse(QFileDialog.FileMode.ExistingFiles))
        self._folder.clicked.connect(lambda: self._browse(QFileDialog.FileMode.Directory))

    def _paths_with_buttons(self) -> QWidget:
        holder = QWidget()
        row = lay_in(QHBoxLayout(), self._files, self._folder, None)
        lay_in(QVBoxLayout(holder), self.paths, row, spacing=6, margins=(0, 0, 0, 0))
        return holder

    def _when_fields(self, theme: Theme) -> QWidget:
        self.count = _number(lambda: translate("Schedules", "How often"))
        self.unit = ChoiceField(
            theme,
            lambda: translate("Schedules", "Unit"),
            UNITS,
            lambda: (
                translate("Schedules", "seconds"),
                translate("Schedules", "minutes"),
                translate("Schedules", "hours"),
                translate("Schedules", "days"),
            ),
        )
        bind_text(self.unit, self.unit.setAccessibleDescription, lambda: translate("Schedules", "Unit"))
        self.cron = TextField(lambda: translate("Schedules", "Times in cron format"))
        self.cron.setPlaceholderText("0 2 * * 1-5")
        self.quiet = _number(lambda: translate("Schedules", "Seconds without a change"))
        self._kinds = QStackedWidget()
        self._kinds.setFixedHeight(32)
        self._cron_hint = label(lambda: translate("Schedules", "minute hour day month weekday"), 12, 400, "2")
        self._quiet_hint = label(lambda: translate("Schedules", "seconds without a change"), 12, 400, "2")
        for parts in ((self.count, self.unit), (self.cron,), (self.quiet, self._quiet_hint)):
            page = QWidget()
            lay_in(QHBoxLayout(page), *parts, None, margins=(0, 0, 0, 0))
            self._kinds.addWidget(page)
        holder = QWidget()
        row = lay_in(QHBoxLayout(), self.when, (self._kinds, 1))
        lay_in(QVBoxLayout(holder), row, self._cron_hint, spacing=6, margins=(0, 0, 0, 0))
        self.cron.setFixedWidth(140)
        self.when.setFixedWidth(170)
        return holder

    # --- values ----------------------------------------------------------------------------

    def _fill(self, schedule: Schedule) -> None:
        request = schedule.request
        self.name.setText(schedule.name)
        self.paths.setPlainText("\n".join(request.paths))
        self.recipients.setText(", ".join(request.recipients))
        self.form.set_options(request.options)
        self.when.set_value(CRON if schedule.cron else QUIET if schedule.quiet else EVERY)
        every = round(schedule.every) or 3600
        unit = max(unit for unit in UNITS if every % unit == 0)
        self.count.setValue(every // unit)
        self.unit.set_value(unit)
        self.cron.setText(schedule.cron)
        self.quiet.setValue(round(schedule.quiet) or 10)

    def _lines(self) -> tuple[str, ...]:
        return tuple(line.strip() for line in self.paths.toPlainText().splitlines() if line.strip())

    def schedule(self) -> Schedule:
        """The schedule that the fields show."""
        kind = self.when.value()
        paths = self._lines()
        request: SendRequest = msgspec.structs.replace(
            self._schedule.request,
            paths=paths,
            recipients=split_list(self.recipients.text()),
            options=effective(self.form.options(self._schedule.request.options), paths),
        )
        return msgspec.structs.replace(
            self._schedule,
            name=self.name.text().strip() or (request.paths[0].rsplit("/", 1)[-1] if request.paths else ""),
            request=request,
            every=float(self.count.value() * self.unit.value()) if kind == EVERY else 0.0,
            cron=self.cron.text().strip() if kind == CRON else "",
            quiet=float(self.quiet.value()) if kind == QUIET else 0.0,
        )

    def problem(self) -> str:
        """A message about the first missing value; empty when the schedule is complete."""
        schedule = self.schedule()
        if not schedule.request.paths and not schedule.demonstration:
            return translate("Schedules", "Add what to send first")
        if not all(path.startswith("/") or is_url(path) for path in schedule.request.paths):
            return translate("Schedules", "Each line must be a full path, such as /data/models")
        if not schedule.request.recipients:
            return translate("Schedules", "Enter the recipients: all, names, or @group")
        if self.when.value() == CRON and not schedule.cron:
            return translate("Schedules", "Enter the times, for example 0 2 * * * for 2 a.m.")
        return destination_problem(schedule.request.options.destination)

    def save(self) -> None:
        """Ask the engine to save the schedule; show the reason if it refuses."""
        if problem := self.problem():
            self.banner.show_message(lambda: Explanation(problem, ""))
            return
        schedule = self.schedule()
        failed = self.banner.show_failure
        if schedule.schedule:
            self._link.ask(messages.ChangeSchedule(schedule), messages.Done, self._kept, failed)
        else:
            self._link.ask(messages.AddSchedule(schedule), messages.ScheduleAdded, self._kept, failed)

    def _kept(self, _: object) -> None:
        self.saved.emit()
        self.close()

    def _show_when(self) -> None:
        kind = self.when.value()
        self._kinds.setCurrentIndex(kind)
        self._cron_hint.setVisible(kind == CRON)
        self.paths.setEnabled(not self._schedule.demonstration)

    def _browse(self, mode: QFileDialog.FileMode) -> None:
        ask_for_paths(self, mode, self.add_paths)

    def add_paths(self, paths: list[str]) -> None:
        """Append lines to the paths."""
        text = self.paths.toPlainText().rstrip("\n")
        self.paths.setPlainText("\n".join(part for part in (text, *paths) if part))


def _number(name: Text) -> NumberField:
    field = NumberField(name, 1, 100_000)
    field.setFixedWidth(90)
    return field
