"""Run command lines inside the test's event loop."""

from __future__ import annotations

from castray_desktop.cli.arguments import style_of
from castray_desktop.cli.command_line import parse_command
from castray_desktop.cli.output.terminal import use_output_style


async def run_words(*words: str) -> int:
    """The exit status of a command line."""
    options = parse_command(list(words))
    with use_output_style(style_of(options)):
        status: int = await options.handler(options)
    return status
