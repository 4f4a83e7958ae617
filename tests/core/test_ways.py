"""Which way is tried when, and what is remembered."""

from __future__ import annotations

import math

import pytest

from castray_desktop.core.ways import (
    ASK_SECONDS,
    MAX_REMEMBERED,
    RAY_SECONDS,
    REMEMBERED_SECONDS,
    KnownWays,
    plan,
)


def test_normally_tcp_first_then_both_then_ray() -> None:
    assert plan("auto", "direct") == (0.0, ASK_SECONDS, RAY_SECONDS)


def test_what_worked_loses_no_time() -> None:
    assert plan("auto", "reverse").ask_after == 0.0
    assert plan("auto", "ray") == (math.inf, math.inf, 0.0)


@pytest.mark.parametrize("known", ["direct", "reverse", "ray"])
def test_what_the_user_wants_holds_whatever_is_known(known: str) -> None:
    assert plan("direct", known).ray_after == math.inf
    assert plan("direct", known).dial_after == 0.0
    assert plan("ray", known) == (math.inf, math.inf, 0.0)


def test_another_word_is_no_transport() -> None:
    with pytest.raises(ValueError, match="carrier pigeon"):
        plan("carrier pigeon", "direct")


def test_the_normal_way_is_tried_again_now_and_then() -> None:
    known = KnownWays()
    assert known.of("a", 0.0) == "direct"
    known.learn("a", "reverse", 0.0)
    known.learn("a", "reverse", REMEMBERED_SECONDS / 2)  # using it does not hold it for longer
    assert known.of("a", REMEMBERED_SECONDS - 1) == "reverse"
    assert known.of("a", REMEMBERED_SECONDS) == "direct"
    known.learn("a", "ray", 1000.0)
    known.learn("a", "direct", 1001.0)
    assert known.of("a", 1002.0) == "direct"


def test_what_is_remembered_is_bounded() -> None:
    known = KnownWays()
    for number in range(MAX_REMEMBERED + 1):
        known.learn(str(number), "ray", 0.0)
    assert known.of("0", 1.0) == "direct"
    assert known.of("1", 1.0) == "ray"
