"""Taking many datagrams in one call, the bytes of each where they should come to lie: recvmmsg(2).

Heads and payloads go to memories of their own, so that payloads which follow one another in the stream lie
one after the other, and need not be moved any more.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import sys
from abc import ABC, abstractmethod
from array import array
from typing import Optional

from castray_desktop.core.multicast import HEADER_BYTES
from castray_desktop.workers.ray_side.byte_plane.buffers import page_buffer

_MSG_WAITFORONE = 0x10000
_VECTOR_WORDS = 2  # iovec: where, and how many bytes
_MESSAGE_WORDS = 8  # mmsghdr of 64-bit Linux
_VECTORS_AT, _NUMBER_AT, _LENGTH_AT = 2, 3, 14  # the last one in half words
_WORD = 8


class Batches(ABC):
    """Takes datagrams with `size` bytes of payload. Each has a number, which says where it comes to lie."""

    def __init__(self, size: int, most: int, together: int) -> None:
        """Numbers are below `most`; the kernel puts up to `together` datagrams into one message."""
        self.size = size
        self.most = most
        self.together = together
        self.heads = page_buffer((most + together) * HEADER_BYTES)
        """Of each datagram, by its number."""

    @abstractmethod
    def receive(self, sock: socket.socket, memory: memoryview, first: int, end: int, wait: bool) -> list[int]:
        """The lengths of the messages that are there, at least of one if it is to `wait`.

        Message m begins with number `first` + m * `together`, below `end`; its payloads lie in `memory` at
        their numbers times `size`; it has MOST_AT_ONCE bytes more than `end` says. Raises BlockingIOError
        when nothing has come, after as long as the socket was told to wait, and OSError.
        """


def batches(size: int, most: int, together: int) -> Batches:
    """As this system has it; together is 1 where the kernel puts nothing together."""
    return ManyMessages(size, most, together) if available() else OneMessage(size, most)


def available() -> bool:
    """Whether this system can take many messages at once, as it is written down here."""
    little = sys.byteorder == "little"
    return (
        sys.platform.startswith("linux")
        and little
        and ctypes.sizeof(ctypes.c_void_p) == _WORD
        and bool(_receive)
    )


def _find() -> Optional[ctypes._NamedFuncPointer]:
    try:
        function = ctypes.CDLL(None, use_errno=True).recvmmsg
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
    function.restype = ctypes.c_int
    return function


_receive = _find()


class ManyMessages(Batches):
    """Where there is recvmmsg."""

    def __init__(self, size: int, most: int, together: int) -> None:
        super().__init__(size, most, together)
        self._vectors: dict[int, _Vectors] = {}  # by the memory that they lead to
        number = -(-most // together)
        self._messages = memoryview(bytearray(number * _MESSAGE_WORDS * _WORD))
        words = self._messages.cast("Q")
        words[_NUMBER_AT::_MESSAGE_WORDS] = array("Q", [2 * together]) * number
        self._starts = words[_VECTORS_AT::_MESSAGE_WORDS]
        self._lengths = self._messages.cast("I")[_LENGTH_AT :: 2 * _MESSAGE_WORDS]
        self._at = _address(self._messages)

    def receive(self, sock: socket.socket, memory: memoryview, first: int, end: int, wait: bool) -> list[int]:
        assert _receive is not None
        vectors = self._vectors.get(id(memory.obj))
        if vectors is None:
            vectors = self._vectors[id(memory.obj)] = _Vectors(self, memory)
        number = -(-(end - first) // self.together)
        self._starts[:number] = vectors.starts(first, number, self.together)
        flags = _MSG_WAITFORONE if wait else socket.MSG_DONTWAIT
        count = _receive(sock.fileno(), self._at, number, flags, None)
        if count < 0:
            code = ctypes.get_errno()
            if code == errno.EINTR:
                return []
            raise OSError(code, os.strerror(code))
        return self._lengths[:count].tolist()


class _Vectors:
    """Where heads and payloads go, in turn, for one memory."""

    def __init__(self, batches: Batches, memory: memoryview) -> None:
        number, size = batches.most + batches.together, batches.size
        self._memory = memory  # or its address could be another one's some day
        self._table = memoryview(bytearray(number * 2 * _VECTOR_WORDS * _WORD))
        words, heads, payloads = self._table.cast("Q"), _address(batches.heads), _address(memory)
        fields = (
            array("Q", range(heads, heads + number * HEADER_BYTES, HEADER_BYTES)),
            array("Q", [HEADER_BYTES]) * number,
            array("Q", range(payloads, payloads + number * size, size)),
            array("Q", [size]) * number,
        )
        for at, field in enumerate(fields):
            words[at :: 2 * _VECTOR_WORDS] = memoryview(field)
        self._at = _address(self._table)

    def starts(self, first: int, number: int, together: int) -> memoryview:
        """Addresses of the vectors of so many messages."""
        step = 2 * _VECTOR_WORDS * _WORD
        start, step = self._at + first * step, together * step
        return memoryview(array("Q", range(start, start + number * step, step)))


class OneMessage(Batches):
    """Elsewhere: a call for each datagram."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__(size, most, 1)

    def receive(self, sock: socket.socket, memory: memoryview, first: int, end: int, wait: bool) -> list[int]:
        lengths = [self._receive(sock, memory, first, 0 if wait else socket.MSG_DONTWAIT)]
        with contextlib.suppress(BlockingIOError):
            lengths.extend(
                self._receive(sock, memory, number, socket.MSG_DONTWAIT) for number in range(first + 1, end)
            )
        return lengths

    def _receive(self, sock: socket.socket, memory: memoryview, number: int, flags: int) -> int:
        at, start = number * HEADER_BYTES, number * self.size
        into = [self.heads[at : at + HEADER_BYTES], memory[start : start + self.size]]
        return sock.recvmsg_into(into, 0, flags)[0]


def _address(memory: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
