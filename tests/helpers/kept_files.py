"""An ended cast of four files in the history, and what became of them."""

from __future__ import annotations

import zlib

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
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import CastResult, CastState, DeliveryState, SendRequest
from castray_desktop.workers.history.file_list_store import OutcomeRecord, ParcelRecord
from tests.helpers.engine_home import EngineHome
from tests.helpers.samples import make_cast, make_delivery

CAST = "c0ffee00f11e"
OUTCOMES = FileOutcomes(
    bytes((FileOutcome.SENT, FileOutcome.RENAMED, FileOutcome.IDENTICAL, FileOutcome.FAILED)),
    {b"top/b": b"top/b (2)"},
)


async def keep_cast(home: EngineHome) -> str:
    """Put it there once the engine runs, and return its id."""
    client = await home.connect()
    history = home.engine.history
    entries = [ManifestEntry(EntryKind.FOLDER, b"top")]
    entries += [ManifestEntry(EntryKind.FILE, b"top/" + name, size=10) for name in (b"a", b"b", b"c", b"d")]
    results = [FileResult(FileStatus.OK, bytes((number,)) * 32) for number in range(3)]
    results.append(FileResult(FileStatus.VANISHED, b""))
    summary = make_cast(
        "top/", cast=CAST, recipients=2, state=CastState.PARTLY_FAILED, files=4, bytes=40, finished=5.0
    )
    missing = {"count": "1", "total": "4", "path": "top/d", "because": "vanished"}
    deliveries = (
        make_delivery(
            "node_1",
            DeliveryState.FAILED,
            paths=("/in/top",),
            counts=OUTCOMES.counts,
            failure=Failure(FailureKind.FILES_FAILED, missing),
        ),
        make_delivery(
            "node_2",
            DeliveryState.FAILED,
            counts=FileCounts(),
            failure=Failure(FailureKind.NODE_OFFLINE, {"node": "node_2"}),
        ),
    )
    request = SendRequest(("/data/top",), ("node_1", "node_2"), source="here")
    history.cast_ended(request, "local", CastResult(summary, deliveries, 5.0))
    manifest = zlib.compress(encode_manifest(Manifest(entries)))
    history.keep_file_record(CAST, OutcomeRecord("node_1", "d", pack_outcomes(OUTCOMES)))
    history.keep_file_record(CAST, ParcelRecord("d", "blake3", manifest, encode_trailer(results)))
    await history._background.wait()
    await client.close()
    return CAST
