"""When schedules run. Time is POSIX seconds, local time a time zone; both are arguments.

Runs that were missed while the engine was off or its cluster unavailable are made up for once, however
many there were. A time that comes while the last run is still going on is skipped. Changes of summer time
move no run twice: a fixed time in the hour that spring skips runs at the end of that hour; one in the
hour that autumn repeats runs the first time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, tzinfo

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.messages import Schedule, SendRequest

SHORTEST_SECONDS = 1.0
"""Minimum of an interval and of a quiet time."""

RETRY_SECONDS = 60.0
LONGEST_RETRY_SECONDS = 3600.0

NextTime = Callable[[str, datetime], datetime | None]
"""The next time of a cron expression after another time, None for never. Raises ValueError."""


def check_schedule(schedule: Schedule, next_time: NextTime) -> None:
    """Validate a schedule. Raises CastRayError: BAD_SCHEDULE, NOTHING_TO_SEND, NO_RECIPIENTS."""
    name = schedule.name.strip()
    if not name:
        raise CastRayError(FailureKind.BAD_SCHEDULE, name=schedule.name, reason="it has no name")
    if not schedule.request.paths:
        raise CastRayError(FailureKind.NOTHING_TO_SEND)
    if not schedule.request.recipients:
        raise CastRayError(FailureKind.NO_RECIPIENTS)
    schedule.request.options.check(schedule.request.paths)
    if (schedule.every != 0) + bool(schedule.cron) + (schedule.quiet != 0) != 1:
        raise CastRayError(
            FailureKind.BAD_SCHEDULE,
            name=name,
            reason="exactly one of an interval, a cron expression and a quiet time is required",
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
        reason = f"the cron expression {cron} never matches"
        raise CastRayError(FailureKind.BAD_SCHEDULE, name=name, reason=reason)


def next_run(schedule: Schedule, last_run: float, now: float, zone: tzinfo, next_time: NextTime) -> float:
    """The first time after `now` at which it should run; 0 if it has no fixed time."""
    if schedule.every:
        if last_run <= 0 or last_run > now:
            return now
        passed = math.floor((now - last_run) / schedule.every)
        following = last_run + (passed + 1) * schedule.every
        return following if following > now else following + schedule.every  # floating-point rounding
    if schedule.cron:
        after = datetime.fromtimestamp(now, UTC).astimezone(zone)
        found = next_time(schedule.cron, after)
        return found.timestamp() if found is not None else 0.0
    return 0.0


def retry_delay(failures: int) -> float:
    """How long to wait before the next attempt after this many consecutive failures."""
    return float(min(RETRY_SECONDS * 2 ** min(max(0, failures - 1), 10), LONGEST_RETRY_SECONDS))


def content_key(request: SendRequest) -> tuple[object, ...]:
    """The part of a request that determines what recipients end up with: if it changes, they have received
    nothing of it yet."""
    return (
        request.paths,
        request.source,
        request.options.destination,
        request.options.links,
        request.options.patterns,
        request.options.on_conflict,
        request.options.remove_extra,
        request.options.layout,
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
