"""Traffic of the last day, in four resolutions: fine for the last minutes, coarse for the hours before.

Memory is bounded: 8 bytes for each node and sample, and 1,980 samples.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Iterable

from castray_desktop.core.protocol.messages import RateHistory, RateSample, Throughput

RESOLUTIONS = ((1.0, 360), (5.0, 420), (30.0, 420), (120.0, 780))
"""Step in seconds, and number of steps: 6 min, 35 min, 3.5 h, 26 h. Each step is a multiple of the one
before."""

PERSISTED_STEPS = frozenset({30.0, 120.0})
"""Steps that are saved across restarts."""

HOLD_SECONDS = 1.0
"""While bytes move, reports come four times a second; an older one is not extrapolated beyond this."""

MAX_NODES = 100
"""Limit for reported samples; the nodes with the most traffic."""


class _TrafficSample:
    """The means of one step. Nodes are numbers."""

    __slots__ = ("at", "nodes", "rates", "total", "upload")

    def __init__(self, at: float, total: float, upload: float, sums: dict[int, float]) -> None:
        self.at = at  # the end of the step
        self.total = total
        self.upload = upload
        self.nodes = array("I", sums)
        self.rates = array("f", sums.values())


class _Resolution:
    """Samples of one step length. Sums are rates multiplied by seconds."""

    def __init__(self, step: float, length: int) -> None:
        self.step = step
        self.samples: deque[_TrafficSample] = deque(maxlen=length)
        self._number = 0
        self._total = 0.0
        self._upload = 0.0
        self._sums: dict[int, float] = {}

    def add(self, start: float, seconds: float, sample: _TrafficSample) -> _TrafficSample | None:
        """Add rates that lasted `seconds` within one step; returns the previous step once it is complete."""
        number = math.floor(start / self.step + 1e-9)
        over = self.close(start) if number != self._number else None
        self._number = number
        self._total += sample.total * seconds
        self._upload += sample.upload * seconds
        for node, rate in zip(sample.nodes, sample.rates, strict=True):
            self._sums[node] = self._sums.get(node, 0.0) + rate * seconds
        return over

    def close(self, now: float) -> _TrafficSample | None:
        """Complete the current step, if it has ended by `now`."""
        if not self._total and not self._upload:
            return None
        if now < (self._number + 1) * self.step - 1e-9:
            return None
        sample = _mean([self], (self._number + 1) * self.step, self.step)
        self._total, self._upload, self._sums = 0.0, 0.0, {}
        self.samples.append(sample)
        return sample


def _mean(rings: list[_Resolution], at: float, seconds: float) -> _TrafficSample:
    """Means of these samples over the given number of seconds."""
    sums: dict[int, float] = {}
    for ring in rings:
        for node, value in ring._sums.items():
            sums[node] = sums.get(node, 0.0) + value / seconds
    total = sum(ring._total for ring in rings) / seconds
    return _TrafficSample(at, total, sum(ring._upload for ring in rings) / seconds, sums)


class TrafficHistory:
    """Records every `Throughput` and returns past traffic."""

    def __init__(self, began: float = 0.0) -> None:
        """`began`: the start of recording."""
        self._began = began
        self._rings = [_Resolution(step, length) for step, length in RESOLUTIONS]
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        self._last: dict[str, _TrafficSample] = {}  # of each cluster
        self._counted = 0.0  # until then
        self._fresh: list[tuple[float, _TrafficSample]] = []

    def record(self, now: Throughput, cluster: str = "") -> None:
        """Record the traffic of a cluster, valid until its next report; clusters are added up."""
        rates = {self._number(item.node): item.received for item in now.nodes if item.received}
        self._go_on_to(now.at)
        self._last[cluster] = _TrafficSample(now.at, now.total, now.upload, rates)

    def restore(self, step: float, samples: Iterable[RateSample]) -> None:
        """Restore samples that an earlier instance returned from `drain_completed`, oldest first."""
        for ring in self._rings:
            if ring.step == step:
                for item in samples:
                    rates = {self._number(node): rate for node, rate in item.nodes.items()}
                    ring.samples.append(_TrafficSample(item.at, item.total, item.upload, rates))

    def drain_completed(self, now: float) -> list[tuple[float, RateSample]]:
        """Completed steps to save since the last call, with their lengths."""
        self._go_on_to(now)
        self._close(now)
        fresh, self._fresh = self._fresh, []
        return [(step, self._told(sample, self._busiest([sample]))) for step, sample in fresh]

    def history(self, seconds: float, now: float) -> RateHistory:
        """The last `seconds`, in the finest resolution that reaches back so far."""
        self._go_on_to(now)
        self._close(now)
        number = next(
            (n for n, (step, length) in enumerate(RESOLUTIONS) if step * length >= seconds),
            len(RESOLUTIONS) - 1,
        )
        ring = self._rings[number]
        samples = [sample for sample in ring.samples if sample.at > now - seconds]
        under_way = _mean(self._rings[: number + 1], now, max(now % ring.step, 1e-3))
        if under_way.total or under_way.upload:
            samples.append(under_way)
        busiest = self._busiest(samples)
        since = now - min(seconds, ring.step * RESOLUTIONS[number][1])
        if ring.step not in PERSISTED_STEPS:
            since = max(since, self._began)
        return RateHistory(ring.step, tuple(self._told(sample, busiest) for sample in samples), since)

    def _go_on_to(self, now: float) -> None:
        """Extend the last reports up to now, or as long as they are valid."""
        step = self._rings[0].step
        while self._last and self._counted < now - 1e-9:
            until = min(now, (math.floor(self._counted / step + 1e-9) + 1) * step)
            for cluster, sample in tuple(self._last.items()):
                seconds = min(until, sample.at + HOLD_SECONDS) - self._counted
                if seconds > 0:
                    self._add(0, self._counted, seconds, sample)
                else:
                    del self._last[cluster]
            self._counted = until
        self._counted = max(self._counted, now)

    def _close(self, now: float) -> None:
        for number, ring in enumerate(self._rings):
            if (over := ring.close(now)) is not None:
                self._pass_on(number, over)

    def _add(self, number: int, start: float, seconds: float, sample: _TrafficSample) -> None:
        over = self._rings[number].add(start, seconds, sample)
        if over is not None:
            self._pass_on(number, over)

    def _pass_on(self, number: int, over: _TrafficSample) -> None:
        step = self._rings[number].step
        if step in PERSISTED_STEPS:
            self._fresh.append((step, over))
        if number + 1 < len(self._rings):
            self._add(number + 1, over.at - step, step, over)

    def _number(self, node: str) -> int:
        number = self._numbers.get(node)
        if number is None:
            number = self._numbers[node] = len(self._names)
            self._names.append(node)
        return number

    def _busiest(self, samples: list[_TrafficSample]) -> frozenset[int] | None:
        """The nodes to report; None is all."""
        sums: dict[int, float] = {}
        for sample in samples:
            for node, rate in zip(sample.nodes, sample.rates, strict=True):
                sums[node] = sums.get(node, 0.0) + rate
        if len(sums) <= MAX_NODES:
            return None
        return frozenset(sorted(sums, key=lambda node: sums[node], reverse=True)[:MAX_NODES])

    def _told(self, sample: _TrafficSample, nodes: frozenset[int] | None) -> RateSample:
        rates = {
            self._names[node]: round(rate, 1)
            for node, rate in zip(sample.nodes, sample.rates, strict=True)
            if nodes is None or node in nodes
        }
        return RateSample(sample.at, sample.total, sample.upload, rates)
