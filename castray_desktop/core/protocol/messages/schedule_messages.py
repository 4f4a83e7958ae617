"""Schedules: casts that start by themselves."""

from __future__ import annotations

from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.protocol.messages.cast_messages import CastState, SendRequest
from castray_desktop.core.protocol.messages.message_base import Message, Record


class Schedule(Record, frozen=True):
    """A schedule; exactly one of `every`, `cron` and `quiet` is set.

    With OVERWRITE, changed files replace the old ones, so clients offer that first; SKIP would add them under
    a free name.
    """

    schedule: str  # id, 12 hexadecimal digits; empty in a new one
    name: str
    request: SendRequest
    cluster: str = "local"  # the target that it runs on
    every: float = 0.0  # seconds from start to start
    cron: str = ""  # five fields, in local time
    quiet: float = 0.0  # seconds without a change after which changed files are sent
    enabled: bool = True
    demonstration: bool = False  # sends a file that the engine rewrites before each run


class ScheduleInfo(Record, frozen=True):
    """A schedule with its state."""

    schedule: Schedule
    next_run: float = 0.0  # POSIX seconds; 0: none
    last_run: float = 0.0
    last_cast: str = ""
    last_state: CastState | None = None
    running: bool = False
    unchanged: bool = False  # the last run found nothing to send
    changes_seen: int = 0  # changed paths, waiting for the quiet time
    looks_every: float = 0.0  # scan interval if files can't be watched; 0: they are watched
    failure: Failure | None = None  # why the last run could not start, or what it waits for


class ListSchedules(Message, frozen=True):
    """Reply: `SchedulesChanged`."""


class AddSchedule(Message, frozen=True):
    """Add a schedule. Reply: `ScheduleAdded`."""

    schedule: Schedule


class ChangeSchedule(Message, frozen=True):
    """Replace the schedule with this id. Reply: `Done`."""

    schedule: Schedule


class RemoveSchedule(Message, frozen=True):
    """Reply: `Done`; a running cast of it continues."""

    schedule: str


class EnableSchedule(Message, frozen=True):
    """Enable or disable a schedule. Reply: `Done`."""

    schedule: str  # empty: all
    enabled: bool


class RunSchedule(Message, frozen=True):
    """Run a schedule now. Reply: `Accepted`."""

    schedule: str


class AddDemonstration(Message, frozen=True):
    """Add a disabled schedule that sends a small file to all nodes of the local cluster each minute.

    Reply: `ScheduleAdded`; with the same id where it is there already.
    """


class ScheduleAdded(Message, frozen=True):
    """The id of the new schedule."""

    schedule: str
    cluster: str = ""  # the target that it runs on


class SchedulesChanged(Message, frozen=True):
    """All schedules, as a reply or whenever one has changed."""

    schedules: tuple[ScheduleInfo, ...]


ScheduleCommand = (
    ListSchedules
    | AddSchedule
    | ChangeSchedule
    | RemoveSchedule
    | EnableSchedule
    | RunSchedule
    | AddDemonstration
)
ScheduleReply = ScheduleAdded | SchedulesChanged
ScheduleEvent = SchedulesChanged
