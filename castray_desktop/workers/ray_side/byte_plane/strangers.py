"""Connections that have not proved anything yet: a bounded number of them, and of each address.

Everybody who comes is let in, and where there are too many the oldest goes. A peer proves itself within
milliseconds, so it is not among the oldest, also where it shares its address with those that say nothing.
"""

from __future__ import annotations

from collections import Counter
from typing import Generic, Optional, TypeVar

Key = TypeVar("Key")


class Strangers(Generic[Key]):
    """Who has come when, the oldest first. Not safe for several threads."""

    def __init__(self, most: int, most_of_one: int) -> None:
        """At most so many together, and so many of one address."""
        self._most = most
        self._most_of_one = most_of_one
        self._since: dict[Key, tuple[str, float]] = {}
        self._of_one: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._since)

    def __contains__(self, key: object) -> bool:
        return key in self._since

    def add(self, key: Key, address: str, now: float) -> Optional[Key]:
        """One more; who has to go for it, and counts no more."""
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
        """It has gone, or has proved itself. Does nothing where it does not count any more."""
        found = self._since.pop(key, None)
        if found is not None:
            self._of_one[found[0]] -= 1
            if not self._of_one[found[0]]:
                del self._of_one[found[0]]

    def oldest(self) -> Optional[Key]:
        """Who came first."""
        return next(iter(self._since), None)

    def came_before(self, moment: float) -> list[Key]:
        """Who came before that."""
        found = []
        for key, (_, since) in self._since.items():
            if since >= moment:
                break
            found.append(key)
        return found

    def next_end(self, seconds: float) -> Optional[float]:
        """When the oldest will have been there for so long; None where nobody is."""
        key = self.oldest()
        return None if key is None else self._since[key][1] + seconds
