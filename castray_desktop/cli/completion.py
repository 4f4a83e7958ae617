"""Completion in shells: the words of the parser, files, and what the running engine knows."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from typing import Any

import argcomplete
from argcomplete import shell_integration
from argcomplete.completers import FilesCompleter

from castray_desktop.cli.arguments import command_parser
from castray_desktop.core import messages
from castray_desktop.core.failure import CastRayError
from castray_desktop.workers.client import EngineClient
from castray_desktop.workers.places import find_places

SECONDS = 1.0

_CASTS = {"cast"}
_NODES = {"to", "source", "nodes", "node"}
_FILES = {"paths", "inbox"}


def script(shell: str) -> str:
    """What a shell reads to complete `castray`."""
    return shell_integration.shellcode(["castray"], shell=shell)


def complete() -> None:
    """Answer a shell that asks; ends the process. Does nothing for anybody else."""
    parser = command_parser()
    _attach(parser)
    argcomplete.autocomplete(parser)


def _attach(parser: argparse.ArgumentParser) -> None:
    """Tell each argument what it may be, in commands of commands too."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                _attach(inner)
        elif action.choices is None and (completer := _completer(action.dest)) is not None:
            action.completer = completer  # type: ignore[attr-defined]


def _completer(name: str) -> Any:
    if name in _FILES:
        return FilesCompleter()
    if name in _CASTS:
        return lambda **_: _known(lambda welcome: [cast.cast for cast in welcome.casts])
    if name in _NODES:
        return _complete_nodes
    return None


def _complete_nodes(prefix: str, **_asked: object) -> list[str]:
    """Names after the last comma."""
    before, comma, _rest = prefix.rpartition(",")
    names = [*_known(lambda welcome: [node.name for node in welcome.nodes]), "all"]
    return [f"{before}{comma}{name}" for name in names]


def _known(read: Any) -> list[str]:
    """From the running engine; nothing where none runs."""
    welcome = asyncio.run(_ask())
    return read(welcome) if welcome is not None else []


async def _ask() -> messages.Welcome | None:
    with contextlib.suppress(CastRayError, TimeoutError):
        async with asyncio.timeout(SECONDS):
            client = await EngineClient.connect(find_places(), "completion", start=False)
            await client.close()
            return client.welcome
    return None
