"""`python -m castray_desktop` and the console script `castray`: the window, or a command."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run what the command line asks for; returns the exit status.

    Each branch imports only what it needs: the window's first paint waits for these imports.
    """
    arguments = sys.argv[1:]
    if "_ARGCOMPLETE" in os.environ:  # a shell asks for completions
        from castray_desktop.cli.shell_completion import complete

        complete()
    from castray_desktop.cli.command_line import is_window_start, parse_command

    if is_window_start(arguments):
        from castray_desktop.cli.window_start import open_window

        return open_window(arguments)
    from castray_desktop.cli.command_runner import run_command

    return run_command(parse_command(arguments))


if __name__ == "__main__":
    sys.exit(main())
