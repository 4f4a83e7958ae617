"""Recipients that are paused individually, with fake agents."""

from __future__ import annotations

import asyncio
import dataclasses

import msgspec
import pytest

from castray_desktop.core.casts.grace_period import GRACE_SECONDS
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastState, CastSummary, DeliveryState
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports, cast_parcel
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from tests.helpers.cast_stage import REQUEST, Stage
from tests.helpers.fake_agents import STREAM
from tests.workers.casts.test_cast_commands import deliveries, settle

PAUSED, WAITING = DeliveryState.PAUSED, DeliveryState.WAITING


def summary(stage: Stage, cast: str) -> CastSummary:
    return next(item for item in stage.cast_manager.summaries() if item.cast == cast)


async def upstream(stage: Stage, node: str, count: int = 1) -> str:
    """The upstreams that the node was ordered to use after its start."""
    order = await stage.agents.wait_for(node, agent_orders.SetUpstream, count)
    assert isinstance(order, agent_orders.SetUpstream)
    assert order.upstream is not None
    return order.upstream.node


def told(stage: Stage, kind: type) -> list[str]:
    """The nodes that got orders of this kind."""
    return [node for node, order in stage.agents.orders if isinstance(order, kind)]


async def pause(stage: Stage, cast: str, *nodes: str) -> None:
    await stage.cast_manager.commands.carry_out(messages.Pause(cast, nodes))


async def resume(stage: Stage, cast: str, *nodes: str) -> None:
    await stage.cast_manager.commands.carry_out(messages.Resume(cast, nodes))
    await settle()


async def test_the_others_go_on_without_it_and_it_comes_back_at_the_end(stage: Stage) -> None:
    cast = await stage.start()
    await pause(stage, cast, "b", "b")
    assert told(stage, agent_orders.PauseDelivery) == ["b"]
    assert deliveries(stage, cast) == {"a": WAITING, "b": PAUSED, "c": WAITING}
    assert (summary(stage, cast).state, summary(stage, cast).paused) == (CastState.SENDING, 1)
    assert await upstream(stage, "c") == "a"
    stage.agents.report_delivery("a", cast, RecipientState.RECEIVING, stream_bytes=STREAM // 2)
    stage.agents.report_delivery("c", cast, RecipientState.RECEIVING, stream_bytes=STREAM // 2)
    await resume(stage, cast, "b")
    assert await upstream(stage, "b") == "c"
    assert told(stage, agent_orders.PauseCast) == []
    assert await stage.finish(cast, "a", "b", "c") is CastState.COMPLETED


async def test_a_slow_fan_out_becomes_a_chain(stage: Stage) -> None:
    """A recipient that has more than the others returns below the source, which then feeds two."""
    mb = 1_000_000
    totals = stage.agents.totals
    stage.agents.totals = dataclasses.replace(
        totals, content_bytes=300 * mb, top=(cast_parcel.TopEntry("model.bin", False, 300 * mb, 1),)
    )
    cast = await stage.start()
    have = {"a": 10 * mb, "b": 9 * mb, "c": 0}

    def report(node: str) -> None:
        stage.agents.report_delivery(
            node, cast, RecipientState.RECEIVING, stream_bytes=have[node], received_bytes=have[node]
        )

    await pause(stage, cast, "c")
    have["c"] = 60 * mb
    for node in "abc":
        report(node)
    await resume(stage, cast, "c")
    assert await upstream(stage, "c") == "s"
    assert told(stage, agent_orders.SetUpstream) == ["c"]  # the others stay: a fetches from s as well
    for _ in range(12):  # both get half of a line
        stage.skip(0.25)
        for node in "cab":
            have[node] += 3 * mb
            report(node)
            await settle()
    assert await upstream(stage, "a") == "c"
    assert sorted(told(stage, agent_orders.SetUpstream)) == ["a", "c"]


async def test_an_order_for_it_comes_after_the_one_that_it_has_not_answered(stage: Stage) -> None:
    """Otherwise a start that arrives late would make a paused recipient fetch."""
    stage.agents.hold(agent_orders.StartDelivery)
    cast = stage.cast_manager.send(REQUEST)
    await stage.agents.wait_for("c", agent_orders.StartDelivery)
    pausing = asyncio.create_task(pause(stage, cast, "c"))
    await settle()
    await resume(stage, cast, "c")
    assert [type(order) for node, order in stage.agents.orders if node == "c"][
        -1
    ] is agent_orders.StartDelivery
    stage.agents.release()
    await pausing
    await stage.agents.wait_for("c", agent_orders.SetUpstream)
    assert await stage.finish(cast, "a", "b", "c") is CastState.COMPLETED


async def test_a_cast_is_paused_when_all_its_recipients_are_and_gives_up_admission(stage: Stage) -> None:
    stage.cast_manager.set_max_running(1)
    cast = await stage.start()
    other = stage.cast_manager.send(REQUEST)
    await pause(stage, cast, "b")
    stage.finish_source(cast)
    for node in "ac":
        stage.agents.complete(node, cast, "s")
    await settle()
    assert (summary(stage, cast).state, summary(stage, cast).rate) == (CastState.PAUSED, 0.0)
    assert summary(stage, other).state is not CastState.QUEUED
    await resume(stage, cast, "b")
    assert summary(stage, cast).state is CastState.QUEUED
    await stage.cast_manager.cancel(other)
    assert summary(stage, cast).state is CastState.SENDING
    assert await stage.finish(cast, "b") is CastState.COMPLETED


async def test_it_is_resumed_at_the_moment_in_which_nobody_else_is_left(stage: Stage) -> None:
    """No agent gets the pause after it got the resume."""
    cast = await stage.start()
    await pause(stage, cast, "b")
    stage.finish_source(cast)
    for node in "ac":
        stage.agents.complete(node, cast, "s")
    for _ in range(9):
        await asyncio.sleep(0)
        if summary(stage, cast).state is CastState.PAUSED:
            break
    await resume(stage, cast, "b")
    last = {node: order for node, order in stage.agents.orders if isinstance(order, agent_orders.PauseCast)}
    assert set(last) == set("sabc")
    numbers = {order.number for order in last.values() if not order.paused}
    assert len(numbers) == 1
    assert all(order.number <= max(numbers) for order in last.values())
    assert await stage.finish(cast, "b") is CastState.COMPLETED


async def test_a_cast_shows_that_all_that_goes_on_has_its_bytes(stage: Stage) -> None:
    cast = await stage.start()
    await pause(stage, cast, "b")
    for node in "ac":
        stage.agents.report_delivery(node, cast, RecipientState.VERIFYING, stream_bytes=STREAM)
    await settle()
    assert summary(stage, cast).state is CastState.VERIFYING
    await resume(stage, cast, "b")
    assert summary(stage, cast).state is CastState.SENDING
    assert await stage.finish(cast, "a", "b", "c") is CastState.COMPLETED


async def test_the_last_one_that_is_paused_pauses_the_cast(stage: Stage) -> None:
    cast = await stage.start()
    await pause(stage, cast, "a", "b", "c")
    assert summary(stage, cast).state is CastState.PAUSED
    await resume(stage, cast, "b")
    assert deliveries(stage, cast) == {"a": PAUSED, "b": WAITING, "c": PAUSED}
    assert summary(stage, cast).state is CastState.SENDING
    for node in "ac":
        await stage.agents.wait_for(node, agent_orders.PauseDelivery)
    await stage.cast_manager.commands.pause(cast)
    await resume(stage, cast)
    assert set(deliveries(stage, cast).values()) == {WAITING}
    assert await stage.finish(cast, "a", "b", "c") is CastState.COMPLETED


async def test_no_data_flows_before_paused_recipients_are_detached(stage: Stage) -> None:
    cast = await stage.start()
    await stage.cast_manager.commands.pause(cast)
    stage.agents.hold(agent_orders.PauseDelivery)
    await resume(stage, cast, "b")
    assert deliveries(stage, cast) == {"a": PAUSED, "b": WAITING, "c": PAUSED}
    assert told(stage, agent_orders.PauseDelivery) == ["a", "c"]
    assert not any(is_to_go_on(order) for _, order in stage.agents.orders)
    stage.agents.release()
    await settle()
    assert {node for node, order in stage.agents.orders if is_to_go_on(order)} == set("sabc")
    await resume(stage, cast)
    assert await stage.finish(cast, "a", "b", "c") is CastState.COMPLETED


def is_to_go_on(order: agent_orders.Order) -> bool:
    return isinstance(order, agent_orders.PauseCast) and not order.paused


async def test_a_paused_recipient_is_detached_while_the_cast_is_queued(stage: Stage) -> None:
    stage.cast_manager.set_max_running(1)
    cast = await stage.start()
    await stage.cast_manager.commands.pause(cast)
    other = stage.cast_manager.send(REQUEST)
    await settle()
    await resume(stage, cast, "b")
    assert summary(stage, cast).state is CastState.QUEUED
    await pause(stage, cast, "a")
    assert sorted(told(stage, agent_orders.PauseDelivery)) == ["a", "c"]
    await resume(stage, cast, "a")
    await stage.cast_manager.cancel(other)
    await upstream(stage, "a")


async def test_a_pause_comes_after_the_start_that_was_not_answered_yet(stage: Stage) -> None:
    """An agent that has not started has nothing to pause, and would serve its pieces."""
    stage.agents.hold(agent_orders.StartDelivery)
    cast = stage.cast_manager.send(REQUEST)
    await stage.agents.wait_for("c", agent_orders.StartDelivery)
    pausing = asyncio.create_task(stage.cast_manager.commands.pause(cast))
    await settle()
    assert told(stage, agent_orders.PauseCast) == ["s"]
    stage.agents.release()
    await pausing
    assert sorted(told(stage, agent_orders.PauseCast)) == ["a", "b", "c", "s"]
    await resume(stage, cast)
    assert await stage.finish(cast, "a", "b", "c") is CastState.COMPLETED


async def test_a_recipient_paused_while_the_source_is_away_is_ordered_to_pause(stage: Stage) -> None:
    cast = await stage.start()
    await settle()
    stage.agents.go_away("s")
    await pause(stage, cast, "a")
    assert told(stage, agent_orders.PauseDelivery) == ["a"]
    stage.agents.come_back("s")
    assert await upstream(stage, "b", 2) == "s"
    assert "a" not in told(stage, agent_orders.SetUpstream)


@pytest.mark.parametrize("nodes", [(), ("b",)])
@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_cast_that_ends_is_neither_paused_nor_resumed(
    stage: Stage, nodes: tuple[str, ...], cancelled: bool
) -> None:
    cast = await stage.start()
    stage.agents.report_source("s", cast, agent_reports.SourceState.SERVING, sent_bytes=1)
    stage.finish_source(cast)
    for node in "abc":
        await stage.agents.wait_for(node, agent_orders.AnnounceTrailer)
    for node in "" if cancelled else "abc":
        stage.agents.complete(node, cast, "s")
    ending = asyncio.create_task(stage.cast_manager.cancel(cast)) if cancelled else None
    tried = accepted = refused = 0
    while stage.cast_manager.unfinished:
        await asyncio.sleep(0)
        for steer in (pause, resume):
            tried += 1
            try:
                await steer(stage, cast, *nodes)
                accepted += 1
            except CastRayError as error:
                refused += error.failure.kind is FailureKind.CAST_FINISHED
        await pause(stage, "")
        await resume(stage, "")
    assert refused
    assert tried == accepted + refused
    if ending is not None:
        await ending
    assert summary(stage, cast).state is (CastState.CANCELLED if cancelled else CastState.COMPLETED)


async def test_resuming_a_running_cast_resumes_all_of_it(stage: Stage) -> None:
    cast = await stage.start()
    await pause(stage, cast, "a")
    await resume(stage, "")
    assert deliveries(stage, cast)["a"] is PAUSED
    await resume(stage, cast)
    assert deliveries(stage, cast)["a"] is WAITING


async def test_a_paused_recipient_has_no_grace_period(stage: Stage) -> None:
    cast = await stage.start()
    await pause(stage, cast, "b")
    stage.agents.go_away("b")
    await settle()
    stage.skip(GRACE_SECONDS * 9)
    stage.cast_manager.cluster_changed()
    await settle()
    assert deliveries(stage, cast)["b"] is PAUSED
    stage.agents.come_back("b")
    await settle()
    assert told(stage, agent_orders.StartDelivery).count("b") == 1
    await resume(stage, cast, "b")
    await stage.agents.wait_for("b", agent_orders.StartDelivery, 2)
    assert await stage.finish(cast, "a", "b", "c") is CastState.COMPLETED


async def test_one_that_is_paused_before_the_start_is_not_told_to_fetch(stage: Stage) -> None:
    stage.agents.scanning = True
    cast = stage.cast_manager.send(REQUEST)
    await stage.agents.wait_for("s", agent_orders.PrepareSource)
    await pause(stage, cast, "a")
    stage.agents.report_source("s", cast, agent_reports.SourceState.PREPARED, totals=stage.agents.totals)
    start = await stage.agents.wait_for("b", agent_orders.StartDelivery)
    assert isinstance(start, agent_orders.StartDelivery)
    assert start.upstream is not None
    assert start.upstream.node == "s"
    await stage.agents.wait_for("c", agent_orders.StartDelivery)
    assert "a" not in told(stage, agent_orders.StartDelivery)
    await resume(stage, cast, "a")
    await stage.agents.wait_for("a", agent_orders.StartDelivery)
    assert await stage.finish(cast, "a", "b", "c") is CastState.COMPLETED


async def test_another_recipient_of_the_folder_writes_while_the_writer_is_paused(stage: Stage) -> None:
    for node in "ab":
        stage.agents.replies[node] = agent_orders.DestinationReply("/shared", "same", free_bytes=1 << 40)
    cast = stage.cast_manager.send(REQUEST)
    await stage.agents.wait_for("c", agent_orders.StartDelivery)
    await pause(stage, cast, "a")
    await stage.agents.wait_for("b", agent_orders.StartDelivery)
    await pause(stage, cast, "b")
    await resume(stage, cast, "a")
    assert await upstream(stage, "a") == "c"  # it continues with its pieces
    await resume(stage, cast, "b")
    assert await stage.finish(cast, "a", "c") is CastState.COMPLETED
    assert deliveries(stage, cast)["b"] is DeliveryState.SHARED


async def test_a_paused_recipient_can_be_dropped_and_a_cast_with_one_cancelled(stage: Stage) -> None:
    cast = await stage.start()
    await pause(stage, cast, "a", "b")
    await stage.cast_manager.commands.drop_recipients(cast, ("a",))
    stage.finish_source(cast)
    stage.agents.complete("c", cast, "s")
    await settle()
    assert summary(stage, cast).state is CastState.PAUSED
    await stage.cast_manager.cancel(cast)
    assert deliveries(stage, cast)["b"] is DeliveryState.CANCELLED


async def test_what_is_no_recipient_can_not_be_paused(stage: Stage) -> None:
    cast = await stage.start()
    for order in (messages.Pause(cast, ("s",)), messages.Resume(cast, ("nobody",))):
        with pytest.raises(CastRayError) as error:
            await stage.cast_manager.commands.carry_out(order)
        assert error.value.failure.kind is FailureKind.NODE_UNKNOWN
    with pytest.raises(CastRayError) as error:
        await pause(stage, "", "a", "s")
    assert error.value.failure.values == {"node": "s", "nodes": "a, b, c"}


async def test_a_node_can_be_paused_in_all_casts(stage: Stage) -> None:
    first = await stage.start()
    second = stage.cast_manager.send(msgspec.structs.replace(REQUEST, recipients=("b", "c")))
    third = stage.cast_manager.send(msgspec.structs.replace(REQUEST, recipients=("b",)))
    await pause(stage, "", "a", "c")
    assert [deliveries(stage, cast).get("c") for cast in (first, second, third)] == [PAUSED, PAUSED, None]
    assert deliveries(stage, first)["a"] is PAUSED
    await resume(stage, "", "c")
    assert [summary(stage, cast).paused for cast in (first, second, third)] == [1, 0, 0]
