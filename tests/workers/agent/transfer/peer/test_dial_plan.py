"""Which transport is tried when, and which one is remembered."""

from __future__ import annotations

import math

import pytest

from castray_desktop.core.casts.transfer_options import TransportOption
from castray_desktop.core.protocol.nodes.cast_parcel import Upstream
from castray_desktop.workers.agent.transfer.peer.dial import (
    ASK_SECONDS,
    MAX_REMEMBERED,
    RAY_SECONDS,
    REMEMBERED_SECONDS,
    KnownTransports,
    dial_plan,
)


def upstream(number: int) -> Upstream:
    return Upstream(f"node_{number}", "10.0.0.1", 7001)


UPSTREAM = upstream(0)


def test_normally_tcp_first_then_both_then_ray() -> None:
    assert dial_plan(TransportOption.AUTO, "direct") == (0.0, ASK_SECONDS, RAY_SECONDS)


def test_what_worked_loses_no_time() -> None:
    assert dial_plan(TransportOption.AUTO, "reverse").ask_after == 0.0
    assert dial_plan(TransportOption.AUTO, "ray") == (math.inf, math.inf, 0.0)


@pytest.mark.parametrize("known", ["direct", "reverse", "ray"])
def test_what_the_user_wants_holds_whatever_is_known(known: str) -> None:
    assert dial_plan(TransportOption.DIRECT, known).ray_after == math.inf
    assert dial_plan(TransportOption.DIRECT, known).dial_after == 0.0
    assert dial_plan(TransportOption.RAY, known) == (math.inf, math.inf, 0.0)


@pytest.mark.parametrize("known", ["direct", "reverse", "ray"])
def test_what_multicast_does_not_bring_comes_by_any_transport(known: str) -> None:
    assert dial_plan(TransportOption.UDP, known) == dial_plan(TransportOption.AUTO, known)


def test_the_normal_way_is_tried_again_now_and_then() -> None:
    known = KnownTransports()
    assert known.last_working(UPSTREAM, 0.0) == "direct"
    known.record(UPSTREAM, "reverse", 0.0)
    known.record(UPSTREAM, "reverse", REMEMBERED_SECONDS / 2)  # using it does not extend its time
    assert known.last_working(UPSTREAM, REMEMBERED_SECONDS - 1) == "reverse"
    assert known.last_working(UPSTREAM, REMEMBERED_SECONDS) == "direct"
    known.record(UPSTREAM, "ray", 1000.0)
    known.record(UPSTREAM, "direct", 1001.0)
    assert known.last_working(UPSTREAM, 1002.0) == "direct"


def test_what_is_remembered_is_bounded() -> None:
    known = KnownTransports()
    for number in range(MAX_REMEMBERED + 1):
        known.record(upstream(number), "ray", 0.0)
    assert known.last_working(upstream(0), 1.0) == "direct"
    assert known.last_working(upstream(1), 1.0) == "ray"
