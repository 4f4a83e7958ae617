"""`python -m castray_desktop` and the console script `castray`: the window, or a command."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run what the command line asks for; returns the exit status.

    Imports only what is needed, so that the window is drawn soon.
    """
    arguments = sys.argv[1:]
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what could come next
        from castray_desktop.cli.completion import complete

        complete()
    from castray_desktop.cli.arguments import is_window_start, parse

    if is_window_start(arguments):
        from castray_desktop.cli.window import open_window

        return open_window(arguments)
    from castray_desktop.cli.commands import run

    return run(parse(arguments))


if __name__ == "__main__":
    sys.exit(main())
