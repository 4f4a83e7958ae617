"""Opens the settings sheet and the sheet for joining, and owns the engine's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.protocol import messages
from castray_desktop.ui.i18n.language import Language
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.model.engine_settings import EngineSettingsModel
from castray_desktop.ui.model.preferences import Preferences
from castray_desktop.ui.theme.theme import Theme

if TYPE_CHECKING:
    from castray_desktop.ui.clusters.membership_dialogs import ShareSheet
    from castray_desktop.ui.pages.settings_sheet import SettingsSheet


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
            from castray_desktop.ui.pages.settings_sheet import SettingsSheet

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
