"""Files that are reported as delivered are on the disk: a sync error fails the delivery."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.workers.agent.transfer.system import linux_calls
from tests.workers.agent.transfer.lab import Lab, Node


class Disk:
    """A disk that answers `syncfs` and `fsync` as the test says, and records what was synced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.whole = 0  # the result of syncfs: 0 or an error number
        self.single: Callable[[str], int] = lambda path: 0  # the result of fsync
        self.synced: list[str] = []
        self.wholes = 0
        self.links: set[str] = set()  # names of the links that existed when their folder was synced
        monkeypatch.setattr(linux_calls, "_syncfs", self._syncfs)
        monkeypatch.setattr(os, "fsync", self._fsync)

    def _syncfs(self, fd: int) -> int:
        self.wholes += 1
        self._look(Path(f"/proc/self/fd/{fd}").readlink())
        ctypes.set_errno(self.whole)
        return -1 if self.whole else 0

    def _fsync(self, fd: int) -> None:
        path = str(Path(f"/proc/self/fd/{fd}").readlink())
        self.synced.append(path)
        self._look(Path(path))
        code = self.single(path)
        if code:
            raise OSError(code, os.strerror(code))

    def _look(self, folder: Path) -> None:
        if "parts" in folder.parts and folder.is_dir():
            self.links |= {path.name for path in folder.rglob("*") if path.is_symlink()}


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def nodes(lab: Lab) -> list[Node]:
    return lab.chain(1)


def make(lab: Lab, count: int) -> Path:
    folder = lab.files / "folder"
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}").write_bytes(os.urandom(1000))
    (folder / "link").symlink_to("0")
    return folder


@pytest.mark.parametrize("count", [3, 40])
def test_an_error_of_the_disk_ends_the_delivery(lab: Lab, nodes: list[Node], disk: Disk, count: int) -> None:
    disk.whole, disk.single = errno.EIO, lambda path: errno.EIO if "/parts" in path else 0
    (result,) = lab.send(nodes, [make(lab, count)])
    assert result.state is RecipientState.FAILED
    assert result.failure is not None
    assert result.failure.kind is FailureKind.WRITE_ERROR
    assert result.failure.values["reason"] == os.strerror(errno.EIO)
    assert not (nodes[1].inbox / "folder").exists()


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_each_file_is_synced_if_the_file_system_has_no_syncfs(
    lab: Lab, nodes: list[Node], disk: Disk, code: int
) -> None:
    disk.whole = code
    (result,) = lab.send(nodes, [make(lab, 40)])
    assert result.state is RecipientState.COMPLETED
    assert {path.rpartition("/")[2] for path in disk.synced} >= {str(number) for number in range(40)}


def test_an_error_of_one_of_these_files_counts(lab: Lab, nodes: list[Node], disk: Disk) -> None:
    disk.whole, disk.single = errno.EINVAL, lambda path: errno.EIO if path.endswith("/17") else 0
    (result,) = lab.send(nodes, [make(lab, 40)])
    assert result.state is RecipientState.FAILED
    assert result.failure is not None
    assert result.failure.values["path"] == str(nodes[1].inbox / "folder" / "17")


def test_so_does_an_error_of_the_folder_that_they_get_their_names_in(
    lab: Lab, nodes: list[Node], disk: Disk
) -> None:
    disk.single = lambda path: errno.EIO if path == str(nodes[1].inbox) else 0
    (result,) = lab.send(nodes, [make(lab, 3)])
    assert result.state is RecipientState.FAILED
    assert result.failure is not None
    assert result.failure.values["path"] == str(nodes[1].inbox)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
@pytest.mark.parametrize("on_conflict", ["skip", "rename"])
def test_a_file_system_that_cannot_sync_at_all_is_no_error(
    lab: Lab, nodes: list[Node], disk: Disk, code: int, on_conflict: str
) -> None:
    disk.whole, disk.single = code, lambda path: code
    (result,) = lab.send(nodes, [make(lab, 40)], on_conflict=on_conflict)
    assert result.state is RecipientState.COMPLETED


@pytest.mark.parametrize("count", [3, 40])
def test_links_are_there_when_their_folder_is_synced(
    lab: Lab, nodes: list[Node], disk: Disk, count: int
) -> None:
    lab.send(nodes, [make(lab, count)])
    assert disk.links == {"link"}
    assert disk.wholes == (1 if count > 16 else 0)


def test_a_new_destination_is_synced_with_the_folders_that_it_lies_in(
    lab: Lab, nodes: list[Node], disk: Disk
) -> None:
    dest = lab.folder / "new" / "newer"
    lab.send(nodes, [lab.file("a", 10)], dest)
    assert set(disk.synced) >= {str(lab.folder), str(lab.folder / "new"), str(dest)}


def test_an_error_of_the_folder_above_a_new_destination_counts(
    lab: Lab, nodes: list[Node], disk: Disk
) -> None:
    disk.single = lambda path: errno.EIO if path == str(lab.folder) else 0
    (result,) = lab.send(nodes, [lab.file("a", 10)], lab.folder / "new")
    assert result.state is RecipientState.FAILED
    assert not (lab.folder / "new").exists()
