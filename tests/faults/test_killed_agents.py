"""A sample of the rows about processes, over agents without Ray: the rows themselves need a real cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.agent_stage import MIDDLE, NODES, RECIPIENTS, AgentStage, agent_stage, make_parcel
from tests.faults.fault_cells import Component
from tests.faults.fault_checks import FinalNames, Observation, Repeated, is_only_late, problems

pytestmark = pytest.mark.timeout(240)

LIMIT = 6 << 20
"""Bytes per second: a cast takes more than a second, so that reports tell where it is."""

TRIES = 3
EXTRA = 2 << 20
"""Pieces on their way when a connection ended, and the lists."""


@pytest.mark.parametrize("component", [Component.SOURCE, Component.MIDDLE])
async def test_an_agent_that_is_killed_half_way_comes_back_and_nothing_is_sent_twice(
    component: Component, tmp_path: Path
) -> None:
    """A busy machine may hold up the others: their times alone are measured again."""
    for number in range(TRIES):
        found = problems(await _kill_half_way(component, tmp_path / str(number)))
        if not found or not is_only_late(found):
            break
    assert found == []


async def _kill_half_way(component: Component, folder: Path) -> Observation:
    parcel = make_parcel(folder / "parcel")
    node = NODES[component]
    async with agent_stage(folder) as stage:
        usual = await stage.usual_seconds(limit=LIMIT)
        with FinalNames(stage.inboxes, parcel.allowed) as names:
            cast = stage.send([parcel.folder], limit=LIMIT)
            await stage.reached(cast, MIDDLE, parcel.bytes // 2)
            before = {name: stage.report(cast, name).received_bytes for name in RECIPIENTS}
            await stage.nodes.kill(node)
            await stage.place(node)
            endings = await stage.endings(cast)
        moved = {name: _moved(stage, cast, name, before) for name in RECIPIENTS}
        others = [name for name in RECIPIENTS if name != node and component is not Component.SOURCE]
        return Observation(
            endings,
            {},
            others,
            usual,
            wrong=names.wrong,
            left=await stage.left(),
            repeated={name: Repeated(parcel.bytes, moved[name], EXTRA) for name in RECIPIENTS},
        )


def _moved(stage: AgentStage, cast: str, node: str, before: dict[str, int]) -> int:
    """What the node has received: a new agent of it counts from zero."""
    now = stage.report(cast, node).received_bytes
    return now if node != MIDDLE or now >= before[node] else now + before[node]
