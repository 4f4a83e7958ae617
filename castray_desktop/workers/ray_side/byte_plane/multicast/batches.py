"""Taking many datagrams in one call where the kernel does not put them together: recvmmsg(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
from typing import NamedTuple, Optional

_MSG_WAITFORONE = 0x10000
_MSG_TRUNC = 0x20


class _IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _Message(ctypes.Structure):
    """msghdr and mmsghdr of 64-bit Linux."""

    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("_padding", ctypes.c_uint32),
        ("length", ctypes.c_uint32),
    ]


class Run(NamedTuple):
    """Datagrams that lie one after the other in the buffer, each but the last of the same length."""

    first: int  # place of the first one, in lengths of a datagram
    number: int
    last: int  # bytes of the last one


def available() -> bool:
    """Whether this system has it, as it is written down here."""
    return sys.platform.startswith("linux") and ctypes.sizeof(ctypes.c_void_p) == 8 and _receive is not None


def _find() -> Optional[ctypes._NamedFuncPointer]:
    try:
        function = ctypes.CDLL(None, use_errno=True).recvmmsg
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
    function.restype = ctypes.c_int
    return function


_receive = _find()


class Batches:
    """Takes datagrams of up to `length` bytes into a buffer, each at a multiple of it."""

    def __init__(self, buffer: memoryview, length: int) -> None:
        self.length = length
        self.most = len(buffer) // length
        self._whole = (ctypes.c_char * len(buffer)).from_buffer(buffer)
        base = ctypes.addressof(self._whole)
        self._vectors = (_IoVec * self.most)()
        self._messages = (_Message * self.most)()
        for number, (vector, message) in enumerate(zip(self._vectors, self._messages)):
            vector.base, vector.length = base + number * length, length
            message.vectors, message.vector_count = ctypes.addressof(vector), 1
        self._names = ctypes.addressof(self._messages)

    def receive(self, sock: socket.socket, wait: bool) -> list[Run]:
        """What is there, at least one if it is to `wait`; nothing where one was longer than that.

        Raises BlockingIOError when the socket has waited as long as it was told to, and OSError.
        """
        assert _receive is not None
        flags = _MSG_WAITFORONE if wait else socket.MSG_DONTWAIT
        count = _receive(sock.fileno(), self._names, self.most, flags, None)
        if count < 0:
            code = ctypes.get_errno()
            if code == errno.EINTR:
                return []
            raise OSError(code, os.strerror(code))
        runs, first = [], 0
        for number in range(count):
            message = self._messages[number]
            if message.flags & _MSG_TRUNC:
                return []
            if message.length != self.length or number == count - 1:
                runs.append(Run(first, number - first + 1, message.length))
                first = number + 1
        return runs
