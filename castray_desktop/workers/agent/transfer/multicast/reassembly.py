"""Reassemble pieces from datagrams in memory, and write them once their digests show that they are right."""

from __future__ import annotations

import enum
import threading
from typing import NamedTuple, Optional

from castray_desktop.core.content.byte_ranges import Range, RangeSet
from castray_desktop.core.content.stream_layout import StreamLayout
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.workers.agent.transfer.store.cancellation import CastCancelledError
from castray_desktop.workers.agent.transfer.store.needed_pieces import NeededPieces
from castray_desktop.workers.agent.transfer.store.receive_store import ReceiveStore
from castray_desktop.workers.agent.transfer.system.file_io import page_buffer
from castray_desktop.workers.agent.transfer.system.time_breakdown import CHECKING, WAITING

BUFFER_BYTES = 40 << 20
MIN_PIECES = 4
MAX_GAPS = 200
"""A piece with more gaps than this is requested as a whole."""


class AcceptResult(enum.IntEnum):
    """Result of receiving bytes."""

    NO_ROOM = 0
    TAKEN = 1  # or not needed
    COMPLETED = 2  # and their piece is complete now


class _PieceBuffer:
    """One piece: the ranges received by datagram or from the upstream, and the ranges requested."""

    __slots__ = ("asked", "buffer", "have", "length")

    def __init__(self, buffer: memoryview, length: int) -> None:
        self.buffer = buffer
        self.length = length
        self.have = RangeSet()
        self.asked = RangeSet()

    @property
    def complete(self) -> bool:
        return self.have.total == self.length

    def gaps(self, start: int, end: int) -> list[Range]:
        """Ranges within this one that were neither received nor requested."""
        return [gap for low, high in self.have.missing(start, end) for gap in self.asked.missing(low, high)]


class MissingData(NamedTuple):
    """What has to be requested from the upstream."""

    pieces: list[Range]  # ranges of piece numbers
    parts: list[tuple[int, list[Range]]]  # (piece, ranges within it) of almost complete pieces


class ReassemblyBuffer:
    """Assembles pieces from datagrams. One thread adds datagrams; it and another one take complete pieces
    out.

    The first received bytes are kept, so that replayed datagrams can't replace them. Datagrams do not change
    a piece that was taken out or given up.
    """

    def __init__(self, layout: StreamLayout, needed: NeededPieces, room: int = BUFFER_BYTES) -> None:
        self.lock = threading.Lock()
        self._layout = layout
        self._needed = needed
        self._most = max(room // layout.piece_bytes, MIN_PIECES)
        self._slots: dict[int, _PieceBuffer] = {}
        self._free: list[memoryview] = []
        self._complete: list[int] = []  # complete pieces
        self._checked = 0  # gaps of all pieces before this one were requested
        self.front = (0, 0)  # piece and offset that the sender has reached
        self._out: set[int] = set()  # pieces that were taken out, and are being written
        self.first = -1  # piece of the first datagram

    # --- for the receiving thread

    def accept(self, piece: int, offset: int, data: memoryview) -> tuple[bool, AcceptResult]:
        """Add bytes of a piece at an offset; no bytes if the sender only tells its position.

        Also returns whether the sender has reached another piece.
        """
        with self.lock:
            further = self._passed(piece, offset)
            return further, self._take(piece, offset, data) if len(data) else AcceptResult.TAKEN

    def _passed(self, piece: int, offset: int) -> bool:
        piece = min(piece, self._layout.pieces)  # a header can name any number
        if self.first < 0:
            self.first = self._checked = piece
        if (piece, offset) <= self.front:
            return False
        further = piece > self.front[0]
        self.front = piece, offset
        return further

    def _take(self, piece: int, offset: int, data: memoryview) -> AcceptResult:
        slot = self._slot(piece)
        if slot is None:
            return AcceptResult.NO_ROOM if self._needs(piece) else AcceptResult.TAKEN
        end = offset + len(data)
        if end > slot.length or slot.complete:
            return AcceptResult.TAKEN
        for low, high in slot.gaps(offset, end):
            slot.buffer[low:high] = data[low - offset : high - offset]
            slot.have.add(low, high)
        if not slot.complete:
            return AcceptResult.TAKEN
        self._complete.append(piece)
        return AcceptResult.COMPLETED

    def _slot(self, piece: int) -> Optional[_PieceBuffer]:
        """The slot of a piece; None if it is not needed or there is no free buffer."""
        slot = self._slots.get(piece)
        if slot is None and self._needs(piece) and len(self._slots) + len(self._out) < self._most:
            start, end = self._layout.piece(piece)
            buffer = self._free.pop() if self._free else page_buffer(self._layout.piece_bytes)
            slot = self._slots[piece] = _PieceBuffer(buffer, end - start)
        return slot

    def _needs(self, piece: int) -> bool:
        return self._checked <= piece < self._layout.pieces and self._is_wanted(piece)

    def _is_wanted(self, piece: int) -> bool:
        return piece not in self._out and self._needed.includes(piece)

    def has_missing(self) -> bool:
        """Whether the sender has passed bytes that were not received."""
        with self.lock:
            while self._checked < self.front[0] and self._is_done_with(self._checked):
                self._checked += 1
            return any(self._lacks(piece) for piece in range(self._checked, self.front[0]))

    def _is_done_with(self, piece: int) -> bool:
        return piece not in self._slots and not self._needed.includes(piece)

    def _lacks(self, piece: int) -> bool:
        slot = self._slots.get(piece)
        return (slot is None or not slot.complete) and self._is_wanted(piece)

    # --- for the threads that write, and the thread that has the connection

    @property
    def complete_pieces(self) -> tuple[int, ...]:
        """Complete pieces."""
        with self.lock:
            return tuple(self._complete)

    def remove_complete(self, piece: int) -> tuple[memoryview, int]:
        """Take the bytes of a complete piece, and the number of them that were requested from the upstream;
        return the buffer with `recycle`."""
        with self.lock:
            slot = self._slots.pop(piece)
            self._complete.remove(piece)
            self._out.add(piece)
            return slot.buffer[: slot.length], slot.asked.total

    def recycle(self, piece: int, buffer: memoryview) -> None:
        """Return the buffer of a piece that was written, or whose bytes were wrong."""
        with self.lock:
            self._out.discard(piece)
            self._free.append(_all_of(buffer))

    def missing(self, ended: bool) -> MissingData:
        """Gaps before the sender's position (or all, if it has `ended`) that were not requested yet.

        They are marked as requested.
        """
        wholly: list[Range] = []
        parts: list[tuple[int, list[Range]]] = []
        with self.lock:
            last = self._layout.pieces if ended else self.front[0]
            for piece in range(self._checked, last):
                slot = self._slots.get(piece)
                if not self._is_wanted(piece):
                    if slot is not None and not slot.complete:
                        self._forget(piece)
                    continue
                gaps = slot.gaps(0, slot.length) if slot is not None else []
                if slot is None or len(gaps) > MAX_GAPS:
                    if slot is not None:
                        self._forget(piece)
                    first = wholly.pop()[0] if wholly and wholly[-1][1] == piece else piece
                    wholly.append((first, piece + 1))
                elif gaps:
                    for gap in gaps:
                        slot.asked.add(*gap)
                    parts.append((piece, gaps))
            self._checked = max(self._checked, last)
        return MissingData(wholly, parts)

    def part(self, piece: int, start: int, end: int) -> Optional[memoryview]:
        """Buffer for a requested part; None if it is not needed any more."""
        with self.lock:
            slot = self._slots.get(piece)
            if (
                slot is None
                or not slot.asked.contains(start, end)
                or slot.have.missing(start, end) != [(start, end)]
            ):
                return None
            return slot.buffer[start:end]

    def part_received(self, piece: int, start: int, end: int) -> None:
        """A requested part was received into the buffer from `part`."""
        with self.lock:
            slot = self._slots.get(piece)
            if slot is not None and not slot.complete:
                slot.have.add(start, end)
                if slot.complete:
                    self._complete.append(piece)

    def recheck(self) -> None:
        """Reset, so that `missing` returns everything still missing, except for requested parts."""
        with self.lock:
            self._checked = max(self.first, 0)

    def start_over(self) -> None:
        """Discard pending requests after a reconnection."""
        with self.lock:
            self._checked = max(self.first, 0)
            for slot in self._slots.values():
                slot.asked = RangeSet()

    def _forget(self, piece: int) -> None:
        self._free.append(_all_of(self._slots.pop(piece).buffer))


def _all_of(part: memoryview) -> memoryview:
    return memoryview(part.obj)


class PieceWriter:
    """Two threads write: the receiving one as long as that is fast, and the connection's thread, which does
    the rest.

    Data received just now is still in the processor's cache, which makes writing it much cheaper there. So
    the connection's thread only writes contents that the receiving one has left to it.
    """

    def __init__(self, store: ReceiveStore, buffer: ReassemblyBuffer) -> None:
        self._store = store
        self._buffer = buffer
        self._wrong: list[Range] = []
        self._error: Optional[Exception] = None
        self._deferred = False  # contents are left for the other thread

    # --- for the receiving thread

    def write_now(self) -> bool:
        """Write contents, unless the other thread is writing. False if work is left for the other thread."""
        store = self._store
        if store.pieces.manifest is None or not store.write_lock.acquire(blocking=False):
            self.defer()
            return False
        try:
            nothing_else = self._write(contents=True, lists=False)
        except (CastRayError, OSError, CastCancelledError) as error:
            self._error = error  # the other thread raises it
            self.defer()
            return False
        finally:
            store.time_breakdown.switch(WAITING)
            store.write_lock.release()
        return nothing_else and not self._wrong and not store.is_complete()

    def defer(self) -> None:
        """Leave complete contents to the other thread. From any thread."""
        self._deferred = True

    # --- for the thread that has the connection

    def write_complete(self, all_of_them: bool = False) -> list[Range]:
        """Write lists, and contents that were left (or `all_of_them`), as far as possible.

        Returns ranges of pieces whose bytes were wrong. Raises the receiving thread's error, and as
        `ReceiveStore.write_piece` does.
        """
        if not (all_of_them or self._deferred or self._error or self._wrong or self._buffer.complete_pieces):
            return []
        with self._store.write_lock:
            if self._error is not None:
                raise self._error
            contents = all_of_them or self._deferred
            if contents:  # reset before looking for complete pieces, so that none is missed
                self._deferred = False
            self._write(contents, lists=True)
            wrong, self._wrong = self._wrong, []
        return wrong

    def _write(self, contents: bool, lists: bool) -> bool:
        """Write the complete ones of these pieces. Returns whether there were no others."""
        store, buffer, others = self._store, self._buffer, False
        for piece in buffer.complete_pieces:
            if not (contents if piece in store.pieces.layout.contents else lists):
                others = True
            elif not store.needed.includes(piece):
                buffer.recycle(piece, buffer.remove_complete(piece)[0])
            else:
                digest = store.pieces.early_digest(piece)
                if digest is not None and store.can_write(piece):
                    self._write_piece(piece, digest)
                else:  # it is written once the missing digest has arrived
                    self.defer()
        return not others

    def _write_piece(self, piece: int, digest: bytes) -> None:
        view, asked = self._buffer.remove_complete(piece)
        self._store.time_breakdown.switch(CHECKING)
        if self._store.pieces.digest_of(view) == digest and self._store.write_piece(piece, digest, view):
            self._store.datagram_bytes += len(view) - asked
        else:
            self._wrong.append((piece, piece + 1))
        self._buffer.recycle(piece, view)
