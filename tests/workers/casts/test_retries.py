"""Another attempt of a cast: the same id, only what failed, and what nodes keep for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from castray_desktop.core.casts.cast_statistics import CastTotals, StatisticsCounter
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import (
    CastChanged,
    CastResult,
    CastsRemoved,
    CastState,
    DeliveryState,
    SendRequest,
)
from castray_desktop.core.protocol.nodes.agent_orders import (
    AnnounceTrailer,
    ForgetCast,
    ReadToEnd,
    StartDelivery,
)
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState, SourceState
from castray_desktop.workers.casts.cast_manager import CastManager
from castray_desktop.workers.casts.cast_table import CastServices
from castray_desktop.workers.history.history_store import PastCast
from tests.helpers.cast_stage import REQUEST, Stage
from tests.helpers.fake_agents import STREAM, TOTALS, URL

WRITE_ERROR = Failure(FailureKind.WRITE_ERROR, {"node": "b", "path": "/in", "reason": "no"})


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    await stage.cast_manager.close()


async def fail_b(stage: Stage, number: int = 1) -> str:
    """A cast that a and c complete, and b does not."""
    cast = await stage.start()
    stage.finish_source(cast)
    await stage.agents.wait_for("b", AnnounceTrailer, number)
    stage.agents.report_delivery("b", cast, RecipientState.FAILED, failure=WRITE_ERROR)
    await stage.complete(cast, "a", "c")
    assert (await stage.result(cast)).summary.state is CastState.PARTLY_FAILED
    await stage.agents.wait_for("b", ForgetCast)
    return cast


async def complete_b(stage: Stage, cast: str, number: int) -> CastResult:
    """The attempt of this number succeeds; the second one to have got so far."""
    await stage.agents.wait_for("b", StartDelivery, number)
    stage.finish_source(cast)
    await stage.agents.wait_for("b", AnnounceTrailer, 2)
    stage.agents.complete("b", cast, "s")
    return await stage.result(cast)


async def test_a_retry_is_another_attempt_of_the_same_cast(stage: Stage) -> None:
    cast = await fail_b(stage)
    order = await stage.agents.wait_for("b", StartDelivery)
    assert isinstance(order, StartDelivery)
    assert order.keep_failed
    first = stage.cast_manager.summaries()[0]
    assert await stage.cast_manager.commands.retry(cast) == cast
    (running,) = stage.cast_manager.summaries()
    assert (running.cast, running.state.finished, running.retried) == (cast, False, ("b",))
    states = {item.node: item.state for item in stage.cast_manager.deliveries()[cast]}
    assert states == {"a": DeliveryState.COMPLETED, "b": DeliveryState.WAITING, "c": DeliveryState.COMPLETED}
    result = await complete_b(stage, cast, 2)
    assert result.summary.state is CastState.COMPLETED
    (attempt,) = result.summary.attempts
    assert (attempt.state, attempt.recipients) == (CastState.PARTLY_FAILED, ("a", "b", "c"))
    assert attempt.failures == {"b": WRITE_ERROR}
    assert attempt.started == first.started
    started = [node for node, each in stage.agents.orders if isinstance(each, StartDelivery)]
    assert sorted(started) == ["a", "b", "b", "c"]
    again = await stage.agents.wait_for("b", StartDelivery, 2)
    assert isinstance(again, StartDelivery)
    assert again.algorithms == order.algorithms  # otherwise what was received could not be used
    changes = [event.summary.state for event in stage.events if isinstance(event, CastChanged)]
    ended = changes.index(CastState.PARTLY_FAILED)
    assert CastState.QUEUED in changes[ended:]
    assert changes[-1] is CastState.COMPLETED


async def test_an_attempt_that_fails_can_be_retried(stage: Stage) -> None:
    cast = await fail_b(stage)
    await stage.cast_manager.commands.retry(cast)
    await stage.agents.wait_for("b", StartDelivery, 2)
    stage.agents.report_delivery("b", cast, RecipientState.FAILED, failure=WRITE_ERROR)
    assert (await stage.result(cast)).summary.state is CastState.PARTLY_FAILED
    await stage.cast_manager.commands.retry(cast, ("b",))
    result = await complete_b(stage, cast, 3)
    assert [attempt.recipients for attempt in result.summary.attempts] == [("a", "b", "c"), ("b",)]
    assert result.summary.retried == ("b",)


async def test_a_source_reads_to_the_end_if_a_retry_requests_nothing(stage: Stage) -> None:
    """The recipient has kept every byte, and waits for the digest of the trailer."""
    cast = await fail_b(stage)
    await stage.cast_manager.commands.retry(cast)
    await stage.agents.wait_for("b", StartDelivery, 2)
    stage.agents.report_source("s", cast, SourceState.SERVING, totals=TOTALS)
    stage.agents.report_delivery("b", cast, RecipientState.VERIFYING, stream_bytes=STREAM)
    await stage.agents.wait_for("s", ReadToEnd)
    assert (await complete_b(stage, cast, 2)).summary.state is CastState.COMPLETED


async def test_nodes_keep_parts_until_the_cast_is_cleared(stage: Stage) -> None:
    cast = await fail_b(stage)
    assert await stage.agents.wait_for("b", ForgetCast) == ForgetCast(cast, keep_parts=True)
    assert stage.cast_manager.retryable == (cast,)
    stage.agents.go_away("b")
    stage.agents.come_back("b")
    assert await stage.agents.wait_for("b", ForgetCast, 2) == ForgetCast(cast, keep_parts=True)
    stage.cast_manager.clear_finished()
    assert await stage.agents.wait_for("b", ForgetCast, 3) == ForgetCast(cast)
    assert stage.cast_manager.retryable == ()
    assert CastsRemoved((cast,)) in stage.events


async def test_nodes_keep_nothing_of_a_cast_of_addresses_whose_retry_is_a_new_one(stage: Stage) -> None:
    request = SendRequest((URL,), ("a", "b", "c"), source="s", leave_out=True)
    cast = await stage.start(request)
    order = await stage.agents.wait_for("b", StartDelivery)
    assert isinstance(order, StartDelivery)
    assert not order.keep_failed
    stage.agents.report_delivery("b", cast, RecipientState.FAILED, failure=WRITE_ERROR)
    assert await stage.finish(cast, "a", "c") is CastState.PARTLY_FAILED
    assert await stage.agents.wait_for("b", ForgetCast) == ForgetCast(cast)
    assert stage.cast_manager.retryable == ()
    assert await stage.cast_manager.commands.retry(cast) != cast


async def test_a_completed_cast_leaves_nothing(stage: Stage) -> None:
    cast = await stage.start()
    assert await stage.finish(cast, "a", "b", "c") is CastState.COMPLETED
    assert await stage.agents.wait_for("b", ForgetCast) == ForgetCast(cast)
    assert stage.cast_manager.retryable == ()


async def test_a_cast_of_another_cluster_is_sent_as_a_new_one(stage: Stage) -> None:
    cast = await fail_b(stage)
    result = await stage.cast_manager.result(cast)
    request = msgspec.structs.replace(REQUEST, source="s", recipients=("a", "b", "c"))

    async def past(_: str) -> PastCast:
        return PastCast(request, "10.0.0.9:6379", result)

    other = CastManager(stage.agents, stage.events.append, CastServices(find_past_cast=past))
    new = await other.commands.retry(cast)
    assert [(item.cast, item.follows, item.recipients) for item in other.summaries()] == [(new, cast, ("b",))]
    assert new != cast
    await other.close()


async def test_a_past_cast_is_retried_under_its_id(stage: Stage) -> None:
    cast = await fail_b(stage)
    result = await stage.cast_manager.result(cast)
    request = msgspec.structs.replace(REQUEST, source="s", recipients=("a", "b", "c"))

    async def past(_: str) -> PastCast:
        return PastCast(request, "local", result)

    stage.cast_manager.clear_finished()
    later = CastManager(stage.agents, stage.events.append, CastServices(find_past_cast=past))
    stage.agents.cast_manager = stage.cast_manager = later
    assert await later.commands.retry(cast) == cast
    async with asyncio.timeout(5):
        assert (await complete_b(stage, cast, 2)).summary.state is CastState.COMPLETED


async def test_statistics_count_a_delivery_once(stage: Stage) -> None:
    counter = StatisticsCounter(CastTotals())
    cast = await fail_b(stage)
    counter.count_cast(await stage.result(cast), 1.0)
    await stage.cast_manager.commands.retry(cast)
    counter.count_cast(await complete_b(stage, cast, 2), 1.0)
    found = counter.statistics()
    assert (found.casts, found.completed, found.partly_failed) == (1, 1, 0)
    assert (found.delivered, found.failed_deliveries) == (3, 1)
