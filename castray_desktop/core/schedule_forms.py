"""Schedules as scripts get them, in the way of `core.forms`."""

from __future__ import annotations

from castray_desktop.core.forms import Form, reason
from castray_desktop.core.messages import CastState, ScheduleInfo, SendRequest


class RequestForm(Form, frozen=True):
    """What a schedule sends."""

    paths: tuple[str, ...]
    recipients: tuple[str, ...]
    source: str
    dest: str | None
    on_conflict: str
    links: str
    exclude: tuple[str, ...]
    limit: int | None
    transport: str
    await_offline: bool
    remove_extra: bool
    hook: str | None


class ScheduleForm(Form, frozen=True):
    """A schedule as it stands."""

    schedule: str
    name: str
    cluster: str
    enabled: bool
    every: float | None
    cron: str | None
    quiet: float | None
    next_run: float | None
    last_run: float | None
    last_cast: str | None
    last_state: CastState | None
    running: bool
    unchanged: bool  # the last run found nothing new to send
    changes_seen: int
    looks_every: float | None  # seconds, where it can't be watched
    reason: str | None
    request: RequestForm


def request_form(request: SendRequest) -> RequestForm:
    return RequestForm(
        paths=request.paths,
        recipients=request.recipients,
        source=request.source,
        dest=request.destination or None,
        on_conflict=request.on_conflict.value,
        links=request.links.value,
        exclude=request.exclude,
        limit=request.limit or None,
        transport=request.transport.value,
        await_offline=request.await_offline,
        remove_extra=request.remove_extra,
        hook=request.hook or None,
    )


def schedule_form(info: ScheduleInfo) -> ScheduleForm:
    schedule = info.schedule
    return ScheduleForm(
        schedule=schedule.schedule,
        name=schedule.name,
        cluster=schedule.cluster,
        enabled=schedule.enabled,
        every=schedule.every or None,
        cron=schedule.cron or None,
        quiet=schedule.quiet or None,
        next_run=info.next_run or None,
        last_run=info.last_run or None,
        last_cast=info.last_cast or None,
        last_state=info.last_state,
        running=info.running,
        unchanged=info.unchanged,
        changes_seen=info.changes_seen,
        looks_every=info.looks_every or None,
        reason=reason(info.failure),
        request=request_form(schedule.request),
    )
