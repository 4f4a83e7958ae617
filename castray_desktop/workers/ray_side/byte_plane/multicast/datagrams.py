"""Making the datagrams of a piece, all at once: that costs much less than making them burst by burst."""

from __future__ import annotations

import functools
import os

from castray_desktop.core.multicast import HEADER_BYTES, Heads, Keys
from castray_desktop.workers.ray_side.byte_plane.buffers import page_buffer
from castray_desktop.workers.ray_side.byte_plane.supply import Supply, read_some

ZONES = 8
MOST_VIEWS = 1024
"""As many parts of memory as the system fills at once."""


class Datagrams:
    """Of one piece at a time, in memory where payloads lie between heads. `payload` bytes go into each."""

    def __init__(self, supply: Supply, keys: Keys, payload: int) -> None:
        self.segment = payload + HEADER_BYTES
        self._supply = supply
        self._payload = payload
        number = -(-supply.layout.piece_bytes // payload)
        self._memory = page_buffer(self.segment * number)
        self._heads = Heads(self._memory, self.segment, functools.lru_cache(ZONES)(keys.tags))
        starts = range(0, self.segment * number, self.segment)
        self._views = [self._memory[start + HEADER_BYTES : start + self.segment] for start in starts]
        self._end = 0

    def of_piece(self, index: int, sequence: int) -> int:
        """Make those of a piece that is there, numbered from `sequence` on; how many they are.

        Raises Gone or OSError.
        """
        start, end = self._supply.layout.piece(index)
        number = -(-(end - start) // self._payload)
        self._end = end - start + number * HEADER_BYTES
        views = self._views[:number]
        views[-1] = views[-1][: end - start - (number - 1) * self._payload]
        where = self._supply.within_file(index)
        if where is None:
            _scatter(self._supply.assembled(index), views)
        else:
            with self._supply.borrow(where[0]) as fd:
                _read(fd, where[1], views, end - start)
        self._heads.write(number, sequence, index, 0, self._payload)
        return number

    def some(self, first: int, after: int) -> memoryview:
        """From the first to the one before `after`, as they lie in memory."""
        return self._memory[first * self.segment : min(after * self.segment, self._end)]


def _scatter(payload: memoryview, views: list[memoryview]) -> None:
    at = 0
    for view in views:
        view[:] = payload[at : at + len(view)]
        at += len(view)


def _read(fd: int, offset: int, views: list[memoryview], length: int) -> None:
    """Fill the views from a file; zeros where it has become shorter, as the relay sends them."""
    for first in range(0, len(views), MOST_VIEWS):
        some = views[first : first + MOST_VIEWS]
        wanted = min(length, len(some) * len(some[0]))
        if os.preadv(fd, some, offset) < wanted:
            payload = memoryview(bytearray(wanted))
            read_some(fd, offset, payload)
            _scatter(payload, some)
        offset, length = offset + wanted, length - wanted
