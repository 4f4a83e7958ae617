"""The rates of the last half hour in rings of numbers; no widget and no clock.

Samples are 0.25 s apart. While nothing moves none arrive: the gap reads as zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float32]

STEP = 0.25
SPAN = 30 * 60
CAPACITY = int(SPAN / STEP)
GRACE = 4  # samples that may be missing at the end before they read as zero


@dataclass(frozen=True)
class Window:
    """A stretch of the history: `age` in seconds before now (ascending in time, so from high to 0)."""

    age: npt.NDArray[np.float64]
    total: Values
    nodes: dict[str, Values]


class RateHistory:
    """Rings for the total and for each node, in bytes per second. Times are POSIX seconds."""

    def __init__(self) -> None:
        self._total = np.zeros(CAPACITY, np.float32)
        self._nodes: dict[str, Values] = {}
        self._last = -1  # number of the newest slot since 1970, -1 before the first sample

    @property
    def empty(self) -> bool:
        """Whether nothing has ever arrived."""
        return self._last < 0

    def add(self, at: float, total: float, nodes: Mapping[str, float]) -> None:
        """Take in a sample. One older than the newest is dropped."""
        slot = int(at / STEP)
        if self._last >= 0 and slot < self._last:
            return
        self._clear_until(slot)
        place = slot % CAPACITY
        self._total[place] = total
        for name, rate in nodes.items():
            ring = self._nodes.get(name)
            if ring is None:
                ring = self._nodes[name] = np.zeros(CAPACITY, np.float32)
            ring[place] = rate

    def _clear_until(self, slot: int) -> None:
        """What lies between the newest sample and this one is zero. A single missed slot is bridged."""
        if self._last < 0:
            self._last = slot
            return
        missed = slot - self._last
        if missed == 2:
            for ring in (self._total, *self._nodes.values()):
                ring[(slot - 1) % CAPACITY] = ring[self._last % CAPACITY]
        first = self._last + (2 if missed == 2 else 1)
        places = np.arange(first, slot + 1)[-CAPACITY:] % CAPACITY
        for ring in (self._total, *self._nodes.values()):
            ring[places] = 0
        self._last = slot
        quiet = [name for name, ring in self._nodes.items() if not ring.any()] if missed > 8 else []
        for name in quiet:
            del self._nodes[name]

    def window(self, now: float, seconds: float) -> Window:
        """The last `seconds` before `now`. Nodes that were silent all the while are left out."""
        count = min(CAPACITY, int(seconds / STEP) + 1)
        newest = int(now / STEP)
        if 0 < newest - self._last <= GRACE:
            newest = self._last  # the sample of this moment is still on its way
        slots = np.arange(newest - count + 1, newest + 1)
        known = (slots <= self._last) & (slots > self._last - CAPACITY)
        places = slots % CAPACITY
        total = np.where(known, self._total[places], 0).astype(np.float32)
        nodes = {
            name: np.where(known, ring[places], 0).astype(np.float32) for name, ring in self._nodes.items()
        }
        age = (newest - slots).astype(np.float64) * STEP
        return Window(age, total, {name: values for name, values in nodes.items() if values.any()})
