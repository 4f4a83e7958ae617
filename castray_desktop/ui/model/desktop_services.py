"""The desktop: the clipboard, dragged files, and folders in the file manager."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, QRunnable, Qt, QThreadPool, QUrl, Signal
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QFileDialog, QWidget


def copy(text: str) -> None:
    """Put text on the clipboard."""
    QGuiApplication.clipboard().setText(text)


def open_folder(folder: str) -> None:
    """Show a folder in the file manager."""
    QDesktopServices.openUrl(QUrl.fromLocalFile(folder))


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


def local_paths(urls: list[QUrl]) -> list[str]:
    """The paths among the URLs that a drag or a clipboard holds."""
    return [url.toLocalFile() for url in urls if url.isLocalFile()]


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
