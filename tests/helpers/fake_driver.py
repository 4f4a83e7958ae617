"""A driver without Ray: it records its orders, and sends the messages that a test gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

from castray_desktop.core.protocol.nodes import agent_reports, driver_protocol
from tests.helpers.patience import PATIENCE

OrderType = TypeVar("OrderType")

RAY_NODE = driver_protocol.RayNode("ab" * 28, "127.0.0.1", "head", head=True, mine=True, cpus=2.0, memory=10)


def hello(name: str) -> agent_reports.AgentHello:
    return agent_reports.AgentHello(name, 1, "127.0.0.1", 7000, "host", "", f"/inbox/{name}")


class FakeDriver:
    """Implements `DriverHandle`."""

    def __init__(self) -> None:
        self.temp_dir = Path("/tmp/castray-test")
        self.orders: list[Any] = []
        self.stopped = 0
        self.hung_up = False
        self.obedient = False  # its agents execute every order at once
        self.stopping = asyncio.Event()
        self.stop_allowed = asyncio.Event()
        self.stop_allowed.set()
        self._answers = False
        self._planning = False
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
        self._ordered = asyncio.Event()

    # the test's messages

    def say(self, *messages: Any) -> None:
        """An exception is raised instead of sent."""
        for message in messages:
            self._messages.put_nowait(message)

    def end(self) -> None:
        self._messages.put_nowait(None)

    def up(self, *nodes: driver_protocol.RayNode) -> driver_protocol.ClusterUp:
        return driver_protocol.ClusterUp("127.0.0.1:6379", "2.60.0", "3.11.7", nodes or (RAY_NODE,))

    def come_up(self, *nodes: driver_protocol.RayNode) -> None:
        """Be ready, and have an agent for every node of the plan; the test adds later ones."""
        self._answers = True
        self.say(self.up(*nodes))

    def sent(self, kind: type[OrderType]) -> list[OrderType]:
        return [order for order in self.orders if isinstance(order, kind)]

    async def wait_for(self, kind: type[OrderType], count: int = 1) -> OrderType:
        async with asyncio.timeout(PATIENCE):
            while len(self.sent(kind)) < count:
                self._ordered.clear()
                await self._ordered.wait()
        return self.sent(kind)[count - 1]

    # the methods that the supervisor calls

    def send(self, message: Any) -> None:
        self.orders.append(message)
        self._ordered.set()
        if self._answers and self._planning and isinstance(message, driver_protocol.PlaceAgent):
            self.say(driver_protocol.AgentUp(hello(message.name)))
        if self.obedient and isinstance(message, driver_protocol.AgentCall):
            self.say(driver_protocol.AgentCallResult(message.number))

    async def messages(self) -> AsyncIterator[Any]:
        while (message := await self._messages.get()) is not None:
            if isinstance(message, Exception):
                raise message
            self._planning = isinstance(message, driver_protocol.ClusterUp)
            yield message
            self._planning = False

    def hang_up(self) -> None:
        self.hung_up = True
        self.end()

    async def stop(self) -> None:
        self.stopping.set()
        await self.stop_allowed.wait()
        self.stopped += 1
