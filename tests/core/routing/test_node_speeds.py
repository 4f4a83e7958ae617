"""Node speeds: measuring them in a relay, averaging and expiry."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.routing.node_speeds import (
    HALF_LIFE_SECONDS,
    OLD_SECONDS,
    KnownSpeed,
    SpeedMeasurement,
    SpeedMeter,
    average_speed,
    quantized_rate,
)
from castray_desktop.core.routing.route_plan import Route

MB = 1_000_000
CHAIN = Route("s", dict(itertools.pairwise(["c", "b", "a", "s"])))


def measured(rates: dict[str, float], route: Route = CHAIN, seconds: int = 4) -> dict[str, SpeedMeasurement]:
    meter = SpeedMeter()
    for quarter in range(4 * seconds + 1):
        now = quarter / 4
        meter.update(now, route, {node: int(rate * now) for node, rate in rates.items()})
    return meter.measured()


def test_who_keeps_up_shows_the_least_that_it_can_do() -> None:
    found = measured({"a": 100 * MB, "b": 100 * MB, "c": 100 * MB})
    assert {node: measure.exact for node, measure in found.items()} == dict.fromkeys("abcs", False)
    assert all(measure.rate == pytest.approx(100 * MB) for measure in found.values())


def test_who_is_behind_shows_its_own_speed() -> None:
    found = measured({"a": 100 * MB, "b": 20 * MB, "c": 20 * MB})
    assert found["b"].exact
    assert found["b"].rate == pytest.approx(20 * MB)
    assert not found["c"].exact
    assert found["a"] == SpeedMeasurement(pytest.approx(100 * MB), exact=False)


def test_a_rate_near_its_limit_is_no_speed_of_a_node() -> None:
    meter = SpeedMeter()
    for now in range(5):
        progress = {"a": 200 * MB + 20 * MB * now, "b": 20 * MB * now, "c": 20 * MB * now}
        meter.update(now, CHAIN, progress, hop_limit=lambda _: 20 * MB)
    assert not meter.measured()["b"].exact


def test_who_shares_an_upstream_is_not_measured_exactly() -> None:
    tree = Route("s", {"a": "s", "b": "a", "c": "a"})
    found = measured({"a": 100 * MB, "b": 50 * MB, "c": 50 * MB}, tree)
    assert not found["b"].exact
    assert found["a"].rate == pytest.approx(100 * MB)


def test_who_passes_on_more_than_it_takes_in_can_do_that() -> None:
    tree = Route("s", {"a": "s", "b": "s"})
    assert measured({"a": 100 * MB, "b": 70 * MB}, tree)["s"].rate == pytest.approx(170 * MB)


def test_a_cast_that_is_over_at_once_shows_nothing() -> None:
    assert measured({"a": 100 * MB, "b": 100 * MB}, seconds=0) == {}


def test_a_span_in_which_the_upstream_changed_does_not_count() -> None:
    meter = SpeedMeter()
    meter.update(0.0, CHAIN, {"a": 0, "b": 0, "c": 0})
    moved = CHAIN.without_node("b")
    meter.update(1.0, moved, {"a": 100 * MB, "c": 5 * MB})
    assert "c" not in meter.measured()


def test_a_burst_out_of_a_buffer_teaches_nothing() -> None:
    """A node catches up at 98 MB/s for two seconds, on a link that carries 25."""

    def done(now: float) -> int:
        return int(25 * MB * now + 73 * MB * min(max(now - 4, 0), 2))

    meter = SpeedMeter()
    for quarter in range(41):
        now = quarter / 4
        meter.update(now, CHAIN, {"a": int(25 * MB * now), "b": done(now), "c": done(now)})
    assert {round(measure.rate / MB) for measure in meter.measured().values()} == {25}


def test_what_a_node_finds_on_its_own_disk_teaches_nothing() -> None:
    meter = SpeedMeter()
    for quarter in range(41):
        now = quarter / 4
        came = {node: int(25 * MB * now) for node in "abc"}
        meter.update(now, CHAIN, {**came, "b": int(125 * MB * now)}, came)
    assert {round(measure.rate / MB) for measure in meter.measured().values()} == {25}


def test_a_rate_that_did_not_last_teaches_nothing() -> None:
    assert measured({"a": 100 * MB, "b": 100 * MB, "c": 100 * MB}, seconds=2) == {}


def test_what_was_known_wrongly_is_replaced() -> None:
    meter = SpeedMeter()
    meter.correct("a", 25.0)
    (measure,) = meter.measured().values()
    assert average_speed(KnownSpeed(98.0, 0.0), measure, now=1.0) == KnownSpeed(25.0, 1.0)


def test_an_exact_measure_is_averaged_in() -> None:
    known = average_speed(KnownSpeed(100.0, 0.0), SpeedMeasurement(20.0, exact=True), now=0.0)
    assert known == KnownSpeed(60.0, 0.0)


def test_old_knowledge_weighs_less_and_then_nothing() -> None:
    measure = SpeedMeasurement(20.0, exact=True)
    later = average_speed(KnownSpeed(100.0, 0.0), measure, now=HALF_LIFE_SECONDS)
    assert later.rate == pytest.approx(40.0)
    assert average_speed(KnownSpeed(100.0, 0.0), measure, now=OLD_SECONDS + 1).rate == 20.0


def test_the_least_does_not_lower_what_is_known() -> None:
    known = KnownSpeed(100.0, 0.0)
    assert average_speed(known, SpeedMeasurement(20.0, exact=False), now=5.0) == known
    assert average_speed(known, SpeedMeasurement(200.0, exact=False), now=0.0).rate == 150.0


@given(st.floats(1.0, 1e12), st.floats(1.0, 1e12))
def test_comparable_speeds_keep_their_order_and_differ_by_a_step_at_most(one: float, other: float) -> None:
    assert abs(quantized_rate(one) / one - 1) < 0.05
    if one <= other:
        assert quantized_rate(one) <= quantized_rate(other)
