"""Casts leave nothing behind in engine and agents, one after the other and many at once."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from benchmarks import many_casts
from benchmarks.laboratory.in_process import InProcess
from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.protocol.messages import CastState, SendRequest
from castray_desktop.workers.casts import cast_publisher

pytestmark = pytest.mark.timeout(180)
CASTS = 24
STEP = 10
NODES = ("s", "a", "b", "c")


async def test_nothing_grows_with_the_number_of_casts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASTRAY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(cast_publisher, "MAX_KEPT_CASTS", 5)
    samples = await many_casts.run(tmp_path, casts=30, recipients=2, step=STEP)
    _, middle, last = samples
    assert last.kept == middle.kept == 5
    assert last.threads - middle.threads < STEP // 2  # one may end a moment later
    assert last.descriptors - middle.descriptors < STEP // 2
    assert last.objects - middle.objects < 20 * STEP  # a remaining cast would have about eighty each


@pytest.mark.parametrize("at_once", [0, 4])
async def test_many_casts_at_once_all_arrive_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """All together, or four at a time in the order in which they were sent."""
    monkeypatch.setenv("CASTRAY_HOME", str(tmp_path / "home"))
    contents = {number: os.urandom(300_000 + number) for number in range(CASTS)}
    sent: list[str] = []
    async with InProcess(tmp_path / "nodes", NODES) as machines:
        machines.cast_manager.set_max_running(at_once)

        async def send(number: int) -> None:
            path = tmp_path / f"file {number}"
            path.write_bytes(contents[number])
            options = TransferOptions(destination=str(tmp_path / "out" / str(number) / "{node}"))
            cast = machines.cast_manager.send(SendRequest((str(path),), ("all",), options=options))
            sent.append(cast)
            result = await machines.cast_manager.result(cast)
            assert result.summary.state is CastState.COMPLETED, result
            states = {each.cast: each.state for each in machines.cast_manager.summaries()}
            assert not at_once or sum(map(is_active, states.values())) <= at_once
            queued = [cast for cast in sent if states.get(cast) is CastState.QUEUED]
            assert queued == sent[len(sent) - len(queued) :]  # those that were sent before have begun

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for number in range(CASTS):
                group.create_task(send(number))
    for number, content in contents.items():
        for node in NODES[1:]:
            assert (tmp_path / "out" / str(number) / node / f"file {number}").read_bytes() == content
    assert list(tmp_path.rglob(".castray-*")) == []


def is_active(state: CastState) -> bool:
    """Whether a cast in this state is one of those that run."""
    return not state.finished and state is not CastState.QUEUED
