"""Receive and send many datagrams in one call: recvmmsg(2) and sendmmsg(2) of 64-bit Linux.

Headers and payloads lie in separate memories, so that payloads which follow one another in the stream lie
one after the other. Linux also cuts one message into many datagrams (UDP_SEGMENT; udp(7)), where the
device can do that.
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
from typing import Any, Optional

from castray_desktop.core.multicast.datagrams import HEADER_BYTES
from castray_desktop.workers.agent.transfer.multicast.multicast_sockets import SendingSocket
from castray_desktop.workers.agent.transfer.system import linux_calls
from castray_desktop.workers.agent.transfer.system.file_io import page_buffer

WORD = 8

_VECTOR_WORDS = 2  # iovec: address, length

_MESSAGE_WORDS = 8  # mmsghdr: name, its length, vectors, how many, control, its length, flags, length

_NAME_AT, _NAME_LENGTH_AT, _VECTORS_AT, _NUMBER_AT = 0, 1, 2, 3

_LENGTH_AT = 14  # offset in half words


def mmsg_function(name: str) -> Optional[Any]:
    """The system call as a libc function; None if this system lacks it or its structures differ."""
    if sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != WORD:
        return None
    return linux_calls.libc_function(
        name, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p
    )


def check_count(count: int) -> int:
    """Check the result of such a call: 0 if it was interrupted. Raises OSError."""
    if count >= 0:
        return count
    code = ctypes.get_errno()
    if code == errno.EINTR:
        return 0
    raise OSError(code, os.strerror(code))


def memory_address(memory: memoryview) -> int:
    """Address of a writable buffer. The caller must keep the buffer alive."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


class IoVectors:
    """iovec table: header and payload of each datagram in turn."""

    def __init__(self, heads: memoryview, payloads: memoryview, number: int, size: int) -> None:
        """For this many datagrams with `size` bytes of payload each."""
        self._memories = heads, payloads  # keeps the memory alive
        self._table = memoryview(bytearray(number * 2 * _VECTOR_WORDS * WORD))
        words, head, payload = self._table.cast("Q"), memory_address(heads), memory_address(payloads)
        fields = (
            array("Q", range(head, head + number * HEADER_BYTES, HEADER_BYTES)),
            array("Q", [HEADER_BYTES]) * number,
            array("Q", range(payload, payload + number * size, size)),
            array("Q", [size]) * number,
        )
        for at, field in enumerate(fields):
            words[at :: 2 * _VECTOR_WORDS] = memoryview(field)
        self.sizes = words[3 :: 2 * _VECTOR_WORDS]
        """Lengths of the payloads."""
        self._at = memory_address(self._table)

    def vector_addresses(self, first: int, number: int, together: int) -> memoryview:
        """Addresses of the first vectors of messages with that many datagrams each, as words."""
        step = 2 * _VECTOR_WORDS * WORD
        start, step = self._at + first * step, together * step
        return memoryview(array("Q", range(start, start + number * step, step)))


class MessageHeaders:
    """The mmsghdr table of one call."""

    def __init__(self, number: int, together: int, name: bytes = b"") -> None:
        """This many messages with that many datagrams each; `name` is the destination sockaddr."""
        self._table = memoryview(bytearray(number * _MESSAGE_WORDS * WORD))
        self._name = memoryview(bytearray(name))
        words = self._table.cast("Q")
        self.vectors = words[_VECTORS_AT::_MESSAGE_WORDS]
        """Address of the first vector of each message."""
        self.numbers = words[_NUMBER_AT::_MESSAGE_WORDS]
        """Number of vectors of each message, two for each datagram."""
        self.numbers[:] = array("Q", [2 * together]) * number
        self.lengths = self._table.cast("I")[_LENGTH_AT :: 2 * _MESSAGE_WORDS]
        """Length of each received message."""
        if name:
            words[_NAME_AT::_MESSAGE_WORDS] = array("Q", [memory_address(self._name)]) * number
            words[_NAME_LENGTH_AT::_MESSAGE_WORDS] = array("Q", [len(name)]) * number
        self.at = memory_address(self._table)


_MSG_WAITFORONE = 0x10000

_recvmmsg = mmsg_function("recvmmsg")


class BatchReceiver(ABC):
    """Receives datagrams with `size` bytes of payload. Each has a slot number that determines where its bytes
    are written.
    """

    def __init__(self, size: int, most: int, together: int) -> None:
        """Slot numbers are below `most`; the kernel coalesces up to `together` datagrams into one message."""
        self.size = size
        self.most = most
        self.together = together
        self.heads = page_buffer((most + together) * HEADER_BYTES)
        """Headers of the datagrams, by slot number."""

    @abstractmethod
    def receive(self, sock: socket.socket, memory: memoryview, first: int, end: int, wait: bool) -> list[int]:
        """Receive messages and return their lengths; with `wait`, at least one.

        Message m starts at slot `first` + m * `together`, below `end`; its payloads are written to `memory`
        at slot number times `size`; `memory` must have MOST_AT_ONCE bytes beyond `end`. Raises
        BlockingIOError if nothing came within the socket's timeout, and OSError.
        """


def make_batch_receiver(size: int, most: int, together: int) -> BatchReceiver:
    """The implementation for this system; `together` is 1 if the kernel does not coalesce."""
    return MmsgReceiver(size, most, together) if _recvmmsg is not None else SingleReceiver(size, most)


class MmsgReceiver(BatchReceiver):
    """Implementation with recvmmsg."""

    def __init__(self, size: int, most: int, together: int) -> None:
        super().__init__(size, most, together)
        self._vectors: dict[int, IoVectors] = {}  # iovec tables by the memory they point to
        self._messages = MessageHeaders(-(-most // together), together)

    def receive(self, sock: socket.socket, memory: memoryview, first: int, end: int, wait: bool) -> list[int]:
        assert _recvmmsg is not None
        vectors = self._vectors.get(id(memory.obj))
        if vectors is None:
            number = self.most + self.together
            vectors = self._vectors[id(memory.obj)] = IoVectors(self.heads, memory, number, self.size)
        number = -(-(end - first) // self.together)
        self._messages.vectors[:number] = vectors.vector_addresses(first, number, self.together)
        flags = _MSG_WAITFORONE if wait else socket.MSG_DONTWAIT
        count = check_count(_recvmmsg(sock.fileno(), self._messages.at, number, flags, None))
        return self._messages.lengths[:count].tolist()


class SingleReceiver(BatchReceiver):
    """Fallback: one call for each datagram."""

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


_sendmmsg = mmsg_function("sendmmsg")


class BatchSender(ABC):
    """Sends datagrams by slot number. Headers are in one buffer, payloads in another."""

    def __init__(self, sock: SendingSocket, heads: memoryview, payloads: memoryview) -> None:
        self._socket = sock
        self._heads = heads
        self._payloads = payloads
        self._size = sock.payload
        self._number = self._last = 0

    def set_datagrams(self, number: int, last: int) -> None:
        """Set the number of datagrams and the payload size of the last one."""
        self._number, self._last = number, last

    @abstractmethod
    def send(self, first: int, after: int) -> int:
        """Send the slots from the first up to `after`, or some of them; returns how many.

        0 for the moment, for instance if the device's queue is full. Raises OSError.
        """


def make_batch_sender(sock: SendingSocket, heads: memoryview, payloads: memoryview) -> BatchSender:
    """The implementation for this system."""
    return (MmsgSender if _sendmmsg is not None else SingleSender)(sock, heads, payloads)


class MmsgSender(BatchSender):
    """Implementation with sendmmsg."""

    def __init__(self, sock: SendingSocket, heads: memoryview, payloads: memoryview) -> None:
        super().__init__(sock, heads, payloads)
        self._most = len(payloads) // self._size
        self._vectors = IoVectors(heads, payloads, self._most, self._size)
        self._begun = False
        self._put_together(sock.max_segments)

    def _begin(self) -> None:
        """Enable segmentation by the kernel. Not earlier: a device without support may then refuse single
        datagrams, including the probes.
        """
        self._begun = True
        try:
            self._socket.set_segment_size(self._size + HEADER_BYTES)
        except OSError:
            self._put_together(1)  # not supported by this kernel

    def _put_together(self, number: int) -> None:
        """Set the number of datagrams per message."""
        self._together = number
        self._messages = MessageHeaders(-(-self._most // number), number, self._socket.name)

    def set_datagrams(self, number: int, last: int) -> None:
        if self._number:
            self._vectors.sizes[self._number - 1] = self._size
        super().set_datagrams(number, last)
        self._vectors.sizes[number - 1] = last

    def send(self, first: int, after: int) -> int:
        assert _sendmmsg is not None
        if not self._begun:
            self._begin()
        together, numbers = self._together, self._messages.numbers
        count = -(-(after - first) // together)
        self._messages.vectors[:count] = self._vectors.vector_addresses(first, count, together)
        numbers[count - 1] = 2 * (after - first - (count - 1) * together)
        try:
            sent = check_count(_sendmmsg(self._socket.socket.fileno(), self._messages.at, count, 0, None))
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                self._send_singly(error)
            return 0
        finally:
            numbers[count - 1] = 2 * together
        return min(sent * together, after - first)

    def _send_singly(self, error: OSError) -> None:
        """Disable segmentation, since the device may not support it. Raises the error if segmentation was not
        enabled."""
        if self._together == 1:
            raise error
        self._socket.set_segment_size(0)
        self._put_together(1)


class SingleSender(BatchSender):
    """Fallback: one call for each datagram."""

    def send(self, first: int, after: int) -> int:
        head, start = first * HEADER_BYTES, first * self._size
        end = start + (self._last if first == self._number - 1 else self._size)
        return int(self._socket.send(self._heads[head : head + HEADER_BYTES], self._payloads[start:end]))
