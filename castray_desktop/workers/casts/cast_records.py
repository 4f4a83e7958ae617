"""The casts that have not ended, one file each, so that the next engine can go on with them.

A record has no secret: a cast that goes on gets a new one.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import msgspec

from castray_desktop.core.messages import CastMode, DeliverySnapshot, SendRequest
from castray_desktop.workers.home_files import replace_file
from castray_desktop.workers.ray_side.protocol import Algorithms, ParcelTotals, PreflightReply

log = logging.getLogger("castray.casts")


class CastRecord(msgspec.Struct, frozen=True):
    """What is needed to go on with a cast."""

    cast: str
    target: str  # the cluster that it runs on
    request: SendRequest  # with the names of nodes
    mode: CastMode
    started: float  # POSIX seconds
    deliveries: tuple[DeliverySnapshot, ...]  # of all recipients
    manifest_digest: str = ""  # empty before the files were scanned
    algorithms: Algorithms = Algorithms()
    writers: dict[str, str] = {}  # by recipient: who writes for it
    folders: dict[str, PreflightReply] = {}  # by recipient: where it writes
    paused: bool = False
    totals: ParcelTotals | None = None  # None before the files were scanned
    seconds: float | None = None  # it has ended so long after its start, and has deliveries that wait
    order: float = 0.0  # as in the ledger; 0: as it was started
    sent_bytes: int = 0  # of the contents, that have left the source, about
    schedule: str = ""  # that started it
    follows: str = ""  # the cast whose recipients it serves later or again


class CastRecords:
    """The records in one folder. Writing happens beside the event loop; `close` waits for it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: dict[str, CastRecord | None] = {}
        self._writing: asyncio.Task[None] | None = None

    def load(self) -> tuple[CastRecord, ...]:
        """What the last engine left, in the order of the queue. Damaged records are removed as useless."""
        records = []
        for path in self._folder.glob("*.json"):
            try:
                records.append(msgspec.json.decode(path.read_bytes(), type=CastRecord))
            except (OSError, msgspec.DecodeError, ValueError) as error:
                log.warning("%s is of no use: %s", path, error)
                path.unlink(missing_ok=True)
        return tuple(sorted(records, key=lambda record: record.order or record.started))

    def put(self, record: CastRecord) -> None:
        """Keep this in the place of what was known of the cast."""
        self._change(record.cast, record)

    def drop(self, cast: str) -> None:
        """The cast has ended."""
        self._change(cast, None)

    async def close(self) -> None:
        """Wait until all of it is on the disk."""
        if self._writing is not None:
            await self._writing

    def _change(self, cast: str, record: CastRecord | None) -> None:
        self._waiting[cast] = record
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all(), name="write casts")

    async def _write_all(self) -> None:
        while self._waiting:
            cast = next(iter(self._waiting))
            record = self._waiting.pop(cast)
            try:
                await asyncio.to_thread(self._write, cast, record)
            except OSError as error:
                log.warning("cast %s is not kept: %s", cast, error)

    def _write(self, cast: str, record: CastRecord | None) -> None:
        path = self._folder / f"{cast}.json"
        if record is None:
            path.unlink(missing_ok=True)
            return
        replace_file(path, msgspec.json.encode(record), synced=True)
