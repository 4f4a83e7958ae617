"""The exit status and the message of a command."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import pytest

from castray_desktop.cli.command_runner import run_command
from castray_desktop.core.failures.kinds import CastRayError, FailureKind

K = FailureKind

UNKNOWN = {
    "upstream": None,
    "rate": 0,
    "eta": None,
    "hook": None,
    "removed": 0,
    "skipped_bytes": 0,
    "listening": False,
    "datagram_bytes": 0,
    "repaired_bytes": 0,
}


def run_ending_with(error: BaseException | None) -> int:
    """Run a command that ends in this way."""

    async def handler(options: argparse.Namespace) -> int:
        if error is not None:
            raise error
        return 0

    return run_command(argparse.Namespace(command="nodes", handler=handler))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, 0),
        (CastRayError(K.NODE_UNKNOWN, node="x", nodes="none"), 2),
        (CastRayError(K.NO_CLUSTER), 3),
        (CastRayError(K.NO_ROOM), 1),
        (KeyboardInterrupt(), 130),
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
