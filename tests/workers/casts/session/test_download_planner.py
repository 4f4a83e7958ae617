"""Which node downloads: the fastest of those that are measured, or that were measured before."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import pytest

from castray_desktop.core.casts.json_views import form_to_json, result_form
from castray_desktop.core.casts.transfer_options import Encryption
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import (
    DownloadPlacement,
    NodeState,
    PlacementReason,
    SendRequest,
)
from castray_desktop.core.protocol.nodes.agent_orders import (
    DownloadRate,
    MeasureDownload,
    PrepareSource,
    RemoteListing,
    ResolveUrls,
    StartDelivery,
)
from castray_desktop.core.protocol.nodes.agent_reports import SourceState
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile, pack_contents
from castray_desktop.core.routing.download_nodes import SMALL_BYTES
from castray_desktop.workers.casts.session.checkpoint import CheckpointStore
from castray_desktop.workers.casts.speed_stores import FRESH_SECONDS, DownloadSpeedStore
from tests.helpers.cast_stage import Stage
from tests.helpers.fake_agents import SIZE, URL

DOWNLOAD = SendRequest((URL,), ("all",), source="", leave_out=True)
TO_A_AND_B = msgspec.structs.replace(DOWNLOAD, recipients=("a", "b"))
REFUSED = Failure(FailureKind.URL_FAILED, {"url": "https://example.org/model.bin", "reason": "refused"})
NO_NAME = Failure(FailureKind.URL_FAILED, {"url": "https://example.org/model.bin", "reason": "no name"})


def measured(stage: Stage) -> dict[str, int]:
    """Which nodes have measured, and how many bytes of the file."""
    return {
        node: order.length
        for node, order in stage.agents.orders
        if isinstance(order, MeasureDownload) and order.length
    }


async def placement(stage: Stage, request: SendRequest = DOWNLOAD) -> tuple[str, DownloadPlacement]:
    """The node that was chosen for a cast, and why. The cast is cancelled then."""
    cast = stage.cast_manager.send(request)
    node = await chosen(stage, cast)
    download = stage.cast_manager.summaries()[-1].download
    assert download is not None
    await stage.cast_manager.cancel(cast)
    return node, download


async def chosen(stage: Stage, cast: str) -> str:
    async with stage.agents.ordered:
        await stage.agents.ordered.wait_for(lambda: scanning(stage, cast))
    (node,) = scanning(stage, cast)
    return node


def scanning(stage: Stage, cast: str) -> list[str]:
    return [
        node for node, order in stage.agents.orders if isinstance(order, PrepareSource) and order.cast == cast
    ]


@pytest.fixture
def clock() -> list[float]:
    return [1e9]


@pytest.fixture
def store(tmp_path: Path, clock: list[float]) -> DownloadSpeedStore:
    return DownloadSpeedStore(tmp_path / "downloads.json", lambda: clock[0])


async def test_the_fastest_recipient_downloads() -> None:
    stage = Stage()
    stage.agents.rates = {"s": DownloadRate(1e7), "a": DownloadRate(3e7), "b": DownloadRate(9e7)}
    stage.agents.rates["c"] = DownloadRate(failure=REFUSED)
    cast = await stage.start(DOWNLOAD, nodes="sabc")
    assert await chosen(stage, cast) == "b"
    own = await stage.agents.wait_for("b", StartDelivery)
    assert isinstance(own, StartDelivery)
    assert own.upstream is not None
    assert own.upstream.node == "b"
    (summary,) = stage.cast_manager.summaries()
    assert summary.source == "b"
    assert summary.download is not None
    assert (summary.download.reason, summary.download.host) == (PlacementReason.MEASURED, "example.org")
    assert {item.node: item.rate for item in summary.download.speeds} == {
        "s": 1e7,
        "a": 3e7,
        "b": 9e7,
        "c": 0,
    }
    await stage.cast_manager.cancel(cast)
    shown = form_to_json(result_form(await stage.result(cast)))["download"]
    assert isinstance(shown, dict)
    assert shown["text"] == (
        "fastest of the nodes that were measured with example.org"
        " (b 90.0 MB/s, a 30.0 MB/s, s 10.0 MB/s, c not reached)"
    )


async def test_what_is_measured_costs_little() -> None:
    stage = Stage()
    await placement(stage)
    lengths = measured(stage)
    assert set(lengths) == set("sabc")
    assert 0 < sum(lengths.values()) <= SIZE * 0.01


async def test_little_is_not_measured() -> None:
    stage = Stage()
    (file,) = stage.agents.listing.files
    stage.agents.listing = RemoteListing((dataclasses.replace(file, size=SMALL_BYTES - 1),))
    stage.agents.listings = {"a": RemoteListing(failure=REFUSED)}
    node, why = await placement(stage, TO_A_AND_B)
    assert node == "b"
    assert why.reason is PlacementReason.SMALL
    assert not measured(stage)


async def test_the_node_that_has_downloaded_the_same_files_is_chosen_again() -> None:
    """It knows their hashes, so that recipients that have them get nothing, and neither does it."""
    stage = Stage()
    (file,) = (dataclasses.replace(one, size=SMALL_BYTES - 1) for one in stage.agents.listing.files)
    stage.agents.listing = RemoteListing((file,))
    stage.agents.listings = {"a": RemoteListing(failure=REFUSED)}
    cast = await stage.start(TO_A_AND_B, nodes="ab")
    assert await chosen(stage, cast) == "b"
    stage.agents.report_source("b", cast, SourceState.HASHED, trailer_digest="t")
    await stage.complete(cast, "bb", "ab")
    await stage.result(cast)
    stage.agents.listings = {"b": RemoteListing(failure=REFUSED)}  # the other one answers first
    node, why = await placement(stage, TO_A_AND_B)
    assert (node, why.reason) == ("b", PlacementReason.AGAIN)
    stage.agents.rates = {"b": DownloadRate(failure=REFUSED)}
    assert (await placement(stage, TO_A_AND_B))[0] == "a"
    stage.agents.rates.clear()
    stage.agents.listing = RemoteListing((dataclasses.replace(file, etag='"v2"'),))
    node, why = await placement(stage, TO_A_AND_B)
    assert (node, why.reason) == ("a", PlacementReason.SMALL)


async def test_a_node_that_was_named_is_not_measured() -> None:
    stage = Stage()
    node, why = await placement(stage, msgspec.structs.replace(DOWNLOAD, source="c"))
    assert (node, why.reason) == ("c", PlacementReason.NAMED)
    assert not measured(stage)


async def test_a_dry_run_measures_nothing(store: DownloadSpeedStore) -> None:
    stage = Stage(downloads=store)
    report = await stage.cast_manager.dry_runs.preflight(DOWNLOAD)
    assert report.download == DownloadPlacement(PlacementReason.AWAITED, "example.org")
    assert not measured(stage)
    stage.agents.rates = {"b": DownloadRate(9e8)}
    await placement(stage)
    before = len(stage.agents.orders)
    report = await stage.cast_manager.dry_runs.preflight(DOWNLOAD)
    assert report.download is not None
    assert max((item.rate, item.node) for item in report.download.speeds) == (9e8, "b")
    asked = stage.agents.orders[before:]
    assert not [order for _, order in asked if isinstance(order, MeasureDownload)]
    assert [node for node, order in asked if isinstance(order, PrepareSource)] == ["b"]


async def test_a_measurement_is_remembered_for_a_day(store: DownloadSpeedStore, clock: list[float]) -> None:
    stage = Stage(downloads=store)
    stage.agents.rates = {"b": DownloadRate(9e8)}
    assert (await placement(stage))[1].reason is PlacementReason.MEASURED
    count = len(measured(stage))
    stage.agents.rates = {"a": DownloadRate(9e9)}
    node, why = await placement(stage)
    assert (node, why.reason) == ("b", PlacementReason.REMEMBERED)
    assert len(measured(stage)) == count
    clock[0] += FRESH_SECONDS + 1
    node, why = await placement(stage)
    assert (node, why.reason) == ("a", PlacementReason.MEASURED)


async def test_a_remembered_node_that_does_not_reach_the_server_is_measured_again(
    store: DownloadSpeedStore,
) -> None:
    stage = Stage(downloads=store)
    stage.agents.rates = {"b": DownloadRate(9e8)}
    await placement(stage)
    stage.agents.rates = {"b": DownloadRate(failure=REFUSED)}
    node, why = await placement(stage)
    assert (node, why.reason) == ("a", PlacementReason.MEASURED)
    assert failures_of(why) == {"b": REFUSED}


def failures_of(why: DownloadPlacement) -> dict[str, Failure]:
    return {item.node: item.failure for item in why.speeds if item.failure is not None}


async def test_a_node_that_is_no_recipient_has_to_be_much_faster() -> None:
    stage = Stage()
    stage.agents.rates = {"a": DownloadRate(1e8), "b": DownloadRate(1e8), "c": DownloadRate(1.4e8)}
    assert (await placement(stage, TO_A_AND_B))[0] == "a"
    stage.agents.rates["c"] = DownloadRate(3e8)
    assert (await placement(stage, TO_A_AND_B))[0] == "c"
    assert "s" not in measured(stage)  # this computer, which is no recipient


async def test_this_computer_downloads_if_no_other_node_reaches_the_server() -> None:
    stage = Stage()
    stage.agents.listings = dict.fromkeys("abc", RemoteListing(failure=NO_NAME))
    stage.agents.rates = dict.fromkeys("abc", DownloadRate(failure=NO_NAME))
    node, why = await placement(stage, TO_A_AND_B)
    assert (node, why.reason) == ("s", PlacementReason.ONLY_HERE)
    assert failures_of(why) == dict.fromkeys("abc", NO_NAME)


async def test_each_node_says_why_it_does_not_reach_the_server() -> None:
    stage = Stage()
    stage.agents.listings = dict.fromkeys("abcs", RemoteListing(failure=NO_NAME))
    result = await stage.result(stage.cast_manager.send(TO_A_AND_B))
    assert result.summary.failure == NO_NAME
    stage.agents.listings["b"] = RemoteListing(failure=REFUSED)
    result = await stage.result(stage.cast_manager.send(TO_A_AND_B))
    assert result.summary.failure is not None
    assert result.summary.failure.kind is FailureKind.URL_NOT_REACHED
    assert set(result.summary.failure.values["reasons"].split("; ")) == {
        *(f"{node}: no name" for node in "acs"),
        "b: refused",
    }
    assert "secret" not in repr(result.summary.failure)


async def test_a_node_that_has_to_encrypt_and_can_not_is_not_asked() -> None:
    stage = Stage()
    for node in "abc":
        stage.agents.facts[node] = {"certified": True}
    request = DOWNLOAD.with_options(encrypt=Encryption.ALWAYS)
    node, why = await placement(stage, request)
    assert node == "a"
    assert "s" not in {item.node for item in why.speeds}


async def test_a_chosen_node_that_is_lost_before_it_serves_is_replaced() -> None:
    stage = Stage()
    stage.agents.rates = {"b": DownloadRate(9e8)}
    stage.agents.scanning = True
    cast = stage.cast_manager.send(DOWNLOAD)
    assert await chosen(stage, cast) == "b"
    stage.agents.scanning = False
    stage.agents.go_away("b")
    stage.skip()  # nobody waits for it as a recipient any more
    async with stage.agents.ordered:
        await stage.agents.ordered.wait_for(lambda: len(scanning(stage, cast)) == 2)
    assert scanning(stage, cast) == ["b", "a"]
    await stage.cast_manager.cancel(cast)


async def test_another_engine_goes_on_with_the_same_node(tmp_path: Path) -> None:
    stage = Stage(checkpoints=CheckpointStore(tmp_path))
    stage.agents.rates = {"b": DownloadRate(9e8)}
    cast = await stage.start(DOWNLOAD, nodes="sabc")
    await stage.cast_manager.close()
    (record,) = CheckpointStore(tmp_path).load()
    assert record.request.source == "b"
    again = Stage()
    again.cast_manager.restore(record)
    assert await chosen(again, cast) == "b"
    assert not measured(again)
    assert not [order for _, order in again.agents.orders if isinstance(order, ResolveUrls)]
    (summary,) = again.cast_manager.summaries()
    assert summary.download is not None
    assert summary.download.reason is PlacementReason.MEASURED
    await again.cast_manager.cancel(cast)


async def test_another_cast_like_it_chooses_again() -> None:
    stage = Stage()
    stage.agents.rates = {"b": DownloadRate(9e8)}
    cast = await stage.start(DOWNLOAD, nodes="sabc")
    await stage.cast_manager.cancel(cast)
    stage.agents.rates = {"c": DownloadRate(9e8)}
    again = await stage.cast_manager.commands.send_again(cast)
    assert await chosen(stage, again) == "c"
    await stage.cast_manager.cancel(again)


async def test_the_successor_is_shown() -> None:
    stage = Stage()
    stage.agents.rates = {"b": DownloadRate(9e8)}
    cast = await stage.start(DOWNLOAD, nodes="sabc")
    stage.agents.go_away("b")
    await stage.agents.wait_for("s", PrepareSource)
    (summary,) = stage.cast_manager.summaries()
    assert summary.download == DownloadPlacement(PlacementReason.SUCCESSOR, "example.org")
    await stage.cast_manager.cancel(cast)


async def test_nobody_is_online(store: DownloadSpeedStore) -> None:
    stage = Stage(downloads=store)
    for node in "sabc":
        await stage.agents.set_state(node, NodeState.OFFLINE)
    with pytest.raises(CastRayError):
        stage.cast_manager.send(DOWNLOAD)


async def test_nothing_is_measured_for_files_that_come_with_the_order() -> None:
    stage = Stage()
    file = RemoteFile("config.json", "", 2, contents=pack_contents(b"{}"))
    stage.agents.listing = RemoteListing((file,))
    _, download = await placement(stage)
    assert download.reason is PlacementReason.SMALL
    assert not any(isinstance(order, MeasureDownload) for _, order in stage.agents.orders)


@pytest.mark.parametrize("url", [URL.replace("https", "http"), URL.replace("https", "HTTP")])
async def test_a_cast_that_has_to_be_encrypted_refuses_plain_http(url: str) -> None:
    stage = Stage()
    request = msgspec.structs.replace(DOWNLOAD, paths=(url,)).with_options(encrypt=Encryption.ALWAYS)
    result = await stage.result(stage.cast_manager.send(request))
    assert result.summary.failure is not None
    assert result.summary.failure.kind is FailureKind.URL_NOT_ENCRYPTED
    assert "secret" not in repr(result.summary.failure)
    asked = (ResolveUrls, MeasureDownload, PrepareSource)
    assert not [order for _, order in stage.agents.orders if isinstance(order, asked)]


async def test_a_schedule_sees_another_version_of_the_same_size() -> None:
    stage = Stage()
    (file,) = stage.agents.listing.files
    seen = []
    for etag in ('"v1"', '"v1"', '"v2"'):
        stage.agents.listing = RemoteListing((dataclasses.replace(file, etag=etag),))
        seen.append((await stage.cast_manager.dry_runs.snapshot(DOWNLOAD))[0])
    assert seen[0] == seen[1] != seen[2]
