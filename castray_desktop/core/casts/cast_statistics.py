"""Statistics of finished casts, and the traffic of the last day.

Counters grow with each cast that ends; nothing is recounted.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Iterable

import msgspec

from castray_desktop.core.protocol.messages import (
    CastResult,
    CastState,
    DeliverySnapshot,
    DeliveryState,
    NodeStatistics,
    RateHistory,
    RateSample,
    Statistics,
    Throughput,
)

MAX_INTERVALS = 64
"""Number of remembered intervals in which casts ran; a cast that ends now overlaps with the latest ones."""


class NodeTotals(msgspec.Struct):
    """Totals of one recipient."""

    delivered: int = 0
    failed: int = 0
    bytes: int = 0  # that were delivered, without those that were there before
    moved: int = 0  # of these, by deliveries of which the speed is known
    seconds: float = 0.0  # of the deliveries that moved something
    peak: float = 0.0

    def count_delivery(self, delivery: DeliverySnapshot) -> None:
        """Count a delivery that has ended."""
        if delivery.state is DeliveryState.FAILED:
            self.failed += 1
        if not delivery.state.delivered:
            return
        self.delivered += 1
        self.bytes += delivery.delivered_bytes
        if delivery.state is DeliveryState.COMPLETED:
            self.moved += delivery.delivered_bytes
            self.seconds += delivery.seconds
            self.peak = max(self.peak, _rate(delivery.delivered_bytes, delivery.seconds))

    def statistics(self, node: str) -> NodeStatistics:
        """As clients see it."""
        mean = _rate(self.moved, self.seconds)
        return NodeStatistics(node, self.delivered, self.failed, self.bytes, mean, max(self.peak, mean))


class CastTotals(msgspec.Struct):
    """Totals of all casts."""

    since: float = 0.0
    casts: dict[CastState, int] = msgspec.field(default_factory=dict)  # by the state that they ended in
    delivered: int = 0
    failed: int = 0
    bytes: int = 0
    moved: int = 0
    uploaded: int = 0
    seconds: float = 0.0  # of the casts, added up
    busy: float = 0.0  # in which one cast at least ran
    peak: float = 0.0


class StatisticsCounter:
    """Counts ended casts."""

    def __init__(self, all_casts: CastTotals, nodes: dict[str, NodeTotals] | None = None) -> None:
        self.all = all_casts
        self.nodes = nodes if nodes is not None else {}

    def count_cast(self, result: CastResult, busy: float) -> None:
        """Count an ended cast; `busy` are the seconds not covered by earlier casts."""
        summary, total = result.summary, self.all
        total.since = total.since or summary.started
        if summary.attempts:  # it was counted with the result of its last attempt
            last = summary.attempts[-1].state
            total.casts[last] = max(0, total.casts.get(last, 0) - 1)
        total.casts[summary.state] = total.casts.get(summary.state, 0) + 1
        total.uploaded += round(summary.source_copies * summary.bytes)
        total.seconds += result.seconds
        total.busy += busy
        for delivery in result.deliveries:
            if summary.retried and delivery.node not in summary.retried:
                continue  # it was counted with an earlier attempt
            self.nodes.setdefault(delivery.node, NodeTotals()).count_delivery(delivery)
            total.failed += delivery.state is DeliveryState.FAILED
            total.delivered += delivery.state.delivered
            total.bytes += delivery.delivered_bytes if delivery.state.delivered else 0
            total.moved += delivery.delivered_bytes if delivery.state is DeliveryState.COMPLETED else 0

    def record_traffic(self, total: float, rates: Iterable[tuple[str, float]]) -> list[str]:
        """Record traffic; returns the nodes that reached a new peak."""
        self.all.peak = max(self.all.peak, total)
        faster = []
        for node, rate in rates:
            totals = self.nodes.get(node)
            if rate > (totals.peak if totals is not None else 0.0):
                self.nodes.setdefault(node, NodeTotals()).peak = rate
                faster.append(node)
        return faster

    def statistics(self) -> Statistics:
        """As clients see it, nodes by name."""
        total = self.all
        mean = _rate(total.moved, total.busy)
        return Statistics(
            since=total.since,
            casts=sum(total.casts.values()),
            completed=total.casts.get(CastState.COMPLETED, 0),
            partly_failed=total.casts.get(CastState.PARTLY_FAILED, 0),
            failed=total.casts.get(CastState.FAILED, 0),
            cancelled=total.casts.get(CastState.CANCELLED, 0),
            delivered=total.delivered,
            failed_deliveries=total.failed,
            bytes=total.bytes,
            uploaded=total.uploaded,
            seconds=total.seconds,
            mean_rate=mean,
            peak_rate=max(total.peak, mean),
            nodes=tuple(self.nodes[node].statistics(node) for node in sorted(self.nodes)),
        )


class BusyIntervals:
    """The intervals in which casts ran; they may overlap."""

    def __init__(self) -> None:
        self._intervals: list[tuple[float, float]] = []

    def add_interval(self, start: float, end: float) -> float:
        """Add an interval; returns its seconds that no earlier one covers."""
        apart, joined, covered = [], (start, max(start, end)), 0.0
        for other in self._intervals:
            if other[1] < start or other[0] > end:
                apart.append(other)
                continue
            covered += min(end, other[1]) - max(start, other[0])
            joined = min(joined[0], other[0]), max(joined[1], other[1])
        self._intervals = sorted([*apart, joined])[-MAX_INTERVALS:]
        return max(0.0, end - start - covered)


def _rate(moved: int, seconds: float) -> float:
    return moved / seconds if seconds > 0 else 0.0


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
        return [(step, self._report(sample, self._busiest([sample]))) for step, sample in fresh]

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
        return RateHistory(ring.step, tuple(self._report(sample, busiest) for sample in samples), since)

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

    def _report(self, sample: _TrafficSample, nodes: frozenset[int] | None) -> RateSample:
        rates = {
            self._names[node]: round(rate, 1)
            for node, rate in zip(sample.nodes, sample.rates, strict=True)
            if nodes is None or node in nodes
        }
        return RateSample(sample.at, sample.total, sample.upload, rates)
