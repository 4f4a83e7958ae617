"""Totals over finished casts, and the traffic of the nodes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.casts.cast_statistics import (
    MAX_INTERVALS,
    MAX_NODES,
    RESOLUTIONS,
    BusyIntervals,
    CastTotals,
    StatisticsCounter,
    TrafficHistory,
)
from castray_desktop.core.protocol.messages import (
    CastMode,
    CastResult,
    CastState,
    CastSummary,
    DeliverySnapshot,
    DeliveryState,
    NodeRate,
    RateSample,
    Throughput,
)

D = DeliveryState


def result(state: CastState, *deliveries: DeliverySnapshot, seconds: float = 10.0) -> CastResult:
    nodes = tuple(item.node for item in deliveries)
    summary = CastSummary(
        "c0ffee", "model.bin", state, "s", nodes, CastMode.MULTICAST, 100.0, bytes=1000, source_copies=1.5
    )
    return CastResult(summary, deliveries, seconds)


def test_existing_files_count_for_neither_bytes_nor_speed() -> None:
    counter = StatisticsCounter(CastTotals())
    moved = DeliverySnapshot("a", D.COMPLETED, bytes=1300, skipped_bytes=300, seconds=10.0)
    found = DeliverySnapshot("b", D.SKIPPED, bytes=1300, skipped_bytes=1300, seconds=0.1)
    counter.count_cast(result(CastState.COMPLETED, moved, found), 10.0)
    told = counter.statistics()
    assert (told.casts, told.completed, told.delivered, told.bytes) == (1, 1, 2, 1000)
    assert (told.mean_rate, told.uploaded, told.since) == (100.0, 1500, 100.0)
    assert {node.node: (node.bytes, node.mean_rate) for node in told.nodes} == {
        "a": (1000, 100.0),
        "b": (0, 0.0),
    }


def test_failures_are_counted_and_cancelled_deliveries_are_not() -> None:
    counter = StatisticsCounter(CastTotals(since=5.0))
    counter.count_cast(result(CastState.PARTLY_FAILED, DeliverySnapshot("a", D.FAILED, bytes=10)), 1.0)
    counter.count_cast(result(CastState.CANCELLED, DeliverySnapshot("a", D.CANCELLED, bytes=10)), 1.0)
    told = counter.statistics()
    assert (told.casts, told.partly_failed, told.cancelled, told.failed_deliveries) == (2, 1, 1, 1)
    assert (told.delivered, told.bytes, told.mean_rate, told.since) == (0, 0, 0.0, 5.0)
    assert (told.nodes[0].delivered, told.nodes[0].failed) == (0, 1)


def test_the_peak_is_the_most_that_was_seen() -> None:
    counter = StatisticsCounter(CastTotals())
    assert counter.record_traffic(50.0, [("a", 30.0), ("b", 20.0)]) == ["a", "b"]
    assert counter.record_traffic(40.0, [("a", 40.0), ("b", 0.0)]) == ["a"]
    told = counter.statistics()
    assert told.peak_rate == 50.0
    assert [node.peak_rate for node in told.nodes] == [40.0, 20.0]


def test_a_peak_is_never_below_the_mean() -> None:
    counter = StatisticsCounter(CastTotals())
    counter.count_cast(
        result(CastState.COMPLETED, DeliverySnapshot("a", D.COMPLETED, bytes=1000, seconds=0.1)), 0.1
    )
    told = counter.statistics()
    assert told.peak_rate == told.nodes[0].peak_rate == pytest.approx(10_000)


times = st.integers(0, 60)


@given(st.lists(st.tuples(times, times).map(sorted), max_size=MAX_INTERVALS))
def test_no_second_is_counted_twice_however_casts_overlap(casts: list[list[int]]) -> None:
    busy = BusyIntervals()
    counted = sum(busy.add_interval(start, end) for start, end in casts)
    covered = {second for start, end in casts for second in range(start, end)}
    assert counted == pytest.approx(len(covered))


def traffic(at: float, rate: float, *nodes: str) -> Throughput:
    names = nodes or ("a",)
    return Throughput(at, rate * len(names), rate, tuple(NodeRate(name, rate, 0.0) for name in names))


def fill(log: TrafficHistory, start: float, seconds: float, rate: float, *nodes: str) -> None:
    for quarter in range(round(seconds * 4)):
        log.record(traffic(start + quarter / 4, rate, *nodes))
    log.record(traffic(start + seconds, 0.0, *nodes))


def test_a_steady_rate_is_the_same_at_every_resolution() -> None:
    log = TrafficHistory()
    fill(log, 1_200_000.0, 240.0, 100.0, "a", "b")
    for step, length in RESOLUTIONS:
        told = log.history(step * length, 1_200_240.0)
        assert told.step == step
        assert [sample.total for sample in told.samples] == pytest.approx([200.0] * len(told.samples))
        assert all(sample.nodes == {"a": 100.0, "b": 100.0} for sample in told.samples)
        assert len(told.samples) == 240 / step


def test_the_finest_steps_that_reach_back_far_enough() -> None:
    log = TrafficHistory()
    assert [log.history(seconds, 0.0).step for seconds in (60, 300, 1800, 3 * 3600, 86400)] == [
        *(1.0, 1.0, 5.0, 30.0, 120.0)
    ]


def test_recent_traffic_is_part_of_coarse_steps() -> None:
    log = TrafficHistory()
    fill(log, 1_200_000.0, 3.0, 100.0)
    (sample,) = log.history(86400, 1_200_006.0).samples
    assert sample.at == 1_200_006.0
    assert sample.total == pytest.approx(50.0)  # three of six seconds


def test_times_without_traffic_have_no_samples() -> None:
    log = TrafficHistory()
    fill(log, 1_200_000.0, 2.0, 100.0)
    fill(log, 1_200_200.0, 2.0, 100.0)
    assert [sample.at for sample in log.history(300, 1_200_202.0).samples] == [
        *(1_200_001.0, 1_200_002.0, 1_200_201.0, 1_200_202.0)
    ]


def test_a_rate_holds_no_longer_than_a_second_without_news() -> None:
    log = TrafficHistory()
    log.record(traffic(1_200_000.0, 100.0))
    for later in (0.5, 1.2, 1.9, 100.0):
        samples = log.history(300, 1_200_000.0 + later).samples
    assert sum(sample.total for sample in samples) == pytest.approx(100.0)


def test_saved_samples_are_restored() -> None:
    log, later = TrafficHistory(), TrafficHistory()
    fill(log, 1_200_000.0, 240.0, 100.0)
    kept = log.drain_completed(1_200_240.0)
    assert [step for step, _ in kept].count(30.0) == 8
    assert [step for step, _ in kept].count(120.0) == 2
    assert log.drain_completed(1_200_250.0) == []
    for step in (30.0, 120.0):
        later.restore(step, [sample for length, sample in kept if length == step])
        seconds = 10_800 if step == 30.0 else 86_400
        assert later.history(seconds, 1_200_300.0) == log.history(seconds, 1_200_300.0)


def test_of_many_nodes_the_busiest_are_kept() -> None:
    log = TrafficHistory()
    nodes = tuple(NodeRate(f"n{number}", 1.0 + number, 0.0) for number in range(1000))
    log.record(Throughput(1_200_000.0, 5e5, 1.0, nodes))
    (sample,) = log.history(300, 1_200_001.0).samples
    assert sorted(sample.nodes) == sorted(f"n{number}" for number in range(1000 - MAX_NODES, 1000))
    assert sample.total == pytest.approx(5e5)


@given(st.lists(st.tuples(st.floats(0.01, 40.0), st.floats(0.0, 1e9)), min_size=1, max_size=60))
def test_no_byte_is_lost_or_made_up_on_the_way_to_coarser_steps(news: list[tuple[float, float]]) -> None:
    log, at, moved = TrafficHistory(), 1_200_000.0, 0.0
    for pause, rate in news:
        log.record(traffic(at, rate))
        moved += rate * min(pause, 1.0)
        at += pause
    log.record(traffic(at, 0.0))
    now = at + 1000 - at % 120
    for step, length in RESOLUTIONS[1:]:
        samples: tuple[RateSample, ...] = log.history(step * length, now).samples
        assert sum(sample.total for sample in samples) * step == pytest.approx(moved, rel=1e-5, abs=1e-3)


def test_the_traffic_of_several_clusters_is_added_up() -> None:
    log = TrafficHistory()
    for quarter in range(8):
        log.record(traffic(1_200_000.0 + quarter / 4, 100.0, "a"), "local")
        log.record(traffic(1_200_000.1 + quarter / 4, 10.0, "b"), "10.0.0.1:6379")
    first, second = log.history(300, 1_200_002.0).samples
    assert first.nodes == {"a": pytest.approx(100.0), "b": pytest.approx(9.0)}
    assert second.total == pytest.approx(110.0)


def test_the_history_has_the_time_of_its_start() -> None:
    log = TrafficHistory(began=1_200_000.0)
    assert log.history(300, 1_200_060.0).since == 1_200_000.0
    assert log.history(300, 1_200_900.0).since == 1_200_600.0
    assert log.history(86400, 1_200_900.0).since == 1_200_900.0 - 86400  # kept across restarts
