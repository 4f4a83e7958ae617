"""Preferences of the window, kept in its settings file. The engine keeps its own settings."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TypeVar

from PySide6.QtCore import QObject, QSettings, Signal

from castray_desktop.core.protocol.messages import OnConflict
from castray_desktop.ui.theme.reduced_motion import desktop_reduces_motion

NOTIFY_DONE, NOTIFY_FAILED, NOTIFY_DESKTOP = "notify/done", "notify/failed", "notify/desktop"
CLOSING, STILL, CONFLICT = "window/closing", "window/still", "send/conflict"
START, BACKGROUND = "cluster/at-start", "engine/keep"

Choice = TypeVar("Choice", bound=enum.Enum)


class Closing(enum.StrEnum):
    """What closing the window does while casts run."""

    ASK = "ask"
    TRAY = "tray"  # keep running in the tray
    STOP = "stop"  # stop; the casts continue at the next start


class AtStart(enum.StrEnum):
    """Which cluster is used when the window starts and the engine has none."""

    LAST = "last"
    LOCAL = "local"
    ASK = "ask"


class Preferences(QObject):
    """The user's choices in `settings`. Signal: `changed()` after one was changed."""

    changed = Signal()

    def __init__(self, settings: QSettings, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.settings = settings
        self._desktop_reduces_motion = desktop_reduces_motion()

    def set(self, key: str, value: bool | enum.Enum) -> None:
        """Change one."""
        self.settings.setValue(key, value.value if isinstance(value, enum.Enum) else value)
        self.changed.emit()

    def flag(self, key: str, default: bool) -> bool:
        """One that is on or off."""
        value = self.settings.value(key)
        return default if value is None else str(value).casefold() in ("true", "1")

    def _choice(self, key: str, default: Choice) -> Choice:
        word = self.settings.value(key)
        return next((each for each in type(default) if each.value == word), default)

    @property
    def home(self) -> str:
        """The folder of the settings, which is the engine's home."""
        return str(Path(self.settings.fileName()).parent)

    @property
    def notify_done(self) -> bool:
        return self.flag(NOTIFY_DONE, True)

    @property
    def notify_failed(self) -> bool:
        return self.flag(NOTIFY_FAILED, True)

    @property
    def notify_desktop(self) -> bool:
        """Whether to notify on the desktop too, while the window is not in front."""
        return self.flag(NOTIFY_DESKTOP, True)

    @property
    def still(self) -> bool:
        """Whether motion is reduced; the desktop's setting, until it is set here."""
        return self.flag(STILL, self._desktop_reduces_motion)

    def follow_desktop(self, still: bool) -> None:
        """The desktop says whether anything may move."""
        if still is not self._desktop_reduces_motion:
            self._desktop_reduces_motion = still
            self.changed.emit()

    @property
    def keep_engine(self) -> bool:
        """Whether the engine keeps running after the window is closed."""
        return self.flag(BACKGROUND, False)

    @property
    def closing(self) -> Closing:
        return self._choice(CLOSING, Closing.ASK)

    @property
    def at_start(self) -> AtStart:
        return self._choice(START, AtStart.LAST)

    @property
    def conflict(self) -> OnConflict:
        """The default of the send panel."""
        return self._choice(CONFLICT, OnConflict.SKIP)
