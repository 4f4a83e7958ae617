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
    """Looks, off the window's loop, whether a folder is there; may take long on a dead mount."""

    class Told(QObject):
        there = Signal(bool)

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder
        self.told = self.Told()

    def run(self) -> None:
        self.told.there.emit(Path(self._folder).is_dir())


class FolderChecks:
    """Looks at folders, and keeps each look until it has told."""

    def __init__(self) -> None:
        self._checks: set[_PathCheck] = set()

    def look(self, folder: str, tell: Callable[[bool], object]) -> None:
        """Call `tell` later with whether the folder is there."""
        check = _PathCheck(folder)
        self._checks.add(check)
        check.setAutoDelete(False)
        check.told.there.connect(tell)
        check.told.there.connect(partial(self._done, check))
        QThreadPool.globalInstance().start(check)

    def _done(self, check: _PathCheck, _there: bool) -> None:
        self._checks.discard(check)
