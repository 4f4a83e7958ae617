"""Sets of byte ranges: the transfer state of a node."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Range = tuple[int, int]


class RangeSet:
    """Sorted, disjoint, non-empty half-open ranges `[start, end)`.

    Usually it is one growing prefix, so adding at the end is cheap.
    """

    __slots__ = ("_ends", "_starts", "total")

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.total = 0
        """Total number of bytes; read only."""
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
        """Length of the range that starts at 0."""
        return self._ends[0] if self._starts and self._starts[0] == 0 else 0

    @property
    def end(self) -> int:
        """End of the last range, 0 if there is none."""
        return self._ends[-1] if self._ends else 0

    def copy(self) -> RangeSet:
        """An independent copy."""
        copied = RangeSet()
        copied._starts, copied._ends, copied.total = self._starts[:], self._ends[:], self.total
        return copied

    def add(self, start: int, end: int) -> None:
        """Add `[start, end)`, merged with adjacent ranges. Raises ValueError for a negative range."""
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
        """Whether every byte of `[start, end)` is contained; True for an empty range."""
        if start >= end:
            return True
        index = bisect_right(self._starts, start) - 1
        return index >= 0 and self._ends[index] >= end

    def available_from(self, start: int) -> int:
        """End of the contiguous range from `start` on; `start` itself if it is not contained."""
        index = bisect_right(self._starts, start) - 1
        return max(start, self._ends[index]) if index >= 0 else start

    def missing(self, start: int, end: int) -> list[Range]:
        """The missing parts of `[start, end)`, sorted."""
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
