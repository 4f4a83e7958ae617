"""Digests of pieces that are not here yet: they come ahead, and are passed on ahead."""

from __future__ import annotations

from typing import Optional

from castray_desktop.core.wire import DIGEST_BYTES


class EarlyDigests:
    """By piece. Memory is taken when the first one comes."""

    def __init__(self) -> None:
        self._digests = bytearray()
        self._known = bytearray()

    def note(self, index: int, digest: bytes, pieces: int) -> None:
        """The digest of one of so many pieces; a later one replaces it."""
        if not self._known:
            self._digests, self._known = bytearray(pieces * DIGEST_BYTES), bytearray(pieces)
        self._digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES] = digest
        self._known[index] = 1

    def of(self, index: int) -> Optional[bytes]:
        """None where it has not come."""
        if not self._known or not self._known[index]:
            return None
        return bytes(self._digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES])
