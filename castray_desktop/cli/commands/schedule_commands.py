"""`castray schedule`: keep, list and run schedules, which start casts by themselves."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from castray_desktop.cli.arguments import (
    EXIT_DELIVERED,
    Commands,
    add_command,
    add_command_group,
    add_detach_option,
    add_send_arguments,
    duration,
    send_request,
)
from castray_desktop.cli.output.cast_reporters import run_cast
from castray_desktop.cli.output.cast_text import format_state
from castray_desktop.cli.output.terminal import (
    format_duration,
    format_moment,
    print_json,
    print_line,
    print_table,
    say,
)
from castray_desktop.cli.path_lists import add_paths_arguments, read_path_lists
from castray_desktop.cli.session import Session
from castray_desktop.core.casts.json_views import form_to_json, schedule_form
from castray_desktop.core.casts.schedule_rules import find
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import Schedule, ScheduleInfo

QUIET_SECONDS = 5.0
"""The default time without changes before `--when-changed` starts a cast."""

ON_THE_DEMO = (
    "It sends to the demo on this computer, whose nodes are local folders. To use a cluster, specify"
    " --cluster HOST:PORT."
)


def add_parsers(commands: Commands) -> None:
    """Add `schedule`."""
    actions = add_command_group(
        commands,
        "schedule",
        "manage casts that start automatically",
        """
        castray schedule add nightly data/ --to all --cron "0 3 * * *"
        castray schedule add models models/ --to @office --when-changed
        castray schedule pause nightly
        castray schedule run models
        """,
    )
    add_command(actions, "list", "list the schedules", "castray schedule list --json", handler=list_schedules)
    _add_add_parser(actions)
    add_command(
        actions,
        "demo",
        "add a disabled demonstration that sends a small file to all local nodes every minute",
        """
        castray schedule demo
        castray schedule resume Demonstration
        """,
        handler=add_demonstration,
    )
    for name, summary, handler in (
        ("remove", "remove a schedule", remove),
        ("pause", "disable a schedule", pause),
        ("resume", "enable a schedule", resume),
    ):
        parser = add_command(actions, name, summary, f"castray schedule {name} nightly", handler=handler)
        _add_schedule_argument(parser, or_all=name != "remove")
    run_parser = add_command(
        actions,
        "run",
        "run a schedule now and follow its cast",
        "castray schedule run nightly",
        handler=run,
        uses_cluster=True,
    )
    _add_schedule_argument(run_parser)
    add_detach_option(run_parser)


def _add_add_parser(actions: Commands) -> None:
    parser = add_command(
        actions,
        "add",
        "add a schedule",
        """
        castray schedule add hourly data/ --to all --every 1h
        castray schedule add nightly data/ --to all --dest /backup/{node} --cron "0 3 * * *"
        castray schedule add models models/ --to node_1 --when-changed 30s
        """,
        handler=add,
        uses_cluster=True,
    )
    parser.add_argument("name", metavar="NAME")
    add_paths_arguments(parser)
    when = parser.add_mutually_exclusive_group(required=True)
    when.add_argument(
        "--every", type=duration, metavar="TIME", help="time from start to start: 30s, 15m, 2h, 1d"
    )
    when.add_argument("--cron", metavar="EXPRESSION", help="five fields, in local time: '0 3 * * *'")
    when.add_argument(
        "--when-changed",
        type=duration,
        nargs="?",
        const=QUIET_SECONDS,
        metavar="TIME",
        help="after a change, once nothing has changed for this time (5s)",
    )
    add_send_arguments(parser, on_conflict="overwrite")
    parser.add_argument("--paused", action="store_true", help="add it disabled")


def _add_schedule_argument(parser: argparse.ArgumentParser, *, or_all: bool = False) -> None:
    meaning = "its name, or the beginning of its id"
    parser.add_argument("schedule", metavar="SCHEDULE", help=f"{meaning}, or 'all'" if or_all else meaning)


async def list_schedules(options: argparse.Namespace) -> int:
    """Print all schedules."""
    async with Session() as session:
        schedules = await _fetch(session)
    if options.json:
        print_json([form_to_json(schedule_form(info)) for info in schedules])
    else:
        print_schedules(schedules)
    return EXIT_DELIVERED


async def add(options: argparse.Namespace) -> int:
    """Keep a new schedule, and print its id."""
    await read_path_lists(options)
    schedule = Schedule(
        schedule="",
        name=options.name,
        request=send_request(options),
        cluster=options.cluster or "",
        every=options.every or 0.0,
        cron=options.cron or "",
        quiet=options.when_changed or 0.0,
        enabled=not options.paused,
    )
    return await _add(messages.AddSchedule(schedule), options.json, unnamed=not options.cluster)


async def add_demonstration(options: argparse.Namespace) -> int:
    """Keep the demonstration's schedule, and print its id."""
    return await _add(messages.AddDemonstration(), options.json)


async def remove(options: argparse.Namespace) -> int:
    """Remove a schedule."""
    async with Session() as session:
        found = await _find(session, options.schedule)
        await session.client.request(messages.RemoveSchedule(found.schedule), messages.Done)
    return _report("removed", options, [found])


async def pause(options: argparse.Namespace) -> int:
    """Disable a schedule, or all."""
    return await _switch(options, "paused")


async def resume(options: argparse.Namespace) -> int:
    """Enable a schedule, or all."""
    return await _switch(options, "resumed")


async def run(options: argparse.Namespace) -> int:
    """Run a schedule now, and show its cast."""
    async with Session() as session:
        found = await _find(session, options.schedule)
        await session.ready(found.cluster or options.cluster)
        command = messages.RunSchedule(found.schedule)
        return await run_cast(session, command, options.json, detach=options.detach)


async def _add(
    command: messages.AddSchedule | messages.AddDemonstration, as_json: bool, *, unnamed: bool = False
) -> int:
    """`unnamed`: no cluster was given for it."""
    async with Session() as session:
        added = await session.client.request(command, messages.ScheduleAdded)
    if unnamed and added.cluster == messages.LOCAL_TARGET:
        print(ON_THE_DEMO, file=sys.stderr)
    if as_json:
        print_json({"schedule": added.schedule, "cluster": added.cluster})
    else:
        print(added.schedule)
    return EXIT_DELIVERED


async def _switch(options: argparse.Namespace, event: str) -> int:
    async with Session() as session:
        if options.schedule == "all":
            wanted, found = "", [info.schedule for info in await _fetch(session)]
        else:
            found = [await _find(session, options.schedule)]
            wanted = found[0].schedule
        await session.client.request(messages.EnableSchedule(wanted, event == "resumed"), messages.Done)
    return _report(event, options, found)


def _report(event: str, options: argparse.Namespace, schedules: Sequence[Schedule]) -> int:
    """Print which schedules were changed."""
    if options.json:
        print_json({"event": event, "schedules": [schedule.schedule for schedule in schedules]})
    for schedule in () if options.json else schedules:
        say(f"{event.capitalize()} {schedule.name} ({schedule.schedule}).")
    return EXIT_DELIVERED


async def _fetch(session: Session) -> tuple[ScheduleInfo, ...]:
    return (await session.client.request(messages.ListSchedules(), messages.SchedulesChanged)).schedules


async def _find(session: Session, wanted: str) -> Schedule:
    """The schedule with this name, or with an id that starts so. Raises CastRayError."""
    return find(wanted, (info.schedule for info in await _fetch(session)))


def print_schedules(schedules: Sequence[ScheduleInfo]) -> None:
    """Print the schedules as a table, and why runs could not start."""
    if not schedules:
        print("No schedules.")
        return
    rows = [
        (
            info.schedule.schedule,
            info.schedule.name,
            _trigger(info),
            ", ".join(info.schedule.request.recipients),
            format_moment(info.next_run),
            format_moment(info.last_run),
            _schedule_state(info),
        )
        for info in schedules
    ]
    print_table(("Schedule", "Name", "When", "To", "Next run", "Last run", "State"), rows)
    for info in schedules:
        if info.failure is not None:
            print_line(f"{info.schedule.name}: {sentence(info.failure)}")


def _trigger(info: ScheduleInfo) -> str:
    schedule = info.schedule
    if schedule.every:
        return f"every {format_duration(schedule.every)}"
    polling = f", checked every {format_duration(info.looks_every)}" if info.looks_every else ""
    return schedule.cron or f"after changes, once unchanged for {format_duration(schedule.quiet)}{polling}"


def _schedule_state(info: ScheduleInfo) -> str:
    if info.running:
        return "running"
    if not info.schedule.enabled:
        return "paused"
    if info.unchanged and info.failure is None:
        return "nothing new"
    return format_state(info.last_state) if info.last_state is not None else "on"
