"""Totals over finished casts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.casts.cast_statistics import (
    MAX_INTERVALS,
    BusyIntervals,
    CastTotals,
    StatisticsCounter,
)
from castray_desktop.core.protocol.messages import (
    CastMode,
    CastResult,
    CastState,
    CastSummary,
    DeliverySnapshot,
    DeliveryState,
)

D = DeliveryState


def result(state: CastState, *deliveries: DeliverySnapshot, seconds: float = 10.0) -> CastResult:
    nodes = tuple(item.node for item in deliveries)
    summary = CastSummary(
        "c0ffee", "model.bin", state, "s", nodes, CastMode.MULTICAST, 100.0, bytes=1000, source_copies=1.5
    )
    return CastResult(summary, deliveries, seconds)


def test_what_was_there_already_is_no_delivered_bytes_and_no_speed() -> None:
    tally = StatisticsCounter(CastTotals())
    moved = DeliverySnapshot("a", D.COMPLETED, bytes=1300, skipped_bytes=300, seconds=10.0)
    found = DeliverySnapshot("b", D.SKIPPED, bytes=1300, skipped_bytes=1300, seconds=0.1)
    tally.count_cast(result(CastState.COMPLETED, moved, found), 10.0)
    told = tally.statistics()
    assert (told.casts, told.completed, told.delivered, told.bytes) == (1, 1, 2, 1000)
    assert (told.mean_rate, told.uploaded, told.since) == (100.0, 1500, 100.0)
    assert {node.node: (node.bytes, node.mean_rate) for node in told.nodes} == {
        "a": (1000, 100.0),
        "b": (0, 0.0),
    }


def test_failures_are_counted_and_what_was_cancelled_is_neither() -> None:
    tally = StatisticsCounter(CastTotals(since=5.0))
    tally.count_cast(result(CastState.PARTLY_FAILED, DeliverySnapshot("a", D.FAILED, bytes=10)), 1.0)
    tally.count_cast(result(CastState.CANCELLED, DeliverySnapshot("a", D.CANCELLED, bytes=10)), 1.0)
    told = tally.statistics()
    assert (told.casts, told.partly_failed, told.cancelled, told.failed_deliveries) == (2, 1, 1, 1)
    assert (told.delivered, told.bytes, told.mean_rate, told.since) == (0, 0, 0.0, 5.0)
    assert (told.nodes[0].delivered, told.nodes[0].failed) == (0, 1)


def test_the_peak_is_the_most_that_was_seen() -> None:
    tally = StatisticsCounter(CastTotals())
    assert tally.record_traffic(50.0, [("a", 30.0), ("b", 20.0)]) == ["a", "b"]
    assert tally.record_traffic(40.0, [("a", 40.0), ("b", 0.0)]) == ["a"]
    told = tally.statistics()
    assert told.peak_rate == 50.0
    assert [node.peak_rate for node in told.nodes] == [40.0, 20.0]


def test_a_peak_is_never_below_the_mean() -> None:
    tally = StatisticsCounter(CastTotals())
    tally.count_cast(
        result(CastState.COMPLETED, DeliverySnapshot("a", D.COMPLETED, bytes=1000, seconds=0.1)), 0.1
    )
    told = tally.statistics()
    assert told.peak_rate == told.nodes[0].peak_rate == pytest.approx(10_000)


times = st.integers(0, 60)


@given(st.lists(st.tuples(times, times).map(sorted), max_size=MAX_INTERVALS))
def test_no_second_is_counted_twice_however_casts_overlap(casts: list[list[int]]) -> None:
    busy = BusyIntervals()
    counted = sum(busy.add_interval(start, end) for start, end in casts)
    covered = {second for start, end in casts for second in range(start, end)}
    assert counted == pytest.approx(len(covered))
