"""Files that are replaced atomically, and files for their user alone."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from castray_desktop.workers.base.state_files import PrivateLogFile, open_private, replace_file
from tests.helpers.fault_fs import fault_fs


@pytest.mark.parametrize("synced", [False, True])
def test_a_file_is_replaced_and_belongs_to_its_user_alone(tmp_path: Path, synced: bool) -> None:
    path = tmp_path / "kept.json"
    replace_file(path, b"a longer first one", synced=synced)
    replace_file(path, b"second", synced=synced)
    assert path.read_bytes() == b"second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_crash_left_beside_it_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    (tmp_path / "kept.json.new").write_bytes(b"half of a much longer content")
    replace_file(path, b"whole")
    assert path.read_bytes() == b"whole"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "nowhere" / "kept.json", b"")


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_log_belongs_to_its_user_alone_also_when_it_is_rotated(tmp_path: Path, no_umask: None) -> None:
    (tmp_path / "a.log").write_text("of an earlier version, which others could read\n")
    handler = PrivateLogFile(tmp_path / "a.log", maxBytes=200, backupCount=2)
    for number in range(9):
        handler.emit(logging.LogRecord("a", logging.INFO, "", 0, f"{number} {'x' * 60}", None, None))
    handler.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log", "a.log.1", "a.log.2"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_a_file_that_is_opened_for_the_user_alone(tmp_path: Path, no_umask: None) -> None:
    with open_private(tmp_path / "a", "wb") as file:
        file.write(b"whole")
    with open_private(tmp_path / "a", "ab") as file:
        file.write(b" and more")
    assert (tmp_path / "a").read_bytes() == b"whole and more"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


@pytest.mark.parametrize("operation", ["write", "fsync"])
async def test_a_file_that_could_not_be_written_leaves_nothing(tmp_path: Path, operation: str) -> None:
    async with fault_fs(tmp_path / "mount") as disk:
        path = disk.mount / "a"
        await asyncio.to_thread(path.write_bytes, b"before")
        await disk.set_state(errors={operation: -1})
        with pytest.raises(OSError, match="Input/output"):
            await asyncio.to_thread(replace_file, path, b"after", synced=True)
        assert await disk.names() == ["/a"]
        assert await disk.read("/a") == b"before"
