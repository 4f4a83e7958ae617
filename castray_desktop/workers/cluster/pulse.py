"""Which agents have gone silent. The time is passed in, so that the rule is tested in microseconds."""

from __future__ import annotations

from collections.abc import Callable

CHECK_SECONDS = 1.0
SILENT_SECONDS = 10.0
"""An agent answers every two seconds at least."""

START_SECONDS = 60.0
"""An agent that has been placed speaks for the first time within this."""


class Pulse:
    """Signs of life by node. Ask `silent` once every `CHECK_SECONDS`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._deadlines: dict[str, float] = {}
        self._checked: float | None = None

    def expect(self, node: str) -> None:
        """The node's agent is being placed."""
        self._deadlines[node] = self._clock() + START_SECONDS

    def heard(self, node: str) -> None:
        """The node's agent has said something."""
        self._deadlines[node] = self._clock() + SILENT_SECONDS

    def forget(self, node: str) -> None:
        """Nothing is expected of the node any more."""
        self._deadlines.pop(node, None)

    def clear(self) -> None:
        """Nothing is expected of anybody any more."""
        self._deadlines.clear()
        self._checked = None

    def silent(self) -> tuple[str, ...]:
        """The nodes that should have said something by now."""
        now = self._clock()
        held_up = now - self._checked - CHECK_SECONDS if self._checked is not None else 0.0
        self._checked = now
        if held_up > CHECK_SECONDS:  # we were asleep ourselves, and what they said meanwhile is unread yet
            self._deadlines = {node: deadline + held_up for node, deadline in self._deadlines.items()}
        return tuple(node for node, deadline in self._deadlines.items() if now >= deadline)
