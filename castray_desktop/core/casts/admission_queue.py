"""The order of unfinished casts, and which of them may run when only a limited number may."""

from __future__ import annotations


class AdmissionQueue:
    """Each cast keeps its position, whether it waits, runs or is paused.

    `max_running` is how many may run; 0 is unlimited. A lower value stops no running cast.
    """

    def __init__(self, max_running: int = 0) -> None:
        self.max_running = max_running
        self.order: list[str] = []
        self._asking: set[str] = set()
        self._running: set[str] = set()

    def register(self, cast: str) -> None:
        """Add a cast at the end, which does not wait to run yet."""
        if cast not in self.order:
            self.order.append(cast)

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
        if cast in self.order:
            self.order.remove(cast)

    def admit(self) -> tuple[str, ...]:
        """Admit casts: those that run from now on."""
        waiting = self.waiting
        free = len(waiting) if self.max_running <= 0 else max(0, self.max_running - len(self._running))
        found = waiting[:free]
        self._asking.difference_update(found)
        self._running.update(found)
        return found

    @property
    def waiting(self) -> tuple[str, ...]:
        """Waiting casts, the next one first."""
        return tuple(cast for cast in self.order if cast in self._asking)

    def move(self, cast: str, place: int) -> bool:
        """Move a waiting cast to that position among the waiting ones, which keep the positions that they
        occupy together. Returns False if it does not wait.
        """
        waiting = list(self.waiting)
        if cast not in waiting:
            return False
        waiting.remove(cast)
        waiting.insert(max(0, place), cast)
        following = iter(waiting)
        self.order = [next(following) if cast in self._asking else cast for cast in self.order]
        return True
