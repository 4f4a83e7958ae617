"""What a recipient has of one cast: received pieces, part files, hashes, and what its journal recorded."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
from collections.abc import Iterator
from typing import Optional

from castray_desktop.core.content.file_names import display_name, node_file_name
from castray_desktop.core.content.manifest import FileSpan, Manifest, decode_manifest
from castray_desktop.core.content.stream_layout import StreamLayout
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.nodes.agent_orders import StartDelivery
from castray_desktop.workers.agent.transfer.node_context import NodeContext
from castray_desktop.workers.agent.transfer.store.cancellation import CancellationToken
from castray_desktop.workers.agent.transfer.store.destination_check import (
    find_clash,
    may_exist,
    name_comparison,
    nearest_folder,
    present_bytes,
    resolve_destination,
)
from castray_desktop.workers.agent.transfer.store.existing_files import (
    CHANGED_WHILE_COMPARED,
    ExistingFiles,
    whole_pieces,
)
from castray_desktop.workers.agent.transfer.store.file_hashes import FileHashes
from castray_desktop.workers.agent.transfer.store.needed_pieces import ExistingFileComparison, NeededPieces
from castray_desktop.workers.agent.transfer.store.part_files import PartFiles
from castray_desktop.workers.agent.transfer.store.piece_store import (
    NotifyChanged,
    PieceStore,
    RereadPiece,
    Spoilt,
    read_fully,
)
from castray_desktop.workers.agent.transfer.store.staging import Staging, used_bytes
from castray_desktop.workers.agent.transfer.system.digests import file_hasher, piece_hasher
from castray_desktop.workers.agent.transfer.system.file_io import page_buffer
from castray_desktop.workers.agent.transfer.system.os_failures import no_room, reason_of, write_failure
from castray_desktop.workers.agent.transfer.system.time_breakdown import CHECKING, DISK, TimeBreakdown

COPY_BYTES = 1 << 20


class Unreadable(OSError):
    """A file of this node, one that was written or one that was there, can't be read, or not to its end."""


class DamagedListError(Exception):
    """The manifest or the trailer does not have its digest, although each of its pieces had."""


class ReceiveStore:
    """What a recipient has of one cast: its pieces, and the files that they are written to."""

    def __init__(
        self,
        order: StartDelivery,
        context: NodeContext,
        changed: NotifyChanged,
        cancellation: CancellationToken,
    ) -> None:
        self.pieces = PieceStore(order.cast, changed, self)
        self.pieces.limiter.set_limit(order.options.limit)
        self.cancellation = cancellation
        self.order = order
        self._context = context
        self.is_open = False
        """Whether it is known what an earlier delivery has left."""
        self.staging: Optional[Staging] = None
        self.parts: Optional[PartFiles] = None
        self.hashes: Optional[FileHashes] = None
        self.content_bytes = 0
        self.received_bytes = 0  # from upstreams
        self.datagram_bytes = 0  # verified, of written pieces
        self.repaired_bytes = 0  # requested from the upstream since they did not arrive by datagrams
        self.time_breakdown = TimeBreakdown()  # of the thread that writes pieces, else of the download thread
        totals = order.totals
        self.pieces.lay_out(
            StreamLayout(
                totals.manifest_bytes,
                totals.content_bytes,
                totals.trailer_bytes,
                order.algorithms.piece_bytes,
            )
        )
        self.pieces.raw_manifest = self._raw_manifest = bytearray(totals.manifest_bytes)
        self.pieces.raw_trailer = self._raw_trailer = bytearray(totals.trailer_bytes)
        self.pieces.new_piece_hasher = piece_hasher(order.algorithms.piece)
        self._new_file_hasher = file_hasher(order.algorithms.file)
        self.write_lock = threading.Lock()  # held while a piece is written
        self._moving_lock = threading.Lock()  # held while a file's bytes move
        self.comparison = ExistingFileComparison(self.pieces.layout)
        self.needed = NeededPieces(self.pieces, self.comparison)

    # --- the beginning

    def open(self) -> None:
        """Make the staging folder if there is space, or resume from the existing one.

        Raises CastRayError or OSError.
        """
        order, context = self.order, self._context
        destination = resolve_destination(order.options.destination, context.node, context.inbox)
        folder = nearest_folder(destination, context.node)
        try:
            staging = self.staging = self._make_staging(destination)
            if staging.resumed and not self._resume(staging):
                staging.start_over()
        except OSError as error:
            raise write_failure(error, context.node, destination, order.totals.content_bytes) from error
        self._reserve_space(folder, staging)
        if order.totals.manifest_bytes == 0:
            raise CastRayError(FailureKind.INTERNAL, reason="a parcel without a manifest")
        if self.pieces.manifest is None and self._may_have_existing_files(destination):
            self.comparison.manifest_awaited = True
        self.is_open = True

    def _make_staging(self, destination: bytes) -> Staging:
        order, context = self.order, self._context
        header = {
            "manifest": order.totals.manifest_digest,
            "piece": order.algorithms.piece,
            "file": order.algorithms.file,
            "piece_bytes": str(order.algorithms.piece_bytes),
        }
        if order.version:
            header["version"] = order.version
        return Staging(destination, self.pieces.cast, context.node, header, context.registry)

    def _reserve_space(self, folder: bytes, staging: Staging) -> None:
        totals, context, cast = self.order.totals, self._context, self.pieces.cast

        def free_bytes() -> int:
            return context.reservations.free_bytes(folder, but=cast)

        needed, free = totals.content_bytes, free_bytes()
        if staging.resumed and free < needed:
            needed = max(needed - used_bytes(staging.parts), 0)
        if free < needed:
            needed -= present_bytes(staging.destination, totals.top, needed)
        if free < needed:
            free = context.registry.make_room(folder, needed, free_bytes, cast)
        if free < needed:
            raise no_room(context.node, staging.destination, free, needed)
        context.reservations.reserve(cast, os.stat(folder).st_dev, needed)

    def _resume(self, staging: Staging) -> bool:
        """Resume from what an earlier delivery left. Returns False if it can't be used."""
        raw = staging.saved(b"manifest")
        if hashlib.sha256(raw).hexdigest() != self.order.totals.manifest_digest:
            return False
        self._raw_manifest[:] = raw
        trailer = staging.saved(b"trailer")[: len(self._raw_trailer)]
        self._raw_trailer[: len(trailer)] = trailer
        journaled = bytearray(self.pieces.layout.pieces)
        for index, digest in staging.journal.records():
            if index < self.pieces.layout.pieces:
                journaled[index] = 1
                self.pieces.expect_digest(index, digest)
        self._use_manifest(raw)
        assert self.pieces.manifest is not None
        assert self.parts is not None
        if self.parts.settled:  # some may be in the user's hands by now, and is not looked at any more
            for start, end in whole_pieces(
                self.pieces.manifest, self.pieces.layout, self.parts.settled.__contains__
            ):
                self.pieces.add_resumed(start, end, journaled)
                self._count(start, end)
        for index in range(self.pieces.layout.pieces):
            if journaled[index] and not self.pieces.has_piece(index):
                self.needed.journaled.add(*self.pieces.layout.piece(index))
        return True

    def can_write(self, index: int) -> bool:
        """Whether `write_piece` could write it: contents need the manifest."""
        if self.pieces.manifest is not None:
            return True
        start, end = self.pieces.layout.piece(index)
        manifest_bytes = self.pieces.layout.manifest_bytes
        return end < manifest_bytes or self.pieces.have.prefix >= min(start, manifest_bytes)

    def verify_journaled(self, index: int, buffer: memoryview) -> bool:
        """Read a journaled piece back; returns whether it has its digest. Raises CastRayError."""
        start, end = self.pieces.layout.piece(index)
        with self._moving_lock:
            view = self._read_back(index, buffer)
            with self.pieces.lock:
                if view is not None:
                    if not self.pieces.has_piece(index):  # it may lie in a file whose hash agreed meanwhile
                        self._count(start, end)
                    self.pieces.add_piece(index, self.pieces.digest(index))
                self.needed.verified_to = end
        if view is None:
            return False
        with self._local_failures():
            self._hash_contents(index, view)
        self.pieces.report_progress()
        return True

    def _read_back(self, index: int, buffer: memoryview) -> Optional[memoryview]:
        """The bytes of a piece, read from the files; None if they do not have its digest."""
        start, end = self.pieces.layout.piece(index)
        view = buffer[: end - start]
        try:
            self.pieces.read_stream(view, start, end)
        except (OSError, EOFError):
            return None
        return view if self.pieces.digest_of(view) == self.pieces.digest(index) else None

    def _count(self, start: int, end: int) -> None:
        low, high = self.pieces.layout.content_range(start, end)
        self.content_bytes += high - low

    # --- pieces

    def is_complete(self) -> bool:
        """Whether every byte of the stream is verified."""
        return self.pieces.have.total == self.pieces.layout.stream_bytes

    def write_piece(self, index: int, digest: bytes, view: memoryview) -> bool:
        """Write a verified piece; returns False if it can't be written yet because the manifest is missing.

        Raises CastRayError if it can't be stored.
        """
        with self._local_failures():
            return self._write_piece(index, digest, view)

    @contextlib.contextmanager
    def _local_failures(self) -> Iterator[None]:
        """Raise an OSError as the failure that it means."""
        try:
            yield
        except OSError as error:
            raise self.local_failure(error) from error

    def local_failure(self, error: OSError) -> CastRayError:
        """What an error of this node's own disk means. It says nothing of the upstream."""
        if isinstance(error, Unreadable):
            return CastRayError(
                FailureKind.READ_BACK_FAILED,
                node=self._context.node,
                path=self._shown_path(error),
                reason=reason_of(error),
            )
        needed = self.pieces.layout.stream_bytes - self.pieces.have.total
        return write_failure(error, self._context.node, self._shown_path(error), needed)

    def _write_piece(self, index: int, digest: bytes, view: memoryview) -> bool:
        start, end = self.pieces.layout.piece(index)
        layout = self.pieces.layout
        if start < layout.manifest_bytes and self.pieces.manifest is None:
            part = view[: layout.manifest_bytes - start]
            self._raw_manifest[start : start + len(part)] = part
        if self.pieces.manifest is None and end >= layout.manifest_bytes:
            if self.pieces.have.prefix < min(start, layout.manifest_bytes):
                return False
            self.pieces.serve_from_memory(index, digest, bytes(view))  # reading a long list takes a while
            self._decode_manifest()
        low, high = layout.content_range(start, end)
        content = view[layout.manifest_bytes + low - start :]
        spans = self.pieces.manifest.spans(low, high) if self.pieces.manifest is not None else []
        assert self.staging is not None
        self.time_breakdown.switch(DISK)
        self._write(spans, content)
        self.time_breakdown.switch(CHECKING)
        if end > layout.trailer_start:
            first = max(start, layout.trailer_start)
            part = view[first - start :]
            self._raw_trailer[first - layout.trailer_start : end - layout.trailer_start] = part
            self.staging.save_trailer(first - layout.trailer_start, part)
        if len(spans) != 1 or high - low != end - start:
            self.pieces.cache_piece(index, bytes(view))
        self._record_written(index, digest)
        if self.hashes is not None:
            self.hashes.add_contents(low, high, spans, content)
        self.pieces.report_progress()
        return True

    def _record_written(self, index: int, digest: bytes) -> None:
        """A piece was written. Raises OSError."""
        assert self.staging is not None
        self.staging.journal.append(index, digest)
        with self.pieces.lock:
            self._count(*self.pieces.layout.piece(index))
            self.pieces.add_piece(index, digest)

    def _hash_contents(self, index: int, view: memoryview) -> None:
        if self.pieces.manifest is None or self.hashes is None:
            return
        start, end = self.pieces.layout.piece(index)
        low, high = self.pieces.layout.content_range(start, end)
        content = view[self.pieces.layout.manifest_bytes + low - start :]
        self.hashes.add_contents(low, high, self.pieces.manifest.spans(low, high), content)

    def _decode_manifest(self) -> None:
        raw = bytes(self._raw_manifest)
        if hashlib.sha256(raw).hexdigest() != self.order.totals.manifest_digest:
            raise DamagedListError("the list of files")
        assert self.staging is not None
        self._use_manifest(raw)
        self.staging.save_manifest(raw)

    def _use_manifest(self, raw: bytes) -> None:
        try:
            manifest = decode_manifest(raw)
        except ValueError as error:
            raise CastRayError(
                FailureKind.INTERNAL, reason=f"the list of files is not valid: {error}"
            ) from error
        layout = self.pieces.layout
        if manifest.content_bytes != layout.content_bytes or len(manifest.files) != self.order.totals.files:
            raise CastRayError(FailureKind.INTERNAL, reason="the list of files does not match the data")
        assert self.staging is not None
        parts = PartFiles(
            self.staging,
            manifest,
            self.pieces.cast,
            self._context.reservations,
            self.order.options.on_conflict,
        )
        self.parts = parts
        self._check_names(manifest, self.staging)
        if self.staging.resumed:
            parts.resume(self.cancellation.check)
        parts.make_folders()
        self._find_existing_files(manifest, parts, self.staging)
        self.hashes = FileHashes(self, manifest, self._new_file_hasher, parts.complete)
        self.hashes.known.update(dict.fromkeys(parts.settled, b""))
        self.pieces.manifest = manifest

    def _check_names(self, manifest: Manifest, staging: Staging) -> None:
        """Raises CastRayError where two are one to the file system: one would get the other's bytes."""
        with name_comparison(staging.folder_fd) as are_one:
            clash = find_clash(manifest, are_one)
        if clash is not None:
            first, second = map(display_name, clash)
            raise CastRayError(FailureKind.NAMES_CLASH, node=self._context.node, path=second, other=first)

    def _write(self, spans: list[FileSpan], view: memoryview) -> None:
        at, in_place = 0, []
        for span in spans:
            part = view[at : at + span.length]
            at += span.length
            if self._is_in_place(span, part):
                in_place.append((span, part))
                continue
            # of a file with holes, what was in place before this part was compared
            for earlier, before in in_place:
                if earlier.file == span.file:
                    self._write_part(earlier, before)
            in_place.clear()
            self._write_part(span, part)

    def _write_part(self, span: FileSpan, view: memoryview) -> None:
        """Write a verified part of a file. Raises CastRayError."""
        assert self.parts is not None
        try:
            self.parts.write(span.file, span.offset, view)
        except OSError as error:
            path = self._final_path(span.file)
            needed = self.order.totals.content_bytes - self.content_bytes  # of all files, not of this one
            raise write_failure(error, self._context.node, path, needed) from error

    # --- existing files

    def _may_have_existing_files(self, destination: bytes) -> bool:
        return self.order.options.on_conflict != "rename" and may_exist(destination, self.order.totals.top)

    def _find_existing_files(self, manifest: Manifest, parts: PartFiles, staging: Staging) -> None:
        """The manifest is known, and no contents were written yet."""
        destination = staging.destination
        if self._may_have_existing_files(destination):
            parts.existing = ExistingFiles(
                manifest, self.pieces.layout, destination, staging.parts, parts.settled, self._comparing
            )
        if self.comparison.set_files(parts.existing, staging.resumed):
            self.needed.has_more = True

    def _comparing(self) -> None:
        self.cancellation.check()
        self.pieces.report_progress()

    def add_source_hashes(self, first: int, hashes: list[bytes]) -> None:
        """Add file hashes from the upstream; empty if none is known. Raises ProtocolError."""
        assert self.pieces.manifest is not None
        if not self.comparison.add_hashes(first, hashes, len(self.pieces.manifest.files)):
            return
        self.pieces.notify_waiting()
        with self._local_failures():
            self._add_files_with_same_hash()

    def _add_files_with_same_hash(self) -> None:
        """Existing files with the right hash are complete; their pieces get digests on request."""
        existing, hashes = self.comparison.files, self.comparison.known_hashes
        assert existing is not None
        assert hashes is not None
        assert self.hashes is not None
        same, pieces = existing.compare_hashes(hashes, self._context.hash_cache, self.order.algorithms.file)
        self.hashes.known.update((file, hashes[file]) for file in same)
        with self.pieces.lock:
            for start, end in pieces:
                for gap in self.pieces.add_undigested(start, end):
                    self._count(*gap)
            self.comparison.hashes_awaited, self.needed.has_more = False, True
        self.pieces.notify_waiting()
        self.pieces.report_progress()

    def use_existing_piece(self, index: int, digest: bytes, buffer: memoryview) -> bool:
        """Accept the piece if existing files have these bytes; returns whether they do.

        Raises CastRayError.
        """
        existing = self.comparison.files
        if existing is None or not existing.cover(self.pieces.spans_of(index)):
            return False
        with self.pieces.lock:
            self.pieces.record_digest(index, digest)
        view = self._read_back(index, buffer)
        if view is None:
            return False
        with self._local_failures():
            self._record_written(index, digest)
            self._hash_contents(index, view)
        self.pieces.report_progress()
        return True

    def may_reuse(self, start: int, end: int) -> bool:
        """Whether existing files may have some of these bytes of the stream."""
        existing = self.comparison.files
        if existing is None or self.pieces.manifest is None:
            return False
        spans = self.pieces.manifest.spans(*self.pieces.layout.content_range(start, end))
        return any(span.file in existing for span in spans)

    def _is_in_place(self, span: FileSpan, view: memoryview) -> bool:
        """Whether an existing file has these bytes; otherwise it counts as different from now on."""
        existing = self.comparison.files
        if existing is None or self.parts is None or span.file not in existing:
            return False
        if existing.has_same_hash(span.file):  # changes since then are detected at commit
            return True
        mine = page_buffer(span.length)
        try:
            self.read_file(span.file, span.offset, mine)
            if mine == view:
                return True
        except (OSError, EOFError):
            pass
        with self._moving_lock:
            self._copy_matching_parts(span.file, existing)
            existing.mark_different(span.file)
        self.pieces.open_files.forget(span.file)
        return False

    def _copy_matching_parts(self, file: int, existing: ExistingFiles) -> None:
        """Copy the matching parts of an existing file into the part file."""
        assert self.pieces.manifest is not None
        assert self.parts is not None
        first, last = (self.pieces.layout.manifest_bytes + at for at in self.pieces.manifest.file_range(file))
        with self.pieces.lock:
            had = [
                (max(low, first), min(high, last))
                for low, high in self.pieces.have
                if low < last and high > first
            ]
        for low, high in had:
            for at in range(low, high, COPY_BYTES):
                for span in self.pieces.manifest.spans(
                    *self.pieces.layout.content_range(at, min(at + COPY_BYTES, high))
                ):
                    view = page_buffer(span.length)
                    self.read_file(file, span.offset, view)
                    self.parts.write(file, span.offset, view)
        if not existing.is_unchanged(file):
            raise OSError(errno.ESTALE, CHANGED_WHILE_COMPARED, os.fsdecode(existing.path(file)))

    # --- naming things

    def path_of_piece(self, index: int) -> str:
        """The file of a piece, for messages."""
        if self.pieces.manifest is not None:
            spans = self.pieces.spans_of(index)
            if spans:
                return display_name(self.pieces.manifest.files[spans[0].file].path)
        return "the list of files"

    def _shown_path(self, error: OSError) -> str:
        """The path to show in a failure: the final path rather than the staging path."""
        name = error.filename
        if name is None or self.staging is None:
            return display_name(self._destination())
        raw = os.fsencode(name)
        if not os.path.isabs(raw):  # below an open folder: that of the parts
            return display_name(self.staging.destination + b"/" + raw)
        parts = self.staging.parts + b"/"
        return display_name(
            self.staging.destination + b"/" + raw[len(parts) :] if raw.startswith(parts) else raw
        )

    def paths_to_watch(self) -> tuple[bytes, ...]:
        """Where it writes."""
        return (os.path.expanduser(self._destination()),)

    def _destination(self) -> bytes:
        given = self.order.options.destination.replace("{node}", node_file_name(self._context.node))
        return os.fsencode(given or self._context.inbox)

    def _final_path(self, file: int) -> bytes:
        assert self.pieces.manifest is not None
        return self._destination() + b"/" + self.pieces.manifest.files[file].path

    # --- serving

    def known_hashes(self) -> Optional[list[bytes]]:
        return self.comparison.known_hashes

    def can_digest(self, index: int) -> bool:
        return False

    def check_unchanged(self, index: int) -> None:
        existing = self.comparison.files
        for span in self.pieces.spans_of(index):
            if existing is None or not existing.is_unchanged(span.file):
                raise Spoilt(index, f"its copy on {self._context.node} has changed")

    def can_open(self, file: int) -> bool:
        return True

    def end(self, reason: str) -> None:
        """Stop serving, and close the files."""
        self.pieces.end(reason)
        if self.parts is not None:
            self.parts.close()

    def open_for_reading(self, file: int) -> int:
        assert self.parts is not None
        return self.parts.open(file)

    def read_file(self, file: int, offset: int, view: memoryview) -> None:
        """Raises Unreadable, which names the file."""
        try:
            with self.pieces.open_files.borrow(file) as fd:
                read_fully(fd, offset, view)
        except (OSError, EOFError) as error:
            if self.pieces.gone_reason:  # its files were closed
                raise
            number, reason = errno.EIO, str(error)
            if isinstance(error, OSError):
                number, reason = error.errno or errno.EIO, reason_of(error)
            raise Unreadable(number, reason, os.fsdecode(self._final_path(file))) from error

    def reread_piece(self, index: int) -> RereadPiece:
        """Read a piece again that arrived damaged downstream, if it is still right here."""
        try:
            payload = self.pieces.piece_bytes(index)
        except (OSError, EOFError):
            self._prevent_commit(index)
            raise
        if self.pieces.digest_of(payload) != self.pieces.digest(index):
            self._prevent_commit(index)
            raise Spoilt(index, f"its copy on {self._context.node} has been damaged")
        return RereadPiece(payload, self.pieces.digest(index), False)

    def _prevent_commit(self, index: int) -> None:
        """A piece reads back wrong: fail, unless its file is committed and so the user's."""
        parts, manifest = self.parts, self.pieces.manifest
        if parts is None or manifest is None:
            return
        for span in self.pieces.spans_of(index):
            path = manifest.files[span.file].path
            if not parts.is_existing(span.file) and not parts.is_committed(path):
                where = os.fsdecode(self._final_path(span.file))
                error = Unreadable(errno.EIO, "it is not what was written", where)
                self.cancellation.fail(self.local_failure(error))
                return
