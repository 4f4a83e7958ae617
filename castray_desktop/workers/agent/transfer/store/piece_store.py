"""The pieces that a node has of one cast, for uploads to wait for and to read.

The source and every recipient own one. An upload waits here until a piece is there, and until the rate limits
of the cast and the node let it leave; the thread that adds a piece wakes the upload.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple, Optional, Protocol

from castray_desktop.core.content.byte_ranges import Range, RangeSet
from castray_desktop.core.content.manifest import FileSpan, Manifest
from castray_desktop.core.content.stream_layout import StreamLayout
from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.nodes.peer_frames import DIGEST_BYTES, MAX_PIECE
from castray_desktop.core.protocol.nodes.token_bucket import TokenBucket
from castray_desktop.workers.agent.transfer.system.digests import PIECE_DIGESTS, piece_hasher
from castray_desktop.workers.agent.transfer.system.file_io import OpenFiles

CHECK_SECONDS = 0.1
"""A changed limit, or the end of a cast, takes effect within this time."""


class RateLimiter:
    """A token bucket that threads share, on the monotonic clock. Limits are in bytes per second, 0
    is none.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pacer = TokenBucket()

    @property
    def limit(self) -> int:
        return self._pacer.limit

    def set_limit(self, limit: int) -> None:
        """Change the limit, also for waiting threads."""
        with self._lock:
            self._pacer.set_limit(time.monotonic(), limit)

    def wait(self, length: int, pause: Callable[[float], None]) -> None:
        """Wait until `length` bytes may leave. `pause(seconds)` waits; what it raises ends the waiting."""
        if not self._pacer.limit:  # the common case needs no lock
            return
        with self._lock:
            ticket = self._pacer.reserve(time.monotonic(), length)
        try:
            while (left := self._left(ticket)) > 0:
                pause(min(left, CHECK_SECONDS))
        except BaseException:
            with self._lock:
                self._pacer.release(time.monotonic(), length)
            raise

    def _left(self, ticket: int) -> float:
        with self._lock:
            return self._pacer.delay(time.monotonic(), ticket)


RECENT_BYTES = 8 << 20
PROGRESS_SECONDS = 0.1
WAKE_SECONDS = 0.002  # waking a thread costs as much as sending 100 KB: at full speed, some pieces at a time

NotifyChanged = Callable[[bool], None]


class StoreGoneError(Exception):
    """This node will never have it."""


class Spoilt(StoreGoneError):
    """A node's own copy of one piece is not right any more; another node may have it."""

    def __init__(self, piece: int, reason: str, kind: FailureKind = FailureKind.COPY_CHANGED) -> None:
        super().__init__(reason)
        self.piece = piece
        self.kind = kind


class RereadPiece(NamedTuple):
    """A piece that was read again because it arrived damaged."""

    payload: memoryview
    digest: bytes
    changed: bool


class PieceContents(Protocol):
    """Where the bytes of a store's pieces are: the files of a source, or those that a recipient writes."""

    def open_for_reading(self, file: int) -> int:
        """Open a file; returns its descriptor. Raises OSError."""

    def can_open(self, file: int) -> bool:
        """Whether the file can be sent from its descriptor; else its pieces are assembled in memory."""

    def read_file(self, file: int, offset: int, view: memoryview) -> None:
        """Fill `view` from a file. Raises OSError or EOFError."""

    def known_hashes(self) -> Optional[Sequence[bytes]]:
        """File hashes known before the trailer; empty if none, None if undecided."""

    def can_digest(self, index: int) -> bool:
        """Whether a piece that was not added may be read and digested on request."""

    def check_unchanged(self, index: int) -> None:
        """The piece was read to be digested on request. Raises Spoilt if it is not right any more."""

    def reread_piece(self, index: int) -> RereadPiece:
        """Read a damaged piece from the files again. Raises StoreGoneError or OSError."""


class PieceStore:
    """The pieces of one cast on this node. Its owner adds them and knows their contents."""

    def __init__(
        self, cast: str, changed: NotifyChanged, contents: PieceContents, early_seconds: float = 0.0
    ) -> None:
        """`early_seconds` is how long digests ahead of their pieces are collected. Zero if they arrive
        together already: the waits of all nodes of a chain would add up.
        """
        self.early_seconds = early_seconds
        self._contents = contents
        self.cast = cast
        self.lock = threading.RLock()
        self.condition = threading.Condition(self.lock)
        self.digest_condition = threading.Condition(self.lock)  # digests are known that may go ahead
        self.layout = StreamLayout(0, 0, 0, 1)
        self.manifest: Optional[Manifest] = None
        self.raw_manifest: bytes | bytearray = b""
        self.raw_trailer: bytes | bytearray = b""
        self.have = RangeSet()
        self.sent_bytes = 0
        self.sent_lists = 0  # of these, manifest and trailer
        self.limiter = RateLimiter()
        self.limiters: tuple[RateLimiter, ...] = (self.limiter,)  # all limits that apply
        self.demand = -1  # the furthest requested piece
        self.requested = RangeSet()  # pieces that were requested, by number
        self.early_digests_wanted = False  # a downstream wants digests ahead of their pieces
        self.demand_awaited = 0  # a thread waits until demand reaches it
        self.gone_reason = ""
        self.paused = False
        self._pauses = 0  # number of the last pause or resume order
        self._digests = bytearray()
        self._undigested = bytearray()  # which are had without a digest, by piece
        self._known = bytearray()  # which of them are known, by piece
        self._recent: OrderedDict[int, bytes] = OrderedDict()
        self.recent_bytes = RECENT_BYTES
        self._early = -1  # a piece that is only in memory so far
        self._changed = changed
        self._last_progress = 0.0
        self._last_wake = 0.0
        self.wake_pending = False
        self._dirty = False
        self.new_piece_hasher = piece_hasher(PIECE_DIGESTS[-1])
        self.open_files = OpenFiles(contents.open_for_reading)  # to read from

    # --- for the owner

    def lay_out(self, layout: StreamLayout) -> None:
        """Set the layout of the stream. Raises ValueError."""
        if layout.piece_bytes > MAX_PIECE:
            raise ValueError(f"pieces of {layout.piece_bytes} bytes")
        self.layout = layout
        self._digests, self._known = bytearray(layout.pieces * DIGEST_BYTES), bytearray(layout.pieces)
        self._undigested = bytearray(layout.pieces)

    def expect_digest(self, index: int, digest: bytes) -> None:
        """Record the digest that a journaled piece has to have."""
        self._digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES] = digest

    def add_resumed(self, start: int, end: int, journaled: bytearray) -> None:
        """Whole pieces are there since an earlier delivery. Digests that are not `journaled` (by piece) are
        computed on request.
        """
        pieces = self.layout.pieces_of(start, end)
        self._known[pieces.start : pieces.stop] = journaled[pieces.start : pieces.stop]
        for index in pieces:
            self._undigested[index] = not self._known[index]
        self.have.add(start, end)

    def add_undigested(self, start: int, end: int) -> list[Range]:
        """Whole pieces are there; digests are computed on request. Returns the ranges that are new. Requires
        the lock.
        """
        new = self.have.missing(start, end)
        for gap in new:
            pieces = self.layout.pieces_of(*gap)
            self._undigested[pieces.start : pieces.stop] = b"\1" * len(pieces)
        self.have.add(start, end)
        return new

    def add_early_digests(self, first: int, digests: bytes) -> None:
        """Add digests from the upstream, ahead of their pieces. Raises ValueError."""
        after = first + len(digests) // DIGEST_BYTES
        if after > self.layout.pieces:
            raise ValueError(f"digests of pieces up to {after}, where there are {self.layout.pieces}")
        with self.lock:
            for number, index in enumerate(range(first, after)):
                if not (self._known[index] and self.has_piece(index)):  # it may have been read again
                    self.record_digest(index, digests[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES])

    def add_piece(self, index: int, digest: bytes) -> None:
        """A piece is there."""
        with self.lock:
            self.record_digest(index, digest)
            self.have.add(*self.layout.piece(index))
            self.wake_pending = True
            complete = self.have.total == self.layout.stream_bytes
            if complete or time.monotonic() - self._last_wake > WAKE_SECONDS:
                self.notify_waiting()

    def cache_piece(self, index: int, payload: bytes) -> None:
        """Cache a piece that is expensive to assemble. Call before adding it."""
        with self.lock:
            self._recent[index] = payload
            if len(self._recent) > max(self.recent_bytes // self.layout.piece_bytes, 2):
                self._recent.popitem(last=False)

    def serve_from_memory(self, index: int, digest: bytes, payload: bytes) -> None:
        """Serve a piece from memory before it is added. The caller adds it soon, and no other one
        before it.
        """
        with self.lock:
            self.record_digest(index, digest)
            self._recent[index] = payload
            self._early = index
        self.notify_waiting()

    def record_digest(self, index: int, digest: bytes) -> None:
        """Record the digest of a piece. Requires the lock."""
        self._digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES] = digest
        if not self._known[index]:
            self._known[index] = 1
            self.digest_condition.notify_all()

    def notify_waiting(self) -> None:
        """Notify threads that wait for pieces. Threads that add pieces call it before waiting for
        anything.
        """
        with self.lock:
            self.wake_pending = False
            self._last_wake = time.monotonic()
            self.condition.notify_all()

    def end(self, reason: str) -> None:
        """Stop serving."""
        with self.lock:
            self.gone_reason = self.gone_reason or reason
            self._recent.clear()
            self.condition.notify_all()
            self.digest_condition.notify_all()
        self.open_files.close()

    def pause(self, paused: bool, number: int) -> None:
        """Pause or resume; an order that is not newer than the last one is ignored."""
        with self.lock:
            if number <= self._pauses:
                return
            self.paused, self._pauses = paused, number
            self.condition.notify_all()
        self.report_state()

    def add_node_limit(self, limiter: RateLimiter) -> None:
        """Also apply this limit, shared with the other casts of the node."""
        self.limiters = (self.limiter, limiter)

    # --- for the servers

    def wait_for_limits(self, length: int, pause: Callable[[float], None]) -> None:
        """Wait until `length` bytes may leave by every limit, one after the other.

        The narrower limit, the cast's own, comes first: a waiting cast takes nothing from other casts.
        """
        for limiter in self.limiters:
            limiter.wait(length, pause)

    def wait_piece(self, index: int, seconds: float) -> bool:
        """Wait up to `seconds` for the piece; returns whether it is there. Raises StoreGoneError if it never
        will be.
        """
        with self.lock:
            if index > self.demand:
                before, self.demand = self.demand, index
                if before < self.demand_awaited <= index:
                    self.condition.notify_all()
            ready = self.is_ready(index)
            on_demand = not ready and self.can_digest(index)
            if not self.gone_reason and not on_demand and not ready:
                self.condition.wait(seconds)
            if self.gone_reason:
                raise StoreGoneError(self.gone_reason)
            if not on_demand:
                return self.is_ready(index)
        self.digest_now(index)
        return True

    def early_digest(self, index: int) -> Optional[bytes]:
        """The digest of a piece, once known; the piece may not be here yet."""
        return self.digest(index) if self._known[index] else None

    def wait_digest(self, index: int, seconds: float) -> None:
        """Wait for the digest of a piece, which may be known ahead of the piece. Raises StoreGoneError."""
        with self.lock:
            if not self.gone_reason and self.early_digest(index) is None:
                self.digest_condition.wait(seconds)
            if self.gone_reason:
                raise StoreGoneError(self.gone_reason)

    def record_requested(self, pieces: range) -> None:
        """Record that these pieces were requested."""
        with self.lock:
            self.requested.add(pieces.start, pieces.stop)

    def wait_hashes(self, seconds: float) -> Optional[Sequence[bytes]]:
        """File hashes known before the trailer, None if undecided within `seconds`.

        Raises StoreGoneError if they never will be.
        """
        with self.lock:
            if not self.gone_reason and self._contents.known_hashes() is None:
                self.condition.wait(seconds)
            if self.gone_reason:
                raise StoreGoneError(self.gone_reason)
            return self._contents.known_hashes()

    def is_ready(self, index: int) -> bool:
        """Whether the piece can be served, with its digest."""
        return (index == self._early or self.has_piece(index)) and not self._undigested[index]

    def can_digest(self, index: int) -> bool:
        """Whether the bytes of a piece are there but its digest is not."""
        return self._undigested[index] == 1 or self._contents.can_digest(index)

    def has_piece(self, index: int) -> bool:
        with self.lock:
            return self.have.contains(*self.layout.piece(index))

    def digest_now(self, index: int) -> None:
        """Read a piece and compute its digest on request. Raises StoreGoneError or OSError."""
        payload = self.piece_bytes(index)
        digest = self.digest_of(payload)
        self._contents.check_unchanged(index)
        with self.lock:
            if self._undigested[index]:
                self.record_digest(index, digest)
                self._undigested[index] = 0
            elif not self.has_piece(index):  # another server may have been faster
                if self.within_file(index) is None:
                    self.cache_piece(index, bytes(payload))
                self.add_piece(index, digest)

    def reread_piece(self, index: int) -> RereadPiece:
        """Read a piece again that arrived damaged downstream. Raises StoreGoneError or OSError."""
        if self.gone_reason:
            raise StoreGoneError(self.gone_reason)
        return self._contents.reread_piece(index)

    def drop_cached(self, index: int) -> None:
        """Read the piece from the files the next time."""
        with self.lock:
            self._recent.pop(index, None)

    def digest_of(self, payload: memoryview) -> bytes:
        """The digest of a piece with these bytes."""
        hasher = self.new_piece_hasher()
        hasher.update(payload)
        return hasher.digest()

    def digest(self, index: int) -> bytes:
        return bytes(self._digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES])

    def within_file(self, index: int) -> Optional[tuple[int, int]]:
        """File and offset of a piece that lies within one file."""
        start, end = self.layout.piece(index)
        if self.manifest is None or start < self.layout.manifest_bytes or end > self.layout.trailer_start:
            return None
        span = self.manifest.span_within(*self.layout.content_range(start, end))
        if span is None or not self._contents.can_open(span.file):
            return None
        return span.file, span.offset

    def spans_of(self, index: int) -> list[FileSpan]:
        """The parts of files that a piece consists of; empty before the manifest is known."""
        if self.manifest is None:
            return []
        return self.manifest.spans(*self.layout.content_range(*self.layout.piece(index)))

    def piece_bytes(self, index: int) -> memoryview:
        """The bytes of an available piece. Raises StoreGoneError, OSError or EOFError."""
        recent = self._recent.get(index)
        if recent is not None:
            return memoryview(recent)
        start, end = self.layout.piece(index)
        payload = bytearray(end - start)
        self.read_stream(memoryview(payload), start, end)
        return memoryview(payload)

    def read_stream(self, view: memoryview, start: int, end: int) -> None:
        """Fill `view` with these bytes of the stream. Raises OSError or EOFError."""
        layout = self.layout
        self.read_lists(view, start, end)
        low, high = layout.content_range(start, end)
        at = layout.manifest_bytes + low - start
        for span in self.manifest.spans(low, high) if self.manifest else ():
            self._contents.read_file(span.file, span.offset, view[at : at + span.length])
            at += span.length

    def read_lists(self, view: memoryview, start: int, end: int) -> None:
        """Fill the parts of `view` that belong to manifest and trailer."""
        layout = self.layout
        if start < layout.manifest_bytes:
            part = self.raw_manifest[start:end]
            view[: len(part)] = part
        if end > layout.trailer_start:
            first = max(start, layout.trailer_start)
            part = self.raw_trailer[first - layout.trailer_start : end - layout.trailer_start]
            view[first - start : first - start + len(part)] = part

    def count_sent(self, index: int, length: int, last: bool) -> None:
        """Count sent bytes of a piece; `last` if a peer has no more requests."""
        with self.lock:
            self.sent_bytes += length
            if index not in self.layout.contents:
                self.sent_lists += length
        if last:
            self.report_state()
        else:
            self.report_progress()

    # --- reports

    def report_progress(self) -> None:
        """Report progress, ten times a second at most."""
        self._dirty = True
        now = time.monotonic()
        if now - self._last_progress >= PROGRESS_SECONDS:
            self._last_progress = now
            self._changed(False)

    def flush_progress(self) -> None:
        """Report held-back progress while idle."""
        if self._dirty:
            self._changed(False)

    def report_state(self) -> None:
        """Report a change of state."""
        self._dirty = True
        self._changed(True)

    def pop_dirty(self) -> bool:
        """Returns whether something changed since the last call."""
        dirty, self._dirty = self._dirty, False
        return dirty


def read_fully(fd: int, offset: int, view: memoryview) -> None:
    """Fill `view` from a file. Raises EOFError where it is too short."""
    count = read_some(fd, offset, view)
    if count < len(view):
        raise EOFError("the file ends too early")


def read_some(fd: int, offset: int, view: memoryview) -> int:
    """Fill `view` from a file as far as possible; returns how far."""
    at = 0
    while at < len(view):
        count = os.preadv(fd, [view[at:]], offset + at)
        if count == 0:
            break
        at += count
    return at
