"""The WebSocket over a real port."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from castray_desktop.core.protocol import messages as m
from castray_desktop.workers.http_api.api_app import ApiApp, ApiServer, address_of, open_port
from tests.helpers.answering_engine import AnsweringEngine
from tests.helpers.fake_engine import finished_cast, finished_deliveries, sending_cast
from tests.helpers.patience import PATIENCE
from tests.workers.http_api.conftest import TOKEN

HEADERS = {"Authorization": f"Bearer {TOKEN}"}
RESULT = m.CastResult(finished_cast(), finished_deliveries(), 80.0)


@pytest.fixture
def server(api: ApiApp) -> ApiServer:
    return ApiServer(api.app)


@pytest.fixture
async def address(server: ApiServer) -> AsyncIterator[str]:
    """Of the server, which runs."""
    listener = open_port("127.0.0.1", 0)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    yield address_of(listener).replace("http:", "ws:") + "/ws"
    server.end()
    async with asyncio.timeout(PATIENCE):
        await serving
    listener.close()


async def hear(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        message: dict[str, Any] = json.loads(await socket.recv())
        return message


async def test_the_complete_state_comes_first_then_events(address: str, api: ApiApp) -> None:
    async with connect(address, additional_headers=HEADERS) as socket:
        welcome = await hear(socket)
        assert welcome["type"] == "Welcome"
        assert len(welcome["nodes"]) == 4
        assert set(welcome["deliveries"]) == {"c0ffee000001", "c0ffee000002"}
        api.publish(RESULT)
        assert (await hear(socket))["type"] == "CastResult"


async def test_a_browser_shows_the_token_as_a_subprotocol(address: str) -> None:
    names = [websockets.Subprotocol("castray"), websockets.Subprotocol(f"castray.token.{TOKEN}")]
    async with connect(address, subprotocols=names) as socket:
        assert socket.subprotocol == "castray"
        assert (await hear(socket))["type"] == "Welcome"


@pytest.mark.parametrize(
    "asking",
    [
        {},
        {"additional_headers": {"Authorization": "Bearer wrong"}},
        {"subprotocols": ["castray", "castray.token.wrong"]},
        {"subprotocols": ["castray", TOKEN]},
        {"additional_headers": {**HEADERS, "Host": "evil.example"}},
    ],
    ids=repr,
)
async def test_strangers_are_refused(address: str, asking: dict[str, Any]) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(address, **asking):
            pass
    assert caught.value.response.status_code == 403


async def test_a_slow_client_loses_progress_but_no_result_and_delays_no_other(
    address: str, api: ApiApp, engine: AnsweringEngine
) -> None:
    """It reads nothing while progress and results fill every buffer many times."""
    many = tuple(f"node_{number}" for number in range(500))
    async with (
        connect(address, additional_headers=HEADERS, max_queue=1) as slow,
        connect(address, additional_headers=HEADERS) as fast,
    ):
        await hear(fast)
        for number in range(400):
            api.publish(m.CastChanged(sending_cast(done_bytes=number, chain=many, recipients=many)))
            if number % 40 == 0:
                api.publish(m.CastResult(finished_cast(cast=f"{number:012x}"), (), 1.0))
            if number % 40 == 0:
                while (await hear(fast))["type"] != "CastResult":
                    pass
        api.publish(m.CastsRemoved(("the end",)))
        heard = []
        while not heard or heard[-1]["type"] != "CastsRemoved":
            heard.append(await hear(slow))
    kinds = [message["type"] for message in heard]
    assert kinds.count("CastResult") == 10
    assert kinds.count("CastChanged") < 400
    last = [message for message in heard if message["type"] == "CastChanged"][-1]
    assert last["summary"]["done_bytes"] == 399


async def test_a_disconnected_client_is_removed(address: str, api: ApiApp) -> None:
    async with connect(address, additional_headers=HEADERS) as socket:
        await hear(socket)
        assert len(api._queues) == 1
    async with asyncio.timeout(PATIENCE):
        while api._queues:
            api.publish(RESULT)
            await asyncio.sleep(0)


async def test_no_answer_waits_for_an_acknowledgement(address: str, server: ApiServer) -> None:
    """With Nagle's algorithm each of many answers over one connection takes 40 ms."""
    url = address.replace("ws:", "http:").replace("/ws", "/api/status")
    async with httpx.AsyncClient(headers=HEADERS) as client:
        assert (await client.get(url)).status_code == 200
        (connection,) = server.server_state.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
