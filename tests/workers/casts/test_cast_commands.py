"""Casts that are paused, queued, reduced and sent again, with fake agents."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from castray_desktop.core.casts.grace_period import GRACE_SECONDS
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastResult, CastState, DeliveryState
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.workers.casts.cast_manager import CastManager
from castray_desktop.workers.casts.cast_table import CastServices
from castray_desktop.workers.history.history_store import PastCast
from tests.helpers.cast_stage import REQUEST, Stage
from tests.helpers.fake_agents import STREAM
from tests.helpers.patience import PATIENCE
from tests.helpers.samples import make_cast


def pauses(stage: Stage) -> dict[str, list[bool]]:
    found: dict[str, list[bool]] = {}
    for node, order in stage.agents.orders:
        if isinstance(order, agent_orders.PauseCast):
            found.setdefault(node, []).append(order.paused)
    return found


def state(stage: Stage, cast: str) -> CastState:
    return next(item.state for item in stage.cast_manager.summaries() if item.cast == cast)


def deliveries(stage: Stage, cast: str) -> dict[str, DeliveryState]:
    return {item.node: item.state for item in stage.cast_manager.deliveries()[cast]}


async def settle() -> None:
    for _ in range(9):
        await asyncio.sleep(0)


def kind_of(error: pytest.ExceptionInfo[CastRayError]) -> FailureKind:
    return error.value.failure.kind


async def test_every_node_hears_of_a_pause_and_the_cast_goes_on_afterwards(stage: Stage) -> None:
    cast = await stage.start()
    stage.agents.report_delivery("a", cast, RecipientState.RECEIVING, stream_bytes=1000)
    await stage.cast_manager.commands.pause(cast)
    assert state(stage, cast) is CastState.PAUSED
    assert set(deliveries(stage, cast).values()) == {DeliveryState.PAUSED}
    assert pauses(stage) == {node: [True] for node in "sabc"}
    await stage.cast_manager.commands.pause(cast)  # it is already
    stage.cast_manager.commands.resume(cast)
    assert state(stage, cast) is CastState.SENDING
    await stage.agents.wait_for("c", agent_orders.PauseCast, 2)
    assert pauses(stage) == {node: [True, False] for node in "sabc"}
    assert await stage.finish(cast, "a", "b", "c") is CastState.COMPLETED


async def test_absence_does_not_count_while_the_cast_is_paused(stage: Stage) -> None:
    cast = await stage.start()
    await stage.cast_manager.commands.pause(cast)
    stage.agents.go_away("b")
    await settle()
    stage.skip(GRACE_SECONDS * 9)
    stage.cast_manager.cluster_changed()
    await settle()
    assert deliveries(stage, cast)["b"] is DeliveryState.PAUSED
    stage.agents.come_back("b")
    await settle()
    assert sum(isinstance(order, agent_orders.StartDelivery) for _, order in stage.agents.orders) == 3
    stage.cast_manager.commands.resume(cast)
    await stage.agents.wait_for("b", agent_orders.StartDelivery, 2)
    assert await stage.finish(cast, "a", "b", "c") is CastState.COMPLETED


async def test_a_source_that_comes_back_is_asked_to_serve_once_the_cast_goes_on(stage: Stage) -> None:
    cast = await stage.start()
    await stage.cast_manager.commands.pause(cast)
    stage.agents.go_away("s")
    stage.agents.come_back("s")
    await settle()
    assert sum(isinstance(order, agent_orders.ServeSource) for _, order in stage.agents.orders) == 1
    stage.cast_manager.commands.resume(cast)
    await stage.agents.wait_for("s", agent_orders.ServeSource, 2)
    assert await stage.finish(cast, "a", "b", "c") is CastState.COMPLETED


async def test_a_delivery_with_all_bytes_completes_although_the_cast_is_paused(stage: Stage) -> None:
    cast = await stage.start()
    stage.finish_source(cast)
    for node in "abc":
        stage.agents.report_delivery(node, cast, RecipientState.VERIFYING, stream_bytes=STREAM)
    await stage.cast_manager.commands.pause(cast)
    assert set(deliveries(stage, cast).values()) == {DeliveryState.VERIFYING}
    assert await stage.finish(cast, "a", "b", "c") is CastState.COMPLETED


async def test_a_cast_that_is_paused_while_it_scans_sends_nothing(stage: Stage) -> None:
    stage.agents.scanning = True
    cast = stage.cast_manager.send(REQUEST)
    await stage.agents.wait_for("s", agent_orders.PrepareSource)
    await stage.cast_manager.commands.pause(cast)
    stage.agents.report_source("s", cast, agent_reports.SourceState.PREPARED, totals=stage.agents.totals)
    await settle()
    assert state(stage, cast) is CastState.PAUSED
    assert not any(isinstance(order, agent_orders.ServeSource) for _, order in stage.agents.orders)
    stage.cast_manager.commands.resume(cast)
    await stage.agents.wait_for("c", agent_orders.StartDelivery)
    assert await stage.finish(cast, "a", "b", "c") is CastState.COMPLETED


async def test_a_paused_cast_can_be_cancelled(stage: Stage) -> None:
    cast = await stage.start()
    await stage.cast_manager.commands.pause(cast)
    await stage.cast_manager.cancel(cast)
    assert state(stage, cast) is CastState.CANCELLED


async def test_a_limit_on_casts_at_once(stage: Stage) -> None:
    stage.cast_manager.set_max_running(1)
    first = await stage.start()
    second, third = stage.cast_manager.send(REQUEST), stage.cast_manager.send(REQUEST)
    await settle()
    assert [item.state for item in stage.cast_manager.summaries()][1:] == [CastState.QUEUED] * 2
    assert [item.place for item in stage.cast_manager.summaries()] == [0, 0, 1]
    stage.cast_manager.commands.move_in_queue(third, 0)
    assert [item.place for item in stage.cast_manager.summaries()] == [0, 1, 0]
    with pytest.raises(CastRayError) as error:
        stage.cast_manager.commands.move_in_queue(first, 0)
    assert kind_of(error) is FailureKind.CAST_NOT_QUEUED
    await stage.cast_manager.commands.pause(first)
    assert state(stage, third) is not CastState.QUEUED  # a paused cast does not count as running
    stage.cast_manager.commands.resume(first)
    assert state(stage, first) is CastState.QUEUED
    await stage.cast_manager.cancel(third)
    assert state(stage, first) is CastState.SENDING
    stage.cast_manager.set_max_running(0)
    assert state(stage, second) is not CastState.QUEUED


async def test_all_can_be_paused_and_resumed(stage: Stage) -> None:
    stage.cast_manager.set_max_running(1)
    first = await stage.start()
    second = stage.cast_manager.send(REQUEST)
    await settle()
    await stage.cast_manager.commands.carry_out(messages.Pause())
    assert {state(stage, first), state(stage, second)} == {CastState.PAUSED}
    await stage.cast_manager.commands.carry_out(messages.Resume())
    assert (state(stage, first), state(stage, second)) == (CastState.SENDING, CastState.QUEUED)


async def test_one_recipient_is_dropped_and_those_below_it_go_on(stage: Stage) -> None:
    cast = await stage.start()
    await stage.cast_manager.commands.drop_recipients(cast, ("b",))
    assert deliveries(stage, cast)["b"] is DeliveryState.CANCELLED
    assert ("b", agent_orders.CancelCast(cast)) in stage.agents.orders
    order = await stage.agents.wait_for("c", agent_orders.SetUpstream)
    assert isinstance(order, agent_orders.SetUpstream)
    assert order.upstream is not None
    assert order.upstream.node == "a"
    with pytest.raises(CastRayError) as error:
        await stage.cast_manager.commands.drop_recipients(cast, ())
    assert kind_of(error) is FailureKind.NO_RECIPIENTS
    for who in (("s",), ("b", "nobody")):
        with pytest.raises(CastRayError) as error:
            await stage.cast_manager.commands.drop_recipients(cast, who)
        assert kind_of(error) is FailureKind.NODE_UNKNOWN
    assert await stage.finish(cast, "a", "c") is CastState.PARTLY_FAILED


async def test_a_cast_without_recipients_left_is_cancelled(stage: Stage) -> None:
    cast = await stage.start()
    await stage.cast_manager.commands.drop_recipients(cast, ("a", "b", "c"))
    assert (await stage.result(cast)).summary.state is CastState.CANCELLED


async def test_somebody_joins_before_the_cast_has_taken_a_step(stage: Stage) -> None:
    cast = stage.cast_manager.send(msgspec.structs.replace(REQUEST, recipients=("a",)))
    async with asyncio.timeout(PATIENCE):
        await stage.cast_manager.add_recipients(cast, ("b",))
    await stage.agents.wait_for("b", agent_orders.StartDelivery)
    assert await stage.finish(cast, "a", "b") is CastState.COMPLETED


async def test_what_failed_is_retried_alone(stage: Stage) -> None:
    cast = await stage.start()
    with pytest.raises(CastRayError) as error:
        await stage.retry(cast)
    assert kind_of(error) is FailureKind.CAST_GOES_ON
    await stage.cast_manager.commands.drop_recipients(cast, ("b", "c"))
    assert await stage.finish(cast, "a") is CastState.PARTLY_FAILED
    with pytest.raises(CastRayError) as error:
        await stage.retry(cast, "a")
    assert kind_of(error) is FailureKind.NOTHING_TO_RETRY
    assert await stage.retry(cast[:5], "c") == cast


async def test_what_only_the_history_knows_can_be_sent_again(stage: Stage) -> None:
    request = msgspec.structs.replace(REQUEST, source="s", recipients=("a",))

    async def past(cast: str) -> PastCast:
        if not "c0ffee".startswith(cast):
            raise CastRayError(FailureKind.CAST_UNKNOWN, cast=cast)
        return PastCast(request, "local", CastResult(make_cast("x", cast="c0ffee"), (), 1.0))

    cast_manager = CastManager(stage.agents, stage.events.append, CastServices(find_past_cast=past))
    again = await cast_manager.commands.send_again("c0f")
    assert [(item.cast, item.follows) for item in cast_manager.summaries()] == [(again, "c0ffee")]
    with pytest.raises(CastRayError) as error:
        await cast_manager.commands.send_again("f00")
    assert kind_of(error) is FailureKind.CAST_UNKNOWN
    await cast_manager.close()


async def test_all_end_together_although_one_is_queued(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.cast_manager.set_max_running(1)
    casts = [stage.cast_manager.send(REQUEST) for _ in range(4)]
    await settle()
    await stage.cast_manager.end_all()
    await settle()
    ended = [event.summary.cast for event in stage.events if isinstance(event, CastResult)]
    assert sorted(ended) == sorted(casts)
    assert not stage.cast_manager.unfinished
    assert caplog.records == []
