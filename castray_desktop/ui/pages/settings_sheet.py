"""The settings: the sheet that shows them, what opens it, and the window's copy of the engine's settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import msgspec
from PySide6.QtCore import QCoreApplication, QObject, Qt, Signal
from PySide6.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from castray_desktop.core.casts.transfer_options import Encryption
from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import (
    MOST_CASTS_AT_ONCE,
    MOST_DEMO_NODES,
    MOST_HISTORY_DAYS,
    EngineSettings,
    OnConflict,
)
from castray_desktop.ui.i18n.language import CHOICES, Language, Retranslator, Text
from castray_desktop.ui.model import preferences
from castray_desktop.ui.model.desktop_services import FolderOpener
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.model.preferences import AtStart, Closing, Preferences
from castray_desktop.ui.send.option_fields import (
    LimitField,
    OptionField,
    TickOption,
    conflict_texts,
    encryption_texts,
)
from castray_desktop.ui.theme.fonts import font
from castray_desktop.ui.theme.theme import DARK, LIGHT, Contrast, Theme
from castray_desktop.ui.widgets.banner import Banner
from castray_desktop.ui.widgets.basic_widgets import bind_text, button, label, lay_in
from castray_desktop.ui.widgets.fields import CheckBox, ChoiceField, NumberField, labelled_form
from castray_desktop.ui.widgets.sheet import Sheet


class EngineSettingsModel(QObject):
    """The window's one copy of the engine's settings.

    Signals: `changed(EngineSettings)` when the engine reports them; `failed(Failure)` when it refuses;
    `engine_connected()`.
    """

    changed = Signal(object)
    failed = Signal(object)
    engine_connected = Signal()

    def __init__(self, link: EngineLink, parent: QObject) -> None:
        super().__init__(parent)
        self._link = link
        self.settings = messages.EngineSettings()
        self._known = False
        link.settings_changed.connect(self._apply)
        link.welcome.connect(self._on_welcome)

    def refresh(self) -> None:
        """Ask the engine for them; a failure is reported."""
        self._ask(self.failed.emit)

    def change(self, **values: object) -> None:
        """Ask the engine to change these; does nothing before it has reported its settings."""
        changed = msgspec.structs.replace(self.settings, **values)
        if self._known and changed != self.settings:
            self.settings = changed
            self._link.ask(messages.ChangeSettings(changed), messages.Done, None, self.failed.emit)

    def set_limit(self, limit: int) -> None:
        """Set the limit over all casts, in bytes per second; 0 is no limit."""
        self._link.ask(messages.SetLimit(limit), messages.Done, lambda _: self._ask(), self.failed.emit)

    def keep(self, keep: bool) -> None:
        """Whether the engine keeps running after this window."""
        self._link.ask(messages.KeepEngine(keep), messages.Done, None, self.failed.emit)

    def _on_welcome(self) -> None:
        self._ask()
        self.engine_connected.emit()

    def _ask(self, failed: Callable[[Failure], None] | None = None) -> None:
        def received(reply: messages.SettingsChanged) -> None:
            self._apply(reply.settings)

        self._link.ask(messages.GetSettings(), messages.SettingsChanged, received, failed)

    def _apply(self, settings: messages.EngineSettings) -> None:
        self.settings, self._known = settings, True
        self.changed.emit(settings)


class ChoiceList(QListWidget):
    """A list in the window's style, of which one row is the current one."""

    def __init__(self, theme: Theme, texts: Sequence[Text], name: Text) -> None:
        super().__init__()
        self._theme, self._texts = theme, texts
        self.addItems([""] * len(texts))
        self.setFont(font(13, 500))
        self.setFrameShape(QListWidget.Shape.NoFrame)
        self.setSpacing(1)
        bind_text(self, self.setAccessibleName, name)
        theme.changed.connect(self._restyle)
        self._restyle()
        Retranslator(self, self._retranslate)
        self.setCurrentRow(0)

    def _retranslate(self) -> None:
        for row, text in enumerate(self._texts):
            self.item(row).setText(text())

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


def as_system() -> str:
    """The text of a choice that follows the system."""
    return translate("Header", "Same as the system")


class SettingsSheet(Sheet):
    """The settings, page by page; a change takes effect immediately.

    Signals: `columns_reset()`, `keep_changed(bool)` for the engine, `folder_wanted(str)` to be shown.
    """

    columns_reset = Signal()
    keep_changed = Signal(bool)
    folder_wanted = Signal(str)

    def __init__(
        self,
        theme: Theme,
        language: Language,
        engine: EngineSettingsModel,
        chosen: Preferences,
        parent: QWidget,
    ) -> None:
        super().__init__(theme, lambda: translate("Settings", "Settings"), parent, size=(720, 460))
        self._language, self._engine, self._chosen = language, engine, chosen
        self._filling = False
        self._rows: list[tuple[Text | None, QWidget]] = []  # of the page that is being built
        self._own: list[Callable[[], object]] = []  # show the preferences of the window
        self._engines: list[Callable[[EngineSettings], object]] = []  # show the engine's settings
        self.banner = Banner(theme, "bad")
        self.list = ChoiceList(theme, [text for _, text in PAGES], lambda: translate("Settings", "Settings"))
        self._stack = QStackedWidget()
        self._build()
        engine.changed.connect(self._on_settings)
        self.list.currentRowChanged.connect(self._stack.setCurrentIndex)
        theme.changed.connect(self._fill)
        Retranslator(self, self._fill)
        self.setMinimumSize(620, 400)

    def show_page(self, key: str) -> None:
        """Open at one of `PAGES`."""
        self.list.setCurrentRow([name for name, _ in PAGES].index(key))

    # --- building --------------------------------------------------------------------------

    def _build(self) -> None:
        for build in (
            self._build_general,
            self._build_transfers,
            self._build_network,
            self._build_notifications,
            self._build_appearance,
            self._build_advanced,
        ):
            build()
            page = QWidget()
            form = labelled_form(self._rows, spacing=12)
            form.setContentsMargins(0, 4, 0, 0)
            form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
            page.setLayout(form)
            self._stack.addWidget(page)
            self._rows = []
        self.list.setFixedWidth(160)
        row = lay_in(QHBoxLayout(), self.list, (self._stack, 1), spacing=20)
        self.set_body(lay_in(QVBoxLayout(), (row, 1)))
        self.float_banner(self.banner)
        hint = label(lambda: translate("Settings", "Changes take effect immediately."), 12, 400, "2")
        self.set_foot(lay_in(QHBoxLayout(), hint, None))

    def _build_general(self) -> None:
        self.language = self._choice(
            lambda: translate("Settings", "Language"),
            CHOICES,
            lambda: (as_system(), "English", "简体中文"),
            lambda: self._language.choice,
            self._language.choose,
        )
        self.at_start = self._choice(
            lambda: translate("Settings", "At startup"),
            AtStart,
            lambda: (
                translate("Settings", "Use the last cluster"),
                translate("Settings", "Start a local cluster"),
                translate("Settings", "Ask"),
            ),
            lambda: self._chosen.at_start,
            partial(self._chosen.set, preferences.START),
        )
        self.demo_nodes = self._number(
            lambda: translate("Settings", "Demo nodes"), MOST_DEMO_NODES, "demo_nodes"
        )
        self._note(
            lambda: translate(
                "Settings", "In addition to this computer, from the next start of a local cluster."
            )
        )
        self.closing = self._choice(
            lambda: translate("Settings", "Closing while casts run"),
            Closing,
            lambda: (
                translate("Settings", "Ask"),
                translate("Settings", "Keep running in the tray"),
                translate("Settings", "Stop, and continue next time"),
            ),
            lambda: self._chosen.closing,
            partial(self._chosen.set, preferences.CLOSING),
        )

    def _build_transfers(self) -> None:
        self.conflict = self._choice(
            lambda: translate("SendPanel", "If a file exists"),
            OnConflict,
            conflict_texts,
            lambda: self._chosen.conflict,
            partial(self._chosen.set, preferences.CONFLICT),
        )
        self.at_once = self._number(
            lambda: translate("Settings", "Simultaneous casts"), MOST_CASTS_AT_ONCE, "casts_at_once"
        )
        self.history_days = self._number(
            lambda: translate("Settings", "Keep history"), MOST_HISTORY_DAYS, "history_days"
        )
        for field, show, text in (
            (self.at_once, self.at_once.setSpecialValueText, lambda: translate("Settings", "No limit")),
            (
                self.history_days,
                self.history_days.setSpecialValueText,
                lambda: translate("Settings", "Forever"),
            ),
            (self.history_days, self.history_days.setSuffix, lambda: translate("Settings", " days")),
        ):
            bind_text(field, show, text)
        self.go_on = TickOption(
            self._theme, lambda: translate("Settings", "Continue unfinished casts after a restart")
        )
        self._setting(None, self.go_on, "go_on")
        stay_awake = TickOption(
            self._theme, lambda: translate("Settings", "Keep this computer awake while casts are running")
        )
        self._setting(None, stay_awake, "stay_awake")

    def _build_network(self) -> None:
        self.limit = LimitField(self._theme, lambda: translate("SendPanel", "Speed limit"))
        self._setting(lambda: translate("Settings", "Upload limit of each node"), self.limit, "limit")
        self.encrypt = ChoiceField(
            self._theme,
            lambda: translate("Settings", "Encryption between machines"),
            Encryption,
            lambda: encryption_texts(translate("Settings", "Where both support it")),
        )
        self._setting(lambda: translate("Settings", "Encryption between machines"), self.encrypt, "encrypt")
        self._note(lambda: translate("Settings", "For casts set to Automatic. Multicast can't be encrypted."))
        self._note(
            lambda: translate(
                "Settings",
                "Ports, networks and TLS are set in the environment of the engine:"
                " CASTRAY_DATA_PORTS, CASTRAY_DATA_NETWORK and RAY_USE_TLS; see the user guide.",
            )
        )

    def _build_notifications(self) -> None:
        words: Sequence[tuple[str, Text]] = (
            (preferences.NOTIFY_DONE, lambda: translate("Settings", "When a cast has arrived")),
            (preferences.NOTIFY_FAILED, lambda: translate("Settings", "When a cast has failed")),
            (
                preferences.NOTIFY_DESKTOP,
                lambda: translate("Settings", "Also on the desktop while the window is in the background"),
            ),
        )
        self.notify = {key: self._notify_box(key, text) for key, text in words}

    def _notify_box(self, key: str, text: Text) -> CheckBox:
        return self._box(text, lambda: self._chosen.flag(key, True), lambda on: self._chosen.set(key, on))

    def _build_appearance(self) -> None:
        self.theme = self._choice(
            lambda: translate("Settings", "Colours"),
            ("", LIGHT.name, DARK.name),
            lambda: (as_system(), translate("Settings", "Light"), translate("Settings", "Dark")),
            lambda: self._theme.choice,
            self._theme.choose,
        )
        self._choice(
            lambda: translate("Settings", "Contrast"),
            Contrast,
            lambda: (as_system(), translate("Settings", "Normal"), translate("Settings", "High")),
            lambda: self._theme.contrast,
            self._theme.set_contrast,
        )
        self.still = self._box(
            lambda: translate("Settings", "Reduce motion"),
            lambda: self._chosen.still,
            lambda on: self._chosen.set(preferences.STILL, on),
        )
        columns = button(self._theme, lambda: translate("Settings", "Reset columns"), "columns-3", height=32)
        columns.clicked.connect(self.columns_reset)
        self._rows.append((lambda: translate("Settings", "Transfers"), columns))

    def _build_advanced(self) -> None:
        self.keep = self._box(
            lambda: translate(
                "Settings", "Keep the engine and its cluster running after the window is closed"
            ),
            lambda: self._chosen.keep_engine,
            self._keep_engine,
        )
        home = button(
            self._theme, lambda: translate("Settings", "Open the home folder"), "folder-open", height=32
        )
        home.clicked.connect(lambda: self.folder_wanted.emit(self._chosen.home))
        self._rows.append((lambda: translate("Settings", "Settings, logs and records"), home))
        where = self._note(lambda: self._chosen.home)
        where.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    # --- fields: each is added to the page that is being built --------------------------------

    def _choice(
        self,
        name: Text,
        choices: Iterable[Any],
        texts: Callable[[], tuple[str, ...]],
        chosen: Callable[[], object],
        choose: Callable[[Any], object],
    ) -> ChoiceField:
        """A preference of the window that is one of several values."""
        values = tuple(choices)
        field = ChoiceField(self._theme, name, values, texts)
        field.activated.connect(lambda index: choose(values[index]))
        self._own.append(lambda: field.set_value(chosen()))
        self._rows.append((name, field))
        return field

    def _box(self, text: Text, chosen: Callable[[], bool], choose: Callable[[bool], object]) -> CheckBox:
        """A preference of the window that is on or off."""
        box = CheckBox(self._theme, text)
        box.clicked.connect(choose)
        self._own.append(lambda: box.setChecked(chosen()))
        self._rows.append((None, box))
        return box

    def _setting(self, name: Text | None, field: OptionField, setting: str) -> None:
        """A setting of the engine."""
        field.value_changed.connect(lambda: self._change(**{setting: field.value()}))
        self._engines.append(lambda settings: field.set_value(getattr(settings, setting)))
        self._rows.append((name, field))

    def _number(self, name: Text, most: int, setting: str) -> NumberField:
        """A setting of the engine from 0 to `most`."""
        field = NumberField(name, 0, most)
        field.editingFinished.connect(lambda: self._change(**{setting: field.value()}))
        self._engines.append(lambda settings: field.setValue(getattr(settings, setting)))
        self._rows.append((name, field))
        return field

    def _note(self, text: Text) -> QLabel:
        note = label(text, 12, 400, "2")
        note.setWordWrap(True)
        self._rows.append((None, note))
        return note

    # --- values ----------------------------------------------------------------------------

    def _fill(self) -> None:
        """Show everything as it is now."""
        for show in self._own:
            show()
        self._fill_engine()

    def _fill_engine(self) -> None:
        self._filling = True
        for show in self._engines:
            show(self._engine.settings)
        self._filling = False

    def _on_settings(self) -> None:
        self.banner.hide()
        self._fill_engine()

    def _change(self, **values: object) -> None:
        if not self._filling:
            self._engine.change(**values)

    def _keep_engine(self, on: bool) -> None:
        self._chosen.set(preferences.BACKGROUND, on)
        self.keep_changed.emit(on)


class SettingsController(QObject):
    """Opens the settings sheet, and has the engine kept after the window if that is set.

    Signals: `columns_reset()`; `failed(Failure)` when the settings sheet is not there to show it.
    """

    columns_reset = Signal()
    failed = Signal(object)

    def __init__(
        self,
        theme: Theme,
        language: Language,
        engine: EngineSettingsModel,
        chosen: Preferences,
        window: QWidget,
    ) -> None:
        super().__init__(window)
        self._theme, self._language, self._engine = theme, language, engine
        self._chosen, self._window = chosen, window
        self.sheet: SettingsSheet | None = None
        self.folders = FolderOpener(self)
        engine.failed.connect(self._on_failed)
        engine.engine_connected.connect(self._on_connected)

    def show(self) -> None:
        """Open the settings beside the window."""
        if self.sheet is None:
            self.sheet = SettingsSheet(self._theme, self._language, self._engine, self._chosen, self._window)
            self.sheet.columns_reset.connect(self.columns_reset)
            self.sheet.keep_changed.connect(self._engine.keep)
            self.sheet.folder_wanted.connect(self.folders.open)
        self._engine.refresh()
        self.sheet.show()
        self.sheet.raise_()

    def _on_connected(self) -> None:
        if self._chosen.keep_engine:
            self._engine.keep(True)

    def _on_failed(self, failure: Failure) -> None:
        if self.sheet is not None and self.sheet.isVisible():
            self.sheet.banner.show_failure(failure)
        else:
            self.failed.emit(failure)
