"""The source of a cast: scan, read every byte once, hash it while it is served.

One thread scans; after `serve` one thread reads the pieces in order, no further ahead of the recipients
than the page cache easily holds, and computes piece digests and file hashes. Uploads send what it has
read.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import threading
import time
from collections.abc import Sequence
from typing import Optional

from castray_desktop.core.content.manifest import (
    FileSpan,
    FileStatus,
    ManifestEntry,
    encode_trailer,
)
from castray_desktop.core.content.stream_layout import StreamLayout
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.multicast.datagrams import DatagramKeys
from castray_desktop.core.protocol.nodes.agent_protocol import (
    Algorithms,
    ParcelTotals,
    PrepareSource,
    SendToGroup,
    ServeSource,
    SourceReport,
    SourceState,
)
from castray_desktop.workers.agent.transfer.multicast.multicast_sender import MulticastSender
from castray_desktop.workers.agent.transfer.source.scan_cache import ScanPaths
from castray_desktop.workers.agent.transfer.source.scanner import MAX_PROBLEMS, ScanResult
from castray_desktop.workers.agent.transfer.source.source_files import ScannedFiles, SourceFiles
from castray_desktop.workers.agent.transfer.store.hash_cache import HashCache
from castray_desktop.workers.agent.transfer.store.piece_store import (
    RECENT_BYTES,
    NotifyChanged,
    PieceStore,
    RereadPiece,
    read_some,
)
from castray_desktop.workers.agent.transfer.system.digests import Hasher, expander, file_hasher, piece_hasher
from castray_desktop.workers.agent.transfer.system.file_io import CHUNK_BYTES, hash_zeros, page_buffer
from castray_desktop.workers.agent.transfer.system.os_failures import reason_of
from castray_desktop.workers.agent.transfer.system.time_breakdown import (
    CHECKING,
    DISK,
    WAITING,
    TimeBreakdown,
)

_NO_CONTENTS = ("st_mode", "st_nlink", "st_uid", "st_gid")

NO_TRUE_SIZE = "it does not end where its size says"


class SourceReader:
    """Reads the stream in order. One file is open at a time, with its hasher."""

    def __init__(self, source: CastSource) -> None:
        assert source.pieces.manifest is not None
        self._source = source
        self._files = source.files
        self._manifest = source.pieces.manifest
        self._layout = source.pieces.layout
        self._chunk = page_buffer(min(CHUNK_BYTES, source.pieces.layout.piece_bytes))
        self._next_file = 0
        self._fd = -1
        self._hasher: Hasher = source.new_file_hasher()
        self._hashed = 0  # of that file, holes included
        self._beyond = bytearray(1)  # for what is there after the end of a file
        self._skipped = False  # a part of the file was not read, since its hash is known
        self._opened: Optional[os.stat_result] = None  # how that file looked then
        self._short = False  # it has ended before its size

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read_piece(self, index: int) -> None:
        source, layout = self._source, self._layout
        start, end = layout.piece(index)
        spans = self._manifest.spans(*layout.content_range(start, end))
        if self._comes_after_hole(spans) and end <= layout.trailer_start:
            source.make_ready(index)  # recipients hash the hole while it is hashed here
        hasher = (
            None if source.pieces.has_piece(index) else source.pieces.new_piece_hasher()
        )  # had: it was asked for before
        if len(spans) == 1 and spans[0].length == end - start:
            self._read_span(spans[0], hasher, None)
            if hasher is not None:
                source.pieces.add_piece(index, hasher.digest())
            return
        payload = bytearray(end - start)
        self._assemble(memoryview(payload), start, end, spans)
        if hasher is not None:
            self._source.time_breakdown.switch(CHECKING)
            hasher.update(payload)
            source.pieces.cache_piece(index, bytes(payload))
            source.pieces.add_piece(index, hasher.digest())

    def _comes_after_hole(self, spans: list[FileSpan]) -> bool:
        return self._manifest.has_holes(spans) and (len(spans) > 1 or spans[0].offset != self._hashed)

    def skip_piece(self, index: int) -> None:
        """No node needs its bytes, and its files' hashes are known: check the files only."""
        for span in self._manifest.spans(*self._layout.content_range(*self._layout.piece(index))):
            if self._manifest.is_first(span):
                self._open_up_to(span.file)
            self._skipped = True
            if self._manifest.is_last(span):
                self._finish(span.file)

    def _assemble(self, view: memoryview, start: int, end: int, spans: list[FileSpan]) -> None:
        layout = self._layout
        if start < layout.manifest_bytes:
            part = self._source.manifest_bytes()[start:end]
            view[: len(part)] = part
        at = max(layout.manifest_bytes - start, 0)
        self._source.time_breakdown.switch(DISK)
        for span in spans:
            into = view[at : at + span.length]
            if span.length != self._manifest.files[span.file].size or not self._read_whole(span.file, into):
                self._read_span(span, None, into)
            at += span.length
        if end >= layout.trailer_start:
            if not self._source.sealed:
                self.seal()
            first = max(start, layout.trailer_start)
            part = self._source.trailer_bytes()[first - layout.trailer_start : end - layout.trailer_start]
            view[first - start : first - start + len(part)] = part

    def _read_whole(self, file: int, view: memoryview) -> bool:
        """Read a small file at once. Returns False if it has changed: then it is read again, and the reason
        reported."""
        source = self._source
        if self._next_file < file:
            self._open_up_to(file - 1)
        try:
            fd = self._files.open(file)
            try:
                count = os.preadv(fd, [view, self._beyond], 0)
                unchanged = self._files.unchanged(file, fd)
            finally:
                os.close(fd)
        except OSError:
            return False
        if count != len(view) or not unchanged:
            return False
        self.close()
        self._next_file = file + 1
        hasher = source.new_file_hasher()
        hasher.update(view)
        self._files.record_result(file, FileStatus.OK, hasher.digest())
        return True

    def _read_span(self, span: FileSpan, hasher: Optional[Hasher], into: Optional[memoryview]) -> None:
        if self._manifest.is_first(span):
            self._open_up_to(span.file)
        self._hash_hole(span.offset)
        at = 0
        while at < span.length:
            length = min(span.length - at, len(self._chunk))
            view = into[at : at + length] if into is not None else self._chunk[:length]
            self._read(span.file, span.offset + at, view)
            if hasher is not None:
                hasher.update(view)
            at += length
        if self._manifest.is_last(span):
            self._finish(span.file)

    def _hash_hole(self, end: int) -> None:
        """Hash zeros up to `end`."""
        if end > self._hashed and self._fd >= 0 and not self._skipped:
            self._source.pieces.notify_waiting()
            self._source.time_breakdown.switch(CHECKING)
            hash_zeros(self._hasher, end - self._hashed, self._source.check_end)
        self._hashed = end

    def _read(self, file: int, offset: int, view: memoryview) -> None:
        count = 0
        self._source.time_breakdown.switch(DISK)
        if self._fd >= 0:
            try:
                count = read_some(self._fd, offset, view)
            except OSError as error:
                self._files.record_result(file, FileStatus.READ_ERROR, reason=reason_of(error))
                self.close()
        if count < len(view):
            self._short = True
            view[count:] = bytes(len(view) - count)
        self._source.time_breakdown.switch(CHECKING)
        self._hasher.update(view)
        self._hashed = offset + len(view)

    def _open_up_to(self, file: int) -> None:
        """Open the file; unread files before it have no bytes, and are only checked."""
        while self._next_file <= file:
            current = self._next_file
            self._next_file += 1
            self.close()
            self._hasher, self._hashed = self._source.new_file_hasher(), 0
            self._skipped = self._short = False
            self._open(current)
            if not self._manifest.has_bytes(current):
                self._finish(current)

    def _open(self, file: int) -> None:
        try:
            self._fd, self._opened = self._files.open_scanned(file)
        except FileNotFoundError:
            self._files.record_result(file, FileStatus.VANISHED)
        except PermissionError:
            self._files.record_result(file, FileStatus.NOT_READABLE)
        except OSError as error:
            if error.errno in (errno.ESTALE, errno.ELOOP, errno.ENXIO):
                self._files.record_result(file, FileStatus.CHANGED)
            else:
                self._files.record_result(file, FileStatus.READ_ERROR, reason=reason_of(error))

    def _finish(self, file: int) -> None:
        self._hash_hole(self._size(file))
        if self._fd >= 0:
            try:
                self._settle(file)
            except OSError as error:
                self._files.record_result(file, FileStatus.READ_ERROR, reason=reason_of(error))
        self.close()

    def _settle(self, file: int) -> None:
        """All of it was read, or none had to be. Raises OSError."""
        if self._skipped:
            good, hash_ = self._files.unchanged(file, self._fd), self._files.scanned.hash_of(file)
            self._files.record_result(file, FileStatus.OK if good else FileStatus.CHANGED, hash_)
            return
        hash_ = self._hasher.digest()
        found = self._files.look(file, self._fd)
        if found is not None and (self._short or os.preadv(self._fd, [self._beyond], self._size(file))):
            self._files.record_result(file, FileStatus.READ_ERROR, reason=NO_TRUE_SIZE)
        elif found is not None and self._has_what_was_read(file, hash_, found):
            self._files.record_result(file, FileStatus.OK, hash_)
        else:
            self._files.record_result(file, FileStatus.CHANGED, hash_)

    def _size(self, file: int) -> int:
        return self._manifest.files[file].size

    def _has_what_was_read(self, file: int, hash_: bytes, found: os.stat_result) -> bool:
        """Whether nobody has written to the file since it was opened.

        A write shows in its ctime even where the writer restores the time stamp. So does a change of mode,
        owner or number of names: then the bytes are read once more.
        """
        opened = self._opened
        if opened is None or found.st_ctime_ns == opened.st_ctime_ns:
            return True
        if all(getattr(found, name) == getattr(opened, name) for name in _NO_CONTENTS):
            return False
        hasher, at = self._source.new_file_hasher(), 0
        while at < self._size(file):
            self._source.check_end()
            view = self._chunk[: self._size(file) - at]
            count = read_some(self._fd, at, view)
            if not count:
                return False
            hasher.update(view[:count])
            at += count
        after = self._files.look(file, self._fd)
        return hasher.digest() == hash_ and after is not None and after.st_ctime_ns == found.st_ctime_ns

    def seal(self) -> None:
        """All contents were read: check the remaining files without bytes, then seal the trailer."""
        if self._manifest.files:
            self._open_up_to(len(self._manifest.files) - 1)
        self._source.finish_trailer()


log = logging.getLogger("castray.byte_plane")

READ_AHEAD_BYTES = 64 << 20

SCAN_REPORT_SECONDS = 0.25

NEAR_BYTES = 16 << 20

S = SourceState

SOURCE_TRANSITIONS: dict[SourceState, tuple[SourceState, ...]] = {
    S.SCANNING: (S.PREPARED, S.FAILED, S.CANCELLED),
    S.PREPARED: (S.SERVING, S.FAILED, S.CANCELLED),
    S.SERVING: (S.SEALED, S.FAILED, S.CANCELLED),
    S.SEALED: (S.FAILED, S.CANCELLED),
    S.FAILED: (),
    S.CANCELLED: (),
}


class _SourceEndedError(Exception):
    """The cast was cancelled while this thread worked for it."""


class CastSource:
    """The sending side of one cast."""

    early_seconds = 0.08
    """Waking up for each digest is expensive on every node. Reading is further ahead of the datagrams than
    that, wherever these are fast."""

    def __init__(
        self, order: PrepareSource, changed: NotifyChanged, cache: HashCache, scan_paths: ScanPaths
    ) -> None:
        self.pieces = PieceStore(order.cast, changed, self, self.early_seconds)
        self.secret = b""
        self.state = S.SCANNING
        self._order = order
        self._scan_paths = scan_paths
        self._scan = ScanResult()
        self._raw_manifest = b""
        self._raw_trailer = b""
        self._totals: Optional[ParcelTotals] = None
        self._failure: Optional[Failure] = None
        self._trailer_digest = ""
        self._scanned = (0, 0)
        self._last_scan_report = 0.0
        self._cache = cache
        self.files = self._files_of((), "")
        self._finding = False
        self.time_breakdown = TimeBreakdown()  # of the thread that reads
        self._reading = 0  # the piece that the in-order reader is at
        self._threads: list[threading.Thread] = []
        self._sender: Optional[MulticastSender] = None

    # --- orders

    def prepare(self) -> None:
        """Scan, in a thread."""
        self._start(self._prepare)

    def serve(self, order: ServeSource) -> None:
        """Read and hash, in a thread; from now on peers that know the secret may fetch."""
        with self.pieces.lock:
            if self.state is not S.PREPARED or self.pieces.manifest is None or self._totals is None:
                return
            try:
                self._use(order.algorithms, self._totals)
                self.secret = bytes.fromhex(order.secret)
            except ValueError as error:
                self._fail(Failure(FailureKind.INTERNAL, {"reason": str(error)}))
                return
            self.pieces.limiter.set_limit(order.options.limit)
            self.files = self._files_of(self.pieces.manifest.files, order.algorithms.file)
        self._go(S.SERVING)
        self._start(self._read_all)

    def read_to_end(self) -> None:
        """Read on, however little the recipients ask for."""
        with self.pieces.lock:
            self.pieces.demand = self.pieces.layout.pieces
            self.pieces.notify_waiting()

    def multicast(self, order: SendToGroup, own: str, ports: Optional[tuple[int, int]]) -> None:
        """Send the stream to a group as well, or stop that.

        `own` is this node's address, `ports` the reachable ones, None for all.
        """
        with self.pieces.lock:
            if self.state not in (S.SERVING, S.SEALED):
                return
            sender = self._sender
            if order.group is None:
                if sender is not None:
                    sender.stop()
                return
            if sender is not None and sender.active:
                sender.update(order)
                return
            keys = DatagramKeys(self.secret, self.pieces.cast, self._expand)
            self._sender = MulticastSender(self.pieces, order, own, ports, keys)
            self._sender.start()

    def _files_of(self, files: Sequence[ManifestEntry], algorithm: str) -> SourceFiles:
        known = ScannedFiles(self._scan, files, self._cache, algorithm)
        return SourceFiles(self._scan, files, known, self.pieces.report_progress)

    def _use(self, algorithms: Algorithms, totals: ParcelTotals) -> None:
        self.pieces.new_piece_hasher = piece_hasher(algorithms.piece)
        self.new_file_hasher = file_hasher(algorithms.file)
        self._expand = expander(algorithms.file)
        sizes = (totals.manifest_bytes, totals.content_bytes, totals.trailer_bytes)
        self.pieces.lay_out(StreamLayout(*sizes, algorithms.piece_bytes))

    def cancel(self) -> None:
        """Cancel it; the threads notice at once."""
        self._go(S.CANCELLED)
        self.pieces.end("the cast was cancelled")

    def check_end(self) -> None:
        """Raises in the calling thread if the cast is over."""
        if self.pieces.gone_reason:
            raise _SourceEndedError

    def join(self, seconds: float) -> None:
        for thread in self._threads:
            thread.join(seconds)
        if self._sender is not None:
            self._sender.join(seconds)

    def report(self) -> SourceReport:
        with self.pieces.lock:
            problems, problem_count = self.files.problems()
            return SourceReport(
                cast=self.pieces.cast,
                state=self.state,
                scanned_files=self._scanned[0],
                scanned_bytes=self._scanned[1],
                totals=self._totals,
                sent_bytes=self.pieces.sent_bytes,
                sent_lists=self.pieces.sent_lists,
                trailer_digest=self._trailer_digest,
                problems=(*self._scan.problems, *problems)[:MAX_PROBLEMS],
                problem_count=self._scan.problem_count + problem_count,
                failure=self._failure,
                checking=self.time_breakdown.seconds(CHECKING),
                reading=self.time_breakdown.seconds(DISK),
                multicast=self._sender.report() if self._sender is not None else None,
            )

    def _start(self, work: object) -> None:
        assert callable(work)
        thread = threading.Thread(
            target=self._guarded, args=(work,), name=f"castray-source-{self.pieces.cast}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _guarded(self, work: object) -> None:
        assert callable(work)
        try:
            work()
        except _SourceEndedError:
            return
        except CastRayError as error:
            self._fail(error.failure)
        except Exception as error:
            log.exception("the source of cast %s failed", self.pieces.cast)
            self._fail(Failure(FailureKind.INTERNAL, {"reason": f"{type(error).__name__}: {error}"}))

    def _fail(self, failure: Failure) -> None:
        with self.pieces.lock:
            self._failure = failure
        self._go(S.FAILED)
        self.pieces.end("the source failed")

    def _go(self, state: SourceState) -> None:
        if self._enter(state):
            self.pieces.report_state()

    def _enter(self, state: SourceState) -> bool:
        """Change the state; returns whether it changed. Somebody is to be told."""
        with self.pieces.lock:
            if state not in SOURCE_TRANSITIONS[self.state]:
                return False
            self.state = state
            return True

    # --- scanning

    def _prepare(self) -> None:
        self.pieces.report_state()
        order = self._order
        scan = self._scan_paths(order.paths, order.options.links, order.options.exclude, self._scanning)
        totals = scan.totals
        with self.pieces.lock:
            self._scan, self.pieces.manifest, self._raw_manifest = scan, scan.manifest, scan.raw_manifest
            self._scanned = (scan.files, scan.size)
            self._totals = totals
        self._go(S.PREPARED)

    def _scanning(self, scan: ScanResult) -> None:
        self.check_end()
        now = time.monotonic()
        if now - self._last_scan_report >= SCAN_REPORT_SECONDS:
            self._last_scan_report = now
            self._scanned = (scan.files, scan.size)
            self.pieces.report_now()

    # --- reading

    def _read_all(self) -> None:
        reader = SourceReader(self)
        try:
            for index in range(self.pieces.layout.pieces):
                self._await_demand(index)
                self._reading = index
                if self._may_skip(index):
                    reader.skip_piece(index)
                else:
                    reader.read_piece(index)
            self._reading = self.pieces.layout.pieces
            if not self._trailer_digest:
                reader.seal()
        finally:
            self.time_breakdown.switch(WAITING)
            reader.close()

    def _may_skip(self, index: int) -> bool:
        """Whether it was not requested, and the hashes of its files are known."""
        start, end = self.pieces.layout.piece(index)
        known = self.files.scanned.hashes
        if not known or start < self.pieces.layout.manifest_bytes or end > self.pieces.layout.trailer_start:
            return False
        with self.pieces.lock:
            if self.pieces.requested.contains(index, index + 1) and not self.pieces.have.contains(start, end):
                return False
        return all(known[span.file] for span in self.pieces.spans_of(index))

    def _await_demand(self, index: int) -> None:
        lead = READ_AHEAD_BYTES // self.pieces.layout.piece_bytes
        if self.pieces.within_file(index) is None:
            # these wait in memory for their upload
            lead = max(min(lead, RECENT_BYTES // self.pieces.layout.piece_bytes - 2), 1)
        with self.pieces.lock:
            self.time_breakdown.switch(WAITING)
            if index > self.pieces.demand + lead:
                # one wake-up per piece is slow for both sides
                self.pieces.demand_awaited = index - lead * 3 // 4
                self.pieces.notify_waiting()
            while not self.pieces.gone_reason and index > self.pieces.demand + lead:
                self.pieces.condition.wait()
            self.check_end()

    def finish_trailer(self) -> None:
        """All files were read: make the trailer."""
        with self.pieces.lock:  # a report has the state and the digest, or neither
            self._raw_trailer = encode_trailer(self.files.results())
            self._trailer_digest = hashlib.sha256(self._raw_trailer).hexdigest()
            sealed = self._enter(S.SEALED)
        if sealed:
            self.pieces.report_state()

    @property
    def sealed(self) -> bool:
        return bool(self._trailer_digest)

    # --- serving

    def manifest_bytes(self) -> bytes:
        return self._raw_manifest

    def trailer_bytes(self) -> bytes:
        return self._raw_trailer

    def open_for_reading(self, file: int) -> int:
        return self.files.open(file)

    def known_hashes(self) -> Optional[Sequence[bytes]]:
        """Looked up on the first request: a cast to empty recipients needs none of it."""
        with self.pieces.lock:
            if self.files.scanned.hashes is None and not self._finding:
                self._finding = True
                self._start(self._find_known)
            return self.files.scanned.hashes

    def _find_known(self) -> None:
        self.files.scanned.find_hashes()
        self.pieces.notify_waiting()

    def save_hashes(self) -> None:
        """Save the hashes of read files. After the cast."""
        if self.sealed:
            self.files.save_hashes()

    def read_file(self, file: int, offset: int, view: memoryview) -> None:
        """Read as much as there is; zeros if the file has become shorter or unreadable."""
        count = 0
        if self.files.is_readable(file):
            try:
                with self.pieces.borrow_file(file) as fd:
                    count = read_some(fd, offset, view)
            except OSError:
                count = 0
        view[count:] = bytes(len(view) - count)

    def can_open(self, file: int) -> bool:
        """A file that can't be opened any more is assembled from zeros."""
        if not self.files.is_readable(file):
            return False
        try:
            with self.pieces.borrow_file(file):
                return True
        except OSError:
            return False

    def check_unchanged(self, index: int) -> None:
        """The reader in order notices changes."""

    def can_digest(self, index: int) -> bool:
        """Pieces that the reader has skipped, or that are far from it, are read on request.

        So a request in the middle, after a restart of this agent, does not wait for the whole beginning.
        """
        near = max(NEAR_BYTES // self.pieces.layout.piece_bytes, 1)
        skipped_or_far = index < self._reading or index > self._reading + near
        return skipped_or_far and self.pieces.layout.piece(index)[1] <= self.pieces.layout.trailer_start

    def make_ready(self, index: int) -> None:
        """Make a piece available before the in-order reader reaches it."""
        if not self.pieces.has_piece(index):
            self.pieces.digest_now(index)
        self.pieces.notify_waiting()

    def reread_piece(self, index: int) -> RereadPiece:
        """Read a damaged piece again; another digest than the first time means a changed file."""
        self.pieces.drop_cached(index)
        payload = self.pieces.piece_bytes(index)
        hasher = self.pieces.new_piece_hasher()
        hasher.update(payload)
        digest = hasher.digest()
        if digest == self.pieces.digest(index):
            return RereadPiece(payload, digest, False)
        self.pieces.add_piece(index, digest)
        if not self.sealed:
            for span in self.pieces.spans_of(index):
                self._mark_if_changed(span.file)
        return RereadPiece(payload, digest, True)

    def _mark_if_changed(self, file: int) -> None:
        try:
            with self.pieces.borrow_file(file) as fd:
                unchanged = self.files.unchanged(file, fd)
        except OSError:
            unchanged = False
        if not unchanged:
            self.files.record_result(file, FileStatus.CHANGED)
