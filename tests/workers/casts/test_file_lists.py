"""What became of files, gathered by the engine: while a cast runs, when it has ended, and later."""

from __future__ import annotations

import base64
import zlib
from collections import defaultdict
from collections.abc import Iterator

import pytest

from castray_desktop.core.content.file_outcomes import FileCounts, FileOutcome, FileOutcomes, pack_outcomes
from castray_desktop.core.content.manifest import (
    EntryKind,
    FileResult,
    FileStatus,
    Manifest,
    ManifestEntry,
    encode_manifest,
    encode_trailer,
)
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.messages import CastState, FilesPage, FileState, GetFiles
from castray_desktop.core.protocol.nodes import agent_orders
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.workers.history.file_list_store import FileRecord, ParcelRecord
from tests.helpers.cast_stage import Stage
from tests.helpers.fake_agents import SIZE, STREAM

RAW = encode_manifest(Manifest((ManifestEntry(EntryKind.FILE, b"model.bin", size=SIZE),)))
TRAILER = encode_trailer((FileResult(FileStatus.OK, b"h" * 32),))
ENDED = {"upstream": "s", "stream_bytes": STREAM, "content_bytes": SIZE, "received_bytes": STREAM}


class FilesStage(Stage):
    """A stage that keeps what became of files, as the home does."""

    def __init__(self) -> None:
        self.kept: dict[str, list[FileRecord]] = defaultdict(list)
        super().__init__(
            keep_file_record=lambda cast, record: self.kept[cast].append(record),
            file_records=self._records,
        )
        self.agents.packed = base64.b64encode(zlib.compress(RAW)).decode()
        self.agents.packed_trailer = base64.b64encode(TRAILER).decode()

    async def _records(self, cast: str) -> list[FileRecord]:
        return list(self.kept[cast])

    async def page(self, cast: str) -> FilesPage:
        page = await self.cast_manager.commands.carry_out(GetFiles(cast))
        assert isinstance(page, FilesPage)
        return page

    def end(self, node: str, cast: str, outcome: FileOutcome, place: bytes = b"") -> None:
        outcomes = FileOutcomes(bytes((outcome,)), {b"model.bin": place} if place else {})
        packed, counts = pack_outcomes(outcomes), outcomes.counts
        self.agents.report_delivery(
            node, cast, RecipientState.COMPLETED, **ENDED, counts=counts, outcomes=packed
        )


@pytest.fixture
async def stage() -> Iterator[FilesStage]:
    stage = FilesStage()
    yield stage
    await stage.cast_manager.close()


def states(page: FilesPage) -> dict[str, str]:
    return {
        node: f"{group.state} {group.place}".strip()
        for group in page.files[0].recipients
        for node in group.nodes
    }


async def test_an_ended_cast_has_a_list_with_what_each_recipient_said(stage: FilesStage) -> None:
    cast = await stage.start()
    stage.finish_source(cast)
    for node, outcome, place in (
        ("a", FileOutcome.SENT, b""),
        ("b", FileOutcome.RENAMED, b"model (2).bin"),
        ("c", FileOutcome.IDENTICAL, b""),
    ):
        await stage.agents.wait_for(node, agent_orders.AnnounceTrailer)
        stage.end(node, cast, outcome, place)
    result = await stage.result(cast)
    assert result.summary.state is CastState.COMPLETED
    assert [item.counts for item in result.deliveries] == [
        FileCounts(sent=1),
        FileCounts(renamed=1),
        FileCounts(identical=1),
    ]
    await stage.agents.wait_for("s", agent_orders.ForgetCast)
    page = await stage.page(cast)
    assert (page.total, page.live) == (1, False)
    assert (page.files[0].path, page.files[0].bytes) == ("model.bin", SIZE)
    assert page.files[0].hash.endswith((b"h" * 32).hex())
    assert states(page) == {"a": "sent", "b": "renamed model (2).bin", "c": "identical"}
    kinds = [type(order).__name__ for node, order in stage.agents.orders if node == "s"]
    assert kinds.index("GetManifest") < kinds.index("ForgetCast")


async def test_running_recipients_are_asked(stage: FilesStage) -> None:
    cast = await stage.start()
    stage.agents.report_delivery("a", cast, RecipientState.RECEIVING, stream_bytes=STREAM)
    stage.agents.outcomes["a"] = pack_outcomes(FileOutcomes(bytes((FileOutcome.RECEIVED,))))
    page = await stage.page(cast)
    assert page.live
    assert states(page) == {"a": "received", "b": "pending", "c": "pending"}
    await stage.page(cast)  # within a second
    asked = [node for node, order in stage.agents.orders if isinstance(order, agent_orders.GetFileOutcomes)]
    assert asked == ["a"]
    assert not stage.kept[cast]


async def test_a_node_that_has_left_is_not_needed(stage: FilesStage) -> None:
    cast = await stage.start(nodes="abc")
    stage.finish_source(cast)
    for node in "abc":
        await stage.agents.wait_for(node, agent_orders.AnnounceTrailer)
        stage.end(node, cast, FileOutcome.SENT)
    await stage.result(cast)
    await stage.agents.wait_for("s", agent_orders.ForgetCast)
    for node in "sabc":
        stage.agents.go_away(node)
    assert set(states(await stage.page(cast)).values()) == {"sent"}


async def test_a_recipient_has_the_list_where_the_source_is_gone(stage: FilesStage) -> None:
    cast = await stage.start()
    stage.finish_source(cast)
    for node in "abc":
        await stage.agents.wait_for(node, agent_orders.AnnounceTrailer)
    stage.agents.go_away("s")
    for node in "abc":
        stage.end(node, cast, FileOutcome.SENT)
    await stage.result(cast)
    await stage.agents.wait_for("a", agent_orders.ForgetCast)
    assert any(isinstance(record, ParcelRecord) for record in stage.kept[cast])
    assert set(states(await stage.page(cast)).values()) == {"sent"}


async def test_a_cast_that_was_never_scanned_has_no_list(stage: FilesStage) -> None:
    stage.agents.scanning = True
    cast = stage.cast_manager.send(stage.request)
    with pytest.raises(CastRayError) as caught:
        await stage.page(cast)
    assert caught.value.failure.kind is FailureKind.FILES_NOT_LISTED
    await stage.cast_manager.cancel(cast)
    with pytest.raises(CastRayError) as caught:
        await stage.page(cast)
    assert caught.value.failure.kind is FailureKind.FILES_NOT_LISTED


async def test_a_list_that_was_not_kept_is_missed_in_words(stage: FilesStage) -> None:
    cast = await stage.start()
    assert await stage.finish(cast, "a", "b", "c") is CastState.COMPLETED
    await stage.agents.wait_for("s", agent_orders.ForgetCast)
    stage.kept.clear()
    with pytest.raises(CastRayError) as caught:
        await stage.page(cast)
    assert caught.value.failure.kind is FailureKind.FILES_NOT_KEPT
    with pytest.raises(CastRayError) as caught:
        await stage.page("unknown")
    assert caught.value.failure.kind is FailureKind.CAST_UNKNOWN


async def test_damaged_outcomes_say_so(stage: FilesStage) -> None:
    cast = await stage.start()
    stage.finish_source(cast)
    await stage.agents.wait_for("a", agent_orders.AnnounceTrailer)
    stage.agents.report_delivery("a", cast, RecipientState.COMPLETED, **ENDED, outcomes="what?")
    with pytest.raises(CastRayError, match="internal"):
        await stage.page(cast)
    assert FileState.UNKNOWN == "unknown"


async def test_hashes_stay_known_after_an_attempt_that_has_not_read_the_files(stage: FilesStage) -> None:
    cast = await stage.start()
    stage.finish_source(cast)
    for node in "abc":
        await stage.agents.wait_for(node, agent_orders.AnnounceTrailer)
        stage.end(node, cast, FileOutcome.SENT)
    await stage.result(cast)
    await stage.agents.wait_for("s", agent_orders.ForgetCast)
    (parcel,) = (record for record in stage.kept[cast] if isinstance(record, ParcelRecord))
    stage.kept[cast].append(ParcelRecord(parcel.digest, parcel.algorithm, parcel.manifest))
    assert (await stage.page(cast)).files[0].hash.endswith((b"h" * 32).hex())
