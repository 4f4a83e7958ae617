"""What a delivery records survives a disk that was full for a moment, and a torn end."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from castray_desktop.workers.agent.transfer.store.journal import DROP, MOVE, CommitLog, CommitStep, Journal

HEADER = {"cast": "c"}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_a_record_of_which_a_full_disk_took_a_part_is_an_error_and_cut_off_later(
    tmp_path: Path, folder: int
) -> None:
    journal = Journal.create(b"journal", folder, HEADER)
    journal.append(1, b"a" * 16)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (tmp_path / "journal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, limits[1]))  # the system writes what still fits
    try:
        with pytest.raises(OSError, match="too large"):
            journal.append(2, b"b" * 16)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    journal.close()
    again = Journal.reopen(b"journal", folder, HEADER)
    assert again is not None
    again.append(3, b"c" * 16)
    assert list(again.records()) == [(1, b"a" * 16), (3, b"c" * 16)]
    again.close()


@pytest.mark.parametrize("torn", [b"mo", b"move 62", b"move 62 ", b"stand 62 2f69"])
def test_a_line_after_a_torn_one_counts(tmp_path: Path, folder: int, torn: bytes) -> None:
    """The torn one was never acted on. The next entry would be committed twice after another end."""
    log = CommitLog(b"landing", folder)
    log.append(MOVE, b"a", b"/in/a")
    log.close()
    with (tmp_path / "landing").open("ab") as file:
        file.write(torn)
    log = CommitLog(b"landing", folder)
    log.append(MOVE, b"c", b"/in/c")
    log.append(DROP, b"d")
    assert log.steps() == {
        b"a": CommitStep(MOVE, b"/in/a"),
        b"c": CommitStep(MOVE, b"/in/c"),
        b"d": CommitStep(DROP, b""),
    }
    log.close()
