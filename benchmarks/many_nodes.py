"""Measure the idle cost of a cluster of many nodes for the engine.

    python -m benchmarks.many_nodes [--nodes 200] [--seconds 10]

The engine is the real one, behind its socket, with a client that reads everything. The driver is simulated:
each node reports its facts every two seconds, as the JSON lines of the real driver. Prints the share
of a core that the engine's process uses, which includes the simulated driver and the client.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import ClusterPhase
from castray_desktop.core.protocol.nodes import agent_reports, driver_protocol, json_codec
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.base.state_files import open_socket
from castray_desktop.workers.client.engine_client import EngineClient
from castray_desktop.workers.clusters.cluster_supervisor import ClusterSupervisor
from castray_desktop.workers.engine.process import EngineProcess

REPORT_SECONDS = 2.0
BAR = 0.10
TICKS = 50


class Player:
    """Simulates the driver of a cluster; implements `DriverHandle`."""

    def __init__(self, count: int) -> None:
        self.temp_dir = Path("/tmp/castray-many-nodes")
        self._count = count
        self._lines: asyncio.Queue[bytes] = asyncio.Queue()
        self._names: list[str] = []
        self._reporting = asyncio.create_task(self._report())

    def send(self, message: Any) -> None:
        if isinstance(message, driver_protocol.StartCluster):
            nodes = tuple(_ray_node(number) for number in range(self._count))
            self._say(driver_protocol.ClusterUp("10.0.0.0:6379", "2.60.0", "3.11.7", nodes))
        elif isinstance(message, driver_protocol.PlaceAgent):
            self._names.append(message.name)
            hello = agent_reports.AgentHello(message.name, 1, message.address, 7000, "host", "", "/inbox")
            self._say(driver_protocol.AgentUp(hello))
        elif isinstance(message, driver_protocol.AgentCall):
            self._say(driver_protocol.AgentCallResult(message.number))

    async def _report(self) -> None:
        """Report for one node after the other, so that the reports are spread over time."""
        number = 0
        while True:
            for _ in range(max(1, self._count // TICKS)):
                if self._names:
                    number += 1
                    load = number % 100 / 100
                    facts = agent_reports.MachineFacts(64.0, 1 << 38, number << 20, 1 << 40, 1 << 41, load)
                    name = self._names[number % len(self._names)]
                    self._say(driver_protocol.Reported(name, agent_reports.AgentReport(facts=facts)))
            await asyncio.sleep(REPORT_SECONDS / TICKS)

    def _say(self, message: Any) -> None:
        self._lines.put_nowait(json_codec.to_json(message))

    async def messages(self) -> AsyncIterator[Any]:
        while line := await self._lines.get():
            yield json_codec.from_json(line, driver_protocol.FromDriver)

    def hang_up(self) -> None:
        self._lines.put_nowait(b"")

    async def stop(self) -> None:
        self._reporting.cancel()


def _ray_node(number: int) -> driver_protocol.RayNode:
    address = f"10.0.{number >> 8}.{number & 255}"
    return driver_protocol.RayNode(f"{number:056x}", address, f"host-{number}", cpus=64.0)


async def measure(count: int, seconds: float) -> float:
    """The share of a core that is used while nothing is sent."""
    with tempfile.TemporaryDirectory(prefix="castray-many-") as name:
        paths = Paths(Path(name), Path(name) / "run" / "s.sock")
        paths.prepare()

        async def start(paths: Paths, target: str, **options: bool) -> Player:
            return Player(count)

        engine = EngineProcess(
            paths, lambda paths, listener: ClusterSupervisor(paths, listener, start_driver=start)
        )
        running = asyncio.create_task(engine.run(open_socket(paths.socket)))
        client = await EngineClient.connect(paths, "test", start=False)
        await client.request(messages.UseCluster("10.0.0.0:6379"), messages.Done)
        reading = asyncio.create_task(_read(client, count))
        await reading
        draining = asyncio.create_task(_drain(client))
        before, begun = time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        share = (time.process_time() - before) / (time.monotonic() - begun)
        await client.request(messages.StopEngine(), messages.Done)
        await running
        await draining
        await client.close()
    return share


async def _read(client: EngineClient, count: int) -> None:
    """Wait until all nodes are online."""
    async for event in client.events():
        if isinstance(event, messages.ClusterChanged):
            ready = event.cluster.phase is ClusterPhase.READY and event.cluster.nodes_ready == count
            if ready:
                return


async def _drain(client: EngineClient) -> None:
    async for _ in client.events():
        pass


def main() -> int:
    """Measure, and print whether the result is within the target."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_nodes", description=__doc__)
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    share = asyncio.run(measure(options.nodes, options.seconds))
    print(f"{options.nodes} nodes, nothing sent: {share:.1%} of a core (bar: {BAR:.0%} for 200 nodes)")
    return 0 if share < BAR else 1


if __name__ == "__main__":
    sys.exit(main())
