"""The desktop: the clipboard, dragged files, and folders in the file manager."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QMimeData, QObject, QRunnable, Qt, QThreadPool, QUrl, Signal
from PySide6.QtGui import QAction, QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QFileDialog, QWidget

from castray_desktop.core.content.urls import is_url


def copy(text: str) -> None:
    """Put text on the clipboard."""
    QGuiApplication.clipboard().setText(text)


OPENER = "xdg-open"  # ends with a status other than 0 where it can't open the folder
ANSWER_SECONDS = 10.0
"""A program that has not failed by then has opened the folder; some stay as long as their window."""


class FolderOpener(QObject):
    """Shows folders in the file manager. Signal: `refused(str folder)` where no file manager answers."""

    refused = Signal(str)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._background = BackgroundChecks()

    def open(self, folder: str) -> None:
        """Show this folder; returns at once."""
        program = shutil.which(OPENER)
        if program is None:
            elsewhere = sys.platform != "linux" and QDesktopServices.openUrl(QUrl.fromLocalFile(folder))
            if not elsewhere:
                self.refused.emit(folder)
            return
        self._background.run(partial(_opens, program, folder), partial(self._ended, folder))

    def _ended(self, folder: str, opened: bool) -> None:
        if not opened:
            self.refused.emit(folder)


def _opens(program: str, folder: str) -> bool:
    """Start the program in its own session, so that it outlives the window, and wait a while for it."""
    import subprocess  # the import takes a while, which must not delay the first paint

    nothing = subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            [program, folder], stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
        )
        return process.wait(ANSWER_SECONDS) == 0
    except subprocess.TimeoutExpired:
        process.returncode = 0  # nobody waits for this child process any more
        return True
    except OSError:
        return False


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


def ask_where_to_save(
    parent: QWidget, title: str, name: str, save: Callable[[str], object], kind: str = ""
) -> None:
    """Open a dialog for a new file named `name`, among files of that `kind`; `save` gets the path."""
    dialog = QFileDialog(parent, title, filter=kind)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setDefaultSuffix(name.rpartition(".")[2])
    dialog.selectFile(name)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.fileSelected.connect(save)
    dialog.open()


def sendable_paths(data: QMimeData) -> list[str]:
    """What a drag or a clipboard holds: paths of files, and addresses of web servers."""
    found = [
        url.toLocalFile() or url.toString(QUrl.ComponentFormattingOption.FullyEncoded) for url in data.urls()
    ]
    if not found and data.hasText():
        found = [line.strip() for line in data.text().splitlines() if is_url(line.strip())]
    return [path for path in found if path.startswith("/") or is_url(path)]


class _Check(QRunnable):
    class Signals(QObject):
        answered = Signal(bool)

    def __init__(self, check: Callable[[], bool]) -> None:
        super().__init__()
        self._check = check
        self.signals = self.Signals()

    def run(self) -> None:
        self.signals.answered.emit(self._check())


class BackgroundChecks:
    """Runs checks that may block in threads, and keeps each alive until it has answered."""

    def __init__(self) -> None:
        self._running: set[_Check] = set()

    def run(self, check: Callable[[], bool], tell: Callable[[bool], object]) -> None:
        """Call `tell` later, in this thread, with what `check` returns."""
        running = _Check(check)
        self._running.add(running)
        running.setAutoDelete(False)
        running.signals.answered.connect(tell)
        running.signals.answered.connect(partial(self._done, running))
        QThreadPool.globalInstance().start(running)

    def enable_for_folder(self, action: QAction, folder: str) -> None:
        """Enable the action later, if the folder exists: a dead mount may block."""
        action.setEnabled(False)
        self.run(Path(folder).is_dir, action.setEnabled)

    def _done(self, check: _Check, _answer: bool) -> None:
        self._running.discard(check)
