"""Casts from their preflight to their end, with fake agents."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from castray_desktop.core.casts.transfer_options import Encryption, TransferOptions
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol.messages import (
    CastResult,
    CastsRemoved,
    CastState,
    DeliveryState,
    NodeState,
    OnConflict,
    Removal,
    SendRequest,
    Transport,
    TransportOption,
)
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports, cast_parcel
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState, SourceState
from castray_desktop.workers.casts import cast_publisher
from castray_desktop.workers.casts.cast_manager import CastManager
from castray_desktop.workers.casts.cast_table import CastServices
from castray_desktop.workers.casts.session.cast_session import CastSession
from tests.helpers.cast_stage import REQUEST, Stage
from tests.helpers.fake_agents import SIZE, STREAM
from tests.helpers.patience import PATIENCE


async def test_one_chain_one_upload_everything_delivered(stage: Stage) -> None:
    cast = await stage.start()
    upstreams = {}
    for node in ("a", "b", "c"):
        order = await stage.agents.wait_for(node, agent_orders.StartDelivery)
        assert isinstance(order, agent_orders.StartDelivery)
        upstreams[node] = order.upstream.node
    assert upstreams == {"a": "s", "b": "a", "c": "b"}
    stage.finish_source(cast)
    for node in ("a", "b", "c"):
        announced = await stage.agents.wait_for(node, agent_orders.AnnounceTrailer)
        assert announced == agent_orders.AnnounceTrailer(cast, "t")
        stage.agents.complete(node, cast, upstreams[node])
    result = await stage.result(cast)
    assert result.summary.state is CastState.COMPLETED
    assert result.summary.chain == ("s", "a", "b", "c")
    assert result.summary.source_copies == pytest.approx(1.0)
    assert [item.state for item in result.deliveries] == [DeliveryState.COMPLETED] * 3
    assert result.deliveries[0].transport is Transport.DIRECT
    assert result.deliveries[2].paths == ("/inbox/c/model.bin",)
    for node in ("s", "a", "b", "c"):
        await stage.agents.wait_for(node, agent_orders.ForgetCast)


async def test_the_result_reaches_the_clients_once(stage: Stage) -> None:
    cast = await stage.start()
    stage.finish_source(cast)
    for node, upstream in (("a", "s"), ("b", "a"), ("c", "b")):
        stage.agents.complete(node, cast, upstream)
    await stage.result(cast)
    await asyncio.sleep(0)
    assert sum(isinstance(event, CastResult) for event in stage.events) == 1


@pytest.mark.parametrize(("poor", "expected"), [(None, "blake3"), ("s", "sha256"), ("b", "sha256")])
async def test_the_hash_is_one_that_everybody_has(stage: Stage, poor: str | None, expected: str) -> None:
    if poor is not None:
        stage.agents.hashes[poor] = ("sha256",)
    await stage.start()
    orders = [order for _, order in stage.agents.orders]
    used = [
        order.algorithms
        for order in orders
        if isinstance(order, agent_orders.StartDelivery | agent_orders.ServeSource)
    ]
    assert {(each.piece, each.file) for each in used} == {("xxh3-128", expected)}
    assert len(used) == 4


async def test_the_secret_is_of_this_cast_alone(stage: Stage) -> None:
    secrets = set()
    for count in (1, 2):
        cast = stage.cast_manager.send(REQUEST)
        await stage.agents.wait_for("c", agent_orders.StartDelivery, count)
        orders = [order for _, order in stage.agents.orders if isinstance(order, agent_orders.StartDelivery)]
        secrets |= {order.secret for order in orders if order.cast == cast}
    assert len(secrets) == 2
    assert all(len(secret) == 64 for secret in secrets)


async def test_a_recipient_without_room_touches_nobody_else(stage: Stage) -> None:
    no_room = Failure(FailureKind.NO_ROOM, {"node": "b", "path": "/", "free": "1 B", "needed": "1 kB"})
    stage.agents.replies["b"] = agent_orders.DestinationReply(failure=no_room)
    cast = stage.cast_manager.send(REQUEST)
    start = await stage.agents.wait_for("c", agent_orders.StartDelivery)
    assert isinstance(start, agent_orders.StartDelivery)
    assert start.upstream.node == "a"
    stage.finish_source(cast)
    stage.agents.complete("a", cast, "s")
    stage.agents.complete("c", cast, "a")
    result = await stage.result(cast)
    assert result.summary.state is CastState.PARTLY_FAILED
    assert result.deliveries[1].failure == no_room
    assert not stage.agents.started("b")


async def test_recipients_that_share_a_disk_need_room_together(stage: Stage) -> None:
    size = stage.agents.totals.content_bytes
    for node in "abc":
        stage.agents.replies[node] = agent_orders.DestinationReply(
            f"/in/{node}", f"of {node}", free_bytes=size * 5 // 2, disk="one"
        )
    report = await stage.cast_manager.dry_runs.preflight(REQUEST)
    (problem,) = report.problems
    assert (problem.node, problem.failure.kind) == ("c", FailureKind.NO_ROOM_TOGETHER)
    assert problem.failure.values["others"] == "a, b"
    cast = stage.cast_manager.send(REQUEST)
    await stage.agents.wait_for("b", agent_orders.StartDelivery)
    stage.finish_source(cast)
    stage.agents.complete("a", cast, "s")
    stage.agents.complete("b", cast, "a")
    result = await stage.result(cast)
    assert result.deliveries[2].failure == problem.failure
    assert not stage.agents.started("c")


async def test_what_is_there_already_needs_no_room(stage: Stage) -> None:
    size = stage.agents.totals.content_bytes
    for node in "abc":
        stage.agents.replies[node] = agent_orders.DestinationReply(
            f"/in/{node}", f"of {node}", free_bytes=size, disk="one", present_bytes=size
        )
    assert (await stage.cast_manager.dry_runs.preflight(REQUEST)).problems == ()
    asked = [order for _, order in stage.agents.orders if isinstance(order, agent_orders.CheckDestination)]
    assert [order.count_present for order in asked] == [False] * 3 + [True] * 3


async def test_without_consent_a_problem_keeps_the_cast_from_starting(stage: Stage) -> None:
    failure = Failure(FailureKind.NOT_WRITABLE, {"node": "b"})
    stage.agents.replies["b"] = agent_orders.DestinationReply(failure=failure)
    cast = stage.cast_manager.send(SendRequest(("/data/model.bin",), ("all",)))
    result = await stage.result(cast)
    assert result.summary.state is CastState.FAILED
    assert result.summary.failure == failure
    states = [item.state for item in result.deliveries]
    assert states == [DeliveryState.CANCELLED, DeliveryState.FAILED, DeliveryState.CANCELLED]
    assert not any(stage.agents.started(node) for node in "abc")


async def test_a_missing_file_fails_the_cast_by_name(stage: Stage) -> None:
    failure = Failure(FailureKind.NO_SUCH_FILE, {"path": "/data/model.bin"})
    stage.agents.source_failure = failure
    result = await stage.result(stage.cast_manager.send(REQUEST))
    assert result.summary.state is CastState.FAILED
    assert result.summary.failure == failure


async def test_a_cast_waits_for_the_agent_of_a_recipient_that_is_starting(stage: Stage) -> None:
    await stage.agents.set_state("b", NodeState.STARTING)
    cast = stage.cast_manager.send(REQUEST)
    await stage.agents.wait_for("a", agent_orders.CheckDestination)
    await stage.agents.set_state("b", NodeState.ONLINE)
    await stage.agents.wait_for("b", agent_orders.StartDelivery)
    stage.finish_source(cast)
    for node, upstream in (("a", "s"), ("b", "a"), ("c", "b")):
        stage.agents.complete(node, cast, upstream)
    result = await stage.result(cast)
    assert result.summary.state is CastState.COMPLETED


async def test_a_lost_node_leaves_its_downstream_to_its_upstream(stage: Stage) -> None:
    cast = await stage.start()
    stage.agents.go_away("b")
    move = await stage.agents.wait_for("c", agent_orders.SetUpstream)
    assert isinstance(move, agent_orders.SetUpstream)
    assert (move.upstream.node, move.epoch) == ("a", 2)
    stage.finish_source(cast)
    stage.agents.complete("a", cast, "s")
    stage.agents.complete("c", cast, "a")
    stage.skip()
    result = await stage.result(cast)
    assert result.summary.state is CastState.PARTLY_FAILED
    failure = result.deliveries[1].failure
    assert failure is not None
    assert failure.kind is FailureKind.NODE_OFFLINE


async def test_a_failed_delivery_is_left_out_of_the_chain(stage: Stage) -> None:
    cast = await stage.start()
    broken = Failure(FailureKind.WRITE_ERROR, {"node": "a"})
    stage.agents.report_delivery("a", cast, RecipientState.FAILED, failure=broken)
    move = await stage.agents.wait_for("b", agent_orders.SetUpstream)
    assert isinstance(move, agent_orders.SetUpstream)
    assert move.upstream.node == "s"


async def test_the_loss_of_the_source_ends_the_cast_after_a_while(stage: Stage) -> None:
    cast = await stage.start()
    stage.agents.go_away("s")
    stage.skip()
    result = await stage.result(cast)
    assert result.summary.state is CastState.FAILED
    assert all(item.failure and item.failure.values["node"] == "s" for item in result.deliveries)


async def test_recipients_of_one_folder_get_it_written_once(stage: Stage) -> None:
    for node in "abc":
        stage.agents.replies[node] = agent_orders.DestinationReply("/shared", "same", free_bytes=10**9)
    cast = stage.cast_manager.send(REQUEST)
    await stage.agents.wait_for("a", agent_orders.StartDelivery)
    stage.finish_source(cast)
    stage.agents.complete("a", cast, "s")
    result = await stage.result(cast)
    assert result.summary.state is CastState.COMPLETED
    states = [item.state for item in result.deliveries]
    assert states == [DeliveryState.COMPLETED, DeliveryState.SHARED, DeliveryState.SHARED]
    assert result.deliveries[2].paths == result.deliveries[0].paths
    assert not stage.agents.started("b")


async def test_another_one_takes_over_from_a_lost_writer(stage: Stage) -> None:
    for node in "ab":
        stage.agents.replies[node] = agent_orders.DestinationReply("/shared", "same", free_bytes=10**9)
    cast = stage.cast_manager.send(REQUEST)
    await stage.agents.wait_for("c", agent_orders.StartDelivery)
    stage.agents.go_away("a")
    start = await stage.agents.wait_for("b", agent_orders.StartDelivery)
    assert isinstance(start, agent_orders.StartDelivery)
    stage.finish_source(cast)
    stage.agents.complete("b", cast, start.upstream.node)
    stage.agents.complete("c", cast, "s")
    result = await stage.result(cast)
    states = [item.state for item in result.deliveries]
    assert states == [DeliveryState.SHARED, DeliveryState.COMPLETED, DeliveryState.COMPLETED]


async def test_cancel_ends_it_everywhere(stage: Stage) -> None:
    cast = await stage.start()
    stage.agents.report_delivery("a", cast, RecipientState.RECEIVING, stream_bytes=10, content_bytes=5)
    await stage.cast_manager.cancel(cast[:6])
    result = await stage.result(cast)
    assert result.summary.state is CastState.CANCELLED
    assert all(item.state is DeliveryState.CANCELLED for item in result.deliveries)
    for node in ("s", "a", "b", "c"):
        await stage.agents.wait_for(node, agent_orders.CancelCast)
    with pytest.raises(CastRayError) as caught:
        await stage.cast_manager.cancel(cast)
    assert caught.value.failure.kind is FailureKind.CAST_FINISHED


async def test_preflight_sends_nothing(stage: Stage) -> None:
    failure = Failure(FailureKind.NOT_WRITABLE, {"node": "b"})
    stage.agents.replies["b"] = agent_orders.DestinationReply(failure=failure)
    report = await stage.cast_manager.dry_runs.preflight(REQUEST)
    assert (report.files, report.bytes, report.recipients) == (1, SIZE, ("a", "b", "c"))
    assert [(item.node, item.failure) for item in report.problems] == [("b", failure)]
    assert not stage.cast_manager.summaries()
    assert not any(stage.agents.started(node) for node in "abc")


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (SendRequest((), ("all",)), FailureKind.NOTHING_TO_SEND),
        (SendRequest(("/x",), ()), FailureKind.NO_RECIPIENTS),
        (SendRequest(("/x",), ("nobody",)), FailureKind.NODE_UNKNOWN),
        (SendRequest(("/x",), ("s",)), FailureKind.SOURCE_IS_RECIPIENT),
        (SendRequest(("/x",), ("a",), source="nobody"), FailureKind.NODE_UNKNOWN),
        (SendRequest(("/x", "y"), ("a",), source="s"), FailureKind.RELATIVE_PATH),
        (SendRequest(("https://h/x", "./y"), ("a",)), FailureKind.RELATIVE_PATH),
        (
            SendRequest(("/x",), ("a",), options=TransferOptions(destination="relative")),
            FailureKind.BAD_DESTINATION,
        ),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(
    stage: Stage, request_: SendRequest, kind: FailureKind
) -> None:
    with pytest.raises(CastRayError) as caught:
        stage.cast_manager.send(request_)
    assert caught.value.failure.kind is kind


async def test_recipients_by_address_and_node_id(stage: Stage) -> None:
    node_id = stage.agents.nodes["c"].node_id
    report = await stage.cast_manager.dry_runs.preflight(SendRequest(("/x",), ("10.0.0.1", node_id[:6], "a")))
    assert report.recipients == ("a", "c")


async def test_clearing_forgets_what_has_ended(stage: Stage) -> None:
    stage.agents.source_failure = Failure(FailureKind.NO_SUCH_FILE)
    ended = stage.cast_manager.send(REQUEST)
    await stage.result(ended)
    stage.agents.source_failure = None
    running = await stage.start()
    stage.cast_manager.clear_finished()
    assert [summary.cast for summary in stage.cast_manager.summaries()] == [running]


async def test_a_file_that_the_source_could_not_send_is_named(stage: Stage) -> None:
    cast = await stage.start()
    changed = cast_parcel.FileProblem("data/a.bin", Failure(FailureKind.CHANGED, {"path": "data/a.bin"}))
    stage.agents.report_source(
        "s",
        cast,
        SourceState.HASHED,
        trailer_digest="t",
        sent_bytes=STREAM,
        problems=(changed,),
        problem_count=1,
    )
    for node, upstream in (("a", "s"), ("b", "a"), ("c", "b")):
        stage.agents.complete(node, cast, upstream)
    result = await stage.result(cast)
    assert result.summary.state is CastState.FAILED
    failure = result.deliveries[0].failure
    assert failure is not None
    assert failure.kind is FailureKind.NO_FILE_DELIVERED
    assert sentence(failure) == (
        "No file was delivered. data/a.bin changed while it was being sent."
        " Send it again when no program is writing to it."
    )
    assert not any(isinstance(order, agent_orders.SetUpstream) for _, order in stage.agents.orders)


# --- early ends -----------------------------------------------------------------------------------


async def test_cancelling_again_while_it_is_being_cancelled(stage: Stage) -> None:
    cast = await stage.start()
    stage.agents.hold(agent_orders.CancelCast)
    first = asyncio.create_task(stage.cast_manager.cancel(cast))
    await stage.agents.wait_for("s", agent_orders.CancelCast)
    second = asyncio.create_task(stage.cast_manager.cancel(cast))
    await asyncio.sleep(0)
    stage.agents.release()
    await asyncio.gather(first, second)
    assert (await stage.result(cast)).summary.state is CastState.CANCELLED


async def test_cancelling_before_the_first_step(stage: Stage) -> None:
    cast = stage.cast_manager.send(REQUEST)
    await stage.cast_manager.cancel(cast)
    result = await stage.result(cast)
    assert result.summary.state is CastState.CANCELLED
    assert all(item.state is DeliveryState.CANCELLED for item in result.deliveries)
    assert not any(stage.agents.started(node) for node in "abc")


async def test_cancelling_while_the_source_is_scanned(stage: Stage) -> None:
    stage.agents.scanning = True
    cast = stage.cast_manager.send(REQUEST)
    await stage.agents.wait_for("s", agent_orders.PrepareSource)
    await stage.cast_manager.cancel(cast)
    assert (await stage.result(cast)).summary.state is CastState.CANCELLED
    await stage.agents.wait_for("s", agent_orders.CancelCast)


async def test_a_failed_cast_that_is_cancelled_while_it_cleans_up_stays_failed(stage: Stage) -> None:
    failure = Failure(FailureKind.NO_SUCH_FILE, {"path": "/data/model.bin"})
    stage.agents.source_failure = failure
    stage.agents.hold(agent_orders.CancelCast)
    cast = stage.cast_manager.send(REQUEST)
    await stage.agents.wait_for("s", agent_orders.CancelCast)
    cancelling = asyncio.create_task(stage.cast_manager.cancel(cast))
    await asyncio.sleep(0)
    stage.agents.release()
    await cancelling
    summary = (await stage.result(cast)).summary
    assert (summary.state, summary.failure) == (CastState.FAILED, failure)


async def test_leaving_the_cluster_ends_casts_with_that_reason(stage: Stage) -> None:
    cast = await stage.start()
    stage.agents.complete("a", cast, "s")
    await stage.cast_manager.end_all(Failure(FailureKind.CLUSTER_STOPPED))
    result = await stage.result(cast)
    assert result.summary.state is CastState.FAILED
    assert result.summary.failure == Failure(FailureKind.CLUSTER_STOPPED)
    assert [item.state for item in result.deliveries] == [
        DeliveryState.COMPLETED,
        DeliveryState.FAILED,
        DeliveryState.FAILED,
    ]
    assert result.deliveries[1].failure == Failure(FailureKind.CLUSTER_STOPPED)


async def test_a_result_does_not_wait_for_an_agent_to_forget(stage: Stage) -> None:
    cast = await stage.start()
    stage.agents.hold(agent_orders.ForgetCast)
    stage.finish_source(cast)
    for node, upstream in (("a", "s"), ("b", "a"), ("c", "b")):
        stage.agents.complete(node, cast, upstream)
    assert (await stage.result(cast)).summary.state is CastState.COMPLETED
    stage.agents.release()


async def test_a_relay_that_goes_after_it_has_everything_is_bypassed(stage: Stage) -> None:
    cast = await stage.start()
    stage.finish_source(cast, sent=2 * STREAM)
    stage.agents.complete("a", cast, "s")
    await asyncio.sleep(0)
    stage.agents.go_away("a")
    move = await stage.agents.wait_for("b", agent_orders.SetUpstream)
    assert isinstance(move, agent_orders.SetUpstream)
    assert move.upstream.node == "s"
    stage.agents.complete("b", cast, "s")
    stage.agents.complete("c", cast, "b")
    result = await stage.result(cast)
    assert result.summary.state is CastState.COMPLETED
    assert result.summary.chain == ("s", "a", "b", "c")


async def test_nobody_waits_until_the_source_has_answered(stage: Stage) -> None:
    stage.agents.hold(agent_orders.ServeSource)
    cast = stage.cast_manager.send(REQUEST)
    for node in "abc":
        await stage.agents.wait_for(node, agent_orders.StartDelivery)
    kinds = [type(order) for _, order in stage.agents.orders]
    assert kinds.index(agent_orders.ServeSource) < kinds.index(agent_orders.StartDelivery)
    stage.agents.release()
    stage.finish_source(cast)
    for node in "abc":
        stage.agents.complete(node, cast, "s")
    assert (await stage.result(cast)).summary.state is CastState.COMPLETED


async def test_a_recipient_lost_before_the_start_is_the_only_one_that_fails(stage: Stage) -> None:
    stage.agents.hold(agent_orders.CheckDestination)
    cast = stage.cast_manager.send(REQUEST)
    await stage.agents.wait_for("c", agent_orders.CheckDestination)
    stage.agents.go_away("a")
    stage.agents.release()
    start = await stage.agents.wait_for("b", agent_orders.StartDelivery)
    assert isinstance(start, agent_orders.StartDelivery)
    assert start.upstream.node == "s"
    await stage.agents.wait_for("c", agent_orders.StartDelivery)
    stage.finish_source(cast)
    stage.agents.complete("b", cast, "s")
    stage.agents.complete("c", cast, "b")
    stage.skip()
    states = [item.state for item in (await stage.result(cast)).deliveries]
    assert states == [DeliveryState.FAILED, DeliveryState.COMPLETED, DeliveryState.COMPLETED]


async def test_the_trailer_is_announced_after_the_start(stage: Stage) -> None:
    """The trailer of a small cast is announced before any recipient has confirmed its start."""
    stage.agents.hold(agent_orders.StartDelivery)
    cast = stage.cast_manager.send(REQUEST)
    await stage.agents.wait_for("s", agent_orders.ServeSource)
    stage.finish_source(cast)
    stage.agents.release()
    for node in "abc":
        await stage.agents.wait_for(node, agent_orders.AnnounceTrailer)
        kinds = [type(order) for name, order in stage.agents.orders if name == node]
        assert kinds.index(agent_orders.StartDelivery) < kinds.index(agent_orders.AnnounceTrailer)


async def test_the_reason_of_a_loss_is_the_node_s_own(stage: Stage) -> None:
    cast = await stage.start()
    silent = Failure(FailureKind.NODE_SILENT, {"node": "c", "seconds": "10"})
    stage.agents.go_away("c", silent)
    stage.finish_source(cast)
    stage.agents.complete("a", cast, "s")
    stage.agents.complete("b", cast, "a")
    stage.skip()
    assert (await stage.result(cast)).deliveries[2].failure == silent


async def test_the_source_lost_while_it_is_scanned(stage: Stage) -> None:
    stage.agents.scanning = True
    cast = stage.cast_manager.send(REQUEST)
    await stage.agents.wait_for("s", agent_orders.PrepareSource)
    stage.agents.go_away("s")
    stage.skip()
    failure = (await stage.result(cast)).summary.failure
    assert failure == Failure(FailureKind.NODE_OFFLINE, {"node": "s"})


async def test_a_preflight_that_is_cancelled_leaves_nothing(stage: Stage) -> None:
    stage.agents.scanning = True
    asking = asyncio.create_task(stage.cast_manager.dry_runs.preflight(REQUEST))
    await stage.agents.wait_for("s", agent_orders.PrepareSource)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await stage.agents.wait_for("s", agent_orders.ForgetCast)


async def test_a_node_that_cannot_reach_its_upstream_goes_around_it(stage: Stage) -> None:
    cast = await stage.start()
    lost = Failure(FailureKind.UPSTREAM_LOST, {"node": "c", "upstream": "b", "reason": "silent"})
    for _ in range(2):  # two orders for one route, one move
        stage.agents.report_delivery("c", cast, RecipientState.CONNECTING, epoch=1, failure=lost)
        move = await stage.agents.wait_for("c", agent_orders.SetUpstream)
    assert isinstance(move, agent_orders.SetUpstream)
    assert (move.upstream.node, move.epoch) == ("a", 2)
    stage.agents.report_delivery("c", cast, RecipientState.CONNECTING, epoch=2, failure=lost)
    again = await stage.agents.wait_for("c", agent_orders.SetUpstream, 2)
    assert isinstance(again, agent_orders.SetUpstream)
    assert (again.upstream.node, again.epoch) == ("s", 3)
    stage.finish_source(cast)
    for node, upstream in (("a", "s"), ("b", "a"), ("c", "s")):
        stage.agents.complete(node, cast, upstream)
    result = await stage.result(cast)
    assert result.summary.state is CastState.COMPLETED


async def test_another_limit_while_it_runs(stage: Stage) -> None:
    cast = await stage.start()
    await stage.cast_manager.set_limit(cast[:6], 5000)
    for node in ("s", "a", "b", "c"):
        assert await stage.agents.wait_for(node, agent_orders.SetCastLimit) == agent_orders.SetCastLimit(
            cast, 5000
        )
    assert [summary.options.limit for summary in stage.cast_manager.summaries()] == [5000]
    await stage.cast_manager.cancel(cast)
    with pytest.raises(CastRayError) as caught:
        await stage.cast_manager.set_limit(cast, 0)
    assert caught.value.failure.kind is FailureKind.CAST_FINISHED


async def test_nothing_that_fails_at_the_end_keeps_the_result_back() -> None:
    def refuse(*ended: object) -> None:
        raise RuntimeError("no history")

    loop, faults = asyncio.get_running_loop(), list[object]()
    loop.set_exception_handler(lambda _, context: faults.append(context["exception"]))
    stage = Stage(ended=refuse)
    cast = await stage.start()
    assert await stage.finish(cast, "a", "b", "c") is CastState.COMPLETED
    assert [str(fault) for fault in faults] == ["no history"]
    await stage.cast_manager.close()


async def test_a_session_that_breaks_lets_nobody_wait(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def break_down(session: CastSession) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(CastSession, "run", break_down)
    cast = stage.cast_manager.send(REQUEST)
    first = await stage.result(cast)
    assert (await stage.result(cast)).summary.cast == first.summary.cast == cast


async def test_of_an_ended_cast_only_the_status_is_kept(stage: Stage) -> None:
    """Sessions have many parts, and hundreds of ended casts are kept."""
    cast = await stage.start()
    session = weakref.ref(stage.cast_manager._table.find_unfinished(cast))
    assert await stage.finish(cast, "a", "b", "c") is CastState.COMPLETED
    async with asyncio.timeout(PATIENCE):
        while session() is not None:  # until its nodes were told
            await asyncio.sleep(0)
            gc.collect()
    assert [summary.cast for summary in stage.cast_manager.summaries()] == [cast]
    assert len(stage.cast_manager.deliveries()[cast]) == 3


async def test_of_ended_casts_the_latest_are_kept(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cast_publisher, "MAX_KEPT_CASTS", 2)
    first = await stage.start()
    others = [stage.cast_manager.send(REQUEST) for _ in range(3)]
    for cast in (*others, first):
        await stage.cast_manager.cancel(cast)
    # the one that ended last is kept, although it started first
    assert {summary.cast for summary in stage.cast_manager.summaries()} == {first, others[-1]}
    removed = [cast for event in stage.events if isinstance(event, CastsRemoved) for cast in event.casts]
    assert removed == others[:2]
    monkeypatch.setattr(cast_publisher, "MAX_KEPT_DELIVERIES", 1)
    last = stage.cast_manager.send(REQUEST)
    await stage.cast_manager.cancel(last)
    assert [summary.cast for summary in stage.cast_manager.summaries()] == [last]
    stage.cast_manager.clear_finished()
    assert stage.cast_manager.summaries() == ()


async def test_failed_casts_are_cleared_only_where_no_others_are_left(stage: Stage) -> None:
    good = await stage.start()
    assert await stage.finish(good, "a", "b", "c") is CastState.COMPLETED
    bad = stage.cast_manager.send(REQUEST)
    await stage.cast_manager.end_all(Failure(FailureKind.CLUSTER_STOPPED))
    states = {summary.cast: summary.state for summary in stage.cast_manager.summaries()}
    assert states == {good: CastState.COMPLETED, bad: CastState.FAILED}
    stage.cast_manager.clear_finished()
    assert [summary.cast for summary in stage.cast_manager.summaries()] == [bad]
    stage.cast_manager.clear_finished()
    assert stage.cast_manager.summaries() == ()


async def test_a_preflight_tells_what_would_be_removed(stage: Stage) -> None:
    stage.agents.packed = "the source's files"
    stage.agents.extras = {
        "a": agent_orders.PrunableReply(2, ("/x/old", "/x/older")),
        "b": agent_orders.PrunableReply(),
    }
    request = REQUEST.with_options(on_conflict=OnConflict.OVERWRITE, remove_extra=True, exclude=("*.log",))
    report = await stage.cast_manager.dry_runs.preflight(request)
    assert report.removals == (Removal("a", 2, ("/x/old", "/x/older")),)
    asked = [order for _, order in stage.agents.orders if isinstance(order, agent_orders.FindPrunable)]
    assert {(order.packed, order.options.exclude) for order in asked} == {("the source's files", ("*.log",))}
    cast = await stage.start(request)
    order = await stage.agents.wait_for("a", agent_orders.StartDelivery)
    assert isinstance(order, agent_orders.StartDelivery)
    assert (order.prune, order.options.exclude) == (True, ("*.log",))
    stage.finish_source(cast)
    for node, upstream in (("a", "s"), ("b", "a"), ("c", "b")):
        stage.agents.complete(node, cast, upstream)
    await stage.result(cast)


async def test_no_recipient_is_asked_for_removals_unless_requested(stage: Stage) -> None:
    assert (await stage.cast_manager.dry_runs.preflight(REQUEST)).removals == ()
    kinds = {type(order) for _, order in stage.agents.orders}
    assert not kinds & {agent_orders.GetManifest, agent_orders.FindPrunable}


async def test_removing_needs_names_that_are_kept(stage: Stage) -> None:
    with pytest.raises(CastRayError) as caught:
        stage.cast_manager.send(REQUEST.with_options(remove_extra=True))
    assert caught.value.failure.kind is FailureKind.REMOVE_EXTRA_REFUSED


async def test_multicast_is_refused_to_a_cast_that_has_to_be_encrypted(stage: Stage) -> None:
    multicast = REQUEST.with_options(transport=TransportOption.UDP, encrypt=Encryption.ALWAYS)
    with pytest.raises(CastRayError) as caught:
        stage.cast_manager.send(multicast)
    assert caught.value.failure.kind is FailureKind.ENCRYPTED_MULTICAST
    assert "--transport auto" in sentence(caught.value.failure)
    with pytest.raises(CastRayError):
        await stage.cast_manager.dry_runs.preflight(multicast)
    assert stage.agents.orders == []
    assert stage.cast_manager.summaries() == ()


async def test_the_settings_decide_for_casts_that_leave_encryption_open(stage: Stage) -> None:
    chosen = Encryption.ALWAYS
    manager = CastManager(stage.agents, stage.events.append, CastServices(encryption=lambda: chosen))
    with pytest.raises(CastRayError) as caught:
        manager.send(REQUEST.with_options(transport=TransportOption.UDP))
    assert caught.value.failure.kind is FailureKind.ENCRYPTED_MULTICAST
    manager.send(REQUEST)
    manager.send(REQUEST.with_options(encrypt=Encryption.NEVER))
    chosen = Encryption.AUTO
    manager.send(REQUEST)
    took = [summary.options.encrypt for summary in manager.summaries()]
    assert took == [Encryption.ALWAYS, Encryption.NEVER, Encryption.AUTO]
    await manager.close()


async def test_a_cast_that_an_agent_requests_starts_or_is_refused(stage: Stage) -> None:
    wanted = (
        agent_reports.TransferRequest(1, ("/x",), ("s",), "udp"),
        agent_reports.TransferRequest(2, ("/x",), ("nobody",)),
    )
    stage.cast_manager.agent_reported("a", agent_reports.AgentReport(requests=wanted))
    summary = stage.cast_manager.summaries()[0]
    assert (summary.source, summary.recipients) == ("a", ("s",))
    answer = await stage.agents.wait_for("a", agent_orders.AnswerTransfer)
    assert answer == agent_orders.AnswerTransfer(1, summary.cast)
    refusal = await stage.agents.wait_for("a", agent_orders.AnswerTransfer, 2)
    assert isinstance(refusal, agent_orders.AnswerTransfer)
    assert refusal.refusal == "There is no node named nobody. Available nodes: a, b, c, s."
    status = stage.cast_manager._table.find(summary.cast)
    assert status.request.options.transport is TransportOption.UDP
    assert status.request.leave_out


async def test_a_defect_in_the_background_ends_the_cast_with_its_reason() -> None:
    """It would wait for ever for a recipient that never got its order."""
    stage = Stage()
    stage.agents.defect = agent_orders.StartDelivery
    result = await stage.result(stage.cast_manager.send(REQUEST))
    failure = result.deliveries[0].failure
    assert failure == Failure(FailureKind.INTERNAL, {"reason": "RuntimeError: a defect"})
    await stage.cast_manager.close()
