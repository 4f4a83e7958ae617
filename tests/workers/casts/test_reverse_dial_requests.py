"""A recipient that asks to be dialled: its upstream gets one order for each request."""

from __future__ import annotations

import asyncio

import pytest

from castray_desktop.core.protocol.nodes.agent_protocol import DeliveryReport, DialRecipient, RecipientState
from castray_desktop.workers.casts.agent_requests import ReverseDialRequests
from tests.helpers.fake_agents import FakeAgents

S = RecipientState


@pytest.fixture
def agents() -> FakeAgents:
    return FakeAgents("a", "b", "c")


def asking(times: int, upstream: str, state: S = S.CONNECTING, epoch: int = 3) -> DeliveryReport:
    return DeliveryReport("cast", state, epoch=epoch, asked=times, asked_upstream=upstream)


async def test_each_time_is_passed_on_once(agents: FakeAgents) -> None:
    reaching = ReverseDialRequests(agents)
    reaching.delivery_reported("c", DeliveryReport("cast", S.CONNECTING))
    reaching.delivery_reported("c", asking(1, "b"))
    reaching.delivery_reported("c", asking(1, "b"))
    assert await agents.wait_for("b", DialRecipient) == DialRecipient("cast", 3, "c", "10.0.0.2", 7000)
    reaching.delivery_reported("c", asking(2, "a", epoch=4))
    assert await agents.wait_for("a", DialRecipient) == DialRecipient("cast", 4, "c", "10.0.0.2", 7000)
    reaching.delivery_reported("c", asking(1, "a", epoch=4))  # its agent was restarted
    await agents.wait_for("a", DialRecipient, 2)
    assert len(agents.orders) == 3
    reaching.close()


async def test_nobody_dials_one_that_has_ended(agents: FakeAgents) -> None:
    reaching = ReverseDialRequests(agents)
    reaching.delivery_reported("c", asking(1, "b", S.FAILED))
    reaching.delivery_reported("b", asking(1, "a"))  # orders keep their order
    await agents.wait_for("a", DialRecipient)
    assert [name for name, _ in agents.orders] == ["a"]
    reaching.close()


async def test_an_upstream_that_is_not_there_does_no_harm(agents: FakeAgents) -> None:
    reaching = ReverseDialRequests(agents)
    agents.hold(DialRecipient)  # `close` ends calls that never answer
    reaching.delivery_reported("c", asking(1, "b"))
    await agents.wait_for("b", DialRecipient)
    reaching.close()
    tasks = [task for task in asyncio.all_tasks() if "dials" in task.get_name()]
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)


async def test_a_cast_that_has_ended_is_forgotten(agents: FakeAgents) -> None:
    reaching = ReverseDialRequests(agents)
    reaching.delivery_reported("c", asking(1, "b"))
    await agents.wait_for("b", DialRecipient)
    reaching.forget_cast("cast")
    reaching.delivery_reported("c", asking(1, "b"))
    await agents.wait_for("b", DialRecipient, 2)
    reaching.close()
