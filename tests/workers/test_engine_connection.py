"""A connection that outlives its engine."""

from __future__ import annotations

import asyncio

import pytest

from castray_desktop.core import messages
from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.workers import engine as engine_module
from castray_desktop.workers import engine_connection
from castray_desktop.workers.engine_connection import EngineConnection
from castray_desktop.workers.places import Places
from tests.helpers.house import House


@pytest.fixture
def places(places: Places, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setattr(engine_module, "CHECK_SECONDS", 0.005)
    monkeypatch.setattr(engine_connection, "AGAIN_SECONDS", 0.01)
    return places


class Listener:
    """Every event, and a way to wait for one."""

    def __init__(self) -> None:
        self.events: list[messages.Event] = []
        self.news = asyncio.Condition()

    def hear(self, event: messages.Event) -> None:
        self.events.append(event)

    def count(self, kind: type[messages.Message]) -> int:
        return sum(isinstance(event, kind) for event in self.events)


async def until(wanted: object) -> None:
    async with asyncio.timeout(5):
        while not wanted():  # type: ignore[operator] # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)


async def test_it_comes_back_with_the_next_engine_and_its_cluster(places: Places) -> None:
    first = House(places)
    listener = Listener()
    connection = EngineConnection(places, "api", "local")
    connection.listen(listener.hear)
    await connection.open()
    await until(lambda: len(connection.mirror.nodes) == 4)
    assert listener.count(messages.Welcome) >= 1
    await connection.request(messages.StopEngine(), messages.Done)
    await first.ended()
    places.socket.unlink(missing_ok=True)  # as an engine does that ends in order
    await until(lambda: not connection.connected)
    with pytest.raises(CastRayError) as caught:
        await connection.request(messages.GetStatus(), messages.EngineStatus)
    assert caught.value.failure.kind is FailureKind.ENGINE_UNREACHABLE

    second = House(places)
    await until(lambda: connection.connected and len(connection.mirror.nodes) == 4)
    assert connection.mirror.cluster.target == "local"
    assert (await connection.request(messages.GetStatus(), messages.EngineStatus)).nodes == 4
    await connection.close()
    second.engine._stopping.set()
    await second.ended()


async def test_one_that_was_killed_is_started_again_and_one_that_ended_is_waited_for(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(places)
    connection = EngineConnection(places, "api")
    await connection.open()
    asked: list[bool] = []

    async def connect(_places: Places, _kind: str, *, start: bool = True) -> None:
        asked.append(start)
        raise CastRayError(FailureKind.ENGINE_UNREACHABLE, reason="this is a test")

    monkeypatch.setattr(engine_connection.EngineClient, "connect", connect)
    house.engine._stopping.set()
    await house.ended()
    places.socket.touch()  # one that was killed leaves it
    await until(lambda: asked and asked[-1])
    places.socket.unlink()
    await until(lambda: asked and not asked[-1])
    await connection.close()
