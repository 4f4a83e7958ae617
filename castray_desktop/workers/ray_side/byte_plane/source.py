"""The source of a cast: scans, reads every byte once, hashes while it flows, serves what was read.

One thread scans; after `serve` one reads the pieces in order, no further ahead of the recipients than the
page cache easily holds, and makes the piece digests and the file hashes. The servers send what it has read.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import threading
import time
from typing import Optional

from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.names import display
from castray_desktop.core.parcel import (
    TRAILER_RECORD,
    EntryKind,
    FileResult,
    FileStatus,
    Layout,
    Manifest,
    Span,
    encode,
    encode_trailer,
)
from castray_desktop.workers.ray_side.byte_plane.digests import Hasher, file_hasher, piece_hasher
from castray_desktop.workers.ray_side.byte_plane.failures import file_failure, reason_of, user_name
from castray_desktop.workers.ray_side.byte_plane.scan import MAX_PROBLEMS, Scan, Scanner, Stamp
from castray_desktop.workers.ray_side.byte_plane.supply import (
    RECENT_BYTES,
    Again,
    Changed,
    Gone,
    Supply,
    read_some,
)
from castray_desktop.workers.ray_side.protocol import (
    Algorithms,
    FileProblem,
    ParcelTotals,
    PrepareSource,
    ServeSource,
    SourceReport,
    SourceState,
)

log = logging.getLogger("castray.byte_plane")

LEAD_BYTES = 64 << 20
CHUNK_BYTES = 256 << 10  # stays in a core's cache between reading and hashing
SCAN_REPORT_SECONDS = 0.25

S = SourceState
TRANSITIONS: dict[SourceState, tuple[SourceState, ...]] = {
    S.SCANNING: (S.PREPARED, S.FAILED, S.CANCELLED),
    S.PREPARED: (S.SERVING, S.FAILED, S.CANCELLED),
    S.SERVING: (S.SEALED, S.FAILED, S.CANCELLED),
    S.SEALED: (S.FAILED, S.CANCELLED),
    S.FAILED: (),
    S.CANCELLED: (),
}


class _Ended(Exception):
    """The cast was cancelled while this thread worked for it."""


class Source(Supply):
    """The sending side of one cast."""

    def __init__(self, order: PrepareSource, changed: Changed) -> None:
        super().__init__(order.cast, changed)
        self.secret = b""
        self.state = S.SCANNING
        self._order = order
        self._scan = Scan()
        self._raw_manifest = b""
        self._raw_trailer = b""
        self._totals: Optional[ParcelTotals] = None
        self._failure: Optional[Failure] = None
        self._trailer_digest = ""
        self._results: list[Optional[FileResult]] = []
        self._problems: list[FileProblem] = []
        self._problem_count = 0
        self._scanned = (0, 0)
        self._last_scan_report = 0.0
        self._threads: list[threading.Thread] = []

    # --- orders

    def prepare(self) -> None:
        """Scan, in a thread."""
        self._start(self._prepare)

    def serve(self, order: ServeSource) -> None:
        """Read and hash, in a thread; from now on whoever knows the secret may fetch."""
        with self.condition:
            if self.state is not S.PREPARED or self.manifest is None or self._totals is None:
                return
            try:
                self._use(order.algorithms, self._totals)
                self.secret = bytes.fromhex(order.secret)
            except ValueError as error:
                self._fail(Failure(FailureKind.INTERNAL, {"reason": str(error)}))
                return
            self.limiter.change(order.limit)
            self._results = [None] * len(self.manifest.files)
        self._go(S.SERVING)
        self._start(self._read_all)

    def _use(self, algorithms: Algorithms, totals: ParcelTotals) -> None:
        self._new_piece_hasher = piece_hasher(algorithms.piece)
        self._new_file_hasher = file_hasher(algorithms.file)
        sizes = (totals.manifest_bytes, totals.content_bytes, totals.trailer_bytes)
        self._lay_out(Layout(*sizes, algorithms.piece_bytes))

    def cancel(self) -> None:
        """End it; the threads notice at once."""
        self._go(S.CANCELLED)
        self.end("the cast was cancelled")

    def join(self, seconds: float) -> None:
        for thread in self._threads:
            thread.join(seconds)

    def report(self) -> SourceReport:
        with self.condition:
            return SourceReport(
                cast=self.cast,
                state=self.state,
                scanned_files=self._scanned[0],
                scanned_bytes=self._scanned[1],
                totals=self._totals,
                sent_bytes=self.sent_bytes,
                trailer_digest=self._trailer_digest,
                problems=tuple(self._problems),
                problem_count=self._problem_count,
                failure=self._failure,
            )

    def _start(self, work: object) -> None:
        assert callable(work)
        thread = threading.Thread(
            target=self._guarded, args=(work,), name=f"castray-source-{self.cast}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _guarded(self, work: object) -> None:
        assert callable(work)
        try:
            work()
        except _Ended:
            return
        except CastRayError as error:
            self._fail(error.failure)
        except Exception as error:
            log.exception("the source of cast %s failed", self.cast)
            self._fail(Failure(FailureKind.INTERNAL, {"reason": f"{type(error).__name__}: {error}"}))

    def _fail(self, failure: Failure) -> None:
        with self.condition:
            self._failure = failure
        self._go(S.FAILED)
        self.end("the source failed")

    def _go(self, state: SourceState) -> None:
        with self.condition:
            if state not in TRANSITIONS[self.state]:
                return
            self.state = state
        self.stated()

    # --- scanning

    def _prepare(self) -> None:
        self.stated()
        scan = Scanner(self._order.links, self._order.exclude, self._scanning).run(self._order.paths)
        manifest = Manifest(scan.entries)
        raw = encode(manifest)
        with self.condition:
            self._scan, self.manifest, self._raw_manifest = scan, manifest, raw
            self._scanned = (scan.files, scan.size)
            self._problems, self._problem_count = list(scan.problems), scan.problem_count
            self._totals = ParcelTotals(
                manifest_bytes=len(raw),
                manifest_digest=hashlib.sha256(raw).hexdigest(),
                content_bytes=manifest.content_bytes,
                trailer_bytes=len(manifest.files) * TRAILER_RECORD,
                files=len(manifest.files),
                entries=len(manifest.entries),
                top=tuple(scan.top),
            )
        self._go(S.PREPARED)

    def _scanning(self, scan: Scan) -> None:
        if self.gone:
            raise _Ended
        now = time.monotonic()
        if now - self._last_scan_report >= SCAN_REPORT_SECONDS:
            self._last_scan_report = now
            self._scanned = (scan.files, scan.size)
            self._dirty = True
            self._changed(False)

    # --- reading

    def _read_all(self) -> None:
        reader = _Reader(self)
        try:
            for index in range(self.layout.pieces):
                self._await_demand(index)
                reader.read_piece(index)
            if not self._trailer_digest:
                reader.seal()
        finally:
            reader.close()

    def _await_demand(self, index: int) -> None:
        lead = LEAD_BYTES // self.layout.piece_bytes
        if self.within_file(index) is None:
            # these wait in memory for their server, and must not push each other out
            lead = max(min(lead, RECENT_BYTES // self.layout.piece_bytes - 2), 1)
        with self.condition:
            while not self.gone and index > self.demand + lead:
                self.wake()
                self.condition.wait()
            if self.gone:
                raise _Ended

    def settle(self, file: int, status: FileStatus, hash_: bytes = b"", reason: str = "") -> None:
        """How a file went, once; what was changed while it was sent stays so."""
        with self.condition:
            if self._results[file] is not None and status is FileStatus.OK:
                return
            first = self._results[file] is None or self._results[file].status is FileStatus.OK  # type: ignore[union-attr]
            self._results[file] = FileResult(status, hash_)
            if status is FileStatus.OK or not first:
                return
            path = self.file_path(file)
            self._problem_count += 1
            if len(self._problems) < MAX_PROBLEMS:
                user = user_name() if status is FileStatus.NOT_READABLE else reason
                failure = file_failure(status, self._scan.place(path), user)
                self._problems.append(FileProblem(display(path), failure))
        log.warning("%s: %s %s", display(path), status.name, reason)
        self.progressed()

    def file_path(self, file: int) -> bytes:
        """The file's path in the parcel."""
        assert self.manifest is not None
        return self.manifest.files[file].path

    def seal_with(self) -> None:
        """Every file was read to its end: the trailer is there."""
        with self.condition:
            results = [result or FileResult(FileStatus.OK, b"") for result in self._results]
            self._raw_trailer = encode_trailer(results)
            self._trailer_digest = hashlib.sha256(self._raw_trailer).hexdigest()
        self._go(S.SEALED)

    @property
    def sealed(self) -> bool:
        return bool(self._trailer_digest)

    # --- serving

    def _manifest_bytes(self) -> bytes:
        return self._raw_manifest

    def _trailer_bytes(self) -> bytes:
        return self._raw_trailer

    def _open_for_reading(self, file: int) -> int:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        if self._order.links != "follow":
            flags |= os.O_NOFOLLOW
        return os.open(self._scan.place(self.file_path(file)), flags)

    def open_scanned(self, file: int) -> int:
        """The file, if it is still the one that was scanned. Raises OSError."""
        fd = self._open_for_reading(file)
        if Stamp.of(os.fstat(fd)) != self._scan.stamps[file]:
            os.close(fd)
            raise OSError(errno.ESTALE, "changed")
        return fd

    def unchanged(self, file: int, fd: int) -> bool:
        return Stamp.of(os.fstat(fd)) == self._scan.stamps[file]

    def _read_file(self, file: int, offset: int, view: memoryview) -> None:
        """As much as there is; zeros where the file has become shorter or unreadable."""
        result = self._results[file]
        count = 0
        if result is None or result.status in (FileStatus.OK, FileStatus.CHANGED):
            try:
                with self.borrow(file) as fd:
                    count = read_some(fd, offset, view)
            except OSError:
                count = 0
        view[count:] = bytes(len(view) - count)

    def within_file(self, index: int) -> tuple[int, int] | None:
        """As in `Supply`, but a file that can't be opened any more is put together, from zeros."""
        where = super().within_file(index)
        if where is not None:
            result = self._results[where[0]]
            if result is not None and result.status not in (FileStatus.OK, FileStatus.CHANGED):
                return None
            try:
                with self.borrow(where[0]):
                    return where
            except OSError:
                return None
        return None

    def read_anew(self, index: int) -> Again:
        """Read again what arrived damaged; another digest than the first time means a changed file."""
        if self.gone:
            raise Gone(self.gone)
        start, end = self.layout.piece(index)
        with self.condition:
            self._recent.pop(index, None)
        payload = self.assembled(index)
        hasher = self._new_piece_hasher()
        hasher.update(payload)
        digest = hasher.digest()
        if digest == self.digest(index):
            return Again(payload, digest, False)
        self._add(index, digest)
        if not self.sealed:
            assert self.manifest is not None
            for span in self.manifest.spans(*self.layout.content_part(start, end)):
                self._mark_if_changed(span)
        return Again(payload, digest, True)

    def _mark_if_changed(self, span: Span) -> None:
        try:
            with self.borrow(span.file) as fd:
                unchanged = self.unchanged(span.file, fd)
        except OSError:
            unchanged = False
        if not unchanged:
            self.settle(span.file, FileStatus.CHANGED)


class _Reader:
    """Reads the stream in order. One file is open at a time, with the hasher that has seen all of it."""

    def __init__(self, source: Source) -> None:
        assert source.manifest is not None
        self._source = source
        self._manifest = source.manifest
        self._layout = source.layout
        self._chunk = memoryview(bytearray(min(CHUNK_BYTES, source.layout.piece_bytes)))
        self._next_file = 0
        self._fd = -1
        self._hasher: Hasher = source._new_file_hasher()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read_piece(self, index: int) -> None:
        source, layout = self._source, self._layout
        start, end = layout.piece(index)
        hasher = source._new_piece_hasher()
        spans = self._manifest.spans(*layout.content_part(start, end))
        if len(spans) == 1 and spans[0].length == end - start:
            self._read_span(spans[0], hasher, None)
            source._add(index, hasher.digest())
            return
        payload = bytearray(end - start)
        self._assemble(memoryview(payload), start, end, spans)
        hasher.update(payload)
        source._add(index, hasher.digest(), bytes(payload))

    def _assemble(self, view: memoryview, start: int, end: int, spans: list[Span]) -> None:
        layout = self._layout
        if start < layout.manifest_bytes:
            part = self._source._manifest_bytes()[start:end]
            view[: len(part)] = part
        at = max(layout.manifest_bytes - start, 0)
        for span in spans:
            self._read_span(span, None, view[at : at + span.length])
            at += span.length
        if end >= layout.trailer_start:
            if not self._source.sealed:
                self.seal()
            first = max(start, layout.trailer_start)
            part = self._source._trailer_bytes()[first - layout.trailer_start : end - layout.trailer_start]
            view[first - start : first - start + len(part)] = part

    def _read_span(self, span: Span, hasher: Optional[Hasher], into: Optional[memoryview]) -> None:
        if span.offset == 0:
            self._open_up_to(span.file)
        at = 0
        while at < span.length:
            length = min(span.length - at, len(self._chunk))
            view = into[at : at + length] if into is not None else self._chunk[:length]
            self._read(span.file, span.offset + at, view)
            if hasher is not None:
                hasher.update(view)
            at += length
        if span.offset + span.length == self._manifest.files[span.file].size:
            self._finish(span.file)

    def _read(self, file: int, offset: int, view: memoryview) -> None:
        count = 0
        if self._fd >= 0:
            try:
                count = read_some(self._fd, offset, view)
            except OSError as error:
                self._source.settle(file, FileStatus.READ_ERROR, reason=reason_of(error))
                self.close()
        if count < len(view):
            view[count:] = bytes(len(view) - count)
        self._hasher.update(view)

    def _open_up_to(self, file: int) -> None:
        """Open the file; those before it that were not read are empty, and only looked at."""
        while self._next_file <= file:
            current = self._next_file
            self._next_file += 1
            self.close()
            self._hasher = self._source._new_file_hasher()
            self._open(current)
            if current < file or self._manifest.files[current].size == 0:
                self._finish(current)

    def _open(self, file: int) -> None:
        try:
            self._fd = self._source.open_scanned(file)
        except FileNotFoundError:
            self._source.settle(file, FileStatus.VANISHED)
        except PermissionError:
            self._source.settle(file, FileStatus.NOT_READABLE)
        except OSError as error:
            if error.errno in (errno.ESTALE, errno.ELOOP, errno.ENXIO):
                self._source.settle(file, FileStatus.CHANGED)
            else:
                self._source.settle(file, FileStatus.READ_ERROR, reason=reason_of(error))

    def _finish(self, file: int) -> None:
        if self._fd >= 0:
            status = FileStatus.OK if self._source.unchanged(file, self._fd) else FileStatus.CHANGED
            self._source.settle(file, status, self._hasher.digest())
        self.close()

    def seal(self) -> None:
        """All contents were read: look at the empty files that are left, then close the books."""
        if self._manifest.files:
            self._open_up_to(len(self._manifest.files) - 1)
        self._source.seal_with()


__all__ = ["EntryKind", "Source"]
