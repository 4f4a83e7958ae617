"""Measure the shares of a multicast cast and of TCP traffic on one link at the same time."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lab import IPERF_PORT, Host
from benchmarks.trials import Bench, TrialFailed, stopwatch
from castray_desktop.core.protocol.messages import TransportOption

SETTLE_SECONDS = 2.0
"""Seconds before the measurement starts."""

EVENT_SECONDS = 120.0


@dataclass(frozen=True)
class Shares:
    """Shares of the total of both."""

    ours: float  # share of the multicast cast, 0..1
    used: float  # rate of one TCP stream alone


async def beside_iperf(lab: Bench, path: Path) -> Shares:
    """Run beside one stream of iperf3 from the source to a host that is no recipient. Raises TrialFailed."""
    source, *_, target = lab.lab.hosts
    found = []

    async def during(cast: str) -> Collection[str]:
        await begun(lab, cast)
        seconds = 0.6 * path.stat().st_size / lab.limit - SETTLE_SECONDS / 2
        found.append(await _iperf(lab, cast, source, target, seconds))
        return ()

    await lab.run(path, during, lab.recipients[:-1], TransportOption.UDP)
    return found[0]


async def _iperf(lab: Bench, cast: str, source: Host, target: Host, seconds: float) -> Shares:
    server = lab.lab.iperf_server(target)
    try:
        await asyncio.to_thread(lab.lab.wait_for_port, target, IPERF_PORT)
        command = ["iperf3", "--client", target.address, "--port", str(IPERF_PORT), "--json"]
        client = lab.lab.popen(
            source,
            [*command, "--time", f"{seconds + SETTLE_SECONDS:g}", "--omit", f"{SETTLE_SECONDS:g}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        talk = asyncio.create_task(asyncio.to_thread(client.communicate))
        await asyncio.sleep(SETTLE_SECONDS)
        ours = await _rate(lab, cast, seconds)
        said, _ = await talk
    finally:
        server.kill()
        server.wait()
    report = json.loads(said)
    if "error" in report:
        raise TrialFailed(f"iperf3: {report['error']}")
    theirs = float(report["end"]["sum_received"]["bits_per_second"]) / 8
    return Shares(ours / (ours + theirs), (ours + theirs) / lab.limit)


async def beside_a_cast(lab: Bench, path: Path) -> Shares:
    """Run beside a relay cast of the same file to a host that is not a recipient. Raises TrialFailed."""
    *recipients, other = lab.recipients
    found = []

    async def during(cast: str) -> Collection[str]:
        relay = lab.send(path, [other])
        await begun(lab, cast)
        await lab.nodes.until(lambda: lab.bytes_at(relay, other) > 0, EVENT_SECONDS)
        await asyncio.sleep(SETTLE_SECONDS)
        seconds = 0.6 * path.stat().st_size / lab.limit - SETTLE_SECONDS / 2
        theirs = asyncio.create_task(_rate(lab, relay, seconds))
        ours = await _rate(lab, cast, seconds)
        together = ours + await theirs
        found.append(Shares(ours / together, together / lab.limit))
        await lab.nodes.cast_manager.cancel(relay)
        return ()

    await lab.run(path, during, recipients, TransportOption.UDP)
    return found[0]


async def begun(lab: Bench, cast: str) -> None:
    """Wait until datagrams deliver data."""

    def datagrams() -> bool:
        return any(report.datagram_bytes for (one, _), report in lab.nodes.reports.items() if one == cast)

    await lab.nodes.until(datagrams, EVENT_SECONDS)


async def _rate(lab: Bench, cast: str, seconds: float) -> float:
    """Average bytes per second for each recipient of a cast. Raises TrialFailed if it ends before."""
    nodes = [node for one, node in lab.nodes.reports if one == cast]
    passed = stopwatch()
    before = [lab.bytes_at(cast, node) for node in nodes]
    await asyncio.sleep(seconds)
    took = passed()
    if all(item.state.finished for item in lab.nodes.cast_manager.deliveries()[cast]):
        raise TrialFailed("the cast ended too early to be compared: it had more than its share")
    after = [lab.bytes_at(cast, node) for node in nodes]
    return sum(after[at] - before[at] for at in range(len(nodes))) / len(nodes) / took
