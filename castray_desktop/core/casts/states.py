"""States of a cast, of a delivery and of the source failover: one transition table each.

An event that the table does not list for a state is an error of the caller and raises
`IllegalEventError`. Final states accept no event, except those of casts and deliveries that wait for
offline nodes.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping
from typing import TypeVar

from castray_desktop.core.content.file_outcomes import FileCounts
from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.messages import (
    CastMode,
    CastState,
    CastSummary,
    DeliverySnapshot,
    DeliveryState,
)

State = TypeVar("State", bound=enum.Enum)
StateEvent = TypeVar("StateEvent", bound=enum.Enum)


class IllegalEventError(Exception):
    """An event occurred in a state that does not allow it."""


class DeliveryEvent(enum.Enum):
    """Events of a delivery."""

    FIRST_BYTES = "first bytes"
    ALL_BYTES = "all bytes"
    COMMITTED = "committed"
    IDENTICAL = "identical"
    SHARED = "shared"
    AWAY = "away"  # its node is unreachable; it continues when the node returns
    PAUSED = "paused"
    RESUMED = "resumed"
    DEFERRED = "deferred"  # its node is offline; another cast serves it later
    FAILED = "failed"
    CANCELLED = "cancelled"


class CastEvent(enum.Enum):
    """Events of a cast."""

    STARTED = "started"
    PREPARED = "prepared"
    ALL_BYTES = "all bytes"
    BYTES_MISSING = "bytes missing"  # again: a recipient was added, or returned without them
    PAUSED = "paused"
    RESUMED = "resumed"  # it has to be admitted again
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
    _DE.DEFERRED: _D.AWAITED,
}

_COMMITTED = {_DE.COMMITTED: _D.COMPLETED, _DE.IDENTICAL: _D.SKIPPED}

DELIVERY_TRANSITIONS: Mapping[DeliveryState, Mapping[DeliveryEvent, DeliveryState]] = {
    _D.WAITING: {
        _DE.FIRST_BYTES: _D.RECEIVING,
        _DE.ALL_BYTES: _D.VERIFYING,
        _DE.SHARED: _D.SHARED,
        _DE.AWAY: _D.WAITING,
        _DE.PAUSED: _D.PAUSED,
        **_COMMITTED,
        **_ANY_END_OF_DELIVERY,
    },
    _D.RECEIVING: {
        _DE.ALL_BYTES: _D.VERIFYING,
        _DE.AWAY: _D.WAITING,
        _DE.PAUSED: _D.PAUSED,
        **_COMMITTED,
        **_ANY_END_OF_DELIVERY,
    },
    _D.VERIFYING: {_DE.AWAY: _D.WAITING, **_COMMITTED, **_ANY_END_OF_DELIVERY},
    _D.PAUSED: {
        _DE.RESUMED: _D.WAITING,
        _DE.ALL_BYTES: _D.VERIFYING,  # they were in flight: it is committed nevertheless
        _DE.SHARED: _D.SHARED,
        _DE.AWAY: _D.PAUSED,
        **_COMMITTED,
        **_ANY_END_OF_DELIVERY,
    },
    _D.AWAITED: {  # the outcome in the cast that served it
        **_COMMITTED,
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
        _CE.COMPLETED: _C.COMPLETED,  # it had been paused, and complete deliveries were committed
        _CE.PARTLY_FAILED: _C.PARTLY_FAILED,
        **_ANY_END_OF_CAST,
    },
    _C.PREPARING: {
        _CE.PREPARED: _C.SENDING,
        _CE.PAUSED: _C.PAUSED,
        _CE.COMPLETED: _C.COMPLETED,  # deliveries that a previous engine completed count
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
        _CE.COMPLETED: _C.COMPLETED,  # complete deliveries are committed nevertheless
        _CE.PARTLY_FAILED: _C.PARTLY_FAILED,
        **_ANY_END_OF_CAST,
    },
    _C.PARTLY_FAILED: {  # once its deferred deliveries have ended
        _CE.COMPLETED: _C.COMPLETED,
        **_ANY_END_OF_CAST,
    },
}


def _next_state(table: Mapping[State, Mapping[StateEvent, State]], state: State, event: StateEvent) -> State:
    try:
        return table[state][event]
    except KeyError:
        raise IllegalEventError(f"{event.value} while {state.value}") from None


def next_delivery_state(state: DeliveryState, event: DeliveryEvent) -> DeliveryState:
    """The state after `event`. Raises IllegalEventError."""
    return _next_state(DELIVERY_TRANSITIONS, state, event)


def next_cast_state(state: CastState, event: CastEvent) -> CastState:
    """The state after `event`. Raises IllegalEventError."""
    return _next_state(CAST_TRANSITIONS, state, event)


def outcome(deliveries: Iterable[DeliverySnapshot]) -> CastEvent:
    """The outcome of a cast whose deliveries have all ended.

    A delivery that lacks only some files, because of the source, counts as partial; so does a deferred one.
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


def common_counts(deliveries: Iterable[DeliverySnapshot]) -> FileCounts | None:
    """What became of the files, if every recipient that has reported it reports the same."""
    found = {item.counts for item in deliveries if item.counts}
    return found.pop() if len(found) == 1 else None


def recipients_mode(recipients: int, others: int) -> CastMode:
    """The recipients mode for `recipients` of the `others` that could receive."""
    if recipients == 1:
        return CastMode.UNICAST
    return CastMode.BROADCAST if recipients >= others else CastMode.MULTICAST


def have_files_changed(cast: CastSummary) -> bool:
    """Whether this attempt of a cast sends other files, or other versions of them, than the one before."""
    before = cast.attempts[-1].contents if cast.attempts else ""
    return bool(before and cast.contents) and cast.contents != before


def cast_name(cast: CastSummary) -> str:
    """A cast's name in English, for command lines and programs: "model.bin and 2 more"."""
    return f"{cast.name} and {cast.others} more" if cast.others else cast.name


def waits_for_server(cast: CastSummary) -> bool:
    """Whether the server of its files lets it wait; the reason is in its failure."""
    waits = cast.failure is not None and cast.failure.kind is FailureKind.SERVER_AWAITED
    return waits and not cast.state.finished


def seconds_to_next_try(cast: CastSummary, wall: float) -> int:
    """Whole seconds until the server that it waits for is asked again; 0 if that is not known, or now."""
    return max(0, math.ceil(cast.next_try - wall)) if waits_for_server(cast) and cast.next_try else 0


class FailoverState(enum.Enum):
    """Where the bytes of a cast come from."""

    SCANNING = "scanning"  # the source scans
    SERVING = "serving"  # the source serves
    AWAY = "away"  # its agent is gone, and no recipient is complete
    REPLACED = "replaced"  # a complete recipient serves the others


class FailoverEvent(enum.Enum):
    """Events of the source failover."""

    SCANNED = "scanned"
    LOST = "lost"  # the serving node went away
    BACK = "back"  # the source has a new agent, without state
    TAKEN_OVER = "taken over"


_S = FailoverState

_E = FailoverEvent

FAILOVER_TRANSITIONS: Mapping[FailoverState, Mapping[FailoverEvent, FailoverState]] = {
    _S.SCANNING: {_E.SCANNED: _S.SERVING, _E.LOST: _S.AWAY},
    _S.SERVING: {_E.LOST: _S.AWAY},
    _S.AWAY: {_E.BACK: _S.SCANNING, _E.TAKEN_OVER: _S.REPLACED},
    _S.REPLACED: {_E.LOST: _S.AWAY},
}


def next_failover_state(state: FailoverState, event: FailoverEvent) -> FailoverState:
    """The state after `event`. Raises IllegalEventError."""
    return _next_state(FAILOVER_TRANSITIONS, state, event)
