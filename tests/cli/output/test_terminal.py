"""Output in every encoding, and names with terminal control sequences."""

from __future__ import annotations

import io
import json
import sys

import pytest

from castray_desktop.cli.commands.casts_command import print_casts
from castray_desktop.cli.commands.node_commands import print_nodes
from castray_desktop.cli.output.cast_text import print_result
from castray_desktop.cli.output.terminal import (
    ColorChoice,
    OutputStyle,
    escape_unprintable,
    format_count,
    has_color,
    print_json,
    say,
    use_output_style,
)
from tests.cli.examples import ended
from tests.helpers.samples import make_cast, make_node, make_nodes


@pytest.mark.parametrize(("encoding", "escaped"), [("utf-8", False), ("ascii", True), ("latin-1", True)])
def test_json_is_valid_in_every_encoding(
    encoding: str, escaped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    escape_unprintable()
    print_json({"path": "/データ.bin"})
    assert json.loads(raw.getvalue().decode(encoding)) == {"schema": 1, "path": "/データ.bin"}
    assert (b"\\u" in raw.getvalue()) is escaped


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 demo nodes"), (1, "1 demo node"), (2, "2 demo nodes"), (1001, "1001 demo nodes")],
)
def test_only_one_is_singular(number: int, text: str) -> None:
    assert format_count(number, "demo node") == text


def test_people_get_escapes_rather_than_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    escape_unprintable()
    print_result(ended())
    print_nodes(make_nodes(1))
    print_casts([make_cast("数据.bin")])
    sys.stdout.flush()
    assert b"completed" in raw.getvalue()


def test_brackets_in_names_are_no_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    print_casts([make_cast("[/bold] [red]x.bin")])
    print_nodes([make_node("node_1", inbox="/data/[red]/[/x]")])
    output = capsys.readouterr().out
    assert "[/bold] [red]x.bin" in output
    assert "/data/[red]/[/x]" in output


@pytest.mark.parametrize(
    ("choice", "environment", "on_terminal", "expected"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"TERM": "dumb"}, True, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"CLICOLOR_FORCE": "1"}, False, True),
        ("auto", {"CLICOLOR_FORCE": "0"}, False, False),
        ("auto", {"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, True, False),
        ("never", {"CLICOLOR_FORCE": "1"}, True, False),
        ("always", {"NO_COLOR": "1"}, False, True),
    ],
)
def test_when_there_are_colors(
    choice: str, environment: dict[str, str], on_terminal: bool, expected: bool
) -> None:
    class Output(io.StringIO):
        def isatty(self) -> bool:
            return on_terminal

    with use_output_style(OutputStyle(color=ColorChoice(choice))):
        assert has_color(Output(), environment) is expected


@pytest.mark.parametrize("choice", [ColorChoice.ALWAYS, ColorChoice.NEVER])
def test_a_table_with_and_without_colors(choice: ColorChoice, capsys: pytest.CaptureFixture[str]) -> None:
    with use_output_style(OutputStyle(color=choice)):
        print_nodes(make_nodes(1))
    assert ("\x1b[" in capsys.readouterr().out) is (choice is ColorChoice.ALWAYS)


def test_quiet_leaves_out_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    with use_output_style(OutputStyle(quiet=True)):
        say("Paused x.")
    say("Resumed x.")
    assert capsys.readouterr().out == "Resumed x.\n"


def test_each_object_has_the_number_of_its_form(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": {"b": 1}})
    print_json([{"a": 1}, {"a": 2}])
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"schema": 1, "a": {"b": 1}},
        [{"schema": 1, "a": 1}, {"schema": 1, "a": 2}],
    ]
