"""When each of several nodes may try again what it could not do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


class BackOff:
    """A node waits for `first` seconds, and twice as long after each try."""

    def __init__(self, first: float) -> None:
        self._first = first
        self._since: dict[str, float] = {}
        self._tries: Counter[str] = Counter()

    def due(self, waiting: Iterable[str], now: float) -> tuple[str, ...]:
        """Who of those that wait has waited for long enough; `now` in seconds.

        Whoever is not among them any more begins its next wait anew.
        """
        self._since = {node: self._since.get(node, now) for node in waiting}
        return tuple(
            node for node, since in self._since.items() if now - since >= self._first * 2 ** self._tries[node]
        )

    def tried(self, node: str) -> None:
        """It tries again."""
        self._tries[node] += 1
        self._since.pop(node, None)
