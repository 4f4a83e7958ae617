"""Opening the window, and reasons why it can't open."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from castray_desktop.cli.arguments import EXIT_BAD_USAGE
from castray_desktop.cli.command_line import (
    is_window_start,
)
from castray_desktop.cli.window_start import has_display, open_window
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.client import single_instance
from castray_desktop.workers.client.single_instance import HandoverRequest, InstanceListener
from tests.helpers.instance_window import read_handover
from tests.helpers.patience import PATIENCE

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
        (["https:/host/x"], "https:/host/x is neither a command nor a file or folder that exists."),
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


def test_an_open_window_gets_addresses_as_they_are_and_files_with_their_folder(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    monkeypatch.setattr(single_instance, "ANSWER_SECONDS", PATIENCE)  # after it a window would open
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.bin").touch()
    addresses = ("https://host/a%20b.bin?token=1", "hf://org/name@main", "S3://bucket/data/")
    window = InstanceListener(paths)
    with ThreadPoolExecutor(1) as pool:
        handed = pool.submit(read_handover, window)
        try:
            assert is_window_start([*addresses, "x.bin"])
            assert open_window(["--cluster", "local", *addresses, "x.bin"]) == 0
            assert handed.result() == HandoverRequest((*addresses, str(tmp_path / "x.bin")), "local")
        finally:
            window.close()


def test_nor_does_the_window_take_such_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        open_window([NOT_UTF_8])
    assert caught.value.code == EXIT_BAD_USAGE
    assert "not UTF-8" in capsys.readouterr().err
