"""Read the files of a source in the order of the stream: open them, compare them with the scan, hash them."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Optional

from castray_desktop.core.content.checksums import LABELS, ChecksumHasher, stated_digest
from castray_desktop.core.content.file_names import display_name
from castray_desktop.core.content.file_outcomes import file_failure
from castray_desktop.core.content.manifest import FileResult, FileSpan, FileStatus, ManifestEntry
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.nodes.cast_parcel import FileProblem
from castray_desktop.workers.agent.transfer.source.range_client import RemoteFileError, ServerLostError
from castray_desktop.workers.agent.transfer.source.remote_files import RemoteFiles, remote_failure, remote_key
from castray_desktop.workers.agent.transfer.source.scanner import MAX_PROBLEMS, ScanResult
from castray_desktop.workers.agent.transfer.store.hash_cache import FileKey, HashCache
from castray_desktop.workers.agent.transfer.store.piece_store import PieceStore, read_some
from castray_desktop.workers.agent.transfer.system.digests import Hasher
from castray_desktop.workers.agent.transfer.system.file_io import CHUNK_BYTES, hash_zeros, page_buffer
from castray_desktop.workers.agent.transfer.system.linux_calls import fstat
from castray_desktop.workers.agent.transfer.system.os_failures import reason_of, user_name
from castray_desktop.workers.agent.transfer.system.time_breakdown import (
    CHECKING,
    DISK,
    WAITING,
    TimeBreakdown,
)

log = logging.getLogger("castray.byte_plane")

_NO_CONTENTS = ("st_mode", "st_nlink", "st_uid", "st_gid")

SAVE_SECONDS = 1.0

TRIAL_BYTES = 64 << 20
MAX_CHECKSUM_SHARE = 1.0
"""After `TRIAL_BYTES` of a file, a slow checksum may have taken this many times the time of waiting for the
server. One that has taken longer would slow down the download, and is given up.
"""

NO_TRUE_SIZE = "it does not end where its size says"


class SourceFiles:
    """The scanned regular files of one cast, by number: their state, hashes and results.

    Thread-safe; `progressed()` is called for each file that failed.
    """

    def __init__(
        self,
        scan: ScanResult,
        files: Sequence[ManifestEntry],
        cache: HashCache,
        algorithm: str,
        progressed: Callable[[], None],
        downloads: Optional[RemoteFiles],
    ) -> None:
        self.downloads = downloads
        self.hashes: Optional[list[bytes]] = None
        """Hashes that are known before a file is read, empty where none is; None before they were looked
        for."""
        self._scan = scan
        self._files = files
        self._cache = cache
        self._algorithm = algorithm
        self._since_ns = time.time_ns()
        self._saved = bytearray(len(files))  # whose hash was saved for later casts, by file
        self._last_save = time.monotonic()
        self._unchanged = bytearray(len(files))  # at the last check, by file
        self._progressed = progressed
        self._lock = threading.Lock()
        self._results: list[Optional[FileResult]] = [None] * len(files)
        self._problems: list[FileProblem] = []
        self._problem_count = 0
        self._compared: Counter[str] = Counter()  # files, by kind of the checksum

    # --- the files themselves

    def is_downloaded(self, file: int) -> bool:
        """Whether the file comes from a web server, so that there is nothing to open."""
        return self.downloads is not None and file in self.downloads

    def open(self, file: int) -> int:
        """Open the file, whatever it is by now. Raises OSError."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
        return os.open(self._scan.local_path(self._files[file].path), flags)

    def open_scanned(self, file: int) -> tuple[int, os.stat_result]:
        """Open the file, if it is still the scanned one. Raises OSError.

        A file that was touched meanwhile is sent as it is now. Not one with holes: they may be elsewhere.
        """
        fd = self.open(file)
        try:
            found = fstat(fd, self._is_remote(file))
            touched = found.st_ctime_ns != self._scan.ctimes[file]
            if not self._is_scanned(file, found) or (touched and self._files[file].data is not None):
                raise OSError(errno.ESTALE, "changed")
        except OSError:
            os.close(fd)
            raise
        return fd, found

    def unchanged(self, file: int, fd: int) -> bool:
        """Whether its state is that of the scan, the ctime included."""
        return self.scanned_state(file, fd) is not None and bool(self._unchanged[file])

    def scanned_state(self, file: int, fd: int) -> Optional[os.stat_result]:
        """Its present state; None if it is not the file that was scanned any more."""
        found = fstat(fd, self._is_remote(file))
        # a write shows in the ctime, but also a new mode or name
        self._unchanged[file] = found.st_ctime_ns == self._scan.ctimes[file]
        return found if self._is_scanned(file, found) else None

    def _is_scanned(self, file: int, found: os.stat_result) -> bool:
        entry = self._files[file]
        return (
            found.st_mtime_ns == entry.mtime_ns
            and found.st_size == entry.size
            and found.st_ino == self._scan.inodes[file]
            and found.st_dev == self._scan.devices[file]
        )

    def _is_remote(self, file: int) -> bool:
        """Whether other machines may write to it without this one noticing at once."""
        if self.is_downloaded(file):  # its version is part of its key
            return False
        path = self._scan.local_path(self._files[file].path)
        return self._scan.systems.is_remote(self._scan.devices[file], path)

    # --- hashes of earlier casts

    def hash_of(self, file: int) -> bytes:
        """Its hash from an earlier cast, or from its store."""
        return self.hashes[file] if self.hashes else b""

    def find_hashes(self) -> None:
        """Look up hashes of earlier casts, and those that stores state. Takes a while for many files."""
        keys = [self._key(file) for file in range(len(self._files))]
        now = time.time_ns()
        settled = [
            key
            for file, key in enumerate(keys)
            if key is not None and key.is_settled(now, self._is_remote(file))
        ]
        found = self._cache.find(self._algorithm, settled)
        self.hashes = [
            self._stated_hash(file) or (found.get(key, b"") if key is not None else b"")
            for file, key in enumerate(keys)
        ]

    def _stated_hash(self, file: int) -> bytes:
        """The hash of a file to download, where its store states it by the algorithm of this cast."""
        item = self._scan.remote.get(file)
        return stated_digest(item.checksum, self._algorithm) if item is not None else b""

    def save_hashes(self) -> None:
        """Save the hashes of read files that were not saved yet for later casts, in a background thread."""
        self._cache.save_in_background(self._algorithm, self._new_hashes)

    def save_hashes_so_far(self) -> None:
        """Save the hashes of files that were downloaded meanwhile, now and then: if this agent is lost, the
        next one does not download them again to hash them.
        """
        now = time.monotonic()
        if now - self._last_save >= SAVE_SECONDS:
            self._last_save = now
            self.save_hashes()

    def find_delivered(self) -> None:
        """Look for files that this node has delivered before. Their hashes were looked up."""
        if self.downloads is not None and self.hashes:
            self.downloads.delivered.find(self._algorithm, self.hashes)

    def _key(self, file: int) -> Optional[FileKey]:
        entry, scan = self._files[file], self._scan
        if self.is_downloaded(file):
            return remote_key(scan.remote[file])
        return FileKey(scan.devices[file], scan.inodes[file], entry.size, entry.mtime_ns, scan.ctimes[file])

    def _new_hashes(self) -> dict[FileKey, bytes]:
        found = {}
        for file, result in enumerate(self._results):
            if result is None or result.status is not FileStatus.OK or self._saved[file]:
                continue
            key = self._key(file)
            if key is None or not (self._unchanged[file] or self.is_downloaded(file)):
                continue
            if key.size and key.is_settled(self._since_ns, self._is_remote(file)) and not self.hash_of(file):
                found[key] = result.hash
                self._saved[file] = 1
        return found

    # --- results

    def record_result(
        self,
        file: int,
        status: FileStatus,
        hash_: bytes = b"",
        reason: str = "",
        checksum: Optional[ChecksumHasher] = None,
    ) -> None:
        """Record the result of a file, once; a changed file stays changed. `checksum` is what it was compared
        with: it matches where the status is OK."""
        path = self._files[file].path
        with self._lock:
            before = self._results[file]
            if before is not None and status is FileStatus.OK:
                return
            self._results[file] = FileResult(status, hash_)
            if status is FileStatus.OK:
                self._compared.update([checksum.kind] if checksum is not None else ())
                return
            if before is not None and before.status is not FileStatus.OK:
                return
            self._problem_count += 1
            if len(self._problems) < MAX_PROBLEMS:
                failure = self._failure(file, status, reason, checksum)
                self._problems.append(FileProblem(display_name(path), failure))
        log.warning("%s: %s %s", display_name(path), status.name, reason)
        self._progressed()

    @property
    def compared(self) -> dict[str, int]:
        """How many files had the checksum that their server states, by its kind."""
        with self._lock:
            return dict(self._compared)

    def _failure(
        self, file: int, status: FileStatus, reason: str, checksum: Optional[ChecksumHasher]
    ) -> Failure:
        if checksum is not None:
            values = {"url": self._scan.remote[file].shown_address, "checksum": LABELS[checksum.kind]}
            return Failure(FailureKind.CHECKSUM_DIFFERS, values)
        if file in self._scan.remote:
            return remote_failure(self._scan.remote[file], status, reason)
        why = user_name() if status is FileStatus.NOT_READABLE else reason
        return file_failure(status, self._scan.named(self._files[file].path), why)

    def lost_server(self, file: int, reason: str) -> Failure:
        """The failure of a cast whose server has stopped to respond while it gave out this file."""
        values = {"url": self._scan.remote[file].shown_address, "reason": reason}
        return Failure(FailureKind.SERVER_LOST, values)

    def is_readable(self, file: int) -> bool:
        """Whether it could be read so far."""
        result = self._results[file]
        return result is None or result.status in (FileStatus.OK, FileStatus.CHANGED)

    def results(self) -> list[FileResult]:
        """Results of all files, for the trailer."""
        with self._lock:
            return [result or FileResult(FileStatus.OK, b"") for result in self._results]

    def problems(self) -> tuple[tuple[FileProblem, ...], int]:
        """Files that were not sent as scanned: the first of them, and how many."""
        with self._lock:
            return tuple(self._problems), self._problem_count


class SourceEndedError(Exception):
    """The cast has ended while a thread worked for it."""


def check_end(pieces: PieceStore) -> None:
    """Raises SourceEndedError in the calling thread if the cast is over."""
    if pieces.gone_reason:
        raise SourceEndedError


class SourceReader:
    """Reads the stream in order. One file is open at a time, with its hasher."""

    def __init__(
        self,
        pieces: PieceStore,
        files: SourceFiles,
        new_file_hasher: Callable[[], Hasher],
        time_breakdown: TimeBreakdown,
        contents_read: Callable[[], None],
    ) -> None:
        """`contents_read` is called once all files were read, before the trailer."""
        assert pieces.manifest is not None
        self._pieces = pieces
        self._files = files
        self._new_file_hasher = new_file_hasher
        self._time_breakdown = time_breakdown
        self._contents_read = contents_read
        self._manifest = pieces.manifest
        self._layout = pieces.layout
        self._chunk = page_buffer(min(CHUNK_BYTES, pieces.layout.piece_bytes))
        self._finished = False
        self._next_file = 0
        self._fd = -1
        self._downloads: Optional[RemoteFiles] = None  # while the file is one of them
        self._hasher = new_file_hasher()
        self._checksum: Optional[ChecksumHasher] = None  # of a downloaded file whose server states one
        self._awaited = self._summed = 0.0  # seconds: for that file's bytes, and for its checksum
        self._hashed = 0  # of that file, holes included
        self._beyond = bytearray(1)  # for what is there after the end of a file
        self._skipped = False  # a part of the file was not read, since its hash is known
        self._opened: Optional[os.stat_result] = None  # how that file looked then
        self._short = False  # it has ended before its size

    def close(self) -> None:
        self._downloads = self._checksum = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read_piece(self, index: int) -> None:
        """Read and hash the next piece, and add it to the store."""
        pieces, layout = self._pieces, self._layout
        start, end = layout.piece(index)
        spans = self._manifest.spans(*layout.content_range(start, end))
        if self._comes_after_hole(spans) and end <= layout.trailer_start:
            if not pieces.has_piece(index):
                pieces.digest_now(index)  # recipients hash the hole while it is hashed here
            pieces.notify_waiting()
        # a piece that is there was requested before the reader came to it
        hasher = None if pieces.has_piece(index) else pieces.new_piece_hasher()
        whole = len(spans) == 1 and spans[0].length == end - start
        if whole and not self._files.is_downloaded(spans[0].file):
            self._read_span(spans[0], hasher, None)
            if hasher is not None:
                pieces.add_piece(index, hasher.digest())
            return
        payload = bytearray(end - start)
        self._assemble(memoryview(payload), start, end, spans)
        if hasher is not None:
            self._time_breakdown.switch(CHECKING)
            hasher.update(payload)
            pieces.cache_piece(index, bytes(payload))
            pieces.add_piece(index, hasher.digest())

    def _comes_after_hole(self, spans: list[FileSpan]) -> bool:
        return self._manifest.has_holes(spans) and (len(spans) > 1 or spans[0].offset != self._hashed)

    def skip_piece(self, index: int) -> None:
        """No node needs its bytes, and its files' hashes are known: check the files only."""
        for span in self._manifest.spans(*self._layout.content_range(*self._layout.piece(index))):
            if self._manifest.is_first(span):
                self._open_up_to(span.file)
            self._skipped = True
            if self._manifest.is_last(span):
                self._finish(span.file)

    def _assemble(self, view: memoryview, start: int, end: int, spans: list[FileSpan]) -> None:
        at = max(self._layout.manifest_bytes - start, 0)
        self._time_breakdown.switch(DISK)
        for span in spans:
            into = view[at : at + span.length]
            if span.length != self._manifest.files[span.file].size or not self._read_whole(span.file, into):
                self._read_span(span, None, into)
            at += span.length
        if end >= self._layout.trailer_start:
            self.finish()
        self._pieces.read_lists(view, start, end)

    def _read_whole(self, file: int, view: memoryview) -> bool:
        """Read a small file at once. Returns False if it has changed: then it is read again, and the reason
        reported."""
        if self._next_file < file:
            self._open_up_to(file - 1)
        if self._files.is_downloaded(file):
            return False
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
        hasher = self._new_file_hasher()
        hasher.update(view)
        self._files.record_result(file, FileStatus.OK, hasher.digest())
        return True

    def _read_span(self, span: FileSpan, hasher: Optional[Hasher], into: Optional[memoryview]) -> None:
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
        """Hash zeros up to `end`."""
        if end > self._hashed and self._fd >= 0 and not self._skipped:
            self._pieces.notify_waiting()
            self._time_breakdown.switch(CHECKING)
            hash_zeros(self._hasher, end - self._hashed, lambda: check_end(self._pieces))
        self._hashed = end

    def _read(self, file: int, offset: int, view: memoryview) -> None:
        count = 0
        self._time_breakdown.switch(DISK)
        if self._downloads is not None:
            self._time_breakdown.switch(WAITING)
            began = time.monotonic()
            try:
                self._downloads.read(file, offset, view)
                count = len(view)
                self._awaited += time.monotonic() - began
            except ServerLostError as error:
                # no file is filled up: a retry can go on with what recipients have
                raise CastRayError.of(self._files.lost_server(file, str(error))) from error
            except RemoteFileError as error:
                self._files.record_result(file, error.status, reason=str(error))
                self.close()
        elif self._fd >= 0:
            try:
                count = read_some(self._fd, offset, view)
            except OSError as error:
                self._files.record_result(file, FileStatus.READ_ERROR, reason=reason_of(error))
                self.close()
        if count < len(view):
            self._short = True
            view[count:] = bytes(len(view) - count)
        self._time_breakdown.switch(CHECKING)
        self._hasher.update(view)
        if self._downloads is not None and not offset and self._checksum is None:
            self._checksum = self._downloads.new_checksum(file)  # the server may have stated it only now
        if self._checksum is not None:
            self._add_to_checksum(self._checksum, file, offset, view)
        self._hashed = offset + len(view)

    def _add_to_checksum(self, checksum: ChecksumHasher, file: int, offset: int, view: memoryview) -> None:
        began = time.monotonic()
        checksum.update(view)
        self._summed += time.monotonic() - began
        tried = checksum.is_slow and offset + len(view) >= TRIAL_BYTES
        if tried and self._summed > self._awaited * MAX_CHECKSUM_SHARE:
            label = LABELS[checksum.kind]
            log.info("file %d is not compared by %s, which is slower than its server", file, label)
            self._checksum = None

    def _open_up_to(self, file: int) -> None:
        """Open the file; unread files before it have no bytes, and are only checked."""
        while self._next_file <= file:
            current = self._next_file
            self._next_file += 1
            self.close()
            self._hasher, self._hashed = self._new_file_hasher(), 0
            self._skipped = self._short = False
            self._open(current)
            if not self._manifest.has_bytes(current):
                self._finish(current)

    def _open(self, file: int) -> None:
        if self._files.is_downloaded(file):
            downloads = self._files.downloads
            assert downloads is not None
            self._downloads, self._checksum = downloads, downloads.new_checksum(file)
            self._awaited = self._summed = 0.0
            return
        try:
            self._fd, self._opened = self._files.open_scanned(file)
        except FileNotFoundError:
            self._files.record_result(file, FileStatus.VANISHED)
        except PermissionError:
            self._files.record_result(file, FileStatus.NOT_READABLE)
        except OSError as error:
            if error.errno in (errno.ESTALE, errno.ELOOP, errno.ENXIO):
                self._files.record_result(file, FileStatus.CHANGED)
            else:
                self._files.record_result(file, FileStatus.READ_ERROR, reason=reason_of(error))

    def _finish(self, file: int) -> None:
        self._hash_hole(self._size(file))
        if self._downloads is not None:
            self._finish_download(file, self._downloads)
        elif self._fd >= 0:
            try:
                self._settle(file)
            except OSError as error:
                self._files.record_result(file, FileStatus.READ_ERROR, reason=reason_of(error))
        self.close()

    def _finish_download(self, file: int, downloads: RemoteFiles) -> None:
        """Its version was compared in each answer of the server; compare its checksum. Not of a file of
        which parts were not read, since all recipients had them by its hash."""
        if self._skipped:
            self._files.record_result(file, FileStatus.OK, self._files.hash_of(file))
            return
        checksum, status = self._checksum, FileStatus.OK
        if checksum is not None and not checksum.matches():
            if downloads.states_checksum(file):
                status = FileStatus.READ_ERROR
            else:
                checksum = None
        reason = "" if status is FileStatus.OK else "another checksum than its server states"
        self._files.record_result(file, status, self._hasher.digest(), reason, checksum)

    def _settle(self, file: int) -> None:
        """All of it was read, or none had to be. Raises OSError."""
        if self._skipped:
            good, hash_ = self._files.unchanged(file, self._fd), self._files.hash_of(file)
            self._files.record_result(file, FileStatus.OK if good else FileStatus.CHANGED, hash_)
            return
        hash_ = self._hasher.digest()
        found = self._files.scanned_state(file, self._fd)
        if found is not None and (self._short or os.preadv(self._fd, [self._beyond], self._size(file))):
            self._files.record_result(file, FileStatus.READ_ERROR, reason=NO_TRUE_SIZE)
        elif found is not None and self._has_what_was_read(file, hash_, found):
            self._files.record_result(file, FileStatus.OK, hash_)
        else:
            self._files.record_result(file, FileStatus.CHANGED, hash_)

    def _size(self, file: int) -> int:
        return self._manifest.files[file].size

    def _has_what_was_read(self, file: int, hash_: bytes, found: os.stat_result) -> bool:
        """Whether the file was not written to since it was opened.

        A write shows in its ctime even where the writer restores the time stamp. So does a change of mode,
        owner or number of names: then the bytes are read once more.
        """
        opened = self._opened
        if opened is None or found.st_ctime_ns == opened.st_ctime_ns:
            return True
        if all(getattr(found, name) == getattr(opened, name) for name in _NO_CONTENTS):
            return False
        hasher, at = self._new_file_hasher(), 0
        while at < self._size(file):
            check_end(self._pieces)
            view = self._chunk[: self._size(file) - at]
            count = read_some(self._fd, at, view)
            if not count:
                return False
            hasher.update(view[:count])
            at += count
        after = self._files.scanned_state(file, self._fd)
        return hasher.digest() == hash_ and after is not None and after.st_ctime_ns == found.st_ctime_ns

    def finish(self) -> None:
        """All contents were read: check the remaining files without bytes, then have the trailer made."""
        if self._finished:
            return
        self._finished = True
        self._open_up_to(len(self._manifest.files) - 1)
        self._contents_read()
