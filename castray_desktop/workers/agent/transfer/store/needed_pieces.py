"""Which pieces a recipient still has to get."""

from __future__ import annotations

from castray_desktop.core.content.byte_ranges import Range, RangeSet
from castray_desktop.workers.agent.transfer.store.existing_files import ExistingFileComparison
from castray_desktop.workers.agent.transfer.store.piece_store import PieceStore


class NeededPieces:
    """The pieces that are neither in the store, nor in its journal, nor perhaps in existing files.

    It shares the lock of the piece store.
    """

    def __init__(self, pieces: PieceStore, comparison: ExistingFileComparison) -> None:
        self.journaled = RangeSet()  # recorded by an earlier delivery, not verified when this one started
        self.verified_to = 0  # journaled ranges before it were verified
        self.has_more = False  # more pieces are needed than when `ranges` was called
        self._pieces = pieces
        self._layout = pieces.layout
        self._comparison = comparison

    def ranges(self) -> list[Range]:
        """Ranges to fetch, ascending. Existing files may have some of them."""
        with self._pieces.lock:
            self.has_more = False
            had = self._pieces.have
            if self.verified_to < self._layout.stream_bytes and self.journaled.total:
                had = had.copy()
                for start, end in self.journaled:
                    if end > self.verified_to:
                        had.add(max(start, self.verified_to), end)
            return had.missing(0, self._known_to())

    def includes(self, index: int) -> bool:
        """Whether this piece is needed, and existing files can't have it."""
        start, end = self._layout.piece(index)
        with self._pieces.lock:
            if end > self._known_to() or self._comparison.may_have(start, end):
                return False
            journaled = end > self.verified_to and self.journaled.contains(start, end)
            return not journaled and not self._pieces.have.contains(start, end)

    def next_from(self, index: int) -> int:
        """The first needed piece from there on, the number of pieces if there is none."""
        while True:
            further = self._comparison.first_beyond(self._next_missing(index))
            if further == index:
                return index
            index = further

    def _next_missing(self, index: int) -> int:
        """The first piece from there on that is neither verified nor journaled."""
        with self._pieces.lock:
            if index >= self._layout.pieces:
                return index
            at, _ = self._layout.piece(index)
            while True:
                further = self._pieces.have.available_from(at)
                if further >= self.verified_to:
                    further = self.journaled.available_from(further)
                if further == at or further >= self._layout.stream_bytes:
                    return self._layout.piece_from(further)
                at = further

    def is_undecided(self) -> bool:
        """Whether it is not known yet which pieces beyond the manifest are needed."""
        return self._known_to() < self._layout.stream_bytes

    def _known_to(self) -> int:
        """End of the part of the stream for which it is known what to fetch."""
        return self._layout.manifest_bytes if self._comparison.is_undecided else self._layout.stream_bytes
