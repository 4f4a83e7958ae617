"""Another attempt of a cast: the same id, only what failed, and what nodes keep for it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import msgspec
import pytest

from castray_desktop.core.casts.cast_statistics import CastTotals, StatisticsCounter
from castray_desktop.core.casts.json_views import cast_form, form_to_json
from castray_desktop.core.casts.states import have_files_changed
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import (
    CastChanged,
    CastResult,
    CastsRemoved,
    CastState,
    DeliveryState,
    NodeState,
    PlacementReason,
    SendRequest,
)
from castray_desktop.core.protocol.nodes.agent_orders import (
    AnnounceTrailer,
    DownloadRate,
    ForgetCast,
    PrepareSource,
    ReadToEnd,
    RemoteListing,
    ResolveUrls,
    ServeSource,
    StartDelivery,
)
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState, SourceState
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile
from castray_desktop.workers.casts.cast_manager import CastManager
from castray_desktop.workers.casts.cast_table import CastServices
from castray_desktop.workers.history.history_store import PastCast
from tests.helpers.cast_stage import REQUEST, Stage, retry_cast
from tests.helpers.fake_agents import SIZE, STREAM, TOTALS, URL
from tests.helpers.patience import PATIENCE

SERVER_LOST = Failure(FailureKind.SERVER_LOST, {"url": "https://example.org/model.bin", "reason": "no"})
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
    assert await stage.retry(cast) == cast
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
    await stage.retry(cast)
    await stage.agents.wait_for("b", StartDelivery, 2)
    stage.agents.report_delivery("b", cast, RecipientState.FAILED, failure=WRITE_ERROR)
    assert (await stage.result(cast)).summary.state is CastState.PARTLY_FAILED
    await stage.retry(cast, "b")
    result = await complete_b(stage, cast, 3)
    assert [attempt.recipients for attempt in result.summary.attempts] == [("a", "b", "c"), ("b",)]
    assert result.summary.retried == ("b",)


async def test_a_source_reads_to_the_end_if_a_retry_requests_nothing(stage: Stage) -> None:
    """The recipient has kept every byte, and waits for the digest of the trailer."""
    cast = await fail_b(stage)
    await stage.retry(cast)
    await stage.agents.wait_for("b", StartDelivery, 2)
    stage.agents.report_source("s", cast, SourceState.SERVING, totals=TOTALS)
    stage.agents.report_delivery("b", cast, RecipientState.VERIFYING, stream_bytes=STREAM)
    await stage.agents.wait_for("s", ReadToEnd)
    assert (await complete_b(stage, cast, 2)).summary.state is CastState.COMPLETED


async def test_a_retry_begins_when_nodes_have_released_the_attempt_before(stage: Stage) -> None:
    """That order would end the new attempt; and late reports of the old one are not about the new one."""
    stage.agents.hold(ForgetCast)
    cast = await fail_b(stage)
    await stage.retry(cast)
    stage.agents.report_source("s", cast, SourceState.HASHED, totals=TOTALS, trailer_digest="old")
    stage.agents.report_delivery("b", cast, RecipientState.FAILED, failure=WRITE_ERROR)
    for _ in range(20):
        await asyncio.sleep(0)
    assert sum(isinstance(order, PrepareSource) for _, order in stage.agents.orders) == 1
    stage.agents.release()
    assert (await complete_b(stage, cast, 2)).summary.state is CastState.COMPLETED
    announced = await stage.agents.wait_for("b", AnnounceTrailer, 2)
    assert announced == AnnounceTrailer(cast, "t")


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


# --- addresses


DOWNLOAD = SendRequest((URL,), ("a", "b", "c"), source="s", leave_out=True)
FILE = RemoteFile("model.bin", URL, SIZE, '"v1"')


async def lose_server(stage: Stage, request: SendRequest = DOWNLOAD, source: str = "s") -> str:
    """A cast of addresses whose server does not respond any more, when b has most of it."""
    cast = await stage.start(request)
    for node, received in (("a", SIZE // 4), ("b", SIZE // 2), ("c", SIZE // 3)):
        stage.agents.report_delivery(
            node, cast, RecipientState.RECEIVING, stream_bytes=received, content_bytes=received
        )
    stage.agents.report_source(source, cast, SourceState.FAILED, totals=TOTALS, failure=SERVER_LOST)
    result = await stage.result(cast)
    assert result.summary.state is CastState.FAILED
    assert all(item.failure == SERVER_LOST for item in result.deliveries)
    for node in "abc":
        assert await stage.agents.wait_for(node, ForgetCast) == ForgetCast(cast, keep_parts=True)
    assert stage.cast_manager.retryable == (cast,)
    return cast


async def start_orders(stage: Stage, node: str) -> tuple[StartDelivery, StartDelivery]:
    """Those of both attempts."""
    first = await stage.agents.wait_for(node, StartDelivery)
    second = await stage.agents.wait_for(node, StartDelivery, 2)
    assert isinstance(first, StartDelivery)
    assert isinstance(second, StartDelivery)
    return first, second


@pytest.mark.parametrize("paths", [(URL,), ("/data/a.bin", URL)], ids=["addresses", "mixed"])
async def test_a_retry_of_addresses_is_another_attempt_too(stage: Stage, paths: tuple[str, ...]) -> None:
    cast = await lose_server(stage, msgspec.structs.replace(DOWNLOAD, paths=paths))
    assert await stage.retry(cast) == cast
    (running,) = stage.cast_manager.summaries()
    assert [item.failures["b"] for item in running.attempts] == [SERVER_LOST]
    first, second = await start_orders(stage, "b")
    assert first.keep_failed
    assert first.version
    assert (second.version, second.algorithms, second.totals) == (
        first.version,
        first.algorithms,
        first.totals,
    )
    asked = [order for _, order in stage.agents.orders if isinstance(order, ResolveUrls)]
    assert len(asked) == 2
    stage.finish_source(cast)
    await stage.complete(cast, "a", "ba", "cb")
    summary = (await stage.result(cast)).summary
    assert summary.state is CastState.COMPLETED
    assert not have_files_changed(summary)
    assert summary.source == "s"


async def test_a_retry_of_addresses_sends_what_they_stand_for_now(stage: Stage) -> None:
    cast = await lose_server(stage)
    stage.agents.listing = RemoteListing((dataclasses.replace(FILE, etag='"v2"'),))
    await stage.retry(cast)
    first, second = await start_orders(stage, "b")
    assert first.version != second.version
    (running,) = stage.cast_manager.summaries()
    assert have_files_changed(running)
    assert form_to_json(cast_form(running))["files_changed"] is True
    await stage.cast_manager.cancel(cast)


async def test_what_was_kept_of_a_file_without_a_version_is_not_used(stage: Stage) -> None:
    stage.agents.listing = RemoteListing((dataclasses.replace(FILE, etag=""),))
    cast = await lose_server(stage)
    await stage.retry(cast)
    first, second = await start_orders(stage, "b")
    assert first.version != second.version
    assert not have_files_changed(stage.cast_manager.summaries()[0])  # nobody knows
    await stage.cast_manager.cancel(cast)


async def test_the_recipient_that_received_most_downloads_the_rest(stage: Stage) -> None:
    """Of the others, what they lack; of this one, what it has kept is not downloaded again."""
    cast = await lose_server(stage, msgspec.structs.replace(DOWNLOAD, source=""), "a")
    await stage.retry(cast)
    served = await stage.agents.wait_for("b", ServeSource)
    assert isinstance(served, ServeSource)
    assert served.resumes
    (running,) = stage.cast_manager.summaries()
    assert running.source == "b"
    assert running.download is not None
    assert running.download.reason is PlacementReason.RESUMED
    await stage.cast_manager.cancel(cast)


async def test_a_node_that_has_most_and_does_not_reach_the_server_does_not_download(stage: Stage) -> None:
    cast = await lose_server(stage, msgspec.structs.replace(DOWNLOAD, source=""), "a")
    stage.agents.rates = {"b": DownloadRate(failure=SERVER_LOST)}
    await stage.retry(cast)
    await stage.agents.wait_for("c", ServeSource)
    assert stage.cast_manager.summaries()[0].source == "c"
    await stage.cast_manager.cancel(cast)


async def test_the_files_of_a_node_may_have_changed_as_well(stage: Stage) -> None:
    cast = await fail_b(stage)
    stage.agents.totals = dataclasses.replace(TOTALS, manifest_digest="other")
    await stage.retry(cast)
    await stage.agents.wait_for("b", StartDelivery, 2)
    (running,) = stage.cast_manager.summaries()
    assert have_files_changed(running)
    await stage.cast_manager.cancel(cast)


# --- the end


async def test_a_cast_that_waits_for_recipients_is_followed_by_another_one(stage: Stage) -> None:
    request = REQUEST.with_options(await_offline=True)
    await stage.agents.set_state("c", NodeState.OFFLINE)
    cast = await stage.start(request, nodes="ab")
    stage.agents.report_delivery("b", cast, RecipientState.FAILED, failure=WRITE_ERROR)
    await stage.finish(cast, "a")
    new = await stage.retry(cast)
    assert new != cast
    assert [item.follows for item in stage.cast_manager.summaries() if item.cast == new] == [cast]
    await stage.cast_manager.cancel(new)


async def test_a_completed_cast_leaves_nothing(stage: Stage) -> None:
    cast = await stage.start()
    assert await stage.finish(cast, "a", "b", "c") is CastState.COMPLETED
    assert await stage.agents.wait_for("b", ForgetCast) == ForgetCast(cast)
    assert stage.cast_manager.retryable == ()


async def test_a_past_cast_is_retried_under_its_id(stage: Stage) -> None:
    cast = await fail_b(stage)
    result = await stage.cast_manager.result(cast)
    request = msgspec.structs.replace(REQUEST, source="s", recipients=("a", "b", "c"))

    async def past(_: str) -> PastCast:
        return PastCast(request, "local", result)

    stage.cast_manager.clear_finished()
    later = CastManager(stage.agents, stage.events.append, CastServices(find_past_cast=past))
    stage.agents.cast_manager = stage.cast_manager = later
    assert await retry_cast(later, cast) == cast
    async with asyncio.timeout(PATIENCE):
        assert (await complete_b(stage, cast, 2)).summary.state is CastState.COMPLETED


async def test_statistics_count_a_delivery_once(stage: Stage) -> None:
    counter = StatisticsCounter(CastTotals())
    cast = await fail_b(stage)
    counter.count_cast(await stage.result(cast), 1.0)
    await stage.retry(cast)
    counter.count_cast(await complete_b(stage, cast, 2), 1.0)
    found = counter.statistics()
    assert (found.casts, found.completed, found.partly_failed) == (1, 1, 0)
    assert (found.delivered, found.failed_deliveries) == (3, 1)
