"""Reads a source's files once, in the stream's order, and makes the piece digests and the file hashes."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Optional

from castray_desktop.core.parcel import FileStatus, Span
from castray_desktop.workers.ray_side.byte_plane.buffers import CHUNK_BYTES, page_buffer
from castray_desktop.workers.ray_side.byte_plane.digests import Hasher
from castray_desktop.workers.ray_side.byte_plane.failures import reason_of
from castray_desktop.workers.ray_side.byte_plane.holes import hash_zeros
from castray_desktop.workers.ray_side.byte_plane.spending import CHECKING, DISK
from castray_desktop.workers.ray_side.byte_plane.supply import read_some

if TYPE_CHECKING:
    from castray_desktop.workers.ray_side.byte_plane.source import Source

_NO_CONTENTS = ("st_mode", "st_nlink", "st_uid", "st_gid")
NO_TRUE_SIZE = "it does not end where its size says"


class Reader:
    """Reads the stream in order. One file is open at a time, with the hasher that has seen all of it."""

    def __init__(self, source: Source) -> None:
        assert source.manifest is not None
        self._source = source
        self._files = source.files
        self._manifest = source.manifest
        self._layout = source.layout
        self._chunk = page_buffer(min(CHUNK_BYTES, source.layout.piece_bytes))
        self._next_file = 0
        self._fd = -1
        self._hasher: Hasher = source.new_file_hasher()
        self._hashed = 0  # of that file, holes included
        self._beyond = bytearray(1)  # for what is there after the end of a file
        self._skipped = False  # a part of the file was not read, since its hash is known
        self._opened: Optional[os.stat_result] = None  # how that file looked then
        self._short = False  # it has ended before its size

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read_piece(self, index: int) -> None:
        source, layout = self._source, self._layout
        start, end = layout.piece(index)
        spans = self._manifest.spans(*layout.content_part(start, end))
        if self._comes_after_hole(spans) and end <= layout.trailer_start:
            source.make_ready(index)  # recipients hash the hole while it is hashed here
        hasher = (
            None if source.has_piece(index) else source.new_piece_hasher()
        )  # had: it was asked for before
        if len(spans) == 1 and spans[0].length == end - start:
            self._read_span(spans[0], hasher, None)
            if hasher is not None:
                source.add(index, hasher.digest())
            return
        payload = bytearray(end - start)
        self._assemble(memoryview(payload), start, end, spans)
        if hasher is not None:
            self._source.spending.on(CHECKING)
            hasher.update(payload)
            source.keep_recent(index, bytes(payload))
            source.add(index, hasher.digest())

    def _comes_after_hole(self, spans: list[Span]) -> bool:
        return self._manifest.has_holes(spans) and (len(spans) > 1 or spans[0].offset != self._hashed)

    def skip_piece(self, index: int) -> None:
        """Nobody wants its bytes, and the hashes of its files are known: look at the files only."""
        for span in self._manifest.spans(*self._layout.content_part(*self._layout.piece(index))):
            if self._manifest.is_first(span):
                self._open_up_to(span.file)
            self._skipped = True
            if self._manifest.is_last(span):
                self._finish(span.file)

    def _assemble(self, view: memoryview, start: int, end: int, spans: list[Span]) -> None:
        layout = self._layout
        if start < layout.manifest_bytes:
            part = self._source.manifest_bytes()[start:end]
            view[: len(part)] = part
        at = max(layout.manifest_bytes - start, 0)
        self._source.spending.on(DISK)
        for span in spans:
            into = view[at : at + span.length]
            if span.length != self._manifest.files[span.file].size or not self._read_whole(span.file, into):
                self._read_span(span, None, into)
            at += span.length
        if end >= layout.trailer_start:
            if not self._source.sealed:
                self.seal()
            first = max(start, layout.trailer_start)
            part = self._source.trailer_bytes()[first - layout.trailer_start : end - layout.trailer_start]
            view[first - start : first - start + len(part)] = part

    def _read_whole(self, file: int, view: memoryview) -> bool:
        """A small file in one go. False where it is not as it was: then it is read again, and said why."""
        source = self._source
        if self._next_file < file:
            self._open_up_to(file - 1)
        try:
            fd = self._files.open(file)
            try:
                count = os.preadv(fd, [view, self._beyond], 0)
                unchanged = self._files.unchanged(file, fd)
            finally:
                os.close(fd)
        except OSError:
            return False
        if count != len(view) or not unchanged:
            return False
        self.close()
        self._next_file = file + 1
        hasher = source.new_file_hasher()
        hasher.update(view)
        self._files.settle(file, FileStatus.OK, hasher.digest())
        return True

    def _read_span(self, span: Span, hasher: Optional[Hasher], into: Optional[memoryview]) -> None:
        if self._manifest.is_first(span):
            self._open_up_to(span.file)
        self._hash_hole(span.offset)
        at = 0
        while at < span.length:
            length = min(span.length - at, len(self._chunk))
            view = into[at : at + length] if into is not None else self._chunk[:length]
            self._read(span.file, span.offset + at, view)
            if hasher is not None:
                hasher.update(view)
            at += length
        if self._manifest.is_last(span):
            self._finish(span.file)

    def _hash_hole(self, end: int) -> None:
        """The file is a hole from what was hashed up to there."""
        if end > self._hashed and self._fd >= 0 and not self._skipped:
            self._source.wake()
            self._source.spending.on(CHECKING)
            hash_zeros(self._hasher, end - self._hashed, self._source.check_end)
        self._hashed = end

    def _read(self, file: int, offset: int, view: memoryview) -> None:
        count = 0
        self._source.spending.on(DISK)
        if self._fd >= 0:
            try:
                count = read_some(self._fd, offset, view)
            except OSError as error:
                self._files.settle(file, FileStatus.READ_ERROR, reason=reason_of(error))
                self.close()
        if count < len(view):
            self._short = True
            view[count:] = bytes(len(view) - count)
        self._source.spending.on(CHECKING)
        self._hasher.update(view)
        self._hashed = offset + len(view)

    def _open_up_to(self, file: int) -> None:
        """Open the file; those before it that were not read have no bytes, and are only looked at."""
        while self._next_file <= file:
            current = self._next_file
            self._next_file += 1
            self.close()
            self._hasher, self._hashed = self._source.new_file_hasher(), 0
            self._skipped = self._short = False
            self._open(current)
            if not self._manifest.has_bytes(current):
                self._finish(current)

    def _open(self, file: int) -> None:
        try:
            self._fd, self._opened = self._files.open_scanned(file)
        except FileNotFoundError:
            self._files.settle(file, FileStatus.VANISHED)
        except PermissionError:
            self._files.settle(file, FileStatus.NOT_READABLE)
        except OSError as error:
            if error.errno in (errno.ESTALE, errno.ELOOP, errno.ENXIO):
                self._files.settle(file, FileStatus.CHANGED)
            else:
                self._files.settle(file, FileStatus.READ_ERROR, reason=reason_of(error))

    def _finish(self, file: int) -> None:
        self._hash_hole(self._size(file))
        if self._fd >= 0:
            try:
                self._settle(file)
            except OSError as error:
                self._files.settle(file, FileStatus.READ_ERROR, reason=reason_of(error))
        self.close()

    def _settle(self, file: int) -> None:
        """All of it was read, or none had to be. Raises OSError."""
        if self._skipped:
            good, hash_ = self._files.unchanged(file, self._fd), self._files.known.hash_of(file)
            self._files.settle(file, FileStatus.OK if good else FileStatus.CHANGED, hash_)
            return
        hash_ = self._hasher.digest()
        found = self._files.look(file, self._fd)
        if found is not None and (self._short or os.preadv(self._fd, [self._beyond], self._size(file))):
            self._files.settle(file, FileStatus.READ_ERROR, reason=NO_TRUE_SIZE)
        elif found is not None and self._has_what_was_read(file, hash_, found):
            self._files.settle(file, FileStatus.OK, hash_)
        else:
            self._files.settle(file, FileStatus.CHANGED, hash_)

    def _size(self, file: int) -> int:
        return self._manifest.files[file].size

    def _has_what_was_read(self, file: int, hash_: bytes, found: os.stat_result) -> bool:
        """Whether nobody has written to the file since it was opened.

        A write shows in its ctime even where the writer restores the time stamp. So does a change of mode,
        owner or number of names: then the bytes are read once more.
        """
        opened = self._opened
        if opened is None or found.st_ctime_ns == opened.st_ctime_ns:
            return True
        if all(getattr(found, name) == getattr(opened, name) for name in _NO_CONTENTS):
            return False
        hasher, at = self._source.new_file_hasher(), 0
        while at < self._size(file):
            self._source.check_end()
            view = self._chunk[: self._size(file) - at]
            count = read_some(self._fd, at, view)
            if not count:
                return False
            hasher.update(view[:count])
            at += count
        after = self._files.look(file, self._fd)
        return hasher.digest() == hash_ and after is not None and after.st_ctime_ns == found.st_ctime_ns

    def seal(self) -> None:
        """All contents were read: look at the files without bytes that are left, then close the books."""
        if self._manifest.files:
            self._open_up_to(len(self._manifest.files) - 1)
        self._source.seal_with()
