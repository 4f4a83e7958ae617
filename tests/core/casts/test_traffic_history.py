"""The traffic of the last day, averaged over steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.casts.traffic_history import MAX_NODES, RESOLUTIONS, TrafficHistory
from castray_desktop.core.protocol.messages import NodeRate, RateSample, Throughput


def traffic(at: float, rate: float, *nodes: str) -> Throughput:
    names = nodes or ("a",)
    return Throughput(at, rate * len(names), rate, tuple(NodeRate(name, rate, 0.0) for name in names))


def fill(log: TrafficHistory, start: float, seconds: float, rate: float, *nodes: str) -> None:
    for quarter in range(round(seconds * 4)):
        log.record(traffic(start + quarter / 4, rate, *nodes))
    log.record(traffic(start + seconds, 0.0, *nodes))


def test_a_steady_rate_is_told_at_every_resolution() -> None:
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


def test_what_has_just_been_is_told_in_coarse_steps_as_well() -> None:
    log = TrafficHistory()
    fill(log, 1_200_000.0, 3.0, 100.0)
    (sample,) = log.history(86400, 1_200_006.0).samples
    assert sample.at == 1_200_006.0
    assert sample.total == pytest.approx(50.0)  # three of six seconds


def test_nothing_is_told_of_times_without_traffic() -> None:
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


def test_what_was_taken_to_be_kept_comes_back() -> None:
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


def test_of_very_many_nodes_the_busiest_are_told() -> None:
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


def test_it_says_since_when_it_knows() -> None:
    log = TrafficHistory(began=1_200_000.0)
    assert log.history(300, 1_200_060.0).since == 1_200_000.0
    assert log.history(300, 1_200_900.0).since == 1_200_600.0
    assert log.history(86400, 1_200_900.0).since == 1_200_900.0 - 86400  # kept across restarts
