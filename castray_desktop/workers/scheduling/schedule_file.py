"""Schedules and how they stand, in a file of the home that is replaced as a whole."""

from __future__ import annotations

from pathlib import Path

import msgspec

from castray_desktop.core.failure import Failure
from castray_desktop.core.messages import CastState, Schedule
from castray_desktop.workers.home_files import replace_file, set_aside


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

    def read(self) -> list[Standing]:
        """What was kept. A damaged file is set aside, never deleted, and there are no schedules then."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[Standing])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError, ValueError) as error:
            set_aside(self._path, "the schedules", error)
            return []

    def write(self, content: bytes) -> None:
        """Replace what is kept: a crash leaves the old or the new. Raises OSError."""
        replace_file(self._path, content, synced=True)


def as_bytes(standings: list[Standing]) -> bytes:
    """What `write` keeps."""
    return msgspec.json.encode(standings)
