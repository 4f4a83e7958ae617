"""Schedules and how they stand, in a file of the home that is replaced as a whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from castray_desktop.core.failure import Failure
from castray_desktop.core.messages import CastState, Schedule
from castray_desktop.workers.home_files import check_times, load_list, replace_file


class Standing(msgspec.Struct):
    """A schedule and what its runs have led to; kept over restarts."""

    schedule: Schedule
    next_run: float = 0.0
    last_run: float = 0.0
    last_cast: str = ""
    last_state: CastState | None = None
    unchanged: bool = False
    failure: Failure | None = None
    failures: int = 0  # runs in a row that did not serve everybody
    sending: str = ""  # the digest of what the last cast sends
    sent_to: dict[str, str] = msgspec.field(default_factory=dict)  # by recipient: the digest of what it got


class ScheduleFile:
    """Reads once, writes often. `write` blocks."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, check: Callable[[Schedule], None] = lambda schedule: None) -> list[Standing]:
        """What was kept. What is damaged, or what `check` refuses, is set aside and never deleted."""

        def check_one(standing: Standing) -> None:
            check_times((standing.next_run, standing.last_run))
            check(standing.schedule)

        return load_list(self._path, "the schedules", Standing, check_one)

    def write(self, content: bytes) -> None:
        """Replace what is kept: a crash leaves the old or the new. Raises OSError."""
        replace_file(self._path, content, synced=True)


def as_bytes(standings: list[Standing]) -> bytes:
    """What `write` keeps."""
    return msgspec.json.encode(standings)
