"""Access to the API, for every route, and limits of connections."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from castray_desktop.workers.http_api.access_control import (
    PUBLIC,
    AllowedHosts,
    ConnectionLimits,
    is_loopback,
    load_token,
)
from castray_desktop.workers.http_api.api_app import ApiApp, ApiServer, open_port
from tests.helpers.answering_engine import AnsweringEngine
from tests.helpers.patience import PATIENCE
from tests.workers.http_api.conftest import TOKEN


def every_request() -> list[tuple[str, str]]:
    """Each method and path of the application, including the files of the documentation."""
    app = ApiApp(AnsweringEngine(), TOKEN, AllowedHosts("127.0.0.1")).framework
    return sorted(
        (method, route.path.replace("{", "").replace("}", ""))
        for route in app.state.all_routes
        if route.path not in PUBLIC
        for method in route.methods
    )


REQUESTS = every_request()


def test_the_document_has_every_route() -> None:
    assert len(REQUESTS) > 80
    assert {
        ("GET", "/docs"),
        ("GET", "/docs/swagger-ui-bundle.js"),
        ("GET", "/openapi.json"),
        ("GET", "/metrics"),
        ("POST", "/api/file-transfers/manual"),
        ("DELETE", "/api/nodes/node"),
        ("POST", "/api/v1/casts"),
        ("DELETE", "/api/v1/nodes/node"),
    } <= set(REQUESTS)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": TOKEN},
        {"Authorization": f"Token {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": "Bearer \xe9"},
        {"Authorization": "Basic " + base64.b64encode(b"x:wrong").decode()},
        {"Authorization": "Basic ???"},
    ],
    ids=repr,
)
async def test_without_the_token_every_request_is_refused(
    client: httpx.AsyncClient, engine: AnsweringEngine, headers: dict[str, str]
) -> None:
    del client.headers["Authorization"]
    raw = [(key.encode(), value.encode("latin-1")) for key, value in headers.items()]
    for method, path in [*REQUESTS, ("GET", "/nothing"), ("OPTIONS", "/api/status"), ("TRACE", "/docs")]:
        for query in ("", f"?token={TOKEN}"):
            response = await client.request(method, path + query, headers=raw)
            assert response.status_code == 401, (method, path)
            assert "Bearer" in response.headers["WWW-Authenticate"]
            assert "access-control-allow-origin" not in response.headers
    assert engine.commands == []


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8001",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "",
        "[::2]",
    ],
)
async def test_a_foreign_host_is_refused(
    client: httpx.AsyncClient, engine: AnsweringEngine, host: str
) -> None:
    for method, path in REQUESTS:
        response = await client.request(method, path, headers={"Host": host})
        assert response.status_code == 400, (method, path)
        if method != "HEAD":
            assert response.json()["kind"] == "bad_host"
    assert engine.commands == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8001", "127.0.0.1:1", "[::1]:8001", "[::1]"])
async def test_its_own_names_are_let_in(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/api/status", headers={"Host": host})).status_code == 200


async def test_no_site_is_let_in_by_a_browser(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/status", headers={"Origin": "https://elsewhere.example"})
    assert [name for name in response.headers if name.startswith("access-control")] == []


async def test_a_browser_reads_the_documents_by_password_and_nothing_else(client: httpx.AsyncClient) -> None:
    del client.headers["Authorization"]
    first = await client.get("/docs")
    assert 'Basic realm="' in first.headers.get_list("WWW-Authenticate")[1]
    for path, status in (
        ("/docs", 200),
        ("/openapi.json", 200),
        ("/docs/swagger-ui.css", 200),
        ("/api/status", 401),
    ):
        assert (await client.get(path, auth=("", TOKEN))).status_code == status
    assert (await client.post("/api/casts/c0ffee/cancel", auth=("", TOKEN))).status_code == 401


def test_names_of_a_server_for_other_machines() -> None:
    everywhere = AllowedHosts("0.0.0.0", own=("Box", "box.lan"))
    assert all(everywhere.allows(name) for name in ("box:8001", "box.lan", "10.0.0.7:8001", "[fe80::1]:8001"))
    assert not everywhere.allows("evil.example")
    one = AllowedHosts("10.0.0.7", own=("box",))
    assert one.allows("10.0.0.7:8001")
    assert not one.allows("10.0.0.8")
    assert not AllowedHosts("127.0.0.1", own=("box",)).allows("box")


def test_addresses_that_only_this_machine_reaches() -> None:
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.8.8.8", "::1"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "box"))


def test_the_token_is_made_once_for_its_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "api-token"
    token = load_token(path)
    assert len(token) >= 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_token(path) == token


def test_a_token_that_others_could_read_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "api-token"
    load_token(path)
    path.chmod(0o640)
    with pytest.raises(PermissionError, match="could be read by others"):
        load_token(path)
    path.unlink()
    path.touch(0o600)
    with pytest.raises(PermissionError, match="no token"):
        load_token(path)


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
        async with httpx.AsyncClient(headers=HEADERS, timeout=PATIENCE) as client:
            return (await client.get(f"http://127.0.0.1:{self.port}/api/nodes")).status_code

    async def close(self) -> None:
        for _, writer in self.connections:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        self.server.end()
        async with asyncio.timeout(PATIENCE):
            await self.serving
        self.listener.close()


@pytest.fixture
async def served(api: ApiApp, request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    served = Served(api, getattr(request, "param", ConnectionLimits()))
    yield served
    await served.close()


async def answer(connection: Connection) -> bytes:
    """Everything until the server closes the connection."""
    async with asyncio.timeout(PATIENCE):
        try:
            return await connection[0].read()
        except ConnectionResetError:
            return b""


@pytest.mark.parametrize("served", [ConnectionLimits(strangers=8, arrival_seconds=0.2)], indirect=True)
async def test_strangers_do_not_keep_the_owner_out(served: Served) -> None:
    strangers = [await served.connect(HALF) for _ in range(40)]
    assert await served.owner() == 200
    closed = [await answer(stranger) for stranger in strangers[:32]]
    assert closed == [b""] * 32
    assert len(served.server.server_state.connections) <= 9


@pytest.mark.parametrize("served", [ConnectionLimits(strangers=8)], indirect=True)
async def test_clients_that_come_at_once_are_all_served(served: Served) -> None:
    """All are accepted before the first request is read."""
    request = f"GET /api/nodes HTTP/1.1\r\n{HEAD}\r\n".encode()
    clients = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(60)]  # in the backlog
    for client in clients:
        client.sendall(request)
    for client in clients:
        connection = await asyncio.open_connection(sock=client)
        served.connections.append(connection)
        async with asyncio.timeout(PATIENCE):
            assert (await connection[0].readline()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("served", [ConnectionLimits(strangers=4, arrival_seconds=0.2)], indirect=True)
async def test_who_has_shown_the_token_is_no_stranger(served: Served) -> None:
    async with httpx.AsyncClient(headers=HEADERS, timeout=PATIENCE) as client:
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


@pytest.mark.parametrize("served", [ConnectionLimits(headers_seconds=0.5)], indirect=True)
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
        (f"GET /api/status HTTP/1.1\r\n{HEAD}X-Long: {'x' * 2000}\r\n\r\n".encode(), b"431 "),
    ],
    ids=["length", "chunks", "headers", "headers at once"],
)
async def test_too_large_requests_are_refused(served: Served, said: bytes, status: bytes) -> None:
    assert (await answer(await served.connect(said))).startswith(b"HTTP/1.1 " + status)
    assert await served.owner() == 200


def test_the_bounds_leave_files_for_everything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 4096))
    assert (ConnectionLimits.of_process().strangers, ConnectionLimits.of_process().connections) == (64, 128)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (20_000, 20_000))
    assert ConnectionLimits.of_process() == ConnectionLimits()
