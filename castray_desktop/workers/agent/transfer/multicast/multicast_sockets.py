"""Sockets that send to and receive from a multicast group, many datagrams in one call.

Linux cuts one message into many datagrams and coalesces received ones (UDP_SEGMENT, UDP_GRO; udp(7)), where
the device can do that. recvmmsg(2) receives many messages in one call, and writes headers and payloads to
separate memories, so that payloads which follow one another in the stream lie one after the other. On a
system without it, creating a receiving socket raises OSError: the relay delivers everything.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import ipaddress
import itertools
import os
import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import Optional

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
_SEGMENT = struct.Struct("=H")
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

_MSG_WAITFORONE = 0x10000

Datagram = tuple[bytes, memoryview]
"""Header and payload."""


_recvmmsg = linux_calls.libc_function(
    "recvmmsg", ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p
)


def _new_socket(v6: bool) -> socket.socket:
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
        self._segment = self.payload + HEADER_BYTES
        self._together = min(MAX_BATCH_DATAGRAMS, MAX_MESSAGE_BYTES // self._segment)
        if not self.can_segment():
            self._together = 1

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

    def can_segment(self) -> bool:
        """Whether the kernel can cut one message into datagrams, as Linux does since 4.18."""
        try:
            self.socket.getsockopt(_SOL_UDP, _UDP_SEGMENT)
        except OSError:
            return False
        return True

    def send(self, datagrams: Sequence[Datagram]) -> int:
        """Send the first of these datagrams, all of which are full except the last; returns how many.

        0 for the moment, for instance if the device's queue is full.
        """
        some = datagrams[: self._together]
        options = [(_SOL_UDP, _UDP_SEGMENT, _SEGMENT.pack(self._segment))] if len(some) > 1 else []
        try:
            self.socket.sendmsg(itertools.chain.from_iterable(some), options, 0, self._where)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                if len(some) == 1:
                    raise
                self._together = 1  # the device may not be able to segment
            return 0
        return len(some)

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
        if _recvmmsg is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
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


class _Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _MessageHeader(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("header", _MessageHeader), ("length", ctypes.c_uint))


class BatchReceiver:
    """Receives datagrams with `size` bytes of payload, `most` at a time, each into a slot."""

    def __init__(self, size: int, most: int, together: int) -> None:
        """The kernel coalesces up to `together` datagrams into one message."""
        self.size = size
        self.together = together
        self.most = -(-most // together)
        """Maximum number of messages."""
        slots = self.most * together
        self.heads = page_buffer(slots * HEADER_BYTES)
        """Headers of the datagrams, by slot."""
        self.payloads = page_buffer(slots * size)
        """Their payloads."""
        head, payload = _address(self.heads), _address(self.payloads)
        self._vectors = (_Vector * (2 * slots))()
        for slot in range(slots):
            self._vectors[2 * slot] = _Vector(head + slot * HEADER_BYTES, HEADER_BYTES)
            self._vectors[2 * slot + 1] = _Vector(payload + slot * size, size)
        self._messages = (_Message * self.most)()
        step = 2 * together * ctypes.sizeof(_Vector)
        for number, message in enumerate(self._messages):
            message.header.vectors = ctypes.addressof(self._vectors) + number * step
            message.header.vector_count = 2 * together
        words = memoryview(self._messages).cast("B").cast("I")
        word = words.itemsize
        self._lengths = words[_Message.length.offset // word :: ctypes.sizeof(_Message) // word]

    def receive(self, sock: socket.socket, wait: bool) -> list[int]:
        """Receive messages and return their lengths; with `wait`, at least one.

        Message m starts at slot m * `together`. Raises BlockingIOError if nothing came within the socket's
        timeout, and OSError.
        """
        flags = _MSG_WAITFORONE if wait else socket.MSG_DONTWAIT
        assert _recvmmsg is not None
        count: int = _recvmmsg(sock.fileno(), self._messages, self.most, flags, None)
        if count >= 0:
            return self._lengths[:count].tolist()
        code = ctypes.get_errno()
        if code == errno.EINTR:
            return []
        raise OSError(code, os.strerror(code))


def _address(memory: memoryview) -> int:
    """Address of a writable buffer. The caller must keep the buffer alive."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
