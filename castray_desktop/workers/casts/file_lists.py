"""What became of the files of each cast: gathered from the nodes while they are there, and kept.

A recipient's outcomes come with its last report, and the list of files when the cast has ended. While a cast
runs, its recipients are asked.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from castray_desktop.core.casts.file_table import FileTable, ParcelFiles, fit_outcomes
from castray_desktop.core.content.file_outcomes import FileOutcomes, listed, unpack_outcomes
from castray_desktop.core.content.manifest import Manifest, decode_manifest, decode_trailer
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.messages import (
    CastResult,
    DeliverySnapshot,
    DeliveryState,
    FileQuery,
    FilesPage,
)
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports
from castray_desktop.workers.casts.cast_table import ClusterContext
from castray_desktop.workers.casts.session.cast_session import CastSession
from castray_desktop.workers.history.file_list_store import FileRecord, OutcomeRecord, ParcelRecord

GATHER_SECONDS = 10.0
"""For the list of files, when a cast has ended: nodes release its resources afterwards."""

LIVE_SECONDS = 1.0
"""What running deliveries say is asked for at most this often."""

ASK_SECONDS = 5.0
IDLE_SECONDS = 60.0
"""A table that is not asked for again within this time is forgotten."""

MOST_MANIFEST_BYTES = 1 << 30
_ASKED = frozenset({DeliveryState.RECEIVING, DeliveryState.VERIFYING, DeliveryState.PAUSED})

log = logging.getLogger("castray.cast")


@dataclass(frozen=True)
class _Shown:
    """The table that was asked for last, and what it was made from."""

    cast: str
    made_from: object
    at: float
    table: FileTable


class FileLists:
    """The files of the casts of one cluster."""

    def __init__(self, context: ClusterContext) -> None:
        self._context = context
        self._services = context.services
        self._lists: dict[str, ParcelRecord] = {}  # of the running cast that is shown
        self._shown: _Shown | None = None
        self._records: Counter[str] = Counter()  # number of records that came since the start
        self._lock = asyncio.Lock()  # one table at a time
        self._idle: asyncio.TimerHandle | None = None

    # --- gathered

    def reported(self, session: CastSession, node: str, report: agent_reports.DeliveryReport) -> None:
        """Keep what a recipient says at its end; also with an earlier cast that could not serve it."""
        if not report.outcomes:
            return
        earlier = self._context.table.casts.get(session.status.follows)
        of_these = [session.status]
        if earlier is not None and node in earlier.awaited:
            of_these.append(earlier)
        for status in of_these:
            if status.source.totals is not None:
                digest = status.source.totals.manifest_digest
                self._keep(status.cast, OutcomeRecord(node, digest, report.outcomes))

    async def gather(self, session: CastSession) -> None:
        """A cast has ended: keep its list of files, unless it is known."""
        cast, totals = session.status.cast, session.status.source.totals
        self._lists.pop(cast, None)
        if self._services.keep_file_record is None or totals is None:
            return
        record = await self._ask_for_list(session, GATHER_SECONDS)
        if record is not None:
            self._keep(cast, record)

    def _keep(self, cast: str, record: FileRecord) -> None:
        self._records[cast] += 1
        if self._services.keep_file_record is not None:
            self._services.keep_file_record(cast, record)

    async def _ask_for_list(self, session: CastSession, seconds: float) -> ParcelRecord | None:
        """The list of files, from the source or from a recipient that has it."""
        status = session.status
        assert status.source.totals is not None
        having = [node for node in status.recipients if status.delivery(node).state.delivered]
        for node in dict.fromkeys((status.request.source, *having)):
            try:
                reply = await self._context.agents.call(node, agent_orders.GetManifest(status.cast), seconds)
            except (CastRayError, KeyError):
                continue
            if isinstance(reply, agent_orders.ManifestReply) and reply.packed:
                try:
                    manifest, trailer = (
                        base64.b64decode(text, validate=True) for text in (reply.packed, reply.trailer)
                    )
                except (binascii.Error, ValueError):
                    continue
                digest = status.source.totals.manifest_digest
                return ParcelRecord(digest, session.file_hash, manifest, trailer)
        return None

    # --- shown

    async def page(self, cast: str, query: FileQuery) -> FilesPage:
        """A page of the files of a running or ended cast. Raises CastRayError."""
        async with self._lock:
            shown = await self._table(cast)
            page = await asyncio.to_thread(shown.table.page, shown.cast, query)
        self._forget_when_idle()
        return page

    async def _table(self, cast: str) -> _Shown:
        matching = self._context.table.matching(cast)
        session = self._context.table.sessions.get(matching[0].cast) if len(matching) == 1 else None
        if session is not None:
            return await self._live_table(session)
        return await self._ended_table((await self._context.find_past(cast)).result)

    async def _ended_table(self, result: CastResult) -> _Shown:
        cast = result.summary.cast
        made_from = (result.deliveries, self._records[cast])
        shown = self._shown
        if shown is None or (shown.cast, shown.made_from) != (cast, made_from):
            records = await self._load(cast)
            if not any(isinstance(record, ParcelRecord) for record in records):
                listed_once = result.summary.files or result.summary.bytes
                kind = FailureKind.FILES_NOT_KEPT if listed_once else FailureKind.FILES_NOT_LISTED
                raise CastRayError(kind, cast=cast)
            shown = await self._make(cast, made_from, records, result.deliveries, live=False)
        return shown

    async def _live_table(self, session: CastSession) -> _Shown:
        cast, now = session.status.cast, self._context.now
        shown = self._shown
        if shown is not None and shown.cast == cast and shown.table.live and now - shown.at < LIVE_SECONDS:
            return shown
        records = await self._load(cast)
        deliveries = session.status.deliveries(now)
        records = [*records, *await self._ask_recipients(session, deliveries)]
        totals = session.status.source.totals
        if totals is not None and not any(
            isinstance(record, ParcelRecord) and record.digest == totals.manifest_digest for record in records
        ):
            known = self._lists.get(cast) or await self._ask_for_list(session, ASK_SECONDS)
            if known is not None:
                self._lists = {cast: known}
                records.append(known)
        if not any(isinstance(record, ParcelRecord) for record in records):
            raise CastRayError(FailureKind.FILES_NOT_LISTED, cast=cast)
        return await self._make(cast, now, records, deliveries, live=True)

    async def _ask_recipients(
        self, session: CastSession, deliveries: Sequence[DeliverySnapshot]
    ) -> list[OutcomeRecord]:
        """What running deliveries say of their files so far."""
        cast, totals = session.status.cast, session.status.source.totals
        nodes = [item.node for item in deliveries if item.state in _ASKED]
        if totals is None or not nodes:
            return []
        order = agent_orders.GetFileOutcomes(cast)
        replies = await asyncio.gather(
            *(self._context.agents.call(node, order, ASK_SECONDS) for node in nodes), return_exceptions=True
        )
        return [
            OutcomeRecord(node, totals.manifest_digest, reply.packed)
            for node, reply in zip(nodes, replies, strict=True)
            if isinstance(reply, agent_orders.FileOutcomesReply) and reply.packed
        ]

    async def _load(self, cast: str) -> list[FileRecord]:
        load = self._services.file_records
        return await load(cast) if load is not None else []

    async def _make(
        self,
        cast: str,
        made_from: object,
        records: Sequence[FileRecord],
        deliveries: Sequence[DeliverySnapshot],
        live: bool,
    ) -> _Shown:
        now = self._context.now
        table = await asyncio.to_thread(_make_table, records, deliveries, live)
        self._shown = _Shown(cast, made_from, now, table)
        return self._shown

    def _forget_when_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._forget)

    def _forget(self) -> None:
        self._shown, self._idle = None, None
        self._lists.clear()

    def close(self) -> None:
        """Forget all of it."""
        if self._idle is not None:
            self._idle.cancel()
        self._forget()


def _make_table(
    records: Sequence[FileRecord], deliveries: Sequence[DeliverySnapshot], live: bool
) -> FileTable:
    """The table of what was kept. Decoding takes half a second for 100,000 files."""
    lists: dict[str, ParcelRecord] = {}
    last = ""
    for record in records:
        if isinstance(record, ParcelRecord):
            last = record.digest
            if record.trailer or last not in lists:  # a later attempt may have ended before all were read
                lists[last] = record
    try:
        parcel = _decode(lists[last])[1]
        paths = {last: parcel.paths}
        outcomes: dict[str, FileOutcomes] = {}
        for record in records:
            if not isinstance(record, OutcomeRecord) or record.digest not in lists:
                continue
            if record.digest not in paths:
                other = _decode(lists[record.digest])[0]
                paths[record.digest] = [entry.path for entry in listed(other.entries)]
            found = unpack_outcomes(record.packed)
            outcomes[record.node] = fit_outcomes(found, paths[record.digest], parcel.paths)
    except (ValueError, zlib.error) as error:
        raise CastRayError(FailureKind.INTERNAL, reason=f"the list of files is damaged: {error}") from error
    return FileTable(parcel, deliveries, outcomes, live)


def _decode(record: ParcelRecord) -> tuple[Manifest, ParcelFiles]:
    decoder = zlib.decompressobj()
    manifest = decode_manifest(decoder.decompress(record.manifest, MOST_MANIFEST_BYTES))
    results = decode_trailer(record.trailer, len(manifest.files)) if record.trailer else []
    return manifest, ParcelFiles(manifest, results, record.algorithm)
