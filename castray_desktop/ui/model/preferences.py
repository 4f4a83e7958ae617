"""Preferences of the window, kept in its settings file. The engine keeps its own settings."""

from __future__ import annotations

import enum

from PySide6.QtCore import QObject, QSettings, Signal

from castray_desktop.core.protocol.messages import OnConflict
from castray_desktop.ui.theme.reduced_motion import desktop_reduces_motion

NOTIFY_DONE, NOTIFY_FAILED, NOTIFY_DESKTOP = "notify/done", "notify/failed", "notify/desktop"
CLOSING, STILL, CONFLICT, START, BACKGROUND = (
    *("window/closing", "window/still", "send/conflict", "cluster/at-start", "engine/keep"),
)


class Closing(enum.StrEnum):
    """What closing the window does while casts run."""

    ASK = "ask"
    TRAY = "tray"  # keep running in the tray
    STOP = "stop"  # stop; the next start goes on


class AtStart(enum.StrEnum):
    """Which cluster is used when the window starts and the engine has none."""

    LAST = "last"
    LOCAL = "local"
    ASK = "ask"


class Preferences(QObject):
    """Signals: `changed()` after any of them was."""

    changed = Signal()

    def __init__(self, settings: QSettings, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        self._desktop_reduces_motion = desktop_reduces_motion()

    def flag(self, key: str, default: bool) -> bool:
        """One that is on or off."""
        value = self._settings.value(key)
        return default if value is None else str(value).casefold() in ("true", "1")

    def set_flag(self, key: str, on: bool) -> None:
        self._settings.setValue(key, on)
        self.changed.emit()

    def _word(self, key: str) -> str:
        value = self._settings.value(key, "")
        return value if isinstance(value, str) else ""

    def _set_word(self, key: str, word: str) -> None:
        self._settings.setValue(key, word)
        self.changed.emit()

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
        word = self._word(CLOSING)
        return Closing(word) if word in list(Closing) else Closing.ASK

    def set_closing(self, closing: Closing) -> None:
        self._set_word(CLOSING, closing.value)

    @property
    def at_start(self) -> AtStart:
        word = self._word(START)
        return AtStart(word) if word in list(AtStart) else AtStart.LAST

    def set_at_start(self, at_start: AtStart) -> None:
        self._set_word(START, at_start.value)

    @property
    def conflict(self) -> OnConflict:
        """The default of the send panel."""
        word = self._word(CONFLICT)
        return OnConflict(word) if word in list(OnConflict) else OnConflict.SKIP

    def set_conflict(self, conflict: OnConflict) -> None:
        self._set_word(CONFLICT, conflict.value)
