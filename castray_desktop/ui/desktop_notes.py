"""Messages on the desktop, by its own notification service, with a button to do something about them.

They are sent by the desktop's `notify-send`, so there need be no tray. It stays until the message has gone,
and then says which button was pressed. Where there is none, or it is refused, the tray icon says it.
"""

from __future__ import annotations

import html
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QObject, QProcess
from PySide6.QtGui import QGuiApplication

from castray_desktop.ui.tray import SHOWN_MS, Tray
from castray_desktop.ui.words import Text

MOST = 8  # messages that are listened to; some desktops keep them until somebody clicks on them
ON_MESSAGE, ON_BUTTON = "default", "button"  # "default" is the message itself


@dataclass(frozen=True)
class Note:
    """A message: `clicked` is for a click on it, `button` a text and what it does."""

    title: str
    text: str
    failed: bool
    clicked: Callable[[], object]
    button: tuple[Text, Callable[[], object]] | None = None


def _find_program() -> str:
    """Without a desktop there is nobody to tell."""
    seen = QGuiApplication.platformName() in ("xcb", "wayland", "wayland-egl")
    return (shutil.which("notify-send") or "") if seen else ""


class DesktopNotes(QObject):
    """Shows notes. What they do is called in the window's thread."""

    def __init__(self, tray: Tray, parent: QObject, program: str | None = None) -> None:
        """`program` is what shows them, by default the `notify-send` in the search path; "" is none."""
        super().__init__(parent)
        self._tray = tray
        self._program = _find_program() if program is None else program
        self._shown: dict[QProcess, Note] = {}

    def show(self, note: Note) -> None:
        """Say this on the desktop."""
        if not self._program:
            self._show_at_tray(note)
            return
        if len(self._shown) >= MOST:
            self._forget(next(iter(self._shown)))
        process = QProcess(self)
        self._shown[process] = note
        process.finished.connect(lambda code, _: self._ended(process, code))
        process.errorOccurred.connect(lambda _: self._ended(process, 1))
        process.start(self._program, self._arguments(note))

    def close(self) -> None:
        """Listen to none of them any more."""
        for process in tuple(self._shown):
            self._forget(process)

    def _arguments(self, note: Note) -> list[str]:
        opening = self.tr("Open CastRay")
        actions = [f"--action={ON_MESSAGE}={opening}"]
        if note.button is not None:
            actions.append(f"--action={ON_BUTTON}={note.button[0]()}")
        return [
            "--app-name=CastRay",
            "--icon=castray",
            "--urgency=normal",  # of failures too: who does not want to be disturbed is not
            f"--expire-time={SHOWN_MS}",
            *actions,
            "--",
            note.title,
            html.escape(note.text, quote=False),  # the text may have marks in it, the title may not
        ]

    def _ended(self, process: QProcess, code: int) -> None:
        note = self._shown.pop(process, None)
        if note is None:
            return
        pressed = process.readAllStandardOutput().toStdString().split()
        process.deleteLater()
        if code:
            self._program = ""  # there is no service, or the program knows no buttons yet
            self._show_at_tray(note)
        elif ON_BUTTON in pressed and note.button is not None:
            note.button[1]()
        elif ON_MESSAGE in pressed:
            note.clicked()

    def _forget(self, process: QProcess) -> None:
        del self._shown[process]
        process.kill()
        process.waitForFinished(1000)
        process.deleteLater()

    def _show_at_tray(self, note: Note) -> None:
        clicked = note.clicked if note.button is None else note.button[1]
        self._tray.tell(note.title, note.text, failed=note.failed, clicked=clicked)
