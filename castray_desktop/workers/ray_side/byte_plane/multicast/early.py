"""Digests of pieces that are not here yet: they come ahead, and are passed on ahead."""

from __future__ import annotations

from typing import Optional

from castray_desktop.core.wire import DIGEST_BYTES


class EarlyDigests:
    """By piece. Memory is taken when the first one comes."""

    def __init__(self) -> None:
        self._digests = bytearray()
        self._known = bytearray()

    def note(self, first: int, digests: bytes, pieces: int) -> None:
        """Digests from the first one's piece on, of so many pieces; later ones replace them.

        Raises ValueError where there is no such piece.
        """
        after = first + len(digests) // DIGEST_BYTES
        if after > pieces:
            raise ValueError(f"digests of pieces up to {after}, where there are {pieces}")
        if not self._known:
            self._digests, self._known = bytearray(pieces * DIGEST_BYTES), bytearray(pieces)
        self._digests[first * DIGEST_BYTES : after * DIGEST_BYTES] = digests
        self._known[first:after] = b"\1" * (after - first)

    def of(self, index: int) -> Optional[bytes]:
        """None where it has not come."""
        if not self._known or not self._known[index]:
            return None
        return bytes(self._digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES])
