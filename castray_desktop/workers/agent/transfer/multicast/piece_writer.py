"""Write reassembled pieces whose bytes are complete and whose digests are known."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Optional, Protocol

from castray_desktop.core.content.byte_ranges import Range
from castray_desktop.core.content.manifest import Manifest
from castray_desktop.core.content.stream_layout import StreamLayout
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.workers.agent.transfer.multicast.reassembly import ReassemblyBuffer, WantedPieces
from castray_desktop.workers.agent.transfer.store.cancellation import CastCancelledError
from castray_desktop.workers.agent.transfer.system.digests import Hasher
from castray_desktop.workers.agent.transfer.system.time_breakdown import CHECKING, WAITING, TimeBreakdown


class ReceivedPieces(Protocol):
    """Interface of the pieces that are there already."""

    layout: StreamLayout
    manifest: Optional[Manifest]
    new_piece_hasher: Callable[[], Hasher]
    wake_pending: bool
    paused: bool

    def early_digest(self, index: int) -> Optional[bytes]:
        """The digest of a piece, once known; the piece may still be missing."""

    def notify_waiting(self) -> None:
        """Wake the threads that wait for pieces."""

    def report_state(self) -> None:
        """Trigger an immediate report."""


class PieceRecipient(WantedPieces, Protocol):
    """Interface of a store whose pieces may come by multicast."""

    time_breakdown: TimeBreakdown
    write_lock: threading.Lock

    @property
    def pieces(self) -> ReceivedPieces:
        """The pieces that are there already."""

    def can_write(self, index: int) -> bool:
        """Whether `write_piece` can write it."""

    def write_piece(self, index: int, digest: bytes, view: memoryview) -> bool:
        """Write a verified piece. Raises CastRayError."""

    def record_datagram_bytes(self, count: int) -> None:
        """Count the verified multicast bytes of a written piece."""

    def is_complete(self) -> bool:
        """Whether every byte was received and verified."""


class PieceWriter:
    """Two threads write: the receiving one as long as that is fast, and the connection's thread, which does
    the rest.

    Data received just now is still in the processor's cache, which makes writing it much cheaper there. So
    the connection's thread only writes contents that the receiving one has left to it.
    """

    def __init__(self, delivery: PieceRecipient, candidates: ReassemblyBuffer) -> None:
        self._delivery = delivery
        self._candidates = candidates
        self._wrong: list[Range] = []
        self._error: Optional[Exception] = None
        self._left = False  # contents are left for the other thread

    # --- for the thread that listens

    def write_now(self) -> bool:
        """Write contents, unless the other thread is writing. False if work is left for the other thread."""
        delivery = self._delivery
        if delivery.pieces.manifest is None or not delivery.write_lock.acquire(blocking=False):
            self.defer()
            return False
        try:
            nothing_else = self._place(contents=True, lists=False)
        except (CastRayError, OSError, CastCancelledError) as error:
            self._error = error  # for the other thread, which knows what to make of it
            self.defer()
            return False
        finally:
            delivery.time_breakdown.switch(WAITING)
            delivery.write_lock.release()
        return nothing_else and not self._wrong and not delivery.is_complete()

    def defer(self) -> None:
        """Leave complete contents to the other thread. From any thread."""
        self._left = True

    # --- for the thread that has the connection

    def write_complete(self, all_of_them: bool = False) -> list[Range]:
        """Write lists, and contents that were left (or `all_of_them`), as far as possible.

        Returns ranges of pieces whose bytes were wrong. Raises the receiving thread's error, and as
        `PieceRecipient.write_piece` does.
        """
        if not (all_of_them or self._left or self._error or self._wrong or self._candidates.complete_pieces):
            return []
        with self._delivery.write_lock:
            if self._error is not None:
                raise self._error
            contents = all_of_them or self._left
            if contents:  # reset before looking for complete pieces, so that none is missed
                self._left = False
            self._place(contents, lists=True)
            wrong, self._wrong = self._wrong, []
        return wrong

    def _place(self, contents: bool, lists: bool) -> bool:
        """Write the complete ones of these pieces. Returns whether there were no others."""
        delivery, candidates, others = self._delivery, self._candidates, False
        for piece in candidates.complete_pieces:
            if not (contents if piece in delivery.pieces.layout.contents else lists):
                others = True
            elif not delivery.needs_piece(piece):
                candidates.recycle(candidates.remove_complete(piece)[0])
            else:
                digest = delivery.pieces.early_digest(piece)
                if digest is not None and delivery.can_write(piece):
                    self._place_one(piece, digest)
                else:  # it is written once the missing digest has arrived
                    self.defer()
        return not others

    def _place_one(self, piece: int, digest: bytes) -> None:
        view, asked = self._candidates.remove_complete(piece)
        if self._is_placed(piece, digest, view):
            self._delivery.record_datagram_bytes(len(view) - asked)
        else:
            self._wrong.append((piece, piece + 1))
        self._candidates.recycle(view)

    def _is_placed(self, piece: int, digest: bytes, view: memoryview) -> bool:
        """Write these bytes if their digest matches; returns whether it does."""
        self._delivery.time_breakdown.switch(CHECKING)
        return self._digest_of(view) == digest and self._delivery.write_piece(piece, digest, view)

    def _digest_of(self, view: memoryview) -> bytes:
        hasher = self._delivery.pieces.new_piece_hasher()
        hasher.update(view)
        return hasher.digest()
