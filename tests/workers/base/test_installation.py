"""What is not installed is said in plain words, and what is not needed may be missing."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

from castray_desktop.cli.arguments import EXIT_BAD_USAGE
from castray_desktop.cli.window_start import open_window
from castray_desktop.workers.base import installation
from castray_desktop.workers.base.installation import (
    CHINESE_FONT,
    EXTRAS,
    LIBRARIES,
    SystemPackage,
    install_command,
    missing_libraries,
)
from tests.helpers.small_environment import ROOT, SmallEnvironment

MODULES = {"PySide6-Essentials": "PySide6", "prometheus-client": "prometheus_client"}
ENGINE = "castray_desktop.workers.engine.process"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> SmallEnvironment:
    """The base alone, as on a head node without a screen."""
    return SmallEnvironment(tmp_path_factory.mktemp("base"), *EXTRAS)


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_installs_these_modules(extra: str) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = dict.fromkeys(re.split(r"[<>=]", requirement)[0] for requirement in declared[extra])
    assert tuple(MODULES.get(name, name) for name in names) == EXTRAS[extra]


def test_without_the_window_its_command_says_how_to_install_it(
    base: SmallEnvironment, tmp_path: Path
) -> None:
    for display in ("", ":0"):
        result = base.run("-m", "castray_desktop", DISPLAY=display, CASTRAY_HOME=str(tmp_path))
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr == (
            "castray: the window is not installed here. Send from the command line (castray send --help), "
            "or install it with: pip install 'castray-desktop[window]'\n"
        )


def test_without_the_api_its_command_says_how_to_install_it(base: SmallEnvironment, tmp_path: Path) -> None:
    result = base.run("-m", "castray_desktop", "serve", CASTRAY_HOME=str(tmp_path))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "castray: the HTTP API is not installed here. Install it with: pip install 'castray-desktop[serve]'\n"
    )
    assert not (tmp_path / "api-token").exists()


def test_the_rest_needs_no_extra(base: SmallEnvironment) -> None:
    for arguments in (
        ("-m", "castray_desktop", "--version"),
        ("-m", "castray_desktop", "help"),
        ("-c", f"import {ENGINE}, castray_desktop; castray_desktop.connect"),
    ):
        result = base.run(*arguments)
        assert (result.returncode, result.stderr) == (0, ""), arguments


def test_a_check_of_qt_without_the_window_is_a_note(base: SmallEnvironment) -> None:
    code = (
        "import asyncio, json\n"
        "from castray_desktop.core.failures.check_sentences import explain_check\n"
        "from castray_desktop.workers.diagnostics.local_checks import qt_check\n"
        "check = asyncio.run(qt_check())\n"
        "print(json.dumps([check.state.value, explain_check(check).remedy]))"
    )
    state, remedy = json.loads(base.run("-c", code).stdout)
    assert state == "notice"
    assert remedy == "Install it with: pip install 'castray-desktop[window]'"


@pytest.mark.skipif(sys.platform != "linux", reason="about the system packages of Linux")
def test_libraries_that_can_not_be_loaded_are_missing() -> None:
    assert missing_libraries() == ()  # the tests of the window need all of them


@pytest.mark.skipif(sys.platform != "linux", reason="about the system packages of Linux")
def test_the_window_names_the_package_of_a_library_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On X11 Qt would abort the process."""
    absent = SystemPackage("libxcb-absent.so.9", *["libxcb-absent9"] * 3)
    monkeypatch.setattr(installation, "LIBRARIES", (*LIBRARIES, absent))
    for name in ("WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    assert open_window([]) == EXIT_BAD_USAGE
    said = capsys.readouterr().err
    assert "a library that Qt needs is missing (libxcb-absent.so.9)" in said
    assert said.endswith("libxcb-absent9\n") or "packages that contain libxcb-absent.so.9" in said


@pytest.mark.parametrize(
    ("program", "command"),
    [
        ("apt-get", "sudo apt-get install -y libgl1 libegl1 fonts-noto-cjk"),
        ("dnf", "sudo dnf install -y libglvnd-glx libglvnd-egl google-noto-sans-cjk-fonts"),
        ("pacman", "sudo pacman -S --noconfirm libglvnd noto-fonts-cjk"),
        ("zypper", "the packages that contain libGL.so.1, libEGL.so.1, a Chinese font"),
    ],
)
def test_each_package_manager_gets_its_names(
    program: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / program).write_text("#!/bin/sh\n")
    (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert install_command([*LIBRARIES[:2], CHINESE_FONT]) == command
