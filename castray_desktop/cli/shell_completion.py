"""Answers a shell that completes a command: words of the parser, files, and names that the engine knows."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import argcomplete
from argcomplete.completers import FilesCompleter

from castray_desktop.cli.command_line import command_parser, inner_parsers
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.protocol.messages import Welcome
from castray_desktop.workers.base.paths import find_paths
from castray_desktop.workers.client.engine_client import EngineClient

ENGINE_SECONDS = 1.0

_CASTS = {"cast"}
_NODES = {"to", "source", "nodes", "node"}
_FILES = {"paths", "inbox", "files_from", "exclude_from"}


def complete() -> None:
    """Answer the shell and end the process. Does nothing unless a shell has started it."""
    parser = command_parser()
    attach_completers(parser)
    argcomplete.autocomplete(parser)


def attach_completers(parser: argparse.ArgumentParser) -> None:
    """Give each argument its completer, also in commands of commands."""
    for inner in inner_parsers(parser).values():
        attach_completers(inner)
    for action in parser._actions:
        if action.choices is None and (completer := completer_for(action.dest)) is not None:
            action.completer = completer  # type: ignore[attr-defined]


def completer_for(argument: str) -> Any:
    """The completer of an argument, by its name in the namespace; None: nothing to suggest."""
    if argument in _FILES:
        return FilesCompleter()
    if argument in _CASTS:
        return lambda **_: _ask_engine(lambda welcome: [cast.cast for cast in welcome.casts])
    if argument in _NODES:
        return complete_nodes
    return None


def complete_nodes(prefix: str, **_values: object) -> list[str]:
    """Names for the part after the last comma."""
    before, comma, _rest = prefix.rpartition(",")
    names = [*_ask_engine(lambda welcome: [node.name for node in welcome.nodes]), "all"]
    return [f"{before}{comma}{name}" for name in names]


def _ask_engine(read: Callable[[Welcome], list[str]]) -> list[str]:
    """Names from the running engine; none where no engine runs."""
    welcome = asyncio.run(fetch_welcome())
    return read(welcome) if welcome is not None else []


async def fetch_welcome() -> Welcome | None:
    """The engine's state, or None where no engine runs or answers in time."""
    with contextlib.suppress(CastRayError, TimeoutError):
        async with asyncio.timeout(ENGINE_SECONDS):
            client = await EngineClient.connect(find_paths(), "completion", start=False)
            await client.close()
            return client.welcome
    return None
