"""The source of a cast: scans, reads every byte once, hashes while it flows, serves what was read.

One thread scans; after `serve` one reads the pieces in order, no further ahead of the recipients than the
page cache easily holds, and makes the piece digests and the file hashes. The servers send what it has read.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Sequence
from typing import Optional

from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.layout import Layout
from castray_desktop.core.multicast import Keys
from castray_desktop.core.parcel import (
    Entry,
    FileStatus,
    Manifest,
    encode,
    encode_trailer,
)
from castray_desktop.core.ranges import RangeSet
from castray_desktop.workers.ray_side.byte_plane.digests import expander, file_hasher, piece_hasher
from castray_desktop.workers.ray_side.byte_plane.hash_cache import HashCache
from castray_desktop.workers.ray_side.byte_plane.known_files import KnownFiles
from castray_desktop.workers.ray_side.byte_plane.multicast.sending import MulticastSender
from castray_desktop.workers.ray_side.byte_plane.reader import Reader
from castray_desktop.workers.ray_side.byte_plane.scan import MAX_PROBLEMS, Scan, Scanner
from castray_desktop.workers.ray_side.byte_plane.source_files import SourceFiles
from castray_desktop.workers.ray_side.byte_plane.spending import CHECKING, DISK, WAITING, Spending
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
    Multicast,
    ParcelTotals,
    PrepareSource,
    ServeSource,
    SourceReport,
    SourceState,
)

log = logging.getLogger("castray.byte_plane")

LEAD_BYTES = 64 << 20
SCAN_REPORT_SECONDS = 0.25
NEAR_BYTES = 16 << 20

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

    early_seconds = 0.08
    """Being woken for each digest costs every node more. It reads further ahead of the datagrams than that,
    wherever these come fast."""

    def __init__(self, order: PrepareSource, changed: Changed, cache: HashCache) -> None:
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
        self._scanned = (0, 0)
        self._last_scan_report = 0.0
        self._cache = cache
        self.files = self._files_of((), "")
        self._asked = RangeSet()  # pieces, by number
        self._finding = False
        self.spending = Spending()  # of the thread that reads
        self._reading = 0  # the piece that the in-order reader is at
        self._threads: list[threading.Thread] = []
        self._sender: Optional[MulticastSender] = None

    # --- orders

    def prepare(self) -> None:
        """Scan, in a thread."""
        self._start(self._prepare)

    def serve(self, order: ServeSource) -> None:
        """Read and hash, in a thread; from now on whoever knows the secret may fetch."""
        with self.lock:
            if self.state is not S.PREPARED or self.manifest is None or self._totals is None:
                return
            try:
                self._use(order.algorithms, self._totals)
                self.secret = bytes.fromhex(order.secret)
            except ValueError as error:
                self._fail(Failure(FailureKind.INTERNAL, {"reason": str(error)}))
                return
            self.limiter.change(order.limit)
            self.files = self._files_of(self.manifest.files, order.algorithms.file)
        self._go(S.SERVING)
        self._start(self._read_all)

    def read_to_end(self) -> None:
        """Read on, however little the recipients ask for."""
        with self.lock:
            self.demand = self.layout.pieces
            self.wake()

    def multicast(self, order: Multicast, own: str, ports: Optional[tuple[int, int]]) -> None:
        """Send the stream to a group as well, or to none any more.

        `own` is this node's address, `ports` those that others can reach, None for all.
        """
        with self.lock:
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
            keys = Keys(self.secret, self.cast, self._expand)
            self._sender = MulticastSender(self, order, own, ports, keys)
            self._sender.start()

    def _files_of(self, files: Sequence[Entry], algorithm: str) -> SourceFiles:
        known = KnownFiles(self._scan, files, self._cache, algorithm)
        return SourceFiles(self._scan, files, known, self.progressed)

    def _use(self, algorithms: Algorithms, totals: ParcelTotals) -> None:
        self.new_piece_hasher = piece_hasher(algorithms.piece)
        self.new_file_hasher = file_hasher(algorithms.file)
        self._expand = expander(algorithms.file)
        sizes = (totals.manifest_bytes, totals.content_bytes, totals.trailer_bytes)
        self._lay_out(Layout(*sizes, algorithms.piece_bytes))

    def cancel(self) -> None:
        """End it; the threads notice at once."""
        self._go(S.CANCELLED)
        self.end("the cast was cancelled")

    def check_end(self) -> None:
        """Leaves the thread that calls it if the cast is over."""
        if self.gone:
            raise _Ended

    def join(self, seconds: float) -> None:
        for thread in self._threads:
            thread.join(seconds)
        if self._sender is not None:
            self._sender.join(seconds)

    def report(self) -> SourceReport:
        with self.lock:
            problems, problem_count = self.files.problems()
            return SourceReport(
                cast=self.cast,
                state=self.state,
                scanned_files=self._scanned[0],
                scanned_bytes=self._scanned[1],
                totals=self._totals,
                sent_bytes=self.sent_bytes,
                sent_lists=self.sent_lists,
                trailer_digest=self._trailer_digest,
                problems=(*self._scan.problems, *problems)[:MAX_PROBLEMS],
                problem_count=self._scan.problem_count + problem_count,
                failure=self._failure,
                checking=self.spending.seconds(CHECKING),
                reading=self.spending.seconds(DISK),
                multicast=self._sender.report() if self._sender is not None else None,
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
        with self.lock:
            self._failure = failure
        self._go(S.FAILED)
        self.end("the source failed")

    def _go(self, state: SourceState) -> None:
        if self._enter(state):
            self.stated()

    def _enter(self, state: SourceState) -> bool:
        """Whether the state is another one now. Somebody is to be told."""
        with self.lock:
            if state not in TRANSITIONS[self.state]:
                return False
            self.state = state
            return True

    # --- scanning

    def _prepare(self) -> None:
        self.stated()
        scan = Scanner(self._order.links, self._order.exclude, self._scanning).run(self._order.paths)
        manifest = Manifest(scan.entries)
        raw = encode(manifest)
        with self.lock:
            self._scan, self.manifest, self._raw_manifest = scan, manifest, raw
            self._scanned = (scan.files, scan.size)
            self._totals = scan.totals(manifest, raw)
        self._go(S.PREPARED)

    def _scanning(self, scan: Scan) -> None:
        self.check_end()
        now = time.monotonic()
        if now - self._last_scan_report >= SCAN_REPORT_SECONDS:
            self._last_scan_report = now
            self._scanned = (scan.files, scan.size)
            self._dirty = True
            self._changed(False)

    # --- reading

    def _read_all(self) -> None:
        reader = Reader(self)
        try:
            for index in range(self.layout.pieces):
                self._await_demand(index)
                self._reading = index
                if self._may_skip(index):
                    reader.skip_piece(index)
                else:
                    reader.read_piece(index)
            self._reading = self.layout.pieces
            if not self._trailer_digest:
                reader.seal()
        finally:
            self.spending.on(WAITING)
            reader.close()

    def _may_skip(self, index: int) -> bool:
        """Nobody has asked for it, and the hashes of its files are known."""
        start, end = self.layout.piece(index)
        known = self.files.known.hashes
        if not known or start < self.layout.manifest_bytes or end > self.layout.trailer_start:
            return False
        with self.lock:
            if self._asked.contains(index, index + 1) and not self.have.contains(start, end):
                return False
        assert self.manifest is not None
        return all(known[span.file] for span in self.manifest.spans(*self.layout.content_part(start, end)))

    def _await_demand(self, index: int) -> None:
        lead = LEAD_BYTES // self.layout.piece_bytes
        if self.within_file(index) is None:
            # these wait in memory for their server, and must not push each other out
            lead = max(min(lead, RECENT_BYTES // self.layout.piece_bytes - 2), 1)
        with self.lock:
            self.spending.on(WAITING)
            if index > self.demand + lead:
                self.demand_awaited = index - lead * 3 // 4  # waking up for each piece costs both sides
                self.wake()
            while not self.gone and index > self.demand + lead:
                self.condition.wait()
            self.check_end()

    def seal_with(self) -> None:
        """Every file was read to its end: the trailer is there."""
        with self.lock:  # a report has the state and the digest, or neither
            self._raw_trailer = encode_trailer(self.files.results())
            self._trailer_digest = hashlib.sha256(self._raw_trailer).hexdigest()
            sealed = self._enter(S.SEALED)
        if sealed:
            self.stated()

    @property
    def sealed(self) -> bool:
        return bool(self._trailer_digest)

    # --- serving

    def manifest_bytes(self) -> bytes:
        return self._raw_manifest

    def trailer_bytes(self) -> bytes:
        return self._raw_trailer

    def _open_for_reading(self, file: int) -> int:
        return self.files.open(file)

    def known_hashes(self) -> Optional[Sequence[bytes]]:
        """Looked for when the first one asks: a cast to recipients that have nothing needs none of it."""
        with self.lock:
            if self.files.known.hashes is None and not self._finding:
                self._finding = True
                self._start(self._find_known)
            return self.files.known.hashes

    def _find_known(self) -> None:
        self.files.known.find()
        self.wake()

    def remember(self) -> None:
        """Keep the hashes of what was read. After the cast."""
        if self.sealed:
            self.files.remember()

    def _read_file(self, file: int, offset: int, view: memoryview) -> None:
        """As much as there is; zeros where the file has become shorter or unreadable."""
        count = 0
        if self.files.is_readable(file):
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
            if not self.files.is_readable(where[0]):
                return None
            try:
                with self.borrow(where[0]):
                    return where
            except OSError:
                return None
        return None

    def can_digest(self, index: int) -> bool:
        """Pieces that the reader has skipped, or that are far before it, are read when they are asked for.

        So whoever asks from the middle, after a restart of this agent, does not wait for the whole beginning.
        """
        near = max(NEAR_BYTES // self.layout.piece_bytes, 1)
        skipped_or_far = index < self._reading or index > self._reading + near
        return skipped_or_far and self.layout.piece(index)[1] <= self.layout.trailer_start

    def make_ready(self, index: int) -> None:
        """Have a piece served before the files' hashes have come to it."""
        if not self.has_piece(index):
            self._digest(index)
        self.wake()

    def note_asked(self, pieces: range) -> None:
        with self.lock:
            self._asked.add(pieces.start, pieces.stop)

    def read_anew(self, index: int) -> Again:
        """Read again what arrived damaged; another digest than the first time means a changed file."""
        if self.gone:
            raise Gone(self.gone)
        start, end = self.layout.piece(index)
        with self.lock:
            self._recent.pop(index, None)
        payload = self.assembled(index)
        hasher = self.new_piece_hasher()
        hasher.update(payload)
        digest = hasher.digest()
        if digest == self.digest(index):
            return Again(payload, digest, False)
        self.add(index, digest)
        if not self.sealed:
            assert self.manifest is not None
            for span in self.manifest.spans(*self.layout.content_part(start, end)):
                self._mark_if_changed(span.file)
        return Again(payload, digest, True)

    def _mark_if_changed(self, file: int) -> None:
        try:
            with self.borrow(file) as fd:
                unchanged = self.files.unchanged(file, fd)
        except OSError:
            unchanged = False
        if not unchanged:
            self.files.settle(file, FileStatus.CHANGED)
