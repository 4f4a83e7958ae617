"""Carries out a command and turns what happened into an exit status."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator

import castray_desktop
from castray_desktop.cli import arguments, casts, cluster, desktop, doctor, past, schedules, text
from castray_desktop.cli.send import send
from castray_desktop.cli.session import Session
from castray_desktop.core import messages
from castray_desktop.core.errors import sentence
from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.messages import NodeInfo
from castray_desktop.core.statuses import STATUSES
from castray_desktop.workers.client import engine_lives
from castray_desktop.workers.places import find_places

STOP_SECONDS = 30.0
"""An engine that does not answer is asked to end for so long."""

AGAIN_SECONDS = 0.2

log = logging.getLogger("castray.command")

Command = Callable[[argparse.Namespace], Coroutine[None, None, int]]


def run(options: argparse.Namespace) -> int:
    """Carry out a parsed command; returns the exit status. Errors are one sentence on stderr."""
    command = _find(options)
    text.accept_any_name()
    try:
        with asyncio.Runner() as runner:
            return runner.run(_interruptible(command(options)))
    except CastRayError as error:
        print(f"castray: {sentence(error.failure)}", file=sys.stderr)
        return STATUSES[error.failure.kind].exit
    except (KeyboardInterrupt, asyncio.CancelledError):
        return arguments.EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain again while closing it.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return arguments.EXIT_NOT_DELIVERED
    except Exception as error:
        with _log_file():
            log.exception("castray %s", options.command)
        reason = f"{type(error).__name__}: {error}"
        print(f"castray: {sentence(Failure(FailureKind.INTERNAL, {'reason': reason}))}", file=sys.stderr)
        return arguments.EXIT_NOT_DELIVERED


@contextlib.contextmanager
def _log_file() -> Iterator[None]:
    """Log to a file while entered: a person wants a sentence, and who repairs it the trace."""
    handler: logging.Handler = logging.NullHandler()
    with contextlib.suppress(OSError, RuntimeError):
        handler = logging.FileHandler(find_places().log / "command.log")
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.propagate = False
    log.addHandler(handler)
    yield
    log.removeHandler(handler)
    handler.close()


def _find(options: argparse.Namespace) -> Command:
    action = getattr(options, "action", None)
    return _COMMANDS[f"{options.command} {action}" if action else options.command]


async def _interruptible(command: Coroutine[None, None, int]) -> int:
    """SIGTERM ends a command as Ctrl+C does, cleaning up on the way."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await command


async def _nodes(options: argparse.Namespace) -> int:
    async with Session() as session:
        await session.ready(options.cluster)
        await _facts_of_all(session)
        nodes = tuple(session.nodes.values())
    if options.json:
        text.print_json([_node_object(node) for node in nodes])
    else:
        text.print_nodes(nodes)
    return arguments.EXIT_DELIVERED


async def _facts_of_all(session: Session) -> None:
    """The facts of a node come with its first report, a moment after it is ready."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(3.0):
            while any(
                node.state is messages.NodeState.ONLINE and not node.disk_total
                for node in session.nodes.values()
            ):
                if await anext(session.events(), None) is None:
                    return


def _node_object(node: NodeInfo) -> dict[str, object]:
    return {
        "name": node.name,
        "address": node.address,
        "node_id": node.node_id,
        "state": node.state.value,
        "inbox": node.inbox,
        "cpus": node.cpus,
        "memory": node.memory,
        "disk_free": node.disk_free,
        "labels": node.labels,
    }


async def _serve(options: argparse.Namespace) -> int:
    from castray_desktop.cli.serve import serve

    return await serve(options)


async def _print_completion(options: argparse.Namespace) -> int:
    from castray_desktop.cli.completion import script

    print(script(options.shell))
    return arguments.EXIT_DELIVERED


async def _add_node(options: argparse.Namespace) -> int:
    async with Session(start=False) as session:
        await session.ready(options.cluster)
        await session.client.request(
            messages.AddNode(
                options.name, options.on, os.path.abspath(options.inbox) if options.inbox else ""
            ),
            messages.Done,
        )
    return arguments.EXIT_DELIVERED


async def _remove_node(options: argparse.Namespace) -> int:
    async with Session(start=False) as session:
        if options.cluster is not None:
            await session.ready(options.cluster)
        await session.client.request(messages.RemoveNode(options.name), messages.Done)
    return arguments.EXIT_DELIVERED


async def _start_engine(options: argparse.Namespace) -> int:
    async with Session() as session:
        await session.ready(options.cluster)
        await session.client.request(messages.KeepEngine(True), messages.Done)
        session.keep = True
        print(f"The engine runs with {len(session.nodes)} nodes. End it with: castray engine stop")
    return arguments.EXIT_DELIVERED


async def _stop_engine(_options: argparse.Namespace) -> int:
    try:
        await _stop_it()
    except CastRayError as error:
        if not _is_no_engine(error):
            raise
        print("No engine is running.", file=sys.stderr)
    return arguments.EXIT_DELIVERED


async def _stop_it() -> None:
    """Returns when the engine has ended. Raises CastRayError where there is none, or it does not answer."""
    deadline = time.monotonic() + STOP_SECONDS
    while True:
        try:
            async with Session(start=False) as session:
                await session.client.request(messages.StopEngine(), messages.Done)
                async for _ in session.events():
                    pass
            return
        except CastRayError as error:  # a busy one may answer later, one that is ending is gone soon
            if not _is_there(error) or time.monotonic() >= deadline:
                raise
            await asyncio.sleep(AGAIN_SECONDS)


async def _engine_status(options: argparse.Namespace) -> int:
    try:
        async with Session(start=False) as session:
            status = await session.client.request(messages.GetStatus(), messages.EngineStatus)
    except CastRayError as error:
        if not _is_no_engine(error):
            raise
        status = None
    if options.json:
        text.print_json(_status_object(status))
    else:
        text.print_status(status)
    return arguments.EXIT_DELIVERED


def _is_there(error: CastRayError) -> bool:
    """Whether there is an engine that can't be reached."""
    return error.failure.kind is FailureKind.ENGINE_UNREACHABLE and engine_lives(find_places())


def _is_no_engine(error: CastRayError) -> bool:
    return error.failure.kind is FailureKind.ENGINE_UNREACHABLE and not engine_lives(find_places())


def _status_object(status: messages.EngineStatus | None) -> dict[str, object]:
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


async def _help(options: argparse.Namespace) -> int:
    arguments.command_parser().parse_args([*options.topic, "--help"])
    return arguments.EXIT_DELIVERED


async def _version(_options: argparse.Namespace) -> int:
    print(f"castray {castray_desktop.__version__}")
    return arguments.EXIT_DELIVERED


_COMMANDS: dict[str, Command] = {
    "help": _help,
    "version": _version,
    "send": send,
    "nodes": _nodes,
    "node add": _add_node,
    "node remove": _remove_node,
    "casts": casts.casts,
    "add": casts.add_recipients,
    "pause": casts.pause,
    "resume": casts.resume,
    "cancel": casts.cancel,
    "retry": casts.retry,
    "again": casts.again,
    "drop": casts.drop,
    "move": casts.move,
    "limit": casts.limit,
    "verify": casts.verify,
    "history": past.history,
    "stats": past.statistics,
    "settings": past.settings,
    "schedule list": schedules.show,
    "schedule add": schedules.add,
    "schedule demo": schedules.demo,
    "schedule remove": schedules.remove,
    "schedule pause": schedules.pause,
    "schedule resume": schedules.resume,
    "schedule run": schedules.run,
    "cluster prepare": cluster.prepare,
    "cluster join": cluster.join,
    "cluster share": cluster.share,
    "doctor": doctor.doctor,
    "engine start": _start_engine,
    "engine stop": _stop_engine,
    "engine status": _engine_status,
    "serve": _serve,
    "completion": _print_completion,
    "desktop install": desktop.install,
    "desktop remove": desktop.remove,
}
