"""The driver's watch over the cluster: real sockets for the head, and a Ray that says what the test says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from castray_desktop.core.failure import FailureKind
from castray_desktop.workers.ray_side import protocol, watching
from castray_desktop.workers.ray_side.watching import ClusterWatch

ONE = protocol.RayNode("1", "10.0.0.1", "one")
OTHER = protocol.RayNode("2", "10.0.0.2", "other")


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.005)
    monkeypatch.setattr(watching, "AGAIN_SECONDS", 0.005)


async def head() -> tuple[asyncio.Server, str]:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    return server, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def up(address: str) -> protocol.ClusterUp:
    return protocol.ClusterUp(address, "2.60.0", "3.11.7", (ONE,))


async def test_it_tells_of_other_nodes_once_and_of_the_head_s_end() -> None:
    server, address = await head()
    looks: list[tuple[protocol.RayNode, ...]] = [(ONE,), (ONE, OTHER), (ONE, OTHER)]
    told: asyncio.Queue[Any] = asyncio.Queue()

    def look() -> tuple[protocol.RayNode, ...]:
        return looks.pop(0) if len(looks) > 1 else looks[0]

    watch = asyncio.create_task(ClusterWatch("far", up(address), look).run(told.put_nowait))
    async with asyncio.timeout(5):
        assert await told.get() == protocol.NodesSeen((ONE, OTHER))
        server.close()
        await server.wait_closed()
        lost = await told.get()
        await watch
    assert lost.failure.kind is FailureKind.CLUSTER_LOST
    assert lost.failure.values == {"target": "far"}
    assert told.empty()


async def test_a_ray_that_raises_all_the_time_is_lost() -> None:
    server, address = await head()
    told: list[Any] = []

    def look() -> tuple[protocol.RayNode, ...]:
        raise ConnectionError("the client is not connected")

    async with asyncio.timeout(5):
        await ClusterWatch("far", up(address), look).run(told.append)
    assert [message.failure.kind for message in told] == [FailureKind.CLUSTER_LOST]
    server.close()
    await server.wait_closed()


async def test_from_outside_the_head_s_raylet_is_needed() -> None:
    server, address = await head()
    raylet, raylet_address = await head()
    port = int(raylet_address.rpartition(":")[2])
    first = protocol.RayNode("1", "127.0.0.1", "one", head=True, port=port)
    nodes = (first, OTHER, protocol.RayNode("", "10.0.0.9", "own", mine=True))
    told: list[Any] = []
    seen = asyncio.Event()

    def look() -> tuple[protocol.RayNode, ...]:
        loop.call_soon_threadsafe(seen.set)
        return nodes

    loop = asyncio.get_running_loop()
    there = protocol.ClusterUp(address, "2.60.0", "3.11.7", nodes)
    watch = asyncio.create_task(ClusterWatch("ray://far", there, look).run(told.append))
    async with asyncio.timeout(5):
        for _ in range(2):
            seen.clear()
            await seen.wait()
        assert told == []
        raylet.close()
        await raylet.wait_closed()
        await watch
    assert [message.failure.kind for message in told] == [FailureKind.CLUSTER_LOST]
    server.close()
    await server.wait_closed()
