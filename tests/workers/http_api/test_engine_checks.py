"""What the engine refuses, through the API in front of a real engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from castray_desktop.core.protocol.messages import THIS_COMPUTER
from castray_desktop.workers.client.client_cache import ReconnectingClient
from castray_desktop.workers.http_api.access_control import AllowedHosts
from castray_desktop.workers.http_api.api_app import ApiApp
from tests.helpers.engine_home import EngineHome
from tests.workers.http_api.conftest import TOKEN


@pytest.fixture
async def api(engine_home: EngineHome) -> AsyncIterator[ApiApp]:
    """The API of an engine whose cluster is ready."""
    engine = ReconnectingClient(engine_home.paths, "api", "local")
    await engine.open()
    yield ApiApp(engine, TOKEN, AllowedHosts("127.0.0.1"))
    await engine.close()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/casts", {"paths": ["/x", "data"]}),
        ("/api/v1/preflight", {"paths": ["data"]}),
        ("/api/v1/schedules", {"paths": ["data"], "name": "nightly", "cron": "0 3 * * *"}),
        ("/api/file-transfers/manual", {"file_path": "data"}),
    ],
)
@pytest.mark.parametrize("source", ["node_1", None])
async def test_a_relative_path_is_refused(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], source: str | None
) -> None:
    named = "source" if "paths" in body else "sender_id"
    response = await client.post(path, json={**body, named: source, "recipients": ["node_2"]})
    assert (response.status_code, response.json()["kind"]) == (400, "relative_path"), response.text
    sentence = f"data is a relative path, but paths on {source or THIS_COMPUTER} must be absolute."
    assert response.json()["detail"].startswith(sentence)


async def test_addresses_of_stores_are_no_relative_paths(client: httpx.AsyncClient) -> None:
    body = {"paths": ["hf://no-repository"], "recipients": ["node_2"], "source": "node_1"}
    response = await client.post("/api/v1/casts", json=body)
    assert response.json().get("kind") != "relative_path"
