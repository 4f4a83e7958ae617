"""Giving the kernel many datagrams in one call, heads and payloads from memories of their own: sendmmsg(2).

Linux cuts one message into many datagrams besides (UDP_SEGMENT; udp(7)), where the device can do that.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod

from castray_desktop.core.multicast import HEADER_BYTES
from castray_desktop.workers.ray_side.byte_plane.multicast.sockets import SendingSocket
from castray_desktop.workers.ray_side.byte_plane.multicast.vectors import (
    Messages,
    Vectors,
    checked,
    function,
)

_send = function("sendmmsg")


class Bursts(ABC):
    """Sends datagrams by their numbers. Their heads lie in one memory, their payloads in another one."""

    def __init__(self, sock: SendingSocket, heads: memoryview, payloads: memoryview) -> None:
        self._socket = sock
        self._heads = heads
        self._payloads = payloads
        self._size = sock.payload
        self._number = self._last = 0

    def are(self, number: int, last: int) -> None:
        """There are so many now, and the last one has so many bytes of payload."""
        self._number, self._last = number, last

    @abstractmethod
    def send(self, first: int, after: int) -> int:
        """Send those from the first to the one before `after`, or some of them; how many.

        None for a moment, for instance since the device's queue is full. Raises OSError.
        """


def bursts(sock: SendingSocket, heads: memoryview, payloads: memoryview) -> Bursts:
    """As this system has it."""
    return (ManyMessages if _send is not None else OneMessage)(sock, heads, payloads)


class ManyMessages(Bursts):
    """Where there is sendmmsg."""

    def __init__(self, sock: SendingSocket, heads: memoryview, payloads: memoryview) -> None:
        super().__init__(sock, heads, payloads)
        self._most = len(payloads) // self._size
        self._vectors = Vectors(heads, payloads, self._most, self._size)
        self._begun = False
        self._put_together(sock.burst)

    def _begin(self) -> None:
        """Have the kernel cut from now on. Not before: a device that can't may refuse single datagrams then,
        and so the probes.
        """
        self._begun = True
        try:
            self._socket.have_cut(self._size + HEADER_BYTES)
        except OSError:
            self._put_together(1)  # this kernel does not have it

    def _put_together(self, number: int) -> None:
        """So many datagrams go into each message from now on."""
        self._together = number
        self._messages = Messages(-(-self._most // number), number, self._socket.name)

    def are(self, number: int, last: int) -> None:
        if self._number:
            self._vectors.sizes[self._number - 1] = self._size
        super().are(number, last)
        self._vectors.sizes[number - 1] = last

    def send(self, first: int, after: int) -> int:
        assert _send is not None
        if not self._begun:
            self._begin()
        together, numbers = self._together, self._messages.numbers
        count = -(-(after - first) // together)
        self._messages.vectors[:count] = self._vectors.starts(first, count, together)
        numbers[count - 1] = 2 * (after - first - (count - 1) * together)
        try:
            sent = checked(_send(self._socket.socket.fileno(), self._messages.at, count, 0, None))
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                self._send_singly(error)
            return 0
        finally:
            numbers[count - 1] = 2 * together
        return min(sent * together, after - first)

    def _send_singly(self, error: OSError) -> None:
        """This device may be unable to cut. Raises the error where it was not told to."""
        if self._together == 1:
            raise error
        self._socket.have_cut(0)
        self._put_together(1)


class OneMessage(Bursts):
    """Elsewhere: a call for each datagram."""

    def send(self, first: int, after: int) -> int:
        head, start = first * HEADER_BYTES, first * self._size
        end = start + (self._last if first == self._number - 1 else self._size)
        return int(self._socket.send(self._heads[head : head + HEADER_BYTES], self._payloads[start:end]))
