"""A whole engine inside the test's process, behind its real socket, with fake drivers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from castray_desktop.core.protocol.nodes import driver_protocol
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.base.state_files import open_socket
from castray_desktop.workers.client.engine_client import EngineClient
from castray_desktop.workers.clusters.cluster_supervisor import ClusterSupervisor
from castray_desktop.workers.engine.process import EngineProcess
from tests.helpers.fake_driver import FakeDriver
from tests.helpers.patience import PATIENCE


class EngineHome:
    """An engine in this process, with a clock that the test advances."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.now = 0.0
        self.running_here: tuple[str, ...] = ()
        self.checks = asyncio.Event()
        self.drivers: list[FakeDriver] = []
        self.script: Callable[[FakeDriver], None] = FakeDriver.come_up
        self.engine = EngineProcess(
            paths,
            lambda paths, listener: ClusterSupervisor(paths, listener, start_driver=self.start_driver),
            self.clock,
            lambda: self.running_here,
        )
        self.running = asyncio.create_task(self.engine.run(open_socket(paths.socket)), name="engine")

    def clock(self) -> float:
        self.checks.set()
        return self.now

    async def start_driver(self, paths: Paths, target: str, **options: bool) -> FakeDriver:
        driver = FakeDriver()
        driver.obedient = True
        self.script(driver)
        self.drivers.append(driver)
        return driver

    async def agent_called(self) -> None:
        """Wait until the engine has called an agent of its first cluster."""
        async with asyncio.timeout(PATIENCE):
            while not self.drivers:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
        await self.drivers[0].wait_for(driver_protocol.AgentCall)

    async def alone(self, clients: int = 0) -> None:
        """Wait until the engine has noticed that a client left."""
        async with asyncio.timeout(PATIENCE):
            while len(self.engine.clients) > clients:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)

    async def checked(self) -> None:
        """Wait until the engine has checked the clock."""
        async with asyncio.timeout(PATIENCE):
            for _ in range(2):
                self.checks.clear()
                await self.checks.wait()

    async def connect(self) -> EngineClient:
        return await EngineClient.connect(self.paths, "test", start=False)

    async def ended(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.running

    async def speak(self, data: bytes) -> bytes:
        """Send bytes to the socket; returns the reply until the engine closes the connection."""
        reader, writer = await asyncio.open_unix_connection(str(self.paths.socket))
        writer.write(data)
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()
        writer.close()
        return answer
