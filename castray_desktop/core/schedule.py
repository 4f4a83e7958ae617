"""When schedules run. The time is passed in as POSIX seconds, local time as a zone.

A run that was missed, since the engine was off or its cluster was not there, is made up for once, however
many were missed. A time that comes while the last run goes on is left out. Clocks that are changed for
summer move no run twice: a fixed time that an hour in spring leaves out runs as that hour ends, and one
that comes twice in autumn runs the first time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, tzinfo

from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.core.messages import Schedule, SendRequest
from castray_desktop.core.removal import check_removal

SHORTEST_SECONDS = 1.0
"""Of an interval and of a quiet time."""

RETRY_SECONDS = 60.0
LONGEST_RETRY_SECONDS = 3600.0

NextTime = Callable[[str, datetime], datetime | None]
"""The next time that a cron expression means after another one, None for never. Raises ValueError."""


def check(schedule: Schedule, next_time: NextTime) -> None:
    """Whether this can be a schedule. Raises CastRayError: BAD_SCHEDULE, NOTHING_TO_SEND, NO_RECIPIENTS."""
    name = schedule.name.strip()
    if not name:
        raise CastRayError(FailureKind.BAD_SCHEDULE, name=schedule.name, reason="it has no name")
    if not schedule.request.paths:
        raise CastRayError(FailureKind.NOTHING_TO_SEND)
    if not schedule.request.recipients:
        raise CastRayError(FailureKind.NO_RECIPIENTS)
    check_removal(schedule.request)
    if (schedule.every != 0) + bool(schedule.cron) + (schedule.quiet != 0) != 1:
        raise CastRayError(
            FailureKind.BAD_SCHEDULE,
            name=name,
            reason="it needs exactly one of an interval, a cron expression and a quiet time",
        )
    if schedule.cron:
        _check_cron(name, schedule.cron, next_time)
    elif not SHORTEST_SECONDS <= schedule.every + schedule.quiet < math.inf:
        seconds = round(SHORTEST_SECONDS)
        reason = f"its interval or quiet time is shorter than {seconds} s"
        raise CastRayError(FailureKind.BAD_SCHEDULE, name=name, reason=reason)


def _check_cron(name: str, cron: str, next_time: NextTime) -> None:
    try:
        comes = len(cron.split()) == 5 and next_time(cron, datetime(2026, 1, 1, tzinfo=UTC)) is not None
    except ValueError:
        comes = False
    if not comes:
        reason = f"{cron} is not a cron expression that ever comes true"
        raise CastRayError(FailureKind.BAD_SCHEDULE, name=name, reason=reason)


def next_run(schedule: Schedule, last_run: float, now: float, zone: tzinfo, next_time: NextTime) -> float:
    """The first time after `now` at which it should run; 0 where its time is no clock's."""
    if schedule.every:
        if last_run <= 0 or last_run > now:
            return now
        passed = math.floor((now - last_run) / schedule.every)
        following = last_run + (passed + 1) * schedule.every
        return following if following > now else following + schedule.every  # as floats round
    if schedule.cron:
        after = datetime.fromtimestamp(now, UTC).astimezone(zone)
        found = next_time(schedule.cron, after)
        return found.timestamp() if found is not None else 0.0
    return 0.0


def retry_after(failures: int) -> float:
    """How long to wait before another try at what has failed so many times in a row."""
    return float(min(RETRY_SECONDS * 2 ** min(max(0, failures - 1), 10), LONGEST_RETRY_SECONDS))


def what_it_sends(request: SendRequest) -> tuple[object, ...]:
    """All of a request that decides what ends up at a recipient: another one has got nothing of it yet."""
    return (
        request.paths,
        request.source,
        request.destination,
        request.links,
        request.exclude,
        request.on_conflict,
        request.remove_extra,
    )


def find(wanted: str, schedules: Iterable[Schedule]) -> Schedule:
    """The one with that id or name, else the one whose id begins so.

    Raises CastRayError: SCHEDULE_UNKNOWN, or SCHEDULE_AMBIGUOUS with the ids of all that fit.
    """
    known = tuple(schedules)
    fitting = (
        [item for item in known if item.schedule == wanted]
        or [item for item in known if item.name == wanted]
        or [item for item in known if wanted and item.schedule.startswith(wanted)]
    )
    if not fitting:
        raise CastRayError(FailureKind.SCHEDULE_UNKNOWN, schedule=wanted)
    if len(fitting) > 1:
        ids = ", ".join(item.schedule for item in fitting)
        raise CastRayError(FailureKind.SCHEDULE_AMBIGUOUS, schedule=wanted, schedules=ids)
    return fitting[0]
