"""Offline recipients are served when they return, by a node that has the files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import CastState, CastSummary, DeliveryState
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports, cast_parcel
from castray_desktop.workers.casts import deferred_deliveries
from castray_desktop.workers.casts.cast_manager import CastManager
from castray_desktop.workers.casts.cast_table import CastServices
from castray_desktop.workers.casts.session.checkpoint import CheckpointStore
from tests.helpers.cast_stage import REQUEST, Stage

PATIENT = msgspec.structs.replace(REQUEST, recipients=("a", "b", "c"), leave_out=False).with_options(
    await_offline=True
)
CHANGED = cast_parcel.ParcelTotals(100, "changed", 7, 33, 1, 1)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferred_deliveries, "GATHER_SECONDS", 0.0)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage()
    await stage.cast_manager.close()
    stage.agents.read_back = dict.fromkeys("abc", 0)
    await start_engine(stage, tmp_path)
    yield stage
    await stage.cast_manager.close()


async def start_engine(stage: Stage, folder: Path) -> None:
    """Another engine, which continues the recorded casts."""
    records = CheckpointStore(folder)
    stage.cast_manager = CastManager(
        stage.agents, stage.events.append, CastServices(clock=stage._clock, checkpoints=records)
    )
    stage.agents.cast_manager = stage.cast_manager
    for record in records.load():
        stage.cast_manager.restore(record)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def summary(stage: Stage, cast: str) -> CastSummary:
    return next(item for item in stage.cast_manager.summaries() if item.cast == cast)


def states(stage: Stage, cast: str) -> dict[str, DeliveryState]:
    return {item.node: item.state for item in stage.cast_manager.deliveries()[cast]}


async def send(stage: Stage, *offline: str) -> str:
    """A finished cast to all nodes, some of them offline."""
    for node in offline:
        stage.agents.go_away(node)
    there = [node for node in "abc" if node not in offline]
    cast = stage.cast_manager.send(PATIENT)
    for node in there:
        await stage.agents.wait_for(node, agent_orders.StartDelivery)
    stage.finish_source(cast)
    for node in there:
        stage.agents.complete(node, cast, "s")
    await stage.result(cast)
    return cast


async def follow(stage: Stage, cast: str, *nodes: str) -> CastSummary:
    """The cast that serves the returned nodes, once they fetch."""
    for node in nodes:
        await stage.agents.wait_for(node, agent_orders.StartDelivery)
    found = [item for item in stage.cast_manager.summaries() if item.follows == cast]
    assert len(found) == 1
    assert set(found[0].recipients) == set(nodes)
    return found[0]


async def finish(stage: Stage, later: CastSummary, *nodes: str) -> None:
    stage.agents.report_source(
        later.source, later.cast, agent_reports.SourceState.HASHED, totals=None, trailer_digest="t"
    )
    for node in nodes:
        stage.agents.complete(node, later.cast, later.source)
    await stage.result(later.cast)
    await settle()


async def test_a_returned_recipient_is_served_by_a_new_cast(stage: Stage, tmp_path: Path) -> None:
    cast = await send(stage, "b")
    assert (summary(stage, cast).state, summary(stage, cast).awaited) == (CastState.PARTLY_FAILED, 1)
    assert states(stage, cast)["b"] is DeliveryState.AWAITED
    assert stage.cast_manager.has_deferred
    stage.cast_manager.clear_finished()  # waiting recipients stay
    stage.agents.come_back("b")
    later = await follow(stage, cast, "b")
    assert later.source == "s"
    await finish(stage, later, "b")
    assert summary(stage, cast).state is CastState.COMPLETED
    assert states(stage, cast)["b"] is DeliveryState.COMPLETED
    assert not stage.cast_manager.has_deferred
    await stage.cast_manager.close()
    assert list(tmp_path.iterdir()) == []


async def test_two_that_come_back_together_share_a_cast(stage: Stage) -> None:
    cast = await send(stage, "b", "c")
    stage.agents.come_back("b")
    stage.agents.come_back("c")
    await finish(stage, await follow(stage, cast, "b", "c"), "b", "c")
    assert summary(stage, cast).state is CastState.COMPLETED


async def test_nobody_has_to_be_there_at_first(stage: Stage) -> None:
    cast = await send(stage, "a", "b", "c")
    assert summary(stage, cast).awaited == 3
    stage.agents.come_back("a")
    await finish(stage, await follow(stage, cast, "a"), "a")
    assert states(stage, cast)["a"] is DeliveryState.COMPLETED
    assert summary(stage, cast).awaited == 2


@pytest.mark.parametrize("gone", [True, False])
async def test_a_recipient_with_the_files_serves_deferred_deliveries(stage: Stage, gone: bool) -> None:
    cast = await send(stage, "b")
    if gone:
        stage.agents.go_away("s")
    else:
        stage.agents.totals_of["s"] = CHANGED
    stage.agents.come_back("b")
    later = await follow(stage, cast, "b")
    assert later.source == "a"
    orders = [order for node, order in stage.agents.orders if node == "a"]
    scans = [order for order in orders if isinstance(order, agent_orders.PrepareSource)]
    assert {scan.paths for scan in scans} == {("/inbox/a/model.bin",)}
    await finish(stage, later, "b")
    assert states(stage, cast)["b"] is DeliveryState.COMPLETED


async def test_a_recipient_whose_grace_period_expires_is_deferred(stage: Stage) -> None:
    cast = stage.cast_manager.send(PATIENT)
    for node in "abc":
        await stage.agents.wait_for(node, agent_orders.StartDelivery)
    stage.agents.go_away("b")
    await settle()
    stage.skip()
    stage.finish_source(cast)
    for node in "ac":
        stage.agents.complete(node, cast, "s")
    await stage.result(cast)
    assert states(stage, cast)["b"] is DeliveryState.AWAITED


async def test_what_nobody_has_any_more_fails(stage: Stage) -> None:
    cast = await send(stage, "a", "b", "c")
    stage.agents.totals_of["s"] = CHANGED
    stage.agents.come_back("b")
    await settle()
    failure = stage.cast_manager.deliveries()[cast][1].failure
    assert failure == Failure(FailureKind.NOBODY_HAS_IT, {"node": "b", "source": "s"})
    assert summary(stage, cast).awaited == 2


async def test_waiting_can_be_ended(stage: Stage) -> None:
    cast = await send(stage, "b", "c")
    await stage.cast_manager.commands.drop_recipients(cast, ("b",))
    assert states(stage, cast)["b"] is DeliveryState.CANCELLED
    await stage.cast_manager.cancel(cast)
    assert states(stage, cast)["c"] is DeliveryState.CANCELLED
    assert not stage.cast_manager.has_deferred
    with pytest.raises(CastRayError) as error:
        await stage.cast_manager.cancel(cast)
    assert error.value.failure.kind is FailureKind.CAST_FINISHED
    stage.agents.come_back("b")
    await settle()
    assert not stage.agents.started("b")


async def test_the_next_engine_serves_them_too(stage: Stage, tmp_path: Path) -> None:
    cast = await send(stage, "b")
    before = summary(stage, cast)
    await stage.cast_manager.close()
    await start_engine(stage, tmp_path)
    after = summary(stage, cast)
    assert (after.name, after.bytes, after.state, after.awaited) == (
        *(before.name, before.bytes, before.state),
        1,
    )
    assert states(stage, cast) == {"a": "completed", "b": "awaited", "c": "completed"}
    stage.agents.come_back("b")
    later = await follow(stage, cast, "b")
    await stage.cast_manager.close()  # while serving it
    await start_engine(stage, tmp_path)
    await stage.agents.wait_for("b", agent_orders.StartDelivery, 2)
    assert len(stage.cast_manager.summaries()) == 2  # no node is served twice
    await finish(stage, later, "b")
    assert summary(stage, cast).state is CastState.COMPLETED


async def test_a_recipient_that_is_lost_again_is_deferred_again(stage: Stage) -> None:
    cast = await send(stage, "b")
    stage.agents.come_back("b")
    later = await follow(stage, cast, "b")
    stage.agents.go_away("b")
    await settle()
    stage.skip()
    stage.cast_manager.cluster_changed()
    await stage.result(later.cast)
    await settle()
    assert states(stage, cast)["b"] is DeliveryState.AWAITED
    stage.agents.come_back("b")
    await stage.agents.wait_for("b", agent_orders.StartDelivery, 2)


async def test_the_survey_ignores_offline_recipients_that_may_be_deferred(stage: Stage) -> None:
    stage.agents.go_away("b")
    assert (await stage.cast_manager.dry_runs.preflight(PATIENT)).problems == ()
    impatient = PATIENT.with_options(await_offline=False)
    assert [item.node for item in (await stage.cast_manager.dry_runs.preflight(impatient)).problems] == ["b"]


async def test_an_offline_recipient_of_a_second_cast_stays_deferred(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    cast = await send(stage, "b")
    again = await stage.cast_manager.commands.send_again(cast)
    for node in "ac":
        await stage.agents.wait_for(node, agent_orders.StartDelivery, 2)
    stage.finish_source(again)
    for node in "ac":
        stage.agents.complete(node, again, "s")
    await stage.result(again)
    await settle()
    assert states(stage, cast)["b"] is states(stage, again)["b"] is DeliveryState.AWAITED
    assert again in stage.cast_manager._deferred
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_copy_that_got_another_name_is_not_sent_in_the_place_of_the_files(stage: Stage) -> None:
    cast = await send(stage, "b")
    status = stage.cast_manager._table.find(cast)
    renamed = msgspec.structs.replace(status.delivery("a"), paths=("/inbox/a/model (2).bin",))
    status._entries["a"].snapshot = renamed
    stage.agents.go_away("s")
    stage.agents.come_back("b")
    later = await follow(stage, cast, "b")
    assert later.source == "c"


async def test_a_copy_that_was_changed_since_is_not_sent_in_the_place_of_the_files(stage: Stage) -> None:
    cast = await send(stage, "b")
    stage.agents.read_back["a"] = 1  # of the same size, so that numbers do not reveal it
    stage.agents.go_away("s")
    stage.agents.come_back("b")
    later = await follow(stage, cast, "b")
    assert later.source == "c"
