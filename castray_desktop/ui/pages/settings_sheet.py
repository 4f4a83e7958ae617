"""The settings that the engine keeps, as the window knows and changes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
from PySide6.QtCore import QCoreApplication, QObject, QStringListModel, Qt, Signal
from PySide6.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QListView,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import MOST_DEMO_NODES, EngineSettings
from castray_desktop.ui.i18n.language import CHINESE, CHOICES, ENGLISH, SYSTEM, Language
from castray_desktop.ui.i18n.retranslator import Retranslator, Text
from castray_desktop.ui.model import preferences
from castray_desktop.ui.model.cluster_text import explain_failure
from castray_desktop.ui.model.desktop_services import open_folder
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.model.preferences import AtStart, Closing, Preferences
from castray_desktop.ui.send.option_fields import LimitField, conflict_field
from castray_desktop.ui.theme.fonts import font
from castray_desktop.ui.theme.theme import DARK, LIGHT, Contrast, Theme
from castray_desktop.ui.widgets.banner import Banner
from castray_desktop.ui.widgets.basic_widgets import bind_text, button, label
from castray_desktop.ui.widgets.fields import CheckBox, Dropdown, NumberField, labelled_form
from castray_desktop.ui.widgets.sheet import Sheet

if TYPE_CHECKING:
    from castray_desktop.ui.clusters.membership_dialogs import ShareSheet


class EngineSettingsModel(QObject):
    """The window's one copy of the engine's settings.

    Signals: `changed(EngineSettings)` when the engine reports them; `failed(Failure)` when it refuses.
    """

    changed = Signal(object)
    failed = Signal(object)

    def __init__(self, link: EngineLink, parent: QObject) -> None:
        super().__init__(parent)
        self._link = link
        self.settings = messages.EngineSettings()
        self._known = False
        link.settings_changed.connect(self._apply)
        link.welcome.connect(self._ask)

    def refresh(self) -> None:
        """Ask the engine for them; a failure is reported."""
        self._ask(failed=self._on_failed)

    def _ask(self, _: object = None, failed: Callable[[Failure], None] | None = None) -> None:
        def received(reply: messages.SettingsChanged) -> None:
            self._apply(reply.settings)

        self._link.ask(messages.GetSettings(), messages.SettingsChanged, received, failed)

    def change(self, **values: object) -> None:
        """Have the engine change these; nothing happens before it has reported its settings."""
        changed = msgspec.structs.replace(self.settings, **values)
        if self._known and changed != self.settings:
            self.settings = changed
            self._link.ask(messages.ChangeSettings(changed), messages.Done, None, self._on_failed)

    def set_limit(self, limit: int) -> None:
        """Set the limit over all casts, in bytes per second; 0 is no limit."""
        self._link.ask(messages.SetLimit(limit), messages.Done, self._ask, self._on_failed)

    def _apply(self, settings: messages.EngineSettings) -> None:
        self.settings, self._known = settings, True
        self.changed.emit(settings)

    def _on_failed(self, failure: Failure) -> None:
        self.failed.emit(failure)


class ChoiceList(QListView):
    """Signals: `chosen(int)` when another row is the current one."""

    chosen = Signal(int)

    def __init__(self, theme: Theme, texts: Sequence[Text], name: Text) -> None:
        super().__init__()
        self._theme, self._texts = theme, texts
        self._words = QStringListModel(self)
        self.setModel(self._words)
        self.setFont(font(13, 500))
        self.setEditTriggers(QListView.EditTrigger.NoEditTriggers)
        self.setFrameShape(QListView.Shape.NoFrame)
        self.setSpacing(1)
        bind_text(self, self.setAccessibleName, name)
        theme.changed.connect(self._restyle)
        self._restyle()
        Retranslator(self, self._retranslate)
        self.choose(0)
        self.selectionModel().currentChanged.connect(lambda now, _before: self.chosen.emit(now.row()))

    def choose(self, row: int) -> None:
        """Make a row the current one."""
        self.setCurrentIndex(self._words.index(row))

    def _retranslate(self) -> None:
        if self._words.rowCount() != len(self._texts):
            self._words.setStringList([text() for text in self._texts])
        for row, text in enumerate(self._texts):
            self._words.setData(self._words.index(row), text())

    def _restyle(self) -> None:
        palette = self._theme.palette
        self.setStyleSheet(
            "QListView { background: transparent; border: none; outline: none; }"
            f"QListView::item {{ padding: 7px 10px; border-radius: 8px; color: {palette.text_2}; }}"
            f"QListView::item:hover {{ background: {palette.hover}; }}"
            f"QListView::item:selected {{ background: {palette.selected}; color: {palette.text}; }}"
        )


translate = QCoreApplication.translate

PAGES: tuple[tuple[str, Text], ...] = (
    ("general", lambda: translate("Settings", "General")),
    ("transfers", lambda: translate("Settings", "Transfers")),
    ("network", lambda: translate("Settings", "Network")),
    ("notifications", lambda: translate("Settings", "Notifications")),
    ("appearance", lambda: translate("Settings", "Appearance")),
    ("advanced", lambda: translate("Settings", "Advanced")),
)


class SettingsSheet(Sheet):
    """Every change holds at once. Signals: `columns_reset()`, `keep_changed(bool)` for the engine."""

    columns_reset = Signal()
    keep_changed = Signal(bool)

    def __init__(
        self,
        theme: Theme,
        language: Language,
        engine: EngineSettingsModel,
        chosen: Preferences,
        home: str,
        parent: QWidget,
    ) -> None:
        super().__init__(theme, lambda: translate("Settings", "Settings"), parent, size=(720, 460))
        self._language, self._engine, self._chosen, self._home = language, engine, chosen, home
        self._filling = False
        self.banner = Banner(theme, "bad")
        self.list = ChoiceList(theme, [text for _, text in PAGES], lambda: translate("Settings", "Settings"))
        self._stack = QStackedWidget()
        self._build(theme)
        engine.changed.connect(self._take)
        self.list.chosen.connect(self._stack.setCurrentIndex)
        theme.changed.connect(self._fill)
        Retranslator(self, self._fill)
        self.setMinimumSize(620, 400)

    def show_page(self, key: str) -> None:
        """Open at one of `PAGES`."""
        self.list.choose([name for name, _ in PAGES].index(key))

    def refresh(self) -> None:
        """Ask for the engine's settings."""
        self._engine.refresh()

    # --- building --------------------------------------------------------------------------

    def _build(self, theme: Theme) -> None:
        for make in (
            self._general,
            self._transfers,
            self._network,
            self._notifications,
            self._appearance,
            self._advanced,
        ):
            self._stack.addWidget(make(theme))
        row = QHBoxLayout()
        row.setSpacing(20)
        self.list.setFixedWidth(160)
        row.addWidget(self.list)
        row.addWidget(self._stack, 1)
        body = QVBoxLayout()
        body.addLayout(row, 1)
        self.set_body(body)
        self.float_banner(self.banner)
        foot = QHBoxLayout()
        foot.addWidget(label(lambda: translate("Settings", "Changes hold at once."), 12, 400, "2"))
        foot.addStretch()
        self.set_foot(foot)

    def _general(self, theme: Theme) -> QWidget:
        self.language = Dropdown(theme, lambda: translate("Settings", "Language"))
        self.at_start = Dropdown(theme, lambda: translate("Settings", "At the start"))
        self.closing = Dropdown(theme, lambda: translate("Settings", "Closing while casts run"))
        self.language.activated.connect(lambda index: self._language.choose(CHOICES[index]))
        self.at_start.activated.connect(lambda index: self._chosen.set_at_start(list(AtStart)[index]))
        self.closing.activated.connect(lambda index: self._chosen.set_closing(list(Closing)[index]))
        self.demo_nodes = NumberField(lambda: translate("Settings", "Demo nodes"), 0, MOST_DEMO_NODES)
        self.demo_nodes.editingFinished.connect(lambda: self._change(demo_nodes=self.demo_nodes.value()))
        hint = label(
            lambda: translate("Settings", "Beside this computer, from the next start of a local cluster on."),
            12,
            400,
            "2",
        )
        hint.setWordWrap(True)
        return _page(
            (lambda: translate("Settings", "Language"), self.language),
            (lambda: translate("Settings", "At the start"), self.at_start),
            (lambda: translate("Settings", "Demo nodes"), self.demo_nodes),
            (None, hint),
            (lambda: translate("Settings", "Closing while casts run"), self.closing),
        )

    def _transfers(self, theme: Theme) -> QWidget:
        self.conflict = conflict_field(theme)
        self.at_once = NumberField(lambda: translate("Settings", "Casts at once"), 0, 1000)
        self.history_days = NumberField(lambda: translate("Settings", "Keep the history"), 0, 36500)
        self.go_on = CheckBox(
            theme, lambda: translate("Settings", "After a restart, go on with what had not ended")
        )
        self.stay_awake = CheckBox(
            theme, lambda: translate("Settings", "Keep this computer awake while a cast runs")
        )
        self.stay_awake.clicked.connect(lambda on: self._change(stay_awake=on))
        self.conflict.activated.connect(lambda _: self._chosen.set_conflict(self.conflict.value()))
        self.at_once.editingFinished.connect(lambda: self._change(casts_at_once=self.at_once.value()))
        self.history_days.editingFinished.connect(
            lambda: self._change(history_days=self.history_days.value())
        )
        self.go_on.clicked.connect(lambda on: self._change(go_on=on))
        return _page(
            (lambda: translate("SendPanel", "If a file exists"), self.conflict),
            (lambda: translate("Settings", "Casts at once"), self.at_once),
            (lambda: translate("Settings", "Keep the history"), self.history_days),
            (None, self.go_on),
            (None, self.stay_awake),
        )

    def _network(self, theme: Theme) -> QWidget:
        self.limit = LimitField(theme)
        self.limit.value_changed.connect(lambda: self._change(limit=self.limit.value()))
        hint = label(
            lambda: translate(
                "Settings",
                "Ports, networks and TLS are set where the engine starts: CASTRAY_DATA_PORTS, "
                "CASTRAY_DATA_NETWORK and RAY_USE_TLS; see the user guide.",
            ),
            12,
            400,
            "2",
        )
        hint.setWordWrap(True)
        return _page(
            (lambda: translate("Settings", "Each node passes on at most"), self.limit),
            (None, hint),
        )

    def _notifications(self, theme: Theme) -> QWidget:
        rows: list[tuple[Text | None, QWidget]] = []
        self.notify: dict[str, CheckBox] = {}
        words: Sequence[tuple[str, Text]] = (
            (preferences.NOTIFY_DONE, lambda: translate("Settings", "When a cast has arrived")),
            (preferences.NOTIFY_FAILED, lambda: translate("Settings", "When a cast has failed")),
            (
                preferences.NOTIFY_DESKTOP,
                lambda: translate("Settings", "On the desktop too, while the window is not in front"),
            ),
        )
        for key, text in words:
            self.notify[key] = box = CheckBox(theme, text)
            box.clicked.connect(self._flag_setter(key))
            rows.append((None, box))
        return _page(*rows)

    def _flag_setter(self, key: str) -> Callable[[bool], None]:
        """Qt tells a partial nothing of the new state, so this is a function."""

        def change(on: bool) -> None:
            self._chosen.set_flag(key, on)

        return change

    def _appearance(self, theme: Theme) -> QWidget:
        self.theme = Dropdown(theme, lambda: translate("Settings", "Colours"))
        self.theme.activated.connect(lambda index: self._theme.choose(("", LIGHT.name, DARK.name)[index]))
        self.contrast = Dropdown(theme, lambda: translate("Settings", "Contrast"))
        self.contrast.activated.connect(lambda index: self._theme.set_contrast(list(Contrast)[index]))
        self.still = CheckBox(theme, lambda: translate("Settings", "Reduce motion: nothing moves by itself"))
        self.still.clicked.connect(self._flag_setter(preferences.STILL))
        columns = button(theme, lambda: translate("Settings", "Columns as at first"), "columns-3", height=32)
        columns.clicked.connect(self.columns_reset)
        return _page(
            (lambda: translate("Settings", "Colours"), self.theme),
            (lambda: translate("Settings", "Contrast"), self.contrast),
            (None, self.still),
            (lambda: translate("Settings", "Transfers"), columns),
        )

    def _advanced(self, theme: Theme) -> QWidget:
        self.keep = CheckBox(
            theme, lambda: translate("Settings", "Keep the engine and its cluster after the window")
        )
        self.keep.clicked.connect(self._keep)
        home = button(theme, lambda: translate("Settings", "Open the home folder"), "folder-open", height=32)
        home.clicked.connect(lambda: open_folder(self._home))
        where = label(self._home, 12, 400, "2")
        where.setWordWrap(True)
        where.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        home.setVisible(bool(self._home))
        return _page(
            (None, self.keep),
            (lambda: translate("Settings", "Settings, logs, records"), home),
            (None, where),
        )

    # --- values ----------------------------------------------------------------------------

    def _fill(self) -> None:
        """Say and show everything as it is now."""
        self._filling = True
        _choose(
            self.language,
            (translate("Header", "Same as the system"), "English", "简体中文"),
            (SYSTEM, ENGLISH, CHINESE).index(self._language.choice),
        )
        starts = (
            translate("Settings", "The cluster that was used last"),
            translate("Settings", "Start a local cluster"),
            translate("Settings", "Ask"),
        )
        _choose(self.at_start, starts, list(AtStart).index(self._chosen.at_start))
        closings = (
            translate("Settings", "Ask"),
            translate("Settings", "Keep running in the tray"),
            translate("Settings", "Stop, and go on next time"),
        )
        _choose(self.closing, closings, list(Closing).index(self._chosen.closing))
        self.conflict.set_value(self._chosen.conflict)
        themes = (
            translate("Header", "Same as the system"),
            translate("Settings", "Light"),
            translate("Settings", "Dark"),
        )
        _choose(self.theme, themes, ("", LIGHT.name, DARK.name).index(self._theme.choice))
        contrasts = (
            translate("Header", "Same as the system"),
            translate("Settings", "Normal"),
            translate("Settings", "High"),
        )
        _choose(self.contrast, contrasts, list(Contrast).index(self._theme.contrast))
        for key, box in self.notify.items():
            box.setChecked(self._chosen.flag(key, True))
        self.still.setChecked(self._chosen.still)
        self.keep.setChecked(self._chosen.keep_engine)
        self.at_once.setSpecialValueText(translate("Settings", "No bound"))
        self.history_days.setSpecialValueText(translate("Settings", "For ever"))
        self.history_days.setSuffix(translate("Settings", " days"))
        self._filling = False
        self._fill_engine()

    def _fill_engine(self) -> None:
        self._filling = True
        settings = self._engine.settings
        self.limit.set_value(settings.limit)
        self.at_once.setValue(settings.casts_at_once)
        self.history_days.setValue(settings.history_days)
        self.demo_nodes.setValue(settings.demo_nodes)
        self.go_on.setChecked(settings.go_on)
        self.stay_awake.setChecked(settings.stay_awake)
        self._filling = False

    def _take(self, _: EngineSettings) -> None:
        self.banner.hide()
        self._fill_engine()

    def _change(self, **values: object) -> None:
        if not self._filling:
            self._engine.change(**values)

    def _keep(self, on: bool) -> None:
        self._chosen.set_flag(preferences.BACKGROUND, on)
        self.keep_changed.emit(on)

    def show_failure(self, failure: Failure) -> None:
        """Say that a change was refused."""
        self.banner.show_message(lambda: explain_failure(failure))


def _page(*rows: tuple[Text | None, QWidget]) -> QWidget:
    page = QWidget()
    form = labelled_form(rows, spacing=12, label_height=32)
    form.setContentsMargins(0, 4, 0, 0)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    page.setLayout(form)
    return page


def _choose(field: Dropdown, texts: Sequence[str], current: int) -> None:
    while field.count() < len(texts):
        field.addItem("")
    for number, text in enumerate(texts):
        field.setItemText(number, text)
    field.setCurrentIndex(current)


class SettingsController(QObject):
    """Signals: `columns_reset()`; `failed(Failure)` when the settings sheet is not there to show it."""

    columns_reset = Signal()
    failed = Signal(object)

    def __init__(
        self,
        theme: Theme,
        language: Language,
        link: EngineLink,
        chosen: Preferences,
        home: str,
        window: QWidget,
    ) -> None:
        super().__init__(window)
        self._theme, self._language, self._link = theme, language, link
        self._chosen, self._home, self._window = chosen, home, window
        self.engine = EngineSettingsModel(link, self)
        self.sheet: SettingsSheet | None = None
        self.share_sheet: ShareSheet | None = None
        self.engine.failed.connect(self._on_failed)
        link.welcome.connect(self._on_welcome)

    def show(self) -> None:
        """Open the settings beside the window."""
        if self.sheet is None:
            self.sheet = sheet = SettingsSheet(
                self._theme, self._language, self.engine, self._chosen, self._home, self._window
            )
            sheet.columns_reset.connect(self.columns_reset)
            sheet.keep_changed.connect(self._keep_engine)
        self.sheet.refresh()
        self.sheet.show()
        self.sheet.raise_()

    def show_share(self, info: messages.ShareInfo) -> None:
        """Show how another machine joins."""
        if self.share_sheet is None:
            from castray_desktop.ui.clusters.membership_dialogs import ShareSheet

            self.share_sheet = ShareSheet(self._theme, self._window)
        self.share_sheet.show_info(info)

    def set_limit(self, limit: int) -> None:
        """Set the limit over all casts."""
        self.engine.set_limit(limit)

    def set_demo_nodes(self, count: int) -> None:
        """Set how many demo nodes the next local cluster has."""
        self.engine.change(demo_nodes=count)

    def close(self) -> None:
        """Close what is open."""
        for sheet in (self.sheet, self.share_sheet):
            if sheet is not None:
                sheet.close()

    def _on_welcome(self, _: object) -> None:
        if self._chosen.keep_engine:
            self._keep_engine(True)

    def _keep_engine(self, keep: bool) -> None:
        self._link.ask(messages.KeepEngine(keep), messages.Done, None, self._on_failed)

    def _on_failed(self, failure: Failure) -> None:
        if self.sheet is not None and self.sheet.isVisible():
            self.sheet.show_failure(failure)
        else:
            self.failed.emit(failure)
