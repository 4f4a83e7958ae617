"""The events that a slow WebSocket client may lose, and those that it never loses."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.protocol import messages as m
from castray_desktop.workers.http_api import engine_view
from castray_desktop.workers.http_api.engine_view import EventQueue, OutgoingEvent
from tests.helpers.samples import make_cast, make_delivery, make_node


def drain(queue: EventQueue) -> list[dict[str, Any]]:
    """All queued events."""

    async def take() -> list[dict[str, Any]]:
        return [json.loads(await queue.pop()) for _ in range(len(queue))]

    return asyncio.run(take())


def put(queue: EventQueue, *events: m.Event) -> None:
    for event in events:
        queue.push(OutgoingEvent(event))


def progress(done: int) -> m.CastChanged:
    return m.CastChanged(make_cast("x", cast="c", done_bytes=done))


def test_of_progress_the_last_one_stays() -> None:
    queue = EventQueue()
    put(queue, *(progress(done) for done in range(1000)), m.Throughput(1.0, 1.0, 1.0, ()))
    first, second = drain(queue)
    assert first["summary"]["done_bytes"] == 999
    assert second["type"] == "Throughput"


def test_every_recipient_keeps_its_latest_snapshot() -> None:
    queue = EventQueue()
    put(
        queue,
        m.DeliveriesChanged("c", (make_delivery("a", bytes=1), make_delivery("b", bytes=1))),
        m.DeliveriesChanged("c", (make_delivery("a", bytes=2),)),
        m.DeliveriesChanged("d", (make_delivery("a", bytes=7),)),
    )
    first, second = drain(queue)
    assert {item["node"]: item["bytes"] for item in first["deliveries"]} == {"a": 2, "b": 1}
    assert second["cast"] == "d"


def test_nodes_that_come_and_go() -> None:
    queue = EventQueue()
    put(
        queue,
        m.NodesChanged((make_node("a"), make_node("b")), ("x",)),
        m.NodesChanged((make_node("x"),), ("a",)),
    )
    (only,) = drain(queue)
    assert [node["name"] for node in only["changed"]] == ["b", "x"]
    assert only["removed"] == ["a"]


def test_results_all_come_in_order() -> None:
    queue = EventQueue()
    ended = m.DeliveriesChanged("c", (make_delivery("a", m.DeliveryState.COMPLETED),))
    finished = make_cast("x", cast="c", state=m.CastState.COMPLETED)
    for _ in range(50):
        put(queue, progress(1), ended, m.CastChanged(finished), m.CastResult(finished, (), 1.0))
    kinds = [message["type"] for message in drain(queue)]
    assert kinds.count("CastResult") == 50
    assert len(kinds) == 150


def test_one_that_reads_nothing_at_all_is_given_up(monkeypatch: Any) -> None:
    monkeypatch.setattr(engine_view, "MAX_QUEUED", 3)
    queue = EventQueue()
    put(queue, *(m.CastsRemoved((str(number),)) for number in range(3)))
    assert not queue.overrun
    put(queue, m.CastsRemoved(("3",)))
    assert queue.overrun


EVENTS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 100), st.booleans()), min_size=1, max_size=60
)


@given(EVENTS)
def test_a_late_reader_gets_the_same_state_as_a_fast_one(events: list[tuple[str, int, bool]]) -> None:
    """The last snapshot of every recipient is the same for both, and so are the final states."""
    queue, fast, ends = EventQueue(), {}, []
    for node, done, finished in events:
        state = m.DeliveryState.COMPLETED if finished else m.DeliveryState.RECEIVING
        put(queue, m.DeliveriesChanged("c", (make_delivery(node, state, bytes=done),)))
        fast[node] = done
        if finished:
            ends.append((node, done))
    late = [item for message in drain(queue) for item in message["deliveries"]]
    assert [(item["node"], item["bytes"]) for item in late if item["state"] == "completed"] == ends
    assert {item["node"]: item["bytes"] for item in late} == fast


def test_a_message_has_every_field_and_its_sentence() -> None:
    from castray_desktop.core.failures.kinds import Failure, FailureKind

    cluster = m.ClusterStatus(failure=Failure(FailureKind.NO_CLUSTER))
    fields = json.loads(OutgoingEvent(m.ClusterChanged(cluster)).text)
    assert fields["type"] == "ClusterChanged"
    assert set(fields["cluster"]) == {field.name for field in msgspec.structs.fields(m.ClusterStatus)}
    assert fields["cluster"]["failure"]["kind"] == "no_cluster"
    assert fields["cluster"]["failure"]["text"].endswith(".")
