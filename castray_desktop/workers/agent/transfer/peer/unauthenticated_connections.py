"""Limits connections that have not authenticated yet, in total and for each address."""

from __future__ import annotations

from collections import Counter
from typing import Generic, Optional, TypeVar

Key = TypeVar("Key")


class UnauthenticatedConnections(Generic[Key]):
    """Unauthenticated peers with their times, the oldest first. Not safe for several threads."""

    def __init__(self, most: int, most_of_one: int) -> None:
        """Limits in total and for each address."""
        self._most = most
        self._most_of_one = most_of_one
        self._since: dict[Key, tuple[str, float]] = {}
        self._of_one: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._since)

    def __contains__(self, key: object) -> bool:
        return key in self._since

    def add(self, key: Key, address: str, now: float) -> Optional[Key]:
        """Add a peer; returns the one that has to be dropped for it."""
        victim = None
        if self._of_one[address] >= self._most_of_one:
            victim = next(other for other, (where, _) in self._since.items() if where == address)
        elif len(self._since) >= self._most:
            victim = self.oldest()
        if victim is not None:
            self.remove(victim)
        self._since[key] = address, now
        self._of_one[address] += 1
        return victim

    def remove(self, key: Key) -> None:
        """Remove a peer that has disconnected or authenticated. Does nothing if it was dropped."""
        found = self._since.pop(key, None)
        if found is not None:
            self._of_one[found[0]] -= 1
            if not self._of_one[found[0]]:
                del self._of_one[found[0]]

    def oldest(self) -> Optional[Key]:
        """The oldest peer."""
        return next(iter(self._since), None)

    def came_before(self, moment: float) -> list[Key]:
        """Peers that came before that moment."""
        found = []
        for key, (_, since) in self._since.items():
            if since >= moment:
                break
            found.append(key)
        return found

    def next_end(self, seconds: float) -> Optional[float]:
        """The time at which the oldest peer reaches this age; None if there is none."""
        key = self.oldest()
        return None if key is None else self._since[key][1] + seconds
