"""The desktop: the clipboard, dragged files, and folders in the file manager."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QMimeData, QObject, QRunnable, Qt, QThreadPool, QUrl, Signal
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QFileDialog, QWidget

from castray_desktop.core.content.urls import is_url


def copy(text: str) -> None:
    """Put text on the clipboard."""
    QGuiApplication.clipboard().setText(text)


OPENER = "xdg-open"
ANSWER_SECONDS = 10.0
"""A program that has not failed by then has opened the folder; some stay as long as their window."""


class FolderOpener(QObject):
    """Shows folders in the file manager. Signal: `refused(str folder)` where no file manager answers."""

    refused = Signal(str)

    def __init__(self, parent: QObject, program: str | None = None) -> None:
        """`program` opens a folder, and ends with a status other than 0 where it can't."""
        super().__init__(parent)
        self._program = program or OPENER
        self._opening: set[_Opening] = set()

    def open(self, folder: str) -> None:
        """Show this folder; returns at once."""
        program = shutil.which(self._program)
        if program is None:
            elsewhere = sys.platform != "linux" and QDesktopServices.openUrl(QUrl.fromLocalFile(folder))
            if not elsewhere:
                self.refused.emit(folder)
            return
        opening = _Opening(program, folder)
        self._opening.add(opening)
        opening.setAutoDelete(False)
        opening.signals.ended.connect(partial(self._ended, opening))
        QThreadPool.globalInstance().start(opening)

    def _ended(self, opening: _Opening, opened: bool) -> None:
        self._opening.discard(opening)
        if not opened:
            self.refused.emit(opening.folder)


class _Opening(QRunnable):
    """Starts the program in its own session, so that it outlives the window, and waits a while for it."""

    class Signals(QObject):
        ended = Signal(bool)

    def __init__(self, program: str, folder: str) -> None:
        super().__init__()
        self._program, self.folder = program, folder
        self.signals = self.Signals()

    def run(self) -> None:
        import subprocess  # the import takes a while, which must not delay the first paint

        nothing = subprocess.DEVNULL
        opened = True
        try:
            process = subprocess.Popen(
                [self._program, self.folder],
                stdin=nothing,
                stdout=nothing,
                stderr=nothing,
                start_new_session=True,
            )
            opened = process.wait(ANSWER_SECONDS) == 0
        except subprocess.TimeoutExpired:
            process.returncode = 0  # nobody waits for this child process any more
        except OSError:
            opened = False
        self.signals.ended.emit(opened)


def ask_for_paths(
    parent: QWidget, mode: QFileDialog.FileMode, picked: Callable[[list[str]], object], title: str = ""
) -> None:
    """Open a dialog for files or a folder of this computer; `picked` gets the chosen paths."""
    dialog = QFileDialog(parent, title)
    dialog.setFileMode(mode)
    dialog.setOption(QFileDialog.Option.ShowDirsOnly, mode is QFileDialog.FileMode.Directory)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.filesSelected.connect(picked)
    dialog.open()


def sendable_paths(data: QMimeData) -> list[str]:
    """What a drag or a clipboard holds: paths of files, and addresses of web servers."""
    found = [
        url.toLocalFile() or url.toString(QUrl.ComponentFormattingOption.FullyEncoded) for url in data.urls()
    ]
    if not found and data.hasText():
        found = [line.strip() for line in data.text().splitlines() if is_url(line.strip())]
    return [path for path in found if path.startswith("/") or is_url(path)]


class _PathCheck(QRunnable):
    """Checks in a thread whether a folder exists, since a dead mount may block."""

    class Signals(QObject):
        checked = Signal(bool)

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder
        self.signals = self.Signals()

    def run(self) -> None:
        self.signals.checked.emit(Path(self._folder).is_dir())


class FolderChecks:
    """Checks whether folders exist, and keeps each check alive until it has answered."""

    def __init__(self) -> None:
        self._checks: set[_PathCheck] = set()

    def check(self, folder: str, tell: Callable[[bool], object]) -> None:
        """Call `tell` later with whether the folder exists."""
        check = _PathCheck(folder)
        self._checks.add(check)
        check.setAutoDelete(False)
        check.signals.checked.connect(tell)
        check.signals.checked.connect(partial(self._done, check))
        QThreadPool.globalInstance().start(check)

    def _done(self, check: _PathCheck, _there: bool) -> None:
        self._checks.discard(check)
