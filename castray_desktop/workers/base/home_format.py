"""The format of the home: one number for all files in it, in `format.json`.

An engine writes the number when it starts. A program that finds a higher one reads and writes nothing else
there, since it would misread files or drop what it does not know.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.workers.base.state_files import UNREADABLE, quarantine_file, read_file, replace_file

HOME_FORMAT = 1
"""Raise it in the first version that writes a file of the home otherwise than the last release: the last
release would misread it, or drop a field that it does not know. Homes without a number have format 0."""


class HomeFormat(msgspec.Struct, frozen=True):
    """The content of `format.json`. Later versions may add fields, and keep these."""

    format: int
    version: str  # of the program that wrote it


def check_home(home: Path) -> None:
    """Check that this version can read the home; changes nothing.

    Raises CastRayError(HOME_NEWER) for a home of a later version.
    """
    path = _path(home)
    try:
        found = _read(path)
    except (OSError, *UNREADABLE):  # the engine sets a damaged one aside
        return
    if found.format > HOME_FORMAT:
        raise CastRayError(FailureKind.HOME_NEWER, path=path, version=found.version)


def mark_home(home: Path, version: str) -> None:
    """Write the format, and the version of this program, into a home that `check_home` has accepted.

    Raises OSError.
    """
    path = _path(home)
    try:
        if _read(path).format == HOME_FORMAT:
            return
    except FileNotFoundError:
        pass
    except UNREADABLE as error:
        quarantine_file(path, "the format of the home", error)
    replace_file(path, msgspec.json.encode(HomeFormat(HOME_FORMAT, version)), synced=True)


def _path(home: Path) -> Path:
    return home / "format.json"


def _read(path: Path) -> HomeFormat:
    return msgspec.json.decode(read_file(path), type=HomeFormat)
