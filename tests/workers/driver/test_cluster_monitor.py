"""The driver's cluster monitor: real sockets for the head, and a fake Ray; probes of ports and nodes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.nodes import driver_protocol
from castray_desktop.workers.driver import cluster_monitor
from castray_desktop.workers.driver.cluster_monitor import ClusterMonitor, NodeProbes, ProbeResult, probe_port
from tests.helpers.patience import PATIENCE

ONE = driver_protocol.RayNode("1", "10.0.0.1", "one")
OTHER = driver_protocol.RayNode("2", "10.0.0.2", "other")


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_monitor, "POLL_SECONDS", 0.005)
    monkeypatch.setattr(cluster_monitor, "RETRY_SECONDS", 0.005)


async def head() -> tuple[asyncio.Server, str]:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    return server, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def up(address: str) -> driver_protocol.ClusterUp:
    return driver_protocol.ClusterUp(address, "2.60.0", "3.11.7", (ONE,))


async def test_it_tells_of_other_nodes_once_and_of_the_head_s_end() -> None:
    server, address = await head()
    looks: list[tuple[driver_protocol.RayNode, ...]] = [(ONE,), (ONE, OTHER), (ONE, OTHER)]
    told: asyncio.Queue[Any] = asyncio.Queue()

    def look() -> tuple[driver_protocol.RayNode, ...]:
        return looks.pop(0) if len(looks) > 1 else looks[0]

    watch = asyncio.create_task(ClusterMonitor("far", up(address), look).run(told.put_nowait))
    async with asyncio.timeout(PATIENCE):
        assert await told.get() == driver_protocol.NodesSeen((ONE, OTHER))
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

    def look() -> tuple[driver_protocol.RayNode, ...]:
        raise ConnectionError("the client is not connected")

    async with asyncio.timeout(PATIENCE):
        await ClusterMonitor("far", up(address), look).run(told.append)
    assert [message.failure.kind for message in told] == [FailureKind.CLUSTER_LOST]
    server.close()
    await server.wait_closed()


async def test_from_outside_the_head_s_raylet_is_needed() -> None:
    server, address = await head()
    raylet, raylet_address = await head()
    port = int(raylet_address.rpartition(":")[2])
    first = driver_protocol.RayNode("1", "127.0.0.1", "one", head=True, port=port)
    nodes = (first, OTHER, driver_protocol.RayNode("", "10.0.0.9", "own", mine=True))
    told: list[Any] = []
    seen = asyncio.Event()

    def look() -> tuple[driver_protocol.RayNode, ...]:
        loop.call_soon_threadsafe(seen.set)
        return nodes

    loop = asyncio.get_running_loop()
    there = driver_protocol.ClusterUp(address, "2.60.0", "3.11.7", nodes)
    watch = asyncio.create_task(ClusterMonitor("ray://far", there, look).run(told.append))
    async with asyncio.timeout(PATIENCE):
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


def node(number: int) -> driver_protocol.RayNode:
    return driver_protocol.RayNode(f"id-{number}", f"10.0.0.{number}", f"host-{number}", port=6000)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, ProbeResult]:
    """The results of probes by address; `THERE` by default."""
    known: dict[str, ProbeResult] = {}

    async def probe(host: str, port: int) -> ProbeResult:
        known.setdefault(host, ProbeResult.THERE)
        return known[host]

    monkeypatch.setattr(cluster_monitor, "probe_port", probe)
    return known


async def test_real_ports() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await probe_port("127.0.0.1", port) is ProbeResult.THERE
    server.close()
    await server.wait_closed()
    assert await probe_port("127.0.0.1", port) is ProbeResult.REFUSED
    assert await probe_port("no such host", port) is ProbeResult.SILENT


async def test_a_node_that_refuses_is_gone_at_once(answers: dict[str, ProbeResult]) -> None:
    nodes, probes = (node(1), node(2)), NodeProbes()
    assert await probes.reachable(nodes) == nodes
    answers["10.0.0.2"] = ProbeResult.REFUSED
    assert await probes.reachable(nodes) == (node(1),)
    answers["10.0.0.2"] = ProbeResult.THERE
    assert await probes.reachable(nodes) == nodes


async def test_a_node_is_gone_after_two_silent_probes(answers: dict[str, ProbeResult]) -> None:
    nodes, probes = (node(1),), NodeProbes()
    await probes.reachable(nodes)
    answers["10.0.0.1"] = ProbeResult.SILENT
    assert await probes.reachable(nodes) == nodes
    answers["10.0.0.1"] = ProbeResult.THERE
    assert await probes.reachable(nodes) == nodes
    answers["10.0.0.1"] = ProbeResult.SILENT
    assert await probes.reachable(nodes) == nodes
    assert await probes.reachable(nodes) == ()


async def test_a_node_that_never_answered_counts_as_reachable(answers: dict[str, ProbeResult]) -> None:
    answers["10.0.0.1"] = ProbeResult.REFUSED
    probes = NodeProbes()
    for _ in range(3):
        assert await probes.reachable((node(1),)) == (node(1),)


async def test_many_nodes_are_probed_in_turns(answers: dict[str, ProbeResult]) -> None:
    nodes, probes = tuple(node(number) for number in range(120)), NodeProbes()
    await probes.reachable(nodes)
    assert len(answers) == cluster_monitor.MAX_PARALLEL_PROBES
    for _ in range(3):
        await probes.reachable(nodes)
    assert len(answers) == 120
