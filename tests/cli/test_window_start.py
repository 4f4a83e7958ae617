"""Opening the window, and reasons why it can't open."""

from __future__ import annotations

import os

import pytest

from castray_desktop.cli.arguments import EXIT_BAD_USAGE
from castray_desktop.cli.command_line import (
    is_window_start,
)
from castray_desktop.cli.window_start import has_display, open_window

NOT_UTF_8 = os.fsdecode(b"/tmp/caf\xe9.bin")


def test_no_display_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert open_window([__file__]) == EXIT_BAD_USAGE
    output = capsys.readouterr()
    assert output.err.startswith("castray: no display")
    assert "castray send --help" in output.err
    assert len(output.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"DISPLAY": ""}, False),
        ({"DISPLAY": ":0"}, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True),
        ({"QT_QPA_PLATFORM": "offscreen"}, True),
    ],
)
def test_where_there_is_a_display(
    environment: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert has_display(environment) is expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stauts"], "engine status"),
        (["sned", "f", "--to", "all"], "Did you mean: send?"),
        (["--cluster", "local", "shedule"], "Did you mean: schedule?"),
        (["qwertzuiop"], "See: castray help"),
        (["./missing.bin"], "./missing.bin is neither a command nor a file or folder that exists."),
    ],
)
def test_a_word_that_is_no_command_and_no_path_is_bad_usage(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    assert is_window_start(arguments)
    with pytest.raises(SystemExit) as caught:
        open_window(arguments)
    assert caught.value.code == EXIT_BAD_USAGE
    output = capsys.readouterr().err
    assert output.startswith("usage: castray [FILE...]\n")
    assert said in output
    assert "display" not in output


def test_nor_does_the_window_take_such_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        open_window([NOT_UTF_8])
    assert caught.value.code == EXIT_BAD_USAGE
    assert "not UTF-8" in capsys.readouterr().err
