"""Simulation of the real plans and moves, compared with the lower bound of every plan."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from benchmarks.simulate import Setting, classes, equal, simulate, spread
from castray_desktop.core.routing.route_plan import plan_route

SETTING = Setting(
    size=10 << 30, rate=1.25e9, hop_seconds=0.0013, failing=0.01, detect_seconds=0.5, order_seconds=0.02
)


@pytest.mark.parametrize(
    ("speeds", "count", "over"), [(equal, 10, 1.02), (spread, 100, 1.1), (classes, 300, 1.15)]
)
def test_the_last_node_ends_close_to_the_limit(
    speeds: Callable[[int, float, random.Random], list[float]], count: int, over: float
) -> None:
    chance = random.Random(1)
    relative = speeds(count, 2.0, chance)
    outcome = simulate(SETTING, relative, True, chance)
    assert outcome.limit - 0.001 <= outcome.last <= over * outcome.limit
    assert outcome.copies == pytest.approx(1.0, abs=0.01)
    assert outcome.moves == 0


def test_survivors_of_many_failures_get_everything() -> None:
    chance = random.Random(2)
    setting = Setting(1 << 30, 1.25e9, 0.0013, 0.3, 0.2, 0.02)
    outcome = simulate(setting, spread(60, 2.0, chance), True, chance)
    assert outcome.last < 10


def remembered_wrongly(recipients: int) -> dict[str, dict[int, float]]:
    """Speeds that a catch-up or a cache may have left behind, where all nodes are equal; 0 is the source."""
    usual = dict.fromkeys(range(recipients + 1), 1.12)
    return {
        "two fast": usual | {1: 3.92, 2: 3.92},
        "one fast": usual | {1: 3.92},
        "the source fast": usual | {0: 3.92},
        "source and two fast": usual | {0: 3.92, 1: 3.92, 2: 3.92},
        "two slow": usual | {1: 0.25, 2: 0.25},
        "half of them fast": {number: 3.92 if number % 2 else 1.12 for number in usual},
        "two known alone": {1: 3.92, 2: 3.92},
    }


@pytest.mark.parametrize(
    ("recipients", "megabytes"),
    [*itertools.product((3, 5, 8, 16, 40, 100), (30, 100, 300)), (8, 2000)],
)
def test_no_memory_costs_more_than_a_tenth(recipients: int, megabytes: int) -> None:
    setting = Setting(megabytes * 1_000_000, 25e6, 0.0021, 0.0, 0.5, 0.05)  # links of 200 Mbit/s
    chance, alike = random.Random(1), [1.0] * recipients
    without = simulate(setting, alike, False, chance)
    for what, wrong in remembered_wrongly(recipients).items():
        found = simulate(setting, alike, False, chance, wrong)
        assert found.last <= 1.1 * without.last, what
        assert found.moves <= 2, what


def test_a_route_that_fans_out_below_slow_nodes_becomes_a_chain() -> None:
    """Without the watch, the time grows with the number of nodes that the wrongly remembered node feeds."""
    setting = Setting(2_000_000_000, 25e6, 0.0021, 0.0, 0.5, 0.05)
    wrong = remembered_wrongly(100)["two fast"]
    chance, alike = random.Random(1), [1.0] * 100
    names = ["source", *(f"n{number}" for number in range(100))]
    known = {names[number]: speed * setting.rate for number, speed in wrong.items()}
    route = plan_route("source", names[1:], speeds=known, size=300_000_000)
    assert max(map(len, route.downstreams.values())) > 1
    found = simulate(replace(setting, size=300_000_000), alike, False, chance, wrong)
    assert found.moves >= 1
    assert found.last < 1.3
