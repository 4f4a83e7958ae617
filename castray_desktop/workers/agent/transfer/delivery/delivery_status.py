"""The state of one delivery, and which states may follow it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Optional

from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.protocol.nodes.agent_protocol import RecipientState

R = RecipientState

RECIPIENT_TRANSITIONS: dict[RecipientState, tuple[RecipientState, ...]] = {
    R.CONNECTING: (R.RECEIVING, R.VERIFYING, R.FAILED, R.CANCELLED),
    R.RECEIVING: (R.CONNECTING, R.VERIFYING, R.FAILED, R.CANCELLED),
    R.VERIFYING: (R.COMPLETED, R.SKIPPED, R.FAILED, R.CANCELLED),
    R.COMPLETED: (),
    R.SKIPPED: (),
    R.FAILED: (),
    R.CANCELLED: (),
}


class DeliveryStatus:
    """The state of a delivery, and its failure: the final one, or that of the lost upstream."""

    def __init__(self, lock: threading.RLock, report: Callable[[], None]) -> None:
        """`lock` is that of the store, so that a report is consistent."""
        self.state = R.CONNECTING
        self.failure: Optional[Failure] = None
        self._lock = lock
        self._report = report

    def enter(self, state: RecipientState, failure: Optional[Failure] = None) -> None:
        """Enter this state, and report it."""
        with self._lock:
            if state is not self.state and state not in RECIPIENT_TRANSITIONS[self.state]:
                raise RuntimeError(f"{self.state.value} can't become {state.value}")
            self.state, self.failure = state, failure
        self._report()

    def lose_upstream(self, failure: Failure) -> bool:
        """Connect again because the upstream is lost; returns False if that was noted already."""
        with self._lock:
            if self.failure is not None:
                return False
            self.state, self.failure = R.CONNECTING, failure
            return True

    def clear_lost_upstream(self) -> None:
        """There is another upstream: the failure of the one before does not count any more."""
        with self._lock:
            if self.state is R.CONNECTING:
                self.failure = None
