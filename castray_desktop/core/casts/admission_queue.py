"""The order of unfinished casts, and which of them may run when only a limited number may."""

from __future__ import annotations

from collections.abc import Iterable


class AdmissionQueue:
    """Each cast keeps its position, whether it waits, runs or is paused.

    `max_running` is how many may run; 0 is unlimited. A lower value stops no running cast.
    """

    def __init__(self, max_running: int = 0) -> None:
        self._at_once = max_running
        self._order: list[str] = []
        self._asking: set[str] = set()
        self._running: set[str] = set()

    def set_max_running(self, max_running: int) -> None:
        """Change the limit."""
        self._at_once = max_running

    def register(self, cast: str) -> None:
        """Add a cast at the end, which does not wait to run yet."""
        if cast not in self._order:
            self._order.append(cast)

    def enqueue(self, cast: str) -> None:
        """The cast waits to be admitted; no effect if it runs."""
        self.register(cast)
        if cast not in self._running:
            self._asking.add(cast)

    def withdraw(self, cast: str) -> None:
        """The cast neither waits nor runs for now."""
        self._asking.discard(cast)
        self._running.discard(cast)

    def remove(self, cast: str) -> None:
        """The cast has ended."""
        self.withdraw(cast)
        if cast in self._order:
            self._order.remove(cast)

    def admit(self) -> tuple[str, ...]:
        """Admit casts: those that run from now on."""
        waiting = self.waiting
        free = len(waiting) if self._at_once <= 0 else max(0, self._at_once - len(self._running))
        found = waiting[:free]
        self._asking.difference_update(found)
        self._running.update(found)
        return found

    @property
    def waiting(self) -> tuple[str, ...]:
        """Waiting casts, the next one first."""
        return tuple(cast for cast in self._order if cast in self._asking)

    @property
    def order(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self._order)

    def move(self, cast: str, place: int) -> bool:
        """Move a waiting cast to that position among the waiting ones.

        Returns False if it does not wait.
        """
        waiting = list(self.waiting)
        if cast not in waiting:
            return False
        waiting.remove(cast)
        waiting.insert(max(0, place), cast)
        self._put(waiting)
        return True

    def _put(self, waiting: Iterable[str]) -> None:
        """Reorder the waiting casts within the positions that they occupy together."""
        following = iter(waiting)
        self._order = [next(following) if cast in self._asking else cast for cast in self._order]
