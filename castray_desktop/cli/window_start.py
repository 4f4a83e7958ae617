"""Opens the window from the command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from castray_desktop.cli.command_line import parse_window_start
from castray_desktop.cli.exit_status import EXIT_BAD_USAGE

NO_DISPLAY = (
    "castray: there is no display to open a window on. "
    "Start it in a desktop session or with ssh -X, or send from the command line: castray send --help"
)
MISSING_LIBRARY = (
    "castray: the window can't be opened, since a library that Qt needs is missing ({reason}). "
    "Install the libraries listed in README.md, or send from the command line: castray send --help"
)


def open_window(arguments: list[str]) -> int:
    """Open the window; returns its exit status, or 2 if there is no display."""
    options = parse_window_start(arguments)
    if not has_display(dict(os.environ)):
        print(NO_DISPLAY, file=sys.stderr)
        return EXIT_BAD_USAGE
    try:
        from castray_desktop.app import run
    except ImportError as error:
        print(MISSING_LIBRARY.format(reason=error), file=sys.stderr)
        return EXIT_BAD_USAGE
    return run([str(Path(path).absolute()) for path in options.files], options.cluster)


def has_display(environment: dict[str, str]) -> bool:
    """Whether Qt finds a screen: X11, Wayland, a platform from the environment, or macOS."""
    if sys.platform == "darwin" or environment.get("QT_QPA_PLATFORM"):
        return True
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))
