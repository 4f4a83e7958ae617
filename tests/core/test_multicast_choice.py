"""Whether a cast goes to a multicast group: what was asked for, and what is known."""

from __future__ import annotations

import pytest

from castray_desktop.core.messages import Ways
from castray_desktop.core.multicast_choice import (
    FRESH_SECONDS,
    LEAST_BYTES,
    Choice,
    Known,
    Start,
    choose,
    start,
    trial,
)
from castray_desktop.core.speeds import Speed, WayMeter

GIB = 1 << 30
NOW = 1e9
MB = 1_000_000


def known(relay: float | None = None, multicast: float | None = None, when: float = NOW) -> Known:
    return Known(*(None if rate is None else Speed(rate, when) for rate in (relay, multicast)))


@pytest.mark.parametrize("listeners", [0, 1, 8])
@pytest.mark.parametrize("knows", [known(), known(100, 0), known(100, 50)])
def test_who_asks_for_it_gets_it(listeners: int, knows: Known) -> None:
    assert choose(Ways.UDP, listeners, 1, 5 * MB, knows) is Choice.MULTICAST


@pytest.mark.parametrize(
    ("asked", "listeners", "size", "limit"),
    [
        (Ways.DIRECT, 8, GIB, 0),
        (Ways.RAY, 8, GIB, 0),
        (Ways.AUTO, 2, GIB, 0),
        (Ways.AUTO, 8, LEAST_BYTES - 1, 0),
        (Ways.AUTO, 8, GIB, MB),
    ],
)
def test_where_nothing_is_to_be_won_it_is_the_relay(
    asked: Ways, listeners: int, size: int, limit: int
) -> None:
    assert choose(asked, listeners, size, limit, known(50 * MB, 100 * MB)) is Choice.RELAY


@pytest.mark.parametrize(
    ("knows", "expected"),
    [
        (known(), Choice.TRIAL),
        (known(relay=100), Choice.TRIAL),
        (known(multicast=100), Choice.TRIAL),  # faster than what?
        (known(multicast=0), Choice.RELAY),
        (known(relay=100, multicast=0), Choice.RELAY),
        (known(relay=100, multicast=109), Choice.RELAY),
        (known(relay=100, multicast=111), Choice.MULTICAST),
    ],
)
def test_auto_goes_by_what_is_known(knows: Known, expected: Choice) -> None:
    assert choose(Ways.AUTO, 3, LEAST_BYTES, 0, knows) is expected


def test_what_is_old_is_not_known() -> None:
    old = known(100, 0, NOW - FRESH_SECONDS - 1)
    assert old.fresh(NOW) == Known()
    assert known(100, 0).fresh(NOW + FRESH_SECONDS) == known(100, 0)


def test_auto_wants_at_least_the_relay_and_who_asks_for_it_half_of_that() -> None:
    assert start(Ways.AUTO, known(100, 200)) == Start(200, 100)
    assert start(Ways.UDP, known(100, 200)) == Start(200, 50)
    assert start(Ways.UDP, known()) == Start(0, 0)


def test_a_trial_needs_a_speed_to_beat_and_a_cast_that_takes_long() -> None:
    rate = 100 * MB
    assert trial(2.0, rate, 41 * rate) == Start(rate, 110 * MB)
    assert trial(2.0, rate, 39 * rate) is None
    assert trial(1.9, rate, 41 * rate) is None
    assert trial(2.0, 0.0, 41 * rate) is None


def test_a_way_is_measured_while_bytes_come() -> None:
    meter = WayMeter()
    meter.look(-5.0, 0)  # until the first bytes come
    for tenth in range(31):
        meter.look(tenth / 10, 10 * MB * (tenth // 5))  # reports come in steps
    assert meter.rate == pytest.approx(20 * MB)
    meter.look(60.0, 60 * MB)  # nothing more: it had ended
    assert meter.rate == pytest.approx(20 * MB)


def test_what_came_by_another_way_does_not_count() -> None:
    meter = WayMeter()
    for second in range(4):
        meter.look(float(second), second * 10 * MB)
    meter.rest()
    for second in range(10, 14):
        meter.look(float(second), 500 * MB + second * 10 * MB)
    assert (meter.seconds, meter.rate) == (4.0, 10 * MB)


def test_a_count_that_begins_anew_is_no_speed() -> None:
    meter = WayMeter()
    for second, count in enumerate((0, 10, 20, 30, 0, 10, 20)):
        meter.look(float(second), count * MB)
    assert meter.rate == 10 * MB


def test_a_moment_says_nothing() -> None:
    meter = WayMeter()
    for tenth in range(10):
        meter.look(tenth / 10, tenth * 10 * MB)
    assert meter.rate == 0.0
