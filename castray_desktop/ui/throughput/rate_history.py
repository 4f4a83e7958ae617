"""Rates of the last day in ring buffers; no widget and no clock.

The last half hour is kept in steps of 0.25 s, the last day in means of 15 s. While nothing moves no samples
arrive: gaps read as zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from castray_desktop.core.protocol.messages import RateHistory

Values = npt.NDArray[np.float32]

STEP, SPAN = 0.25, 30 * 60
CAPACITY = int(SPAN / STEP)
LONG_STEP, LONG_SPAN = 15.0, 24 * 60 * 60
LONG_CAPACITY = int(LONG_SPAN / LONG_STEP)
GRACE = 4  # samples that may be missing at the end before they read as zero
BLOCK = 256  # slots; a new node reallocates one block, not all earlier ones
WIDER_BY = 64  # nodes


class Lines(Mapping[str, Values]):
    """A line for each node that was active, read from the ring at its first use."""

    def __init__(self, ring: Ring, slots: range, names: Sequence[str]) -> None:
        self._ring, self._slots, self._names = ring, slots, dict.fromkeys(names)
        self._cache: dict[str, Values] = {}

    def __getitem__(self, name: str) -> Values:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._cache:
            self._cache[name] = self._ring.line(name, self._slots)
        return self._cache[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def recent_means(self, count: int) -> dict[str, float]:
        """Each node's mean over the last samples."""
        return self._ring.means(self._names, self._slots[-count:])


@dataclass(frozen=True)
class RateWindow:
    """A part of the history: `age` in seconds before now, from the oldest to 0."""

    age: npt.NDArray[np.float64]
    total: Values
    low: Values  # the lowest rate of a node that received anything
    high: Values
    nodes: Lines


class Ring:
    """Numbers for the total and for each node in slots of `step` seconds, counted since 1970.

    The nodes' numbers are in blocks, [slot, column], which are allocated at the first write, with a column
    for each node of that time; anything outside of a block is zero. A step of time or a new node costs one
    block at most: to allocate or move a day of a thousand nodes at once would freeze the window.
    """

    def __init__(self, step: float, capacity: int) -> None:
        self.step, self.capacity = step, capacity
        self.last = -1  # the newest slot, -1 before the first sample
        self._total, self._low, self._high = self._sums = np.zeros((3, capacity), np.float32)
        self._blocks: dict[int, Values] = {}  # by their first slot's number, divided by BLOCK
        self._columns: dict[str, int] = {}
        self._free: list[int] = []  # columns of nodes that were forgotten
        self._last_slots: dict[str, int] = {}  # the last slot in which a node was not silent

    @property
    def _oldest(self) -> int:
        return self.last - self.capacity + 1

    def write(self, slots: range, total: float, nodes: Mapping[str, float]) -> None:
        """Write the rates of these slots, as far as the ring keeps them."""
        slots = range(max(slots.start, self._oldest), min(slots.stop, self.last + 1))
        if not slots:
            return
        rates = np.fromiter(nodes.values(), np.float32, len(nodes))
        places = np.arange(slots.start, slots.stop) % self.capacity
        self._total[places] = total
        self._low[places] = rates.min() if len(rates) else 0.0
        self._high[places] = rates.max(initial=0.0)
        if nodes:
            columns = self._columns_of(nodes)
            for number in range(slots.start // BLOCK, (slots.stop - 1) // BLOCK + 1):
                first, stop = _within(number, slots)
                self._block(number)[first:stop, columns] = rates
            self._mark_active(slots.stop - 1, nodes)

    def add_share(self, slot: int, share: float, total: float, nodes: Mapping[str, float]) -> None:
        """Add rates that lasted for this share of a slot to its means."""
        place = slot % self.capacity
        self._total[place] += total * share
        if not nodes:
            return
        columns = self._columns_of(nodes)
        row = self._block(slot // BLOCK)[slot % BLOCK]
        row[columns] += np.fromiter(nodes.values(), np.float32, len(nodes)) * np.float32(share)
        self._mark_active(slot, nodes)
        means = row[columns]
        self._low[place] = means.min()
        self._high[place] = max(self._high[place], means.max())

    def _mark_active(self, slot: int, nodes: Mapping[str, float]) -> None:
        self._last_slots.update((name, max(slot, self._last_slots.get(name, slot))) for name in nodes)

    def _columns_of(self, nodes: Mapping[str, float]) -> npt.NDArray[np.intp]:
        if len(nodes.keys() - self._columns.keys()) > len(self._free):
            self._free_silent_columns()
        for name in nodes.keys() - self._columns.keys():  # one of those may have been forgotten just now
            self._columns[name] = self._free.pop() if self._free else len(self._columns)
        return np.fromiter((self._columns[name] for name in nodes), np.intp, len(nodes))

    def _free_silent_columns(self) -> None:
        """Free the columns of nodes that have no value since the oldest slot."""
        for name in [name for name, slot in self._last_slots.items() if slot < self._oldest]:
            self._free.append(self._columns.pop(name))
            del self._last_slots[name]

    def _block(self, number: int) -> Values:
        """The block to write to, wide enough for every node that has a column."""
        count = len(self._columns) + len(self._free)
        block = self._blocks.get(number)
        if block is None or block.shape[1] < count:
            wider = np.zeros((BLOCK, -(-count // WIDER_BY) * WIDER_BY), np.float32)
            if block is not None:
                written = min(BLOCK, self.last + 1 - number * BLOCK)
                wider[:written, : block.shape[1]] = block[:written]
            block = self._blocks[number] = wider
        return block

    def _written(self, slots: range) -> Iterator[tuple[Values, int]]:
        """The kept parts of these slots, each with its offset."""
        kept = range(max(slots.start, self._oldest), min(slots.stop, self.last + 1))
        for number in range(kept.start // BLOCK, (kept.stop - 1) // BLOCK + 1) if kept else ():
            block = self._blocks.get(number)
            if block is not None:
                first, stop = _within(number, kept)
                yield block[first:stop], number * BLOCK + first - slots.start

    def advance(self, slot: int, *, bridge: bool = False) -> None:
        """Make this the newest slot; skipped ones are zero. `bridge` fills a single one with the last."""
        if self.last < 0:
            self.last = slot
            return
        before, self.last = self.last, max(slot, self.last)
        self._sums[:, np.arange(before + 1, slot + 1)[-self.capacity :] % self.capacity] = 0
        if bridge and slot - before == 2:
            self._sums[:, (slot - 1) % self.capacity] = self._sums[:, before % self.capacity]
            for rates, _ in self._written(range(before, before + 1)):
                self._block((slot - 1) // BLOCK)[(slot - 1) % BLOCK, : rates.shape[1]] = rates[0]
        for number in [number for number in self._blocks if (number + 1) * BLOCK <= self._oldest]:
            del self._blocks[number]

    def silence(self, first: int) -> None:
        """Set all rates from this slot on to zero."""
        slots = range(max(first, self._oldest), self.last + 1)
        self._sums[:, np.arange(slots.start, slots.stop) % self.capacity] = 0
        for number in [number for number in self._blocks if number * BLOCK >= slots.start]:
            del self._blocks[number]
        for rates, _ in self._written(slots):
            rates[:] = 0

    def window(self, now: float, seconds: float) -> RateWindow:
        """The last `seconds` before `now`."""
        count = min(self.capacity, int(seconds / self.step) + 1)
        newest = int(now / self.step)
        if 0 < newest - self.last <= GRACE:
            newest = self.last  # the sample of the current moment has not arrived yet
        slots = range(newest - count + 1, newest + 1)
        age = np.arange(count - 1, -1, -1).astype(np.float64) * self.step
        names = [name for name, slot in self._last_slots.items() if slots.start <= slot]
        total, low, high = self._sums_of(slots)
        return RateWindow(age, total, low, high, Lines(self, slots, names))

    def _sums_of(self, slots: range) -> Values:
        numbers = np.arange(slots.start, slots.stop)
        known = (numbers <= self.last) & (numbers >= self._oldest)
        return np.where(known, self._sums[:, numbers % self.capacity], np.float32(0))

    def line(self, name: str, slots: range) -> Values:
        """What a node received in these slots."""
        line = np.zeros(len(slots), np.float32)
        column = self._columns.get(name)
        for rates, at in self._written(slots) if column is not None else ():
            if column < rates.shape[1]:
                line[at : at + len(rates)] = rates[:, column]
        return line

    def means(self, names: Iterable[str], slots: range) -> dict[str, float]:
        """The means of several nodes over these slots."""
        known = [name for name in names if name in self._columns]
        columns = np.fromiter((self._columns[name] for name in known), np.intp, len(known))
        sums = np.zeros(len(known), np.float64)
        for rates, _ in self._written(slots):
            wide = columns < rates.shape[1]
            sums[wide] += rates.sum(axis=0)[columns[wide]]
        return dict(zip(known, (sums / max(1, len(slots))).tolist(), strict=True))


def _within(number: int, slots: range) -> tuple[int, int]:
    """Where these slots begin and end in the block of that number."""
    return max(0, slots.start - number * BLOCK), min(BLOCK, slots.stop - number * BLOCK)


class PlotHistory:
    """The total's and each node's rates, in bytes per second. Times are POSIX seconds."""

    def __init__(self) -> None:
        self._fine = Ring(STEP, CAPACITY)
        self._long = Ring(LONG_STEP, LONG_CAPACITY)

    @property
    def empty(self) -> bool:
        """Whether nothing has ever arrived."""
        return self._fine.last < 0

    def add(self, at: float, total: float, nodes: Mapping[str, float]) -> None:
        """Take in a sample. One older than the newest is dropped."""
        slot, fine = int(at / STEP), self._fine
        if fine.last >= 0 and slot < fine.last:
            return
        new = slot != fine.last
        held = STEP * (2 if fine.last >= 0 and slot - fine.last == 2 else 1)
        fine.advance(slot, bridge=True)
        fine.write(range(slot, slot + 1), total, nodes)
        self._long.advance(int(at / LONG_STEP))
        if new:
            self._long.add_share(self._long.last, held / LONG_STEP, total, nodes)

    def load_past(self, past: RateHistory, now: float) -> None:
        """Fill in rates that the engine has recorded. Load the longest period first: the finer steps of a
        shorter one replace its means.
        """
        for ring in (self._fine, self._long):
            if past.step < ring.step:
                continue  # live samples have made better means, and coarser steps the rest
            ring.advance(max(ring.last, int(now / ring.step)))
            if past.since:
                ring.silence(int(past.since / ring.step) + 1)
            for sample in past.samples:
                first = round((sample.at - past.step) / ring.step)
                slots = range(first, max(first + 1, round(sample.at / ring.step)))
                ring.write(slots, sample.total, sample.nodes)

    def window(self, now: float, seconds: float) -> RateWindow:
        """The last `seconds` before `now`. Nodes that were silent all the while are left out."""
        return (self._fine if seconds <= SPAN else self._long).window(now, seconds)
