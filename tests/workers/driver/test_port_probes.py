"""TCP probes of real ports, and of a list of nodes."""

from __future__ import annotations

import asyncio

import pytest

from castray_desktop.core.protocol.nodes import agent_protocol
from castray_desktop.workers.driver import cluster_monitor
from castray_desktop.workers.driver.cluster_monitor import NodeProbes, ProbeResult, probe_port


def node(number: int) -> agent_protocol.RayNode:
    return agent_protocol.RayNode(f"id-{number}", f"10.0.0.{number}", f"host-{number}", port=6000)


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


async def test_a_refusal_is_believed_at_once(answers: dict[str, ProbeResult]) -> None:
    nodes, probes = (node(1), node(2)), NodeProbes()
    assert await probes.reachable(nodes) == nodes
    answers["10.0.0.2"] = ProbeResult.REFUSED
    assert await probes.reachable(nodes) == (node(1),)
    answers["10.0.0.2"] = ProbeResult.THERE
    assert await probes.reachable(nodes) == nodes


async def test_silence_is_believed_the_second_time(answers: dict[str, ProbeResult]) -> None:
    nodes, probes = (node(1),), NodeProbes()
    await probes.reachable(nodes)
    answers["10.0.0.1"] = ProbeResult.SILENT
    assert await probes.reachable(nodes) == nodes
    answers["10.0.0.1"] = ProbeResult.THERE
    assert await probes.reachable(nodes) == nodes
    answers["10.0.0.1"] = ProbeResult.SILENT
    assert await probes.reachable(nodes) == nodes
    assert await probes.reachable(nodes) == ()


async def test_who_never_answered_is_not_judged(answers: dict[str, ProbeResult]) -> None:
    answers["10.0.0.1"] = ProbeResult.REFUSED
    probes = NodeProbes()
    for _ in range(3):
        assert await probes.reachable((node(1),)) == (node(1),)


async def test_of_many_nodes_each_has_its_turn(answers: dict[str, ProbeResult]) -> None:
    nodes, probes = tuple(node(number) for number in range(120)), NodeProbes()
    await probes.reachable(nodes)
    assert len(answers) == cluster_monitor.MAX_PARALLEL_PROBES
    for _ in range(3):
        await probes.reachable(nodes)
    assert len(answers) == 120
