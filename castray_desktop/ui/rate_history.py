"""The rates of the last day in rings of numbers; no widget and no clock.

The last half hour is kept in steps of 0.25 s, the last day in means of 15 s. While nothing moves no samples
arrive: the gap reads as zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from castray_desktop.core.messages import RateHistory as PastRates

Values = npt.NDArray[np.float32]
Slots = npt.NDArray[np.int64]

STEP, SPAN = 0.25, 30 * 60
CAPACITY = int(SPAN / STEP)
LONG_STEP, LONG_SPAN = 15.0, 24 * 60 * 60
LONG_CAPACITY = int(LONG_SPAN / LONG_STEP)
GRACE = 4  # samples that may be missing at the end before they read as zero
FIRST_ROWS = 16


class Lines(Mapping[str, Values]):
    """A line for each node that was not silent, taken from the ring when it is first asked for."""

    def __init__(self, ring: Ring, slots: Slots, names: Sequence[str]) -> None:
        self._ring, self._slots, self._names = ring, slots, dict.fromkeys(names)
        self._taken: dict[str, Values] = {}

    def __getitem__(self, name: str) -> Values:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._taken:
            self._taken[name] = self._ring.line(name, self._slots)
        return self._taken[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def lately(self, count: int) -> dict[str, float]:
        """Each node's mean over the last samples."""
        return self._ring.means(list(self._names), self._slots[-count:])


@dataclass(frozen=True)
class Window:
    """A stretch of the history: `age` in seconds before now (ascending in time, so from high to 0)."""

    age: npt.NDArray[np.float64]
    total: Values
    low: Values  # the least that a node received which received anything
    high: Values
    nodes: Lines


class Ring:
    """Numbers for the total and for each node in slots of `step` seconds, counted since 1970."""

    def __init__(self, step: float, capacity: int) -> None:
        self.step, self.capacity = step, capacity
        self.last = -1  # the newest slot, -1 before the first sample
        self._total = np.zeros(capacity, np.float32)
        self._low, self._high = np.zeros(capacity, np.float32), np.zeros(capacity, np.float32)
        self._nodes = np.zeros((FIRST_ROWS, capacity), np.float32)
        self._rows: dict[str, int] = {}
        self._heard: dict[str, int] = {}  # the last slot in which a node was not silent

    def put(self, slot: int, total: float, nodes: Mapping[str, float]) -> None:
        """What a slot holds."""
        place = slot % self.capacity
        self._total[place] = total
        rows = self._rows_of(nodes)
        rates = np.fromiter(nodes.values(), np.float32, len(nodes))
        self._nodes[rows, place] = rates
        self._note(slot, nodes)
        self._low[place] = rates.min() if len(rates) else 0.0
        self._high[place] = rates.max() if len(rates) else 0.0

    def put_more(self, slot: int, share: float, total: float, nodes: Mapping[str, float]) -> None:
        """Add to a slot's means what held for this share of it."""
        place = slot % self.capacity
        self._total[place] += total * share
        rows = self._rows_of(nodes)
        self._nodes[rows, place] += np.fromiter(nodes.values(), np.float32, len(nodes)) * np.float32(share)
        self._note(slot, nodes)
        means = self._nodes[rows, place]
        self._low[place] = means.min() if len(means) else self._low[place]
        self._high[place] = max(float(self._high[place]), float(means.max(initial=0.0)))

    def _note(self, slot: int, nodes: Mapping[str, float]) -> None:
        self._heard.update((name, max(slot, self._heard.get(name, slot))) for name in nodes)

    def _rows_of(self, nodes: Mapping[str, float]) -> list[int]:
        for name in nodes.keys() - self._rows.keys():
            if len(self._rows) == len(self._nodes):
                self._nodes = np.vstack([self._nodes, np.zeros_like(self._nodes)])
            self._rows[name] = len(self._rows)
        return [self._rows[name] for name in nodes]

    def advance(self, slot: int, *, bridge: bool = False) -> None:
        """Later slots up to this one are zero. With `bridge` a single missed one is as the one before."""
        if self.last < 0:
            self.last = slot
            return
        missed = slot - self.last
        bridged = bridge and missed == 2
        if bridged:
            before, place = self.last % self.capacity, (slot - 1) % self.capacity
            self._nodes[:, place] = self._nodes[:, before]
            for ring in (self._total, self._low, self._high):
                ring[place] = ring[before]
        places = np.arange(self.last + (2 if bridged else 1), slot + 1)[-self.capacity :] % self.capacity
        self._nodes[:, places] = 0
        for ring in (self._total, self._low, self._high):
            ring[places] = 0
        self.last = slot
        if missed > 8:
            self._forget_silent()

    def _forget_silent(self) -> None:
        oldest = self.last - self.capacity
        kept = [name for name in self._rows if self._heard.get(name, -1) > oldest]
        if len(kept) < len(self._rows):
            rows = [self._rows[name] for name in kept]
            room = max(FIRST_ROWS, len(kept))
            nodes = np.zeros((room, self.capacity), np.float32)
            nodes[: len(kept)] = self._nodes[rows]
            self._nodes = nodes
            self._rows = {name: row for row, name in enumerate(kept)}
            self._heard = {name: self._heard[name] for name in kept}

    def silence(self, first: int) -> None:
        """Nothing moved from this slot on."""
        slots = np.arange(max(first, self.last - self.capacity + 1), self.last + 1) % self.capacity
        self._nodes[:, slots] = 0
        for ring in (self._total, self._low, self._high):
            ring[slots] = 0

    def holds(self, slot: int) -> bool:
        """Whether a slot is among those that are kept."""
        return self.last - self.capacity < slot <= self.last

    def window(self, now: float, seconds: float) -> Window:
        """The last `seconds` before `now`."""
        count = min(self.capacity, int(seconds / self.step) + 1)
        newest = int(now / self.step)
        if 0 < newest - self.last <= GRACE:
            newest = self.last  # the sample of this moment is still on its way
        slots = np.arange(newest - count + 1, newest + 1)
        age = (newest - slots).astype(np.float64) * self.step
        names = [name for name, slot in self._heard.items() if slots[0] <= slot]
        take = self._take
        return Window(
            age,
            take(self._total, slots),
            take(self._low, slots),
            take(self._high, slots),
            Lines(self, slots, names),
        )

    def _take(self, ring: Values, slots: Slots) -> Values:
        known = (slots <= self.last) & (slots > self.last - self.capacity)
        return np.where(known, ring[slots % self.capacity], 0).astype(np.float32)

    def line(self, name: str, slots: Slots) -> Values:
        """What a node received in these slots."""
        row = self._rows.get(name)
        return self._take(self._nodes[row], slots) if row is not None else np.zeros(len(slots), np.float32)

    def means(self, names: list[str], slots: Slots) -> dict[str, float]:
        """The means of several nodes over these slots."""
        known = slots[(slots <= self.last) & (slots > self.last - self.capacity)]
        rows = np.array([self._rows[name] for name in names if name in self._rows], np.int64)
        values = self._nodes[rows[:, np.newaxis], known % self.capacity].sum(axis=1) / max(1, len(slots))
        return dict(zip((name for name in names if name in self._rows), values.tolist(), strict=True))


class RateHistory:
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
        fine.put(slot, total, nodes)
        self._long.advance(int(at / LONG_STEP))
        if new:
            self._long.put_more(self._long.last, held / LONG_STEP, total, nodes)

    def take_past(self, past: PastRates, now: float) -> None:
        """What the engine knows of the time before. Ask for the longest stretch first: finer steps of a
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
                for slot in range(first, max(first + 1, round(sample.at / ring.step))):
                    if ring.holds(slot):
                        ring.put(slot, sample.total, sample.nodes)

    def window(self, now: float, seconds: float) -> Window:
        """The last `seconds` before `now`. Nodes that were silent all the while are left out."""
        return (self._fine if seconds <= SPAN else self._long).window(now, seconds)
