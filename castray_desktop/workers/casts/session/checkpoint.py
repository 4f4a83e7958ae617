"""Checkpoints of unfinished casts, one file each, so that the next engine can continue them.

A checkpoint holds no secret of the cast or of a store: a continued cast gets new ones. It has the addresses
of the request as they were given, and one of a web server can be a secret.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from castray_desktop.core.casts.transfer_options import nest_options
from castray_desktop.core.protocol.messages import (
    CastAttempt,
    CastMode,
    DeliverySnapshot,
    DeliveryState,
    DownloadPlacement,
    SendRequest,
)
from castray_desktop.core.protocol.nodes.agent_orders import DestinationReply
from castray_desktop.core.protocol.nodes.cast_parcel import Algorithms, ParcelTotals, RemoteFile
from castray_desktop.workers.base.state_files import (
    DAMAGED,
    PASSING,
    UNREADABLE,
    check_times,
    quarantine_file,
    read_file,
    replace_file,
)
from castray_desktop.workers.casts.session.session_context import SessionContext
from castray_desktop.workers.casts.session.shared_destination import SharedDestinations
from castray_desktop.workers.casts.session.source_failover import SourceFailover

log = logging.getLogger("castray.casts")


class CastCheckpoint(msgspec.Struct, frozen=True):
    """What is needed to continue a cast."""

    cast: str
    target: str  # the cluster that it runs on
    request: SendRequest  # node names resolved
    mode: CastMode
    started: float  # POSIX seconds
    deliveries: tuple[DeliverySnapshot, ...]  # of all recipients
    manifest_digest: str = ""  # empty before the files were scanned
    algorithms: Algorithms = Algorithms()
    writers: dict[str, str] = {}  # writer of each recipient that does not write itself
    folders: dict[str, DestinationReply] = {}  # destination of each recipient
    paused: bool = False
    totals: ParcelTotals | None = None  # None before the files were scanned
    seconds: float | None = None  # duration of an ended cast with deferred deliveries
    order: float = 0.0  # as in the status; 0: as it was started
    sent_bytes: int = 0  # contents sent by the source, approximately
    schedule: str = ""  # that started it
    follows: str = ""  # the cast whose recipients it serves later or again
    attempts: tuple[CastAttempt, ...] = ()  # earlier attempts
    retried: tuple[str, ...] = ()  # recipients of this attempt, if it is not the first
    remote: tuple[RemoteFile, ...] = ()  # what is downloaded, as it is to be; without links to stores
    download: DownloadPlacement | None = None  # None if files of a node are sent
    contents: str = ""  # as in the status


class CheckpointStore:
    """The checkpoints in one folder. Files are written in threads; `close` waits for them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: dict[str, CastCheckpoint | None] = {}
        self._failed: dict[str, CastCheckpoint | None] = {}  # tried again with the next one
        self._writing: asyncio.Task[None] | None = None
        self._seen: set[str] = set()  # casts that were loaded, or belong to this engine
        self.unread = False
        """Whether something could not be read for a passing reason: `load` is worth another try."""

    def load(self) -> tuple[CastCheckpoint, ...]:
        """The checkpoints of the previous engine that were not loaded yet, in the order of the queue.

        A damaged file is set aside. One that can't be read now stays, and sets `unread`.
        """
        records, again, self.unread = [], self.unread, False
        try:
            paths = list(self._folder.iterdir())
        except OSError as error:
            self._pass_over(self._folder, error, again)
            return ()
        for path in paths:
            if path.suffix != ".json" or path.name.startswith(DAMAGED) or path.stem in self._seen:
                continue
            try:
                records.append(_decode(path.stem, read_file(path)))
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno in PASSING:
                    self._pass_over(path, error, again)
                    continue
                quarantine_file(path, "a cast that had not ended", error)
            except UNREADABLE as error:
                quarantine_file(path, "a cast that had not ended", error)
            self._seen.add(path.stem)
        return tuple(sorted(records, key=lambda record: record.order or record.started))

    def set_aside(self, record: CastCheckpoint, error: Exception) -> None:
        """Keep the file of a cast that can't be continued under another name."""
        quarantine_file(self._folder / f"{record.cast}.json", "a cast that had not ended", error)

    def _pass_over(self, path: Path, error: OSError, again: bool) -> None:
        if not again:
            log.warning("%s can't be read now and will be tried again: %s", path, error)
        self.unread = True

    def save(self, record: CastCheckpoint) -> None:
        """Save the checkpoint of a cast."""
        self._change(record.cast, record)

    def drop(self, cast: str) -> None:
        """Remove the checkpoint of a cast."""
        self._change(cast, None)

    async def close(self) -> None:
        """Wait until everything is written."""
        if self._writing is not None:
            await self._writing

    def _change(self, cast: str, record: CastCheckpoint | None) -> None:
        self._seen.add(cast)
        self._waiting, self._failed = {**self._failed, **self._waiting, cast: record}, {}
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all(), name="write casts")

    async def _write_all(self) -> None:
        while self._waiting:
            cast = next(iter(self._waiting))
            record = self._waiting.pop(cast)
            try:
                await asyncio.to_thread(self._write, cast, record)
            except OSError as error:
                log.warning("checkpoint of cast %s not saved: %s", cast, error)
                if cast not in self._waiting:
                    self._failed[cast] = record

    def _write(self, cast: str, record: CastCheckpoint | None) -> None:
        path = self._folder / f"{cast}.json"
        if record is None:
            path.unlink(missing_ok=True)
            return
        replace_file(path, msgspec.json.encode(record), synced=True)


def _decode(name: str, content: bytes) -> CastCheckpoint:
    """Decode the checkpoint of the cast `name`. Raises an error of `UNREADABLE` if it is damaged."""
    fields = msgspec.json.decode(content)
    fields["request"] = nest_options(fields["request"])
    record = msgspec.convert(fields, CastCheckpoint)
    if record.cast != name:
        raise ValueError(f"it is that of {record.cast}")
    check_times((record.started, record.order, record.seconds))
    nodes = [item.node for item in record.deliveries]
    if not nodes or len(set(nodes)) < len(nodes):
        raise ValueError("it does not name its recipients")
    return record


SENT_STEPS = 20
"""Checkpoints per copy of the parcel that the source sends."""

SaveCheckpoint = Callable[[CastCheckpoint], None]


class CheckpointWriter:
    """Passes a checkpoint to `keep` when it differs from the last one. `before` is that of a
    previous engine.
    """

    def __init__(
        self,
        context: SessionContext,
        failover: SourceFailover,
        destinations: SharedDestinations,
        keep: SaveCheckpoint | None,
        before: CastCheckpoint | None,
    ) -> None:
        self._context = context
        self._status = context.status
        self._failover = failover
        self._destinations = destinations
        self._keep = keep
        self._before = before
        self._kept: tuple[object, ...] = ()

    def save_if_changed(self, ended: int) -> None:
        """Save the cast's state; `ended` is how many of its deliveries were handled."""
        status, failover = self._status, self._failover
        writers, folders = dict(self._destinations.writers), len(self._destinations.folders)
        sent = status.source.sent_contents * SENT_STEPS // (status.source.stream_bytes or 1)
        order, pauses = status.order, (status.is_paused, status.paused_recipients)
        state = (
            ended,
            pauses,
            order,
            failover.digest,
            status.request,
            writers,
            folders,
            sent,
            len(failover.links.files),
            status.download,
        )
        if self._keep is None or state == self._kept:
            return
        self._kept = state
        self._keep(self.checkpoint())

    def checkpoint(self) -> CastCheckpoint:
        """The current checkpoint."""
        status, failover = self._status, self._failover
        return CastCheckpoint(
            cast=status.cast,
            target=self._context.agents.target if self._before is None else self._before.target,
            request=status.request,
            mode=status.mode,
            started=status.started,
            deliveries=tuple(map(_restartable, map(status.delivery, status.recipients))),
            manifest_digest=failover.digest,
            algorithms=failover.algorithms,
            writers=dict(self._destinations.writers),
            folders=dict(self._destinations.folders),
            paused=status.is_paused,
            order=status.order,
            totals=status.source.totals,
            sent_bytes=status.source.sent_contents,
            schedule=status.schedule,
            follows=status.follows,
            attempts=status.attempts,
            retried=status.retried,
            remote=failover.links.files,
            download=status.download,
            contents=status.contents,
        )


def _restartable(delivery: DeliverySnapshot) -> DeliverySnapshot:
    """An unfinished delivery starts again under the next engine, from what its node has; or it is paused."""
    if delivery.state.finished:
        return delivery
    paused = delivery.state is DeliveryState.PAUSED
    state = DeliveryState.PAUSED if paused else DeliveryState.WAITING
    return DeliverySnapshot(
        delivery.node, state, delivery.address, bytes=delivery.bytes, encrypted=delivery.encrypted
    )
