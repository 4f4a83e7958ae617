"""A connection that survives its engine."""

from __future__ import annotations

import asyncio

import pytest

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.client import client_cache
from castray_desktop.workers.client.client_cache import ReconnectingClient
from castray_desktop.workers.engine import process as engine_module
from tests.helpers.engine_home import EngineHome
from tests.helpers.patience import PATIENCE


@pytest.fixture
def paths(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setattr(engine_module, "CHECK_SECONDS", 0.005)
    monkeypatch.setattr(client_cache, "RECONNECT_SECONDS", 0.01)
    return paths


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
    async with asyncio.timeout(PATIENCE):
        while not wanted():  # type: ignore[operator] # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)


async def test_the_next_engine_restores_the_schedule_and_its_cluster(paths: Paths) -> None:
    first = EngineHome(paths)
    listener = Listener()
    connection = ReconnectingClient(paths, "api", "local")
    connection.add_listener(listener.hear)
    await connection.open()
    await until(lambda: len(connection.cache.nodes) == 4)
    assert listener.count(messages.Welcome) >= 1
    await connection.request(messages.StopEngine(), messages.Done)
    await first.ended()
    paths.socket.unlink(missing_ok=True)  # like an engine that shuts down normally
    await until(lambda: not connection.connected)
    with pytest.raises(CastRayError) as caught:
        await connection.request(messages.GetStatus(), messages.EngineStatus)
    assert caught.value.failure.kind is FailureKind.ENGINE_UNREACHABLE

    second = EngineHome(paths)
    await until(lambda: connection.connected and len(connection.cache.nodes) == 4)
    assert connection.cache.cluster.target == "local"
    assert (await connection.request(messages.GetStatus(), messages.EngineStatus)).nodes == 4
    await connection.close()
    second.engine.commands.stopping.set()
    await second.ended()


async def test_one_that_was_killed_is_started_again_and_one_that_ended_is_waited_for(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine_home = EngineHome(paths)
    connection = ReconnectingClient(paths, "api")
    await connection.open()
    asked: list[bool] = []

    async def connect(_paths: Paths, _kind: str, *, start: bool = True) -> None:
        asked.append(start)
        raise CastRayError(FailureKind.ENGINE_UNREACHABLE, reason="this is a test")

    monkeypatch.setattr(client_cache.EngineClient, "connect", connect)
    engine_home.engine.commands.stopping.set()
    await engine_home.ended()
    paths.socket.touch()  # a killed engine leaves it
    await until(lambda: asked and asked[-1])
    paths.socket.unlink()
    await until(lambda: asked and not asked[-1])
    await connection.close()
