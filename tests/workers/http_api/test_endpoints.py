"""The answers of the endpoints, and their requests to the engine."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.failures.sentences import TEMPLATES, sentence
from castray_desktop.core.protocol import messages as m
from castray_desktop.workers.http_api import problems
from tests.helpers.answering_engine import CAST, AnsweringEngine


async def test_the_status_is_made_from_the_picture_alone(
    client: httpx.AsyncClient, engine: AnsweringEngine
) -> None:
    status = (await client.get("/api/status")).json()
    assert status["state"] == "running"
    assert status["cluster"]["state"] == "ready"
    assert [node["name"] for node in status["nodes"]] == ["ubuntu-ws", "node_1", "node_2", "node_3"]
    assert status["totals"] == {
        "nodes": 4,
        "nodes_online": 4,
        "casts": 2,
        "casts_active": 1,
        "received_rate": 0,
        "upload_rate": 0,
    }
    assert engine.commands == []


async def test_the_status_follows_the_events_of_the_engine(
    client: httpx.AsyncClient, engine: AnsweringEngine
) -> None:
    await client.get("/api/status")
    engine.cache.apply_event(m.NodesChanged((), ("node_3",)))
    assert len((await client.get("/api/status")).json()["nodes"]) == 3
    engine.connected = False
    assert (await client.get("/api/status")).json()["state"] == "away"


async def test_transfers_and_their_statistics(client: httpx.AsyncClient, engine: AnsweringEngine) -> None:
    answer = (await client.get("/api/file-transfers/status")).json()
    assert [cast["cast"] for cast in answer["active"]] == [CAST]
    assert {item["node"] for item in answer["active"][0]["deliveries"]} == {"node_1", "node_2", "node_3"}
    assert answer["statistics"]["ever"]["casts"] == 20
    engine.answers[m.GetStatistics] = lambda command: m.Failed(Failure(FailureKind.INTERNAL, {"reason": "x"}))
    assert (await client.get("/api/file-transfers/status")).json()["statistics"] is None


@pytest.mark.parametrize(
    ("body", "paths", "recipients"),
    [
        ({"file_path": "/x", "recipients": ["node_1"]}, ("/x",), ("node_1",)),
        ({"file_paths": ["/x", "/y"], "recipients": "node_1, node_2"}, ("/x", "/y"), ("node_1", "node_2")),
        ({"file_path": "/x", "recipients": "all", "transfer_mode": "broadcast"}, ("/x",), ("all",)),
        ({"file_path": "/x", "transfer_mode": "broadcast"}, ("/x",), ("all",)),
    ],
)
async def test_files_are_sent(
    client: httpx.AsyncClient, engine: AnsweringEngine, body: dict[str, Any], paths: Any, recipients: Any
) -> None:
    response = await client.post("/api/file-transfers/manual", json=body)
    assert response.json() == {"cast": CAST}
    assert engine.commands == [m.Send(m.SendRequest(paths, recipients, leave_out=True))]


@pytest.mark.parametrize(("sender", "source"), [({}, ""), ({"sender_id": "node_2"}, "node_2")])
async def test_files_of_web_servers_are_sent(
    client: httpx.AsyncClient, engine: AnsweringEngine, sender: dict[str, str], source: str
) -> None:
    url = "https://example.org/model.bin?key=1"
    body = {"file_paths": [url], "recipients": "all", **sender}
    assert (await client.post("/api/file-transfers/manual", json=body)).json() == {"cast": CAST}
    assert engine.commands == [m.Send(m.SendRequest((url,), ("all",), source=source, leave_out=True))]


@pytest.mark.parametrize(
    "option", [{"transport": "udp"}, {"transfer_mode": "UDP"}, {"transfer_mode": "udp", "transport": "udp"}]
)
async def test_one_stream_for_all(
    client: httpx.AsyncClient, engine: AnsweringEngine, option: dict[str, str]
) -> None:
    body = {"file_path": "/x", "recipients": ["a", "b"], **option}
    assert (await client.post("/api/file-transfers/manual", json=body)).status_code == 200
    request = m.SendRequest(
        ("/x",), ("a", "b"), leave_out=True, options=m.TransferOptions(transport=m.TransportOption.UDP)
    )
    assert engine.commands == [m.Send(request)]


async def test_everything_that_can_be_asked_for_reaches_the_engine(
    client: httpx.AsyncClient, engine: AnsweringEngine
) -> None:
    body = {
        "file_path": "/x",
        "recipients": ["node_1"],
        "sender_id": "node_2",
        "dest": "/in/{node}",
        "transfer_mode": "Unicast",
        "on_conflict": "overwrite",
        "links": "follow",
        "exclude": ["*.o"],
        "include": ["*.bin"],
        "limit": "10MB/s",
        "transport": "direct",
        "encrypt": "always",
        "await_offline": True,
        "hook": "touch x",
    }
    assert (await client.post("/api/file-transfers/manual", json=body)).status_code == 200
    assert engine.commands == [
        m.Send(
            m.SendRequest(
                paths=("/x",),
                recipients=("node_1",),
                source="node_2",
                leave_out=True,
                options=m.TransferOptions(
                    destination="/in/{node}",
                    on_conflict=m.OnConflict.OVERWRITE,
                    links=m.Links.FOLLOW,
                    exclude=("*.o",),
                    include=("*.bin",),
                    limit=10_000_000,
                    transport=m.TransportOption.DIRECT,
                    encrypt=m.Encryption.ALWAYS,
                    await_offline=True,
                    hook="touch x",
                ),
            )
        )
    ]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"recipients": ["a"]}, "file_path or file_paths has to name something to send"),
        ({"file_path": "/x"}, 'recipients has to name somebody, or "all"'),
        ({"file_path": "/x", "recipients": []}, 'recipients has to name somebody, or "all"'),
        ({"file_path": "/x", "recipients": ["a", "b"], "transfer_mode": "unicast"}, "to one recipient"),
        ({"file_path": "/x", "recipients": ["a"], "transfer_mode": "broadcast"}, "broadcast is to all"),
        (
            {"file_path": "/x", "recipients": ["a"], "transfer_mode": "UDP", "transport": "ray"},
            "transfer_mode UDP and transport ray are two ways: name one",
        ),
        ({"file_path": "/x", "recipients": ["a"], "transfer_mode": "UDP"[::-1]}, "transfer_mode"),
        ({"file_path": "/x", "recipients": ["a"], "colour": 1}, "colour is not known here."),
        ({"file_path": 5, "recipients": ["a"]}, "file_path: input should be a valid string."),
        (
            {"file_path": "/x", "recipients": ["a"], "limit": -1},
            "limit: input should be greater than or equal to 0",
        ),
        ({"file_path": "/x", "recipients": [5]}, "recipients.0: input should be a valid string."),
    ],
)
async def test_an_invalid_request_is_answered_with_a_sentence(
    client: httpx.AsyncClient, engine: AnsweringEngine, body: dict[str, Any], sentence: str
) -> None:
    response = await client.post("/api/file-transfers/manual", json=body)
    assert response.status_code == 422
    assert sentence in response.json()["detail"]
    assert engine.commands == []


async def test_a_body_that_is_no_json(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/json"}
    response = await client.post("/api/nodes", content=b"{nonsense", headers=headers)
    assert (response.status_code, response.json()["detail"]) == (422, "The body is not valid JSON.")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (FailureKind.NODE_UNKNOWN, 404),
        (FailureKind.NO_CLUSTER, 503),
        (FailureKind.NO_SUCH_FILE, 400),
        (FailureKind.ENCRYPTED_MULTICAST, 400),
        (FailureKind.CAST_FINISHED, 409),
        (FailureKind.NOTHING_TO_RETRY, 409),
        (FailureKind.SCHEDULE_UNKNOWN, 404),
        (FailureKind.RAY_DIFFERS, 503),
        (FailureKind.INTERNAL, 500),
    ],
)
async def test_a_failure_has_its_status_and_its_sentence(
    client: httpx.AsyncClient, engine: AnsweringEngine, kind: FailureKind, status: int
) -> None:
    engine.answers[m.Send] = lambda command: m.Failed(Failure(kind, {"path": "/x"}))
    body = {"file_path": "/x", "recipients": ["a"]}
    response = await client.post("/api/file-transfers/manual", json=body)
    assert response.status_code == status
    assert response.json()["kind"] == kind.value
    assert response.json()["detail"] == sentence(Failure(kind, {"path": "/x"}))


@pytest.mark.parametrize(
    ("method", "path", "body", "command"),
    [
        ("POST", "/api/file-transfers/auto/toggle", {"enabled": False}, m.EnableSchedule("", False)),
        ("POST", "/api/nodes", {"node_id": "n", "inbox": "/i", "on": "o"}, m.AddNode("n", "o", "/i")),
        ("DELETE", "/api/nodes/n", None, m.RemoveNode("n")),
        ("POST", f"/api/casts/{CAST}/pause", None, m.Pause(CAST)),
        ("POST", f"/api/casts/{CAST}/resume", None, m.Resume(CAST)),
        ("POST", f"/api/casts/{CAST}/cancel", None, m.Cancel(CAST)),
        ("POST", f"/api/casts/{CAST}/retry", {"recipients": ["a"]}, m.Retry(CAST, ("a",))),
        ("POST", f"/api/casts/{CAST}/again", None, m.SendAgain(CAST)),
        ("PUT", f"/api/casts/{CAST}/limit", {"limit": "1MB/s"}, m.SetLimit(1_000_000, CAST)),
        ("POST", f"/api/casts/{CAST}/recipients", {"recipients": ["a"]}, m.AddRecipients(CAST, ("a",))),
        ("DELETE", f"/api/casts/{CAST}/recipients/a", None, m.DropRecipients(CAST, ("a",))),
        ("POST", f"/api/casts/{CAST}/recipients/a/pause", None, m.Pause(CAST, ("a",))),
        ("POST", f"/api/casts/{CAST}/recipients/a/resume", None, m.Resume(CAST, ("a",))),
        ("DELETE", f"/api/history/{CAST}", None, m.ClearHistory((CAST,))),
        ("GET", f"/api/history/{CAST}", None, m.GetPastCast(CAST)),
        ("GET", "/api/rates?seconds=60", None, m.GetRates(60.0)),
        ("DELETE", "/api/schedules/5c", None, m.RemoveSchedule("5c")),
        ("POST", "/api/schedules/5c/run", None, m.RunSchedule("5c")),
        ("PUT", "/api/schedules/5c/enabled", {"enabled": True}, m.EnableSchedule("5c", True)),
        ("PUT", "/api/limit", {"limit": 0}, m.SetLimit(0)),
        (
            "GET",
            "/api/history?text=a&state=failed&state=cancelled&node=n&since=5&offset=2&limit=3",
            None,
            m.GetHistory(
                m.HistoryQuery("a", (m.CastState.FAILED, m.CastState.CANCELLED), "n", 5.0, 0.0, 2, 3)
            ),
        ),
    ],
)
async def test_a_route_is_a_command(
    client: httpx.AsyncClient, engine: AnsweringEngine, method: str, path: str, body: Any, command: m.Command
) -> None:
    response = await client.request(method, path, json=body)
    assert response.status_code == 200, response.text
    assert engine.commands == [command]


async def test_a_schedule_is_kept(client: httpx.AsyncClient, engine: AnsweringEngine) -> None:
    body = {"name": "nightly", "paths": ["/data"], "recipients": "all", "cron": "0 3 * * *"}
    assert (await client.post("/api/schedules", json=body)).json() == {"schedule": "5c4ed01e0002"}
    request = m.SendRequest(("/data",), ("all",), leave_out=True)
    assert engine.commands == [m.AddSchedule(m.Schedule("", "nightly", request, "", cron="0 3 * * *"))]
    refused = await client.post("/api/schedules", json=body | {"every": 5.0})
    assert "one of every, cron and quiet" in refused.json()["detail"]
    (known,) = (await client.get("/api/schedules")).json()
    assert known["name"] == "nightly"
    assert known["request"]["recipients"] == ["all"]


async def test_settings_change_one_by_one(client: httpx.AsyncClient, engine: AnsweringEngine) -> None:
    answer = (await client.patch("/api/settings", json={"casts_at_once": 2, "go_on": False})).json()
    assert (answer["limit"], answer["casts_at_once"], answer["go_on"]) == (5, 2, False)
    assert engine.commands[-1] == m.ChangeSettings(m.EngineSettings(limit=5, casts_at_once=2, go_on=False))
    assert (await client.patch("/api/settings", json={"encrypt": "always"})).json()["encrypt"] == "always"
    assert engine.commands[-1] == m.ChangeSettings(m.EngineSettings(limit=5, encrypt=m.Encryption.ALWAYS))
    assert (await client.patch("/api/settings", json={"encrypt": "maybe"})).status_code == 422


async def test_reading_back(client: httpx.AsyncClient, engine: AnsweringEngine) -> None:
    answer = (await client.post("/api/verify", json={"path": "/x"})).json()
    assert answer["nodes"][0]["state"] == "same"
    assert (await client.post("/api/verify", json={"path": "/x", "cast": "y"})).status_code == 422


async def test_a_cast_by_the_beginning_of_its_id(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/casts/c0ffee000001")).json()["name"] == "qwen2.5-14b-instruct/"
    assert (await client.get("/api/casts/c0ffee")).status_code == 404  # two of them
    assert len((await client.get("/api/casts")).json()) == 2


async def test_numbers_for_prometheus(client: httpx.AsyncClient, engine: AnsweringEngine) -> None:
    engine.cache.apply_event(m.Throughput(1.0, 6.0, 2.0, (m.NodeRate("node_1", 6.0, 2.0),)))
    response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = response.text.splitlines()
    assert 'castray_nodes{state="online"} 4.0' in lines
    assert 'castray_received_bytes_per_second{node="node_1"} 6.0' in lines
    assert 'castray_casts_total{state="completed"} 18.0' in lines
    assert 'castray_node_bytes_total{node="no\\"de"} 1e+09' in lines
    engine.connected = False
    text = (await client.get("/metrics")).text
    assert "castray_engine_up 0.0" in text
    assert "castray_casts_total" not in text


async def test_the_documents_come_from_here_alone(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    assert "http://" not in page
    assert "https://" not in page
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "castray-256.png", "LICENSE"):
        assert (await client.get(f"/docs/{name}")).status_code == 200
    document = (await client.get("/openapi.json")).json()
    assert document["security"] == [{"token": []}]
    assert document["paths"]["/api/v1/status"]["get"]["responses"]["200"]["content"] == {
        "application/json": {"schema": {"$ref": "#/components/schemas/StatusForm"}}
    }


async def test_the_diagnosis_has_sentences(client: httpx.AsyncClient) -> None:
    (check,) = (await client.get("/api/doctor")).json()
    assert (check["kind"], check["state"], check["node"]) == ("engine", "good", None)
    assert check["text"]


async def test_the_contents_of_a_folder_on_a_node(client: httpx.AsyncClient, engine: AnsweringEngine) -> None:
    listing = (await client.get("/api/nodes/node_1/files?path=/data")).json()
    assert [entry["name"] for entry in listing["entries"]] == ["x"]
    assert engine.commands == [m.Browse("node_1", "/data")]


async def test_a_parameter_that_is_not_known_is_a_mistake(client: httpx.AsyncClient) -> None:
    for path in ("/api/history?stat=failed", "/api/status?verbose=1", "/api/casts/c0ffee000001?x"):
        response = await client.get(path)
        assert response.status_code == 422
        assert response.json()["detail"].endswith("is not known here.")
    assert (await client.get("/api/history?state=failed")).status_code == 200


def test_every_failure_is_documented() -> None:
    assert {TEMPLATES[kind].status.http for kind in FailureKind} <= set(problems.DESCRIPTIONS)


async def test_failures_with_exit_status_3_are_503() -> None:
    for kind in FailureKind:
        problem = problems.Problem.of_failure(Failure(kind))
        assert (problem.status == 503) >= (TEMPLATES[kind].status.exit == 3), kind


async def test_files_of_a_cast(client: httpx.AsyncClient, engine: AnsweringEngine) -> None:
    found = await client.get(
        f"/api/casts/{CAST}/files", params={"text": "a", "state": ["renamed", "failed"], "node": "node_1"}
    )
    page = found.json()
    assert (page["total"], page["all"], page["states"]) == (1, 16, {"renamed": 1, "failed": 1})
    (file,) = page["files"]
    assert (file["path"], file["bytes"], file["hash"], file["link"]) == (
        "configs/a.txt",
        5,
        "blake3:00",
        False,
    )
    renamed, failed = file["recipients"]
    assert renamed == {
        "state": "renamed",
        "nodes": ["node_1"],
        "path": "configs/a (2).txt",
        "reason": None,
    }
    assert failed["reason"].startswith("node_2")
    query = m.FileQuery("a", (m.FileState.RENAMED, m.FileState.FAILED), ("node_1",))
    assert engine.commands == [m.GetFiles(CAST, query)]
    assert (await client.get(f"/api/casts/{CAST}/files?state=what")).status_code == 422
