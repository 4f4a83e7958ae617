"""Rates, remaining time and distance to the upstream. Time is an argument."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

WINDOW_SECONDS = 2.0
LEAST_SECONDS = 0.1
"""Two samples within this time give no rate."""

LAG_SECONDS = 3.0
LAG_FLOOR_BYTES = 16 * 1024 * 1024


class RateMeter:
    """The rate at which a monotonic counter grew over the last `WINDOW_SECONDS`."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, float]] = []  # a few; an empty deque is 760 bytes

    def record(self, now: float, total: float) -> None:
        """Record that the counter was `total` at `now` seconds."""
        self._samples.append((now, total))
        while len(self._samples) > 2 and self._samples[1][0] <= now - WINDOW_SECONDS:
            del self._samples[0]

    def rate(self, now: float) -> float:
        """The rate as of `now`; zero if nothing was recorded for a window."""
        if len(self._samples) < 2:
            return 0.0
        oldest, newest = self._samples[0], self._samples[-1]
        if now - newest[0] > WINDOW_SECONDS:
            return 0.0
        elapsed = max(now, newest[0]) - oldest[0] if now - newest[0] > 1.0 else newest[0] - oldest[0]
        if elapsed <= 0:
            return 0.0
        # the first bytes come at once, which is no rate
        return (newest[1] - oldest[1]) / max(elapsed, LEAST_SECONDS)


def remaining_seconds(left: int, rate: float) -> float | None:
    """The time for `left` bytes at `rate`; None if unknown."""
    if left <= 0:
        return 0.0
    return left / rate if rate > 0 else None


def longest_eta(etas: Sequence[float | None]) -> float | None:
    """The longest of several times; None if any is unknown or there are none."""
    known = [eta for eta in etas if eta is not None]
    return max(known) if known and len(known) == len(etas) else None


def median_rate(rates: Sequence[float]) -> float:
    """The median, 0 for none."""
    return median(rates) if rates else 0.0


def bytes_behind(upstream_bytes: int, own_bytes: int, rate: float) -> int:
    """How far a recipient is behind its upstream, if that is more than the normal distance.

    0 while it keeps up: a relay is always a few pieces behind.
    """
    behind = upstream_bytes - own_bytes
    return behind if behind > max(LAG_FLOOR_BYTES, LAG_SECONDS * rate) else 0
