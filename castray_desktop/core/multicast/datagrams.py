"""Multicast datagrams, and the reports of receivers.

A datagram carries a part of one piece of the stream. It is not trusted: its bytes count once the whole
piece has the digest that came over an authenticated connection. The tag makes foreign datagrams cheap to
reject. Each place in the stream has its own tag, for one position in the sequence; those of a zone of one
mebibyte are derived together from the cast's secret, as MAC-based schemes with a key for each interval do
(RFC 4082). A listener without the secret can repeat a tag, but can't be the first to use it, and the
first one counts.

Reports go to the sender's address and carry a MAC each, since they control its rate.

Standard library only: this module is shipped to the nodes.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

TAG_BYTES = 8
ZONE_BYTES = 1 << 20
MIN_PAYLOAD = 512
MAX_DATAGRAM = 1472  # what fits an Ethernet frame with IPv4 and UDP
MAX_BATCH_DATAGRAMS = 44  # datagrams that the kernel may take or hand over at once; 64 KiB is its bound
MAC_BYTES = 16
NAME_BYTES = 8
CACHED_ZONES = 64

_HEADER = struct.Struct("!8sQII")  # tag, sequence and size, piece, offset
_REPORT = struct.Struct("!8sIBQQQQI")
_SIZE_BITS = 16
_MOST_SIZE = (1 << _SIZE_BITS) - 1
_LEAVING, _UNDECIDED, _CROWDED = 1, 2, 4
_NUMBERS = 1 << 32
HEADER_BYTES = _HEADER.size
REPORT_BYTES = _REPORT.size + MAC_BYTES


_ZONE = struct.Struct("!IIQH")


class MulticastState(str, enum.Enum):
    """State of the one stream of datagrams for all recipients."""

    WAITING = "waiting"  # for its listeners
    SENDING = "sending"
    DONE = "done"  # everything was sent once
    STOPPED = "stopped"  # before it was done; the relay does the rest

    def __str__(self) -> str:
        return self.value


class MulticastEnd(str, enum.Enum):
    """Why it was stopped. The source finds the first five, the engine the others."""

    ORDERED = "ordered"
    NOTHING_ARRIVES = "nothing_arrives"  # this network does not carry it, or a filter takes it away
    TOO_SLOW = "too_slow"  # it stays at the minimum rate
    NOBODY = "nobody"  # no recipient can follow, or needs it
    NO_NETWORK = "no_network"  # the source can't send to a group
    ENCRYPTED = "encrypted"  # Ray is, and datagrams for all can't be
    SOURCE_LOST = "source_lost"  # a recipient feeds the others instead
    OVER = "over"  # the cast was, before anything had been sent to the group

    def __str__(self) -> str:
        return self.value


class InvalidReportError(ValueError):
    """Not a report of a receiver of this cast."""


class DatagramHeader(NamedTuple):
    """Header of a datagram."""

    tag: bytes
    sequence: int  # how many datagrams with bytes the sender had sent before
    piece: int
    offset: int  # in the piece
    size: int  # bytes of each datagram of the piece but the last


class ReceiverReport(NamedTuple):
    """What a receiver has received so far. Counters start with the first datagram that it received."""

    receiver: bytes  # `receiver_id` of the node
    number: int  # of this report; see `is_newer_report`
    leaving: bool  # it can't follow, or needs nothing any more
    sequence: int  # the sender's, of the latest datagram that came, plus one
    datagrams: int  # how many have come
    payload: int  # bytes that have come
    micros: int  # its clock when the latest of these came
    wanted: int  # the first piece at or after the sender's place that is still missing
    undecided: bool = False  # what it needs is not clear yet, since it looks at what it has
    crowded: bool = False  # its receive buffer is filling: it is slow itself


Expand = Callable[[bytes, bytes, int], bytes]
"""Expands a key of 32 bytes and a text to this many bytes. Without the key they are unpredictable."""


def expand_by_shake(key: bytes, text: bytes, count: int) -> bytes:
    """Expand with SHAKE128, which every Python has."""
    return hashlib.shake_128(key + text).digest(count)


class DatagramKeys:
    """Computes and verifies tags and MACs of one cast."""

    def __init__(self, secret: bytes, cast: str, expand: Expand = expand_by_shake) -> None:
        self._expand = expand
        self._tag_key = _derived(secret, b"castray multicast tag", cast)
        self._mac_key = _derived(secret, b"castray multicast report", cast)
        self.zone_tags = lru_cache(CACHED_ZONES)(self._expand_zone)

    def tags(self, head: DatagramHeader, number: int) -> bytes:
        """Tags of this many consecutive datagrams, starting with the one of `head`."""
        _, sequence, piece, offset, size = head
        found = b""
        while number > 0:
            of_zone = self.zone_tags(*zone_of(sequence, piece, offset, size))
            first = tag_offset(offset, size)
            left = ZONE_BYTES - offset % ZONE_BYTES
            count = min(number, -(-left // size))  # number of datagrams that begin in this zone
            found += of_zone[first : first + count * TAG_BYTES]
            number, sequence, offset = number - count, sequence + count, offset + count * size
        return found

    def probe_tag(self, head: DatagramHeader) -> bytes:
        """Tag of a probe, which says that the sender is at the place of `head`."""
        return self.zone_tags(*zone_of(head.sequence, head.piece, head.offset, head.size))[:TAG_BYTES]

    def is_genuine(self, head: DatagramHeader, count: int) -> bool:
        """Whether a datagram with `count` bytes has the right tag; False for lengths that no sender uses."""
        if not max(MIN_PAYLOAD, count) <= head.size <= MAX_DATAGRAM:
            return False
        if not count:
            return head.tag == self.probe_tag(head)
        return head.offset % head.size == 0 and head.tag == self.tags(head, 1)

    def _expand_zone(self, piece: int, number: int, first: int, size: int) -> bytes:
        """Tags of the datagrams that begin in one zone of a piece, concatenated; see `tag_offset`."""
        count = 2 + (ZONE_BYTES - 1) // size
        text = _ZONE.pack(piece, number, first, size)
        return self._expand(self._tag_key, text, TAG_BYTES * count)

    def pack_report(self, report: ReceiverReport) -> bytes:
        """A report as a datagram."""
        flags = report.leaving * _LEAVING | report.undecided * _UNDECIDED | report.crowded * _CROWDED
        body = _REPORT.pack(*report[:2], flags, *report[3:8])
        return body + self._mac(body)

    def parse_report(self, raw: bytes) -> ReceiverReport:
        """Parse a receiver's report. Raises InvalidReportError for anything else."""
        if len(raw) != REPORT_BYTES:
            raise InvalidReportError(f"a report of {len(raw)} bytes")
        body, mac = raw[: _REPORT.size], raw[_REPORT.size :]
        if not hmac.compare_digest(mac, self._mac(body)):
            raise InvalidReportError("a report without the right MAC")
        receiver, number, flags, sequence, datagrams, payload, micros, wanted = _REPORT.unpack(body)
        leaving, undecided, crowded = (bool(flags & each) for each in (_LEAVING, _UNDECIDED, _CROWDED))
        return ReceiverReport(
            receiver, number, leaving, sequence, datagrams, payload, micros, wanted, undecided, crowded
        )

    def _mac(self, body: bytes) -> bytes:
        return hashlib.blake2b(body, digest_size=MAC_BYTES, key=self._mac_key).digest()


def first_report_number(seconds: float) -> int:
    """The first report number at a time of the receiver's clock, in POSIX seconds.

    So a restarted agent continues with higher numbers.
    """
    return int(seconds * 1000) % _NUMBERS


def is_newer_report(number: int, than: int | None) -> bool:
    """Whether a report is newer than another one of its receiver; numbers may wrap around."""
    return than is None or 0 < (number - than) % _NUMBERS < _NUMBERS // 2


def next_report_number(number: int) -> int:
    """The number of the next report."""
    return (number + 1) % _NUMBERS


def receiver_id(node: str) -> bytes:
    """The id of a node in reports."""
    return hashlib.blake2b(node.encode(), digest_size=NAME_BYTES).digest()


def zone_of(sequence: int, piece: int, offset: int, size: int) -> tuple[int, int, int, int]:
    """The zone that a datagram begins in: piece, number, the sequence of its first datagram, and size.

    `size` is not 0.
    """
    number = offset // ZONE_BYTES
    first = sequence - (offset // size - -(-number * ZONE_BYTES // size))
    return piece, number, first % (1 << 64), size


def tag_offset(offset: int, size: int) -> int:
    """Offset of a datagram's tag among those of its zone.

    Offset 0 is the tag of probes, which are sent before the tag of the following bytes may be known.
    """
    return (1 + offset // size - -(-(offset // ZONE_BYTES) * ZONE_BYTES // size)) * TAG_BYTES


def pack_datagram_header(tag: bytes, sequence: int, piece: int, offset: int, size: int) -> bytes:
    """Pack a datagram's header."""
    return _HEADER.pack(tag, sequence << _SIZE_BITS | size, piece, offset)


def parse_datagram_header(raw: memoryview, at: int) -> DatagramHeader:
    """Parse the header of the datagram at `at`."""
    tag, both, piece, offset = _HEADER.unpack_from(raw, at)
    return DatagramHeader(tag, both >> _SIZE_BITS, piece, offset, both & _MOST_SIZE)


def payload_bytes(mtu: int, ipv6: bool) -> int:
    """Payload bytes of one datagram on a link with this MTU."""
    room = min(mtu - (48 if ipv6 else 28), MAX_DATAGRAM) - HEADER_BYTES
    return max(room // 8 * 8, MIN_PAYLOAD)


GROUP_PORTS = (61000, 65499)
"""Of the ports that IANA leaves free, above those that Linux gives to clients."""


def group_address(
    cast: str, ipv6: bool, attempt: int = 0, ports: tuple[int, int] = GROUP_PORTS
) -> tuple[str, int]:
    """A group address for a cast, and one of the `ports`, first to last. Another attempt gives another group.

    IPv4: of the organization's own scope, RFC 2365 (239.192.0.0/14). IPv6: a transient group of the link,
    RFC 4291.
    """
    raw = hashlib.blake2b(f"{cast} {attempt}".encode(), digest_size=8).digest()
    low, high = ports
    port = low + int.from_bytes(raw[6:], "big") % (high - low + 1)
    if ipv6:
        return f"ff12::ca57:{raw[:2].hex()}:{raw[2:4].hex()}", port
    return f"239.{192 + raw[0] % 4}.{raw[1]}.{raw[2]}", port


def _derived(secret: bytes, label: bytes, cast: str) -> bytes:
    return hmac.new(secret, label + b"\0" + cast.encode(), hashlib.sha256).digest()
