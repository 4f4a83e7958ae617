"""Folders are shown by the desktop's program, and where it can't, the window says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QObject
from pytestqt.qtbot import QtBot

from castray_desktop.ui.model.desktop_services import FolderOpener


def program(folder: Path, status: int) -> str:
    path = folder / "opener"
    path.write_text(f'#!/bin/sh\necho "$1" > {folder}/opened\nexit {status}\n', encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_a_folder_that_no_file_manager_shows_is_told(qtbot: QtBot, tmp_path: Path) -> None:
    owner = QObject()
    opener = FolderOpener(owner, program(tmp_path, 3))
    with qtbot.waitSignal(opener.refused) as told:
        opener.open("/data/my files")
    assert told.args == ["/data/my files"]


def test_a_folder_that_is_shown_is_not(qtbot: QtBot, tmp_path: Path) -> None:
    owner = QObject()
    opener = FolderOpener(owner, program(tmp_path, 0))
    with qtbot.assertNotEmitted(opener.refused):
        opener.open("/data/my files")
        qtbot.waitUntil(lambda: not opener._background._running)
    assert (tmp_path / "opened").read_text(encoding="utf-8") == "/data/my files\n"


def test_a_desktop_without_such_a_program_says_so(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    opener = FolderOpener(owner := QObject())
    with qtbot.waitSignal(opener.refused):
        opener.open(str(tmp_path))
    del owner
