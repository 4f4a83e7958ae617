"""Which curves count as flat."""

from __future__ import annotations

import random

import pytest

from benchmarks.soak.flatness import HOUR, MIB, Limit, judge
from benchmarks.soak.soak_curves import Panel, draw_curves, nice_step

LIMIT = Limit(8 * MIB, 4 * MIB)
RUN = 2 * HOUR


def line(begin: float, end: float, slope: float, noise: float = 0.0) -> list[tuple[float, float]]:
    """Samples every five seconds; the slope is per hour."""
    chance = random.Random(1)
    times = [begin + 5.0 * number for number in range(int((end - begin) / 5))]
    return [(at, 100 * MIB + slope * (at - begin) / HOUR + chance.uniform(-noise, noise)) for at in times]


def test_a_constant_with_noise_is_flat() -> None:
    verdict = judge("x", {1: line(0, RUN, 0.0, 5 * MIB)}, LIMIT, RUN)
    assert verdict.flat
    assert verdict.slope == pytest.approx(0.0, abs=MIB)


def test_steady_growth_is_not_flat_and_its_slope_is_measured() -> None:
    verdict = judge("x", {1: line(0, RUN, 20.0 * MIB, 2 * MIB)}, LIMIT, RUN)
    assert not verdict.flat
    assert verdict.slope == pytest.approx(20 * MIB, rel=0.1)


def test_growth_at_the_beginning_is_warming_up() -> None:
    points = [(at, min(value, 105 * MIB)) for at, value in line(0, RUN, 20.0 * MIB)]
    assert judge("x", {1: points}, LIMIT, RUN).flat


def test_a_restart_does_not_hide_growth() -> None:
    """A saw: each process grows, the next one begins at the bottom."""
    lives = {pid: line(pid * 1800.0, (pid + 1) * 1800.0, 20.0 * MIB) for pid in range(4)}
    verdict = judge("x", lives, LIMIT, RUN)
    assert not verdict.flat
    assert verdict.slope == pytest.approx(20 * MIB, rel=0.1)


def test_a_larger_successor_is_not_growth() -> None:
    lives = {
        pid: [(at, value + pid * 10 * MIB) for at, value in line(pid * 1800.0, (pid + 1) * 1800.0, 0.0)]
        for pid in range(4)
    }
    assert judge("x", lives, LIMIT, RUN).flat


def test_outliers_do_not_count() -> None:
    points = [
        (at, value + (500 * MIB if number % 20 == 0 else 0))
        for number, (at, value) in enumerate(line(0, RUN, 0.0))
    ]
    assert judge("x", {1: points}, LIMIT, RUN).flat


def test_steep_growth_below_the_noise_is_flat_in_a_short_run() -> None:
    assert judge("x", {1: line(0, 600.0, 20.0 * MIB)}, LIMIT, 600.0).flat


def test_short_lives_are_not_judged() -> None:
    verdict = judge(
        "x", {pid: line(pid * 60.0, pid * 60.0 + 50, 900.0 * MIB) for pid in range(120)}, LIMIT, RUN
    )
    assert verdict.slope is None
    assert verdict.flat


@pytest.mark.parametrize(
    ("highest", "step"), [(1.0, 0.2), (7.0, 2.0), (35.0, 10.0), (120.0, 20.0), (0.0, 1.0)]
)
def test_scales_have_round_steps(highest: float, step: float) -> None:
    assert nice_step(highest) == pytest.approx(step)


def test_a_line_is_interrupted_where_the_process_was_replaced() -> None:
    picture = draw_curves("label", [Panel("Memory", {"engine": [[(0, 1), (1, 2)], [(2, 1), (3, 1)]]})], 3.0)
    path = picture.partition('<path class="c0" d="')[2].partition('"')[0]
    assert path.count("M") == 2
    assert ">engine</text>" in picture


def test_a_peak_is_not_lost_among_many_points() -> None:
    points = [(number / 100, 50.0 if number == 777 else 1.0) for number in range(5000)]
    picture = draw_curves("label", [Panel("Memory", {"engine": [points]})], 50.0)
    path = picture.partition('<path class="c0" d="')[2].partition('"')[0]
    heights = [float(point.split()[1]) for point in path.removeprefix("M").split(" L")]
    assert min(heights) < min(height for height in heights if height != min(heights)) - 50
    assert len(heights) <= 360
