"""Making the datagrams of a piece, all at once: that costs much less than making them burst by burst."""

from __future__ import annotations

from castray_desktop.core.multicast import HEADER_BYTES, Heads, Keys
from castray_desktop.workers.ray_side.byte_plane.buffers import page_buffer
from castray_desktop.workers.ray_side.byte_plane.supply import Supply, read_some


class Datagrams:
    """Of one piece at a time, in memory. `payload` bytes go into each."""

    def __init__(self, supply: Supply, keys: Keys, payload: int) -> None:
        self._supply = supply
        self._payload = payload
        number = -(-supply.layout.piece_bytes // payload)
        self.heads = page_buffer(number * HEADER_BYTES)
        """One after the other."""
        self.payloads = page_buffer(number * payload)
        """One after the other, so that they are the piece."""
        self._writer = Heads(self.heads, payload, keys.tags)

    def of_piece(self, index: int, sequence: int) -> tuple[int, int]:
        """Make those of a piece that is there, numbered from `sequence` on.

        How many they are, and how many bytes of payload the last one has. Raises Gone or OSError.
        """
        start, end = self._supply.layout.piece(index)
        length = end - start
        number = -(-length // self._payload)
        view = self.payloads[:length]
        where = self._supply.within_file(index)
        if where is None:
            view[:] = self._supply.assembled(index)
        else:
            with self._supply.borrow(where[0]) as fd:
                count = read_some(fd, where[1], view)
            view[count:] = bytes(length - count)  # it has become shorter; the relay sends zeros as well
        self._writer.write(number, sequence, index)
        return number, length - (number - 1) * self._payload
