"""Casts of files that a web server has: one recipient downloads, and another one goes on if it is lost."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest

from castray_desktop.core.casts.json_views import cast_form, form_to_json, result_form
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import CastMode, CastState, DeliveryState, SendRequest
from castray_desktop.core.protocol.nodes import agent_orders
from castray_desktop.core.protocol.nodes.agent_orders import (
    CancelCast,
    PrepareSource,
    RemoteListing,
    ResolveUrls,
    ServeSource,
    SetUpstream,
    StartDelivery,
)
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState, SourceState
from castray_desktop.core.protocol.nodes.packed_listing import unpack_listing
from castray_desktop.core.routing.bottleneck import slowest_hop
from tests.helpers.cast_stage import Stage
from tests.helpers.fake_agents import SIZE, STREAM, URL

DOWNLOAD = SendRequest((URL,), ("all",), source="s", leave_out=True)


async def test_a_recipient_downloads_and_passes_it_on() -> None:
    stage = Stage()
    agents = stage.agents
    cast = await stage.start(DOWNLOAD, nodes="sabc")
    asked = await agents.wait_for("s", ResolveUrls)
    assert asked == ResolveUrls((URL,))
    prepared = await agents.wait_for("s", PrepareSource)
    assert isinstance(prepared, PrepareSource)
    assert (prepared.paths, unpack_listing(prepared.listing)) == ((), agents.listing.files)
    own = await agents.wait_for("s", StartDelivery)
    assert isinstance(own, StartDelivery)
    assert own.upstream is not None
    assert own.upstream.node == "s"
    stage.finish_source(cast)
    await stage.complete(cast, "s", "a", "ba", "cb")
    result = await stage.result(cast)
    assert result.summary.state is CastState.COMPLETED
    assert set(result.summary.recipients) == set("sabc")
    assert result.summary.chain == tuple("sabc")


async def test_the_own_delivery_of_the_node_is_no_hop() -> None:
    stage = Stage()
    cast = await stage.start(DOWNLOAD, nodes="sabc")
    stage.agents.report_delivery(
        "s", cast, RecipientState.RECEIVING, upstream="s", stream_bytes=STREAM, content_bytes=SIZE
    )
    for count in (1, 1000):
        stage.skip(1.0)
        stage.agents.report_delivery(
            "a", cast, RecipientState.RECEIVING, upstream="s", stream_bytes=count, content_bytes=count
        )
    deliveries = stage.cast_manager.deliveries()[cast]
    assert deliveries[0].upstream == ""
    assert not deliveries[1].lagging
    moving = msgspec.structs.replace(deliveries[0], rate=1e6)
    (summary,) = stage.cast_manager.summaries()
    assert slowest_hop(summary, (moving,)) is None
    await stage.cast_manager.cancel(cast)


async def test_a_node_that_is_no_recipient_can_download() -> None:
    stage = Stage()
    request = msgspec.structs.replace(DOWNLOAD, source="s", recipients=("a", "b"))
    cast = await stage.start(request, nodes="ab")
    stage.finish_source(cast)
    await stage.complete(cast, "a", "ba")
    result = await stage.result(cast)
    assert result.summary.recipients == ("a", "b")
    assert not stage.agents.started("s")


async def test_a_download_to_all_nodes_but_one_is_no_broadcast() -> None:
    stage = Stage()
    for recipients, mode in (("abc", CastMode.MULTICAST), ("sabc", CastMode.BROADCAST)):
        request = msgspec.structs.replace(DOWNLOAD, recipients=tuple(recipients))
        cast = await stage.start(request, nodes=recipients)
        assert stage.cast_manager.present(cast)[0].summary.mode is mode
        await stage.cast_manager.cancel(cast)


async def test_the_recipient_with_most_of_it_goes_on_downloading() -> None:
    stage = Stage()
    agents = stage.agents
    cast = await stage.start(DOWNLOAD, nodes="sabc")
    for node, count in (("a", SIZE // 2), ("b", SIZE // 4), ("c", 1)):
        agents.report_delivery(node, cast, RecipientState.RECEIVING, stream_bytes=count)
    agents.go_away("s")
    prepared = await agents.wait_for("a", PrepareSource)
    assert isinstance(prepared, PrepareSource)
    assert unpack_listing(prepared.listing) == agents.listing.files
    await agents.wait_for("a", ServeSource)
    fed = await agents.wait_for("a", SetUpstream)
    assert isinstance(fed, SetUpstream)
    assert fed.upstream is not None
    assert fed.upstream.node == "a"
    assert [node for node, order in agents.orders if isinstance(order, ResolveUrls)] == ["s"]
    agents.report_source("a", cast, SourceState.HASHED, trailer_digest="t", sent_bytes=STREAM)
    await stage.complete(cast, "a", "ba", "cb")
    agents.come_back("s")
    await agents.wait_for("s", StartDelivery, 2)
    agents.complete("s", cast, "c")
    result = await stage.result(cast)
    assert result.summary.state is CastState.COMPLETED
    assert result.summary.source == "a"


async def test_cancelling_the_delivery_of_the_downloading_node_keeps_the_download() -> None:
    stage = Stage()
    cast = await stage.start(DOWNLOAD, nodes="sabc")
    await stage.cast_manager.commands.drop_recipients(cast, ("s",))
    assert await stage.agents.wait_for("s", CancelCast) == CancelCast(cast, keep_source=True)
    stage.finish_source(cast)
    await stage.complete(cast, "a", "ba", "cb")
    result = await stage.result(cast)
    states = {item.node: item.state for item in result.deliveries}
    assert states == {"s": DeliveryState.CANCELLED, **dict.fromkeys("abc", DeliveryState.COMPLETED)}


async def test_an_address_that_fails_ends_the_cast_with_its_reason() -> None:
    stage = Stage()
    failure = Failure(FailureKind.URL_FAILED, {"url": "https://example.org/model.bin", "reason": "404"})
    stage.agents.listing = RemoteListing(failure=failure)
    result = await stage.result(stage.cast_manager.send(DOWNLOAD))
    assert result.summary.failure == failure


async def test_a_server_that_asks_to_wait_before_it_says_what_a_file_is_is_asked_again() -> None:
    stage = Stage()
    known = stage.agents.listing
    reason = "the server answers 429 Too Many Requests and asks to wait 45 s"
    failure = Failure(FailureKind.URL_FAILED, {"url": URL, "reason": reason})
    stage.agents.listing = RemoteListing(failure=failure, wait=0.05, busy=True)
    cast = stage.cast_manager.send(DOWNLOAD)
    waiting = Failure(FailureKind.SERVER_AWAITED, {"reason": reason})
    while stage.cast_manager.summaries()[0].failure != waiting:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    assert stage.cast_manager.summaries()[0].next_try > 0
    with pytest.raises(CastRayError) as caught:  # nobody waits for a preflight
        await stage.cast_manager.dry_runs.preflight(DOWNLOAD)
    assert caught.value.failure.kind is FailureKind.SERVER_BUSY
    assert caught.value.failure.values["reason"] == reason
    with pytest.raises(CastRayError, match="url_failed"):  # a schedule sends nothing then
        await stage.cast_manager.dry_runs.snapshot(DOWNLOAD)
    stage.agents.listing = RemoteListing(failure=failure, wait=0.05)
    with pytest.raises(CastRayError, match="url_failed"):  # the server does not answer at all
        await stage.cast_manager.dry_runs.preflight(DOWNLOAD)
    stage.agents.listing = known
    await stage.agents.wait_for("s", PrepareSource)
    assert stage.cast_manager.summaries()[0].failure is None
    await stage.cast_manager.cancel(cast)


async def test_people_see_that_a_server_lets_wait() -> None:
    stage = Stage()
    cast = await stage.start(DOWNLOAD, nodes="sabc")
    waiting = Failure(FailureKind.SERVER_AWAITED, {"reason": "the server answers 429"})
    stage.agents.report_source("s", cast, SourceState.SERVING, waiting=waiting, wait_seconds=30.0)
    summary = stage.cast_manager.summaries()[0]
    assert summary.failure == waiting
    assert summary.next_try >= summary.started + 30.0
    assert form_to_json(cast_form(summary))["next_try"] == summary.next_try
    stage.agents.report_source("s", cast, SourceState.SERVING, waiting=waiting, wait_seconds=29.9)
    assert stage.cast_manager.summaries()[0].next_try == summary.next_try  # nothing new: it was on its way
    stage.agents.report_source("s", cast, SourceState.SERVING, waiting=waiting, wait_seconds=60.0)
    assert stage.cast_manager.summaries()[0].next_try > summary.next_try + 29.0
    stage.agents.report_source("s", cast, SourceState.SERVING)
    assert stage.cast_manager.summaries()[0].failure is None
    assert not stage.cast_manager.summaries()[0].next_try
    assert form_to_json(cast_form(stage.cast_manager.summaries()[0]))["next_try"] is None
    await stage.cast_manager.cancel(cast)


async def test_the_secret_part_of_an_address_is_not_shown() -> None:
    stage = Stage()
    cast = await stage.start(DOWNLOAD, nodes="sabc")
    await stage.cast_manager.cancel(cast)
    result = await stage.result(cast)
    assert result.summary.name == "model.bin"
    assert "secret" not in json.dumps(form_to_json(result_form(result)))
    assert "secret" not in repr(DOWNLOAD.redacted())


async def test_files_of_a_node_and_addresses_have_one_source() -> None:
    stage = Stage()
    request = msgspec.structs.replace(DOWNLOAD, paths=("/data/a.bin", URL), source="s")
    cast = await stage.start(request)
    prepared = await stage.agents.wait_for("s", PrepareSource)
    assert isinstance(prepared, agent_orders.PrepareSource)
    assert prepared.paths == ("/data/a.bin",)
    assert unpack_listing(prepared.listing) == stage.agents.listing.files
    await stage.cast_manager.cancel(cast)
    with pytest.raises(CastRayError, match="source_is_recipient"):
        stage.cast_manager.send(msgspec.structs.replace(request, recipients=("s",)))
