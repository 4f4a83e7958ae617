"""A staging folder that can't be removed at first is removed as soon as its disk allows it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from castray_desktop.workers.agent.transfer.store.staging import Staging, StagingRegistry
from tests.helpers.fault_fs import FaultDisk, fault_fs


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[FaultDisk]:
    async with fault_fs(tmp_path / "mount") as disk:
        yield disk


def records(home: Path) -> list[str]:
    return [path.name for path in (home / "staging").glob("*")]


async def test_it_is_removed_once_the_disk_can_be_written_to(disk: FaultDisk, home: Path) -> None:
    registry = StagingRegistry()
    staging = await asyncio.to_thread(Staging, bytes(disk.mount), "cast", "node", {}, registry)
    await disk.set_state(read_only=True)
    with pytest.raises(OSError):
        await asyncio.to_thread(staging.remove)
    await asyncio.to_thread(registry.remove_left)
    assert await disk.names() != []
    assert records(home) == ["cast-node"]
    await disk.set_state(read_only=False)
    await asyncio.to_thread(registry.remove_left)
    assert await disk.names() == []
    assert records(home) == []


async def test_where_none_can_be_made_there_is_no_record(disk: FaultDisk, home: Path) -> None:
    await disk.set_state(read_only=True)
    with pytest.raises(OSError):
        await asyncio.to_thread(Staging, bytes(disk.mount), "cast", "node", {}, StagingRegistry())
    assert records(home) == []


@pytest.mark.parametrize("journal", [b"", bytes(200)])
async def test_what_a_loss_of_power_leaves_is_replaced(tmp_path: Path, home: Path, journal: bytes) -> None:
    Staging(bytes(tmp_path), "cast", "node", {}, StagingRegistry()).keep()
    (tmp_path / ".castray-cast-node" / "journal").write_bytes(journal)
    staging = Staging(bytes(tmp_path), "cast", "node", {}, StagingRegistry())
    assert not staging.resumed
    staging.remove()
    assert list(tmp_path.iterdir()) == []
    assert records(home) == []


def test_it_is_resumed_after_a_process_with_the_same_number_was_killed(tmp_path: Path, home: Path) -> None:
    """In a container the next agent often has the process number of the one before."""
    Staging(bytes(tmp_path), "cast", "node", {}, StagingRegistry()).keep()
    (tmp_path / ".castray-cast-node" / f"owner-{os.getpid()}").touch()
    staging = Staging(bytes(tmp_path), "cast", "node", {}, StagingRegistry())
    assert staging.resumed
    staging.remove()
