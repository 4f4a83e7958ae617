"""What v1 has beyond the first addresses: problems, created things, pages, a token for reading, health."""

from __future__ import annotations

import json
import typing
from typing import Any

import httpx
import jsonschema
import pytest
from msgspec.structs import replace

from castray_desktop.core.casts.json_views import message_to_json
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol import messages as m
from castray_desktop.workers.http_api import openapi_document
from castray_desktop.workers.http_api.api_app import ApiApp
from castray_desktop.workers.http_api.engine_view import OutgoingEvent
from tests.helpers.answering_engine import CAST, RESULT, SCHEDULE, AnsweringEngine
from tests.helpers.fake_engine import busy_welcome, finished_cast, finished_deliveries
from tests.workers.http_api.conftest import READ_ONLY_TOKEN, TOKEN
from tests.workers.http_api.test_access_control import REQUESTS

NEW_CAST = {"paths": ["/x"], "recipients": ["node_1"]}
READER = {"Authorization": f"Bearer {READ_ONLY_TOKEN}"}

# --- problems


def problem(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert set(body) == {"type", "title", "status", "detail", "kind", "remedy"}
    assert body["status"] == response.status_code
    assert body["type"] == f"/docs/problems#{body['kind']}"
    return body


async def test_a_failed_command_is_a_problem(client: httpx.AsyncClient, engine: AnsweringEngine) -> None:
    failure = Failure(FailureKind.NODE_UNKNOWN, {"node": "n", "nodes": "a, b"})
    engine.answers[m.Send] = lambda command: m.Failed(failure)
    found = problem(await client.post("/api/v1/casts", json=NEW_CAST))
    assert found == {
        "type": "/docs/problems#node_unknown",
        "title": "Node unknown",
        "status": 404,
        "detail": "There is no node named n.",
        "kind": "node_unknown",
        "remedy": "Available nodes: a, b.",
    }


@pytest.mark.parametrize(
    ("method", "path", "values", "status", "kind"),
    [
        ("GET", "/api/v1/status", {"headers": {"Host": "evil.example"}}, 400, "bad_host"),
        ("GET", "/api/v1/status", {"headers": {"Authorization": "Bearer wrong"}}, 401, "no_token"),
        ("POST", "/api/v1/casts", {"headers": READER, "json": NEW_CAST}, 403, "read_only"),
        ("GET", "/api/v1/nothing", {}, 404, "no_such_address"),
        ("GET", "/api/v1/casts/nothing", {}, 404, "cast_unknown"),
        ("GET", "/api/v1/schedules/nothing", {}, 404, "schedule_unknown"),
        ("DELETE", "/api/v1/casts", {}, 405, "method_not_allowed"),
        ("POST", "/api/v1/casts", {"json": {}}, 422, "malformed"),
        ("POST", "/api/v1/casts", {"content": b"{no json"}, 422, "malformed"),
        ("GET", "/api/v1/casts?colour=1", {}, 422, "malformed"),
    ],
)
async def test_a_refused_request_is_a_problem(
    client: httpx.AsyncClient, method: str, path: str, values: Any, status: int, kind: str
) -> None:
    found = problem(await client.request(method, path, **values))
    assert (found["status"], found["kind"]) == (status, kind)


async def test_a_method_that_is_not_allowed_lists_the_others(client: httpx.AsyncClient) -> None:
    assert (await client.delete("/api/v1/casts")).headers["Allow"] == "GET, POST"
    assert (await client.post("/api/casts")).headers["Allow"] == "GET"


async def test_a_crash_is_a_problem(api: ApiApp, engine: AnsweringEngine) -> None:
    def crash(command: m.Command) -> m.Reply:
        raise ZeroDivisionError

    engine.answers[m.GetSettings] = crash
    transport = httpx.ASGITransport(api.app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
        assert problem(await client.get("/api/v1/settings"))["kind"] == "internal"


async def test_the_first_addresses_keep_their_failures(client: httpx.AsyncClient) -> None:
    for path, kind in (("/api/casts/nothing", "cast_unknown"), ("/api/nothing", "refused")):
        response = await client.get(path)
        assert response.headers["content-type"] == "application/json"
        assert set(response.json()) == {"detail", "kind"}
        assert (response.status_code, response.json()["kind"]) == (404, kind)


async def test_a_page_explains_every_kind(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs/problems")).text
    kinds = {kind.value for kind in FailureKind} | {"no_token", "read_only", "idempotency_key_reused"}
    assert all(page.count(f'id="{kind}"') == 1 for kind in kinds)


# --- what is created and done


@pytest.mark.parametrize(
    ("path", "body", "location", "answer"),
    [
        ("casts", NEW_CAST, f"casts/{CAST}", {"cast": CAST}),
        (f"casts/{CAST}/again", None, f"casts/{CAST}", {"cast": CAST}),
        ("schedules/5c4ed01e0001/run", None, f"casts/{CAST}", {"cast": CAST}),
        ("nodes", {"name": "node_3"}, "nodes/node_3", {"node": "node_3"}),
        (
            "schedules",
            {**NEW_CAST, "name": "nightly", "cron": "0 3 * * *"},
            "schedules/5c4ed01e0001",
            {"schedule": "5c4ed01e0001"},
        ),
    ],
)
async def test_what_is_created_has_an_address(
    client: httpx.AsyncClient, engine: AnsweringEngine, path: str, body: Any, location: str, answer: Any
) -> None:
    engine.answers[m.AddSchedule] = lambda command: m.ScheduleAdded(SCHEDULE.schedule.schedule)
    response = await client.post(f"/api/v1/{path}", json=body)
    assert (response.status_code, response.json()) == (201, answer)
    assert response.headers["Location"] == f"/api/v1/{location}"
    assert (await client.get(response.headers["Location"])).status_code == 200


async def test_a_retry_creates_something_only_where_it_is_a_new_cast(
    client: httpx.AsyncClient, engine: AnsweringEngine
) -> None:
    again = await client.post(f"/api/v1/casts/{CAST}/retry", json={})
    assert (again.status_code, again.json()) == (202, {"cast": CAST})
    assert "Location" not in again.headers
    engine.answers[m.Retry] = lambda command: m.Accepted("c0ffee000009")
    new = await client.post(f"/api/v1/casts/{CAST}/retry", json={})
    assert (new.status_code, new.json()) == (201, {"cast": "c0ffee000009"})
    assert new.headers["Location"] == "/api/v1/casts/c0ffee000009"
    assert (await client.post(f"/api/casts/{CAST}/retry", json={})).status_code == 200


async def test_the_name_in_a_location_is_escaped(client: httpx.AsyncClient, engine: AnsweringEngine) -> None:
    engine.answers[m.AddNode] = lambda command: m.Done()
    response = await client.post("/api/v1/nodes", json={"name": "a b/c"})
    assert response.headers["Location"] == "/api/v1/nodes/a%20b%2Fc"


async def test_what_is_done_has_no_body(client: httpx.AsyncClient, engine: AnsweringEngine) -> None:
    response = await client.post(f"/api/v1/casts/{CAST}/pause")
    assert (response.status_code, response.content) == (204, b"")
    assert (await client.patch("/api/v1/schedules", json={"enabled": False})).status_code == 204
    assert engine.commands == [m.Pause(CAST), m.EnableSchedule("", False)]


async def test_an_object_has_its_own_id(client: httpx.AsyncClient) -> None:
    """`cast` and `schedule` refer to other objects."""
    cast = (await client.get(f"/api/v1/casts/{CAST}")).json()
    (old,) = [one for one in (await client.get("/api/casts")).json() if one["cast"] == CAST]
    assert (cast.pop("id"), list(cast.values())) == (old.pop("cast"), list(old.values()))
    assert (await client.get(f"/api/v1/casts/{CAST}/result")).json()["id"]
    (schedule,) = (await client.get("/api/v1/schedules")).json()
    assert schedule["id"] == "5c4ed01e0001"
    assert "schedule" not in schedule


async def test_a_cast_is_the_same_at_both_addresses(
    client: httpx.AsyncClient, engine: AnsweringEngine
) -> None:
    options = {"dest": "/in/{node}", "on_conflict": "overwrite", "limit": "10MB/s", "encrypt": "always"}
    await client.post("/api/v1/casts", json={"paths": ["/x"], "recipients": ["a"], "source": "b", **options})
    old = {"file_path": "/x", "recipients": ["a"], "sender_id": "b", **options}
    assert (await client.post("/api/file-transfers/manual", json=old)).status_code == 200
    assert engine.commands[0] == engine.commands[1]


@pytest.mark.parametrize(
    ("when", "schedule"),
    [
        ({"every": 60}, {"every": 60.0}),
        ({"cron": "0 3 * * *"}, {"cron": "0 3 * * *"}),
        ({"quiet": 2.5}, {"quiet": 2.5}),
    ],
)
async def test_a_schedule_has_one_time(
    client: httpx.AsyncClient, engine: AnsweringEngine, when: Any, schedule: Any
) -> None:
    body = {**NEW_CAST, "name": "nightly", "enabled": False}
    request = m.SendRequest(("/x",), ("node_1",), leave_out=True)
    assert (await client.put("/api/v1/schedules/5c", json={**body, **when})).status_code == 204
    assert engine.commands == [
        m.ChangeSchedule(m.Schedule("5c", "nightly", request, "", enabled=False, **schedule))
    ]
    for wrong in ({}, {"every": 60, "cron": "0 3 * * *"}):
        found = problem(await client.post("/api/v1/schedules", json={**body, **wrong}))
        assert found["detail"] == "The body: one of every, cron and quiet has to be given."


async def test_files_are_read_back(client: httpx.AsyncClient, engine: AnsweringEngine) -> None:
    assert (await client.post("/api/v1/verify", json={"path": "/x"})).json()["nodes"][0]["state"] == "same"
    assert (await client.post(f"/api/v1/casts/{CAST}/verify", json={"nodes": ["a"]})).status_code == 200
    found = [(command.cast, command.path, command.nodes) for command in engine.commands]  # type: ignore[union-attr]
    assert found == [("", "/x", ("all",)), (CAST, "", ("a",))]


# --- pages


def cast(number: int) -> m.CastSummary:
    return replace(finished_cast(), cast=f"{number:012x}", started=1000.0 + number)


async def pages(client: httpx.AsyncClient, path: str, between: Any = lambda: None) -> list[list[Any]]:
    """All pages, by their links; `between` is called after each."""
    found = []
    while path:
        response = await client.get(path)
        assert response.status_code == 200, response.text
        page = response.json()
        found.append(page["items"])
        assert (page["next"] is None) == ("Link" not in response.headers)
        if page["next"]:
            assert response.headers["Link"] == f'<{page["next"]}>; rel="next"'
        path = page["next"]
        between()
    return found


async def test_casts_come_in_pages_that_are_stable(
    client: httpx.AsyncClient, engine: AnsweringEngine
) -> None:
    engine.cache.casts = {f"{number:012x}": cast(number) for number in range(5)}
    later = iter(range(5, 100))

    def change() -> None:
        """A cast starts, and the last one of the page is removed."""
        if len(engine.cache.casts) < 8:
            engine.cache.apply_event(m.CastChanged(cast(next(later))))
        engine.cache.apply_event(m.CastsRemoved((f"{1:012x}",)))

    found = await pages(client, "/api/v1/casts?limit=2", change)
    assert [[int(item["id"], 16) for item in page] for page in found] == [[0, 1], [2, 3], [4, 5], [6, 7]]


async def test_a_page_keeps_its_filter(client: httpx.AsyncClient, engine: AnsweringEngine) -> None:
    states = [m.CastState.COMPLETED, m.CastState.SENDING, m.CastState.FAILED]
    engine.cache.casts = {
        f"{number:012x}": replace(cast(number), state=states[number % 3]) for number in range(9)
    }
    found = await pages(client, "/api/v1/casts?state=sending&state=failed&limit=4")
    assert [[int(item["id"], 16) for item in page] for page in found] == [[1, 2, 4, 5], [7, 8]]
    (active,) = await pages(client, "/api/v1/casts?active=true")
    assert {item["state"] for item in active} == {"sending"}


async def test_nodes_come_in_pages_by_name(client: httpx.AsyncClient) -> None:
    found = await pages(client, "/api/v1/nodes?limit=3")
    assert [[node["name"] for node in page] for page in found] == [
        ["node_1", "node_2", "node_3"],
        ["ubuntu-ws"],
    ]
    assert (await client.get("/api/v1/nodes?cursor=node_3")).json()["items"][0]["name"] == "ubuntu-ws"


async def test_pages_of_the_history_do_not_move(client: httpx.AsyncClient, engine: AnsweringEngine) -> None:
    ended = replace(finished_cast(), finished=1234.5)
    engine.answers[m.GetHistory] = lambda command: m.HistoryPage((ended,), 2)
    found = await pages(client, "/api/v1/history?limit=1&text=a%20b")
    assert len(found) == 2
    assert engine.commands == [
        m.GetHistory(m.HistoryQuery(text="a b", limit=1)),
        m.GetHistory(m.HistoryQuery(text="a b", until=1234.5, offset=1, limit=1)),
    ]


# --- the token for reading, and health


async def test_the_read_only_token_reads_everything_and_changes_nothing(
    client: httpx.AsyncClient, engine: AnsweringEngine
) -> None:
    client.headers.update(READER)
    for method, path in REQUESTS:
        response = await client.request(method, path)
        assert (response.status_code == 403) == (method not in ("GET", "HEAD")), (method, path)
    assert all(
        type(command).__name__.startswith(("Get", "List", "Browse", "Diagnose"))
        for command in engine.commands
    )


async def test_health_needs_no_token_and_tells_nothing_else(
    client: httpx.AsyncClient, engine: AnsweringEngine
) -> None:
    del client.headers["Authorization"]
    response = await client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    engine.connected = False
    response = await client.get("/healthz")
    assert (response.status_code, response.json()) == (503, {"status": "no_engine"})
    assert (await client.get("/healthz", headers={"Host": "evil.example"})).status_code == 400
    assert (await client.get("/healthz/")).status_code == 401


# --- the WebSocket's messages in the document


def an_event(kind: type[m.Message]) -> m.Message:
    """An event with as many fields as possible."""
    failure = Failure(FailureKind.NO_SUCH_FILE, {"path": "/x"})
    events: dict[type[m.Message], m.Message] = {
        m.Welcome: replace(busy_welcome(), cluster=m.ClusterStatus(failure=failure)),
        m.CastResult: RESULT,
        m.CastChanged: m.CastChanged(replace(finished_cast(), failure=failure)),
        m.DeliveriesChanged: m.DeliveriesChanged(CAST, finished_deliveries()),
        m.CastsRemoved: m.CastsRemoved((CAST,)),
        m.ClusterChanged: m.ClusterChanged(m.ClusterStatus()),
        m.NodesChanged: m.NodesChanged(busy_welcome().nodes, ("a",)),
        m.Throughput: m.Throughput(1.0, 6.0, 2.0, (m.NodeRate("node_1", 6.0, 2.0),)),
        m.SchedulesChanged: m.SchedulesChanged((SCHEDULE,)),
        m.SettingsChanged: m.SettingsChanged(m.EngineSettings()),
        m.HistoryChanged: m.HistoryChanged(),
        m.LogLine: m.LogLine(1.0, "info", "a", "b"),
        m.VerifyProgress: m.VerifyProgress("j", 1, 2),
        m.DiagnosisProgress: m.DiagnosisProgress("j", 1, 2),
    }
    return events[kind]


@pytest.mark.parametrize("kind", typing.get_args(m.Event), ids=lambda kind: kind.__name__)
async def test_events_are_as_the_document_says(client: httpx.AsyncClient, kind: type[m.Message]) -> None:
    document = (await client.get("/openapi.json")).json()
    assert set(document["x-websocket"]) == {"/api/v1/events", "/ws"}
    schema = {"$ref": "#/components/schemas/Event", "components": document["components"]}
    validator = jsonschema.Draft202012Validator(schema)
    said = json.loads(json.dumps(message_to_json(an_event(kind))))
    validator.validate(said)
    for name in said:
        with pytest.raises(jsonschema.ValidationError):
            validator.validate({key: value for key, value in said.items() if key != name})
    known = openapi_document.schemas()[kind.__name__]["properties"]
    assert set(said) == set(known)


def test_events_hide_passwords_of_web_servers() -> None:
    request = replace(
        SCHEDULE.schedule.request, paths=("https://user:secret@example.org/x?signature=secret",)
    )
    event = m.SchedulesChanged((replace(SCHEDULE, schedule=replace(SCHEDULE.schedule, request=request)),))
    text = OutgoingEvent(event).text
    assert "example.org" in text
    assert "secret" not in text
