"""Sets of byte ranges: the whole transfer state of a node.

Standard library only: this module is shipped to the nodes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Range = tuple[int, int]


class RangeSet:
    """Half-open ranges `[start, end)`, kept sorted, apart from each other and never empty.

    In the common case it is one prefix that grows, so adding at the end costs nothing.
    """

    __slots__ = ("_ends", "_starts", "total")

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.total = 0
        """How many bytes it holds; not to be set."""
        for start, end in ranges:
            self.add(start, end)

    def __iter__(self) -> Iterator[Range]:
        return iter(list(zip(self._starts, self._ends)))

    def __len__(self) -> int:
        return len(self._starts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and list(self) == list(other)

    def __repr__(self) -> str:
        return f"RangeSet({list(self)!r})"

    __hash__ = None  # type: ignore[assignment]

    @property
    def prefix(self) -> int:
        """How many bytes it holds without a gap from 0 on."""
        return self._ends[0] if self._starts and self._starts[0] == 0 else 0

    @property
    def end(self) -> int:
        """Where the last of them ends, 0 if there is none."""
        return self._ends[-1] if self._ends else 0

    def copy(self) -> RangeSet:
        """The same ranges, from now on on their own."""
        twin = RangeSet()
        twin._starts, twin._ends, twin.total = self._starts[:], self._ends[:], self.total
        return twin

    def add(self, start: int, end: int) -> None:
        """Add `[start, end)`, joined with what it touches. Raises ValueError for a negative range."""
        if start < 0 or end < start:
            raise ValueError(f"not a range: {start}-{end}")
        if start == end:
            return
        if self._ends and self._ends[-1] == start:
            self._ends[-1] = end
            self.total += end - start
            return
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        if first < last:
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
        for index in range(first, last):
            self.total -= self._ends[index] - self._starts[index]
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]
        self.total += end - start

    def contains(self, start: int, end: int) -> bool:
        """Whether every byte of `[start, end)` is there; an empty range always is."""
        if start >= end:
            return True
        index = bisect_right(self._starts, start) - 1
        return index >= 0 and self._ends[index] >= end

    def available_from(self, start: int) -> int:
        """The end of what is there without a gap from `start` on; `start` itself if nothing is."""
        index = bisect_right(self._starts, start) - 1
        return max(start, self._ends[index]) if index >= 0 else start

    def missing(self, start: int, end: int) -> list[Range]:
        """What lacks in `[start, end)`, ascending."""
        gaps: list[Range] = []
        index = bisect_right(self._ends, start)
        while start < end and index < len(self._starts) and self._starts[index] < end:
            if self._starts[index] > start:
                gaps.append((start, self._starts[index]))
            start = self._ends[index]
            index += 1
        if start < end:
            gaps.append((start, end))
        return gaps
