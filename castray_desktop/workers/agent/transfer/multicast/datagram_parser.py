"""Parse received datagrams: the cast's own, in runs that follow one another in the stream."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from castray_desktop.core.multicast.datagrams import (
    HEADER_BYTES,
    MAX_DATAGRAM,
    MIN_PAYLOAD,
    TAG_BYTES,
    DatagramHeader,
    DatagramKeys,
    parse_datagram_header,
    tag_of_probe,
    tags_of,
)
from castray_desktop.workers.agent.transfer.multicast.batched_datagrams import BatchReceiver

NO_PIECE = -1
CACHED_ZONES = 64
_NOTHING = memoryview(b"")


class DatagramRun(NamedTuple):
    """Consecutive datagrams with valid tags."""

    head: DatagramHeader  # header of the first one
    number: int  # datagrams with payload; 0 if the sender only tells its position
    data: memoryview
    in_place: bool  # its bytes are in their final position


class TagChecker:
    """Interface that checks the authentication tags of one cast."""

    def __init__(self, keys: DatagramKeys) -> None:
        self._of_zone = lru_cache(CACHED_ZONES)(keys.tags)

    def is_right(self, head: DatagramHeader, count: int) -> bool:
        """Check one datagram with `count` bytes; False for lengths that no sender uses."""
        if not max(MIN_PAYLOAD, count) <= head.size <= MAX_DATAGRAM:
            return False
        if not count:
            return head.tag == tag_of_probe(self._of_zone, head)
        return head.offset % head.size == 0 and head.tag == tags_of(self._of_zone, 1, head)

    def following(self, head: DatagramHeader, number: int) -> memoryview:
        """The expected tags of `number` datagrams from this one on, as words."""
        return memoryview(tags_of(self._of_zone, number, head)).cast("Q")


class DatagramParser:
    """Sorts received messages into runs. Only the tags are trusted.

    All tags of a run are compared at once. The first and last alone are not enough: a lost datagram may have
    been replaced by a forged one.
    """

    def __init__(self, batches: BatchReceiver, tags: TagChecker) -> None:
        self._batches = batches
        self._tags = tags
        self._seen = batches.heads.cast("Q")[:: HEADER_BYTES // TAG_BYTES]
        self.singles = 0
        """Number of datagrams in a row that were not coalesced."""

    def runs(self, memory: memoryview, piece: int, first: int, lengths: list[int]) -> Iterator[DatagramRun]:
        """Runs in the messages of these lengths, from slot `first` on.

        `memory` is a piece's buffer, or the scratch buffer. A run is valid until the next one is requested.
        """
        self._count_singles(lengths)
        size, stop = self._batches.size, first + len(lengths) * self._batches.together
        base, moved = 0, False
        for begin, number, last in self._stretches(first, lengths):
            place, end = begin, begin + number
            while place < end:
                head = parse_datagram_header(self._batches.heads, place * HEADER_BYTES)
                ours = self._ours(head, place, end - place, last)
                if ours:
                    in_place = piece == head.piece and place * size == head.offset and not moved
                    if piece != NO_PIECE and not in_place and not moved:  # overwritten later
                        memory = memoryview(bytes(memory[place * size : stop * size]))
                        base, moved = place, True
                    start = (place - base) * size
                    after = start + ours * size
                    if place + ours == end:
                        after -= size + HEADER_BYTES - last
                    yield DatagramRun(head, ours, memory[start:after], in_place)
                elif place + 1 == end and last == HEADER_BYTES and self._tags.is_right(head, 0):
                    yield DatagramRun(head, 0, _NOTHING, False)
                place += ours or 1

    def _count_singles(self, lengths: list[int]) -> None:
        alone = max(lengths, default=0) <= self._batches.size + HEADER_BYTES
        self.singles = self.singles + len(lengths) if alone else 0

    def _stretches(self, first: int, lengths: list[int]) -> Iterator[tuple[int, int, int]]:
        """Ranges of datagrams without a gap in memory, all full except the last: slot, number, bytes of the
        last."""
        together, segment = self._batches.together, self._batches.size + HEADER_BYTES
        full = together * segment
        place = first
        for number, length in enumerate(lengths, 1):
            if length != full or number == len(lengths):
                after = first + number * together
                of_this = -(-length // segment)
                count = after - together - place + of_this
                if count:
                    yield place, count, length - (of_this - 1) * segment if of_this else segment
                place = after

    def _ours(self, head: DatagramHeader, place: int, number: int, last: int) -> int:
        """The number of datagrams with the tags that follow from the first one's sequence number."""
        if last <= HEADER_BYTES:
            number -= 1
        if not number or head.size != self._batches.size or head.offset % head.size:
            return 0
        return _equal_prefix(self._seen[place : place + number], self._tags.following(head, number))


def _equal_prefix(some: memoryview, others: memoryview) -> int:
    """Length of the common prefix of two equally long sequences."""
    if some == others:
        return len(some)
    low, high = 0, len(some)  # bounds of the common prefix
    while high - low > 1:
        middle = (low + high) // 2
        if some[low:middle] == others[low:middle]:
            low = middle
        else:
            high = middle
    return low
