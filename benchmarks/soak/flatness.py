"""When a curve counts as flat: a robust fit through the samples of each process, and limits by role.

The first third of a run is left out, and the beginning of each process's life: caches fill then. What is left
is reduced to medians of a minute (or of a sixtieth of a short run). The slope is the median of the slopes
between all pairs of these that belong to one process and are far enough apart (Theil and Sen), so that
neither a restart nor a few outliers count. A curve is not flat if its slope exceeds the limit, and what it
grew by within the window exceeds the noise.
"""

from __future__ import annotations

import itertools
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

MIB = 1 << 20
HOUR = 3600.0
SETTLE_SECONDS = 600.0
WARM_SECONDS = 1200.0

Points = Sequence[tuple[float, float]]
"""Times in seconds, and values."""


@dataclass(frozen=True)
class Limit:
    """Growth that is permitted."""

    slope: float  # an hour
    noise: float  # within 20 minutes; less counts in longer windows, since processes warm up once
    kept: float = 0.0  # what bounded caches may add, at any time


@dataclass(frozen=True)
class Verdict:
    """What a curve did."""

    curve: str  # "engine: memory"
    slope: float | None  # an hour; None: no process lived long enough
    growth: float  # within the window
    limit: Limit
    last: float  # median of the last tenth of the window
    span: float = 0.0  # seconds of the longest life within the window

    @property
    def allowed(self) -> float:
        """Growth within the window that is permitted."""
        noise = self.limit.noise * min(1.0, WARM_SECONDS / (self.span or 1.0))
        return max(self.limit.slope * self.span / HOUR, noise + self.limit.kept)

    @property
    def flat(self) -> bool:
        return self.slope is None or self.growth <= self.allowed


def judge(curve: str, lives: Mapping[int, Points], limit: Limit, seconds: float) -> Verdict:
    """The verdict on the samples of one curve, by process; `seconds` is how long the run took."""
    begin = seconds / 3
    window = seconds - begin
    step = min(60.0, seconds / 60)
    settle = min(SETTLE_SECONDS, seconds / 12)
    slopes: list[float] = []
    ends: list[float] = []
    longest = 0.0
    for points in lives.values():
        start = max(begin, points[0][0] + settle if points[0][0] > step else begin)
        kept = _medians([point for point in points if point[0] >= start], step)
        ends += [value for at, value in points if at >= seconds - window / 10]
        if len(kept) > 1:
            longest = max(longest, kept[-1][0] - kept[0][0])
        slopes += [
            (later - earlier) / (end - at)
            for (at, earlier), (end, later) in itertools.combinations(kept, 2)
            if end - at >= window / 6
        ]
    if not slopes:
        return Verdict(curve, None, 0.0, limit, statistics.median(ends) if ends else 0.0)
    slope = statistics.median(slopes)
    last = statistics.median(ends) if ends else 0.0
    return Verdict(curve, slope * HOUR, slope * longest, limit, last, longest)


def _medians(points: Points, step: float) -> list[tuple[float, float]]:
    """The medians of the values within each step."""
    steps: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for at, value in points:
        steps[int(at // step)].append((at, value))
    return [
        (statistics.median(at for at, _ in some), statistics.median(value for _, value in some))
        for _, some in sorted(steps.items())
    ]


def by_process(samples: Iterable[tuple[float, int, float]]) -> dict[int, list[tuple[float, float]]]:
    """Samples (time, process, value) as points of each process."""
    lives: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for at, pid, value in samples:
        lives[pid].append((at, value))
    return dict(lives)
