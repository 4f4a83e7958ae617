"""Rates and remaining time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.casts.progress import (
    RateMeter,
    bytes_behind,
    longest_eta,
    median_rate,
    remaining_seconds,
)


def test_a_steady_flow_has_its_rate() -> None:
    meter = RateMeter()
    for step in range(20):
        meter.record(step * 0.25, step * 250)
    assert meter.rate(4.75) == pytest.approx(1000)


def test_the_rate_ignores_samples_older_than_its_window() -> None:
    meter = RateMeter()
    meter.record(0.0, 0)
    meter.record(1.0, 1000)
    for step in range(1, 13):
        meter.record(1.0 + step * 0.25, 1000)
    assert meter.rate(4.0) == 0


def test_the_rate_is_zero_before_anything_and_after_silence() -> None:
    meter = RateMeter()
    assert meter.rate(0.0) == 0
    meter.record(0.0, 0)
    assert meter.rate(0.0) == 0
    meter.record(1.0, 500)
    assert meter.rate(1.0) == 500
    assert meter.rate(10.0) == 0


@given(st.lists(st.tuples(st.floats(0.01, 5), st.integers(0, 10**9)), min_size=1))
def test_a_rate_is_never_negative(steps: list[tuple[float, int]]) -> None:
    meter, now, total = RateMeter(), 0.0, 0
    for seconds, count in steps:
        now, total = now + seconds, total + count
        meter.record(now, total)
        assert meter.rate(now) >= 0


def test_remaining_time() -> None:
    assert remaining_seconds(0, 0.0) == 0
    assert remaining_seconds(100, 0.0) is None
    assert remaining_seconds(100, 50.0) == 2
    assert longest_eta([1.0, 3.0]) == 3
    assert longest_eta([1.0, None]) is None
    assert longest_eta([]) is None
    assert median_rate([]) == 0
    assert median_rate([1.0, 5.0, 100.0]) == 5


def test_a_normal_distance_is_not_behind() -> None:
    assert bytes_behind(10_000_000, 0, 1e6) == 0
    assert bytes_behind(500_000_000, 0, 1e8) == 500_000_000
    assert bytes_behind(200_000_000, 0, 1e8) == 0


def test_the_first_bytes_come_at_once_and_are_no_rate() -> None:
    meter = RateMeter()
    meter.record(0.0, 0)
    meter.record(0.001, 12_000_000)
    assert meter.rate(0.001) == 120_000_000
    meter.record(1.0, 120_000_000)
    assert meter.rate(1.0) == 120_000_000
