"""Which pieces a recipient still needs, and of which it has perhaps a copy in an existing file."""

from __future__ import annotations

from typing import Optional

from castray_desktop.core.content.byte_ranges import Range, RangeSet
from castray_desktop.core.content.stream_layout import StreamLayout
from castray_desktop.core.protocol.nodes.peer_frames import ProtocolError
from castray_desktop.workers.agent.transfer.store.existing_files import ExistingFiles
from castray_desktop.workers.agent.transfer.store.piece_store import PieceStore


class ExistingFileComparison:
    """Which pieces existing files may have.

    Files whose hash the source knows are compared as a whole, the others piece by piece, by digests. Until
    the manifest and these hashes are known, only the manifest is wanted.
    """

    def __init__(self, layout: StreamLayout) -> None:
        self.files: Optional[ExistingFiles] = None
        self.hashes_awaited = False
        self.known_hashes: Optional[list[bytes]] = None  # of the source; None: requests for them have to wait
        self.manifest_awaited = False  # there may be existing files; the manifest tells which
        self._incoming_hashes: list[bytes] = []
        self._layout = layout

    def set_files(self, files: Optional[ExistingFiles], resumed: bool) -> bool:
        """The manifest is known, and so are the existing files, if any. Returns whether more pieces are
        wanted now.
        """
        self.files = files
        expected, self.manifest_awaited = self.manifest_awaited, False
        self.hashes_awaited = (expected or resumed) and files is not None and files.pieces.total > 0
        if self.hashes_awaited:
            return False
        self.known_hashes = []
        return expected

    @property
    def is_undecided(self) -> bool:
        """Whether it is not known yet what existing files may have."""
        return self.manifest_awaited or self.hashes_awaited

    def may_have(self, start: int, end: int) -> bool:
        """Whether these bytes of the stream lie in existing files, as far as known."""
        return self.files is not None and self.files.pieces.contains(start, end)

    def first_beyond(self, index: int) -> int:
        """The first piece from there on that existing files can't have."""
        if self.files is None or index >= self._layout.pieces:
            return index
        start, _ = self._layout.piece(index)
        return self._layout.piece_from(self.files.pieces.available_from(start))

    def split(self, start: int, end: int) -> list[tuple[int, int, bool]]:
        """Split a needed range by whether digests suffice for now."""
        if self.files is None:
            return [(start, end, False)]
        found, at = [], start
        for low, high in [*self.files.pieces.missing(start, end), (end, end)]:
            if at < low:
                found.append((at, low, True))
            if low < high:
                found.append((low, high, False))
            at = high
        return found

    def add_hashes(self, first: int, hashes: list[bytes], files: int) -> bool:
        """Add file hashes from the upstream; empty if none is known. Returns whether these are all.

        Raises ProtocolError.
        """
        if first == 0:
            self._incoming_hashes = []
        if not self.hashes_awaited or first != len(self._incoming_hashes) or first + len(hashes) > files:
            raise ProtocolError("hashes that nobody asked for")
        self._incoming_hashes += hashes
        if hashes and len(self._incoming_hashes) < files:
            return False
        self.known_hashes = self._incoming_hashes
        return True


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

    def is_unverified(self, start: int, end: int) -> bool:
        """Whether the journal names all of this range, and it was not verified yet. With the lock held."""
        return end > self.verified_to and self.journaled.contains(start, end)

    def not_journaled(self, start: int, end: int) -> list[Range]:
        """What the journal does not name of this range, or was found to be wrong. With the lock held."""
        first = min(max(self.verified_to, start), end)
        return [*([(start, first)] if start < first else []), *self.journaled.missing(first, end)]

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
