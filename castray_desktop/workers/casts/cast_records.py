"""The casts that have not ended, one file each, so that the next engine can go on with them.

A record has no secret: a cast that goes on gets a new one.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import msgspec

from castray_desktop.core.messages import CastMode, DeliverySnapshot, SendRequest
from castray_desktop.workers.home_files import (
    PASSING,
    UNREADABLE,
    check_times,
    is_aside,
    read_file,
    replace_file,
    set_aside,
)
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
        self._seen: set[str] = set()  # those that were loaded, or belong to casts of this engine
        self.unread = False
        """Whether something could not be read for a passing reason: `load` is worth another try."""

    def load(self) -> tuple[CastRecord, ...]:
        """What the last engine left and was not loaded yet, in the order of the queue.

        A damaged record is set aside. One that can't be read now stays, and `unread` says so.
        """
        records, again, self.unread = [], self.unread, False
        try:
            paths = list(self._folder.iterdir())
        except OSError as error:
            self._pass_over(self._folder, error, again)
            return ()
        for path in paths:
            if path.suffix != ".json" or is_aside(path) or path.stem in self._seen:
                continue
            try:
                records.append(_decode(path.stem, read_file(path)))
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno in PASSING:
                    self._pass_over(path, error, again)
                    continue
                set_aside(path, "a cast that had not ended", error)
            except UNREADABLE as error:
                set_aside(path, "a cast that had not ended", error)
            self._seen.add(path.stem)
        return tuple(sorted(records, key=lambda record: record.order or record.started))

    def set_aside(self, record: CastRecord, error: Exception) -> None:
        """Nobody can go on with this one; its file is kept under another name."""
        set_aside(self._folder / f"{record.cast}.json", "a cast that had not ended", error)

    def _pass_over(self, path: Path, error: OSError, again: bool) -> None:
        if not again:
            log.warning("%s can't be read now, and is tried again: %s", path, error)
        self.unread = True

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
        self._seen.add(cast)
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


def _decode(name: str, content: bytes) -> CastRecord:
    """The record of that cast. Raises what is in `UNREADABLE` where it can be none."""
    record = msgspec.json.decode(content, type=CastRecord)
    if record.cast != name:
        raise ValueError(f"it is that of {record.cast}")
    check_times((record.started, record.order, record.seconds))
    nodes = [item.node for item in record.deliveries]
    if not nodes or len(set(nodes)) < len(nodes):
        raise ValueError("it does not name its recipients")
    return record
