"""The hashes of a delivery's files, made in the stream's order whatever the order in which the bytes come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from castray_desktop.core.parcel import Manifest, Span
from castray_desktop.workers.ray_side.byte_plane.buffers import page_buffer
from castray_desktop.workers.ray_side.byte_plane.digests import Hasher

if TYPE_CHECKING:
    from castray_desktop.workers.ray_side.byte_plane.stock import Stock


class FileHashes:
    """Contents that continue what was hashed go straight in; what waited behind a gap is read back.

    Threads that bring pieces never wait for each other here: whoever finds it busy leaves its part to the one
    who is at it.
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
        self._lock = threading.Lock()
        self._stopped = False
        self._known: Mapping[int, bytes] = {}

    def feed(self, low: int, high: int, spans: list[Span], view: memoryview) -> None:
        """Contents `[low, high)` are there. `completed` is called for each file that has become whole."""
        if low < high and self._lock.acquire(blocking=False):
            try:
                if low == self._at:
                    self._hash(spans, view)
                    self._at = high
            finally:
                self._lock.release()
        self._catch_up()

    def know(self, hashes: Mapping[int, bytes]) -> None:
        """These files need not be read: they are the same as files whose hashes are known."""
        self._known = hashes

    def stop(self) -> None:
        """Whoever reads back leaves it soon."""
        self._stopped = True

    def finish(self) -> list[bytes]:
        """All contents are there: hash what is left, and give all hashes."""
        with self._lock:
            while self._step():
                pass
            self._empty_up_to(len(self._manifest.files))
            return self.hashes

    def _catch_up(self) -> None:
        # asked again after each release: others may have left theirs to us
        while not self._stopped and self._ready() > self._at:
            if not self._lock.acquire(blocking=False):
                return
            try:
                while self._step():
                    pass
            finally:
                self._lock.release()

    def _ready(self) -> int:
        """The end of the contents that are there without a gap from where the hashes are."""
        manifest_bytes = self._stock.layout.manifest_bytes
        with self._stock.condition:
            there = self._stock.have.available_from(manifest_bytes + self._at)
        return min(there - manifest_bytes, self._manifest.content_bytes)

    def _step(self) -> bool:
        """Read a piece's length back and hash it, if there is something."""
        file = self._manifest.file_at(self._at)
        if file in self._known and not self._stopped:
            self._at = self._manifest.file_range(file)[1]
            self._note(file, self._known[file])
            return True
        end = min(self._ready(), self._at + self._stock.layout.piece_bytes)
        if end <= self._at or self._stopped:
            return False
        view = page_buffer(end - self._at)
        self._stock.read_contents(self._at, end, view)
        self._hash(self._manifest.spans(self._at, end), view)
        self._at = end
        return True

    def _hash(self, spans: list[Span], view: memoryview) -> None:
        at = 0
        for span in spans:
            self._hasher.update(view[at : at + span.length])
            at += span.length
            if span.offset + span.length == self._manifest.files[span.file].size:
                self._note(span.file, self._hasher.digest())

    def _note(self, file: int, hash_: bytes) -> None:
        self._empty_up_to(file)
        self.hashes.append(hash_)
        self._hasher = self._new_hasher()
        self._completed(file)

    def _empty_up_to(self, file: int) -> None:
        """Files before it that have no hash yet are empty: they are whole without a byte."""
        while len(self.hashes) < file:
            self.hashes.append(self._new_hasher().digest())
            self._completed(len(self.hashes) - 1)
