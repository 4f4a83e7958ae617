"""Scale on paper: the real plans and moves against what no plan can beat."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from benchmarks.simulate import Setting, classes, equal, simulate, spread

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


def test_whoever_survives_gets_everything_where_many_fail() -> None:
    chance = random.Random(2)
    setting = Setting(1 << 30, 1.25e9, 0.0013, 0.3, 0.2, 0.02)
    outcome = simulate(setting, spread(60, 2.0, chance), True, chance)
    assert outcome.last < 10
