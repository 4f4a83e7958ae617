"""Casts that survive their engine."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import (
    CastMode,
    CastResult,
    CastState,
    DeliverySnapshot,
    DeliveryState,
    NodeState,
)
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports, cast_parcel
from castray_desktop.workers.casts.cast_manager import CastManager
from castray_desktop.workers.casts.cast_table import CastServices
from castray_desktop.workers.casts.session.checkpoint import CastCheckpoint, CheckpointStore
from tests.helpers.cast_stage import REQUEST, Stage
from tests.helpers.fake_agents import STREAM
from tests.helpers.fault_fs import fault_fs


class Engines:
    """Engines of one home, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stages: list[Stage] = []
        self.records: list[CheckpointStore] = []

    async def start(self, target: str = "local", paused: bool = False) -> Stage:
        stage = Stage()
        await stage.cast_manager.close()
        stage.agents.target = target
        records = CheckpointStore(self.folder)
        stage.cast_manager = CastManager(stage.agents, stage.events.append, CastServices(checkpoints=records))
        stage.agents.cast_manager = stage.cast_manager
        for record in records.load():
            stage.cast_manager.restore(record, paused)
        self.stages.append(stage)
        self.records.append(records)
        return stage

    async def kill(self) -> None:
        """Written records stay, and no others exist."""
        stage = self.stages.pop()
        for _ in range(9):  # the effect of the report is visible
            await asyncio.sleep(0)
        await self.records[-1].close()
        assert {stat.S_IMODE(path.stat().st_mode) for path in self.folder.iterdir()} == {0o600}
        kept = {path: path.read_bytes() for path in self.folder.iterdir()}
        await stage.cast_manager.close()
        for path, text in kept.items():
            path.write_bytes(text)


@pytest.fixture
async def engines(tmp_path: Path) -> AsyncIterator[Engines]:
    engines = Engines(tmp_path)
    yield engines
    for stage in engines.stages:
        await stage.cast_manager.close()


async def test_a_cast_continues_under_the_next_engine(engines: Engines) -> None:
    first = await engines.start()
    cast = await first.start()
    old = await first.agents.wait_for("b", agent_orders.StartDelivery)
    first.agents.complete("a", cast, "s")
    before = first.cast_manager.summaries()[0]
    await engines.kill()
    assert isinstance(old, agent_orders.StartDelivery)
    (file,) = engines.folder.iterdir()
    assert old.secret not in file.read_text()
    second = await engines.start()
    new = await second.agents.wait_for("b", agent_orders.StartDelivery)
    assert isinstance(new, agent_orders.StartDelivery)
    assert new.secret != old.secret
    assert new.algorithms == old.algorithms
    assert not any(isinstance(order, agent_orders.CheckDestination) for _, order in second.agents.orders)
    summary = second.cast_manager.summaries()[0]
    assert (summary.cast, summary.started, summary.mode) == (cast, before.started, before.mode)
    assert second.cast_manager.deliveries()[cast][0].state is DeliveryState.COMPLETED
    assert await second.finish(cast, "b", "c") is CastState.COMPLETED
    assert not second.agents.started("a")
    await engines.records[-1].close()
    assert list(engines.folder.iterdir()) == []


async def test_who_is_added_under_the_next_engine_does_not_write_to_the_folder_of_another_one(
    engines: Engines,
) -> None:
    first = await engines.start()
    replies = {node: agent_orders.DestinationReply("/mnt/x", "one", free_bytes=10**10) for node in "abc"}
    first.agents.replies = replies
    cast = first.cast_manager.send(msgspec.structs.replace(REQUEST, recipients=("a", "b")))
    await first.agents.wait_for("a", agent_orders.StartDelivery)
    await engines.kill()
    second = await engines.start()
    second.agents.replies = replies
    await second.agents.wait_for("a", agent_orders.StartDelivery)
    await second.cast_manager.add_recipients(cast, ("c",))
    assert await second.finish(cast, "a") is CastState.COMPLETED
    states = [item.state for item in second.cast_manager.deliveries()[cast]]
    assert states == [DeliveryState.COMPLETED, DeliveryState.SHARED, DeliveryState.SHARED]
    assert not second.agents.started("c")


async def test_writers_from_before_the_scan_are_not_those_of_the_next_survey(engines: Engines) -> None:
    first = await engines.start()
    first.agents.replies = {
        node: agent_orders.DestinationReply("/mnt/x", storage, mount="nas:/x", free_bytes=10**10)
        for node, storage in (("a", "one"), ("b", "one"), ("c", "two"))
    }
    first.agents.hold(agent_orders.Probe)
    cast = first.cast_manager.send(msgspec.structs.replace(REQUEST, leave_out=True))
    await first.agents.wait_for("a", agent_orders.Probe)
    await first.cast_manager.commands.pause(cast)
    first.agents.release()
    await first.agents.wait_for("a", agent_orders.Probe, 2)  # it removes its file
    await engines.kill()
    (record,) = CheckpointStore(engines.folder).load()
    assert (record.manifest_digest, record.writers) == ("", {"b": "a"})
    second = await engines.start()
    second.agents.replies = first.agents.replies
    await second.agents.set_state("a", NodeState.OFFLINE)
    second.cast_manager.commands.resume(cast)
    await second.agents.wait_for("b", agent_orders.StartDelivery)
    assert await second.finish(cast, "b", "c") is CastState.PARTLY_FAILED


async def test_a_cast_whose_files_have_changed_ends(engines: Engines) -> None:
    cast = await (await engines.start()).start()
    await engines.kill()
    second = Stage()
    await second.cast_manager.close()
    record = CheckpointStore(engines.folder).load()[0]
    second.agents.totals = cast_parcel.ParcelTotals(100, "other", 1, 33, 1, 1)
    second.cast_manager = CastManager(second.agents, second.events.append)
    second.agents.cast_manager = second.cast_manager
    engines.stages.append(second)
    second.cast_manager.restore(record)
    result = await second.result(cast)
    assert result.deliveries[0].failure == Failure(FailureKind.PARCEL_CHANGED, {"node": "s"})


async def test_a_cast_waits_for_its_cluster(engines: Engines) -> None:
    cast = await (await engines.start("10.0.0.1:6379")).start()
    await engines.kill()
    second = await engines.start("local")
    summary = second.cast_manager.summaries()[0]
    assert summary.state is CastState.QUEUED
    await second.cast_manager.end_all(Failure(FailureKind.CLUSTER_STOPPED))  # that of the other cluster
    second.agents.target = "10.0.0.1:6379"
    second.cast_manager.cluster_changed()
    await second.agents.wait_for("c", agent_orders.StartDelivery)
    assert await second.finish(cast, "a", "b", "c") is CastState.COMPLETED


async def test_a_cast_that_waits_for_its_cluster_outlives_an_orderly_end(engines: Engines) -> None:
    await (await engines.start("10.0.0.1:6379")).start()
    await engines.kill()
    await engines.start("local")
    await engines.stages.pop().cast_manager.close()
    assert len(list(engines.folder.iterdir())) == 1


async def test_an_orderly_end_leaves_casts_to_the_next_engine(engines: Engines) -> None:
    first = await engines.start()
    cast = await first.start()
    await engines.stages.pop().cast_manager.close()
    assert not any(isinstance(order, agent_orders.CancelCast) for _, order in first.agents.orders)
    second = await engines.start()
    await second.agents.wait_for("c", agent_orders.StartDelivery)
    assert await second.finish(cast, "a", "b", "c") is CastState.COMPLETED


async def test_a_paused_cast_stays_so_until_somebody_resumes_it(engines: Engines) -> None:
    first = await engines.start()
    cast = await first.start()
    first.agents.complete("a", cast, "s")
    first.agents.report_source("s", cast, agent_reports.SourceState.SERVING, sent_bytes=STREAM // 2)
    await first.cast_manager.commands.pause()
    before = await first.agents.wait_for("b", agent_orders.StartDelivery)
    await engines.kill()
    await engines.start()
    await engines.kill()  # the node that only waited forwards everything
    second = await engines.start()
    for _ in range(9):
        await asyncio.sleep(0)
    summary = second.cast_manager.summaries()[0]
    states = [item.state for item in second.cast_manager.deliveries()[cast]]
    assert summary.state is CastState.PAUSED
    assert states == [DeliveryState.COMPLETED, DeliveryState.PAUSED, DeliveryState.PAUSED]
    assert second.agents.orders == []
    second.cast_manager.commands.resume(cast)
    await second.agents.wait_for("c", agent_orders.StartDelivery)
    after = await second.agents.wait_for("b", agent_orders.StartDelivery)
    assert isinstance(before, agent_orders.StartDelivery)
    assert isinstance(after, agent_orders.StartDelivery)
    assert after.algorithms == before.algorithms
    assert await second.finish(cast, "b", "c") is CastState.COMPLETED
    copies = second.cast_manager.summaries()[0].source_copies
    assert copies == pytest.approx(1.5, abs=0.06)  # the bytes that left the source before count as well


async def test_a_recipient_that_is_paused_stays_so(engines: Engines) -> None:
    first = await engines.start()
    cast = await first.start()
    await first.cast_manager.commands.pause(cast, ("b",))
    await engines.kill()
    second = await engines.start()
    await second.agents.wait_for("c", agent_orders.StartDelivery)
    states = {item.node: item.state for item in second.cast_manager.deliveries()[cast]}
    assert states["b"] is DeliveryState.PAUSED
    assert [node for node, _ in second.agents.orders if node == "b"] == []
    second.cast_manager.commands.resume(cast, ("b",))
    await second.agents.wait_for("b", agent_orders.StartDelivery)
    assert await second.finish(cast, "a", "b", "c") is CastState.COMPLETED


async def test_casts_can_wait_to_be_resumed_after_every_start(engines: Engines) -> None:
    cast = await (await engines.start()).start()
    await engines.kill()
    second = await engines.start(paused=True)
    assert second.cast_manager.summaries()[0].state is CastState.PAUSED
    second.cast_manager.commands.resume(cast)
    await second.agents.wait_for("c", agent_orders.StartDelivery)
    assert await second.finish(cast, "a", "b", "c") is CastState.COMPLETED


async def test_a_paused_cast_outlives_its_cluster(engines: Engines) -> None:
    stage = await engines.start()
    cast = await stage.start()
    await stage.cast_manager.commands.pause(cast)
    await stage.cast_manager.end_all(Failure(FailureKind.CLUSTER_STOPPED))
    assert stage.cast_manager.summaries()[0].state is CastState.PAUSED
    assert len(stage.cast_manager.unfinished) == 1
    stage.cast_manager.commands.resume(cast)
    await stage.agents.wait_for("c", agent_orders.StartDelivery, 2)
    assert await stage.finish(cast, "a", "b", "c") is CastState.COMPLETED


async def test_the_result_of_a_paused_cast_whose_cluster_is_left_is_that_of_its_end(engines: Engines) -> None:
    stage = await engines.start()
    cast = await stage.start()
    await stage.cast_manager.commands.pause(cast)
    awaited = asyncio.create_task(stage.result(cast))
    await asyncio.sleep(0)
    await stage.cast_manager.end_all(Failure(FailureKind.CLUSTER_STOPPED))
    stage.cast_manager.commands.resume(cast)
    await stage.agents.wait_for("c", agent_orders.StartDelivery, 2)
    assert await stage.finish(cast, "a", "b", "c") is CastState.COMPLETED
    assert (await awaited).summary.state is CastState.COMPLETED


async def test_whenever_it_is_asked_for_the_result_of_a_paused_cast_is_that_of_its_end(
    engines: Engines,
) -> None:
    stage = await engines.start()
    cast = await stage.start()
    await stage.cast_manager.commands.pause(cast)
    awaited: list[asyncio.Task[CastResult]] = []
    leaving = asyncio.create_task(stage.cast_manager.end_all(Failure(FailureKind.CLUSTER_STOPPED)))
    while not leaving.done():
        awaited.append(asyncio.create_task(stage.result(cast)))
        await asyncio.sleep(0)
    assert len(awaited) > 1
    assert not any(result.done() for result in awaited)
    await stage.cast_manager.cancel(cast)
    assert {(await result).summary.state for result in awaited} == {CastState.CANCELLED}


async def test_an_engine_that_stops_has_no_result_of_a_cast_that_runs(engines: Engines) -> None:
    stage = await engines.start()
    cast = await stage.start()
    awaited = asyncio.create_task(stage.result(cast))
    await asyncio.sleep(0)
    await stage.cast_manager.close()
    with pytest.raises(CastRayError) as caught:
        await awaited
    assert caught.value.failure.kind is FailureKind.ENGINE_UNREACHABLE


async def test_a_cast_that_was_being_scanned_begins_again(engines: Engines) -> None:
    first = await engines.start()
    first.agents.scanning = True
    cast = first.cast_manager.send(REQUEST)
    await first.agents.wait_for("s", agent_orders.PrepareSource)
    await engines.kill()
    second = await engines.start()
    await second.agents.wait_for("c", agent_orders.StartDelivery)
    assert await second.finish(cast, "a", "b", "c") is CastState.COMPLETED


async def test_the_order_of_the_queue_is_kept(engines: Engines) -> None:
    first = await engines.start()
    first.cast_manager.set_max_running(1)
    running = await first.start()
    waiting = [first.cast_manager.send(REQUEST) for _ in range(3)]
    for _ in range(9):
        await asyncio.sleep(0)
    first.cast_manager.commands.move_in_queue(waiting[2], 0)
    await engines.kill()
    second = await engines.start()
    assert [item.cast for item in second.cast_manager.summaries()] == [
        *(running, waiting[2], waiting[0], waiting[1])
    ]


async def test_a_damaged_record_is_no_error_and_is_not_lost(engines: Engines) -> None:
    (engines.folder / "c0ffee.json").write_text("{")
    for _ in range(2):
        stage = await engines.start()
        assert stage.cast_manager.summaries() == ()
        (aside,) = engines.folder.iterdir()
        assert (aside.name.startswith("damaged-"), aside.read_text()) == (True, "{")


async def test_what_could_not_be_written_is_written_with_the_next_one(tmp_path: Path) -> None:
    def record(cast: str) -> CastCheckpoint:
        return CastCheckpoint(cast, "local", REQUEST, CastMode.UNICAST, 1.0, (DeliverySnapshot("a"),))

    async with fault_fs(tmp_path / "mount") as disk:
        store = CheckpointStore(disk.mount)
        store.save(record("first"))
        await store.close()
        await disk.set_state(read_only=True)
        store.save(record("second"))
        store.drop("first")
        await store.close()
        assert await disk.names() == ["/first.json"]
        await disk.set_state(read_only=False)
        store.save(record("third"))
        await store.close()
        assert sorted(await disk.names()) == ["/second.json", "/third.json"]
