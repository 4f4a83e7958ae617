"""Pieces of a large file that come one after the other: written and hashed as they come, counted together.

What else is done for a piece has left the processor's cache by the next one. Done once for several of them it
costs little more than for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional, Protocol

from castray_desktop.core.layout import Layout
from castray_desktop.core.parcel import Manifest, Span
from castray_desktop.workers.ray_side.byte_plane.hashing import FileHashes
from castray_desktop.workers.ray_side.byte_plane.spending import CHECKING, DISK, Spending

MOST_PIECES = 8


class Owner(Protocol):
    """The stock that the pieces are of."""

    layout: Layout
    spending: Spending

    def is_free(self, start: int, end: int) -> bool:
        """Whether nothing of this range of the stream is here, or may be."""

    def write(self, span: Span, view: memoryview) -> None:
        """Write a verified part of a file. Raises CastRayError."""

    def placed(self, first: int, digests: Sequence[bytes], length: int) -> None:
        """Pieces from `first` on were written, so many bytes of contents. Raises CastRayError."""

    def progressed(self) -> None:
        """Numbers have changed."""


class Stretch:
    """Pieces of one file. Nobody else places meanwhile, since whoever has it holds `placing_lock`."""

    def __init__(self, owner: Owner, hashes: FileHashes, pieces: range, span: Span, low: int) -> None:
        """All of the same length. `span` is that of the first one, which lies from `low` on in the contents.
        `hashes` is taken.
        """
        self._owner = owner
        self._hashes = hashes
        self._pieces = pieces
        self._span = span
        self._low = low
        self._digests: list[bytes] = []

    def is_next(self, piece: int) -> bool:
        """Whether this piece may be put now."""
        return piece == self._pieces.start + len(self._digests) and piece in self._pieces

    def put(self, digest: bytes, view: memoryview) -> None:
        """Write and hash the next piece, which was verified. Raises CastRayError, or as `FileHashes.feed`."""
        owner, span = self._owner, self._span
        owner.spending.on(DISK)
        owner.write(span, view)
        owner.spending.on(CHECKING)
        self._hashes.hash((span,), view)
        self._digests.append(digest)
        self._span = span._replace(offset=span.offset + span.length)

    def close(self) -> int:
        """Count what was put; its bytes. Raises CastRayError."""
        length = len(self._digests) * self._span.length
        try:
            if length:
                self._owner.placed(self._pieces.start, self._digests, length)
        finally:
            self._hashes.give_back(self._low + length)
        self._owner.progressed()
        return length


def begin(owner: Owner, manifest: Manifest, hashes: FileHashes, first: int) -> Optional[Stretch]:
    """A stretch of contents from `first` on; None where they have to be placed one by one.

    That is so where the file ends soon or has holes, where something of it is here, and where the hashes are
    not that far. Raises like `FileHashes.feed`.
    """
    layout = owner.layout
    start, _ = layout.piece(first)
    low, length = start - layout.manifest_bytes, layout.piece_bytes
    left = manifest.file_range(manifest.file_at(low))[1] - low
    number = min(left // length, MOST_PIECES)
    span = manifest.span_within(low, low + length) if number > 1 else None
    if span is None or not owner.is_free(start, start + number * length) or not hashes.take(low, (span,)):
        return None
    return Stretch(owner, hashes, range(first, first + number), span, low)
