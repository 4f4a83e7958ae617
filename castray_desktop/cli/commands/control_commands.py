"""The commands that change a cast: add, pause, resume, cancel, retry, again, drop and move."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from castray_desktop.cli.arguments import (
    EXIT_DELIVERED,
    EXIT_NOT_DELIVERED,
    WHO,
    Commands,
    add_cast_argument,
    add_command,
    add_detach_option,
    split_names,
)
from castray_desktop.cli.output.cast_reporters import run_cast
from castray_desktop.cli.output.terminal import print_json, say
from castray_desktop.cli.session import Session
from castray_desktop.core.casts.json_views import cast_cluster_form, form_to_json, problem_to_json
from castray_desktop.core.casts.states import cast_name
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastResult, CastSummary, PreflightReport

ALL = "all"


def add_parsers(commands: Commands) -> None:
    """Add all of them."""
    add = add_command(
        commands,
        "add",
        "add recipients to a running cast",
        "castray add 3f2a --to node_4",
        handler=add_recipients,
    )
    add_cast_argument(add)
    add.add_argument("--to", required=True, metavar="WHO", help=WHO)
    _add_pause_and_resume(commands)
    cancel_parser = add_command(
        commands, "cancel", "cancel a cast", "castray cancel 3f2a\ncastray cancel all", handler=cancel
    )
    add_cast_argument(cancel_parser, or_all=True)
    _add_retry_and_again(commands)
    drop_parser = add_command(
        commands,
        "drop",
        "remove recipients from a running cast",
        "castray drop 3f2a node_2",
        handler=drop,
    )
    add_cast_argument(drop_parser)
    drop_parser.add_argument("nodes", metavar="NODE[,NODE...]")
    move_parser = add_command(
        commands, "move", "change a cast's place in the queue", "castray move 3f2a 1", handler=move
    )
    add_cast_argument(move_parser)
    move_parser.add_argument("place", type=_place, metavar="PLACE", help="1 is the next to start")


def _add_pause_and_resume(commands: Commands) -> None:
    for name, summary, handler in (
        ("pause", "pause a cast, or some of its recipients", pause),
        ("resume", "resume a cast, or some of its recipients", resume),
    ):
        examples = f"castray {name} 3f2a\ncastray {name} all\ncastray {name} 3f2a --node node_2"
        parser = add_command(commands, name, summary, examples, handler=handler)
        add_cast_argument(parser, or_all=True)
        parser.add_argument(
            "--node", default="", metavar="NODE[,NODE...]", help="only these recipients; the others continue"
        )


def _add_retry_and_again(commands: Commands) -> None:
    retry_parser = add_command(
        commands,
        "retry",
        "send the files of a cast to the recipients that did not get them",
        "castray retry 3f2a\ncastray retry 3f2a --to node_2",
        handler=retry,
        uses_cluster=True,
    )
    add_cast_argument(retry_parser)
    retry_parser.add_argument(
        "--to", default="", metavar="WHO", help="only these recipients (all that did not get the files)"
    )
    add_detach_option(retry_parser)
    again_parser = add_command(
        commands,
        "again",
        "send the files of a cast to all of its recipients again",
        "castray again 3f2a",
        handler=again,
        uses_cluster=True,
    )
    add_cast_argument(again_parser)
    add_detach_option(again_parser)


async def add_recipients(options: argparse.Namespace) -> int:
    """Add recipients to a running cast."""
    async with Session(start=False) as session:
        report = await session.client.request(
            messages.AddRecipients(options.cast, split_names(options.to)), PreflightReport
        )
    if options.json:
        added = {
            "event": "added",
            "cluster": form_to_json(cast_cluster_form(report.cluster)),
            "recipients": list(report.recipients),
            "problems": [problem_to_json(problem) for problem in report.problems],
        }
        print_json(added)
    else:
        print_added(report)
    return EXIT_NOT_DELIVERED if report.problems else EXIT_DELIVERED


def print_added(report: PreflightReport) -> None:
    """Print which nodes were added to a cast, and why others were not."""
    problems = {problem.node for problem in report.problems}
    added = [node for node in report.recipients if node not in problems]
    if added:
        print(f"Also to {', '.join(added)}.")
    for problem in report.problems:
        print(f"{problem.node}: {sentence(problem.failure)}", file=sys.stderr)


async def pause(options: argparse.Namespace) -> int:
    """Pause a cast, all casts, or some recipients of a cast."""
    nodes = split_names(options.node)
    return await _change(options, "paused", messages.Pause(_cast_or_all(options.cast), nodes), nodes)


async def resume(options: argparse.Namespace) -> int:
    """Resume a cast, all casts, or some recipients of a cast."""
    nodes = split_names(options.node)
    return await _change(options, "resumed", messages.Resume(_cast_or_all(options.cast), nodes), nodes)


async def drop(options: argparse.Namespace) -> int:
    """End a cast for some of its recipients."""
    nodes = split_names(options.nodes)
    return await _change(options, "dropped", messages.DropRecipients(options.cast, nodes), nodes)


async def move(options: argparse.Namespace) -> int:
    """Change the place of a cast in the queue."""
    return await _change(options, "moved", messages.MoveInQueue(options.cast, options.place - 1))


async def _change(
    options: argparse.Namespace, event: str, command: messages.Command, nodes: Sequence[str] = ()
) -> int:
    """Have the engine change casts, or these recipients of a cast, and print which casts were changed."""
    async with Session(start=False) as session:
        casts = _unfinished(session, options.cast)
        await session.client.request(command, messages.Done)
    return _report(event, options, casts, nodes)


async def cancel(options: argparse.Namespace) -> int:
    """Cancel a cast, or all casts."""
    async with Session(start=False) as session:
        casts = _unfinished(session, options.cast)
        if options.cast == ALL:
            await asyncio.gather(*(_cancel_running(session, cast.cast) for cast in casts))
        else:
            await session.client.request(messages.Cancel(options.cast), messages.Done)
    return _report("cancelled", options, casts)


async def _cancel_running(session: Session, cast: str) -> None:
    try:
        await session.client.request(messages.Cancel(cast), messages.Done)
    except CastRayError as error:
        if error.failure.kind is not FailureKind.CAST_FINISHED:  # it ended before the command arrived
            raise


def _unfinished(session: Session, cast: str) -> list[CastSummary]:
    """The unfinished casts that a command means: all, or those whose id begins so."""
    return [
        summary
        for summary in session.client.welcome.casts
        if not summary.state.finished and (cast == ALL or summary.cast.startswith(cast))
    ]


def _report(
    event: str, options: argparse.Namespace, casts: Sequence[CastSummary], nodes: Sequence[str] = ()
) -> int:
    """Print which casts were changed."""
    if options.json:
        known = [cast.cast for cast in casts]
        named = known or ([] if options.cast == ALL else [options.cast])  # of a cluster that is not in use
        print_json({"event": event, "casts": named, "nodes": list(nodes)})
        return EXIT_DELIVERED
    if options.cast == ALL and not casts:
        say("No casts are running.")
    for cast in casts:
        scope = f" {', '.join(nodes)} of" if nodes else ""
        say(f"{event.capitalize()}{scope} {cast_name(cast)} ({cast.cast}).")
    return EXIT_DELIVERED


def _cast_or_all(cast: str) -> str:
    """The id for a message, where "" is all casts."""
    return "" if cast == ALL else cast


async def retry(options: argparse.Namespace) -> int:
    """Send what a cast sent to those recipients that did not get it, and show that cast."""
    async with Session() as session:
        await session.ready(options.cluster or await _cluster_of(session, options.cast))
        command = messages.Retry(options.cast, split_names(options.to))
        return await run_cast(session, command, options.json, detach=options.detach)


async def _cluster_of(session: Session, cast: str) -> str:
    """The cluster that a cast ran on; empty if that is not known. Raises CastRayError for an unknown cast."""
    known = session.cache.find(cast)
    if known is None:
        known = (await session.client.request(messages.GetPastCast(cast), CastResult)).summary
    return known.cluster.target


async def again(options: argparse.Namespace) -> int:
    """Send what a cast sent to all of its recipients again, and show that cast."""
    async with Session() as session:
        await session.ready(options.cluster)
        return await run_cast(session, messages.SendAgain(options.cast), options.json, detach=options.detach)


def _place(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a place: 1 is the next to start")
    return int(text)
