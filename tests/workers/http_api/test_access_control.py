"""Access to the API, for every route."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import httpx
import pytest

from castray_desktop.workers.http_api.access_control import AllowedHosts, is_loopback, load_token
from castray_desktop.workers.http_api.api_app import ApiApp
from tests.helpers.answering_engine import AnsweringEngine
from tests.workers.http_api.conftest import TOKEN


def every_request() -> list[tuple[str, str]]:
    """Each method and path of the application, including the files of the documentation."""
    app = ApiApp(AnsweringEngine(), TOKEN, AllowedHosts("127.0.0.1"))._build()
    documented = [
        (method.upper(), path.replace("{", "").replace("}", ""))
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    ]
    others = [("GET", path) for route in app.routes if (path := getattr(route, "path", ""))]
    return sorted({*documented, *others})


REQUESTS = every_request()


def test_those_are_all_of_them() -> None:
    assert len(REQUESTS) > 40
    assert {
        ("GET", "/docs"),
        ("GET", "/docs/swagger-ui-bundle.js"),
        ("GET", "/openapi.json"),
        ("GET", "/metrics"),
        ("POST", "/api/file-transfers/manual"),
        ("DELETE", "/api/nodes/node_id"),
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
async def test_without_the_token_nothing_is_told_or_done(
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


def test_what_a_server_for_others_goes_by() -> None:
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
