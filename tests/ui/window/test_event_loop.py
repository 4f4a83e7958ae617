"""Gaps of the window's loop are written down where somebody wants to read them, and measured nowhere else."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from PySide6.QtCore import QObject
from pytestqt.qtbot import QtBot

from castray_desktop.app import close_log, open_log
from castray_desktop.ui.window.event_loop import log_stalls


@pytest.fixture
def owner(qtbot: QtBot) -> QObject:
    return QObject()


def test_a_gap_is_a_line_in_the_log(owner: QObject, tmp_path: Path, qtbot: QtBot) -> None:
    handler = open_log(tmp_path / "logs", "debug")
    stalls = log_stalls(owner)
    try:
        qtbot.wait(30)
        time.sleep(0.08)  # this is the stall
        file = tmp_path / "logs" / "window.log"
        qtbot.waitUntil(lambda: "no answer for" in file.read_text("utf-8"))
    finally:
        stalls.stop()
        close_log(handler)


@pytest.mark.parametrize("level", ["", "info", "loud"])
def test_at_another_level_nothing_is_measured(owner: QObject, tmp_path: Path, level: str) -> None:
    handler = open_log(tmp_path, level)
    stalls = log_stalls(owner)
    assert not stalls._timer.isActive()
    close_log(handler)
