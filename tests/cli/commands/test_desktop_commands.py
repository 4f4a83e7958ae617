"""Desktop entries: complete, working with any path, and completely removable."""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from castray_desktop.cli.arguments import EXIT_DELIVERED, EXIT_NOT_DELIVERED
from castray_desktop.cli.command_line import parse_command
from castray_desktop.cli.command_runner import run_command
from castray_desktop.cli.commands.desktop_commands import SEND, Desktop, desktop_files, exec_line

ROOT = Path(__file__).resolve().parent.parent.parent.parent
COMMAND = ('/opt/our tools/it\'s $5 "100%"/castray',)
FILES = desktop_files(COMMAND, ROOT / "resources")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that already contains files of the user."""
    for variable, name in (
        ("XDG_DATA_HOME", "data"),
        ("XDG_CONFIG_HOME", "config"),
        ("CASTRAY_HOME", "castray"),
    ):
        monkeypatch.setenv(variable, str(tmp_path / name))
    (tmp_path / "data" / "applications").mkdir(parents=True)
    (tmp_path / "data" / "applications" / "editor.desktop").write_text("[Desktop Entry]\n")
    return tmp_path


@pytest.fixture
def desktop(folders: Path) -> Desktop:
    return Desktop(folders / "data", folders / "config", folders / "castray" / "desktop.json")


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def words_of(line: str) -> list[str]:
    """Parse an Exec line as the specification says: text first, then arguments."""
    text = line.replace("\\\\", "\\")
    words = re.findall(r'"((?:\\.|[^"\\])*)"|(\S+)', text)
    return [re.sub(r"\\(.)", r"\1", quoted).replace("%%", "%") or plain for quoted, plain in words]


def test_only_installed_files_are_removed(desktop: Desktop, folders: Path) -> None:
    before = tree(folders)
    outcomes = desktop.install(FILES)
    assert all(outcome.done for outcome in outcomes)
    assert {"applications/castray.desktop", "icons/hicolor/scalable/apps/castray.svg"} <= tree(
        folders / "data"
    )
    assert len(desktop.remove()) == len(FILES)
    (folders / "castray").rmdir()  # the home itself is not the desktop's
    assert tree(folders) == before


def test_a_second_install_updates_files_and_removes_obsolete_ones(desktop: Desktop, folders: Path) -> None:
    desktop.install(FILES)
    newer = desktop_files(("/usr/bin/castray",), ROOT / "resources")[:-1]
    assert all(outcome.done for outcome in desktop.install(newer))
    assert "/usr/bin/castray" in (folders / "data/applications/castray.desktop").read_text()
    assert not (folders / "data/Thunar").exists() or not list((folders / "data/Thunar").rglob("*.desktop"))
    desktop.remove()
    assert tree(folders / "data") == {"applications", "applications/editor.desktop"}


def test_a_foreign_file_is_not_touched(desktop: Desktop, folders: Path) -> None:
    theirs = folders / "data/applications/castray.desktop"
    theirs.write_text("[Desktop Entry]\nName=Another\n")
    [left] = [outcome for outcome in desktop.install(FILES) if not outcome.done]
    assert (left.path, left.why_not) == (theirs, "it already exists and was not written by CastRay")
    desktop.remove()
    assert theirs.read_text() == "[Desktop Entry]\nName=Another\n"


def test_a_link_is_not_followed(desktop: Desktop, folders: Path) -> None:
    target = folders / "precious"
    target.write_text("mine")
    (folders / "data/applications/castray.desktop").symlink_to(target)
    assert sum(not outcome.done for outcome in desktop.install(FILES)) == 1
    desktop.remove()
    assert target.read_text() == "mine"
    assert (folders / "data/applications/castray.desktop").is_symlink()


def test_a_file_that_the_user_has_changed_stays(desktop: Desktop, folders: Path) -> None:
    desktop.install(FILES)
    entry = folders / "data/applications/castray.desktop"
    entry.write_text(entry.read_text() + "X-Mine=1\n")
    [left] = [outcome for outcome in desktop.remove() if not outcome.done]
    assert left.path == entry
    assert entry.exists()


def test_entries_start_the_command_whatever_its_path_holds(desktop: Desktop, folders: Path) -> None:
    desktop.install(FILES)
    for name, section in (
        ("applications/castray.desktop", "Desktop Entry"),
        ("Thunar/sendto/castray.desktop", "Desktop Entry"),
        ("kio/servicemenus/castray.desktop", "Desktop Action castray"),
        ("nemo/actions/castray.nemo_action", "Nemo Action"),
    ):
        entry = configparser.ConfigParser(interpolation=None, strict=True)
        entry.read(folders / "data" / name, "utf-8")
        assert words_of(entry[section]["Exec"]) == [*COMMAND, "%F"]
    assert exec_line(("/bin/a",)) == '"/bin/a"'


@pytest.mark.parametrize("script", [f"data/nautilus/scripts/{SEND}", f"config/caja/scripts/{SEND}"])
def test_scripts_hand_over_the_chosen_files(folders: Path, tmp_path: Path, script: str) -> None:
    program = tmp_path / "it's a 'program'"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    desktop = Desktop(folders / "data", folders / "config", folders / "castray" / "desktop.json")
    desktop.install(desktop_files((str(program),), ROOT / "resources"))
    assert os.access(folders / script, os.X_OK)
    said = subprocess.run(
        [folders / script, "a b.txt", "$HOME"], capture_output=True, text=True, check=True, timeout=10
    )
    assert said.stdout == "a b.txt\n$HOME\n"


def test_the_commands(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(folders / "data")
    assert run_command(parse_command(["desktop", "install"])) == EXIT_DELIVERED
    assert "installed" in capsys.readouterr().out
    icon = folders / "data/icons/hicolor/256x256/apps/castray.png"
    assert icon.read_bytes().startswith(b"\x89PNG")
    assert run_command(parse_command(["desktop", "remove", "--json"])) == EXIT_DELIVERED
    assert str(icon) in json.loads(capsys.readouterr().out)["removed"]
    assert tree(folders / "data") == before
    assert run_command(parse_command(["desktop", "remove"])) == EXIT_DELIVERED
    assert capsys.readouterr().out == "Nothing to remove.\n"


def test_a_folder_that_can_not_be_written_is_named(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "config").write_text("a file where a folder belongs")
    assert run_command(parse_command(["desktop", "install"])) == EXIT_NOT_DELIVERED
    assert "could not be written" in capsys.readouterr().err


def test_thunar_offers_it_for_everything() -> None:
    """With a MimeType, even all/all, Thunar 4.18 shows no entry."""
    files = desktop_files(("/opt/castray",), ROOT / "resources")
    entry = next(file.content.decode() for file in files if file.path.parts[0] == "Thunar")
    assert 'Exec="/opt/castray" %F' in entry
    assert "MimeType" not in entry
