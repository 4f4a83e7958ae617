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
from collections.abc import Callable, Iterable, Sequence
from typing import Optional

from castray_desktop.core.content.file_names import display_name
from castray_desktop.core.content.manifest import (
    FileStatus,
    ManifestEntry,
    encode_trailer,
)
from castray_desktop.core.content.stream_layout import StreamLayout
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.multicast.datagrams import DatagramKeys
from castray_desktop.core.protocol.nodes.agent_orders import (
    GiveLinks,
    PrepareSource,
    SendToGroup,
    ServeSource,
)
from castray_desktop.core.protocol.nodes.agent_reports import SourceReport, SourceState
from castray_desktop.core.protocol.nodes.cast_parcel import Algorithms, ParcelTotals
from castray_desktop.core.protocol.nodes.packed_listing import unpack_listing
from castray_desktop.workers.agent.transfer.multicast.multicast_sender import MulticastSender
from castray_desktop.workers.agent.transfer.peer.dial import PlainPeers
from castray_desktop.workers.agent.transfer.source.delivered_files import DeliveredFiles, FindReceipt
from castray_desktop.workers.agent.transfer.source.range_client import RemoteFileError
from castray_desktop.workers.agent.transfer.source.remote_files import OwnCopy, RemoteFiles
from castray_desktop.workers.agent.transfer.source.remote_links import RemoteLinks
from castray_desktop.workers.agent.transfer.source.remote_listing import with_remote_files
from castray_desktop.workers.agent.transfer.source.scan_cache import ScanPaths
from castray_desktop.workers.agent.transfer.source.scanner import MAX_PROBLEMS, ScanResult
from castray_desktop.workers.agent.transfer.source.source_reader import (
    SourceEndedError,
    SourceFiles,
    SourceReader,
    check_end,
)
from castray_desktop.workers.agent.transfer.store.hash_cache import HashCache
from castray_desktop.workers.agent.transfer.store.piece_store import (
    RECENT_BYTES,
    NotifyChanged,
    PieceStore,
    RereadPiece,
    read_some,
)
from castray_desktop.workers.agent.transfer.system.digests import expander, file_hasher, piece_hasher
from castray_desktop.workers.agent.transfer.system.disk_watch import DiskWatch
from castray_desktop.workers.agent.transfer.system.time_breakdown import (
    CHECKING,
    DISK,
    WAITING,
    TimeBreakdown,
)

log = logging.getLogger("castray.byte_plane")

READ_AHEAD_BYTES = 64 << 20

NEAR_BYTES = 16 << 20

OWN_COPY_SECONDS = 0.02
STOPPED_SECONDS = 5.0
"""The source does not wait for a delivery that has received nothing for this time."""

RECENT_DOWNLOADED_BYTES = 16 << 20
"""Bytes of downloaded files that are kept in memory, for recipients at different places."""

MAX_WATCHED = 16

S = SourceState

SOURCE_TRANSITIONS: dict[SourceState, tuple[SourceState, ...]] = {
    S.SCANNING: (S.PREPARED, S.FAILED, S.CANCELLED),
    S.PREPARED: (S.SERVING, S.FAILED, S.CANCELLED),
    S.SERVING: (S.HASHED, S.FAILED, S.CANCELLED),
    S.HASHED: (S.FAILED, S.CANCELLED),
    S.FAILED: (),
    S.CANCELLED: (),
}


class CastSource:
    """The sending side of one cast."""

    early_seconds = 0.08
    """How long digests that are sent ahead of their pieces are collected: waking up for each is expensive on
    every node. Where datagrams are fast, reading is further ahead of them than this.
    """

    def __init__(
        self,
        order: PrepareSource,
        changed: NotifyChanged,
        cache: HashCache,
        scan_paths: ScanPaths,
        node: str,
        own_copy: OwnCopy,
        find_receipt: FindReceipt,
    ) -> None:
        """`own_copy` finds what this node has as a recipient of the same cast, `find_receipt` what it has
        delivered of it.
        """
        self.pieces = PieceStore(order.cast, changed, self, self.early_seconds)
        self.secret = b""
        self.plain = PlainPeers(order.options.encrypt)
        self.state = S.SCANNING
        self._order = order
        self._node = node
        self._disk = DiskWatch(self._paths_to_watch, self._lose_disk)
        self._scan_paths = scan_paths
        self._own_copy = own_copy
        self._find_receipt = find_receipt
        self._waiting: tuple[Optional[Failure], float] = (None, 0.0)  # for a web server, and until when
        self._resumes = False  # as in `ServeSource`
        self._own_progress = (0, time.monotonic())  # of this node's own delivery: bytes, and since when
        self._scan = ScanResult()
        self._totals: Optional[ParcelTotals] = None
        self._failure: Optional[Failure] = None
        self._trailer_digest = ""
        self._cache = cache
        self._links = RemoteLinks(self.pieces.report_state)
        self._files = self._files_of((), "")
        self._finding = False
        self._time_breakdown = TimeBreakdown()  # of the thread that reads
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
                self.secret, self.plain = bytes.fromhex(order.secret), PlainPeers.of(order)
                self._resumes = order.resumes
            except ValueError as error:
                self._fail(Failure(FailureKind.INTERNAL, {"reason": str(error)}))
                return
            self.pieces.limiter.set_limit(order.options.limit)
            self._files = self._files_of(self.pieces.manifest.files, order.algorithms.file)
        self._go(S.SERVING)
        self._start(self._read_all)

    def read_to_end(self) -> None:
        """Read on, however little the recipients ask for."""
        with self.pieces.lock:
            self.pieces.demand = self.pieces.layout.pieces
            self.pieces.notify_waiting()

    def give_links(self, order: GiveLinks) -> None:
        """Use these links of remote files from now on."""
        self._links.give(order)

    def multicast(self, order: SendToGroup, own: str, ports: Optional[tuple[int, int]]) -> None:
        """Send the stream to a group as well, or stop that.

        `own` is this node's address, `ports` the reachable ones, None for all.
        """
        with self.pieces.lock:
            if self.state not in (S.SERVING, S.HASHED):
                return
            sender = self._sender
            if order.group is None:
                if sender is not None:
                    sender.stop()
                return
            if sender is not None and sender.active:
                sender.set_receivers(order.listeners)
                return
            keys = DatagramKeys(self.secret, self.pieces.cast, self._expand)
            self._sender = MulticastSender(self.pieces, order, own, ports, keys)
            self._sender.start()

    def _files_of(self, files: Sequence[ManifestEntry], algorithm: str) -> SourceFiles:
        scan, downloads = self._scan, None
        if scan.remote and files:
            self.pieces.recent_bytes = RECENT_DOWNLOADED_BYTES
            downloads = RemoteFiles(
                scan.remote,
                scan.manifest,
                self.pieces.layout.manifest_bytes,
                self._own_copy,
                DeliveredFiles(scan.manifest, self._find_receipt, lambda: check_end(self.pieces)),
                self._is_wanted,
                lambda: check_end(self.pieces),
                self._report_waiting,
                self._links,
            )
        return SourceFiles(scan, files, self._cache, algorithm, self.pieces.report_progress, downloads)

    def _report_waiting(self, failure: Optional[Failure], seconds: float) -> None:
        self._waiting = (failure, time.monotonic() + seconds)
        self.pieces.report_state()

    def _use(self, algorithms: Algorithms, totals: ParcelTotals) -> None:
        self.pieces.new_piece_hasher = piece_hasher(algorithms.piece)
        self._new_file_hasher = file_hasher(algorithms.file)
        self._expand = expander(algorithms.file)
        sizes = (totals.manifest_bytes, totals.content_bytes, totals.trailer_bytes)
        self.pieces.lay_out(StreamLayout(*sizes, algorithms.piece_bytes))

    def watch_disk(self) -> None:
        """To be called every other second: fail if the disk of the files does not answer. Returns at once."""
        if self.state not in (S.FAILED, S.CANCELLED):
            # bytes sent say nothing: each recipient that asks again is counted
            self._disk.check((self.state, self._reading))

    def _paths_to_watch(self) -> Iterable[bytes]:
        """The first paths that are sent, which may be mounts, and the folders of the others, each once."""
        paths = [os.fsencode(path) for path in self._order.paths]
        return dict.fromkeys((*paths[:MAX_WATCHED], *(os.path.dirname(path) for path in paths[MAX_WATCHED:])))

    def _lose_disk(self, path: bytes) -> None:
        log.warning("cast %s: %s does not respond", self.pieces.cast, os.fsdecode(path))
        self._fail(Failure(FailureKind.FOLDER_SILENT, {"node": self._node, "path": display_name(path)}))

    def cancel(self) -> None:
        """Cancel it; the threads notice at once."""
        self._go(S.CANCELLED)
        self._end("the cast was cancelled")

    def _end(self, reason: str) -> None:
        self.pieces.end(reason)
        if self._files.downloads is not None:
            self._files.downloads.stop()

    def join(self, seconds: float) -> None:
        for thread in self._threads:
            thread.join(seconds)
        if self._sender is not None:
            self._sender.join(seconds)
        if self._files.downloads is not None:
            self._files.downloads.join(seconds)

    def report(self) -> SourceReport:
        with self.pieces.lock:
            problems, problem_count = self._files.problems()
            waiting, until = self._waiting
            return SourceReport(
                cast=self.pieces.cast,
                state=self.state,
                totals=self._totals,
                sent_bytes=self.pieces.sent_bytes,
                sent_lists=self.pieces.sent_lists,
                trailer_digest=self._trailer_digest,
                problems=(*self._scan.problems, *problems)[:MAX_PROBLEMS],
                problem_count=self._scan.problem_count + problem_count,
                failure=self._failure,
                checking=self._time_breakdown.seconds(CHECKING),
                reading=self._time_breakdown.seconds(DISK),
                multicast=self._sender.report() if self._sender is not None else None,
                downloaded_bytes=self._files.downloads.downloaded_bytes if self._files.downloads else 0,
                waiting=waiting,
                wait_seconds=max(0.0, until - time.monotonic()) if waiting is not None else 0.0,
                links_wanted=self._links.wanted,
                checksums=self._files.compared,
            )

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(
            target=self._guarded, args=(work,), name=f"castray-source-{self.pieces.cast}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except SourceEndedError:
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
        self._end("the source failed")

    def _go(self, state: SourceState) -> None:
        if self._enter(state):
            self.pieces.report_state()

    def _enter(self, state: SourceState) -> bool:
        """Change the state; returns whether it changed, and has to be reported."""
        with self.pieces.lock:
            if state not in SOURCE_TRANSITIONS[self.state]:
                return False
            self.state = state
            return True

    # --- scanning

    def _prepare(self) -> None:
        self.pieces.report_state()
        order = self._order
        scan = ScanResult()
        if order.paths or not order.listing:
            scan = self._scan_paths(
                order.paths, order.options.links, order.options.patterns, lambda: check_end(self.pieces)
            )
        if order.listing:
            scan = with_remote_files(scan, unpack_listing(order.listing), order.options.patterns)
        totals = scan.totals
        with self.pieces.lock:
            self._scan, self._totals = scan, totals
            self.pieces.manifest, self.pieces.raw_manifest = scan.manifest, scan.raw_manifest
        self._go(S.PREPARED)

    # --- reading

    def _read_all(self) -> None:
        if self._files.downloads is not None:  # reading what no recipient needs costs a download
            if self._resumes:
                self._await_own_copy()
            self._finding = True
            self._find_known()
        reader = SourceReader(
            self.pieces, self._files, self._new_file_hasher, self._time_breakdown, self._finish_trailer
        )
        try:
            for index in range(self.pieces.layout.pieces):
                self._await_demand(index)
                self._reading = index
                if self._may_skip(index):
                    reader.skip_piece(index)
                else:
                    reader.read_piece(index)
                    if self._files.downloads is not None:
                        self._files.save_hashes_so_far()
            self._reading = self.pieces.layout.pieces
            reader.finish()
        finally:
            self._time_breakdown.switch(WAITING)
            reader.close()

    def _await_own_copy(self) -> None:
        """Wait until this node's own delivery knows what it has from before: that is not downloaded again."""
        until = time.monotonic() + STOPPED_SECONDS
        while time.monotonic() < until:
            check_end(self.pieces)
            store = self._own_copy()
            if store is not None and store.is_open and not store.pieces.gone_reason:
                return
            with self.pieces.lock:
                self.pieces.condition.wait(OWN_COPY_SECONDS)

    def _is_wanted(self, file: int, start: int, end: int) -> bool:
        """Whether these bytes of the stream, which belong to one file, are worth one request: not if its hash
        is known and recipients have most of them. Pieces that they request all the same are read one by one,
        as are those that the file shares with the lists.
        """
        if not self._files.hash_of(file):
            return True
        requested = 0
        with self.pieces.lock:
            for index in self.pieces.layout.pieces_of(start, end):
                if self._is_within_contents(index) and self.pieces.requested.contains(index, index + 1):
                    low, high = self.pieces.layout.piece(index)
                    requested += min(high, end) - max(low, start)
        return 2 * requested > end - start

    def _is_within_contents(self, index: int) -> bool:
        start, end = self.pieces.layout.piece(index)
        return start >= self.pieces.layout.manifest_bytes and end <= self.pieces.layout.trailer_start

    def _may_skip(self, index: int) -> bool:
        """Whether it was not requested, and the hashes of its files are known."""
        start, end = self.pieces.layout.piece(index)
        known = self._files.hashes
        if not known or not self._is_within_contents(index):
            return False
        with self.pieces.lock:
            if self.pieces.requested.contains(index, index + 1) and not self.pieces.have.contains(start, end):
                return False
        return all(known[span.file] for span in self.pieces.spans_of(index))

    def _await_demand(self, index: int) -> None:
        lead = READ_AHEAD_BYTES // self.pieces.layout.piece_bytes
        if self.pieces.within_file(index) is None:
            # these wait in memory for their upload
            if self._files.downloads is None:
                held = RECENT_BYTES // self.pieces.layout.piece_bytes - 2
            else:  # recipients may request pieces whose digests they have got
                held = RECENT_DOWNLOADED_BYTES // self.pieces.layout.piece_bytes // 2
            lead = max(min(lead, held), 1)
        with self.pieces.lock:
            self._time_breakdown.switch(WAITING)
            if index > self.pieces.demand + lead:
                # one wake-up per piece is slow for both sides
                self.pieces.demand_awaited = index - lead * 3 // 4
                self.pieces.notify_waiting()
            while not self.pieces.gone_reason:
                if index > self.pieces.demand + lead or self._must_await_request():
                    self.pieces.condition.wait()
                elif self._is_ahead_of_own_copy(index, lead):
                    self.pieces.condition.wait(OWN_COPY_SECONDS)
                else:
                    break
            check_end(self.pieces)

    def _must_await_request(self) -> bool:
        """Whether it is not known yet if anyone needs files whose hashes are known, which are downloaded."""
        return self.pieces.demand < 0 and self._files.downloads is not None and any(self._files.hashes or ())

    def _is_ahead_of_own_copy(self, index: int, lead: int) -> bool:
        """Whether this node's own delivery is so far behind that it would find a piece in memory no more.

        Not if it has stopped for a while: others don't wait for its disk.
        """
        store = self._own_copy() if self._files.downloads is not None else None
        if store is None or store.pieces.gone_reason:
            return False
        with store.pieces.lock:
            prefix = store.pieces.have.prefix
        now = time.monotonic()
        if prefix != self._own_progress[0]:
            self._own_progress = prefix, now
        if prefix >= self.pieces.layout.stream_bytes or now - self._own_progress[1] > STOPPED_SECONDS:
            return False
        return index > self.pieces.layout.piece_at(prefix) + lead

    def _finish_trailer(self) -> None:
        """All files were read: make the trailer."""
        with self.pieces.lock:  # a report has the state and the digest, or neither
            self.pieces.raw_trailer = encode_trailer(self._files.results())
            self._trailer_digest = hashlib.sha256(self.pieces.raw_trailer).hexdigest()
            entered = self._enter(S.HASHED)
        if entered:
            if self._files.downloads is not None:
                self._files.save_hashes()  # another cast that begins soon does not download them again
            self.pieces.report_state()

    # --- serving

    def open_for_reading(self, file: int) -> int:
        return self._files.open(file)

    def known_hashes(self) -> Optional[Sequence[bytes]]:
        """Looked up on the first request: a cast to empty recipients does not need them."""
        with self.pieces.lock:
            if self._files.hashes is None and not self._finding:
                self._finding = True
                self._start(self._find_known)
            return self._files.hashes

    def _find_known(self) -> None:
        self._files.find_hashes()
        self._files.find_delivered()
        self.pieces.notify_waiting()

    def save_hashes(self) -> None:
        """Save the hashes of read files, if all were read. After the cast."""
        if self._trailer_digest:
            self._files.save_hashes()

    def read_file(self, file: int, offset: int, view: memoryview) -> None:
        """Read as much as there is; zeros if the file has become shorter or unreadable. Raises OSError where
        a web server does not give a part again."""
        count = 0
        if self._files.is_downloaded(file):
            self._download_again(file, offset, view)
            return
        if self._files.is_readable(file):
            try:
                with self.pieces.open_files.borrow(file) as fd:
                    count = read_some(fd, offset, view)
            except OSError:
                count = 0
        view[count:] = bytes(len(view) - count)

    def _download_again(self, file: int, offset: int, view: memoryview) -> None:
        assert self._files.downloads is not None
        if not self._files.is_readable(file):
            view[:] = bytes(len(view))
            return
        try:
            self._files.downloads.read_again(file, offset, view)
        except RemoteFileError as error:
            raise OSError(errno.EIO, str(error)) from error

    def can_open(self, file: int) -> bool:
        """What is downloaded, and a file that can't be opened any more, is assembled in memory."""
        if self._files.is_downloaded(file) or not self._files.is_readable(file):
            return False
        try:
            with self.pieces.open_files.borrow(file):
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

    def reread_piece(self, index: int) -> RereadPiece:
        """Read a damaged piece again; another digest than the first time means a changed file."""
        self.pieces.drop_cached(index)
        payload = self.pieces.piece_bytes(index)
        digest = self.pieces.digest_of(payload)
        if digest == self.pieces.digest(index):
            return RereadPiece(payload, digest, False)
        self.pieces.add_piece(index, digest)
        if not self._trailer_digest:
            for span in self.pieces.spans_of(index):
                self._mark_if_changed(span.file)
        return RereadPiece(payload, digest, True)

    def _mark_if_changed(self, file: int) -> None:
        if self._files.is_downloaded(file):
            self._files.record_result(file, FileStatus.CHANGED)
            return
        try:
            with self.pieces.open_files.borrow(file) as fd:
                unchanged = self._files.unchanged(file, fd)
        except OSError:
            unchanged = False
        if not unchanged:
            self._files.record_result(file, FileStatus.CHANGED)
