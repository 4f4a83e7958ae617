"""Folders are shown by the desktop's program, and where it can't, the window says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QObject
from pytestqt.qtbot import QtBot

from castray_desktop.ui.model.desktop_services import FolderOpener


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder with programs."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def install_opener(folder: Path, status: int) -> None:
    path = folder / "xdg-open"
    path.write_text(f'#!/bin/sh\necho "$1" > {folder}/opened\nexit {status}\n', encoding="utf-8")
    path.chmod(0o755)


def test_a_folder_that_no_file_manager_shows_is_told(qtbot: QtBot, folder: Path) -> None:
    install_opener(folder, 3)
    opener = FolderOpener(owner := QObject())
    with qtbot.waitSignal(opener.refused) as told:
        opener.open("/data/my files")
    assert told.args == ["/data/my files"]
    del owner


def test_a_folder_that_is_shown_is_not(qtbot: QtBot, folder: Path) -> None:
    install_opener(folder, 0)
    opener = FolderOpener(owner := QObject())
    with qtbot.assertNotEmitted(opener.refused):
        opener.open("/data/my files")
        qtbot.waitUntil(lambda: not opener._background._running)
    assert (folder / "opened").read_text(encoding="utf-8") == "/data/my files\n"
    del owner


def test_a_desktop_without_such_a_program_says_so(qtbot: QtBot, folder: Path) -> None:
    opener = FolderOpener(owner := QObject())
    with qtbot.waitSignal(opener.refused):
        opener.open(str(folder))
    del owner
