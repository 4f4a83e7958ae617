"""Existing files at the destination that have the name and the size of one that will be received.

Only digests are requested for their pieces. Where a file's own bytes have that digest, the piece is there
without having been sent; as long as all of them match, the file needs no part file. Files whose hash the
source knows are compared as a whole.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from array import array
from collections.abc import Callable, Container, Sequence
from typing import Optional

from castray_desktop.core.content.byte_ranges import RangeSet
from castray_desktop.core.content.manifest import EntryKind, FileSpan, Manifest
from castray_desktop.core.content.stream_layout import StreamLayout
from castray_desktop.workers.agent.transfer.store.hash_cache import FileKey, HashCache, hash_file
from castray_desktop.workers.agent.transfer.system.digests import file_hasher
from castray_desktop.workers.agent.transfer.system.file_io import has_same_holes
from castray_desktop.workers.agent.transfer.system.linux_calls import FileSystems

CHANGED_WHILE_COMPARED = "it changed while it was compared"

SAME_SIZE, SAME_HASH, SAME_HASH_SETTLED = 1, 2, 3  # same size; same hash; and later writes are detectable


class ExistingFiles:
    """Which files of a parcel exist at the destination, by number."""

    def __init__(
        self,
        manifest: Manifest,
        layout: StreamLayout,
        destination: bytes,
        parts: bytes,
        settled: Container[int],
        on_progress: Callable[[], None],
    ) -> None:
        """Files that an earlier delivery has started to write to `parts` are excluded.

        `on_progress` is called regularly while a file is read, and may raise to stop.
        """
        self._systems = FileSystems()
        self._manifest = manifest
        self._layout = layout
        self._destination = destination
        self._on_progress = on_progress
        self._is = bytearray(len(manifest.files))
        self._ctimes = array("q", bytes(8 * len(manifest.files)))
        self._find(parts, settled)
        self.pieces = self._whole_pieces(SAME_SIZE)

    def _find(self, parts: bytes, settled: Container[int]) -> None:
        folders = {b""}  # existing real folders: files are never committed through a link
        number = -1
        for entry in self._manifest.entries:
            if entry.kind is EntryKind.FILE:
                number += 1
            if entry.path.rpartition(b"/")[0] not in folders:
                continue
            if entry.kind is EntryKind.FOLDER:
                if _is_real_folder(self._destination + b"/" + entry.path):
                    folders.add(entry.path)
            elif entry.kind is EntryKind.FILE and entry.size:
                found = self._stat(self._destination + b"/" + entry.path)
                if found is None or not stat.S_ISREG(found.st_mode) or found.st_size != entry.size:
                    continue
                if number in settled or os.path.lexists(parts + b"/" + entry.path):
                    continue
                if entry.data is not None and not has_same_holes(
                    self._destination + b"/" + entry.path, entry.data, entry.size, self._on_progress
                ):
                    continue  # nothing that is sent would reveal a difference
                self._is[number] = SAME_SIZE
                self._ctimes[number] = found.st_ctime_ns

    def _whole_pieces(self, least: int) -> RangeSet:
        return whole_pieces(self._manifest, self._layout, lambda number: self._is[number] >= least)

    def __contains__(self, file: int) -> bool:
        return bool(self._is[file])

    def cover(self, spans: list[FileSpan]) -> bool:
        """Whether all these files still exist."""
        return bool(spans) and all(self._is[span.file] for span in spans)

    def compare_hashes(
        self, hashes: Sequence[bytes], cache: HashCache, algorithm: str
    ) -> tuple[list[int], RangeSet]:
        """Find the files that have the hash of the incoming file, and the pieces that lie entirely in them.

        Files without a cached hash are read.
        """
        keys: dict[int, FileKey] = {}
        for file, hash_ in enumerate(hashes):
            if hash_ and file in self:
                with contextlib.suppress(OSError):
                    keys[file] = FileKey.of(self._systems.lstat(self.path(file)))
        now = time.time_ns()
        lasting = (
            key
            for file, key in keys.items()
            if key.is_settled(now, self._systems.is_remote(key.device, self.path(file)))
        )
        known = cache.find(algorithm, lasting)
        learned: dict[FileKey, bytes] = {}
        same: list[int] = []
        for file, key in keys.items():
            mine, settled = known.get(key), True
            if mine is None:
                try:
                    read, mine = hash_file(self.path(file), file_hasher(algorithm), self._on_progress)
                except OSError:
                    continue
                settled = read is not None
                if read is not None:
                    learned[read] = mine
            if mine == hashes[file] and self.is_unchanged(file):
                self._is[file] = SAME_HASH_SETTLED if settled else SAME_HASH
                same.append(file)
        cache.save(algorithm, learned)
        return same, self._whole_pieces(SAME_HASH)

    def has_same_hash(self, file: int) -> bool:
        """Whether it was compared by its hash."""
        return self._is[file] >= SAME_HASH

    def is_settled(self, file: int) -> bool:
        """Whether its earlier hash is still valid."""
        return self._is[file] == SAME_HASH_SETTLED and self.is_unchanged(file)

    def mark_different(self, file: int) -> None:
        """Mark the file as different."""
        self._is[file] = 0

    def is_unchanged(self, file: int) -> bool:
        """Whether it is unchanged since it was found."""
        found = self._stat(self.path(file))
        return found is not None and found.st_ctime_ns == self._ctimes[file]

    def _stat(self, path: bytes) -> Optional[os.stat_result]:
        try:
            return self._systems.lstat(path)
        except OSError:
            return None

    def path(self, file: int) -> bytes:
        return self._destination + b"/" + self._manifest.files[file].path


def whole_pieces(manifest: Manifest, layout: StreamLayout, wanted: Callable[[int], bool]) -> RangeSet:
    """Pieces that lie entirely in such files, in offsets of the stream."""
    found = RangeSet()
    start = end = 0
    for number in range(len(manifest.files)):
        low, high = manifest.file_range(number)
        if low < high and not wanted(number):
            _add_whole(found, start, end, layout)
            start = high
        end = high
    _add_whole(found, start, end, layout)
    return found


def _add_whole(found: RangeSet, start: int, end: int, layout: StreamLayout) -> None:
    """Add the whole pieces of these contents; the last one may be shorter."""
    length = layout.piece_bytes
    start = -(-start // length) * length
    if end < layout.content_bytes:
        end = end // length * length
    if start < end:
        found.add(layout.manifest_bytes + start, layout.manifest_bytes + end)


def _is_real_folder(path: bytes) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
