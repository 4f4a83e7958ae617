"""Where manifest, contents and trailer lie in the stream, and how it is cut in pieces.

Each of the three parts is cut separately; its last piece may be shorter. So no piece of the contents
holds a byte of the lists, and a recipient that has a file need not be sent any of it, however short it
is.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class StreamLayout:
    """Lengths in bytes. Pieces are counted from 0, in the stream's order.

    Raises ValueError for negative lengths, or pieces of less than a byte.
    """

    manifest_bytes: int
    content_bytes: int
    trailer_bytes: int
    piece_bytes: int
    trailer_start: int = field(init=False)
    stream_bytes: int = field(init=False)
    pieces: int = field(init=False)
    contents: range = field(init=False)  # the pieces of the contents

    def __post_init__(self) -> None:
        if min(self.manifest_bytes, self.content_bytes, self.trailer_bytes) < 0 or self.piece_bytes < 1:
            raise ValueError("a layout with negative lengths")
        trailer_start = self.manifest_bytes + self.content_bytes
        first = self._count(self.manifest_bytes)
        contents = range(first, first + self._count(self.content_bytes))
        object.__setattr__(self, "trailer_start", trailer_start)
        object.__setattr__(self, "stream_bytes", trailer_start + self.trailer_bytes)
        object.__setattr__(self, "contents", contents)
        object.__setattr__(self, "pieces", contents.stop + self._count(self.trailer_bytes))

    def _count(self, length: int) -> int:
        return -(-length // self.piece_bytes)

    def piece(self, index: int) -> tuple[int, int]:
        """Start and end of a piece in the stream. Raises ValueError for one that there is not."""
        first, after = self.contents.start, self.contents.stop
        if first <= index < after:  # as nearly always
            base, limit = self.manifest_bytes, self.trailer_start
        elif 0 <= index < first:
            first, base, limit = 0, 0, self.manifest_bytes
        elif after <= index < self.pieces:
            first, base, limit = after, self.trailer_start, self.stream_bytes
        else:
            raise ValueError(f"no piece {index}")
        start = base + (index - first) * self.piece_bytes
        end = start + self.piece_bytes
        return start, end if end < limit else limit

    def piece_at(self, offset: int) -> int:
        """The piece that contains this byte of the stream. Raises ValueError for one beyond it."""
        if not 0 <= offset < self.stream_bytes:
            raise ValueError(f"no byte {offset}")
        if offset >= self.trailer_start:
            return self.contents.stop + (offset - self.trailer_start) // self.piece_bytes
        if offset >= self.manifest_bytes:
            return self.contents.start + (offset - self.manifest_bytes) // self.piece_bytes
        return offset // self.piece_bytes

    def piece_from(self, offset: int) -> int:
        """The first piece that begins at or after `offset`; the number of pieces if there is none."""
        if offset >= self.stream_bytes:
            return self.pieces
        index = self.piece_at(offset)
        return index if self.piece(index)[0] == offset else index + 1

    def pieces_of(self, start: int, end: int) -> range:
        """The pieces that have bytes in `[start, end)`, which is not empty. Raises ValueError."""
        return range(self.piece_at(start), self.piece_at(end - 1) + 1)

    def content_range(self, start: int, end: int) -> tuple[int, int]:
        """The part of a span of the stream that is contents, in offsets of the contents."""
        low = min(max(start - self.manifest_bytes, 0), self.content_bytes)
        high = min(max(end - self.manifest_bytes, 0), self.content_bytes)
        return low, high


MAX_PIECE_BYTES = 1 << 20
MIN_PIECE_BYTES = 256 << 10
"""Shorter pieces cost more processor time than they save."""

PIPELINE_FILL_DIVISOR = 64
"""The hops together may add at most one part in this many to the whole time."""


def choose_piece_bytes(size: int, recipients: int) -> int:
    """The piece size in bytes, a power of two, for `size` bytes to this many recipients.

    The last node of a chain is behind the first by one piece for each hop, however fast the links are: with
    32 recipients, 256 MiB and pieces of 1 MiB, that is an eighth of one copy's time.
    """
    length = MAX_PIECE_BYTES
    while length > MIN_PIECE_BYTES and length * recipients * PIPELINE_FILL_DIVISOR > size:
        length //= 2
    return length
