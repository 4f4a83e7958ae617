"""`Idempotency-Key`: a repeated request is done once, and has the same answer."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import httpx
import pytest

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol import messages as m
from castray_desktop.workers.http_api import idempotency
from castray_desktop.workers.http_api.access_control import AllowedHosts
from castray_desktop.workers.http_api.api_app import ApiApp
from tests.helpers.answering_engine import AnsweringEngine
from tests.workers.http_api.conftest import TOKEN

BODY = {"paths": ["/x"], "recipients": ["node_1"]}


class Time:
    seconds = 0.0


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def engine() -> AnsweringEngine:
    """Every cast has another id."""
    numbers = itertools.count()
    return AnsweringEngine({m.Send: lambda command: m.Accepted(f"{next(numbers):012x}")})


@pytest.fixture
def api(engine: AnsweringEngine, time: Time) -> ApiApp:
    return ApiApp(engine, TOKEN, AllowedHosts("127.0.0.1"), clock=lambda: time.seconds)


@pytest.fixture
def keyed(client: httpx.AsyncClient) -> httpx.AsyncClient:
    client.headers["Idempotency-Key"] = "a-key"
    return client


async def send(client: httpx.AsyncClient, **values: Any) -> httpx.Response:
    return await client.post("/api/v1/casts", **{"json": BODY, **values})


async def test_a_repeated_request_is_done_once(keyed: httpx.AsyncClient, engine: AnsweringEngine) -> None:
    first, second = await send(keyed), await send(keyed)
    assert len(engine.commands) == 1
    assert first.status_code == second.status_code == 201
    assert first.content == second.content
    assert first.headers["Location"] == second.headers["Location"]
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    other = await send(keyed, headers={"Idempotency-Key": "another"})
    assert other.json() != first.json()


async def test_without_a_key_it_is_done_again(client: httpx.AsyncClient, engine: AnsweringEngine) -> None:
    assert (await send(client)).json() != (await send(client)).json()
    assert len(engine.commands) == 2


async def test_a_key_belongs_to_one_request(keyed: httpx.AsyncClient, engine: AnsweringEngine) -> None:
    await send(keyed)
    for path, body in (("casts", {**BODY, "hook": "x"}), ("preflight", BODY)):
        response = await keyed.post(f"/api/v1/{path}", json=body)
        assert (response.status_code, response.json()["kind"]) == (422, "idempotency_key_reused")
    assert len(engine.commands) == 1


async def test_a_request_in_progress_is_not_repeated(
    keyed: httpx.AsyncClient, engine: AnsweringEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()
    request = engine.request

    async def slow(command: Any, expect: Any) -> Any:
        asked.set()
        await answered.wait()
        return await request(command, expect)

    monkeypatch.setattr(engine, "request", slow)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        first = group.create_task(send(keyed))
        await asked.wait()
        second = await send(keyed)
        assert (second.status_code, second.json()["kind"]) == (409, "idempotency_key_in_progress")
        assert second.headers["Retry-After"] == "1"
        answered.set()
    assert (await send(keyed)).json() == first.result().json()
    assert len(engine.commands) == 1


async def test_a_key_is_kept_for_a_day(keyed: httpx.AsyncClient, engine: AnsweringEngine, time: Time) -> None:
    first = await send(keyed)
    time.seconds = 24 * 3600.0
    assert (await send(keyed)).json() == first.json()
    time.seconds += 1
    assert (await send(keyed)).json() != first.json()


async def test_a_refused_request_may_be_repeated(keyed: httpx.AsyncClient, engine: AnsweringEngine) -> None:
    """Nothing was done, so the key does not stand for it."""
    accept = engine.answers[m.Send]
    for kind in (FailureKind.NO_CLUSTER, FailureKind.NODE_UNKNOWN):
        engine.answers[m.Send] = lambda command, kind=kind: m.Failed(Failure(kind, {}))
        assert (await send(keyed)).status_code in (404, 503)
    assert (await send(keyed, json={})).status_code == 422
    engine.connected = False
    assert (await send(keyed)).status_code == 503
    engine.connected = True
    engine.answers[m.Send] = accept
    assert (await send(keyed)).status_code == 201


async def test_what_may_have_been_done_is_not_done_again(
    keyed: httpx.AsyncClient, engine: AnsweringEngine
) -> None:
    """The connection to the engine ends after the command was sent."""

    def lose(command: m.Command) -> m.Reply:
        raise CastRayError(FailureKind.ENGINE_UNREACHABLE, reason="the engine has stopped")

    engine.answers[m.Send] = lose
    first, second = await send(keyed), await send(keyed)
    assert first.status_code == second.status_code == 503
    assert first.content == second.content
    assert len(engine.commands) == 1


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\xe9"])
async def test_an_invalid_key_is_refused(
    client: httpx.AsyncClient, engine: AnsweringEngine, key: str
) -> None:
    headers = [(b"Authorization", f"Bearer {TOKEN}".encode()), (b"Idempotency-Key", key.encode("latin-1"))]
    response = await client.post("/api/v1/casts", json=BODY, headers=headers)
    assert (response.status_code, response.json()["kind"]) == (422, "malformed")
    assert engine.commands == []


async def test_the_first_addresses_have_no_keys(keyed: httpx.AsyncClient, engine: AnsweringEngine) -> None:
    body = {"file_path": "/x", "recipients": ["a"]}
    for _ in range(2):
        assert (await keyed.post("/api/file-transfers/manual", json=body)).status_code == 200
    assert len(engine.commands) == 2


def test_keys_are_bounded_in_number_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = idempotency.IdempotencyKeys(lambda: 0.0)
    monkeypatch.setattr(idempotency, "MAX_KEYS", 3)
    keys.begin("in progress", b"")
    for number in range(10):
        keys.begin(str(number), b"")
        keys.keep(str(number), [{"type": "http.response.body", "body": b"x" * 10}])
    assert len(keys) == 3
    assert keys.find("in progress") is not None
    assert keys.find("9") is not None
    monkeypatch.setattr(idempotency, "MAX_STORED_BYTES", 15)
    assert keys.find("8") is None
    assert keys.find("9") is not None
