"""The hashes of a delivery's files, made in the stream's order whatever the order in which the bytes come."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Optional

from castray_desktop.core.failure import CastRayError
from castray_desktop.core.parcel import Manifest, Span
from castray_desktop.workers.ray_side.byte_plane.buffers import page_buffer
from castray_desktop.workers.ray_side.byte_plane.digests import Hasher
from castray_desktop.workers.ray_side.byte_plane.holes import hash_zeros
from castray_desktop.workers.ray_side.byte_plane.supply import Cancelled

if TYPE_CHECKING:
    from castray_desktop.workers.ray_side.byte_plane.stock import Stock


log = logging.getLogger("castray.byte_plane")


class FileHashes:
    """Contents that continue what was hashed go straight in, by whoever brings them.

    What waited behind a gap is read back, and holes are hashed, by a thread that starts when there is such
    work: it may take long, and nobody who brings pieces waits for it.
    """

    def __init__(
        self,
        stock: Stock,
        manifest: Manifest,
        new_hasher: Callable[[], Hasher],
        completed: Callable[[int], None],
    ) -> None:
        self.hashes: list[bytes] = []
        self._stock = stock
        self._manifest = manifest
        self._new_hasher = new_hasher
        self._completed = completed
        self._hasher = new_hasher()
        self._at = 0  # contents that were hashed, always a prefix
        self._in_file = 0  # of the file that the hasher is in, holes included
        self._lock = threading.Lock()
        self._condition = threading.Condition(self._lock)
        self._working = False  # somebody uses the hasher
        self._behind = False  # there may be something to read back
        self._stopped = False
        self._error: Optional[Exception] = None
        self._thread: Optional[threading.Thread] = None
        self._known: dict[int, bytes] = {}

    # --- for those who bring pieces

    def feed(self, low: int, high: int, spans: list[Span], view: memoryview) -> None:
        """Contents `[low, high)` are there. `completed` is called for each file that has become whole.

        Raises what has kept the hashes from going on.
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

    def know(self, hashes: Mapping[int, bytes]) -> None:
        """These files need not be read: they are the same as files whose hashes are known, or nobody asks."""
        self._known.update(hashes)

    def stop(self) -> None:
        """Leave it, and wait for whoever is at it."""
        with self._lock:
            self._stopped = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join()

    def finish(self) -> list[bytes]:
        """All contents are there: wait for what is left, and give all hashes. Raises like `feed`."""
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
        """There may be something to read back."""
        self._behind = True
        if self._thread is None and not self._stopped:
            name = f"castray-hashes-{self._stock.cast}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()
        self._condition.notify_all()

    def _run(self) -> None:
        buffer = page_buffer(self._stock.layout.piece_bytes)  # once: new memory costs as much as hashing it
        try:
            while self._await_work():
                self._done(self._read_back(buffer))
        except OSError as error:
            self._fail(self._stock.local_failure(error))
        except (Cancelled, CastRayError) as error:
            self._fail(error)
        except Exception as error:
            log.exception("the hashes of cast %s", self._stock.cast)
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Whoever comes next is told."""
        with self._lock:
            self._error = error
            self._condition.notify_all()

    def _await_work(self) -> bool:
        """True: there is some, and the hasher is ours."""
        with self._lock:
            while not self._stopped and (self._working or not self._behind):
                self._condition.wait()
            self._working = not self._stopped
            return self._working

    def _done(self, at: int) -> None:
        """The contents before `at` were hashed."""
        with self._lock:
            self._at, self._working = at, False
            if self._behind or at == self._manifest.content_bytes:  # else nobody has to do with it
                self._condition.notify_all()

    def _ready(self) -> int:
        """The end of the contents that are there without a gap from where the hashes are."""
        manifest_bytes = self._stock.layout.manifest_bytes
        with self._stock.lock:
            there = self._stock.have.available_from(manifest_bytes + self._at)
        return min(there - manifest_bytes, self._manifest.content_bytes)

    def _read_back(self, buffer: memoryview) -> int:
        """Read a piece's length back and hash it, if there is something; how far the hashes are then."""
        self._behind = False  # before it is looked what is there
        if self._at == self._manifest.content_bytes:
            return self._at
        file = self._manifest.file_at(self._at)
        if file in self._known:
            self._behind = True
            self._note(file, self._known[file])
            return self._manifest.file_range(file)[1]
        if (
            self._manifest.files[file].data is not None
        ):  # the source is at the same hole, before its next bytes
            self._hash_hole(self._manifest.spans(self._at, self._at + 1)[0].offset)
        end = min(self._ready(), self._at + self._stock.layout.piece_bytes)
        if end <= self._at:
            return self._at
        self._behind = True
        view = buffer[: end - self._at]
        self._stock.read_contents(self._at, end, view)
        self._hash(self._manifest.spans(self._at, end), view)
        return end

    # --- the hasher

    def _hash(self, spans: list[Span], view: memoryview) -> None:
        """The next contents, which belong to these parts of files. Raises like `feed`."""
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
        """The file is a hole from what was hashed up to there."""
        hash_zeros(self._hasher, end - self._in_file, self._went_on)
        self._in_file = end

    def _went_on(self) -> None:
        """In the middle of a hole, which may be large."""
        if self._stopped:
            raise Cancelled
        self._stock.check_stop()

    def _note(self, file: int, hash_: bytes) -> None:
        self._empty_up_to(file)
        self.hashes.append(hash_)
        self._hasher, self._in_file = self._new_hasher(), 0
        self._completed(file)

    def _empty_up_to(self, file: int) -> None:
        """Files before it that have no hash yet are whole without a byte: empty, or nothing but a hole."""
        while len(self.hashes) < file:
            hasher = self._new_hasher()
            hash_zeros(hasher, self._manifest.files[len(self.hashes)].size, self._went_on)
            self.hashes.append(hasher.digest())
            self._completed(len(self.hashes) - 1)
