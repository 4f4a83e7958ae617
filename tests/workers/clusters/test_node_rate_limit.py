"""The limit over all casts: sent to every new agent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from castray_desktop.core.protocol.messages import EngineSettings, NodeInfo, NodeState
from castray_desktop.core.protocol.nodes.agent_protocol import SetNodeLimit
from castray_desktop.workers.base.settings import SettingsFile
from castray_desktop.workers.clusters.node_rate_limit import NodeRateLimit
from tests.helpers.fake_agents import FakeAgents


@pytest.fixture
def settings(tmp_path: Path) -> SettingsFile:
    return SettingsFile(tmp_path / "engine.json")


async def change(limit: NodeRateLimit, settings: SettingsFile, number: int) -> None:
    settings.change(EngineSettings(limit=number))
    await limit.apply()


def told(agents: FakeAgents) -> dict[str, int]:
    return {node: order.limit for node, order in agents.orders if isinstance(order, SetNodeLimit)}


async def test_every_agent_has_it_when_the_change_returns(settings: SettingsFile) -> None:
    agents = FakeAgents("s", "a", "b")
    agents._nodes["b"] = NodeInfo("b", NodeState.OFFLINE)
    limit = NodeRateLimit(settings, agents)
    assert limit.limit == 0
    await change(limit, settings, 1000)
    assert told(agents) == {"s": 1000, "a": 1000}
    await change(limit, settings, 0)
    assert told(agents) == {"s": 0, "a": 0}


async def test_it_is_told_to_agents_as_they_come(settings: SettingsFile) -> None:
    settings.change(EngineSettings(limit=1000))
    agents = FakeAgents("s", "a")
    limit = NodeRateLimit(settings, agents)
    assert limit.limit == 1000
    limit.nodes_changed((agents.nodes["s"],), ())
    await agents.wait_for("s", SetNodeLimit)
    limit.nodes_changed((agents.nodes["s"],), ())  # only its facts have changed
    limit.nodes_changed((NodeInfo("s", NodeState.OFFLINE),), ())
    limit.nodes_changed(tuple(agents.nodes.values()), ())
    await agents.wait_for("a", SetNodeLimit)
    await agents.wait_for("s", SetNodeLimit, 2)
    limit.nodes_changed((), ("a",))
    limit.nodes_changed(tuple(agents.nodes.values()), ())
    await agents.wait_for("a", SetNodeLimit, 2)
    assert len(agents.orders) == 4


async def test_an_agent_that_does_not_answer_holds_up_nobody(
    settings: SettingsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("castray_desktop.workers.clusters.node_rate_limit.APPLY_SECONDS", 0.01)
    agents = FakeAgents("s", "a")
    agents.hold(SetNodeLimit)
    async with asyncio.timeout(5):
        await change(NodeRateLimit(settings, agents), settings, 1000)
    agents.release()
