"""What connections serve from: the pieces that a node has of one cast, and what comes next.

The source and every recipient are one. A server waits here until a piece is there; whoever adds one wakes it.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Optional

from castray_desktop.core.failure import FailureKind
from castray_desktop.core.layout import Layout
from castray_desktop.core.parcel import Manifest
from castray_desktop.core.ranges import RangeSet
from castray_desktop.core.wire import DIGEST_BYTES, MAX_PIECE
from castray_desktop.workers.ray_side.byte_plane.digests import PIECE_DIGESTS, piece_hasher
from castray_desktop.workers.ray_side.byte_plane.files import OpenFiles
from castray_desktop.workers.ray_side.byte_plane.limits import Limiter

RECENT_BYTES = 8 << 20
PROGRESS_SECONDS = 0.1
WAKE_SECONDS = 0.002  # waking a thread costs as much as sending 100 KB: at full speed, some pieces at a time

Changed = Callable[[bool], None]


class Gone(Exception):
    """This node can't ever serve it."""


class Spoilt(Gone):
    """A node's own copy of one piece is not right any more; another node may have it."""

    def __init__(self, piece: int, reason: str, kind: FailureKind = FailureKind.COPY_CHANGED) -> None:
        super().__init__(reason)
        self.piece = piece
        self.kind = kind


class Cancelled(Exception):
    """The cast was cancelled here."""


class Again(NamedTuple):
    """A piece that was read anew, since it arrived damaged."""

    payload: memoryview
    digest: bytes
    changed: bool


class Supply:
    """The pieces of one cast on this node. Subclasses fill it and know where the files are."""

    early_seconds = 0.0
    """How long digests that go ahead of their pieces wait for others. Not at all where they come together
    already: the waits of all nodes of a chain would add up."""

    def __init__(self, cast: str, changed: Changed) -> None:
        self.cast = cast
        self.lock = threading.RLock()
        self.condition = threading.Condition(self.lock)
        self.foretold = threading.Condition(self.lock)  # digests are known which may go ahead of their pieces
        self.layout = Layout(0, 0, 0, 1)
        self.manifest: Optional[Manifest] = None
        self.have = RangeSet()
        self.sent_bytes = 0
        self.sent_lists = 0  # of these, manifest and trailer
        self.limiter = Limiter()
        self.limiters: tuple[Limiter, ...] = (self.limiter,)  # all that what leaves has to keep to
        self.demand = -1  # the furthest piece that anyone has asked for
        self.demand_awaited = 0  # somebody waits until it is that far
        self.gone = ""
        self.paused = False
        self._pauses = 0  # the number of the last order to pause or to go on
        self._digests = bytearray()
        self._known = bytearray()  # which of them are known, by piece; they may come ahead
        self._recent: OrderedDict[int, bytes] = OrderedDict()
        self._early = -1  # a piece that is only in memory so far
        self._changed = changed
        self._last_progress = 0.0
        self._last_wake = 0.0
        self.unwoken = False
        self._dirty = False
        self.new_piece_hasher = piece_hasher(PIECE_DIGESTS[-1])
        self.reading = OpenFiles(self._open_for_reading)

    # --- for the subclasses

    def _open_for_reading(self, file: int) -> int:
        raise NotImplementedError

    def manifest_bytes(self) -> bytes | bytearray:
        raise NotImplementedError

    def trailer_bytes(self) -> bytes | bytearray:
        raise NotImplementedError

    def read_anew(self, index: int) -> Again:
        """A piece that arrived damaged, read from the files again. Raises Gone."""
        raise NotImplementedError

    def _lay_out(self, layout: Layout) -> None:
        if layout.piece_bytes > MAX_PIECE:
            raise ValueError(f"pieces of {layout.piece_bytes} bytes")
        self.layout = layout
        self._digests, self._known = bytearray(layout.pieces * DIGEST_BYTES), bytearray(layout.pieces)

    def add(self, index: int, digest: bytes) -> None:
        """A piece is there."""
        with self.lock:
            self._note_digest(index, digest)
            self.have.add(*self.layout.piece(index))
            self.unwoken = True
            complete = self.have.total == self.layout.stream_bytes
            if complete or time.monotonic() - self._last_wake > WAKE_SECONDS:
                self.wake()

    def keep_recent(self, index: int, payload: bytes) -> None:
        """Keep a piece in memory for a while that is costly to put together. Before it is added."""
        with self.lock:
            self._recent[index] = payload
            if len(self._recent) > max(RECENT_BYTES // self.layout.piece_bytes, 2):
                self._recent.popitem(last=False)

    def pass_on(self, index: int, digest: bytes, payload: bytes) -> None:
        """A piece may be served from memory. Whoever calls this adds it soon, and no other one before it."""
        with self.lock:
            self._note_digest(index, digest)
            self._recent[index] = payload
            self._early = index
        self.wake()

    def _note_digest(self, index: int, digest: bytes) -> None:
        """The digest of a piece is known. With the lock."""
        self._digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES] = digest
        if not self._known[index]:
            self._known[index] = 1
            self.foretold.notify_all()

    def wake(self) -> None:
        """Let those go on who wait for pieces. Whoever adds pieces calls it before waiting for anything."""
        with self.lock:
            self.unwoken = False
            self._last_wake = time.monotonic()
            self.condition.notify_all()

    def end(self, reason: str) -> None:
        """From now on nothing is served."""
        with self.lock:
            self.gone = self.gone or reason
            self._recent.clear()
            self.condition.notify_all()
            self.foretold.notify_all()
        self.reading.close()

    def pause(self, paused: bool, number: int) -> None:
        """Serve nothing for now, or go on; an order that is not newer than the last one is ignored."""
        with self.lock:
            if number <= self._pauses:
                return
            self.paused, self._pauses = paused, number
            self.condition.notify_all()
        self.stated()

    def share_limit(self, limiter: Limiter) -> None:
        """Keep to this limit as well, together with the other casts of the node."""
        self.limiters = (self.limiter, limiter)

    # --- for the servers

    def await_piece(self, index: int, seconds: float) -> bool:
        """Whether the piece is there within `seconds`. Raises Gone when it never will be."""
        with self.lock:
            if index > self.demand:
                before, self.demand = self.demand, index
                if before < self.demand_awaited <= index:
                    self.condition.notify_all()
            ready = self.is_ready(index)
            on_demand = not ready and self.can_digest(index)
            if not self.gone and not on_demand and not ready:
                self.condition.wait(seconds)
            if self.gone:
                raise Gone(self.gone)
            if not on_demand:
                return self.is_ready(index)
        self._digest(index)
        return True

    def early_digest(self, index: int) -> Optional[bytes]:
        """The digest of a piece that may not be here yet, once it is known."""
        return self.digest(index) if self._known[index] else None

    def want_early(self) -> None:
        """Somebody wants digests before their pieces are here."""

    def await_digest(self, index: int, seconds: float) -> None:
        """Wait until the digest of a piece is known, which may come ahead of the piece. Raises Gone."""
        with self.lock:
            if not self.gone and self.early_digest(index) is None:
                self.foretold.wait(seconds)
            if self.gone:
                raise Gone(self.gone)

    def note_asked(self, pieces: range) -> None:
        """Somebody wants these pieces, one after the other."""

    def await_hashes(self, seconds: float) -> Optional[Sequence[bytes]]:
        """What is known of file hashes before the trailer, None if that is not clear within `seconds`.

        Raises Gone when it never will be.
        """
        with self.lock:
            if not self.gone and self.known_hashes() is None:
                self.condition.wait(seconds)
            if self.gone:
                raise Gone(self.gone)
            return self.known_hashes()

    def known_hashes(self) -> Optional[Sequence[bytes]]:
        """File hashes that are known before the trailer; empty where they are not, None: not clear yet."""
        return ()

    def is_ready(self, index: int) -> bool:
        """Whether the piece can be served, with its digest."""
        return index == self._early or self.has_piece(index)

    def can_digest(self, index: int) -> bool:
        """Whether the bytes of a piece are there, and only its digest is not."""
        return False

    def has_piece(self, index: int) -> bool:
        with self.lock:
            return self.have.contains(*self.layout.piece(index))

    def _digest(self, index: int) -> None:
        """Read a piece and make its digest, since somebody asks for it. Raises Gone or OSError."""
        payload = self.assembled(index)
        hasher = self.new_piece_hasher()
        hasher.update(payload)
        with self.lock:
            if not self.has_piece(index):  # another server may have been faster
                if self.within_file(index) is None:
                    self.keep_recent(index, bytes(payload))
                self.add(index, hasher.digest())

    def digest(self, index: int) -> bytes:
        return bytes(self._digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES])

    def within_file(self, index: int) -> Optional[tuple[int, int]]:
        """File and offset of a piece that lies within one file."""
        start, end = self.layout.piece(index)
        if self.manifest is None or start < self.layout.manifest_bytes or end > self.layout.trailer_start:
            return None
        span = self.manifest.span_within(*self.layout.content_part(start, end))
        return (span.file, span.offset) if span is not None else None

    def borrow(self, file: int) -> AbstractContextManager[int]:
        """A descriptor to read the file from."""
        return self.reading.borrow(file)

    def assembled(self, index: int) -> memoryview:
        """The bytes of a piece that is there. Raises Gone or OSError."""
        recent = self._recent.get(index)
        if recent is not None:
            return memoryview(recent)
        start, end = self.layout.piece(index)
        payload = bytearray(end - start)
        self._fill(memoryview(payload), start, end)
        return memoryview(payload)

    def _fill(self, view: memoryview, start: int, end: int) -> None:
        layout = self.layout
        if start < layout.manifest_bytes:
            part = self.manifest_bytes()[start:end]
            view[: len(part)] = part
        low, high = layout.content_part(start, end)
        at = layout.manifest_bytes + low - start
        for span in self.manifest.spans(low, high) if self.manifest else ():
            self._read_file(span.file, span.offset, view[at : at + span.length])
            at += span.length
        if end > layout.trailer_start:
            first = max(start, layout.trailer_start)
            part = self.trailer_bytes()[first - layout.trailer_start : end - layout.trailer_start]
            view[first - start : first - start + len(part)] = part

    def _read_file(self, file: int, offset: int, view: memoryview) -> None:
        """Fill `view` from a file. Raises OSError, also where the file is too short."""
        with self.reading.borrow(file) as fd:
            read_fully(fd, offset, view)

    def count_sent(self, index: int, length: int, last: bool) -> None:
        """So many bytes of a piece leave this node; `last` for all that a peer has asked for so far."""
        with self.lock:
            self.sent_bytes += length
            if index not in self.layout.contents:
                self.sent_lists += length
        if last:
            self.stated()
        else:
            self.progressed()

    # --- reports

    def progressed(self) -> None:
        """Numbers have changed; tells so ten times a second at most."""
        self._dirty = True
        now = time.monotonic()
        if now - self._last_progress >= PROGRESS_SECONDS:
            self._last_progress = now
            self._changed(False)

    def flush_progress(self) -> None:
        """Nothing happens at the moment: tell what was held back."""
        if self._dirty:
            self._changed(False)

    def stated(self) -> None:
        """The state has changed."""
        self._dirty = True
        self._changed(True)

    def take_dirty(self) -> bool:
        """Whether something has changed since the last time this was asked."""
        dirty, self._dirty = self._dirty, False
        return dirty


def read_fully(fd: int, offset: int, view: memoryview) -> None:
    """Fill `view` from a file. Raises EOFError where it is too short."""
    count = read_some(fd, offset, view)
    if count < len(view):
        raise EOFError("the file ends too early")


def read_some(fd: int, offset: int, view: memoryview) -> int:
    """Fill `view` from a file as far as it goes; how far."""
    at = 0
    while at < len(view):
        count = os.preadv(fd, [view[at:]], offset + at)
        if count == 0:
            break
        at += count
    return at
