"""A disk that stops answering in the middle of a cast ends the delivery, or the cast, with that reason."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState, SourceState
from castray_desktop.workers.agent.transfer.system import disk_watch
from tests.helpers.fault_fs import FaultDisk, fault_fs
from tests.workers.agent.transfer.lab import Lab, Node, await_true

MIB = 1 << 20


@pytest.fixture
async def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FaultDisk]:
    monkeypatch.setattr(disk_watch, "CHECK_SECONDS", 0.05)
    async with fault_fs(tmp_path / "mount") as disk:
        yield disk


async def asked_until(node: Node, wanted: Callable[[], bool]) -> None:
    """Reports are asked for, as the driver does every other second."""

    def ask() -> bool:
        node._changed(True)
        return wanted()

    await asyncio.to_thread(await_true, ask)


def silent(failure: Failure | None, node: str) -> bool:
    return failure is not None and (failure.kind, failure.values["node"]) == (
        FailureKind.FOLDER_SILENT,
        node,
    )


async def test_a_recipient_fails_and_does_nothing_more(
    lab: Lab, disk: FaultDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = lab.chain(1)
    cast = lab.cast(nodes[0], [lab.file("a.bin", 4 * MIB)])
    await disk.hold("write", "/parts/", after_bytes=2 * MIB)
    cast.deliver(nodes[1], nodes[0].upstream(), disk.mount / "in")
    await disk.held()
    monkeypatch.setattr(disk_watch, "SILENT_SECONDS", 0.3)  # not before: it may be slow
    ended = nodes[1].deliveries
    await asked_until(nodes[1], lambda: ended[cast.cast].state is RecipientState.FAILED)
    assert silent(ended[cast.cast].failure, "node_1")
    cast.forget()
    await disk.go_on()
    async with asyncio.timeout(20):
        while await disk.names():  # noqa: ASYNC110 - what its thread does now has no event
            await asyncio.sleep(0.01)


async def test_a_source_fails(lab: Lab, disk: FaultDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = lab.chain(0)
    await asyncio.to_thread(shutil.copy, lab.file("a.bin", 4 * MIB), disk.mount / "a.bin")
    await disk.hold("read", "a.bin", after_bytes=2 * MIB)
    cast = await asyncio.to_thread(lab.cast, source, [disk.mount / "a.bin"])
    await asyncio.to_thread(cast.source.plane.drain_reports)
    await disk.held()
    monkeypatch.setattr(disk_watch, "SILENT_SECONDS", 0.3)  # not before: it may be slow
    reports = source.sources
    await asked_until(source, lambda: reports[cast.cast].state is SourceState.FAILED)
    assert silent(reports[cast.cast].failure, "node_0")
    cast.forget()
    await disk.go_on()
