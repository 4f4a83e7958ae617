"""Casts in numbers: sums that grow with each cast that ends. Nothing is ever recounted."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from castray_desktop.core.messages import (
    CastResult,
    CastState,
    DeliverySnapshot,
    DeliveryState,
    NodeStatistics,
    Statistics,
)

MOST_INTERVALS = 64
"""Of the times in which casts ran; what a cast that ends now overlaps with is among the latest."""


class NodeTally(msgspec.Struct):
    """One recipient's share."""

    delivered: int = 0
    failed: int = 0
    bytes: int = 0  # that were delivered, without those that were there before
    moved: int = 0  # of these, by deliveries of which the speed is known
    seconds: float = 0.0  # of the deliveries that moved something
    peak: float = 0.0

    def add(self, delivery: DeliverySnapshot) -> None:
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


class CastTally(msgspec.Struct):
    """All casts together."""

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


class Tally:
    """What ended casts add up to."""

    def __init__(self, all_casts: CastTally, nodes: dict[str, NodeTally] | None = None) -> None:
        self.all = all_casts
        self.nodes = nodes if nodes is not None else {}

    def add(self, result: CastResult, busy: float) -> None:
        """Count a cast that has ended; `busy` are the seconds that no cast before it has covered."""
        summary, total = result.summary, self.all
        total.since = total.since or summary.started
        total.casts[summary.state] = total.casts.get(summary.state, 0) + 1
        total.uploaded += round(summary.source_copies * summary.bytes)
        total.seconds += result.seconds
        total.busy += busy
        for delivery in result.deliveries:
            self.nodes.setdefault(delivery.node, NodeTally()).add(delivery)
            total.failed += delivery.state is DeliveryState.FAILED
            total.delivered += delivery.state.delivered
            total.bytes += delivery.delivered_bytes if delivery.state.delivered else 0
            total.moved += delivery.delivered_bytes if delivery.state is DeliveryState.COMPLETED else 0

    def saw(self, total: float, rates: Iterable[tuple[str, float]]) -> list[str]:
        """Take in the traffic of a moment; returns the nodes that were never faster."""
        self.all.peak = max(self.all.peak, total)
        faster = []
        for node, rate in rates:
            tally = self.nodes.get(node)
            if rate > (tally.peak if tally is not None else 0.0):
                self.nodes.setdefault(node, NodeTally()).peak = rate
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


class BusyTime:
    """The times in which casts ran, told one by one as they end; they may overlap."""

    def __init__(self) -> None:
        self._intervals: list[tuple[float, float]] = []

    def add(self, start: float, end: float) -> float:
        """The seconds of this cast in which none of those before it ran."""
        apart, joined, covered = [], (start, max(start, end)), 0.0
        for other in self._intervals:
            if other[1] < start or other[0] > end:
                apart.append(other)
                continue
            covered += min(end, other[1]) - max(start, other[0])
            joined = min(joined[0], other[0]), max(joined[1], other[1])
        self._intervals = sorted([*apart, joined])[-MOST_INTERVALS:]
        return max(0.0, end - start - covered)


def _rate(moved: int, seconds: float) -> float:
    return moved / seconds if seconds > 0 else 0.0
