"""Placing what a group has brought: pieces whose bytes are all there, and whose digests are known."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Optional, Protocol

from castray_desktop.core.failure import CastRayError
from castray_desktop.core.layout import Layout
from castray_desktop.core.parcel import Manifest
from castray_desktop.core.ranges import Range
from castray_desktop.workers.ray_side.byte_plane.digests import Hasher
from castray_desktop.workers.ray_side.byte_plane.multicast.candidates import Candidates, Wanted
from castray_desktop.workers.ray_side.byte_plane.spending import CHECKING, WAITING, Spending
from castray_desktop.workers.ray_side.byte_plane.supply import Cancelled


class Recipient(Wanted, Protocol):
    """A delivery whose pieces may come from a group."""

    layout: Layout
    manifest: Optional[Manifest]
    spending: Spending
    placing_lock: threading.Lock
    new_piece_hasher: Callable[[], Hasher]
    unwoken: bool

    def early_digest(self, index: int) -> Optional[bytes]:
        """The digest of a piece that may not be here yet, once it is known."""

    def can_place(self, index: int) -> bool:
        """Whether `place_piece` could place it."""

    def place_piece(self, index: int, digest: bytes, view: memoryview) -> bool:
        """Write a verified piece. Raises CastRayError."""

    def came_by_datagrams(self, count: int) -> None:
        """Verified bytes of a piece that was placed."""

    def is_complete(self) -> bool:
        """Whether every byte is here and was verified."""

    def wake(self) -> None:
        """Let those go on who wait for pieces."""


class Placing:
    """Two threads place: the one that takes datagrams, as long as that is quick, and the one that has the
    upstream's connection, which does all the rest.

    What was received just now is in the processor's cache still, so that it costs much less there. So the
    other thread keeps off contents that the first one has not left.
    """

    def __init__(self, delivery: Recipient, candidates: Candidates) -> None:
        self._delivery = delivery
        self._candidates = candidates
        self._wrong: list[Range] = []
        self._error: Optional[Exception] = None
        self._left = False  # contents for the other thread

    # --- for the thread that listens

    def place_at_once(self) -> bool:
        """Place contents, if nobody else does so now. False where the other thread has something to do."""
        delivery = self._delivery
        if delivery.manifest is None or not delivery.placing_lock.acquire(blocking=False):
            self.leave()
            return False
        try:
            nothing_else = self._place(contents=True, lists=False)
        except (CastRayError, OSError, Cancelled) as error:
            self._error = error  # for the other thread, which knows what to make of it
            self.leave()
            return False
        finally:
            delivery.spending.on(WAITING)
            delivery.placing_lock.release()
        return nothing_else and not self._wrong and not delivery.is_complete()

    def leave(self) -> None:
        """Contents that are whole now are the other thread's. From any thread."""
        self._left = True

    # --- for the thread that has the connection

    def place(self, all_of_them: bool = False) -> list[Range]:
        """Place lists, and contents that were left, or `all_of_them`, as far as they can be placed.

        Returns pieces whose bytes were wrong, the first and the one after the last. Raises what has kept the
        other thread from placing, and as `Recipient.place_piece` does.
        """
        if not (all_of_them or self._left or self._error or self._wrong or self._candidates.whole):
            return []
        with self._delivery.placing_lock:
            if self._error is not None:
                raise self._error
            contents = all_of_them or self._left
            if contents:  # before it looks what is whole, or what is left meanwhile would be forgotten
                self._left = False
            self._place(contents, lists=True)
            wrong, self._wrong = self._wrong, []
        return wrong

    def _place(self, contents: bool, lists: bool) -> bool:
        """Place what is whole of these. Whether there were no others."""
        delivery, candidates, others = self._delivery, self._candidates, False
        for piece in candidates.whole:
            if not (contents if piece in delivery.layout.contents else lists):
                others = True
            elif not delivery.wants_piece(piece):
                candidates.give_back(candidates.take_out(piece)[0])
            else:
                digest = delivery.early_digest(piece)
                if digest is not None and delivery.can_place(piece):
                    self._place_one(piece, digest)
                else:  # whoever brings what it waits for can place it
                    self.leave()
        return not others

    def _place_one(self, piece: int, digest: bytes) -> None:
        view, asked = self._candidates.take_out(piece)
        if self._is_placed(piece, digest, view):
            self._delivery.came_by_datagrams(len(view) - asked)
        else:
            self._wrong.append((piece, piece + 1))
        self._candidates.give_back(view)

    def _is_placed(self, piece: int, digest: bytes, view: memoryview) -> bool:
        """Place these bytes if they are the right ones; whether they were."""
        self._delivery.spending.on(CHECKING)
        return self._digest_of(view) == digest and self._delivery.place_piece(piece, digest, view)

    def _digest_of(self, view: memoryview) -> bytes:
        hasher = self._delivery.new_piece_hasher()
        hasher.update(view)
        return hasher.digest()
