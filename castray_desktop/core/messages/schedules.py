"""Casts that start by themselves."""

from __future__ import annotations

from castray_desktop.core.failure import Failure
from castray_desktop.core.messages.base import Message, Record
from castray_desktop.core.messages.casts import CastState, SendRequest


class Schedule(Record, frozen=True):
    """What is sent, and when: by exactly one of `every`, `cron` and `quiet`.

    With OVERWRITE recipients get what has changed under its own name, so clients offer that first: SKIP
    would give it a free name beside the old one.
    """

    schedule: str  # id, 12 hexadecimal digits; empty in a new one
    name: str
    request: SendRequest
    cluster: str = "local"  # the target that it runs on
    every: float = 0.0  # seconds from start to start
    cron: str = ""  # five fields, in local time
    quiet: float = 0.0  # seconds without a change after which changed files are sent
    enabled: bool = True
    demonstration: bool = False  # it sends a file that the engine itself writes anew each time


class ScheduleInfo(Record, frozen=True):
    """A schedule as it stands."""

    schedule: Schedule
    next_run: float = 0.0  # POSIX seconds; 0: none
    last_run: float = 0.0
    last_cast: str = ""
    last_state: CastState | None = None
    running: bool = False
    unchanged: bool = False  # the last run found nothing new to send, so there was no cast
    changes_seen: int = 0  # paths that have changed and wait to become quiet
    looks_every: float = 0.0  # seconds between looks at what can't be watched; 0: it is watched
    failure: Failure | None = None  # why the last run could not begin, or what it waits for


class ListSchedules(Message, frozen=True):
    """Reply: `SchedulesChanged`."""


class AddSchedule(Message, frozen=True):
    """Keep a new schedule. Reply: `ScheduleAdded`."""

    schedule: Schedule


class ChangeSchedule(Message, frozen=True):
    """Keep this in the place of the one with its id. Reply: `Done`."""

    schedule: Schedule


class RemoveSchedule(Message, frozen=True):
    """Reply: `Done`; a cast of it that runs goes on."""

    schedule: str


class EnableSchedule(Message, frozen=True):
    """Switch a schedule on or off. Reply: `Done`."""

    schedule: str  # empty: all
    enabled: bool


class RunSchedule(Message, frozen=True):
    """Run it now, whatever its time. Reply: `Accepted`."""

    schedule: str


class AddDemonstration(Message, frozen=True):
    """Keep a schedule, switched off, that sends a small file to all nodes of the local cluster each minute.

    Reply: `ScheduleAdded`; with the same id where it is there already.
    """


class ScheduleAdded(Message, frozen=True):
    """It is kept under this id."""

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
