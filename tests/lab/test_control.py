"""Pauses and absent recipients, between real agents over the links of a laboratory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.laboratory.lab import Lab
from benchmarks.laboratory.lab_nodes import LabNodes, lab_nodes
from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.protocol.messages import CastState, DeliveryState, SendRequest
from tests.lab.test_casts import SECONDS, assert_delivered, content, make_file, result, send

MakeLab = Callable[..., Lab]
pytestmark = pytest.mark.timeout(240)

STOP_SECONDS = 0.5
TRIES = 5
SILENT_AFTER = 5
"""The seconds after which links are silent in any case."""

SIZE = 40_000_000
"""Links are busy with it for longer than all tries take."""

QUIET_BYTES = 20_000
"""Bytes that may cross an idle link in a second: keep-alives and their acknowledgements."""


def traffic(lab: Lab) -> list[int]:
    return [sum(lab.traffic(host)) for host in lab.hosts]


async def largest_traffic(lab: Lab, seconds: float) -> int:
    """The bytes that cross a link in this time, of the link that most cross."""
    before = traffic(lab)
    await asyncio.sleep(seconds)
    return max(after - earlier for earlier, after in zip(before, traffic(lab), strict=True))


async def test_a_pause_silences_every_link_within_half_a_second(make_lab: MakeLab) -> None:
    """For slow links, on which a piece takes 0.4 s, and more than the kernel could buffer.

    A busy machine may hold up an agent that is told to pause: then links are silent a little later, and the
    cast goes on and is paused again.
    """
    lab = make_lab(3, "20mbit")
    async with lab_nodes(lab) as nodes:
        path = make_file(nodes, SIZE)
        cast = send(nodes, path)
        for _ in range(TRIES):
            before = has(nodes, cast, "h2")
            await nodes.until(lambda: has(nodes, cast, "h2") > before + 1_000_000, SECONDS)  # noqa: B023
            await nodes.cast_manager.commands.pause(cast)
            await asyncio.sleep(STOP_SECONDS)
            crossing = [await largest_traffic(lab, 1.0)]
            while crossing[-1] >= QUIET_BYTES and len(crossing) < SILENT_AFTER:
                crossing.append(await largest_traffic(lab, 1.0))
            assert crossing[-1] < QUIET_BYTES
            assert has(nodes, cast, "h2") < SIZE  # it is silent because of the pause
            assert nodes.cast_manager.summaries()[0].state is CastState.PAUSED
            if len(crossing) == 1:
                break
            nodes.cast_manager.commands.resume(cast)
        assert len(crossing) == 1
        for host in lab.hosts:
            lab.set_rate(host, "400mbit")
        nodes.cast_manager.commands.resume(cast)
        ended = await result(nodes, cast)
        assert_delivered(nodes, ended, path)
        assert ended.summary.source_copies <= 1.01
        assert all(copies <= 1.01 for copies in received(nodes, cast))


def has(nodes: LabNodes, cast: str, node: str) -> int:
    report = nodes.reports.get((cast, node))
    return report.stream_bytes if report is not None else 0


def received(nodes: LabNodes, cast: str) -> list[float]:
    """The number of copies that each recipient received."""
    reports = [report for (of, _), report in nodes.reports.items() if of == cast]
    assert len(reports) == 2
    return [report.received_bytes / report.stream_bytes for report in reports]


async def test_who_is_off_at_first_is_served_by_a_recipient_when_the_source_is_gone(
    make_lab: MakeLab,
) -> None:
    lab = make_lab(4, "400mbit")
    async with lab_nodes(lab) as nodes:
        path = make_file(nodes, 5_000_000)
        await nodes.kill("h3")
        request = SendRequest(
            (str(path),), ("h1", "h2", "h3"), source="h0", options=TransferOptions(await_offline=True)
        )
        cast = nodes.cast_manager.send(request)
        ended = await result(nodes, cast)
        assert [item.state for item in ended.deliveries] == [
            *(DeliveryState.COMPLETED, DeliveryState.COMPLETED),
            DeliveryState.AWAITED,
        ]
        await nodes.kill("h0")
        await nodes.place(lab.hosts[3])
        await nodes.until(lambda: not nodes.cast_manager.has_deferred, SECONDS)
        served = nodes.cast_manager.deliveries()[cast][2]
        assert served.state is DeliveryState.COMPLETED
        assert Path(served.paths[0]).parent == nodes.folder / "h3"
        assert content(Path(served.paths[0])) == content(path)
        assert [item.state for item in nodes.cast_manager.summaries()] == [CastState.COMPLETED] * 2
        assert nodes.cast_manager.summaries()[1].source in ("h1", "h2")
