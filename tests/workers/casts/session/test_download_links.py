"""Casts of files that a store has: the engine resolves them, and keeps their links usable."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from castray_desktop.core.casts.json_views import form_to_json, result_form
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import CastState, SendRequest
from castray_desktop.core.protocol.nodes.agent_orders import (
    PrepareSource,
    RemoteListing,
    RenewLinks,
    ResolveUrls,
    StartDelivery,
)
from castray_desktop.core.protocol.nodes.agent_reports import SourceState
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile
from castray_desktop.workers.casts.cast_manager import CastManager
from castray_desktop.workers.casts.cast_table import CastServices
from castray_desktop.workers.casts.session import download_links
from castray_desktop.workers.casts.session.checkpoint import CheckpointStore
from tests.helpers.cast_stage import Stage
from tests.helpers.fake_agents import SIZE, URL
from tests.helpers.servers.fake_store import ADDRESS, FakeStore

REQUEST = SendRequest((ADDRESS,), ("all",), source="s", leave_out=True)
UNREACHABLE = Failure(FailureKind.STORE_UNREACHABLE, {"url": ADDRESS, "reason": "no route"})
DENIED = Failure(FailureKind.STORE_DENIED, {"url": ADDRESS, "reason": "ExpiredToken"})
pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture(autouse=True)
def quick_renewals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_links, "SHORTEST_SECONDS", 0.01)
    monkeypatch.setattr(download_links, "ATTEMPT_DELAYS", (0.0,) * 3)


async def prepared(stage: Stage, node: str = "s") -> PrepareSource:
    order = await stage.agents.wait_for(node, PrepareSource)
    assert isinstance(order, PrepareSource)
    return order


async def renewed(stage: Stage, node: str, count: int = 1) -> RenewLinks:
    order = await stage.agents.wait_for(node, RenewLinks, count)
    assert isinstance(order, RenewLinks)
    return order


async def test_the_engine_resolves_the_address_and_the_node_gets_links(store: FakeStore) -> None:
    stage = Stage(resolver=store.resolver)
    cast = await stage.start(REQUEST, nodes="sabc")
    (file,) = (await prepared(stage)).remote
    assert (file.path, file.address, file.etag) == ("model.bin", ADDRESS, '"v1"')
    assert file.url.endswith("signature=secret1")
    assert not any(isinstance(order, ResolveUrls) for _, order in stage.agents.orders)
    assert "secret" not in repr(stage.agents.orders)
    stage.finish_source(cast)
    await stage.complete(cast, "s", "a", "ba", "cb")
    result = await stage.result(cast)
    assert result.summary.state is CastState.COMPLETED
    assert "secret" not in json.dumps(form_to_json(result_form(result)))


async def test_addresses_of_several_kinds_and_files_are_one_cast(store: FakeStore) -> None:
    stage = Stage(resolver=store.resolver)
    paths = ("/data/a.bin", URL.replace("model", "web"), ADDRESS)
    request = msgspec.structs.replace(REQUEST, paths=paths, source="s")
    stage.agents.listing = RemoteListing((RemoteFile("web.bin", paths[1], SIZE, '"v1"'),))
    cast = await stage.start(request)
    order = await prepared(stage)
    assert order.paths == ("/data/a.bin",)
    assert [file.path for file in order.remote] == ["web.bin", "model.bin"]
    assert await stage.agents.wait_for("s", ResolveUrls) == ResolveUrls((paths[1],))
    await stage.cast_manager.cancel(cast)


async def test_links_are_renewed_before_they_expire(store: FakeStore) -> None:
    store.seconds = 0.05
    stage = Stage(resolver=store.resolver)
    cast = await stage.start(REQUEST, nodes="sabc")
    first, second = await renewed(stage, "s"), await renewed(stage, "s", 2)
    assert (first.number, second.number) == (2, 3)
    assert first.links[0].address == ADDRESS
    assert first.links[0].url != second.links[0].url
    await stage.cast_manager.cancel(cast)


async def test_a_node_whose_link_was_refused_gets_another_one(store: FakeStore) -> None:
    stage = Stage(resolver=store.resolver)
    cast = await stage.start(REQUEST, nodes="sabc")
    for _ in range(3):  # reports are repeated
        stage.agents.report_source("s", cast, SourceState.SERVING, links_wanted=2)
    order = await renewed(stage, "s")
    assert order.number == 2
    assert order.links[0].url.endswith("secret2")
    stage.agents.report_source("s", cast, SourceState.SERVING, links_wanted=2)
    stage.agents.report_source("s", cast, SourceState.SERVING, links_wanted=3)
    assert (await renewed(stage, "s", 2)).number == 3
    assert store.renewals == 3
    await stage.cast_manager.cancel(cast)


async def test_a_store_that_can_t_be_reached_is_tried_again(store: FakeStore) -> None:
    stage = Stage(resolver=store.resolver)
    cast = await stage.start(REQUEST, nodes="sabc")
    store.failures = [UNREACHABLE, UNREACHABLE]
    stage.agents.report_source("s", cast, SourceState.SERVING, links_wanted=2)
    assert (await renewed(stage, "s")).links[0].url.endswith("secret4")
    await stage.cast_manager.cancel(cast)


async def test_a_link_that_can_t_be_renewed_ends_the_cast_with_the_reason(store: FakeStore) -> None:
    stage = Stage(resolver=store.resolver)
    cast = await stage.start(REQUEST, nodes="sabc")
    store.failures = [DENIED]
    stage.agents.report_source("s", cast, SourceState.SERVING, links_wanted=2)
    result = await stage.result(cast)
    assert result.summary.state is CastState.FAILED
    assert all(delivery.failure == DENIED for delivery in result.deliveries)


async def test_a_refusal_before_expiry_does_not_end_a_cast_whose_links_are_good(store: FakeStore) -> None:
    store.seconds = 0.05
    stage = Stage(resolver=store.resolver)
    cast = await stage.start(REQUEST, nodes="sabc")
    store.failures = [DENIED]
    store.renewed.clear()
    await store.renewed.wait()
    stage.agents.report_source("s", cast, SourceState.SERVING, links_wanted=2)
    await renewed(stage, "s")
    await stage.cast_manager.cancel(cast)


async def test_another_node_that_goes_on_gets_links_that_are_valid(store: FakeStore) -> None:
    stage = Stage(resolver=store.resolver)
    cast = await stage.start(REQUEST, nodes="sabc")
    stage.agents.report_source("s", cast, SourceState.SERVING, links_wanted=2)
    await renewed(stage, "s")
    stage.agents.go_away("s")
    order = await prepared(stage, "a")
    assert order.remote[0].url.endswith("secret2")
    stage.agents.report_source("a", cast, SourceState.SERVING, links_wanted=2)
    assert (await renewed(stage, "a")).number == 2
    await stage.cast_manager.cancel(cast)


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
    assert order.remote[0].url.endswith("secret2")
    assert store.listed == [ADDRESS]  # once: its version is pinned
    await second.agents.wait_for("c", StartDelivery)
    second.finish_source(cast)
    await second.complete(cast, "s", "a", "ba", "cb")
    assert (await second.result(cast)).summary.state is CastState.COMPLETED


async def test_an_engine_without_access_ends_a_continued_cast(store: FakeStore, tmp_path: Path) -> None:
    cast = await left_to_the_next_engine(store, tmp_path)
    (record,) = CheckpointStore(tmp_path).load()
    store.failures = [DENIED]
    second = Stage(resolver=store.resolver)
    second.cast_manager.restore(record)
    async with asyncio.timeout(5):
        result = await second.result(cast)
    assert all(delivery.failure == DENIED for delivery in result.deliveries)
