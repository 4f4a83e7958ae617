"""Errors of the operating system as failures that a user can act on."""

from __future__ import annotations

import errno
import getpass
import os
from typing import Union

from castray_desktop.core.content.file_names import display_name
from castray_desktop.core.content.quantities import format_bytes
from castray_desktop.core.failures.kinds import CastRayError, FailureKind

_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_BAD_NAME = (errno.ENAMETOOLONG, errno.EILSEQ)


def reason_of(error: OSError) -> str:
    """The operating system's message, without names and numbers."""
    return error.strerror or type(error).__name__


def no_room(node: str, path: Union[str, bytes], free: int, needed: int) -> CastRayError:
    """The failure for insufficient disk space."""
    return CastRayError(
        FailureKind.NO_ROOM,
        node=node,
        path=display_name(path),
        free=format_bytes(free),
        needed=format_bytes(needed),
    )


def write_failure(error: OSError, node: str, path: Union[str, bytes], needed: int = 0) -> CastRayError:
    """The failure for an error while writing `path` on `node`."""
    shown = display_name(path)
    if error.errno == errno.ENOSPC:
        free = free_bytes(path)
        # What it counts as free may be kept for others, or be no use without free inodes.
        return no_room(node, path, free if free < needed else 0, needed)
    if error.errno in _DENIED:
        return CastRayError(FailureKind.NOT_WRITABLE, node=node, path=shown, reason=reason_of(error))
    if error.errno in _BAD_NAME:
        return CastRayError(FailureKind.NAME_NOT_ALLOWED, node=node, path=shown)
    if error.errno == errno.ENOTDIR:
        return CastRayError(FailureKind.NOT_A_FOLDER, node=node, path=shown)
    return CastRayError(FailureKind.WRITE_ERROR, node=node, path=shown, reason=reason_of(error))


def free_bytes(path: Union[str, bytes]) -> int:
    """Free bytes where `path` is or would be; 0 if unknown."""
    place = os.fsencode(path)
    while place not in (b"", b"/") and not os.path.lexists(place):
        place = os.path.dirname(place)
    try:
        found = os.statvfs(place)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def user_name() -> str:
    """The user of this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.getuid())
