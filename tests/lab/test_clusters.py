"""A real Ray cluster whose nodes and head fail during a cast, seen from a host that is not a node of it."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.clusters import Desk, check_files, engine_in, kill, ray_processes
from benchmarks.laboratory.lab import Lab
from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import ClusterPhase
from castray_desktop.workers.clusters.agent_liveness import START_SECONDS
from castray_desktop.workers.clusters.cluster_supervisor import ANSWERED_SECONDS, ATTACH_SECONDS

MakeLab = Callable[..., Lab]

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

ATTACHED_SECONDS = ATTACH_SECONDS + ANSWERED_SECONDS + START_SECONDS
"""The engine has given up by then."""

ATTEMPTS = 3

NOTICED_SECONDS = 15.0
"""Ray itself takes longer to notice that a node is gone; how fast it is on a quiet machine is measured by
`benchmarks.clusters`.
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="castray-lab-", dir="/dev/shm") as name:
        yield Path(name)


async def attach(desk: Desk, target: str, nodes: int) -> None:
    """Attach as a person does, who tries again if Ray's client server was too slow to start its processes: it
    gives itself 30 s, and says so to the driver.
    """

    def ended() -> bool:
        return desk.is_ready(nodes) or desk.cache.cluster.phase is ClusterPhase.FAILED

    for _ in range(ATTEMPTS):
        await desk.use(target)
        await desk.until("trying", lambda: desk.cache.cluster.phase is not ClusterPhase.FAILED)
        await desk.until("attached from outside, or not", ended, ATTACHED_SECONDS)
        failure = desk.cache.cluster.failure
        if failure is None or failure.kind is not FailureKind.CLUSTER_UNREACHABLE:
            break
    assert desk.is_ready(nodes), desk.cache.cluster


async def test_a_raylet_and_then_the_head_are_killed(make_lab: MakeLab, folder: Path) -> None:
    lab = make_lab(3, "400mbit")
    head, worker, outside = lab.hosts
    await asyncio.to_thread(lab.start_ray, head)
    await asyncio.to_thread(lab.start_ray, worker, head)
    path = folder / "big.bin"
    path.write_bytes(os.urandom(90_000_000))
    async with engine_in(lab, outside, folder) as desk:
        await attach(desk, f"ray://{head.address}:10001", 3)
        cast = await desk.send(path, folder)
        await desk.until("some has arrived", lambda: desk.done_bytes(cast) > 30_000_000)
        kill(ray_processes(lab, worker, "raylet"))
        await desk.until("offline", lambda: not desk.is_online(worker.address), NOTICED_SECONDS)
        await asyncio.to_thread(lab.start_ray, worker, head)
        await desk.until("online again", lambda: desk.is_online(worker.address))
        await desk.until("the cast has ended", lambda: cast in desk.results)
        failures = [item.failure for item in desk.results[cast].deliveries if item.failure is not None]
        if failures:  # a busy machine starts Ray later than the delivery waits for its node
            assert [failure.kind for failure in failures] == [FailureKind.NODE_OFFLINE]
            del desk.results[cast]
            await desk.client.request(messages.Retry(cast), messages.Accepted)
            await desk.until("the retry has ended", lambda: cast in desk.results)
        check_files(desk, cast, path)
        kill(ray_processes(lab, head, "gcs_server", "raylet"))
        await desk.until(
            "said that the head is gone", lambda: desk.cache.cluster.failure is not None, NOTICED_SECONDS
        )
        assert desk.cache.cluster.failure is not None
        assert desk.cache.cluster.failure.kind is FailureKind.CLUSTER_LOST
