"""`castray engine`: start and stop the background engine, or print its status."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time

from castray_desktop.cli.arguments import (
    EXIT_DELIVERED,
    Commands,
    add_command,
    add_command_group,
)
from castray_desktop.cli.output.cast_text import print_limit
from castray_desktop.cli.output.terminal import format_count, print_json, say
from castray_desktop.cli.session import Session
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import EngineStatus
from castray_desktop.workers.base.paths import find_paths
from castray_desktop.workers.client.engine_client import end_other_engine, engine_is_running

STOP_SECONDS = 30.0
"""How long to repeat the request to an engine that does not answer."""

RETRY_SECONDS = 0.2


def add_parsers(commands: Commands) -> None:
    """Add `engine`."""
    actions = add_command_group(
        commands,
        "engine",
        "start, stop or query the background engine",
        """
        castray engine start --cluster auto
        castray engine status --json
        castray engine stop
        """,
    )
    add_command(
        actions,
        "start",
        "start the engine and its cluster, and keep them running",
        "castray engine start --cluster auto",
        handler=start_engine,
        uses_cluster=True,
    )
    add_command(
        actions,
        "stop",
        "stop the engine and everything that it started",
        "castray engine stop",
        handler=stop_engine,
    )
    add_command(
        actions,
        "status",
        "show the status of the engine",
        "castray engine status --json",
        handler=show_status,
    )


async def start_engine(options: argparse.Namespace) -> int:
    """Start the engine with its cluster, and keep it running after this command."""
    async with Session() as session:
        await session.ready(options.cluster)
        await session.client.request(messages.KeepEngine(True), messages.Done)
        session.keep = True
        status = await session.client.request(messages.GetStatus(), EngineStatus)
    if options.json:
        print_json({"event": "started"} | _status_object(status))
    else:
        say(f"The engine runs with {format_count(status.nodes, 'node')}. Stop it with: castray engine stop")
    return EXIT_DELIVERED


async def stop_engine(options: argparse.Namespace) -> int:
    """Stop the engine, and wait for its end."""
    running = True
    try:
        await _stop()
    except CastRayError as error:
        if not _is_stopped(error):
            raise
        running = False
        print("No engine is running.", file=sys.stderr)
    if options.json:
        print_json({"event": "stopped", "running": running})
    return EXIT_DELIVERED


async def _stop() -> None:
    """Return when the engine has ended. Raises CastRayError if none runs, or if it does not answer."""
    deadline = time.monotonic() + STOP_SECONDS
    ending = False
    while True:
        try:
            async with Session(start=False) as session:
                await session.client.request(messages.StopEngine(), messages.Done)
                await session.drain()
            return
        except CastRayError as error:  # a busy engine may answer later; one that is ending is gone soon
            if ending and _is_stopped(error):
                return
            other = error.failure.kind is FailureKind.ENGINE_VERSION
            if not (other or _is_unresponsive(error)) or time.monotonic() >= deadline:
                raise
            if other and not ending:
                with contextlib.suppress(OSError):  # it has ended in between
                    end_other_engine(find_paths())
                ending = True
            await asyncio.sleep(RETRY_SECONDS)


async def show_status(options: argparse.Namespace) -> int:
    """Print the engine's status."""
    try:
        async with Session(start=False) as session:
            status = await session.client.request(messages.GetStatus(), EngineStatus)
    except CastRayError as error:
        if not _is_stopped(error):
            raise
        status = None
    if options.json:
        print_json(_status_object(status))
    else:
        print_status(status)
    return EXIT_DELIVERED


def _is_unresponsive(error: CastRayError) -> bool:
    """Whether an engine runs that can't be reached."""
    return error.failure.kind is FailureKind.ENGINE_UNREACHABLE and engine_is_running(find_paths())


def _is_stopped(error: CastRayError) -> bool:
    """Whether it can't be reached because no engine runs."""
    return error.failure.kind is FailureKind.ENGINE_UNREACHABLE and not engine_is_running(find_paths())


def _status_object(status: EngineStatus | None) -> dict[str, object]:
    if status is None:
        nothing = {"state": "stopped", "pid": None, "cluster": None, "limit": None}
        return nothing | {"nodes": 0, "casts": 0, "clients": 0}
    used = status.cluster
    return {
        "state": "running",
        "pid": status.pid,
        "cluster": used.target or None,
        "cluster_state": used.phase.value,
        "address": used.address or None,
        "local": used.target == messages.LOCAL_TARGET,
        "nodes": status.nodes,
        "casts": status.casts,
        "clients": status.clients - 1,
        "kept": status.kept,
        "limit": status.limit or None,
    }


def print_status(status: EngineStatus | None) -> None:
    """Print the engine's status in a few lines."""
    if status is None:
        print("No engine is running.")
        return
    cluster = status.cluster
    where = f"{cluster.target}, {cluster.phase.value}" if cluster.target else "none"
    print(f"The engine runs (process {status.pid}). Cluster: {where}.")
    counts = ((status.nodes, "node"), (status.casts, "cast"), (status.clients - 1, "other client"))
    print(f"{', '.join(format_count(number, noun) for number, noun in counts)}.")
    if status.limit:
        print_limit(status.limit)
