"""Taking many datagrams in one call, the bytes of each where they should come to lie: recvmmsg(2).

Payloads that follow one another in the stream come to lie one after the other: nothing has to be moved any
more.
"""

from __future__ import annotations

import contextlib
import socket
from abc import ABC, abstractmethod

from castray_desktop.core.multicast import HEADER_BYTES
from castray_desktop.workers.ray_side.byte_plane.buffers import page_buffer
from castray_desktop.workers.ray_side.byte_plane.multicast.vectors import (
    Messages,
    Vectors,
    checked,
    function,
)

_MSG_WAITFORONE = 0x10000
_receive = function("recvmmsg")


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
    return ManyMessages(size, most, together) if _receive is not None else OneMessage(size, most)


class ManyMessages(Batches):
    """Where there is recvmmsg."""

    def __init__(self, size: int, most: int, together: int) -> None:
        super().__init__(size, most, together)
        self._vectors: dict[int, Vectors] = {}  # by the memory that they lead to
        self._messages = Messages(-(-most // together), together)

    def receive(self, sock: socket.socket, memory: memoryview, first: int, end: int, wait: bool) -> list[int]:
        assert _receive is not None
        vectors = self._vectors.get(id(memory.obj))
        if vectors is None:
            number = self.most + self.together
            vectors = self._vectors[id(memory.obj)] = Vectors(self.heads, memory, number, self.size)
        number = -(-(end - first) // self.together)
        self._messages.vectors[:number] = vectors.starts(first, number, self.together)
        flags = _MSG_WAITFORONE if wait else socket.MSG_DONTWAIT
        count = checked(_receive(sock.fileno(), self._messages.at, number, flags, None))
        return self._messages.lengths[:count].tolist()


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
