"""The methods of an agent for code inside Ray."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from castray_desktop.core.protocol.nodes import agent_orders, agent_reports
from castray_desktop.core.protocol.nodes.agent_reports import (
    DeliveryReport,
    RecipientState,
    SourceReport,
    SourceState,
)
from castray_desktop.workers.agent import in_cluster_api
from castray_desktop.workers.agent.in_cluster_api import InClusterCounters, InClusterRequests


async def asked(requests: InClusterRequests, *arguments: Any) -> asyncio.Task[str]:
    task = asyncio.create_task(requests.ask(*arguments))
    await asyncio.sleep(0)
    return task


async def test_a_request_leaves_once_and_gets_its_id() -> None:
    woken: list[None] = []
    requests = InClusterRequests(lambda: woken.append(None))
    task = await asked(requests, "/x", ["node_1", "node_2"], "multicast")
    (request,) = requests.drain()
    assert request == agent_reports.TransferRequest(1, ("/x",), ("node_1", "node_2"))
    assert requests.drain() == ()
    assert woken
    requests.answer(agent_orders.AnswerTransfer(1, "c0ffee"))
    assert await task == "c0ffee"
    requests.answer(agent_orders.AnswerTransfer(1, "c0ffee"))  # no caller waits any more


async def test_a_refusal_is_an_error_with_its_reason() -> None:
    requests = InClusterRequests(lambda: None)
    task = await asked(requests, "/x", "nobody")
    requests.answer(agent_orders.AnswerTransfer(1, refusal="There is no node named nobody."))
    with pytest.raises(ValueError, match="There is no node named nobody"):
        await task


async def test_an_engine_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_cluster_api, "ANSWER_SECONDS", 0.01)
    requests = InClusterRequests(lambda: None)
    with pytest.raises(TimeoutError, match="did not answer"):
        await requests.ask("/x", "all")
    assert requests.drain() == ()  # no caller would know of that cast


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("", "all"), "name something"),
        ((["/x", "y"], "all"), "y is not an absolute path"),
        (("/x", ()), "name somebody"),
        (("/x", "all", "everywhere"), "has to be one of"),
        (("/x", "all", "unicast"), "unicast is to one"),
        (("/x", ["a"], "broadcast"), "broadcast is to all"),
    ],
)
async def test_what_makes_no_sense(arguments: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        await InClusterRequests(lambda: None).ask(*arguments)


@pytest.mark.parametrize(("mode", "transport"), [("UDP", "udp"), ("udp", "udp"), ("Multicast", "auto")])
async def test_udp_is_a_transport(mode: str, transport: str) -> None:
    requests = InClusterRequests(lambda: None)
    task = await asked(requests, "/x", ["a"], mode)
    assert requests.drain()[0].transport == transport
    task.cancel()


async def test_a_broadcast_needs_no_names() -> None:
    requests = InClusterRequests(lambda: None)
    task = await asked(requests, "/x", (), "broadcast")
    assert requests.drain()[0].recipients == ("all",)
    task.cancel()


def test_what_a_node_has_done() -> None:
    counts = InClusterCounters()
    receiving = DeliveryReport("c", RecipientState.RECEIVING, received_bytes=5, sent_bytes=2)
    counts.record_reports((SourceReport("d", SourceState.SERVING, sent_bytes=10),), (receiving,))
    assert counts.active == 2
    done = DeliveryReport("c", RecipientState.COMPLETED, received_bytes=9, sent_bytes=3)
    counts.record_reports((SourceReport("d", SourceState.HASHED, sent_bytes=20),), (done,))
    counts.record_reports((), (done, DeliveryReport("e", RecipientState.FAILED, received_bytes=1)))
    assert counts.stats() == {
        "active": 1,
        "delivered": 1,
        "failed": 1,
        "sent_bytes": 23,
        "received_bytes": 10,
    }
    counts.forget_cast("d")
    assert counts.active == 0
