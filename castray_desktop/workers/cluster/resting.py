"""Which agents may rest: on a cluster that grows and shrinks by itself, an agent would keep its node alive.

The time is passed in, so that the rule is tested in microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

REST_SECONDS = 300.0
"""An agent without work for so long is removed; the next order for its node places another one."""


class Resting:
    """Idle times by node. `due` is asked now and then, with the nodes that have an agent."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._idle_since: dict[str, float] = {}
        self._resting: set[str] = set()

    def __contains__(self, node: str) -> bool:
        return node in self._resting

    def due(self, nodes: Iterable[str], busy: bool) -> tuple[str, ...]:
        """Those whose agents may be removed now, and rest from now on. While casts run nobody does."""
        now = self._clock()
        present = set(nodes)
        if busy:
            self._idle_since = dict.fromkeys(present, now)
            return ()
        self._idle_since = {node: self._idle_since.get(node, now) for node in present}
        due = tuple(node for node, since in self._idle_since.items() if now - since >= REST_SECONDS)
        self._resting.update(due)
        return due

    def used(self, node: str) -> None:
        """It has been given an order: it does not rest, or not any more."""
        self._resting.discard(node)
        self._idle_since.pop(node, None)

    def clear(self) -> None:
        """There is no agent at all."""
        self._resting.clear()
        self._idle_since.clear()
