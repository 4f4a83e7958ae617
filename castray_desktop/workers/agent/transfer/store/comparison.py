"""Compare existing files at the destination with what is announced, so that they need not be sent."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Optional

from castray_desktop.core.content.byte_ranges import RangeSet
from castray_desktop.core.content.stream_layout import StreamLayout
from castray_desktop.core.protocol.nodes.agent_protocol import TopEntry
from castray_desktop.core.protocol.nodes.peer_frames import ProtocolError
from castray_desktop.workers.agent.transfer.store.existing_files import ExistingFiles, files_with_same_hash
from castray_desktop.workers.agent.transfer.store.hash_cache import HashCache
from castray_desktop.workers.agent.transfer.system.digests import Hasher


def may_exist(destination: bytes, top: tuple[TopEntry, ...]) -> bool:
    """Whether a top-level entry exists at the destination: otherwise there is nothing to compare."""
    return any(os.path.lexists(destination + b"/" + os.fsencode(entry.name)) for entry in top)


class ExistingFileComparison:
    """Which pieces existing files may have.

    Files whose hash the source knows are compared as a whole, the others piece by piece, by digests. Until
    the manifest and these hashes are known, only the manifest is wanted.
    """

    def __init__(self, layout: StreamLayout) -> None:
        self.files: Optional[ExistingFiles] = None
        self.hashes_awaited = False
        self.known_hashes: Optional[list[bytes]] = None  # of the source; None: requests for them have to wait
        self._manifest_awaited = False
        self._incoming_hashes: list[bytes] = []
        self._layout = layout

    def await_manifest(self) -> None:
        """There may be existing files; the manifest tells which."""
        self._manifest_awaited = True

    def set_files(self, files: Optional[ExistingFiles], resumed: bool) -> bool:
        """The manifest is known, and so are the existing files, if any. Returns whether more pieces are
        wanted now.
        """
        self.files = files
        expected, self._manifest_awaited = self._manifest_awaited, False
        self.hashes_awaited = (expected or resumed) and files is not None and files.pieces.total > 0
        if self.hashes_awaited:
            return False
        self.known_hashes = []
        return expected

    @property
    def is_undecided(self) -> bool:
        """Whether it is not known yet what existing files may have."""
        return self._manifest_awaited or self.hashes_awaited

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

    def compare_hashes(
        self, cache: HashCache, algorithm: str, new_hasher: Callable[[], Hasher], went_on: Callable[[], None]
    ) -> tuple[dict[int, bytes], RangeSet]:
        """Existing files with the hash of the source, and their whole pieces. Reads files."""
        assert self.files is not None
        assert self.known_hashes is not None
        hashes = self.known_hashes
        same = files_with_same_hash(self.files, hashes, cache, algorithm, new_hasher, went_on)
        return {file: hashes[file] for file in same}, self.files.mark_same_hash(self._layout, same)
