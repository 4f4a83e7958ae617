"""Valid and invalid command lines."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import castray_desktop
from castray_desktop.cli.arguments import EXIT_BAD_USAGE
from castray_desktop.cli.command_line import (
    command_names,
    command_parser,
    is_window_start,
    parse_command,
    parse_window_start,
)
from castray_desktop.cli.command_runner import run_command
from castray_desktop.cli.commands import COMMAND_GROUPS, COMMANDS
from castray_desktop.cli.window_start import open_window

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
def test_which_arguments_open_the_window(arguments: list[str], expected: bool) -> None:
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
        parse_command(arguments)
    assert caught.value.code == EXIT_BAD_USAGE
    output = capsys.readouterr()
    assert "usage:" in output.err
    assert output.out == ""


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["send", "x", "--json"], "bad_usage"),
        (["nodes", "--json", "--nonsense"], "bad_usage"),
        (["help", "nonsense", "--json"], "bad_usage"),
        (["send", NOT_UTF_8, "--to", "all", "--json"], "bad_usage"),
        (["stauts", "--json"], "bad_usage"),
    ],
)
def test_with_json_bad_usage_is_an_object_as_well(
    arguments: list[str], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        open_window(arguments) if is_window_start(arguments) else run_command(parse_command(arguments))
    assert caught.value.code == EXIT_BAD_USAGE
    output = capsys.readouterr()
    told = json.loads(output.out)
    assert (told["schema"], told["event"], told["error"]["kind"]) == (1, "error", kind)
    assert told["error"]["remedy"]
    assert told["error"]["message"] in output.err


def test_after_two_dashes_json_is_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_command(["send", "--", "--json"])
    assert capsys.readouterr().out == ""


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_command(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"castray {castray_desktop.__version__}\n"


@pytest.mark.parametrize("arguments", [["send", NOT_UTF_8, "--to", "all"], ["send", "x", "--to", NOT_UTF_8]])
def test_a_name_that_is_not_utf_8_is_a_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_command(arguments)
    assert caught.value.code == EXIT_BAD_USAGE
    assert capsys.readouterr().err.startswith("castray: /tmp/caf\N{REPLACEMENT CHARACTER}.bin is a name that")


def test_a_dangling_link_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = tmp_path / "link"
    link.symlink_to("nowhere")
    assert parse_window_start([str(link), "--cluster", "local"]).files == [str(link)]


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
        (open_window if is_window_start(arguments) else parse_command)(arguments)
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
        assert run_command(parse_command(words)) == 0
    output = capsys.readouterr()
    assert said in output.out
    assert output.err == ""


def test_the_cluster_may_be_named_before_and_after_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_command(["nodes"]).cluster is None
    assert parse_command(["nodes", "--cluster", "a:1"]).cluster == "a:1"
    assert parse_command(["--cluster", "a:1", "nodes"]).cluster == "a:1"
    monkeypatch.setenv("CASTRAY_CLUSTER", "b:2")
    assert parse_command(["nodes"]).cluster == "b:2"
    assert parse_command(["nodes", "--cluster", "a:1"]).cluster == "a:1"


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
    assert parse_command([*command.split(), "--cluster", "local"]).cluster == "local"


def leaf_parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in groups:
        for inner in action.choices.values():
            yield from leaf_parsers(inner)
    if not groups:
        yield parser


def test_every_command_can_print_json_and_ends_its_help_with_examples() -> None:
    for parser in leaf_parsers(command_parser()):
        assert "--json" in parser._option_string_actions, parser.prog
        assert f"examples:\n  {parser.prog}" in parser.format_help(), parser.prog


def test_every_command_is_in_a_group_of_the_help() -> None:
    told = command_parser().format_help()
    for title, names in COMMAND_GROUPS.items():
        section = told.partition(f"\n{title}:\n")[2].partition("\n\n")[0]
        assert [line.split()[0] for line in section.splitlines() if line[4] != " "] == list(names)


@pytest.mark.parametrize("words", [["-q", "nodes"], ["nodes", "-q"], ["--quiet", "schedule", "list"]])
def test_options_of_every_command_stand_before_or_after_it(words: list[str]) -> None:
    assert parse_command(words).quiet
    assert parse_command(["--color", "never", "nodes"]).color == "never"


def test_every_command_has_a_handler() -> None:
    for parser in leaf_parsers(command_parser()):
        assert asyncio.iscoroutinefunction(parser.get_default("handler")), parser.prog


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_defined_by_the_module_that_is_listed_for_it(name: str) -> None:
    assert name in {full.partition(" ")[0] for full in command_names(command_parser([name]))}
