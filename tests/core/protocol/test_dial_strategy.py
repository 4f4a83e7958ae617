"""Which transport is tried when, and which one is remembered."""

from __future__ import annotations

import math

import pytest

from castray_desktop.core.protocol.nodes.dial_strategy import (
    ASK_SECONDS,
    MAX_REMEMBERED,
    RAY_SECONDS,
    REMEMBERED_SECONDS,
    KnownTransports,
    dial_plan,
)


def test_normally_tcp_first_then_both_then_ray() -> None:
    assert dial_plan("auto", "direct") == (0.0, ASK_SECONDS, RAY_SECONDS)


def test_what_worked_loses_no_time() -> None:
    assert dial_plan("auto", "reverse").ask_after == 0.0
    assert dial_plan("auto", "ray") == (math.inf, math.inf, 0.0)


@pytest.mark.parametrize("known", ["direct", "reverse", "ray"])
def test_what_the_user_wants_holds_whatever_is_known(known: str) -> None:
    assert dial_plan("direct", known).ray_after == math.inf
    assert dial_plan("direct", known).dial_after == 0.0
    assert dial_plan("ray", known) == (math.inf, math.inf, 0.0)


@pytest.mark.parametrize("known", ["direct", "reverse", "ray"])
def test_what_multicast_does_not_bring_comes_by_any_transport(known: str) -> None:
    assert dial_plan("udp", known) == dial_plan("auto", known)


def test_another_word_is_no_transport() -> None:
    with pytest.raises(ValueError, match="carrier pigeon"):
        dial_plan("carrier pigeon", "direct")


def test_the_normal_way_is_tried_again_now_and_then() -> None:
    known = KnownTransports()
    assert known.last_working("a", 0.0) == "direct"
    known.record("a", "reverse", 0.0)
    known.record("a", "reverse", REMEMBERED_SECONDS / 2)  # using it does not extend its time
    assert known.last_working("a", REMEMBERED_SECONDS - 1) == "reverse"
    assert known.last_working("a", REMEMBERED_SECONDS) == "direct"
    known.record("a", "ray", 1000.0)
    known.record("a", "direct", 1001.0)
    assert known.last_working("a", 1002.0) == "direct"


def test_what_is_remembered_is_bounded() -> None:
    known = KnownTransports()
    for number in range(MAX_REMEMBERED + 1):
        known.record(str(number), "ray", 0.0)
    assert known.last_working("0", 1.0) == "direct"
    assert known.last_working("1", 1.0) == "ray"
