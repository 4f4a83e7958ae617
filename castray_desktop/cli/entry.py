"""The program `castray`: opens the window, or runs a command."""

from __future__ import annotations

import os


def main(arguments: list[str]) -> int:
    """Run what the arguments ask for; returns the exit status.

    Each branch imports only what it needs: the window's first paint waits for these imports.
    """
    if "_ARGCOMPLETE" in os.environ:  # a shell asks for completions
        from castray_desktop.cli.shell_completion import complete

        complete()
    from castray_desktop.cli.command_line import is_window_start, parse_command

    if is_window_start(arguments):
        from castray_desktop.cli.window_start import open_window

        return open_window(arguments)
    from castray_desktop.cli.command_runner import run_command

    return run_command(parse_command(arguments))
