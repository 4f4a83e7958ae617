"""How long nodes have been away. The time is passed in, so that the rule is tested in microseconds."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from castray_desktop.core.failure import Failure

AWAY_SECONDS = 30.0
"""For so long a cast waits for a node that went away."""


@dataclass
class _Absence:
    failure: Failure
    looked: float
    seconds: float = 0.0


class Absences:
    """Who is away, why, and for how long; time in which nobody could be there does not count."""

    def __init__(self, limit: float = AWAY_SECONDS) -> None:
        self._limit = limit
        self._away: dict[str, _Absence] = {}

    def __contains__(self, node: object) -> bool:
        return node in self._away

    def __iter__(self) -> Iterator[str]:
        return iter(self._away)

    def __bool__(self) -> bool:
        return bool(self._away)

    def left(self, node: str, failure: Failure, now: float) -> None:
        """The node went away at `now` (seconds). Said again, its first reason and its time stay."""
        self._away.setdefault(node, _Absence(failure, now))

    def back(self, node: str) -> None:
        """The node is there, or is not waited for any more."""
        self._away.pop(node, None)

    def why(self, node: str) -> Failure:
        """The reason of its absence. Raises KeyError for a node that is not away."""
        return self._away[node].failure

    def look(self, now: float, counting: bool, spared: Collection[str] = ()) -> tuple[str, ...]:
        """Who has been away for too long at `now`; the time since the last look counts or does not.

        It does not for those that are spared: nobody misses them at the moment.
        """
        for node, absence in self._away.items():
            if counting and node not in spared:
                absence.seconds += now - absence.looked
            absence.looked = now
        return tuple(node for node, absence in self._away.items() if absence.seconds >= self._limit)
