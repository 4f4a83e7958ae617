"""Bytes that datagrams brought, in the memory of a few pieces, until digests say whether they are right."""

from __future__ import annotations

import enum
import threading
from typing import NamedTuple, Optional, Protocol

from castray_desktop.core.layout import Layout
from castray_desktop.core.ranges import Range, RangeSet
from castray_desktop.workers.ray_side.byte_plane.buffers import page_buffer

ROOM_BYTES = 40 << 20
FEWEST = 4
SLACK_BYTES = 1 << 16
"""Of each piece's memory, beyond the piece: whoever lets datagrams land there does not know how many come."""
MANY_GAPS = 200
"""A piece that lacks more parts than this is asked for as a whole."""


class Taken(enum.IntEnum):
    """What became of bytes that came."""

    NO_ROOM = 0
    TAKEN = 1  # or not needed
    COMPLETED = 2  # and their piece is whole now


class Wanted(Protocol):
    """What a delivery still needs."""

    def wants_piece(self, index: int) -> bool:
        """Whether this piece is neither here nor being read back."""

    def next_wanted(self, index: int) -> int:
        """The first such piece from there on, the number of pieces if there is none."""

    def is_undecided(self) -> bool:
        """Whether it is not clear yet which pieces are needed."""

    def stated(self) -> None:
        """Something is to be reported at once."""


class _Slot:
    """One piece. What has come, by datagram or from the upstream, and what the upstream was asked for."""

    __slots__ = ("asked", "buffer", "have", "length")

    def __init__(self, buffer: memoryview, length: int) -> None:
        self.buffer = buffer
        self.length = length
        self.have = RangeSet()
        self.asked = RangeSet()

    @property
    def whole(self) -> bool:
        return self.have.total == self.length

    @property
    def untouched(self) -> bool:
        """Whether nothing of it is here or under way."""
        return not self.have.total and not self.asked.total

    def gaps(self) -> list[Range]:
        """What has not come, and nobody was asked for."""
        return [
            gap for low, high in self.have.missing(0, self.length) for gap in self.asked.missing(low, high)
        ]


class Lacking(NamedTuple):
    """What has to come from the upstream."""

    wholly: list[Range]  # pieces, by number
    parts: list[tuple[int, list[Range]]]  # of pieces that have most; ranges are within the piece


class Candidates:
    """Pieces that are coming together. One thread takes datagrams in; it and another one take pieces out.

    Bytes that came first stay, so that whoever listens and repeats can't replace them. A piece that was taken
    out, or given up, is not touched by datagrams any more.
    """

    def __init__(self, layout: Layout, wanted: Wanted, room: int = ROOM_BYTES) -> None:
        self.lock = threading.Lock()
        self._layout = layout
        self._wanted = wanted
        self._most = max(room // (layout.piece_bytes + SLACK_BYTES), FEWEST)
        self._slots: dict[int, _Slot] = {}
        self._free: list[memoryview] = []
        self._whole: list[int] = []  # their bytes are all there
        self._looked = 0  # pieces before it were dealt with: what they lacked was asked for
        self.front = (0, 0)  # piece and offset that the sender has come to
        self._out = 0  # buffers that were taken out
        self.first = -1  # the piece that the first datagram was of
        self._landing = layout.pieces  # the piece whose memory datagrams may be written to just now

    # --- for the thread that listens

    def land(self, piece: int, offset: int) -> Optional[memoryview]:
        """The memory of a piece, for datagrams that should be its bytes from an offset on.

        None where some of them are there, or were asked for. Nobody else touches the piece until `landed`.
        """
        with self.lock:
            slot = self._slot(piece)
            if slot is None or slot.have.end > offset or slot.asked.total:
                return None
            self._landing = piece
            return slot.buffer

    def landed(self) -> None:
        """Nothing is written to that memory any more."""
        self._landing = self._layout.pieces

    def take(self, piece: int, offset: int, data: memoryview, in_place: bool = False) -> tuple[bool, Taken]:
        """Bytes of a piece from an offset on; none where the sender only says where it is.

        Also whether the sender has come to another piece with them. They may have landed `in_place`.
        """
        with self.lock:
            further = self._passed(piece, offset)
            return further, self._take(piece, offset, data, in_place) if len(data) else Taken.TAKEN

    def _passed(self, piece: int, offset: int) -> bool:
        if self.first < 0:
            self.first = self._looked = piece
        if (piece, offset) <= self.front:
            return False
        further = piece > self.front[0]
        self.front = piece, offset
        return further

    def _take(self, piece: int, offset: int, data: memoryview, in_place: bool) -> Taken:
        slot = self._slot(piece)
        if slot is None:
            return Taken.NO_ROOM if self._needs(piece) else Taken.TAKEN
        end = offset + len(data)
        if end > slot.length or slot.whole:
            return Taken.TAKEN
        if in_place:
            slot.have.add(offset, end)
        else:
            self._fill_gaps(slot, offset, data)
        if not slot.whole:
            return Taken.TAKEN
        self._whole.append(piece)
        return Taken.COMPLETED

    @staticmethod
    def _fill_gaps(slot: _Slot, offset: int, data: memoryview) -> None:
        for start, end in slot.have.missing(offset, offset + len(data)):
            for low, high in slot.asked.missing(start, end):
                slot.buffer[low:high] = data[low - offset : high - offset]
                slot.have.add(low, high)

    def _slot(self, piece: int) -> Optional[_Slot]:
        """Where its bytes go; None if it is not needed, or there is no room."""
        slot = self._slots.get(piece)
        if slot is None and self._needs(piece) and len(self._slots) + self._out < self._most:
            start, end = self._layout.piece(piece)
            size = self._layout.piece_bytes + SLACK_BYTES
            buffer = self._free.pop() if self._free else page_buffer(size)
            slot = self._slots[piece] = _Slot(buffer, end - start)
        return slot

    def _needs(self, piece: int) -> bool:
        return self._looked <= piece < self._layout.pieces and self._wanted.wants_piece(piece)

    def lacks(self) -> bool:
        """Whether the sender has passed something that has not come."""
        with self.lock:
            while self._looked < self.front[0] and self._is_done_with(self._looked):
                self._looked += 1
            return any(self._lacks(piece) for piece in range(self._looked, self.front[0]))

    def _is_done_with(self, piece: int) -> bool:
        return piece not in self._slots and not self._wanted.wants_piece(piece)

    def _lacks(self, piece: int) -> bool:
        slot = self._slots.get(piece)
        return (slot is None or not slot.whole) and self._wanted.wants_piece(piece)

    # --- for whoever places, and for the thread that has the connection

    @property
    def whole(self) -> tuple[int, ...]:
        """Pieces whose bytes are all there."""
        with self.lock:
            return tuple(self._whole)

    def take_out(self, piece: int) -> tuple[memoryview, int]:
        """The bytes of a whole piece, and how many of them the upstream was asked for; `give_back` them."""
        with self.lock:
            slot = self._slots.pop(piece)
            self._whole.remove(piece)
            self._out += 1
            return slot.buffer[: slot.length], slot.asked.total

    def give_back(self, buffer: memoryview) -> None:
        """They were placed, or were wrong."""
        with self.lock:
            self._out -= 1
            self._free.append(_all_of(buffer))

    def lacking(self, ended: bool) -> Lacking:
        """What the sender has passed, or all if it has `ended`, and nobody was asked for yet.

        It counts as asked for from now on.
        """
        wholly: list[Range] = []
        parts: list[tuple[int, list[Range]]] = []
        with self.lock:
            last = min(self._layout.pieces if ended else self.front[0], self._landing)
            for piece in range(self._looked, last):
                slot = self._slots.get(piece)
                if not self._wanted.wants_piece(piece):
                    if slot is not None and not slot.whole:
                        self._forget(piece)
                    continue
                gaps = slot.gaps() if slot is not None else []
                if slot is None or len(gaps) > MANY_GAPS or slot.untouched:
                    if slot is not None:
                        self._forget(piece)
                    first = wholly.pop()[0] if wholly and wholly[-1][1] == piece else piece
                    wholly.append((first, piece + 1))
                elif gaps:
                    for gap in gaps:
                        slot.asked.add(*gap)
                    parts.append((piece, gaps))
            self._looked = max(self._looked, last)
        return Lacking(wholly, parts)

    def part(self, piece: int, start: int, end: int) -> Optional[memoryview]:
        """Where to put a part that was asked for; None if it is not needed any more."""
        with self.lock:
            slot = self._slots.get(piece)
            if (
                slot is None
                or not slot.asked.contains(start, end)
                or slot.have.missing(start, end) != [(start, end)]
            ):
                return None
            return slot.buffer[start:end]

    def part_came(self, piece: int, start: int, end: int) -> None:
        """It is there, in the memory that `part` has given."""
        with self.lock:
            slot = self._slots.get(piece)
            if slot is not None and not slot.whole:
                slot.have.add(start, end)
                if slot.whole:
                    self._whole.append(piece)

    def look_again(self) -> None:
        """Have `lacking` tell again what is wanted still, but for parts that were asked for."""
        with self.lock:
            self._looked = max(self.first, 0)

    def start_over(self) -> None:
        """What was asked for will not come: the connection is another one."""
        with self.lock:
            self._looked = max(self.first, 0)
            for slot in self._slots.values():
                slot.asked = RangeSet()

    def _forget(self, piece: int) -> None:
        self._free.append(_all_of(self._slots.pop(piece).buffer))


def _all_of(part: memoryview) -> memoryview:
    return memoryview(part.obj)
