"""`Idempotency-Key`: a repeated request is done once, and has the same answer."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from typing import Any

import httpx
import pytest

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol import messages as m
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.http_api.access_control import AllowedHosts
from castray_desktop.workers.http_api.api_app import ApiApp
from castray_desktop.workers.http_api.idempotency_keys import IdempotencyKeys
from tests.helpers.answering_engine import AnsweringEngine
from tests.helpers.patience import PATIENCE
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
def keys(paths: Paths, time: Time) -> Iterator[IdempotencyKeys]:
    with closing(IdempotencyKeys(paths.api_keys, lambda: time.seconds)) as keys:
        yield keys


@pytest.fixture
def api(engine: AnsweringEngine, keys: IdempotencyKeys) -> ApiApp:
    return ApiApp(engine, TOKEN, AllowedHosts("127.0.0.1"), keys=keys)


@asynccontextmanager
async def next_server(paths: Paths, engine: AnsweringEngine) -> AsyncIterator[httpx.AsyncClient]:
    """A client of another server in the same home."""
    with closing(IdempotencyKeys(paths.api_keys, lambda: 0.0)) as keys:
        transport = httpx.ASGITransport(ApiApp(engine, TOKEN, AllowedHosts("127.0.0.1"), keys=keys).app)
        headers = {"Authorization": f"Bearer {TOKEN}", "Idempotency-Key": "a-key"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost:8001", headers=headers
        ) as it:
            yield it


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
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
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


async def test_a_restarted_server_knows_the_answers(
    keyed: httpx.AsyncClient, engine: AnsweringEngine, keys: IdempotencyKeys, paths: Paths
) -> None:
    first = await send(keyed)
    keys.close()
    async with next_server(paths, engine) as client:
        again = await send(client)
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["Location"] == first.headers["Location"]
        assert again.headers["Idempotent-Replayed"] == "true"
        other = await client.post("/api/v1/casts", json={**BODY, "hook": "x"})
        assert (other.status_code, other.json()["kind"]) == (422, "idempotency_key_reused")
    assert len(engine.commands) == 1


async def test_a_request_that_the_end_of_the_server_interrupts_is_not_done_again(
    keyed: httpx.AsyncClient, engine: AnsweringEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine has the command, and the server is stopped before the answer."""
    request, asked = engine.request, asyncio.Event()

    async def never_answer(command: Any, expect: Any) -> Any:
        await request(command, expect)
        asked.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(engine, "request", never_answer)
        async with asyncio.timeout(PATIENCE):
            first = asyncio.create_task(send(keyed))
            await asked.wait()
            answer = await send(keyed)
            assert (answer.status_code, answer.json()["kind"]) == (409, "idempotency_key_in_progress")
            first.cancel()
            await asyncio.wait([first])
    for answer in (await send(keyed), await send(keyed)):
        assert (answer.status_code, answer.json()["kind"]) == (409, "idempotency_key_interrupted")
    assert len(engine.commands) == 1


async def test_nothing_is_done_if_the_key_can_not_be_stored(
    keyed: httpx.AsyncClient, engine: AnsweringEngine, paths: Paths
) -> None:
    paths.api_keys.mkdir()
    response = await send(keyed)
    assert (response.status_code, response.json()["kind"]) == (503, "idempotency_key_not_stored")
    paths.api_keys.rmdir()
    assert engine.commands == []
    assert (await send(keyed)).status_code == 201
