"""What can be written on the command line, and what is refused."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

import castray_desktop
from castray_desktop.cli import send as send_module
from castray_desktop.cli import window
from castray_desktop.cli.arguments import EXIT_BAD_USAGE, is_window_start, parse, parse_window
from castray_desktop.cli.commands import run
from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.core.messages import THIS_COMPUTER, Links, OnConflict

NOT_UTF_8 = os.fsdecode(b"/tmp/caf\xe9.bin")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], True),
        (["model.bin"], True),
        (["--cluster", "local"], True),
        (["--cluster", "send", "model.bin"], True),
        (["./send"], True),
        (["send", "x"], False),
        (["--cluster", "local", "send", "x"], False),
        (["--cluster=local", "nodes"], False),
        (["--help"], False),
        (["-h"], False),
        (["--version"], False),
        (["engine", "stop"], False),
    ],
)
def test_what_opens_the_window(arguments: list[str], expected: bool) -> None:
    assert is_window_start(arguments) is expected


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["send"],
        ["send", "x"],
        ["send", "--to", "all"],
        ["send", "x", "--to", "all", "--on-conflict", "perhaps"],
        ["send", "x", "--to", "all", "--nonsense"],
        ["node"],
        ["node", "add"],
        ["node", "remove"],
        ["engine"],
        ["engine", "explode"],
        ["cancel"],
        ["nonsense"],
    ],
)
def test_bad_usage_is_2_with_a_usage_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(arguments)
    assert caught.value.code == EXIT_BAD_USAGE
    output = capsys.readouterr()
    assert "usage:" in output.err
    assert output.out == ""


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"castray {castray_desktop.__version__}\n"


@pytest.mark.parametrize("arguments", [["send", NOT_UTF_8, "--to", "all"], ["send", "x", "--to", NOT_UTF_8]])
def test_a_name_that_is_not_utf_8_is_a_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(arguments)
    assert caught.value.code == EXIT_BAD_USAGE
    assert capsys.readouterr().err.startswith("castray: /tmp/caf\N{REPLACEMENT CHARACTER}.bin is a name that")


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
        window.open_window(arguments)
    assert caught.value.code == EXIT_BAD_USAGE
    output = capsys.readouterr().err
    assert output.startswith("usage: castray [FILE...]\n")
    assert said in output
    assert "display" not in output


def test_a_dangling_link_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = tmp_path / "link"
    link.symlink_to("nowhere")
    assert parse_window([str(link), "--cluster", "local"]).files == [str(link)]


@pytest.mark.parametrize(
    "arguments",
    [
        ["send", "x", "--to", "all", "--dry"],
        ["send", "x", "--to", "all", "--clu", "local"],
        ["history", "--sta", "failed"],
        ["--vers"],
        ["engine", "status", "--js"],
    ],
)
def test_no_option_is_abbreviated(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        (window.open_window if is_window_start(arguments) else parse)(arguments)
    assert caught.value.code == EXIT_BAD_USAGE
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["version"], f"castray {castray_desktop.__version__}\n"),
        (["help"], "exit status:"),
        (["help", "send"], "usage: castray send"),
        (["help", "schedule", "add"], "usage: castray schedule add"),
    ],
)
def test_help_and_version_are_commands(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not is_window_start(words)
    with contextlib.suppress(SystemExit):
        assert run(parse(words)) == 0
    output = capsys.readouterr()
    assert said in output.out
    assert output.err == ""


def test_nor_does_the_window_take_such_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        window.open_window([NOT_UTF_8])
    assert caught.value.code == EXIT_BAD_USAGE
    assert "not UTF-8" in capsys.readouterr().err


def test_a_request_from_its_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").touch()
    options = parse(
        [
            *("send", "x", "--to", "a, b,,@g", "--dest", "/data/{node}", "--on-conflict", "overwrite"),
            *("--exclude", "*.o", "--exclude", "tmp", "--limit", "10MB/s"),
        ]
    )
    request = send_module.request_of(options)
    assert request.paths == (str(tmp_path / "x"),)
    assert request.recipients == ("a", "b", "@g")
    assert (request.source, request.destination) == (THIS_COMPUTER, "/data/{node}")
    assert request.on_conflict is OnConflict.OVERWRITE
    assert (request.exclude, request.limit) == (("*.o", "tmp"), 10_000_000)
    assert request.leave_out


def test_a_link_is_what_it_points_to(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("x")
    command = ["send", str(link), "--to", "all"]
    assert send_module.request_of(parse([*command, "--links", "keep"])).paths == (str(link),)
    for links in ("auto", "follow"):
        with pytest.raises(CastRayError) as caught:
            send_module.request_of(parse([*command, "--links", links]))
        assert caught.value.failure.kind is FailureKind.DANGLING_LINK
    (tmp_path / "x").write_text("x")
    request = send_module.request_of(parse(command))
    assert (request.paths, request.links) == ((str(link),), Links.AUTO)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["/nowhere", "--to", "all"], FailureKind.NO_SUCH_FILE),
        (["/dev/null", "--to", "all"], FailureKind.NOT_SENDABLE),
        (["/tmp", "--to", ", ,"], FailureKind.NO_RECIPIENTS),
        (["/tmp", "--to", "all", "--dest", "here"], FailureKind.BAD_DESTINATION),
        (["/tmp", "--to", "all", "--limit", "fast"], FailureKind.BAD_RATE),
    ],
)
def test_bad_input_is_found_before_a_cluster_is_started(arguments: list[str], kind: FailureKind) -> None:
    with pytest.raises(CastRayError) as caught:
        send_module.request_of(parse(["send", *arguments]))
    assert caught.value.failure.kind is kind


def test_paths_of_another_source_are_its_own_business() -> None:
    options = parse(["send", "/nowhere", "--to", "all", "--from", "node_1"])
    assert send_module.request_of(options).source == "node_1"


def test_the_cluster_may_be_named_before_and_after_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse(["nodes"]).cluster is None
    assert parse(["nodes", "--cluster", "a:1"]).cluster == "a:1"
    assert parse(["--cluster", "a:1", "nodes"]).cluster == "a:1"
    monkeypatch.setenv("CASTRAY_CLUSTER", "b:2")
    assert parse(["nodes"]).cluster == "b:2"
    assert parse(["nodes", "--cluster", "a:1"]).cluster == "a:1"


# --- the window -------------------------------------------------------------------------------------


def test_no_display_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert window.open_window([__file__]) == EXIT_BAD_USAGE
    output = capsys.readouterr()
    assert output.err.startswith("castray: there is no display")
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
    assert window.has_display(environment) is expected


@pytest.mark.parametrize(
    "command",
    [
        "cancel 3f2a",
        "pause all",
        "retry 3f2a",
        "history",
        "stats",
        "settings",
        "schedule list",
        "engine stop",
        "engine status",
        "casts",
    ],
)
def test_every_command_takes_the_name_of_a_cluster(command: str) -> None:
    assert parse([*command.split(), "--cluster", "local"]).cluster == "local"
