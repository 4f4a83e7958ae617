"""Nodes that fail and return while a cast runs."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import CastState, DeliveryState, SendRequest
from castray_desktop.core.protocol.nodes import agent_orders, cast_parcel
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState, SourceState
from tests.helpers.cast_stage import REQUEST, Stage
from tests.helpers.fake_agents import STREAM, TOTALS

TO_A_AND_B = SendRequest(("/data/model.bin",), ("a", "b"), leave_out=True)


async def upstream(stage: Stage, node: str, kind: type, count: int = 1) -> cast_parcel.Upstream | None:
    order = await stage.agents.wait_for(node, kind, count)
    assert isinstance(order, agent_orders.StartDelivery | agent_orders.SetUpstream)
    return order.upstream


def received(stage: Stage, node: str, cast: str, count: int, state: str = "receiving") -> None:
    stage.agents.report_delivery(node, cast, RecipientState(state), stream_bytes=count, content_bytes=count)


async def test_a_returned_recipient_gets_an_upstream_again(stage: Stage) -> None:
    cast = await stage.start()
    for node in "abc":
        received(stage, node, cast, 1000)
    stage.agents.go_away("a")
    moved = await upstream(stage, "b", agent_orders.SetUpstream)
    assert moved is not None
    assert moved.node == "s"
    snapshot = stage.cast_manager.deliveries()[cast][0]
    assert snapshot.state is DeliveryState.WAITING
    assert snapshot.failure == Failure(FailureKind.NODE_AWAY, {"node": "a"})
    stage.agents.come_back("a")
    again = await stage.agents.wait_for("a", agent_orders.StartDelivery, 2)
    assert isinstance(again, agent_orders.StartDelivery)
    assert again.upstream is not None
    assert again.upstream.node == "c"
    assert again.epoch > 1
    assert stage.cast_manager.deliveries()[cast][0].failure is None
    assert await stage.finish(cast, "bs", "cb", "ac") is CastState.COMPLETED


async def test_the_others_do_not_wait_for_the_one_that_is_away(stage: Stage) -> None:
    cast = await stage.start()
    stage.agents.go_away("a")
    stage.finish_source(cast)
    await stage.complete(cast, "bs", "cb")
    states = [item.state for item in stage.cast_manager.deliveries()[cast]]
    assert states == [DeliveryState.WAITING, DeliveryState.COMPLETED, DeliveryState.COMPLETED]
    stage.agents.come_back("a")
    await stage.agents.wait_for("a", agent_orders.AnnounceTrailer)
    stage.agents.complete("a", cast, "c")
    assert (await stage.result(cast)).summary.state is CastState.COMPLETED


async def test_a_node_that_is_removed_fails_at_once(stage: Stage) -> None:
    cast = await stage.start()
    stage.agents.remove("c")
    stage.finish_source(cast)
    for node, above in (("a", "s"), ("b", "a")):
        stage.agents.complete(node, cast, above)
    result = await stage.result(cast)
    assert result.deliveries[2].failure == Failure(FailureKind.NODE_OFFLINE, {"node": "c"})


async def test_a_node_that_was_away_and_is_removed_fails_at_once(stage: Stage) -> None:
    cast = await stage.start()
    stage.agents.go_away("c")
    await asyncio.sleep(0)
    stage.agents.remove("c")
    stage.finish_source(cast)
    for node, above in (("a", "s"), ("b", "a")):
        stage.agents.complete(node, cast, above)
    assert (await stage.result(cast)).deliveries[2].state is DeliveryState.FAILED


async def test_time_without_a_cluster_does_not_count(stage: Stage) -> None:
    cast = await stage.start()
    stage.agents.settled = False
    for node in "sabc":
        stage.agents.go_away(node)
    await asyncio.sleep(0)
    stage.skip(1000.0)
    for node in "bcas":
        stage.agents.come_back(node)
    stage.agents.settled = True
    await stage.agents.wait_for("s", agent_orders.ServeSource, 2)
    for node in "abc":
        await stage.agents.wait_for(node, agent_orders.StartDelivery, 2)
    assert await stage.finish(cast, *"abc") is CastState.COMPLETED


async def everybody_away_and_back(stage: Stage) -> None:
    """A replaced driver: every agent is a new one."""
    stage.agents.settled = False
    for node in "sabc":
        stage.agents.go_away(node)
    await asyncio.sleep(0)
    for node in "sabc":
        stage.agents.come_back(node)
    stage.agents.settled = True
    await stage.agents.wait_for("s", agent_orders.ServeSource, 2)
    for node in "abc":
        await stage.agents.wait_for(node, agent_orders.StartDelivery, 2)


async def test_a_restarted_source_reads_to_the_end_when_no_recipient_requests_more(stage: Stage) -> None:
    """The recipients have every byte from the source's previous agent, which never reported the trailer."""
    cast = await stage.start()
    await everybody_away_and_back(stage)
    stage.agents.report_source("s", cast, SourceState.SERVING, totals=TOTALS)
    received(stage, "a", cast, STREAM, "verifying")
    received(stage, "b", cast, 1000)
    received(stage, "c", cast, STREAM, "verifying")
    await asyncio.sleep(0.01)
    assert not any(isinstance(order, agent_orders.ReadToEnd) for _, order in stage.agents.orders)
    received(stage, "b", cast, STREAM, "verifying")
    await stage.agents.wait_for("s", agent_orders.ReadToEnd)
    assert await stage.finish(cast, *"abc") is CastState.COMPLETED
    assert sum(isinstance(order, agent_orders.ReadToEnd) for _, order in stage.agents.orders) == 1


async def test_the_first_source_gets_no_order_to_read_to_the_end(stage: Stage) -> None:
    cast = await stage.start()
    stage.agents.report_source("s", cast, SourceState.SERVING, totals=TOTALS)
    for node in "abc":
        received(stage, node, cast, STREAM, "verifying")
    assert await stage.finish(cast, *"abc") is CastState.COMPLETED
    assert not any(isinstance(order, agent_orders.ReadToEnd) for _, order in stage.agents.orders)


async def test_recipients_wait_for_their_source_and_dial_it_again(stage: Stage) -> None:
    cast = await stage.start()
    stage.agents.go_away("s")
    assert await upstream(stage, "a", agent_orders.SetUpstream) is None
    assert stage.cast_manager.summaries()[0].failure == Failure(FailureKind.NODE_AWAY, {"node": "s"})
    stage.agents.come_back("s")
    first = await stage.agents.wait_for("s", agent_orders.ServeSource)
    second = await stage.agents.wait_for("s", agent_orders.ServeSource, 2)
    assert isinstance(first, agent_orders.ServeSource)
    assert isinstance(second, agent_orders.ServeSource)
    assert (second.secret, second.algorithms) == (first.secret, first.algorithms)
    again = await upstream(stage, "a", agent_orders.SetUpstream, 2)
    assert again is not None
    assert (again.node, again.port) == ("s", 7001)
    assert stage.cast_manager.summaries()[0].failure is None
    assert not any(
        isinstance(order, agent_orders.SetUpstream) and name in "bc" for name, order in stage.agents.orders
    )
    assert await stage.finish(cast, "as", "ba", "cb") is CastState.COMPLETED


async def test_a_digest_counts_once_the_source_is_hashed(stage: Stage) -> None:
    cast = await stage.start()
    stage.agents.report_source("s", cast, SourceState.SERVING, trailer_digest="t")
    await asyncio.sleep(0)
    assert await stage.finish(cast, "as", "ba", "cb") is CastState.COMPLETED


async def test_a_source_that_comes_back_with_other_files_ends_the_cast(stage: Stage) -> None:
    cast = await stage.start()
    stage.agents.go_away("s")
    stage.agents.totals = dataclasses.replace(TOTALS, manifest_digest="other")
    stage.agents.come_back("s")
    result = await stage.result(cast)
    changed = Failure(FailureKind.PARCEL_CHANGED, {"node": "s"})
    assert [item.failure for item in result.deliveries] == [changed] * 3


async def test_a_complete_recipient_replaces_a_lost_source(stage: Stage) -> None:
    cast = await stage.start()
    stage.finish_source(cast)
    received(stage, "b", cast, STREAM, "verifying")
    received(stage, "a", cast, 10)
    stage.agents.go_away("s")
    moved = await upstream(stage, "a", agent_orders.SetUpstream)
    while moved is None or moved.node != "b":
        moved = await upstream(stage, "a", agent_orders.SetUpstream, 2)
    stage.skip()
    for node, above in (("b", "s"), ("c", "b"), ("a", "b")):
        stage.agents.complete(node, cast, above)
    assert (await stage.result(cast)).summary.state is CastState.COMPLETED


async def test_a_relay_whose_copy_has_changed_gets_no_new_downstreams(stage: Stage) -> None:
    cast = await stage.start(TO_A_AND_B, "ab")
    received(stage, "a", cast, STREAM, "verifying")
    received(stage, "b", cast, STREAM - 10)
    changed = Failure(FailureKind.COPY_CHANGED, {"node": "b", "upstream": "a", "path": "x", "reason": "y"})
    stage.agents.report_delivery("b", cast, RecipientState.CONNECTING, epoch=1, failure=changed)
    moved = await upstream(stage, "b", agent_orders.SetUpstream)
    assert moved is not None
    assert moved.node == "s"
    await stage.cast_manager.add_recipients(cast, ("c",))
    above = await upstream(stage, "c", agent_orders.StartDelivery)
    assert above is not None
    assert above.node == "b"
    stage.finish_source(cast)
    stage.agents.go_away("s")
    received(stage, "b", cast, STREAM, "verifying")
    stage.skip()
    for node, upstream_node in (("a", "s"), ("b", "s"), ("c", "b")):
        stage.agents.complete(node, cast, upstream_node)
    assert (await stage.result(cast)).summary.state is CastState.COMPLETED


async def test_without_the_hashes_nobody_can_take_over(stage: Stage) -> None:
    cast = await stage.start()
    received(stage, "b", cast, STREAM, "verifying")
    stage.agents.go_away("s")
    assert await upstream(stage, "a", agent_orders.SetUpstream) is None
    stage.skip()
    result = await stage.result(cast)
    assert result.summary.state is CastState.FAILED


async def test_a_successor_that_goes_as_well_is_followed_by_the_source(stage: Stage) -> None:
    cast = await stage.start()
    stage.finish_source(cast)
    received(stage, "a", cast, 10)
    received(stage, "b", cast, STREAM, "verifying")
    stage.agents.go_away("s")
    moved = await upstream(stage, "a", agent_orders.SetUpstream)
    assert moved is not None
    stage.agents.come_back("s")
    stage.agents.go_away("b")
    await stage.agents.wait_for("s", agent_orders.ServeSource, 2)
    stage.agents.come_back("b")
    await stage.agents.wait_for("b", agent_orders.StartDelivery, 2)
    stage.finish_source(cast)
    for node in "abc":
        stage.agents.complete(node, cast, "s")
    assert (await stage.result(cast)).summary.state is CastState.COMPLETED


async def test_a_slow_node_goes_to_the_tail(stage: Stage) -> None:
    cast = await stage.start()
    for step in range(1, 40):
        stage.skip(0.25)
        received(stage, "a", cast, step * 25_000_000)
        received(stage, "b", cast, step * 2_500_000)
        received(stage, "c", cast, step * 2_500_000)
        for _ in range(5):
            await asyncio.sleep(0)
        if any(isinstance(order, agent_orders.SetUpstream) for _, order in stage.agents.orders):
            break
    moved = {
        "c": await upstream(stage, "c", agent_orders.SetUpstream),
        "b": await upstream(stage, "b", agent_orders.SetUpstream),
    }
    assert {node: above and above.node for node, above in moved.items()} == {"c": "a", "b": "c"}
    order = [name for name, order in stage.agents.orders if isinstance(order, agent_orders.SetUpstream)]
    assert order == ["c", "b"]


async def step_together(stage: Stage, cast: str, came: int) -> None:
    """A quarter of a second later, all recipients have so many bytes."""
    stage.skip(0.25)
    for node in "abc":
        received(stage, node, cast, came)
    for _ in range(5):
        await asyncio.sleep(0)


def moved(stage: Stage) -> list[str]:
    return [node for node, order in stage.agents.orders if isinstance(order, agent_orders.SetUpstream)]


@pytest.mark.parametrize("limit", [0, 2_000_000])
async def test_the_first_recipient_is_not_slow_because_the_limit_was_lowered(
    stage: Stage, limit: int
) -> None:
    cast, came = await stage.start(), 0
    for step in range(20):
        if step == 10 and limit:
            await stage.cast_manager.set_limit(cast, limit)
        await step_together(stage, cast, came := came + (500_000 if step >= 10 else 25_000_000))
    assert moved(stage) == ([] if limit else ["b", "a"])  # it is tried at the tail, where nothing explains it


@pytest.mark.parametrize("limit", [0, 2_000_000])
async def test_the_first_recipient_is_not_slow_because_the_limit_of_all_casts_was_lowered(limit: int) -> None:
    """Without one, the first recipient is tried at the tail."""
    limits = [0]
    stage = Stage(limit=lambda: limits[-1])
    cast, came = await stage.start(), 0
    for step in range(20):
        if step == 10:
            limits.append(limit)
            stage.cast_manager.limit_changed()
        await step_together(stage, cast, came := came + (500_000 if step >= 10 else 25_000_000))
    assert moved(stage) == ([] if limit else ["b", "a"])
    await stage.cast_manager.close()


@pytest.mark.parametrize("shared", [False, True])
async def test_casts_that_share_a_limit_are_not_slow(shared: bool) -> None:
    """Each gets its part of it: a limit of 50 MB/s, and two casts from the same source."""
    stage = Stage(limit=lambda: 50_000_000)
    cast, came = await stage.start(), 0
    if shared:
        stage.cast_manager.send(REQUEST)
        await stage.agents.wait_for("c", agent_orders.StartDelivery, 2)
    for _ in range(20):
        await step_together(stage, cast, came := came + 6_250_000)
    assert moved(stage) == ([] if shared else ["b", "a"])
    await stage.cast_manager.close()


async def test_below_a_relay_that_also_sends_another_cast_nobody_is_slow(stage: Stage) -> None:
    """It passes on half of what it receives, since the limit is for both of its casts."""
    limited = Stage(limit=lambda: 20_000_000)
    for each, other in ((limited, True), (stage, False)):
        cast = await each.start()
        if other:
            each.cast_manager.send(SendRequest(("/data/x",), ("b",), source="a", leave_out=True))
            await each.agents.wait_for("b", agent_orders.StartDelivery, 2)
        for step in range(1, 20):
            each.skip(0.25)
            for node, rate in (("a", 5_000_000), ("b", 2_500_000), ("c", 2_500_000)):
                received(each, node, cast, step * rate)
            for _ in range(5):
                await asyncio.sleep(0)
    assert moved(limited) == []
    assert moved(stage)
    await limited.cast_manager.close()


async def test_a_late_answer_of_a_lost_agent_is_ignored(stage: Stage) -> None:
    stage.agents.hold(agent_orders.StartDelivery)
    cast = stage.cast_manager.send(REQUEST)
    await stage.agents.wait_for("c", agent_orders.StartDelivery)
    stage.agents.go_away("c")
    stage.agents.come_back("c")
    stage.agents.release()
    await stage.agents.wait_for("c", agent_orders.StartDelivery, 2)
    stage.agents.report_source("s", cast, SourceState.HASHED, trailer_digest="t", sent_bytes=STREAM)
    await stage.complete(cast, "as", "ba", "cb")
    assert (await stage.result(cast)).summary.state is CastState.COMPLETED


async def test_an_added_recipient_goes_to_the_tail(stage: Stage) -> None:
    cast = await stage.start(TO_A_AND_B, "ab")
    received(stage, "a", cast, 500)
    received(stage, "b", cast, 490)
    report = await stage.cast_manager.add_recipients(cast, ("c",))
    assert (report.recipients, report.problems) == (("c",), ())
    above = await upstream(stage, "c", agent_orders.StartDelivery)
    assert above is not None
    assert above.node == "b"
    with pytest.raises(CastRayError) as caught:
        await stage.cast_manager.add_recipients(cast, ("all",))
    assert caught.value.failure.kind is FailureKind.RECIPIENT_ALREADY
    assert await stage.finish(cast, "as", "ba", "cb") is CastState.COMPLETED
    result = await stage.result(cast)
    assert result.summary.recipients == ("a", "b", "c")
    assert result.summary.chain == ("s", "a", "b", "c")
    with pytest.raises(CastRayError) as caught:
        await stage.cast_manager.add_recipients(cast, ("c",))
    assert caught.value.failure.kind is FailureKind.CAST_FINISHED


async def test_a_late_joiner_shares_what_another_one_has_written(stage: Stage) -> None:
    for node in "ac":
        stage.agents.replies[node] = agent_orders.DestinationReply("/shared", "same", free_bytes=1 << 40)
    cast = await stage.start(TO_A_AND_B, "ab")
    stage.finish_source(cast)
    await stage.agents.wait_for("a", agent_orders.AnnounceTrailer)
    stage.agents.complete("a", cast, "s")
    await stage.cast_manager.add_recipients(cast, ("c",))
    stage.agents.complete("b", cast, "a")
    states = [item.state for item in (await stage.result(cast)).deliveries]
    assert states == [DeliveryState.COMPLETED, DeliveryState.COMPLETED, DeliveryState.SHARED]
    assert not stage.agents.started("c")


async def test_a_late_joiner_that_cannot_take_it_is_the_only_one_that_fails(stage: Stage) -> None:
    cast = await stage.start(TO_A_AND_B, "ab")
    stage.agents.hashes["c"] = ("sha256",)
    report = await stage.cast_manager.add_recipients(cast, ("c",))
    assert [item.failure.kind for item in report.problems] == [FailureKind.HASH_MISSING]
    stage.finish_source(cast)
    stage.agents.complete("a", cast, "s")
    stage.agents.complete("b", cast, "a")
    assert (await stage.result(cast)).summary.state is CastState.PARTLY_FAILED


async def lose_all_in_the_preflight(stage: Stage) -> str:
    """As when the driver is replaced while recipients are asked; the source comes back first."""
    stage.agents.hold(agent_orders.CheckDestination)
    cast = stage.cast_manager.send(REQUEST)
    for node in "abc":
        await stage.agents.wait_for(node, agent_orders.CheckDestination)
    for node in "sabc":
        stage.agents.go_away(node)
    stage.agents.release()
    await run_all()  # the answers come, and don't count
    stage.agents.come_back("s")
    await run_all()
    return cast


async def run_all() -> None:
    """Let every task run that can."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_recipients_that_go_away_with_the_source_in_the_preflight_are_waited_for(stage: Stage) -> None:
    cast = await lose_all_in_the_preflight(stage)
    for node in "abc":
        stage.agents.come_back(node)
    for node in "abc":
        await stage.agents.wait_for(node, agent_orders.StartDelivery)
    assert await stage.finish(cast, "as", "ba", "cb") is CastState.COMPLETED


async def test_those_of_them_that_stay_away_fail_as_offline(stage: Stage) -> None:
    cast = await lose_all_in_the_preflight(stage)
    stage.agents.come_back("a")
    stage.skip()
    await stage.agents.wait_for("a", agent_orders.StartDelivery)
    assert await stage.finish(cast, "as") is CastState.PARTLY_FAILED
    failures = [item.failure for item in stage.cast_manager.deliveries()[cast]]
    assert [failure and failure.kind for failure in failures] == [
        None,
        FailureKind.NODE_OFFLINE,
        FailureKind.NODE_OFFLINE,
    ]
