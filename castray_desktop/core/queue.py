"""Whose turn it is: the order of the casts that have not ended, of which so many may run at once."""

from __future__ import annotations

from collections.abc import Iterable


class CastQueue:
    """Each cast keeps its place in the order, whether it waits, runs or is paused.

    `at_once` is how many may run; 0 is no bound. A lower one ends nobody's turn.
    """

    def __init__(self, at_once: int = 0) -> None:
        self._at_once = at_once
        self._order: list[str] = []
        self._asking: set[str] = set()
        self._running: set[str] = set()

    def change(self, at_once: int) -> None:
        """Another bound."""
        self._at_once = at_once

    def add(self, cast: str) -> None:
        """One more, the last in the order, that does not ask yet."""
        if cast not in self._order:
            self._order.append(cast)

    def ask(self, cast: str) -> None:
        """The cast waits for its turn; does nothing when it has it."""
        self.add(cast)
        if cast not in self._running:
            self._asking.add(cast)

    def step_back(self, cast: str) -> None:
        """The cast neither waits nor runs for now."""
        self._asking.discard(cast)
        self._running.discard(cast)

    def remove(self, cast: str) -> None:
        """The cast has ended."""
        self.step_back(cast)
        if cast in self._order:
            self._order.remove(cast)

    def due(self) -> tuple[str, ...]:
        """Those whose turn has come; they run from now on."""
        waiting = self.waiting
        free = len(waiting) if self._at_once <= 0 else max(0, self._at_once - len(self._running))
        found = waiting[:free]
        self._asking.difference_update(found)
        self._running.update(found)
        return found

    @property
    def waiting(self) -> tuple[str, ...]:
        """Those that wait, the next one first."""
        return tuple(cast for cast in self._order if cast in self._asking)

    @property
    def order(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self._order)

    def move(self, cast: str, place: int) -> bool:
        """Give a waiting cast that place among those that wait, as far as there are so many.

        False when it does not wait.
        """
        waiting = list(self.waiting)
        if cast not in waiting:
            return False
        waiting.remove(cast)
        waiting.insert(max(0, place), cast)
        self._put(waiting)
        return True

    def _put(self, waiting: Iterable[str]) -> None:
        """The waiting casts in another order, in the places that they have had together."""
        following = iter(waiting)
        self._order = [next(following) if cast in self._asking else cast for cast in self._order]
