"""Statistics of finished casts. Counters grow with each cast that ends; nothing is recounted."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from castray_desktop.core.protocol.messages import (
    CastResult,
    CastState,
    DeliverySnapshot,
    DeliveryState,
    NodeStatistics,
    Statistics,
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
        total.casts[summary.state] = total.casts.get(summary.state, 0) + 1
        total.uploaded += round(summary.source_copies * summary.bytes)
        total.seconds += result.seconds
        total.busy += busy
        for delivery in result.deliveries:
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
            tally = self.nodes.get(node)
            if rate > (tally.peak if tally is not None else 0.0):
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
