"""Sockets that send to and receive from a multicast group, many datagrams in one call.

recvmmsg(2) and sendmmsg(2) take headers and payloads from separate memories, so that payloads which follow
one another in the stream lie one after the other. Linux also cuts one message into many datagrams and
coalesces received ones (UDP_SEGMENT, UDP_GRO; udp(7)), where the device can do that. On a system without
these calls, creating a socket raises OSError: the relay delivers everything.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import ipaddress
import os
import select
import socket
import struct
import sys
import time
from array import array
from typing import Any, Optional

from castray_desktop.core.multicast.datagrams import HEADER_BYTES, MAX_BATCH_DATAGRAMS, payload_bytes
from castray_desktop.core.protocol.nodes.cast_parcel import MulticastGroup
from castray_desktop.workers.agent.transfer.system import linux_calls
from castray_desktop.workers.agent.transfer.system.file_io import page_buffer

_SOL_UDP = 17
_UDP_SEGMENT = 103
_UDP_GRO = 104
_IP_MTU = 14
_IPV6_MTU = 24
_IP_MULTICAST_ALL = 49
_IP_ADD_SOURCE_MEMBERSHIP = 39
_IPV6_MULTICAST_ALL = 29
_MCAST_JOIN_SOURCE_GROUP = 46
_SIOCGSTAMPNS = 0x8907
_SO_RCVBUFFORCE = 33
_SO_SNDBUFFORCE = 32
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("=II")  # its first two fields: bytes in use, buffer size
_SOCKADDR_STORAGE = 128

SEND_BUFFER = 128 << 10
RECEIVE_BUFFER = 20 << 20
DEFAULT_MTU = 1500
MAX_REPORT = 512

MAX_MESSAGE_BYTES = 65507
"""Maximum bytes of datagrams that the kernel sends or receives in one message."""

CLOCK_SET_SECONDS = 0.1
"""A larger jump against the monotonic clock means that the clock was set; smaller ones are gradual
corrections."""

ANCILLARY_BYTES = socket.CMSG_SPACE(4)

WORD = 8
_VECTOR_WORDS = 2  # iovec: address, length
_MESSAGE_WORDS = 8  # mmsghdr: name, its length, vectors, how many, control, its length, flags, length
_NAME_AT, _NAME_LENGTH_AT, _VECTORS_AT, _NUMBER_AT = 0, 1, 2, 3
_LENGTH_AT = 14  # offset in half words
_MSG_WAITFORONE = 0x10000


def _batch_call(name: str) -> Optional[Any]:
    """The system call as a libc function; None if this system lacks it or its structures differ."""
    if sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != WORD:
        return None
    return linux_calls.libc_function(
        name, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p
    )


_recvmmsg, _sendmmsg = _batch_call("recvmmsg"), _batch_call("sendmmsg")


def _call(function: Any, *arguments: Any) -> int:
    """The result of such a call: 0 if it was interrupted. Raises OSError."""
    count: int = function(*arguments, None)
    if count >= 0:
        return count
    code = ctypes.get_errno()
    if code == errno.EINTR:
        return 0
    raise OSError(code, os.strerror(code))


def _new_socket(v6: bool) -> socket.socket:
    if _recvmmsg is None or _sendmmsg is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)


def is_ipv6(group: MulticastGroup) -> bool:
    """Whether it is an IPv6 group."""
    return ":" in group.address


class SendingSocket:
    """Sends bursts to a group from one address of this machine. All methods raise OSError."""

    def __init__(self, group: MulticastGroup, own: str, ports: Optional[tuple[int, int]] = None) -> None:
        """`own` is this machine's address with its scope; reports arrive on one of the `ports`."""
        v6 = is_ipv6(group)
        self._where = _sockaddr(group.address, group.port, own)
        self.socket = _new_socket(v6)
        try:
            self._set_up(group, own, v6)
            self._bind(own, ports)
            self.payload = payload_bytes(self._mtu(v6), v6)
        except BaseException:
            self.socket.close()
            raise
        self.max_segments = min(MAX_BATCH_DATAGRAMS, MAX_MESSAGE_BYTES // (self.payload + HEADER_BYTES))
        """Number of datagrams that the kernel can cut from one message."""

    def _set_up(self, group: MulticastGroup, own: str, v6: bool) -> None:
        sock = self.socket
        if v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, group.hops)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, interface_of(own))
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, group.hops)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
        _set_buffer_size(sock, _SO_SNDBUFFORCE, socket.SO_SNDBUF, SEND_BUFFER)

    def _bind(self, own: str, ports: Optional[tuple[int, int]]) -> None:
        low, high = ports or (0, 0)
        for port in range(low, high + 1):
            try:
                self.socket.bind(_sockaddr(own, port, own))
            except OSError:
                if port == high:
                    raise
            else:
                return

    def _mtu(self, v6: bool) -> int:
        """MTU of the route to the group, which the kernel tells for a connected socket."""
        with socket.socket(self.socket.family, socket.SOCK_DGRAM) as probe:
            try:
                level = socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP
                option = socket.IPV6_MULTICAST_IF if v6 else socket.IP_MULTICAST_IF
                probe.setsockopt(level, option, self.socket.getsockopt(level, option, 4))
                probe.connect(self._where)
                return probe.getsockopt(level, _IPV6_MTU if v6 else _IP_MTU)
            except OSError:
                return DEFAULT_MTU

    def send(self, datagram: bytes) -> bool:
        """Send one datagram; False if the device's queue is full."""
        try:
            self.socket.sendto(datagram, self._where)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            return False
        return True

    def set_segment_size(self, segment: int) -> None:
        """Set the segment size for sent messages; 0 disables segmentation."""
        self.socket.setsockopt(_SOL_UDP, _UDP_SEGMENT, segment)

    @property
    def name(self) -> bytes:
        """The group's sockaddr for system calls."""
        address, port, *scope = self._where
        if not scope:
            return struct.pack("=H2s4s8x", socket.AF_INET, port.to_bytes(2, "big"), socket.inet_aton(address))
        raw = socket.inet_pton(socket.AF_INET6, address)
        return struct.pack("=H2sI16sI", socket.AF_INET6, port.to_bytes(2, "big"), scope[0], raw, scope[1])

    def receive(self, seconds: float) -> Optional[bytes]:
        """Receive a report within `seconds`; None if none comes."""
        with contextlib.suppress(BlockingIOError):
            return self.socket.recv(MAX_REPORT, socket.MSG_DONTWAIT)
        if seconds >= 0.001:
            poll = select.poll()
            poll.register(self.socket, select.POLLIN)
            poll.poll(seconds * 1000)
        elif seconds > 0:
            time.sleep(seconds)
        return None

    def close(self) -> None:
        self.socket.close()


class ReceivingSocket:
    """Receives datagrams that one sender sends to a group. All methods raise OSError."""

    def __init__(self, group: MulticastGroup, own: str) -> None:
        v6 = is_ipv6(group)
        self._ahead = time.time() - time.monotonic()  # lead of the system clock over the monotonic one
        self.socket = _new_socket(v6)
        try:
            self._set_up(group, own, v6)
        except BaseException:
            self.socket.close()
            raise

    def _set_up(self, group: MulticastGroup, own: str, v6: bool) -> None:
        sock = self.socket
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # for several agents on one machine
        _set_buffer_size(sock, _SO_RCVBUFFORCE, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.coalesce(True)
        sock.bind(_sockaddr(group.address, group.port, own))
        if v6:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
            request = (
                struct.pack("=I4x", interface_of(own)) + _storage(group.address) + _storage(group.source)
            )
            sock.setsockopt(socket.IPPROTO_IPV6, _MCAST_JOIN_SOURCE_GROUP, request)
        else:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
            request = b"".join(map(socket.inet_aton, (group.address, own, group.source)))
            sock.setsockopt(socket.IPPROTO_IP, _IP_ADD_SOURCE_MEMBERSHIP, request)

    def coalesce(self, yes: bool) -> None:
        """Enable or disable coalescing by the kernel, if supported."""
        with contextlib.suppress(OSError):
            self.socket.setsockopt(_SOL_UDP, _UDP_GRO, int(yes))

    def receive(self, buffer: memoryview, wait: bool = True) -> tuple[int, int, tuple[str, int]]:
        """Returns the number of bytes, the length of each datagram but the last, and the sender.

        Raises BlockingIOError if nothing comes within the socket's timeout.
        """
        flags = 0 if wait else socket.MSG_DONTWAIT
        count, ancillary, _, where = self.socket.recvmsg_into([buffer], ANCILLARY_BYTES, flags)
        for level, kind, raw in ancillary:
            if level == _SOL_UDP and kind == _UDP_GRO:
                return count, int.from_bytes(raw[:4], "little"), where
        return count, count, where

    def latest_age(self) -> Optional[float]:
        """Age of the latest received datagram in seconds; None if unknown.

        Also None if the system clock was set meanwhile, since the kernel's timestamps use it.
        """
        try:
            raw = fcntl.ioctl(self.socket, _SIOCGSTAMPNS, bytes(16))
        except OSError:
            return None
        now = time.time()
        before, self._ahead = self._ahead, now - time.monotonic()
        if abs(self._ahead - before) > CLOCK_SET_SECONDS:
            return None
        seconds, nanoseconds = struct.unpack("qq", raw)
        came = float(seconds) + float(nanoseconds) / 1e9
        return max(now - came, 0.0)

    def buffer_usage(self) -> float:
        """Share of the receive buffer that is in use, 0..1; 0 if unknown."""
        try:
            raw = self.socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
            taken, room = map(int, _MEMINFO.unpack(raw))
        except (OSError, struct.error):
            return 0.0
        return min(taken / max(room, 1), 1.0)

    @property
    def buffer_size(self) -> int:
        """Size of the kernel's receive buffer in bytes."""
        return self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    def set_timeout(self, seconds: float) -> None:
        """Set the timeout of `receive`."""
        self.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
        )

    def close(self) -> None:
        self.socket.close()


def interface_of(address: str) -> int:
    """Index of the interface with this IPv6 address; 0 if unknown."""
    bare, _, scope = address.partition("%")
    if scope:
        return int(scope) if scope.isdigit() else socket.if_nametoindex(scope)
    wanted = ipaddress.ip_address(bare).packed.hex()
    with contextlib.suppress(OSError, ValueError), open("/proc/net/if_inet6", encoding="ascii") as file:
        for fields in map(str.split, file):
            if fields[0] == wanted:
                return int(fields[1], 16)
    return 0


def report_socket(own: str, to: tuple[str, int]) -> Optional[socket.socket]:
    """A socket connected to the sender of a group; None if that is impossible."""
    sock = socket.socket(socket.AF_INET6 if ":" in to[0] else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.bind(_sockaddr(own, 0, own))
        sock.connect(to)
    except OSError:
        sock.close()
        return None
    return sock


def _sockaddr(address: str, port: int, own: str) -> tuple[str, int] | tuple[str, int, int, int]:
    if ":" not in address:
        return address, port
    bare, _, scope = address.partition("%")
    linked = bool(scope) or ipaddress.ip_address(bare).is_link_local or bare.lower().startswith("ff")
    return bare, port, 0, interface_of(own) if linked else 0


def _storage(address: str) -> bytes:
    """An IPv6 address as a sockaddr_storage."""
    raw = struct.pack("=HHI", socket.AF_INET6, 0, 0) + ipaddress.ip_address(address.partition("%")[0]).packed
    return raw.ljust(_SOCKADDR_STORAGE, b"\0")


def _set_buffer_size(sock: socket.socket, force: int, ordinary: int, size: int) -> None:
    """Enlarge a buffer, beyond the system's limit if this process has the privilege."""
    for option in (force, ordinary):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, option, size)
            return


def _address(memory: memoryview) -> int:
    """Address of a writable buffer. The caller must keep the buffer alive."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


class IoVectors:
    """iovec table: header and payload of each datagram in turn."""

    def __init__(self, heads: memoryview, payloads: memoryview, number: int, size: int) -> None:
        """For this many datagrams with `size` bytes of payload each."""
        self._memories = heads, payloads  # keeps the memory alive
        self._table = memoryview(bytearray(number * 2 * _VECTOR_WORDS * WORD))
        words, head, payload = self._table.cast("Q"), _address(heads), _address(payloads)
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
        self._at = _address(self._table)

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
            words[_NAME_AT::_MESSAGE_WORDS] = array("Q", [_address(self._name)]) * number
            words[_NAME_LENGTH_AT::_MESSAGE_WORDS] = array("Q", [len(name)]) * number
        self.at = _address(self._table)


class BatchReceiver:
    """Receives datagrams with `size` bytes of payload. Each has a slot number that determines where its bytes
    are written.
    """

    def __init__(self, size: int, most: int, together: int) -> None:
        """Slot numbers are below `most`; the kernel coalesces up to `together` datagrams into one message, or
        one if it does not coalesce."""
        self.size = size
        self.most = most
        self.together = together
        self.heads = page_buffer((most + together) * HEADER_BYTES)
        """Headers of the datagrams, by slot number."""
        self._vectors: dict[int, IoVectors] = {}  # iovec tables by the memory they point to
        self._messages = MessageHeaders(-(-most // together), together)

    def receive(self, sock: socket.socket, memory: memoryview, first: int, end: int, wait: bool) -> list[int]:
        """Receive messages and return their lengths; with `wait`, at least one.

        Message m starts at slot `first` + m * `together`, below `end`; its payloads are written to `memory`
        at slot number times `size`; `memory` must have MAX_MESSAGE_BYTES beyond `end`. Raises
        BlockingIOError if nothing came within the socket's timeout, and OSError.
        """
        vectors = self._vectors.get(id(memory.obj))
        if vectors is None:
            number = self.most + self.together
            vectors = self._vectors[id(memory.obj)] = IoVectors(self.heads, memory, number, self.size)
        number = -(-(end - first) // self.together)
        self._messages.vectors[:number] = vectors.vector_addresses(first, number, self.together)
        flags = _MSG_WAITFORONE if wait else socket.MSG_DONTWAIT
        count = _call(_recvmmsg, sock.fileno(), self._messages.at, number, flags)
        return self._messages.lengths[:count].tolist()


class BatchSender:
    """Sends datagrams by slot number. Headers are in one buffer, payloads in another."""

    def __init__(self, sock: SendingSocket, heads: memoryview, payloads: memoryview) -> None:
        self._socket = sock
        self._size = sock.payload
        self._most = len(payloads) // self._size
        self._vectors = IoVectors(heads, payloads, self._most, self._size)
        self._number = 0
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
        """Set the number of datagrams and the payload size of the last one."""
        if self._number:
            self._vectors.sizes[self._number - 1] = self._size
        self._number = number
        self._vectors.sizes[number - 1] = last

    def send(self, first: int, after: int) -> int:
        """Send the slots from the first up to `after`, or some of them; returns how many.

        0 for the moment, for instance if the device's queue is full. Raises OSError.
        """
        if not self._begun:
            self._begin()
        together, numbers = self._together, self._messages.numbers
        count = -(-(after - first) // together)
        self._messages.vectors[:count] = self._vectors.vector_addresses(first, count, together)
        numbers[count - 1] = 2 * (after - first - (count - 1) * together)
        try:
            sent = _call(_sendmmsg, self._socket.socket.fileno(), self._messages.at, count, 0)
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
