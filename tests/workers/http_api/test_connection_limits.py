"""Strangers with incomplete requests, and the owner beside them, over a real port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest

from castray_desktop.workers.http_api.api_app import ApiApp
from castray_desktop.workers.http_api.api_server import ApiServer, open_port
from castray_desktop.workers.http_api.connection_limits import ConnectionLimits
from tests.workers.http_api.conftest import TOKEN

HEADERS = {"Authorization": f"Bearer {TOKEN}"}
HEAD = f"Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
HALF = b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n"

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Served:
    """A server with small limits, and connections to it."""

    def __init__(self, api: ApiApp, bounds: ConnectionLimits) -> None:
        self.listener = open_port("127.0.0.1", 0)
        self.port = self.listener.getsockname()[1]
        self.server = ApiServer(api.app, bounds)
        self.serving = asyncio.create_task(self.server.serve(sockets=[self.listener]))
        self.connections: list[Connection] = []

    async def connect(self, said: bytes = b"") -> Connection:
        connection = await asyncio.open_connection("127.0.0.1", self.port)
        self.connections.append(connection)
        connection[1].write(said)
        return connection

    async def owner(self) -> int:
        """The status of the owner's request, on a separate connection."""
        async with httpx.AsyncClient(headers=HEADERS, timeout=5.0) as client:
            return (await client.get(f"http://127.0.0.1:{self.port}/api/nodes")).status_code

    async def close(self) -> None:
        for _, writer in self.connections:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        self.server.end()
        async with asyncio.timeout(10):
            await self.serving
        self.listener.close()


@pytest.fixture
async def served(api: ApiApp, request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    served = Served(api, getattr(request, "param", ConnectionLimits()))
    yield served
    await served.close()


async def answer(connection: Connection) -> bytes:
    """Everything until the server closes the connection."""
    async with asyncio.timeout(10):
        try:
            return await connection[0].read()
        except ConnectionResetError:
            return b""


@pytest.mark.parametrize("served", [ConnectionLimits(strangers=8)], indirect=True)
async def test_strangers_do_not_keep_the_owner_out(served: Served) -> None:
    strangers = [await served.connect(HALF) for _ in range(40)]
    assert await served.owner() == 200
    closed = [await answer(stranger) for stranger in strangers[:32]]
    assert closed == [b""] * 32
    assert len(served.server.server_state.connections) <= 9


@pytest.mark.parametrize("served", [ConnectionLimits(strangers=4)], indirect=True)
async def test_who_has_shown_the_token_is_no_stranger(served: Served) -> None:
    async with httpx.AsyncClient(headers=HEADERS, timeout=5.0) as client:
        url = f"http://127.0.0.1:{served.port}/api/nodes"
        assert (await client.get(url)).status_code == 200
        (own,) = served.server.server_state.connections
        for _ in range(20):
            stranger = await served.connect(HALF)
        assert await served.owner() == 200
        assert own in served.server.server_state.connections
        assert (await client.get(url)).status_code == 200
        assert own in served.server.server_state.connections
    assert not stranger[0].at_eof()


@pytest.mark.parametrize("served", [ConnectionLimits(connections=6)], indirect=True)
async def test_there_are_only_so_many_connections_at_all(served: Served) -> None:
    known = [await served.connect(f"GET /api/nodes HTTP/1.1\r\n{HEAD}\r\n".encode()) for _ in range(6)]
    for reader, _ in known:
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
    assert await answer(await served.connect(HALF)) == b""
    assert len(served.server.server_state.connections) == 6


@pytest.mark.parametrize("served", [ConnectionLimits(headers_seconds=0.05, body_seconds=0.05)], indirect=True)
@pytest.mark.parametrize(
    "said",
    [
        b"",
        HALF,
        f"POST /api/verify HTTP/1.1\r\n{HEAD}Content-Length: 50\r\n\r\n{{".encode(),
        f"POST /api/verify HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n".encode(),
    ],
    ids=["nothing", "headers", "body", "chunks"],
)
async def test_half_a_request_does_not_wait_for_ever(served: Served, said: bytes) -> None:
    assert (await answer(await served.connect(said))).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


@pytest.mark.parametrize("served", [ConnectionLimits(headers_seconds=0.05)], indirect=True)
async def test_a_second_request_has_its_time_as_well(served: Served) -> None:
    reader, writer = await served.connect(f"GET /api/nodes HTTP/1.1\r\n{HEAD}\r\n".encode())
    assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
    writer.write(b"\r\nGE")
    assert b"408 Request Timeout" in await answer((reader, writer))


@pytest.mark.parametrize("served", [ConnectionLimits(body_bytes=1000, header_bytes=2000)], indirect=True)
@pytest.mark.parametrize(
    ("said", "status"),
    [
        (f"POST /api/verify HTTP/1.1\r\n{HEAD}Content-Length: 1001\r\n\r\n".encode(), b"413 "),
        (
            f"POST /api/verify HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n3e9\r\n".encode()
            + b" " * 1001,
            b"413 ",
        ),
        (HALF + b"X-Long: " + b"x" * 2000, b"431 "),
    ],
    ids=["length", "chunks", "headers"],
)
async def test_what_is_too_large_is_refused(served: Served, said: bytes, status: bytes) -> None:
    assert (await answer(await served.connect(said))).startswith(b"HTTP/1.1 " + status)
    assert await served.owner() == 200


def test_the_bounds_leave_files_for_everything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 4096))
    assert (ConnectionLimits.of_process().strangers, ConnectionLimits.of_process().connections) == (64, 128)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (20_000, 20_000))
    assert ConnectionLimits.of_process() == ConnectionLimits()
