"""The driver goes on while Ray blocks the creation of an agent, as it does without a head; how agents end."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from castray_desktop.core.protocol.nodes import agent_orders, driver_protocol, json_codec
from castray_desktop.workers.driver import ray_driver
from castray_desktop.workers.driver.ray_driver import RayDriver
from tests.helpers.fake_driver import hello

SECONDS = 20


class BlockedHandle:
    """An agent's handle whose creation blocks until it is let go."""

    begun = threading.Event()
    let_go = threading.Event()
    killed = threading.Event()
    kept: list[bool]

    def __init__(self, order: driver_protocol.PlaceAgent) -> None:
        self.begun.set()
        assert self.let_go.wait(SECONDS)
        self._lives = order.inbox == "lives"
        if order.inbox == "none":
            raise RuntimeError("no head")

    async def start(self) -> bytes:
        if not self._lives:
            raise RuntimeError("it can't start")
        return json_codec.to_json(hello("a"))

    async def report(self) -> bytes:
        await asyncio.Event().wait()
        return b""

    async def stop(self, keep: bool = False) -> None:
        self.kept.append(keep)

    def kill(self) -> None:
        self.killed.set()


class DriverLink:
    """The engine's end of a driver that runs in this process."""

    def __init__(self) -> None:
        for event in (BlockedHandle.begun, BlockedHandle.let_go, BlockedHandle.killed):
            event.clear()
        BlockedHandle.kept = []
        ours, self._theirs = socket.socketpair()
        self._ours = ours

    async def start(self) -> None:
        reader, self._driver_writer = await asyncio.open_unix_connection(sock=self._theirs)
        self.running = asyncio.create_task(RayDriver(reader, self._driver_writer).run())
        self._reader, self._writer = await asyncio.open_unix_connection(sock=self._ours)

    def send(self, message: object) -> None:
        self._writer.write(json_codec.to_json(message) + b"\n")

    async def hear(self) -> object:
        async with asyncio.timeout(SECONDS):
            return json_codec.from_json(await self._reader.readline(), driver_protocol.FromDriver)

    async def end(self) -> None:
        BlockedHandle.let_go.set()
        self._writer.write_eof()
        await asyncio.wait_for(self.running, SECONDS)
        for writer in (self._driver_writer, self._writer):
            writer.close()
            await writer.wait_closed()


@pytest.fixture(autouse=True)
def blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_driver, "ActorAgentHandle", BlockedHandle)


def place(inbox: str = "/inbox") -> driver_protocol.PlaceAgent:
    return driver_protocol.PlaceAgent(name="a", inbox=inbox, address="", node_id="1")


async def test_other_messages_are_answered_while_an_agent_is_created() -> None:
    link = DriverLink()
    await link.start()
    link.send(place())
    assert await asyncio.to_thread(BlockedHandle.begun.wait, SECONDS)
    link.send(driver_protocol.AgentCall(7, "b", agent_orders.InspectNode()))
    assert await link.hear() == driver_protocol.AgentCallResult(7, error="no agent b")
    BlockedHandle.let_go.set()
    assert await link.hear() == driver_protocol.AgentLost("a", "RuntimeError: it can't start")
    await link.end()


async def test_an_agent_that_is_removed_while_it_is_created_is_killed_and_not_told() -> None:
    link = DriverLink()
    await link.start()
    link.send(place("none"))
    assert await asyncio.to_thread(BlockedHandle.begun.wait, SECONDS)
    link.send(driver_protocol.RemoveAgent("a"))
    link.send(place())
    link.send(driver_protocol.AgentCall(7, "b", agent_orders.InspectNode()))
    await link.hear()
    BlockedHandle.let_go.set()
    lost = await link.hear()  # of the second one: nothing is told of the first
    assert lost == driver_protocol.AgentLost("a", "RuntimeError: it can't start")
    assert BlockedHandle.killed.is_set()
    await link.end()


@pytest.mark.parametrize("keep", [True, False])
async def test_an_agent_that_is_replaced_keeps_what_it_has_received(keep: bool) -> None:
    link = DriverLink()
    await link.start()
    BlockedHandle.let_go.set()
    link.send(place("lives"))
    assert await link.hear() == driver_protocol.AgentUp(hello("a"))
    link.send(driver_protocol.RemoveAgent("a", keep))
    link.send(place())
    assert isinstance(await link.hear(), driver_protocol.AgentLost)  # the first one has ended before
    assert BlockedHandle.kept == [keep]
    assert BlockedHandle.killed.is_set()
    await link.end()
