"""The limit over all casts: kept, and told to whoever comes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from castray_desktop.core.messages import NodeInfo, NodeState
from castray_desktop.workers.node_limit import NodeLimit
from castray_desktop.workers.ray_side.protocol import SetNodeLimit
from tests.helpers.fake_agents import FakeAgents


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "engine.json"


def told(agents: FakeAgents) -> dict[str, int]:
    return {node: order.limit for node, order in agents.orders if isinstance(order, SetNodeLimit)}


async def test_every_agent_has_it_when_the_change_returns(file: Path) -> None:
    agents = FakeAgents("s", "a", "b")
    agents._nodes["b"] = NodeInfo("b", NodeState.OFFLINE)
    limit = NodeLimit(file, agents)
    assert limit.limit == 0
    await limit.change(1000)
    assert told(agents) == {"s": 1000, "a": 1000}
    await limit.change(0)
    assert told(agents) == {"s": 0, "a": 0}


async def test_it_survives_a_restart_and_is_told_to_agents_as_they_come(file: Path) -> None:
    await NodeLimit(file, FakeAgents()).change(1000)
    assert file.stat().st_mode & 0o777 == 0o600
    agents = FakeAgents("s", "a")
    limit = NodeLimit(file, agents)
    assert limit.limit == 1000
    limit.nodes_changed((agents.nodes["s"],), ())
    await agents.wait_for("s", SetNodeLimit)
    limit.nodes_changed((agents.nodes["s"],), ())  # only its facts are new
    limit.nodes_changed((NodeInfo("s", NodeState.OFFLINE),), ())
    limit.nodes_changed(tuple(agents.nodes.values()), ())
    await agents.wait_for("a", SetNodeLimit)
    await agents.wait_for("s", SetNodeLimit, 2)
    limit.nodes_changed((), ("a",))
    limit.nodes_changed(tuple(agents.nodes.values()), ())
    await agents.wait_for("a", SetNodeLimit, 2)
    assert len(agents.orders) == 4


@pytest.mark.parametrize("text", ["", "{", "[]", '{"limit": -1}', '{"limit": "much"}', '{"other": 1}'])
async def test_a_damaged_file_is_no_limit(file: Path, text: str) -> None:
    file.write_text(text)
    limit = NodeLimit(file, FakeAgents())
    assert limit.limit == 0
    await limit.change(5)
    assert NodeLimit(file, FakeAgents()).limit == 5


async def test_an_agent_that_does_not_answer_holds_up_nobody(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("castray_desktop.workers.node_limit.TELL_SECONDS", 0.01)
    agents = FakeAgents("s", "a")
    agents.hold(SetNodeLimit)
    async with asyncio.timeout(5):
        await NodeLimit(file, agents).change(1000)
    agents.release()
