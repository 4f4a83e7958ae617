"""Sockets that send to and receive from a multicast group, with the kernel's offloads.

Linux takes and delivers many datagrams in one call (UDP_SEGMENT, UDP_GRO; udp(7)); elsewhere each has its
own.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import ipaddress
import select
import socket
import struct
import time
from typing import Optional

from castray_desktop.core.multicast.datagrams import HEADER_BYTES, MAX_BATCH_DATAGRAMS, payload_bytes
from castray_desktop.core.protocol.nodes.agent_protocol import MulticastGroup

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


def is_ipv6(group: MulticastGroup) -> bool:
    """Whether it is an IPv6 group."""
    return ":" in group.address


class SendingSocket:
    """Sends bursts to a group from one address of this machine. All methods raise OSError."""

    def __init__(self, group: MulticastGroup, own: str, ports: Optional[tuple[int, int]] = None) -> None:
        """`own` is this machine's address with its scope; reports arrive on one of the `ports`."""
        v6 = is_ipv6(group)
        self._where = _sockaddr(group.address, group.port, own)
        self.socket = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
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

    def send(self, *parts: memoryview) -> bool:
        """Send one datagram consisting of the parts; False if the device's queue is full."""
        try:
            self.socket.sendmsg(parts, (), 0, self._where)
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
        self.socket = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
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
                return count, int.from_bytes(raw[:4], "little" if _LITTLE else "big"), where
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


_LITTLE = struct.pack("=H", 1)[0] == 1


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
