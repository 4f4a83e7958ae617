"""A node that feeds several others over a slow link is found; one without an alternative is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from castray_desktop.core.routing.fan_out_watch import FanOutWatch, SlowFanOut
from castray_desktop.core.routing.route_plan import Route

MB = 1_000_000
TOTAL = 300 * MB
TREE = Route("s", {"f": "s", "a": "f", "b": "f", "c": "f"})


def watch(
    rates: Callable[[str, float], float],
    *,
    route: Route = TREE,
    limit: float = 0.0,
    zones: dict[str, str] | None = None,
    seconds: float = 4.0,
) -> list[tuple[float, SlowFanOut]]:
    """The findings over this number of seconds; `rates` are the bytes of a node after a number of seconds."""
    watch = FanOutWatch(zones or {}, limit)
    found = []
    for look in range(int(seconds * 4) + 1):
        now = look / 4
        progress = {node: min(TOTAL, int(rates(node, now))) for node in route.upstreams}
        slow = watch.update(now, route, progress, TOTAL)
        if slow is not None:
            found.append((now, slow))
    return found


def slow_fan_out(node: str, now: float) -> float:
    """200 Mbit/s in, and a third of that for each child."""
    return now * (25 * MB if node == "f" else 25 * MB / 3)


def test_it_is_found_within_two_seconds() -> None:
    (when, slow), *_ = watch(slow_fan_out)
    assert when <= 2.0
    assert slow == SlowFanOut("f", pytest.approx(25 * MB, rel=0.01))


def test_one_that_is_as_fast_as_it_was_taken_for_is_left_alone() -> None:
    assert watch(lambda node, now: 25 * MB * now) == []  # all have received what was available


def test_a_source_that_feeds_several_on_one_line_is_found() -> None:
    (_, slow), *_ = watch(lambda node, now: now * 8 * MB, route=Route("s", {"a": "s", "b": "s", "c": "s"}))
    assert slow.node == "s"


def test_under_the_casts_own_limit_a_chain_is_no_faster() -> None:
    assert watch(slow_fan_out, limit=25 * MB / 3) == []


def test_what_enters_another_zone_is_limited_by_the_border() -> None:
    assert watch(slow_fan_out, zones={"a": "x", "b": "x", "c": "x"}) == []


def test_the_end_of_a_cast_is_not_worth_a_change() -> None:
    def nearly(node: str, now: float) -> float:
        return TOTAL - 20 * MB + slow_fan_out(node, now) if node != "f" else TOTAL

    assert watch(nearly) == []


def test_nothing_that_was_looked_at_before_a_pause_counts() -> None:
    fan_out = FanOutWatch({}, 0.0)
    for now in (0.25, 0.5, 5.0, 5.25):
        progress = {node: int(slow_fan_out(node, now)) for node in TREE.upstreams}
        assert fan_out.update(now, TREE, progress, TOTAL) is None


def test_the_chain_begins_with_those_that_have_most_and_keeps_zones_together() -> None:
    route, moves = TREE.chained({"f": 100, "a": 10, "b": 30, "c": 20})
    assert dict(route.upstreams) == {"f": "s", "b": "f", "c": "b", "a": "c"}
    assert {(move.node, move.upstream) for move in moves} == {("c", "b"), ("a", "c")}
    zoned, _ = TREE.chained({"f": 1, "a": 2, "b": 9, "c": 3}, {"f": "x", "a": "y", "b": "x", "c": "y"})
    assert dict(zoned.upstreams) == {"b": "s", "f": "b", "c": "f", "a": "c"}
