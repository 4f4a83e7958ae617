"""What counts as fair, and which promises are named when they do not hold."""

from __future__ import annotations

import pytest

from benchmarks.casts_at_once import MIB, Outcome, Peak, jain, problems


@pytest.mark.parametrize(
    ("values", "index"), [([], 1.0), ([0, 0], 1.0), ([3, 3, 3], 1.0), ([1, 0, 0, 0], 0.25), ([1, 2], 0.9)]
)
def test_the_index_is_one_if_all_get_the_same(values: list[float], index: float) -> None:
    assert jain(values) == pytest.approx(index)


def test_broken_promises_are_named() -> None:
    good = Outcome(10.0, [9.0, 9.5, 10.0], [], {"engine": Peak(50 * MIB), "agent": Peak(60 * MIB)})
    assert problems(good, at_once=0) == []
    one_by_one = Outcome(10.0, [0.1 * number for number in range(1, 101)])
    assert problems(one_by_one, at_once=4) == []
    assert "unfair" in problems(one_by_one, at_once=0)[0]
    grown = Outcome(10.0, [10.0], rounds=[MIB * number for number in range(1, 41)])
    assert problems(grown, at_once=0) == ["the engine has grown by 20.0 MiB over the second half"]
    large = Outcome(10.0, [10.0], ["cast 1 to node_1: other bytes"], {"engine": Peak(900 * MIB)})
    assert problems(large, at_once=0) == [
        "cast 1 to node_1: other bytes",
        "engine: 900 MiB, more than 300",
    ]
