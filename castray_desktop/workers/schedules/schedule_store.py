"""Schedules and their state in a file of the home, replaced atomically."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from castray_desktop.core.casts.transfer_options import nest_options
from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.protocol.messages import CastState, Schedule
from castray_desktop.workers.base.state_files import check_times, load_list, replace_file


class ScheduleState(msgspec.Struct):
    """A schedule and the state of its runs; kept over restarts."""

    schedule: Schedule
    next_run: float = 0.0
    last_run: float = 0.0
    last_cast: str = ""
    last_state: CastState | None = None
    unchanged: bool = False
    failure: Failure | None = None
    failures: int = 0  # consecutive runs that did not complete all deliveries
    sending: str = ""  # manifest digest of the last cast
    sent_to: dict[str, str] = msgspec.field(default_factory=dict)  # manifest digest by recipient


class ScheduleFile:
    """Reads once, writes often. `write` blocks."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, check: Callable[[Schedule], None] = lambda schedule: None) -> list[ScheduleState]:
        """Read the saved schedules. What is damaged, or what `check` refuses, is set aside and never
        deleted.
        """

        def check_one(standing: ScheduleState) -> None:
            check_times((standing.next_run, standing.last_run))
            check(standing.schedule)

        return load_list(self._path, "the schedules", ScheduleState, check_one, _upgrade)

    def write(self, content: bytes) -> None:
        """Replace the file atomically. Raises OSError."""
        replace_file(self._path, content, synced=True)


def _upgrade(item: Any) -> Any:
    schedule = item["schedule"]
    return {**item, "schedule": {**schedule, "request": nest_options(schedule["request"])}}


def encode_states(standings: list[ScheduleState]) -> bytes:
    """Encode the schedules for `write`."""
    return msgspec.json.encode(standings)
