"""`castray follow` shows a cast until it has ended, `castray wait` waits for the end of casts."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Sequence

from castray_desktop.cli.arguments import Commands, add_cast_argument, add_command
from castray_desktop.cli.output.cast_reporters import (
    CastReporter,
    JsonReporter,
    find_result,
    follow_cast,
    keep_running,
    new_reporter,
    result_status,
)
from castray_desktop.cli.output.terminal import output_style, print_note
from castray_desktop.cli.session import Session
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.protocol.messages import ClusterPhase


def add_parsers(commands: Commands) -> None:
    """Add `follow` and `wait`."""
    follow_parser = add_command(
        commands,
        "follow",
        "show the progress of a cast until it ends; Ctrl+C leaves the cast running",
        """
        castray follow 3f2a
        castray follow $(castray send model.safetensors --to all --detach)
        """,
        handler=follow,
        uses_cluster=True,
    )
    add_cast_argument(follow_parser)
    wait_parser = add_command(
        commands,
        "wait",
        "wait until casts have ended, and exit with the status that send would have",
        """
        castray wait 3f2a
        castray wait 3f2a 9c01 && echo delivered
        """,
        handler=wait,
        uses_cluster=True,
    )
    wait_parser.add_argument("cast", nargs="+", metavar="CAST", help="ids, or the beginnings of ids")


async def follow(options: argparse.Namespace) -> int:
    """Show a cast until it has ended."""
    reporter = new_reporter(options.json)
    async with Session() as session:
        await _use_cluster(session, options.cluster, [options.cast])
        try:
            result = await follow_cast(session, options.cast, reporter)
        except (asyncio.CancelledError, OSError):  # interrupted, or nobody reads the output any more
            await _leave_running(session, [options.cast])
            raise
    return result_status(result)


async def wait(options: argparse.Namespace) -> int:
    """Wait until casts have ended, and print the result of each; the status is the highest of theirs."""
    reporter = JsonReporter() if options.json else CastReporter()

    async def wait_for(session: Session, cast: str) -> int:
        result = await find_result(session, cast)
        reporter.result(result)
        return result_status(result)

    async with Session() as session:
        await _use_cluster(session, options.cluster, options.cast)
        try:
            async with session.reading_events():
                statuses = await asyncio.gather(*(wait_for(session, cast) for cast in options.cast))
        except asyncio.CancelledError:
            await _leave_running(session, options.cast)
            raise
    return max(statuses)


async def _use_cluster(session: Session, target: str | None, casts: Sequence[str]) -> None:
    """Use the named cluster; otherwise, if none is in use, that of a cast that waits for it."""
    if target:
        await session.ready(target)
        return
    for summary in filter(None, map(session.cache.find, casts)):
        if not summary.state.finished and session.cache.cluster.phase is ClusterPhase.NONE:
            await session.ready(summary.cluster.target)


async def _leave_running(session: Session, casts: Sequence[str]) -> None:
    """The command ends before its casts: the engine runs until they have ended."""
    for cast in casts:
        with contextlib.suppress(CastRayError):  # it has ended
            await keep_running(session, cast)
            if not output_style().quiet:
                print_note(f"cast {cast} continues. Cancel it with: castray cancel {cast}")
