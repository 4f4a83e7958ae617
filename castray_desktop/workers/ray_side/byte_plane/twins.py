"""Files that stand at the destination with the name and the size of one that comes.

Of their pieces only the digests are asked for. Where such a file's own bytes have that digest, the piece is
there without having been sent, and as long as all of it agrees the file needs no part file.
"""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Callable, Container, Mapping
from typing import Optional

from castray_desktop.core.layout import Layout
from castray_desktop.core.parcel import EntryKind, Manifest, Span
from castray_desktop.core.ranges import RangeSet
from castray_desktop.workers.ray_side.byte_plane.file_systems import FileSystems
from castray_desktop.workers.ray_side.byte_plane.holes import has_same_holes
from castray_desktop.workers.ray_side.protocol import TopEntry

CHANGED_TWIN = "it changed while it was compared"
TWIN, AGREED, PROVED = 1, 2, 3  # same size; same hash; and any later write to it would show


def may_exist(destination: bytes, top: tuple[TopEntry, ...]) -> bool:
    """Whether something that comes has a name that is taken: else there is nothing to look for."""
    return any(os.path.lexists(destination + b"/" + os.fsencode(entry.name)) for entry in top)


class Twins:
    """Which files of a parcel have one, by their numbers."""

    def __init__(
        self,
        manifest: Manifest,
        layout: Layout,
        destination: bytes,
        parts: bytes,
        settled: Container[int] = (),
        went_on: Callable[[], None] = lambda: None,
    ) -> None:
        """Files that an earlier delivery has begun to write to `parts` are left out, and the `settled` ones.

        `went_on` is called now and then while a file is read, and may raise to end it.
        """
        self.systems = FileSystems()
        self._manifest = manifest
        self._destination = destination
        self._is = bytearray(len(manifest.files))
        self._ctimes = array("q", bytes(8 * len(manifest.files)))
        self._find(parts, settled, went_on)
        self.pieces = self._whole_pieces(layout)

    def _find(self, parts: bytes, settled: Container[int], went_on: Callable[[], None]) -> None:
        folders = {b""}  # that stand there as real folders: landing never goes through a link
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
                    self._destination + b"/" + entry.path, entry.data, entry.size, went_on
                ):
                    continue  # nothing that is sent would tell that it is another file
                self._is[number] = TWIN
                self._ctimes[number] = found.st_ctime_ns

    def _whole_pieces(self, layout: Layout, least: int = TWIN) -> RangeSet:
        return whole_pieces(self._manifest, layout, lambda number: self._is[number] >= least)

    def __contains__(self, file: int) -> bool:
        return bool(self._is[file])

    def cover(self, spans: list[Span]) -> bool:
        """Whether all these parts of files still have one."""
        return bool(spans) and all(self._is[span.file] for span in spans)

    def agree(self, layout: Layout, files: Mapping[int, bool]) -> RangeSet:
        """These have the hash of the file that comes; True: and writing to them would show.

        Returns the pieces that lie in such files.
        """
        for file, settled in files.items():
            self._is[file] = PROVED if settled else AGREED
        return self._whole_pieces(layout, AGREED)

    def agrees(self, file: int) -> bool:
        """Whether all of it was compared, by its hash."""
        return self._is[file] >= AGREED

    def is_proved(self, file: int) -> bool:
        """Whether its hash, made a while ago, is that of what stands there now."""
        return self._is[file] == PROVED and self.is_unchanged(file)

    def lose(self, file: int) -> None:
        """It is another file after all."""
        self._is[file] = 0

    def is_unchanged(self, file: int) -> bool:
        """Whether nobody has written to it since it was found."""
        found = self._stat(self.place(file))
        return found is not None and found.st_ctime_ns == self._ctimes[file]

    def _stat(self, path: bytes) -> Optional[os.stat_result]:
        try:
            return self.systems.lstat(path)
        except OSError:
            return None

    def place(self, file: int) -> bytes:
        return self._destination + b"/" + self._manifest.files[file].path


def whole_pieces(manifest: Manifest, layout: Layout, wanted: Callable[[int], bool]) -> RangeSet:
    """The pieces that lie in such files with all their bytes, in offsets of the stream."""
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


def _add_whole(found: RangeSet, start: int, end: int, layout: Layout) -> None:
    """The whole pieces of these contents; the last one may be shorter."""
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
