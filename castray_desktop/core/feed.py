"""Where a cast's bytes come from: its source, nobody for the moment, or a recipient that has everything."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from castray_desktop.core.cast import IllegalEventError


class FeedState(enum.Enum):
    """Where the feeding of a cast stands."""

    SCANNING = "scanning"  # the source was told to scan
    SERVING = "serving"  # it has scanned, and was told to serve
    AWAY = "away"  # its agent has gone, and nobody else has everything
    REPLACED = "replaced"  # a recipient that has everything feeds the others


class FeedEvent(enum.Enum):
    """What can happen to the feeding."""

    SCANNED = "scanned"
    LOST = "lost"  # whoever fed went away
    BACK = "back"  # the source's agent is there again, and knows nothing
    TAKEN_OVER = "taken over"


_S = FeedState
_E = FeedEvent

FEED_TRANSITIONS: Mapping[FeedState, Mapping[FeedEvent, FeedState]] = {
    _S.SCANNING: {_E.SCANNED: _S.SERVING, _E.LOST: _S.AWAY},
    _S.SERVING: {_E.LOST: _S.AWAY},
    _S.AWAY: {_E.BACK: _S.SCANNING, _E.TAKEN_OVER: _S.REPLACED},
    _S.REPLACED: {_E.LOST: _S.AWAY},
}


def next_feed_state(state: FeedState, event: FeedEvent) -> FeedState:
    """The state after `event`. Raises IllegalEventError."""
    try:
        return FEED_TRANSITIONS[state][event]
    except KeyError:
        raise IllegalEventError(f"{event.value} while {state.value}") from None
