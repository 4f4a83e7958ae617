"""A recipient that asks to be dialled: its upstream gets one order for each request."""

from __future__ import annotations

import asyncio

import pytest

from castray_desktop.core.protocol.nodes.agent_orders import DialRecipient
from castray_desktop.core.protocol.nodes.agent_reports import DeliveryReport, RecipientState
from castray_desktop.workers.base.async_tasks import BackgroundTasks
from castray_desktop.workers.casts.session.cast_route import ReverseDialRequests
from tests.helpers.cast_stage import session_context
from tests.helpers.fake_agents import FakeAgents

S = RecipientState


@pytest.fixture
def agents() -> FakeAgents:
    return FakeAgents("a", "b", "c")


def asking(times: int, upstream: str, state: S = S.CONNECTING, epoch: int = 3) -> DeliveryReport:
    return DeliveryReport("cast", state, epoch=epoch, asked=times, asked_upstream=upstream)


async def test_each_request_is_forwarded_once(agents: FakeAgents) -> None:
    background = BackgroundTasks()
    requests = ReverseDialRequests(session_context(agents, background))
    requests.delivery_reported("c", DeliveryReport("cast", S.CONNECTING))
    requests.delivery_reported("c", asking(1, "b"))
    requests.delivery_reported("c", asking(1, "b"))
    assert await agents.wait_for("b", DialRecipient) == DialRecipient(
        "cast", 3, "c", "10.0.0.2", 7000, "host"
    )
    requests.delivery_reported("c", asking(2, "a", epoch=4))
    assert await agents.wait_for("a", DialRecipient) == DialRecipient(
        "cast", 4, "c", "10.0.0.2", 7000, "host"
    )
    requests.delivery_reported("c", asking(1, "a", epoch=4))  # its agent was restarted
    await agents.wait_for("a", DialRecipient, 2)
    assert len(agents.orders) == 3
    background.cancel()


async def test_nobody_dials_a_recipient_that_has_ended(agents: FakeAgents) -> None:
    background = BackgroundTasks()
    requests = ReverseDialRequests(session_context(agents, background))
    requests.delivery_reported("c", asking(1, "b", S.FAILED))
    requests.delivery_reported("b", asking(1, "a"))  # orders keep their order
    await agents.wait_for("a", DialRecipient)
    assert [name for name, _ in agents.orders] == ["a"]
    background.cancel()


async def test_an_upstream_that_does_not_answer_is_given_up(agents: FakeAgents) -> None:
    background = BackgroundTasks()
    requests = ReverseDialRequests(session_context(agents, background))
    agents.hold(DialRecipient)  # `cancel` ends calls that never answer
    requests.delivery_reported("c", asking(1, "b"))
    await agents.wait_for("b", DialRecipient)
    waiting = asyncio.all_tasks() - {asyncio.current_task()}
    background.cancel()
    await asyncio.wait(waiting)
    assert all(task.cancelled() for task in waiting)
