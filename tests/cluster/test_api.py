"""`castray serve` end to end: send a cast over HTTP, follow it over the WebSocket, and compare the files."""

from __future__ import annotations

import asyncio
import filecmp
import json
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.cluster.conftest import Castray
from tests.helpers.trees import make_file

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def api(cluster: Castray) -> Iterator[httpx.Client]:
    """A client of a server that runs during the tests."""
    server = cluster.start("serve", "--port", "0", "--read-only-token")
    assert server.stdout is not None
    address = server.stdout.readline().split()[4].rstrip(",")
    assert "The token is in" in server.stdout.readline()
    token = (cluster.home / "castray" / "api-token").read_text().strip()
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
        yield client
    server.send_signal(signal.SIGTERM)
    output, errors = server.communicate(timeout=30)
    assert token not in output + errors
    assert server.returncode == 0
    logs = cluster.home / "castray" / "logs"
    assert all(token not in path.read_text(errors="replace") for path in logs.glob("*.log"))


def test_a_cast_over_http(api: httpx.Client, tmp_path: Path) -> None:
    file = make_file(tmp_path / "x.bin", 30_000_000)
    body = {"file_path": str(file), "recipients": "all", "dest": str(tmp_path / "{node}"), "limit": "4MB/s"}

    async def follow() -> list[dict[str, Any]]:
        headers = {"Authorization": api.headers["Authorization"]}
        address = str(api.base_url.copy_with(scheme="ws", path="/ws"))
        heard: list[dict[str, Any]] = []
        async with connect(address, additional_headers=headers, max_size=None) as socket:
            heard.append(json.loads(await socket.recv()))
            cast = (await asyncio.to_thread(api.post, "/api/file-transfers/manual", json=body)).json()["cast"]
            assert (await asyncio.to_thread(api.get, f"/api/casts/{cast}")).json()["state"] != "completed"
            while not {"DeliveriesChanged", "Throughput"} <= {message["type"] for message in heard}:
                heard.append(json.loads(await asyncio.wait_for(socket.recv(), 60)))
            lifted = await asyncio.to_thread(api.put, f"/api/casts/{cast}/limit", json={"limit": "off"})
            assert lifted.status_code == 200
            while heard[-1]["type"] != "CastResult" or heard[-1]["summary"]["cast"] != cast:
                heard.append(json.loads(await asyncio.wait_for(socket.recv(), 60)))
        return heard

    heard = asyncio.run(follow())
    assert heard[0]["type"] == "Welcome"
    assert {"CastChanged", "DeliveriesChanged", "Throughput"} <= {message["type"] for message in heard}
    result = api.get(f"/api/casts/{heard[-1]['summary']['cast']}/result").json()
    assert (result["state"], len(result["deliveries"])) == ("completed", 3)
    assert all(filecmp.cmp(file, item["paths"][0], shallow=False) for item in result["deliveries"])


def test_a_cast_over_v1(api: httpx.Client, cluster: Castray, tmp_path: Path) -> None:
    file = make_file(tmp_path / "x.bin", 3_000_000)
    body = {"paths": [str(file)], "recipients": ["all"], "dest": str(tmp_path / "{node}")}
    key = {"Idempotency-Key": "once"}
    first, again = (api.post("/api/v1/casts", json=body, headers=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.headers["Location"] == again.headers["Location"] == f"/api/v1/casts/{first.json()['cast']}"
    result = api.get(f"{first.headers['Location']}/result").json()
    assert all(filecmp.cmp(file, item["paths"][0], shallow=False) for item in result["deliveries"])
    assert len(result["deliveries"]) == 3
    listed = [item["name"] for item in api.get("/api/v1/history?text=x.bin").json()["items"]]
    assert listed == [item["name"] for item in api.get("/api/history?text=x.bin").json()["casts"]]
    assert "x.bin" in listed

    reader = (cluster.home / "castray" / "api-read-only-token").read_text().strip()
    headers = {"Authorization": f"Bearer {reader}"}
    assert api.get(first.headers["Location"], headers=headers).json()["state"] == "completed"
    assert api.post("/api/v1/casts", json=body, headers=headers).status_code == 403
    missing = api.post("/api/v1/casts", json=body | {"recipients": ["nobody"]})
    assert (missing.status_code, missing.json()["kind"]) == (404, "node_unknown")
    assert api.get("/healthz", headers={"Authorization": ""}).json() == {"status": "ok"}


def test_a_killed_server_does_nothing_twice(cluster: Castray, tmp_path: Path) -> None:
    file = make_file(tmp_path / "x.bin", 1_000_000)
    body = {"paths": [str(file)], "recipients": ["all"], "dest": str(tmp_path / "{node}")}
    answers = []
    for _ in range(2):
        server = cluster.start("serve", "--port", "0")
        assert server.stdout is not None
        address = server.stdout.readline().split()[4].rstrip(",")
        token = (cluster.home / "castray" / "api-token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "a-killed-server"}
        answers.append(httpx.post(f"{address}/api/v1/casts", json=body, headers=headers, timeout=60))
        server.kill()
        server.communicate(timeout=30)
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].content == answers[1].content
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    assert stat.S_IMODE((cluster.home / "castray" / "api-keys.sqlite").stat().st_mode) == 0o600


def test_nodes_come_and_go_over_http(api: httpx.Client) -> None:
    assert api.post("/api/nodes", json={"node_id": "node_9"}).status_code == 200
    assert api.post("/api/nodes", json={"node_id": "node_9"}).status_code == 409
    assert "node_9" in {node["name"] for node in api.get("/api/nodes").json()}
    assert api.delete("/api/nodes/node_9").status_code == 200
    assert api.delete("/api/nodes/node_9").status_code == 404
    created = api.post("/api/v1/nodes", json={"name": "node_8"})
    assert created.status_code == 201
    assert api.get(created.headers["Location"]).json()["name"] == "node_8"
    assert api.delete(created.headers["Location"]).status_code == 204
