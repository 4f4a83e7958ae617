"""States of casts and deliveries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.casts.json_views import cast_form
from castray_desktop.core.casts.states import (
    CAST_TRANSITIONS,
    DELIVERY_TRANSITIONS,
    CastEvent,
    DeliveryEvent,
    IllegalEventError,
    cast_name,
    next_cast_state,
    next_delivery_state,
    outcome,
    recipients_mode,
)
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import CastMode, CastState, DeliverySnapshot, DeliveryState
from tests.helpers.samples import make_cast

COMPLETED = DeliverySnapshot("a", DeliveryState.COMPLETED)
SHARED = DeliverySnapshot("b", DeliveryState.SHARED)
FAILED = DeliverySnapshot("c", DeliveryState.FAILED, failure=Failure(FailureKind.NO_ROOM))
IN_PART = DeliverySnapshot("d", DeliveryState.FAILED, failure=Failure(FailureKind.FILES_FAILED))
AWAITED = DeliverySnapshot("f", DeliveryState.AWAITED, failure=Failure(FailureKind.NODE_AWAITED))
CANCELLED = DeliverySnapshot("e", DeliveryState.CANCELLED)


@pytest.mark.parametrize(
    ("first", "events", "next_state", "continued"),
    [
        (DeliveryState.WAITING, DeliveryEvent, next_delivery_state, DeliveryState.AWAITED),
        (CastState.QUEUED, CastEvent, next_cast_state, CastState.PARTLY_FAILED),
    ],
    ids=["delivery", "cast"],
)
@given(data=st.data())
def test_any_events_end_in_at_most_one_final_state(
    first: Any, events: Any, next_state: Callable[[Any, Any], Any], continued: Any, data: st.DataObject
) -> None:
    """`continued` is the one final state that another one may follow."""
    state, ends = first, 0
    for event in data.draw(st.lists(st.sampled_from(events))):
        before = state
        try:
            state = next_state(state, event)
        except IllegalEventError:
            continue
        assert state.finished or not before.finished
        ends += state.finished and state is not continued
    assert ends <= 1


def test_every_unfinished_state_can_fail_and_be_cancelled() -> None:
    for delivery in DELIVERY_TRANSITIONS.values():
        assert {DeliveryEvent.FAILED, DeliveryEvent.CANCELLED} <= set(delivery)
    for cast in CAST_TRANSITIONS.values():
        assert {CastEvent.FAILED, CastEvent.CANCELLED} <= set(cast)


@pytest.mark.parametrize(
    ("deliveries", "expected"),
    [
        ([COMPLETED, SHARED], CastEvent.COMPLETED),
        ([COMPLETED, FAILED], CastEvent.PARTLY_FAILED),
        ([IN_PART], CastEvent.PARTLY_FAILED),
        ([FAILED], CastEvent.FAILED),
        ([FAILED, CANCELLED], CastEvent.FAILED),
        ([CANCELLED], CastEvent.CANCELLED),
        ([COMPLETED, AWAITED], CastEvent.PARTLY_FAILED),
        ([AWAITED, CANCELLED], CastEvent.PARTLY_FAILED),
        ([], CastEvent.FAILED),
    ],
)
def test_the_outcome_follows_from_the_deliveries(
    deliveries: list[DeliverySnapshot], expected: CastEvent
) -> None:
    assert outcome(deliveries) is expected


def test_the_mode_follows_from_the_selection() -> None:
    assert recipients_mode(1, 3) is CastMode.UNICAST
    assert recipients_mode(2, 3) is CastMode.MULTICAST
    assert recipients_mode(3, 3) is CastMode.BROADCAST


def test_names_for_people() -> None:
    assert cast_name(make_cast("a.bin")) == "a.bin"
    assert cast_name(make_cast("configs/")) == "configs/"
    assert cast_name(make_cast("a", others=2)) == "a and 2 more"
    assert cast_form(make_cast("a", others=2)).name == "a and 2 more"
