"""Casts of files that a store has: the engine resolves them, and keeps their links usable."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from castray_desktop.core.casts.json_views import form_to_json, result_form
from castray_desktop.core.casts.transfer_options import Encryption
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import CastState, SendRequest
from castray_desktop.core.protocol.nodes.agent_orders import (
    GiveLinks,
    PrepareSource,
    RemoteListing,
    ResolveUrls,
    StartDelivery,
)
from castray_desktop.core.protocol.nodes.agent_reports import LinkRequest, SourceState
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile
from castray_desktop.core.protocol.nodes.packed_listing import unpack_listing
from castray_desktop.workers.casts.cast_manager import CastManager
from castray_desktop.workers.casts.cast_table import CastServices
from castray_desktop.workers.casts.session import download_links
from castray_desktop.workers.casts.session.checkpoint import CheckpointStore
from tests.helpers.cast_stage import Stage
from tests.helpers.fake_agents import SIZE, URL
from tests.helpers.patience import PATIENCE
from tests.helpers.servers.fake_store import ADDRESS, FakeStore

REQUEST = SendRequest((ADDRESS,), ("all",), source="s", leave_out=True)
UNREACHABLE = Failure(FailureKind.STORE_UNREACHABLE, {"url": ADDRESS, "reason": "no route"})
DENIED = Failure(FailureKind.STORE_DENIED, {"url": ADDRESS, "reason": "ExpiredToken"})


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture(autouse=True)
def quick_renewals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_links, "ATTEMPT_DELAYS", (0.0,) * 3)


async def prepared(stage: Stage, node: str = "s") -> PrepareSource:
    order = await stage.agents.wait_for(node, PrepareSource)
    assert isinstance(order, PrepareSource)
    return order


def ask(stage: Stage, cast: str, number: int, first: int = 0, node: str = "s", urgent: bool = True) -> None:
    """The node that downloads needs links."""
    request = LinkRequest(number, first, urgent)
    stage.agents.report_source(node, cast, SourceState.SERVING, links_wanted=request)


async def given(stage: Stage, node: str = "s", count: int = 1) -> GiveLinks:
    order = await stage.agents.wait_for(node, GiveLinks, count)
    assert isinstance(order, GiveLinks)
    return order


async def test_the_engine_resolves_the_address_and_the_node_gets_links(store: FakeStore) -> None:
    stage = Stage(resolver=store.resolver)
    cast = await stage.start(REQUEST, nodes="sabc")
    (file,) = unpack_listing((await prepared(stage)).listing)
    assert (file.path, file.address, file.etag, file.url) == ("model.bin", ADDRESS, '"v1"', "")
    ask(stage, cast, 1)
    order = await given(stage)
    assert (order.number, order.first) == (1, 0)
    assert [link.url for link in order.links] == ["https://store.example/model.bin?signature=secret2"]
    assert 3500 < order.seconds < 3700
    assert not any(isinstance(order, ResolveUrls) for _, order in stage.agents.orders)
    assert "secret" not in repr(stage.agents.orders)
    stage.finish_source(cast)
    await stage.complete(cast, "s", "a", "ba", "cb")
    result = await stage.result(cast)
    assert result.summary.state is CastState.COMPLETED
    assert "secret" not in json.dumps(form_to_json(result_form(result)))


async def test_links_come_in_batches_as_the_node_asks_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files without links, such as those of a web server, have no number in requests."""
    monkeypatch.setattr(download_links, "BATCH_FILES", 3)
    names = [f"data/{number}" for number in range(5)]
    store = FakeStore(*(RemoteFile(name, "", 9, address=f"s3://bucket/{name}") for name in names))
    stage = Stage(resolver=store.resolver)
    web = RemoteFile("web.bin", URL, SIZE, '"v1"')
    stage.agents.listing = RemoteListing((web,))
    cast = await stage.start(msgspec.structs.replace(REQUEST, paths=(URL, "s3://bucket/data")), nodes="sabc")
    files = unpack_listing((await prepared(stage)).listing)
    assert files == (web, *store.files)
    for number, first, count in ((1, 0, 3), (2, 3, 2), (3, 1, 3)):
        ask(stage, cast, number, first)
        ask(stage, cast, number, first)  # reports are repeated
        order = await given(stage, count=number)
        assert (order.number, order.first) == (number, first)
        assert [link.url.rpartition("?")[0][-1] for link in order.links] == list(
            "01234"[first : first + count]
        )
    await stage.cast_manager.cancel(cast)


async def test_a_store_may_give_the_first_links_alone(store: FakeStore) -> None:
    store.files = tuple(
        RemoteFile(name, "", 9, address=f"s3://bucket/{name}") for name in ("d/a", "d/b", "d/c")
    )
    store.most = 2
    stage = Stage(resolver=store.resolver)
    cast = await stage.start(REQUEST, nodes="sabc")
    for number, first, count in ((1, 0, 2), (2, 2, 1)):
        ask(stage, cast, number, first)
        order = await given(stage, count=number)
        assert (order.first, len(order.links)) == (first, count)
    await stage.cast_manager.cancel(cast)


async def test_addresses_of_several_kinds_and_files_are_one_cast(store: FakeStore) -> None:
    stage = Stage(resolver=store.resolver)
    paths = ("/data/a.bin", URL.replace("model", "web"), ADDRESS)
    request = msgspec.structs.replace(REQUEST, paths=paths, source="s")
    stage.agents.listing = RemoteListing((RemoteFile("web.bin", paths[1], SIZE, '"v1"'),))
    cast = await stage.start(request)
    order = await prepared(stage)
    assert order.paths == ("/data/a.bin",)
    assert [file.path for file in unpack_listing(order.listing)] == ["web.bin", "model.bin"]
    assert await stage.agents.wait_for("s", ResolveUrls) == ResolveUrls((paths[1],))
    await stage.cast_manager.cancel(cast)


async def test_a_node_whose_link_was_refused_gets_another_one(store: FakeStore) -> None:
    stage = Stage(resolver=store.resolver)
    cast = await stage.start(REQUEST, nodes="sabc")
    ask(stage, cast, 1)
    first = await given(stage)
    ask(stage, cast, 1)  # a report that was under way
    ask(stage, cast, 2)
    second = await given(stage, count=2)
    assert second.number == 2
    assert first.links[0].url != second.links[0].url
    assert store.renewals == 3
    await stage.cast_manager.cancel(cast)


async def test_a_store_that_can_t_be_reached_is_tried_again(store: FakeStore) -> None:
    stage = Stage(resolver=store.resolver)
    cast = await stage.start(REQUEST, nodes="sabc")
    store.failures = [UNREACHABLE, UNREACHABLE]
    ask(stage, cast, 1)
    assert (await given(stage)).links[0].url.endswith("secret4")
    await stage.cast_manager.cancel(cast)


async def test_a_link_that_can_t_be_renewed_ends_the_cast_with_the_reason(store: FakeStore) -> None:
    stage = Stage(resolver=store.resolver)
    cast = await stage.start(REQUEST, nodes="sabc")
    store.failures = [DENIED]
    ask(stage, cast, 1)
    result = await stage.result(cast)
    assert result.summary.state is CastState.FAILED
    assert all(delivery.failure == DENIED for delivery in result.deliveries)


async def test_a_refusal_does_not_end_a_cast_whose_links_are_good(store: FakeStore) -> None:
    stage = Stage(resolver=store.resolver)
    cast = await stage.start(REQUEST, nodes="sabc")
    store.failures = [DENIED]
    store.renewed.clear()
    ask(stage, cast, 1, urgent=False)
    await store.renewed.wait()
    renewals = store.renewals
    ask(stage, cast, 1, urgent=False)  # a report that was under way
    ask(stage, cast, 1)
    assert (await given(stage)).number == 1
    assert store.renewals == renewals + 1
    await stage.cast_manager.cancel(cast)


async def test_links_of_plain_http_are_refused_where_the_cast_has_to_be_encrypted(store: FakeStore) -> None:
    store.host = "http://store.example"
    stage = Stage(resolver=store.resolver)
    stage.agents.facts = {node: {"certified": True} for node in "sabc"}
    result = await stage.result(stage.cast_manager.send(REQUEST.with_options(encrypt=Encryption.ALWAYS)))
    assert result.summary.failure is not None
    assert result.summary.failure.kind is FailureKind.URL_NOT_ENCRYPTED
    assert "secret" not in repr(result.summary.failure)


async def test_another_node_that_goes_on_gets_links_as_well(store: FakeStore) -> None:
    stage = Stage(resolver=store.resolver)
    cast = await stage.start(REQUEST, nodes="sabc")
    ask(stage, cast, 1)
    ask(stage, cast, 2)
    await given(stage)
    stage.agents.go_away("s")
    order = await prepared(stage, "a")
    assert "model.bin" in {file.path for file in unpack_listing(order.listing)}
    ask(stage, cast, 1, node="a")
    assert (await given(stage, "a")).number == 1
    await stage.cast_manager.cancel(cast)


async def test_a_list_that_is_too_long_for_a_message_is_refused(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_links, "MAX_LISTING", 10)
    stage = Stage(resolver=store.resolver)
    result = await stage.result(stage.cast_manager.send(REQUEST))
    assert result.summary.failure is not None
    assert result.summary.failure.kind is FailureKind.STORE_TOO_LARGE


async def left_to_the_next_engine(store: FakeStore, folder: Path) -> str:
    """A cast that had not ended when its engine did; its checkpoint is in the folder."""
    first, records = Stage(), CheckpointStore(folder)
    await first.cast_manager.close()
    services = CastServices(checkpoints=records, resolver=store.resolver)
    first.cast_manager = CastManager(first.agents, first.events.append, services)
    first.agents.cast_manager = first.cast_manager
    cast = await first.start(REQUEST, nodes="sabc")
    await first.cast_manager.close()
    return cast


async def test_a_checkpoint_has_no_link_and_the_next_engine_makes_new_ones(
    store: FakeStore, tmp_path: Path
) -> None:
    cast = await left_to_the_next_engine(store, tmp_path)
    (path,) = tmp_path.iterdir()
    text = path.read_text()
    assert ADDRESS in text
    assert "secret" not in text
    (record,) = CheckpointStore(tmp_path).load()

    second = Stage(resolver=store.resolver)
    second.cast_manager.restore(record)
    order = await prepared(second)
    assert unpack_listing(order.listing) == store.files
    assert store.listed == [ADDRESS]  # once: its version is pinned
    await second.agents.wait_for("c", StartDelivery)
    ask(second, cast, 1)
    await given(second)
    second.finish_source(cast)
    await second.complete(cast, "s", "a", "ba", "cb")
    assert (await second.result(cast)).summary.state is CastState.COMPLETED


async def test_an_engine_without_access_ends_a_continued_cast(store: FakeStore, tmp_path: Path) -> None:
    cast = await left_to_the_next_engine(store, tmp_path)
    (record,) = CheckpointStore(tmp_path).load()
    store.failures = [DENIED]
    second = Stage(resolver=store.resolver)
    second.cast_manager.restore(record)
    async with asyncio.timeout(PATIENCE):
        result = await second.result(cast)
    assert all(delivery.failure == DENIED for delivery in result.deliveries)
