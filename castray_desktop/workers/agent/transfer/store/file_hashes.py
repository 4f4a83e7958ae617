"""Hashes of a delivery's files, computed in stream order whatever the order in which the bytes arrive."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Optional, Protocol

from castray_desktop.core.content.manifest import FileSpan, Manifest
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.workers.agent.transfer.store.cancellation import CancellationToken, CastCancelledError
from castray_desktop.workers.agent.transfer.store.piece_store import PieceStore
from castray_desktop.workers.agent.transfer.system.digests import Hasher
from castray_desktop.workers.agent.transfer.system.file_io import hash_zeros, page_buffer

log = logging.getLogger("castray.byte_plane")


class HashedStore(Protocol):
    """The store whose files are hashed."""

    pieces: PieceStore
    cancellation: CancellationToken

    def local_failure(self, error: OSError) -> CastRayError:
        """The failure that an error of this node's own disk ends the delivery with."""


class FileHashes:
    """Contents that continue the hashed prefix are hashed by the thread that brings them.

    Data behind a gap is read back, and holes are hashed, by a thread that starts when needed: it may take
    long, and no thread that brings pieces waits for it.
    """

    def __init__(
        self,
        store: HashedStore,
        manifest: Manifest,
        new_hasher: Callable[[], Hasher],
        completed: Callable[[int], None],
    ) -> None:
        self.hashes: list[bytes] = []
        self._store = store
        self._pieces = store.pieces
        self._manifest = manifest
        self._new_hasher = new_hasher
        self._completed = completed
        self._hasher = new_hasher()
        self._at = 0  # length of the hashed prefix of the contents
        self._in_file = 0  # position in the current file, holes included
        self._lock = threading.Lock()
        self._condition = threading.Condition(self._lock)
        self._working = False  # the hasher is acquired
        self._behind = False  # there may be something to read back
        self._stopped = False
        self._error: Optional[Exception] = None
        self._thread: Optional[threading.Thread] = None
        self.known: dict[int, bytes] = {}
        """Hashes of files that need not be read, since they equal existing ones."""

    # --- for those who bring pieces

    def add_contents(self, low: int, high: int, spans: list[FileSpan], view: memoryview) -> None:
        """Contents `[low, high)` are there. `completed` is called for each file that is complete.

        Raises the error that stopped hashing.
        """
        if low >= high:
            return
        with self._lock:
            self._raise()
            if low != self._at or self._working or self._manifest.has_holes(spans):
                self._leave()
                return
            self._working = True
        try:
            self._hash(spans, view)
        finally:
            self._done(high)

    def stop(self) -> None:
        """Stop, and wait for the background thread."""
        with self._lock:
            self._stopped = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join()

    def finish(self) -> list[bytes]:
        """All contents are there: wait for the rest and return all hashes. Raises like `add_contents`."""
        with self._lock:
            while self._at < self._manifest.content_bytes:
                self._raise()
                self._leave()
                self._condition.wait()
        self._empty_up_to(len(self._manifest.files))
        return self.hashes

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    # --- the thread

    def _leave(self) -> None:
        """There may be data to read back."""
        self._behind = True
        if self._thread is None and not self._stopped:
            name = f"castray-hashes-{self._pieces.cast}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()
        self._condition.notify_all()

    def _run(self) -> None:
        buffer = page_buffer(self._pieces.layout.piece_bytes)  # new memory is as slow as hashing
        try:
            while self._await_work():
                self._done(self._read_back(buffer))
        except OSError as error:
            self._fail(self._store.local_failure(error))
        except (CastCancelledError, CastRayError) as error:
            self._fail(error)
        except Exception as error:
            log.exception("the hashes of cast %s", self._pieces.cast)
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """The next caller gets the error."""
        with self._lock:
            self._error = error
            self._condition.notify_all()

    def _await_work(self) -> bool:
        """Returns True when there is work and the hasher is acquired."""
        with self._lock:
            while not self._stopped and (self._working or not self._behind):
                self._condition.wait()
            self._working = not self._stopped
            return self._working

    def _done(self, at: int) -> None:
        """Release the hasher; contents before `at` are hashed."""
        with self._lock:
            self._at, self._working = at, False
            if self._behind or at == self._manifest.content_bytes:  # else no thread waits for it
                self._condition.notify_all()

    def _ready(self) -> int:
        """End of the contents that are there without a gap from the hashed prefix."""
        manifest_bytes = self._pieces.layout.manifest_bytes
        with self._pieces.lock:
            there = self._pieces.have.available_from(manifest_bytes + self._at)
        return min(there - manifest_bytes, self._manifest.content_bytes)

    def _read_back(self, buffer: memoryview) -> int:
        """Read back and hash up to one piece, if available; returns the new end of the hashed prefix."""
        self._behind = False  # before checking what is there
        if self._at == self._manifest.content_bytes:
            return self._at
        file = self._manifest.file_at(self._at)
        if file in self.known:
            self._behind = True
            self._note(file, self.known[file])
            return self._manifest.file_range(file)[1]
        if self._manifest.files[file].data is not None:  # as the source does, before its next bytes
            self._hash_hole(self._manifest.spans(self._at, self._at + 1)[0].offset)
        layout = self._pieces.layout
        end = min(self._ready(), self._at + layout.piece_bytes)
        if end <= self._at:
            return self._at
        self._behind = True
        view = buffer[: end - self._at]
        self._pieces.read_stream(view, layout.manifest_bytes + self._at, layout.manifest_bytes + end)
        self._hash(self._manifest.spans(self._at, end), view)
        return end

    # --- the hasher

    def _hash(self, spans: list[FileSpan], view: memoryview) -> None:
        """Hash the next contents, which belong to these parts of files. Raises like `add_contents`."""
        at = 0
        for span in spans:
            if span.offset > self._in_file:
                self._hash_hole(span.offset)
            self._hasher.update(view[at : at + span.length])
            self._in_file = span.offset + span.length
            at += span.length
            if self._manifest.is_last(span):
                self._hash_hole(self._manifest.files[span.file].size)
                self._note(span.file, self._hasher.digest())

    def _hash_hole(self, end: int) -> None:
        """Hash zeros up to `end`."""
        hash_zeros(self._hasher, end - self._in_file, self._check_stop)
        self._in_file = end

    def _check_stop(self) -> None:
        """Check for a stop within a large hole."""
        if self._stopped:
            raise CastCancelledError
        self._store.cancellation.check()

    def _note(self, file: int, hash_: bytes) -> None:
        self._empty_up_to(file)
        self.hashes.append(hash_)
        self._hasher, self._in_file = self._new_hasher(), 0
        self._completed(file)

    def _empty_up_to(self, file: int) -> None:
        """Finish empty or all-hole files before `file`."""
        while len(self.hashes) < file:
            hasher = self._new_hasher()
            hash_zeros(hasher, self._manifest.files[len(self.hashes)].size, self._check_stop)
            self.hashes.append(hasher.digest())
            self._completed(len(self.hashes) - 1)
