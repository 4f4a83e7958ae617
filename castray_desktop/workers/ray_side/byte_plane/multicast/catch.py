"""What one call has brought: the cast's own datagrams, in runs that follow one another in the stream."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from castray_desktop.core.multicast import (
    HEADER_BYTES,
    LEAST_PAYLOAD,
    MAX_DATAGRAM,
    TAG_BYTES,
    Head,
    Keys,
    parse_head,
    tag_of_probe,
    tags_of,
)
from castray_desktop.workers.ray_side.byte_plane.multicast.batches import Batches

NOBODYS = -1
MANY_ZONES = 64
_NOTHING = memoryview(b"")


class Run(NamedTuple):
    """Datagrams with right tags, one after the other."""

    head: Head  # of the first
    number: int  # that have bytes: 0 where the sender only says where it is
    data: memoryview
    in_place: bool  # its bytes lie where they belong


class Tags:
    """Says whether datagrams are of one cast."""

    def __init__(self, keys: Keys) -> None:
        self._of_zone = lru_cache(MANY_ZONES)(keys.tags)

    def is_right(self, head: Head, count: int) -> bool:
        """Of a datagram with `count` bytes; False for lengths that no sender has."""
        if not max(LEAST_PAYLOAD, count) <= head.size <= MAX_DATAGRAM:
            return False
        if not count:
            return head.tag == tag_of_probe(self._of_zone, head)
        return head.offset % head.size == 0 and head.tag == tags_of(self._of_zone, 1, head)

    def following(self, head: Head, number: int) -> memoryview:
        """Of so many datagrams with bytes from this one on, as words."""
        return memoryview(tags_of(self._of_zone, number, head)).cast("Q")


class Catch:
    """Sorts what `batches` has taken. Nothing but the tags is believed.

    All tags of a run are compared at once. The first and the last alone would not do: where one is lost,
    somebody else's may have come in its stead.
    """

    def __init__(self, batches: Batches, tags: Tags) -> None:
        self._batches = batches
        self._tags = tags
        self._seen = batches.heads.cast("Q")[:: HEADER_BYTES // TAG_BYTES]
        self.singles = 0
        """Datagrams in a row that came alone."""

    def runs(self, memory: memoryview, piece: int, first: int, lengths: list[int]) -> Iterator[Run]:
        """Of the messages of such lengths, from number `first` on.

        `memory` is that of a piece, or `NOBODYS`. Each run is to be taken before the next one: what lies
        elsewhere is kept until then only.
        """
        self._count_singles(lengths)
        size, stop = self._batches.size, first + len(lengths) * self._batches.together
        base, moved = 0, False
        for begin, number, last in self._stretches(first, lengths):
            place, end = begin, begin + number
            while place < end:
                head = parse_head(self._batches.heads, place * HEADER_BYTES)
                ours = self._ours(head, place, end - place, last)
                if ours:
                    in_place = piece == head.piece and place * size == head.offset and not moved
                    if piece != NOBODYS and not in_place and not moved:  # others may come to lie there
                        memory = memoryview(bytes(memory[place * size : stop * size]))
                        base, moved = place, True
                    start = (place - base) * size
                    after = start + ours * size
                    if place + ours == end:
                        after -= size + HEADER_BYTES - last
                    yield Run(head, ours, memory[start:after], in_place)
                elif place + 1 == end and last == HEADER_BYTES and self._tags.is_right(head, 0):
                    yield Run(head, 0, _NOTHING, False)
                place += ours or 1

    def _count_singles(self, lengths: list[int]) -> None:
        alone = max(lengths, default=0) <= self._batches.size + HEADER_BYTES
        self.singles = self.singles + len(lengths) if alone else 0

    def _stretches(self, first: int, lengths: list[int]) -> Iterator[tuple[int, int, int]]:
        """Datagrams without a gap in memory, full but for the last one: place, number, bytes of the last."""
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

    def _ours(self, head: Head, place: int, number: int, last: int) -> int:
        """How many of these have the tags that follow from the first one's place."""
        if last <= HEADER_BYTES:
            number -= 1
        if not number or head.size != self._batches.size or head.offset % head.size:
            return 0
        return _alike(self._seen[place : place + number], self._tags.following(head, number))


def _alike(some: memoryview, others: memoryview) -> int:
    """How many are the same from the first on, of two equally long rows."""
    if some == others:
        return len(some)
    low, high = 0, len(some)  # so many are; so many are not
    while high - low > 1:
        middle = (low + high) // 2
        if some[low:middle] == others[low:middle]:
            low = middle
        else:
            high = middle
    return low
