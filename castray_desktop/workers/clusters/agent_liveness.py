"""Heartbeats, restart back-off and idle shutdown of agents. Time is an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterable

CHECK_SECONDS = 1.0

SILENT_SECONDS = 10.0
"""An agent reports at least every two seconds."""

START_SECONDS = 60.0
"""Time for the first report of a new agent."""


class Heartbeats:
    """Times of the last report by node. `silent` has to be called every `CHECK_SECONDS`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._deadlines: dict[str, float] = {}
        self._checked: float | None = None

    def expect(self, node: str) -> None:
        """The node's agent is being started."""
        self._deadlines[node] = self._clock() + START_SECONDS

    def record(self, node: str) -> None:
        """The node's agent sent a report."""
        self._deadlines[node] = self._clock() + SILENT_SECONDS

    def forget_node(self, node: str) -> None:
        """Stop monitoring the node."""
        self._deadlines.pop(node, None)

    def clear(self) -> None:
        """Stop monitoring all nodes."""
        self._deadlines.clear()
        self._checked = None

    def silent(self) -> tuple[str, ...]:
        """The nodes whose report is overdue."""
        now = self._clock()
        held_up = now - self._checked - CHECK_SECONDS if self._checked is not None else 0.0
        self._checked = now
        if held_up > CHECK_SECONDS:  # this process was suspended, and reports are still unread
            self._deadlines = {node: deadline + held_up for node, deadline in self._deadlines.items()}
        return tuple(node for node, deadline in self._deadlines.items() if now >= deadline)


RESTART_SECONDS = 1.0
"""Restart delay, multiplied by the number of failures."""

QUICK_RESTARTS = 3

SLOW_RESTART_SECONDS = 30.0
"""Delay after more failures than that."""

STABLE_SECONDS = 60.0
"""Earlier failures do not count any more after this uptime."""


class RestartBackoff:
    """Failure counts by node."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._up_since: dict[str, float] = {}
        self._failures: dict[str, int] = {}

    def agent_up(self, node: str) -> None:
        """The node's agent answers."""
        self._up_since[node] = self._clock()

    def restart_delay(self, node: str) -> float:
        """The node's agent has died or could not be started; returns the restart delay in seconds."""
        now = self._clock()
        if now - self._up_since.pop(node, now) > STABLE_SECONDS:
            self._failures.pop(node, None)
        failures = self._failures[node] = self._failures.get(node, 0) + 1
        return RESTART_SECONDS * failures if failures <= QUICK_RESTARTS else SLOW_RESTART_SECONDS

    def forget_node(self, node: str) -> None:
        """Reset a node's failures."""
        self._failures.pop(node, None)
        self._up_since.pop(node, None)

    def clear(self) -> None:
        """Reset all failures."""
        self._failures.clear()
        self._up_since.clear()


IDLE_SECONDS = 300.0
"""An agent idle for this long is removed; the next order for its node starts another one."""


class IdleShutdown:
    """Idle times by node. `due` is called regularly with the nodes that have an agent."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._idle_since: dict[str, float] = {}
        self._resting: set[str] = set()

    def __contains__(self, node: str) -> bool:
        return node in self._resting

    def due(self, nodes: Iterable[str], busy: bool) -> tuple[str, ...]:
        """The nodes whose agents may be removed now; they count as stopped from now on. None while
        casts run.
        """
        now = self._clock()
        present = set(nodes)
        if busy:
            self._idle_since = dict.fromkeys(present, now)
            return ()
        self._idle_since = {node: self._idle_since.get(node, now) for node in present}
        due = tuple(node for node, since in self._idle_since.items() if now - since >= IDLE_SECONDS)
        self._resting.update(due)
        return due

    def record_use(self, node: str) -> None:
        """The node got an order: it counts as used."""
        self._resting.discard(node)
        self._idle_since.pop(node, None)

    def clear(self) -> None:
        """Drop all state: there are no agents."""
        self._resting.clear()
        self._idle_since.clear()
