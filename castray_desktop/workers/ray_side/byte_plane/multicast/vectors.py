"""Tables for the calls that move many datagrams at once, recvmmsg(2) and sendmmsg(2) of 64-bit Linux.

Heads and payloads lie in memories of their own, so that payloads which follow one another in the stream lie
one after the other.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from array import array
from typing import Any, Optional

from castray_desktop.core.multicast import HEADER_BYTES
from castray_desktop.workers.ray_side.byte_plane import linux

WORD = 8
_VECTOR_WORDS = 2  # iovec: where, and how many bytes
_MESSAGE_WORDS = 8  # mmsghdr: name, its length, vectors, how many, control, its length, flags, length
_NAME_AT, _NAME_LENGTH_AT, _VECTORS_AT, _NUMBER_AT = 0, 1, 2, 3
_LENGTH_AT = 14  # in half words


def function(name: str) -> Optional[Any]:
    """One of these calls; None where this system does not have it, as it is written down here."""
    if sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != WORD:
        return None
    return linux.function(name, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)


def checked(count: int) -> int:
    """What such a call has returned: 0 if it was interrupted. Raises OSError."""
    if count >= 0:
        return count
    code = ctypes.get_errno()
    if code == errno.EINTR:
        return 0
    raise OSError(code, os.strerror(code))


def address(memory: memoryview) -> int:
    """Of memory that can be written to. Whoever uses it keeps the memory."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


class Vectors:
    """Where head and payload of each datagram lie, in turn."""

    def __init__(self, heads: memoryview, payloads: memoryview, number: int, size: int) -> None:
        """Of so many datagrams with `size` bytes of payload each."""
        self._memories = heads, payloads  # or their addresses could be others' some day
        self._table = memoryview(bytearray(number * 2 * _VECTOR_WORDS * WORD))
        words, head, payload = self._table.cast("Q"), address(heads), address(payloads)
        fields = (
            array("Q", range(head, head + number * HEADER_BYTES, HEADER_BYTES)),
            array("Q", [HEADER_BYTES]) * number,
            array("Q", range(payload, payload + number * size, size)),
            array("Q", [size]) * number,
        )
        for at, field in enumerate(fields):
            words[at :: 2 * _VECTOR_WORDS] = memoryview(field)
        self.sizes = words[3 :: 2 * _VECTOR_WORDS]
        """Bytes of each payload."""
        self._at = address(self._table)

    def starts(self, first: int, number: int, together: int) -> memoryview:
        """Addresses of the vectors of so many messages with that many datagrams each, as words."""
        step = 2 * _VECTOR_WORDS * WORD
        start, step = self._at + first * step, together * step
        return memoryview(array("Q", range(start, start + number * step, step)))


class Messages:
    """The messages of one call."""

    def __init__(self, number: int, together: int, name: bytes = b"") -> None:
        """So many, with that many datagrams each; `name` is the sockaddr that they go to."""
        self._table = memoryview(bytearray(number * _MESSAGE_WORDS * WORD))
        self._name = memoryview(bytearray(name))
        words = self._table.cast("Q")
        self.vectors = words[_VECTORS_AT::_MESSAGE_WORDS]
        """Addresses of the first vector of each."""
        self.numbers = words[_NUMBER_AT::_MESSAGE_WORDS]
        """Of vectors, two for each datagram."""
        self.numbers[:] = array("Q", [2 * together]) * number
        self.lengths = self._table.cast("I")[_LENGTH_AT :: 2 * _MESSAGE_WORDS]
        """Bytes of each that was taken."""
        if name:
            words[_NAME_AT::_MESSAGE_WORDS] = array("Q", [address(self._name)]) * number
            words[_NAME_LENGTH_AT::_MESSAGE_WORDS] = array("Q", [len(name)]) * number
        self.at = address(self._table)
