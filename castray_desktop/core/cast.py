"""The states of a cast and of a delivery: one transition table each.

An event that the table does not name for a state is a mistake of the caller and raises
`IllegalEventError`. Casts and deliveries that have ended take no events, but for those which wait for nodes
that were offline.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping

from castray_desktop.core.failure import FailureKind
from castray_desktop.core.messages import (
    CastMode,
    CastState,
    CastSummary,
    DeliverySnapshot,
    DeliveryState,
)


class IllegalEventError(Exception):
    """An event came in a state that does not allow it."""


class DeliveryEvent(enum.Enum):
    """What can happen to a recipient's share of a cast."""

    FIRST_BYTES = "first bytes"
    ALL_BYTES = "all bytes"
    LANDED = "landed"
    IDENTICAL = "identical"
    SHARED = "shared"
    AWAY = "away"  # its node can't be reached now; it goes on when that is back
    PAUSED = "paused"
    RESUMED = "resumed"
    PUT_OFF = "put off"  # its node is offline; a cast of its own serves it later
    FAILED = "failed"
    CANCELLED = "cancelled"


class CastEvent(enum.Enum):
    """What can happen to a cast."""

    STARTED = "started"
    PREPARED = "prepared"
    ALL_BYTES = "all bytes"
    BYTES_MISSING = "bytes missing"  # again: somebody joined, or came back without them
    PAUSED = "paused"
    RESUMED = "resumed"  # it has to wait for its turn
    COMPLETED = "completed"
    PARTLY_FAILED = "partly failed"
    FAILED = "failed"
    CANCELLED = "cancelled"


_D = DeliveryState
_DE = DeliveryEvent
_C = CastState
_CE = CastEvent

_ANY_END_OF_DELIVERY = {
    _DE.FAILED: _D.FAILED,
    _DE.CANCELLED: _D.CANCELLED,
    _DE.PUT_OFF: _D.AWAITED,
}
_LANDING = {_DE.LANDED: _D.COMPLETED, _DE.IDENTICAL: _D.SKIPPED}

DELIVERY_TRANSITIONS: Mapping[DeliveryState, Mapping[DeliveryEvent, DeliveryState]] = {
    _D.WAITING: {
        _DE.FIRST_BYTES: _D.RECEIVING,
        _DE.ALL_BYTES: _D.VERIFYING,
        _DE.SHARED: _D.SHARED,
        _DE.AWAY: _D.WAITING,
        _DE.PAUSED: _D.PAUSED,
        **_LANDING,
        **_ANY_END_OF_DELIVERY,
    },
    _D.RECEIVING: {
        _DE.ALL_BYTES: _D.VERIFYING,
        _DE.AWAY: _D.WAITING,
        _DE.PAUSED: _D.PAUSED,
        **_LANDING,
        **_ANY_END_OF_DELIVERY,
    },
    _D.VERIFYING: {_DE.AWAY: _D.WAITING, **_LANDING, **_ANY_END_OF_DELIVERY},
    _D.PAUSED: {
        _DE.RESUMED: _D.WAITING,
        _DE.ALL_BYTES: _D.VERIFYING,  # they had been on their way: it lands nevertheless
        _DE.SHARED: _D.SHARED,
        _DE.AWAY: _D.PAUSED,
        **_LANDING,
        **_ANY_END_OF_DELIVERY,
    },
    _D.AWAITED: {  # what became of it in the cast that served it
        **_LANDING,
        _DE.SHARED: _D.SHARED,
        _DE.FAILED: _D.FAILED,
        _DE.CANCELLED: _D.CANCELLED,
    },
}

_ANY_END_OF_CAST = {_CE.FAILED: _C.FAILED, _CE.CANCELLED: _C.CANCELLED}

CAST_TRANSITIONS: Mapping[CastState, Mapping[CastEvent, CastState]] = {
    _C.QUEUED: {
        _CE.STARTED: _C.PREPARING,
        _CE.PAUSED: _C.PAUSED,
        _CE.COMPLETED: _C.COMPLETED,  # it had been paused, and what had all its bytes has landed
        _CE.PARTLY_FAILED: _C.PARTLY_FAILED,
        **_ANY_END_OF_CAST,
    },
    _C.PREPARING: {
        _CE.PREPARED: _C.SENDING,
        _CE.PAUSED: _C.PAUSED,
        _CE.COMPLETED: _C.COMPLETED,  # what an engine before this one had delivered counts
        _CE.PARTLY_FAILED: _C.PARTLY_FAILED,
        **_ANY_END_OF_CAST,
    },
    _C.SENDING: {
        _CE.ALL_BYTES: _C.VERIFYING,
        _CE.PAUSED: _C.PAUSED,
        _CE.COMPLETED: _C.COMPLETED,
        _CE.PARTLY_FAILED: _C.PARTLY_FAILED,
        **_ANY_END_OF_CAST,
    },
    _C.VERIFYING: {
        _CE.BYTES_MISSING: _C.SENDING,
        _CE.PAUSED: _C.PAUSED,
        _CE.COMPLETED: _C.COMPLETED,
        _CE.PARTLY_FAILED: _C.PARTLY_FAILED,
        **_ANY_END_OF_CAST,
    },
    _C.PAUSED: {
        _CE.RESUMED: _C.QUEUED,
        _CE.COMPLETED: _C.COMPLETED,  # what had all its bytes lands nevertheless
        _CE.PARTLY_FAILED: _C.PARTLY_FAILED,
        **_ANY_END_OF_CAST,
    },
    _C.PARTLY_FAILED: {  # once those that it waited for have been served
        _CE.COMPLETED: _C.COMPLETED,
        **_ANY_END_OF_CAST,
    },
}


def next_delivery_state(state: DeliveryState, event: DeliveryEvent) -> DeliveryState:
    """The state after `event`. Raises IllegalEventError."""
    try:
        return DELIVERY_TRANSITIONS[state][event]
    except KeyError:
        raise IllegalEventError(f"{event.value} while {state.value}") from None


def next_cast_state(state: CastState, event: CastEvent) -> CastState:
    """The state after `event`. Raises IllegalEventError."""
    try:
        return CAST_TRANSITIONS[state][event]
    except KeyError:
        raise IllegalEventError(f"{event.value} while {state.value}") from None


def outcome(deliveries: Iterable[DeliverySnapshot]) -> CastEvent:
    """How a cast has ended whose deliveries have all ended.

    A delivery that lacks only some of the files, by the source's fault, counts as a part; so does one that is
    put off until its node is there.
    """
    ended = list(deliveries)
    arrived = [item.state.delivered for item in ended]
    if ended and all(arrived):
        return CastEvent.COMPLETED
    parts = any(item.failure and item.failure.kind is FailureKind.FILES_FAILED for item in ended)
    if any(arrived) or parts or any(item.state is DeliveryState.AWAITED for item in ended):
        return CastEvent.PARTLY_FAILED
    if ended and all(item.state is DeliveryState.CANCELLED for item in ended):
        return CastEvent.CANCELLED
    return CastEvent.FAILED


def mode_for(recipients: int, others: int) -> CastMode:
    """The mode that follows from choosing `recipients` of the `others` that could receive."""
    if recipients == 1:
        return CastMode.UNICAST
    return CastMode.BROADCAST if recipients >= others else CastMode.MULTICAST


def cast_name(cast: CastSummary) -> str:
    """A cast's name in English, for command lines and programs: "model.bin and 2 more"."""
    return f"{cast.name} and {cast.others} more" if cast.others else cast.name
