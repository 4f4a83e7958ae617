"""The commands about casts that start by themselves."""

from __future__ import annotations

import argparse
import sys

from castray_desktop.cli import arguments, past_text, text
from castray_desktop.cli.send import request_of
from castray_desktop.cli.session import Session
from castray_desktop.core import messages
from castray_desktop.core.forms import plain
from castray_desktop.core.messages import Schedule, ScheduleInfo
from castray_desktop.core.schedule import find
from castray_desktop.core.schedule_forms import schedule_form

ON_THE_DEMO = (
    "It sends to the demo on this computer, whose nodes are folders here."
    " For a cluster, name it with --cluster HOST:PORT."
)


async def show(options: argparse.Namespace) -> int:
    """All schedules."""
    async with Session() as session:
        schedules = await _known(session)
    if options.json:
        text.print_json([plain(schedule_form(info)) for info in schedules])
    else:
        past_text.print_schedules(schedules)
    return arguments.EXIT_DELIVERED


async def add(options: argparse.Namespace) -> int:
    """Keep a new schedule; its id goes to stdout."""
    schedule = Schedule(
        schedule="",
        name=options.name,
        request=request_of(options),
        cluster=options.cluster or "",
        every=options.every or 0.0,
        cron=options.cron or "",
        quiet=options.quiet or 0.0,
        enabled=not options.paused,
    )
    return await _added(messages.AddSchedule(schedule), options.json, unnamed=not options.cluster)


async def demo(options: argparse.Namespace) -> int:
    """Keep the demonstration; its id goes to stdout."""
    return await _added(messages.AddDemonstration(), options.json)


async def remove(options: argparse.Namespace) -> int:
    """Forget a schedule."""
    async with Session() as session:
        found = await _find(session, options.schedule)
        await session.client.request(messages.RemoveSchedule(found.schedule), messages.Done)
    return arguments.EXIT_DELIVERED


async def pause(options: argparse.Namespace) -> int:
    """Switch a schedule off, or all."""
    return await _switch(options.schedule, False)


async def resume(options: argparse.Namespace) -> int:
    """Switch a schedule on, or all."""
    return await _switch(options.schedule, True)


async def run(options: argparse.Namespace) -> int:
    """Run a schedule now, and follow its cast."""
    from castray_desktop.cli.send import follow_new

    async with Session() as session:
        found = await _find(session, options.schedule)
        await session.ready(found.cluster or options.cluster)
        return await follow_new(session, messages.RunSchedule(found.schedule), options.json)


async def _added(
    command: messages.AddSchedule | messages.AddDemonstration, as_json: bool, *, unnamed: bool = False
) -> int:
    """`unnamed`: nobody has said on which cluster it runs."""
    async with Session() as session:
        added = await session.client.request(command, messages.ScheduleAdded)
    if unnamed and added.cluster == messages.LOCAL_TARGET:
        print(ON_THE_DEMO, file=sys.stderr)
    if as_json:
        text.print_json({"schedule": added.schedule, "cluster": added.cluster})
    else:
        print(added.schedule)
    return arguments.EXIT_DELIVERED


async def _switch(schedule: str, enabled: bool) -> int:
    async with Session() as session:
        found = "" if schedule == "all" else (await _find(session, schedule)).schedule
        await session.client.request(messages.EnableSchedule(found, enabled), messages.Done)
    return arguments.EXIT_DELIVERED


async def _known(session: Session) -> tuple[ScheduleInfo, ...]:
    return (await session.client.request(messages.ListSchedules(), messages.SchedulesChanged)).schedules


async def _find(session: Session, wanted: str) -> Schedule:
    """See `core.schedule.find`."""
    return find(wanted, (info.schedule for info in await _known(session)))
