"""A receive store that compares existing files at the destination first, so that they are not sent."""

from __future__ import annotations

import errno
import os
from typing import Optional

from castray_desktop.core.content.manifest import FileSpan, Manifest
from castray_desktop.core.protocol.nodes.agent_protocol import StartDelivery
from castray_desktop.core.protocol.nodes.peer_frames import ProtocolError
from castray_desktop.workers.agent.transfer.node_context import NodeContext
from castray_desktop.workers.agent.transfer.store.cancellation import CancellationToken
from castray_desktop.workers.agent.transfer.store.existing_files import (
    CHANGED_WHILE_COMPARED,
    ExistingFiles,
    files_with_same_hash,
    may_exist,
)
from castray_desktop.workers.agent.transfer.store.part_files import PartFiles
from castray_desktop.workers.agent.transfer.store.piece_store import NotifyChanged, Spoilt
from castray_desktop.workers.agent.transfer.store.receive_store import ReceiveStore
from castray_desktop.workers.agent.transfer.system.file_io import page_buffer

COPY_BYTES = 1 << 20


class ComparedStore(ReceiveStore):
    """A store that compares existing files at the destination first."""

    def __init__(
        self,
        order: StartDelivery,
        context: NodeContext,
        changed: NotifyChanged,
        cancellation: CancellationToken,
    ) -> None:
        super().__init__(order, context, changed, cancellation)
        self._twins: Optional[ExistingFiles] = None
        self._await_manifest = False  # until it is there, it is unknown what need not be sent
        self.hashes_awaited = False  # nor which of these files have the right hash
        self._coming_hashes: list[bytes] = []
        self._known_hashes: Optional[list[bytes]] = None  # None: requests for them have to wait
        self._undigested = bytearray()  # pieces without a digest yet, by number

    def open(self) -> None:
        super().open()
        assert self.staging is not None
        if self.manifest is None and self.order.on_conflict != "rename":
            self._await_manifest = may_exist(self.staging.destination, self.order.totals.top)

    def _known_to(self) -> int:
        layout = self.layout
        if self._await_manifest or self.hashes_awaited:
            return layout.manifest_bytes
        return layout.stream_bytes

    def _look_around(self, manifest: Manifest, parts: PartFiles) -> None:
        assert self.staging is not None
        destination = self.staging.destination
        if self.order.on_conflict != "rename" and may_exist(destination, self.order.totals.top):
            self._twins = parts.existing = ExistingFiles(
                manifest, self.layout, destination, self.staging.parts, parts.settled, self._comparing
            )
        wanted = self._await_manifest or self.staging.resumed
        self.hashes_awaited = wanted and self._twins is not None and self._twins.pieces.total > 0
        if not self.hashes_awaited:
            self._known_hashes = []
            self.has_new_wanted = self.has_new_wanted or self._await_manifest
        self._await_manifest = False

    def _wants(self, start: int, end: int) -> bool:
        """Request only the manifest until existing files have been compared; then not what may be
        the same.
        """
        twins = self._twins
        if end > self._known_to() or (twins is not None and twins.pieces.contains(start, end)):
            return False
        return super()._wants(start, end)

    def next_needed(self, index: int) -> int:
        while True:
            further = super().next_needed(index)
            if self._twins is not None and further < self.layout.pieces:
                start, _ = self.layout.piece(further)
                further = self.layout.piece_from(self._twins.pieces.available_from(start))
            if further == index:
                return index
            index = further

    def add_source_hashes(self, first: int, hashes: list[bytes]) -> None:
        """Add file hashes from the upstream; empty if none is known. Raises ProtocolError."""
        assert self.manifest is not None
        files = len(self.manifest.files)
        if first == 0:
            self._coming_hashes = []
        if not self.hashes_awaited or first != len(self._coming_hashes) or first + len(hashes) > files:
            raise ProtocolError("hashes that nobody asked for")
        self._coming_hashes += hashes
        if not hashes or len(self._coming_hashes) == files:
            self._known_hashes = self._coming_hashes
            self.notify_waiting()
            try:
                self._agree_by_hash(self._coming_hashes)
            except OSError as error:
                raise self.local_failure(error) from error

    def _agree_by_hash(self, hashes: list[bytes]) -> None:
        """Existing files with the right hash are complete; their pieces get digests on request."""
        assert self._twins is not None
        assert self.hashes is not None
        algorithm = self.order.algorithms.file
        cache, hasher = self._place.hash_cache, self._new_file_hasher
        agreed = files_with_same_hash(self._twins, hashes, cache, algorithm, hasher, self._comparing)
        self.hashes.set_known({file: hashes[file] for file in agreed})
        pieces = self._twins.mark_same_hash(self.layout, agreed)
        with self.lock:
            self._undigested = self._undigested or bytearray(self.layout.pieces)
            for start, end in pieces:
                for gap in self.have.missing(start, end):
                    self._count(*gap)
                    undigested = self.layout.pieces_of(*gap)
                    self._undigested[undigested.start : undigested.stop] = b"\1" * len(undigested)
                self.have.add(start, end)
            self.hashes_awaited, self.has_new_wanted = False, True
        self.notify_waiting()
        self.report_progress()

    def _note_settled(self, first: int, after: int) -> None:
        super()._note_settled(first, after)
        self._undigested = self._undigested or bytearray(self.layout.pieces)
        for index in range(first, after):
            self._undigested[index] = not self._known[index]

    def _comparing(self) -> None:
        self.cancellation.check()
        self.report_progress()

    def known_hashes(self) -> Optional[list[bytes]]:
        return self._known_hashes

    def is_ready(self, index: int) -> bool:
        return super().is_ready(index) and not self.can_digest(index)

    def can_digest(self, index: int) -> bool:
        return bool(self._undigested) and self._undigested[index] == 1

    def _digest(self, index: int) -> None:
        assert self.manifest is not None
        payload = self.piece_bytes(index)
        hasher = self.new_piece_hasher()
        hasher.update(payload)
        for span in self.manifest.spans(*self.layout.content_range(*self.layout.piece(index))):
            if self._twins is None or not self._twins.is_unchanged(span.file):
                raise Spoilt(index, f"its copy on {self._place.node} has changed")
        with self.lock:
            self._note_digest(index, hasher.digest())
            self._undigested[index] = 0

    def split_by_existing(self, start: int, end: int) -> list[tuple[int, int, bool]]:
        """Split a needed range by whether digests suffice for now."""
        if self._twins is None:
            return [(start, end, False)]
        found, at = [], start
        for low, high in [*self._twins.pieces.missing(start, end), (end, end)]:
            if at < low:
                found.append((at, low, True))
            if low < high:
                found.append((low, high, False))
            at = high
        return found

    def use_existing_piece(self, index: int, digest: bytes, buffer: memoryview) -> bool:
        """Accept the piece if existing files have these bytes; returns whether they do.

        Raises CastRayError.
        """
        start, end = self.layout.piece(index)
        view = buffer[: end - start]
        if self._twins is None or self.manifest is None:
            return False
        if not self._twins.cover(self.manifest.spans(*self.layout.content_range(start, end))):
            return False
        with self.lock:
            self._note_digest(index, digest)
        if not self._reads_as(index, start, end, view):
            return False
        low, high = self.layout.content_range(start, end)
        self._note_placed(index, digest, high - low)
        self._feed(start, end, view)
        self.report_progress()
        return True

    def _stands(self, span: FileSpan, view: memoryview) -> bool:
        """Whether the existing file has these bytes; otherwise it counts as different from now on."""
        twins, parts = self._twins, self.parts
        if twins is None or parts is None or span.file not in twins:
            return False
        if twins.has_same_hash(span.file):  # changes since then are detected at commit
            return True
        mine = page_buffer(span.length)
        try:
            self._read_file(span.file, span.offset, mine)
            if mine == view:
                return True
        except (OSError, EOFError):
            pass
        with self._moving_lock:
            self._copy_what_agreed(span.file)
            twins.mark_different(span.file)
        self.open_files.forget(span.file)
        return False

    def _copy_what_agreed(self, file: int) -> None:
        """Copy the matching parts of an existing file into the part file."""
        assert self.manifest is not None
        assert self.parts is not None
        first, last = (self.layout.manifest_bytes + at for at in self.manifest.file_range(file))
        with self.lock:
            had = [
                (max(low, first), min(high, last)) for low, high in self.have if low < last and high > first
            ]
        for low, high in had:
            for at in range(low, high, COPY_BYTES):
                for span in self.manifest.spans(*self.layout.content_range(at, min(at + COPY_BYTES, high))):
                    view = page_buffer(span.length)
                    self._read_file(file, span.offset, view)
                    self.parts.write(file, span.offset, view)
        if self._twins is not None and not self._twins.is_unchanged(file):
            raise OSError(errno.ESTALE, CHANGED_WHILE_COMPARED, os.fsdecode(self._twins.path(file)))
