"""The exit status and the message of a command."""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
from pathlib import Path

import pytest

from castray_desktop.cli.command_line import parse_command
from castray_desktop.cli.command_runner import run_command
from castray_desktop.cli.output.terminal import ColorChoice, OutputStyle, output_style, say
from castray_desktop.core.failures.kinds import CastRayError, FailureKind

K = FailureKind


def run_ending_with(error: BaseException | None, *words: str) -> int:
    """Run a command that ends in this way."""

    async def handler(options: argparse.Namespace) -> int:
        if error is not None:
            raise error
        return 0

    options = parse_command(["nodes", *words])
    options.handler = handler
    return run_command(options)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, 0),
        (CastRayError(K.NODE_UNKNOWN, node="x", nodes="none"), 2),
        (CastRayError(K.NO_CLUSTER), 3),
        (CastRayError(K.NO_ROOM), 1),
        (KeyboardInterrupt(), 130),
        (OSError(errno.EIO, "Input/output error"), 129),
        (asyncio.CancelledError(), 130),
    ],
)
def test_how_a_command_ends(
    error: BaseException | None,
    status: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_ending_with(error) == status
    output = capsys.readouterr()
    assert "Traceback" not in output.err
    assert len(output.err.splitlines()) == isinstance(error, CastRayError)


def test_an_unexpected_error_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CASTRAY_HOME", str(tmp_path))
    (tmp_path / "logs").mkdir()
    assert run_ending_with(RuntimeError("oops")) == 1
    error = capsys.readouterr().err
    assert error.startswith("castray: Something went wrong inside CastRay: RuntimeError: oops.")
    assert "Traceback" not in error
    assert "Traceback" in (tmp_path / "logs" / "command.log").read_text()


def test_with_json_a_failure_is_an_object_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_ending_with(CastRayError(K.NODE_UNKNOWN, node="x", nodes="a, b"), "--json") == 2
    output = capsys.readouterr()
    assert json.loads(output.out) == {
        "schema": 1,
        "event": "error",
        "error": {
            "kind": "node_unknown",
            "message": "There is no node named x.",
            "remedy": "Available nodes: a, b.",
        },
    }
    assert output.err == "castray: There is no node named x. Available nodes: a, b.\n"


def test_an_unexpected_error_is_an_object_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CASTRAY_HOME", str(tmp_path))
    assert run_ending_with(RuntimeError("oops"), "--json") == 1
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "internal"


def test_the_style_of_a_command_holds_while_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    async def handler(options: argparse.Namespace) -> int:
        await asyncio.create_task(tell())
        return 0

    async def tell() -> None:
        say(str(output_style()))

    for words in (["nodes"], ["nodes", "-v", "--color", "never", "--no-progress"], ["-q", "nodes"]):
        options = parse_command(words)
        options.handler = handler
        assert run_command(options) == 0
    assert capsys.readouterr().out.splitlines() == [
        str(OutputStyle()),
        str(OutputStyle(verbose=True, progress=False, color=ColorChoice.NEVER)),
    ]
    assert output_style() == OutputStyle()
