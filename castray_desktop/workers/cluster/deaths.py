"""How often a node's agent has died in a row, and when the next one is due.

The time is passed in, so that the rule is tested in microseconds.
"""

from __future__ import annotations

from collections.abc import Callable

AGAIN_SECONDS = 1.0
"""Longer by as much with each death."""

SOON_TIMES = 3
LATER_SECONDS = 30.0
"""An agent that has died more often than that in a row is tried again only after this."""

STEADY_SECONDS = 60.0
"""What an agent died of before it has run for so long does not count any more."""


class Deaths:
    """By node."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._up_since: dict[str, float] = {}
        self._deaths: dict[str, int] = {}

    def up(self, node: str) -> None:
        """Its agent answers."""
        self._up_since[node] = self._clock()

    def died(self, node: str) -> float:
        """Its agent has died, or could not be placed. Returns the seconds until another one is due."""
        now = self._clock()
        if now - self._up_since.pop(node, now) > STEADY_SECONDS:
            self._deaths.pop(node, None)
        deaths = self._deaths[node] = self._deaths.get(node, 0) + 1
        return AGAIN_SECONDS * deaths if deaths <= SOON_TIMES else LATER_SECONDS

    def forget(self, node: str) -> None:
        """What was does not count any more."""
        self._deaths.pop(node, None)
        self._up_since.pop(node, None)

    def clear(self) -> None:
        """Likewise for all."""
        self._deaths.clear()
        self._up_since.clear()
