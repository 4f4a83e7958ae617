"""Paths and patterns from files and from standard input."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from pathlib import Path

import pytest

from castray_desktop.cli.arguments import send_request
from castray_desktop.cli.command_line import parse_command
from castray_desktop.cli.path_lists import parse_paths, parse_patterns, read_path_lists
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.failures.sentences import sentence


def test_paths_are_lines_as_they_are() -> None:
    content = b"a\n\n b \r\n# c\ncaf\xe9"
    assert list(parse_paths(content)) == ["a", " b ", "# c", os.fsdecode(b"caf\xe9")]


def test_paths_that_end_with_nul_may_have_line_ends() -> None:
    assert list(parse_paths(b"a\nb\0c\0", null=True)) == ["a\nb", "c"]


def test_patterns_have_comments_and_blank_lines() -> None:
    content = b"# all logs\n*.log  \n\n   \ncache/\n\\#kept\n\\!too\n/top\n"
    assert list(parse_patterns(content, "f")) == ["*.log", "cache/", "#kept", "!too", "/top"]


def test_a_pattern_that_takes_in_again_is_refused() -> None:
    with pytest.raises(CastRayError) as caught:
        list(parse_patterns(b"*.log\n!keep.log\n", ".gitignore"))
    assert sentence(caught.value.failure).startswith(".gitignore, line 2: !keep.log can't be used. ")


async def test_lists_are_added_to_what_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two", "three"):
        (tmp_path / name).touch()
    (tmp_path / "list").write_text("two\n")
    (tmp_path / "ignore").write_text("*.o\n# no\n")
    stdin = io.TextIOWrapper(io.BytesIO(b"three\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    words = ["send", "one", "--files-from", "list", "--files-from", "-", "--to", "all"]
    options = parse_command([*words, "--exclude", "*.tmp", "--exclude-from", "ignore"])
    await read_path_lists(options)
    request = send_request(options)
    assert request.paths == tuple(str(tmp_path / name) for name in ("one", "two", "three"))
    assert request.options.exclude == ("*.tmp", "*.o")


@pytest.mark.parametrize(
    "words",
    [
        ["send", "--to", "all"],
        ["send", "x", "-0", "--to", "all"],
        ["send", "--files-from", "-", "--exclude-from", "-", "--to", "all"],
        ["schedule", "add", "nightly", "--to", "all", "--every", "1h"],
    ],
)
def test_what_argparse_does_not_refuse(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_command(words)
    assert caught.value.code == 2
    assert "usage: castray s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "kind"), [(None, FailureKind.NO_SUCH_FILE), ("folder", FailureKind.LIST_NOT_READ)]
)
async def test_a_list_that_can_not_be_read(tmp_path: Path, content: str | None, kind: FailureKind) -> None:
    if content:
        (tmp_path / "list").mkdir()
    options = parse_command(["send", "--files-from", str(tmp_path / "list"), "--to", "all"])
    with pytest.raises(CastRayError) as caught:
        await read_path_lists(options)
    assert caught.value.failure.kind is kind


async def test_an_empty_list_is_nothing_to_send(tmp_path: Path) -> None:
    (tmp_path / "list").touch()
    options = parse_command(["send", "--files-from", str(tmp_path / "list"), "--to", "all"])
    await read_path_lists(options)
    with pytest.raises(CastRayError) as caught:
        send_request(options)
    assert caught.value.failure.kind is FailureKind.NOTHING_TO_SEND


async def test_waiting_for_a_pipe_can_be_interrupted(tmp_path: Path) -> None:
    """Nobody opens the pipe for writing."""
    os.mkfifo(tmp_path / "pipe")
    options = parse_command(["send", "--files-from", str(tmp_path / "pipe"), "--to", "all"])
    reading = asyncio.create_task(read_path_lists(options))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    with (tmp_path / "pipe").open("wb"):
        pass  # so that the thread ends
