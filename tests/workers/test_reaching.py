"""A recipient that asks to be dialled: its upstream is told so, once for each time."""

from __future__ import annotations

import asyncio

import pytest

from castray_desktop.workers.casts.reaching import Reaching
from castray_desktop.workers.ray_side.protocol import DeliveryReport, Reach, RecipientState
from tests.helpers.fake_agents import FakeAgents

S = RecipientState


@pytest.fixture
def agents() -> FakeAgents:
    return FakeAgents("a", "b", "c")


def asking(times: int, upstream: str, state: S = S.CONNECTING, epoch: int = 3) -> DeliveryReport:
    return DeliveryReport("cast", state, epoch=epoch, asked=times, asked_upstream=upstream)


async def test_each_time_is_passed_on_once(agents: FakeAgents) -> None:
    reaching = Reaching(agents)
    reaching.reported("c", DeliveryReport("cast", S.CONNECTING))
    reaching.reported("c", asking(1, "b"))
    reaching.reported("c", asking(1, "b"))
    assert await agents.wait_for("b", Reach) == Reach("cast", 3, "c", "10.0.0.2", 7000)
    reaching.reported("c", asking(2, "a", epoch=4))
    assert await agents.wait_for("a", Reach) == Reach("cast", 4, "c", "10.0.0.2", 7000)
    reaching.reported("c", asking(1, "a", epoch=4))  # its agent was started again
    await agents.wait_for("a", Reach, 2)
    assert len(agents.orders) == 3
    reaching.close()


async def test_nobody_dials_one_that_has_ended(agents: FakeAgents) -> None:
    reaching = Reaching(agents)
    reaching.reported("c", asking(1, "b", S.FAILED))
    reaching.reported("b", asking(1, "a"))  # orders keep their order
    await agents.wait_for("a", Reach)
    assert [name for name, _ in agents.orders] == ["a"]
    reaching.close()


async def test_an_upstream_that_is_not_there_does_no_harm(agents: FakeAgents) -> None:
    reaching = Reaching(agents)
    agents.hold(Reach)  # what never answers is ended by `close`
    reaching.reported("c", asking(1, "b"))
    await agents.wait_for("b", Reach)
    reaching.close()
    tasks = [task for task in asyncio.all_tasks() if "dials" in task.get_name()]
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)


async def test_a_cast_that_has_ended_is_forgotten(agents: FakeAgents) -> None:
    reaching = Reaching(agents)
    reaching.reported("c", asking(1, "b"))
    await agents.wait_for("b", Reach)
    reaching.forget("cast")
    reaching.reported("c", asking(1, "b"))
    await agents.wait_for("b", Reach, 2)
    reaching.close()
