"""The commands about casts that run: what there is, steering them, sending again, reading back."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import secrets

from castray_desktop.cli import arguments, text
from castray_desktop.cli.send import follow_new
from castray_desktop.cli.session import Session
from castray_desktop.core import messages
from castray_desktop.core.cast import cast_name
from castray_desktop.core.errors import sentence
from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.core.forms import cast_cluster_form, plain
from castray_desktop.core.messages import VerifiedState
from castray_desktop.core.quantities import parse_limit

ALL = "all"


async def casts(options: argparse.Namespace) -> int:
    """The casts of the running engine; none where no engine runs."""
    try:
        async with Session(start=False) as session:
            welcome = session.client.welcome
    except CastRayError as error:
        if error.failure.kind is not FailureKind.ENGINE_UNREACHABLE:
            raise
        welcome = None  # no engine, so no casts
    known = welcome.casts if welcome else ()
    deliveries = welcome.deliveries if welcome else {}
    if options.json:
        text.print_json([_cast_object(cast, deliveries.get(cast.cast, ())) for cast in known])
    else:
        text.print_casts(known)
    return arguments.EXIT_DELIVERED


def _cast_object(
    cast: messages.CastSummary, deliveries: tuple[messages.DeliverySnapshot, ...]
) -> dict[str, object]:
    return {
        "cast": cast.cast,
        "name": cast_name(cast),
        "state": cast.state.value,
        "bytes": cast.bytes,
        "cluster": plain(cast_cluster_form(cast.cluster)),
        "deliveries": [
            {"node": item.node, "state": item.state.value, "bytes": item.bytes} for item in deliveries
        ],
    }


async def add_recipients(options: argparse.Namespace) -> int:
    """Have more nodes receive a cast that runs."""
    async with Session(start=False) as session:
        added = await session.client.request(
            messages.AddRecipients(options.cast, arguments.names(options.to)), messages.PreflightReport
        )
    if options.json:
        problems = [{"node": item.node, "reason": sentence(item.failure)} for item in added.problems]
        where = plain(cast_cluster_form(added.cluster))
        recipients = list(added.recipients)
        text.print_json({"event": "added", "cluster": where, "recipients": recipients, "problems": problems})
    else:
        text.print_added(added)
    return arguments.EXIT_NOT_DELIVERED if added.problems else arguments.EXIT_DELIVERED


async def pause(options: argparse.Namespace) -> int:
    """Stop every byte of a cast, or of all, or what comes to some recipients of one."""
    return await _order(messages.Pause(_one_or_all(options.cast), _some(options)))


async def resume(options: argparse.Namespace) -> int:
    """Go on with a paused cast, or with all, or with some recipients of one."""
    return await _order(messages.Resume(_one_or_all(options.cast), _some(options)))


async def drop(options: argparse.Namespace) -> int:
    """End a cast for some of its recipients."""
    return await _order(messages.DropRecipients(options.cast, arguments.names(options.nodes)))


async def move(options: argparse.Namespace) -> int:
    """Change a cast's place among those that wait."""
    return await _order(messages.MoveInQueue(options.cast, options.place - 1))


async def cancel(options: argparse.Namespace) -> int:
    """End a cast, or all of them."""
    if options.cast != ALL:
        return await _order(messages.Cancel(options.cast))
    async with Session(start=False) as session:
        running = [cast.cast for cast in session.client.welcome.casts if not cast.state.finished]
        await asyncio.gather(*(_cancel_running(session, cast) for cast in running))
    return arguments.EXIT_DELIVERED


async def _cancel_running(session: Session, cast: str) -> None:
    try:
        await session.client.request(messages.Cancel(cast), messages.Done)
    except CastRayError as error:
        if error.failure.kind is not FailureKind.CAST_FINISHED:  # it was faster
            raise


async def _order(command: messages.ControlCommand | messages.Cancel) -> int:
    async with Session(start=False) as session:
        await session.client.request(command, messages.Done)
    return arguments.EXIT_DELIVERED


def _some(options: argparse.Namespace) -> tuple[str, ...]:
    return arguments.names(options.node) if options.node else ()


def _one_or_all(cast: str) -> str:
    return "" if cast == ALL else cast


async def retry(options: argparse.Namespace) -> int:
    """Send what a cast sent to those that did not get it, and follow that."""
    return await _send_again(options, messages.Retry(options.cast, arguments.names(options.to or "")))


async def again(options: argparse.Namespace) -> int:
    """Send what a cast sent to all of its recipients again, and follow that."""
    return await _send_again(options, messages.SendAgain(options.cast))


async def _send_again(options: argparse.Namespace, command: messages.Retry | messages.SendAgain) -> int:
    async with Session() as session:
        await session.ready(options.cluster)
        return await follow_new(session, command, options.json)


async def limit(options: argparse.Namespace) -> int:
    """Set or say the limit, over all casts or of one."""
    rate = None if options.rate is None else parse_limit(options.rate)
    async with Session(start=not options.cast) as session:
        if rate is not None:
            await session.client.request(messages.SetLimit(rate, options.cast), messages.Done)
        elif options.cast:
            rate = _cast_limit(options.cast, session.client.welcome.casts)
        else:
            rate = (await session.client.request(messages.GetStatus(), messages.EngineStatus)).limit
    if options.json:
        text.print_json({"limit": rate or None, "cast": options.cast or None})
    else:
        text.print_limit(rate, options.cast)
    return arguments.EXIT_DELIVERED


def _cast_limit(cast: str, casts: tuple[messages.CastSummary, ...]) -> int:
    fitting = [summary for summary in casts if summary.cast.startswith(cast)]
    if len(fitting) != 1:
        raise CastRayError(FailureKind.CAST_UNKNOWN, cast=cast)
    return fitting[0].limit


# --- reading back -----------------------------------------------------------------------------------


async def verify(options: argparse.Namespace) -> int:
    """Read files back on every node; 0 when all of them have the same."""
    job = secrets.token_hex(6)
    path = os.path.abspath(options.path) if options.path else ""
    command = messages.Verify(job, options.cast or "", path, arguments.names(options.to))
    async with Session() as session:
        await session.ready(options.cluster)
        following = asyncio.create_task(_follow_verify(session, job), name="verify progress")
        try:
            report = await session.client.request(command, messages.VerifyReport)
        except asyncio.CancelledError:
            with contextlib.suppress(CastRayError):
                await session.client.request(messages.CancelVerify(job), messages.Done)
            raise
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
    if options.json:
        used = messages.CastCluster.of(session.cluster.target, session.cluster.address)
        nodes = [_verified_object(node) for node in report.nodes]
        text.print_json({"event": "verified", "cluster": plain(cast_cluster_form(used)), "nodes": nodes})
    else:
        text.print_verified(report)
    same = all(node.state is VerifiedState.SAME for node in report.nodes)
    return arguments.EXIT_DELIVERED if same else arguments.EXIT_NOT_DELIVERED


async def _follow_verify(session: Session, job: str) -> None:
    with text.reading_bar() as advance:
        async for event in session.events():
            match event:
                case messages.VerifyProgress(its_job, read, total) if its_job == job:
                    advance(read, total)


def _verified_object(node: messages.VerifiedNode) -> dict[str, object]:
    return {
        "node": node.node,
        "state": node.state.value,
        "hash": node.hash or None,
        "files": node.files,
        "bytes": node.bytes,
        "differing": list(node.differing),
        "differing_count": node.differing_count,
        "reason": sentence(node.failure) if node.failure else None,
    }
