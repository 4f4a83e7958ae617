"""Casts between real agents over the links of a laboratory."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.laboratory.flipping_proxy import flipping
from benchmarks.laboratory.lab import Lab
from benchmarks.laboratory.lab_nodes import LabNodes, lab_nodes
from benchmarks.relay import given_away
from castray_desktop.core.casts.transfer_options import Encryption, TransferOptions
from castray_desktop.core.content.stream_layout import choose_piece_bytes
from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.messages import (
    CastResult,
    CastState,
    DeliveryState,
    SendRequest,
    TransportOption,
)

MakeLab = Callable[..., Lab]
pytestmark = pytest.mark.timeout(240)

SECONDS = 90
TRIES = 5


def make_file(nodes: LabNodes, size: int, name: str = "model.bin") -> Path:
    path = nodes.folder / "source" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    return path


LIMIT = 6_000_000
"""A cast has so many bytes per second where something must happen in the middle of it, and then no limit."""

MUCH = 30_000_000


def send(nodes: LabNodes, path: Path, encrypt: Encryption = Encryption.AUTO, limit: int = 0) -> str:
    options = TransferOptions(encrypt=encrypt, limit=limit)
    request = SendRequest((str(path),), ("all",), source=nodes.lab.hosts[0].name, options=options)
    return nodes.cast_manager.send(request)


async def result(nodes: LabNodes, cast: str) -> CastResult:
    await nodes.until(lambda: not nodes.cast_manager.unfinished, SECONDS)
    return await nodes.cast_manager.result(cast)


def content(path: Path) -> dict[str, bytes]:
    """The paths at or below a path."""
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {str(item.relative_to(path.parent)): item.read_bytes() for item in found if item.is_file()}


def assert_delivered(nodes: LabNodes, ended: CastResult, path: Path) -> None:
    assert ended.summary.state is CastState.COMPLETED, ended
    for delivery in ended.deliveries:
        assert delivery.state is DeliveryState.COMPLETED
        assert content(Path(delivery.paths[0])) == content(path)
        assert Path(delivery.paths[0]).parent == nodes.folder / delivery.node


def is_direct(nodes: LabNodes, ended: CastResult, node: str) -> bool:
    """Whether it has dialled its upstream; or, held up by a busy machine, asked it to dial as well."""
    (transport,) = [delivery.transport for delivery in ended.deliveries if delivery.node == node]
    asked = nodes.reports[ended.summary.cast, node].asked
    return transport == "direct" or (transport == "reverse" and asked > 0)


async def assert_others_complete(nodes: LabNodes, cast: str, without: str, path: Path) -> None:
    others = [host.name for host in nodes.lab.hosts[1:] if host.name != without]
    for node, delivery in (await nodes.ended(cast, others, SECONDS)).items():
        assert delivery.state is DeliveryState.COMPLETED, (node, delivery)
        assert content(Path(delivery.paths[0])) == content(path)


async def test_every_byte_reaches_three_hosts_over_links_with_a_rate(make_lab: MakeLab) -> None:
    """A busy machine may hold up a connection or the bytes: then there is another cast."""
    lab = make_lab(4, "400mbit")
    async with lab_nodes(lab) as nodes:
        direct, shortest = set[str](), math.inf
        for number in range(TRIES):
            path = make_file(nodes, 40_000_001, f"{number}.bin")
            before = lab.traffic(lab.hosts[0])[0]
            ended = await result(nodes, send(nodes, path))
            assert_delivered(nodes, ended, path)
            assert all(is_direct(nodes, ended, node) for node in ended.summary.chain[1:])
            assert 1 <= ended.summary.source_copies < 1.1
            left = lab.traffic(lab.hosts[0])[0] - before
            assert 40_000_000 < left < 44_000_000  # once over the source's link
            assert ended.seconds > 0.8  # links limit it, none of which is gone around
            direct |= {delivery.node for delivery in ended.deliveries if delivery.transport == "direct"}
            shortest = min(shortest, ended.seconds)
            if len(direct) == 3 and shortest < 10:
                break
        assert direct == {"h1", "h2", "h3"}
        assert shortest < 10


async def test_a_killed_hop_is_gone_around(make_lab: MakeLab) -> None:
    lab = make_lab(4, "200mbit")
    async with lab_nodes(lab) as nodes:
        cast, path, middle = await send_past_the_middle(nodes)
        await nodes.kill(middle)
        await nodes.cast_manager.set_limit(cast, 0)
        await assert_others_complete(nodes, cast, middle, path)


async def send_past_the_middle(nodes: LabNodes) -> tuple[str, Path, str]:
    """A slow cast to a chain of three, its file, and the recipient in the middle, which has a part of it."""
    path = make_file(nodes, MUCH)
    cast = send(nodes, path, limit=LIMIT)
    await nodes.until(lambda: len(chain(nodes)) == 4, SECONDS)
    middle = chain(nodes)[2]
    await nodes.until(lambda: begun(nodes, cast, middle), SECONDS)
    return cast, path, middle


def chain(nodes: LabNodes) -> tuple[str, ...]:
    (summary,) = nodes.cast_manager.summaries()
    return summary.chain


def begun(nodes: LabNodes, cast: str, node: str) -> bool:
    """Whether it has a fifth, and more is to come."""
    report = nodes.reports.get((cast, node))
    return report is not None and MUCH / 5 < report.stream_bytes < MUCH


async def test_lost_packets_are_not_lost_bytes(make_lab: MakeLab) -> None:
    lab = make_lab(3, "100mbit", loss=0.01, coalesce=False)
    async with lab_nodes(lab) as nodes:
        path = make_file(nodes, 8_000_000)
        assert_delivered(nodes, await result(nodes, send(nodes, path)), path)


async def test_a_killed_hop_comes_back_and_completes(make_lab: MakeLab) -> None:
    lab = make_lab(4, "200mbit")
    async with lab_nodes(lab) as nodes:
        cast, path, middle = await send_past_the_middle(nodes)
        await nodes.kill(middle)
        await nodes.place(next(host for host in lab.hosts if host.name == middle))
        await nodes.cast_manager.set_limit(cast, 0)
        assert_delivered(nodes, await result(nodes, cast), path)
        report = nodes.reports[cast, middle]
        assert report.received_bytes < report.stream_bytes - 5_000_000  # it had at least a fifth


async def test_a_late_recipient_gets_everything(make_lab: MakeLab) -> None:
    lab = make_lab(4, "200mbit")
    async with lab_nodes(lab) as nodes:
        path = make_file(nodes, MUCH)
        options = TransferOptions(limit=LIMIT)
        request = SendRequest((str(path),), ("h1", "h2"), source="h0", options=options)
        cast = nodes.cast_manager.send(request)
        await nodes.until(lambda: begun(nodes, cast, "h1"), SECONDS)
        await nodes.cast_manager.add_recipients(cast, ("h3",))
        await nodes.cast_manager.set_limit(cast, 0)
        ended = await result(nodes, cast)
        assert len(ended.deliveries) == 3
        assert_delivered(nodes, ended, path)


async def test_a_killed_source_comes_back_and_goes_on(make_lab: MakeLab) -> None:
    lab = make_lab(3, "200mbit")
    async with lab_nodes(lab) as nodes:
        path = make_file(nodes, MUCH)
        cast = send(nodes, path, limit=LIMIT)
        await nodes.until(lambda: begun(nodes, cast, lab.hosts[1].name), SECONDS)
        await nodes.kill(lab.hosts[0].name)
        await nodes.place(lab.hosts[0])
        await nodes.cast_manager.set_limit(cast, 0)
        assert_delivered(nodes, await result(nodes, cast), path)


async def test_a_source_that_gave_everything_away_is_not_missed(make_lab: MakeLab) -> None:
    lab = make_lab(3, "400mbit", rates={2: "10mbit"})
    async with lab_nodes(lab) as nodes:
        path = make_file(nodes, 16 << 20)
        cast = send(nodes, path)
        await nodes.until(lambda: given_away(nodes, cast), SECONDS)
        assert not nodes.cast_manager.deliveries()[cast][1].state.finished
        await nodes.kill(lab.hosts[0].name)
        lab.set_rate(lab.hosts[2], "400mbit")
        assert_delivered(nodes, await result(nodes, cast), path)


@pytest.mark.slow
async def test_a_frozen_hop_is_gone_around(make_lab: MakeLab) -> None:
    lab = make_lab(4, "200mbit")
    async with lab_nodes(lab) as nodes:
        cast, path, middle = await send_past_the_middle(nodes)
        nodes.freeze(middle)
        await assert_others_complete(nodes, cast, middle, path)


async def test_a_flipped_bit_costs_one_piece(make_lab: MakeLab) -> None:
    lab = make_lab(3, "400mbit")
    source, first = lab.hosts[0], lab.hosts[1]
    async with lab_nodes(lab) as nodes:
        path = make_file(nodes, 16 << 20)
        with flipping(nodes, source, at=8 << 20):
            cast = send(nodes, path, Encryption.NEVER)  # TLS would notice it before the digest does
            ended = await result(nodes, cast)
        assert_delivered(nodes, ended, path)
        order = ended.summary.chain
        assert order[0] == source.name
        reports = [nodes.reports[cast, node] for node in order[1:]]
        again = [report.received_bytes - report.stream_bytes for report in reports]
        assert again == [
            choose_piece_bytes(reports[0].stream_bytes, 2),
            0,
        ]  # found at that hop, not forwarded
        assert first.name in order


async def test_a_node_that_lets_nobody_in_serves_by_dialling_out(make_lab: MakeLab) -> None:
    lab = make_lab(3, "400mbit")
    async with lab_nodes(lab) as nodes:
        lab.block(lab.hosts[0], "in")
        path = make_file(nodes, 5_000_000)
        ended = await result(nodes, send(nodes, path))
        assert_delivered(nodes, ended, path)
        transports = {delivery.node: delivery.transport for delivery in ended.deliveries}
        assert transports[ended.summary.chain[1]] == "reverse"
        assert is_direct(nodes, ended, ended.summary.chain[2])


async def test_a_folder_crosses_a_long_path(make_lab: MakeLab) -> None:
    lab = make_lab(2, "50mbit", delay=0.03)
    async with lab_nodes(lab) as nodes:
        for number in range(200):
            path = make_file(nodes, number * 137, f"many/{number % 7}/{number}.bin").parents[1]
        assert_delivered(nodes, await result(nodes, send(nodes, path)), path)


@pytest.mark.parametrize("rate", ["400mbit", None])
async def test_a_cast_over_ipv6(make_lab: MakeLab, rate: str | None) -> None:
    lab = make_lab(3, rate, ipv6=True)
    for host in lab.hosts:  # no data may go the other way
        lab.run(host, ["ip", "-4", "address", "flush", "dev", "eth0"], check=True)
    async with lab_nodes(lab) as nodes:
        path = make_file(nodes, 20_000_000)
        assert_delivered(nodes, await result(nodes, send(nodes, path)), path)


async def test_a_lost_agent_can_be_placed_again(make_lab: MakeLab) -> None:
    lab = make_lab(2, None)
    async with lab_nodes(lab) as nodes:
        path = make_file(nodes, 1_000_000)
        await nodes.kill("h1")
        await nodes.place(lab.hosts[1])
        assert_delivered(nodes, await result(nodes, send(nodes, path)), path)


async def test_agents_leave_neither_processes_nor_files(make_lab: MakeLab) -> None:
    lab = make_lab(3, None)
    async with lab_nodes(lab) as nodes:
        folder = nodes.folder
        assert all(len(lab.processes(host)) == 1 for host in lab.hosts)
    assert not any(lab.processes(host) for host in lab.hosts)
    assert not folder.exists()


@pytest.mark.slow
async def test_a_cast_that_no_connection_gets_through_ends_with_a_reason(make_lab: MakeLab) -> None:
    lab = make_lab(4, None)
    async with lab_nodes(lab) as nodes:
        for host in lab.hosts:
            lab.block(host, "in")
        path = make_file(nodes, 1_000_000)
        request = SendRequest(
            (str(path),),
            ("all",),
            source=lab.hosts[0].name,
            options=TransferOptions(transport=TransportOption.DIRECT),
        )
        ended = await result(nodes, nodes.cast_manager.send(request))
    assert ended.summary.state is CastState.FAILED
    for delivery in ended.deliveries:
        assert delivery.failure is not None
        assert delivery.failure.kind is FailureKind.NO_WAY
        assert ":" in delivery.failure.values["address"]
        assert ":" in delivery.failure.values["own"]
