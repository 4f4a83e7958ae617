"""Run command lines inside the test's event loop."""

from __future__ import annotations

from castray_desktop.cli.command_line import parse_command


async def run_words(*words: str) -> int:
    """The exit status of a command line."""
    options = parse_command(list(words))
    status: int = await options.handler(options)
    return status
