"""A desktop that asks for stillness is heard, whichever it is, and the user's own word counts more."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QObject, QSettings
from pytestqt.qtbot import QtBot

from castray_desktop.ui.model.preferences import STILL, Preferences
from castray_desktop.ui.theme.reduced_motion import ask_gnome, desktop_reduces_motion


@pytest.mark.parametrize(
    ("file", "text", "still"),
    [
        ("kdeglobals", "[KDE]\nAnimationDurationFactor=0\n", True),
        ("kdeglobals", "[KDE]\nAnimationDurationFactor=1.5\n", False),
        ("kdeglobals", "[KDE][$i]\nno sense\n=\n", False),
        ("gtk-3.0/settings.ini", "[Settings]\ngtk-enable-animations=false\n", True),
        ("gtk-4.0/settings.ini", "[Settings]\ngtk-enable-animations=0\n", True),
        ("gtk-4.0/settings.ini", "[Settings]\ngtk-enable-animations=true\n", False),
        ("nothing", "", False),
    ],
)
def test_kde_and_gtk_keep_it_in_files(tmp_path: Path, file: str, text: str, still: bool) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert desktop_reduces_motion({"XDG_CONFIG_HOME": str(tmp_path)}) is still


def gsettings(tmp_path: Path, answer: str) -> dict[str, str]:
    tool = tmp_path / "gsettings"
    question = "get org.gnome.desktop.interface enable-animations"
    tool.write_text(f'#!/bin/sh\n[ "$*" = "{question}" ] && echo {answer}\n')
    tool.chmod(0o755)
    return {"XDG_CURRENT_DESKTOP": "ubuntu:GNOME", "PATH": str(tmp_path)}


@pytest.mark.parametrize(("answer", "still"), [("false", True), ("true", False)])
def test_gnome_is_asked(tmp_path: Path, qtbot: QtBot, answer: str, still: bool) -> None:
    told: list[bool] = []
    owner = QObject()
    assert ask_gnome(told.append, owner, gsettings(tmp_path, answer)) is not None
    qtbot.waitUntil(lambda: bool(told))
    assert told == [still]


def test_other_desktops_are_not(tmp_path: Path) -> None:
    environment = gsettings(tmp_path, "false") | {"XDG_CURRENT_DESKTOP": "KDE"}
    assert ask_gnome(lambda still: None, QObject(), environment) is None


def test_what_the_user_has_set_counts_more(settings: QSettings, qtbot: QtBot) -> None:
    chosen = Preferences(settings)
    before = chosen.still
    with qtbot.waitSignal(chosen.changed):
        chosen.follow_desktop(not before)
    assert chosen.still is not before
    chosen.set(STILL, before)
    chosen.follow_desktop(before)
    chosen.follow_desktop(not before)
    assert chosen.still is before
