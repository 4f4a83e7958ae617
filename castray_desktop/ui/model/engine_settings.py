"""The settings that the engine keeps, as the window knows and changes them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from PySide6.QtCore import QObject, Signal

from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.protocol import messages
from castray_desktop.ui.model.engine_link import EngineLink


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
