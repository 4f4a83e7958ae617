"""How long a cast waits for nodes that went away. Time is an argument."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from castray_desktop.core.failures.kinds import Failure

GRACE_SECONDS = 30.0
"""A cast waits this long for a node that went away."""


@dataclass
class _Absence:
    failure: Failure
    checked: float
    seconds: float = 0.0


class AbsenceTracker:
    """Nodes that are away, the reason, and for how long; time in which no node can be reached does
    not count.
    """

    def __init__(self) -> None:
        self._away: dict[str, _Absence] = {}

    def __contains__(self, node: object) -> bool:
        return node in self._away

    def __iter__(self) -> Iterator[str]:
        return iter(self._away)

    def __bool__(self) -> bool:
        return bool(self._away)

    def mark_away(self, node: str, failure: Failure, now: float) -> None:
        """The node went away at `now` (seconds). A repeated call keeps the first reason and time."""
        self._away.setdefault(node, _Absence(failure, now))

    def mark_back(self, node: str) -> None:
        """The node is back, or is no longer waited for."""
        self._away.pop(node, None)

    def reason(self, node: str) -> Failure:
        """Why it is away. Raises KeyError for a node that is not away."""
        return self._away[node].failure

    def expired(self, now: float, clock_running: bool, excluded: Collection[str]) -> tuple[str, ...]:
        """Nodes whose grace period has expired at `now`; time since the last call counts only if
        `clock_running`.

        Nodes in `excluded` are not timed: they are not needed at the moment.
        """
        for node, absence in self._away.items():
            if clock_running and node not in excluded:
                absence.seconds += now - absence.checked
            absence.checked = now
        return tuple(node for node, absence in self._away.items() if absence.seconds >= GRACE_SECONDS)
