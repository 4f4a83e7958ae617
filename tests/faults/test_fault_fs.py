"""The file system that fails does what its rows rely on."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.helpers.fault_fs import FaultDisk, fault_fs


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[FaultDisk]:
    async with fault_fs(tmp_path / "mount") as disk:
        yield disk
    assert not (tmp_path / "mount").is_mount()


def sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


async def lost(disk: FaultDisk, names_stay: bool) -> dict[str, bytes]:
    await disk.lose_power(names_stay)
    return {path: await disk.read(path) for path in await disk.files()}


@pytest.mark.parametrize("names_stay", [False, True])
async def test_what_was_not_synced_is_lost(disk: FaultDisk, names_stay: bool) -> None:
    def work() -> None:
        for name in ("both", "contents", "name", "nothing"):
            (disk.mount / name).write_bytes(name.encode())
            if name in ("both", "contents"):
                sync(disk.mount / name)
            if name == "name":
                (disk.mount / "contents").rename(disk.mount / "elsewhere")
                sync(disk.mount)
                (disk.mount / "elsewhere").rename(disk.mount / "contents")
        with (disk.mount / "both").open("ab") as file:
            file.write(b" and more")

    await asyncio.to_thread(work)
    found = await lost(disk, names_stay)
    if names_stay:
        assert found == {
            "/both": b"both" + bytes(9),
            "/contents": b"contents",
            "/name": bytes(4),
            "/nothing": bytes(7),
        }
    else:
        assert found == {"/both": b"both", "/elsewhere": b"contents", "/name": b""}
    assert await lost(disk, not names_stay) == found


async def test_a_failed_sync_is_told_once_and_the_data_is_lost(disk: FaultDisk) -> None:
    def work() -> None:
        (disk.mount / "a").write_bytes(b"a")
        with pytest.raises(OSError, match="Input/output"):
            sync(disk.mount / "a")
        sync(disk.mount / "a")
        sync(disk.mount)

    await disk.set_state(errors={"fsync": 1})
    await asyncio.to_thread(work)
    assert await lost(disk, False) == {"/a": b""}


@pytest.mark.parametrize(
    ("state", "number"),
    [
        ({"full": True}, errno.ENOSPC),
        ({"read_only": True}, errno.EROFS),
        ({"errors": {"write": 1}}, errno.EIO),
    ],
)
async def test_it_fails_as_told_and_works_again(
    disk: FaultDisk, state: dict[str, object], number: int
) -> None:
    await disk.set_state(**state)
    path = disk.mount / "a"
    with pytest.raises(OSError) as failed:
        await asyncio.to_thread(path.write_bytes, b"a")
    assert failed.value.errno == number
    await disk.set_state(full=False, read_only=False, errors={})
    await asyncio.to_thread(path.write_bytes, b"a")
    assert await asyncio.to_thread(path.read_bytes) == b"a"


async def test_it_waits_at_the_right_byte_and_while_it_hangs(disk: FaultDisk) -> None:
    await disk.hold("write", "b$", after_bytes=3_000_000)
    writing = asyncio.create_task(asyncio.to_thread((disk.mount / "b").write_bytes, bytes(4_000_000)))
    assert await disk.held() == "/b"
    ((_, size),) = (await disk.files()).values()
    assert 0 < size <= 3_000_000
    await disk.set_state(hangs=True)
    await disk.go_on()
    assert not writing.done()
    await disk.set_state(hangs=False)
    assert await writing == 4_000_000


async def test_final_names_are_noted_as_they_come(disk: FaultDisk) -> None:
    def work() -> None:
        staging = disk.mount / ".castray-1-a"
        (staging / "parcel").mkdir(parents=True)
        (staging / "parcel" / "x").write_bytes(b"x")
        (staging / "parcel").rename(disk.mount / "parcel")
        (disk.mount / "partial").write_bytes(b"xy")

    await asyncio.to_thread(work)
    assert [(path, size) for path, _, size in await disk.final_names()] == [
        ("/parcel/x", 1),
        ("/partial", 0),
        ("/partial", 2),
    ]
    await disk.remove("/parcel")
    assert not await asyncio.to_thread((disk.mount / "parcel").exists)
    await disk.change("/partial", size=1)
    assert await asyncio.to_thread((disk.mount / "partial").read_bytes) == b"x"


async def test_renames_replace_only_where_they_may(disk: FaultDisk) -> None:
    from castray_desktop.workers.agent.transfer.system.linux_calls import rename_without_replacing

    def work() -> None:
        for name in ("a", "b"):
            (disk.mount / name).write_bytes(name.encode())
        fd = os.open(disk.mount, os.O_RDONLY)
        with pytest.raises(FileExistsError):
            rename_without_replacing(b"a", fd, b"b", fd)
        rename_without_replacing(b"a", fd, b"c", fd)
        os.close(fd)
        (disk.mount / "b").replace(disk.mount / "c")

    await asyncio.to_thread(work)
    assert {path: await disk.read(path) for path in await disk.files()} == {"/c": b"b"}
