"""Opens the window from the command line."""

from __future__ import annotations

import os
import sys

from castray_desktop.cli.arguments import EXIT_BAD_USAGE
from castray_desktop.cli.command_line import parse_window_start
from castray_desktop.workers.base.installation import (
    LIBRARIES,
    extra_command,
    install_command,
    lacks_extra,
    missing_libraries,
)

NO_DISPLAY = (
    "castray: no display is available to open a window. Start it in a desktop session or with ssh -X,"
    " or send from the command line: castray send --help"
)
NOT_INSTALLED = (
    "castray: the window is not installed here. "
    "Send from the command line (castray send --help), or install it with: {command}"
)
MISSING_LIBRARY = (
    "castray: the window can't be opened because a library that Qt needs is missing ({reason}). Send"
    " from the command line (castray send --help), or install the library with: {command}"
)


def open_window(arguments: list[str]) -> int:
    """Open the window; returns its exit status, or 2 if something that it needs is missing."""
    options = parse_window_start(arguments)
    environment = dict(os.environ)
    if lacks_extra("window"):
        return _refuse(NOT_INSTALLED.format(command=extra_command("window")))
    if not has_display(environment):
        return _refuse(NO_DISPLAY)
    if uses_x11(environment) and (missing := missing_libraries()):
        names = ", ".join(library.content for library in missing)
        return _refuse(MISSING_LIBRARY.format(reason=names, command=install_command(missing)))
    try:
        from castray_desktop.app import run
    except ImportError as error:
        command = install_command(missing_libraries() or LIBRARIES)
        return _refuse(MISSING_LIBRARY.format(reason=error, command=command))
    return run(options.files, options.cluster)


def _refuse(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return EXIT_BAD_USAGE


def uses_x11(environment: dict[str, str]) -> bool:
    """Whether Qt is going to open the window on X11. There it aborts the process if it lacks a library."""
    if environment.get("WAYLAND_DISPLAY") or environment.get("QT_QPA_PLATFORM"):
        return False
    return bool(environment.get("DISPLAY"))


def has_display(environment: dict[str, str]) -> bool:
    """Whether Qt finds a screen: X11, Wayland, a platform from the environment, or macOS."""
    if sys.platform == "darwin" or environment.get("QT_QPA_PLATFORM"):
        return True
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))
