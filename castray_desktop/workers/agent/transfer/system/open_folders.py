"""Folders as open descriptors, so that none can be replaced by a link between two steps."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import Optional, TypeVar

T = TypeVar("T")
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_THROUGH = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHANGEABLE = stat.S_IWUSR | stat.S_IXUSR
NO_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""Errors of opening a folder if there is nothing, a file, or a link."""


class OpenFolder:
    """An open folder, and its path for messages."""

    def __init__(self, fd: int, path: bytes, noting: Callable[[int], None] = lambda mode: None) -> None:
        """`noting` is called with the mode before it is changed. Raises what that raises."""
        self.fd = fd
        self.path = path
        self._noting = noting
        self.mode: Optional[int] = None
        """The original mode of a folder that was made writable."""

    def child_path(self, name: bytes) -> bytes:
        """The path of an entry."""
        return self.path + b"/" + name

    def change(self, step: Callable[[], T]) -> T:
        """Run a step that changes entries, making an own folder writable for it if necessary.

        The mode is restored when it is closed. Raises OSError.
        """
        try:
            return step()
        except PermissionError:
            if not self._make_writable():
                raise
        return step()

    def _make_writable(self) -> bool:
        """Make the folder writable; returns whether that has helped."""
        facts = os.fstat(self.fd)
        mode = stat.S_IMODE(facts.st_mode)
        if facts.st_uid != os.geteuid() or mode & _CHANGEABLE == _CHANGEABLE:
            return False
        if self.mode is None:
            self._noting(mode)
            self.mode = mode
        os.fchmod(self.fd, mode | _CHANGEABLE)
        return True

    def close(self) -> None:
        """Restore the mode and close the folder. Raises OSError."""
        try:
            if self.mode is not None:
                os.fchmod(self.fd, self.mode)
        finally:
            os.close(self.fd)


def open_folder(
    name: bytes, above: OpenFolder, noting: Callable[[int], None] = lambda mode: None
) -> Optional[OpenFolder]:
    """Open a folder in another one; None if there is no real folder. Raises OSError."""
    try:
        return OpenFolder(os.open(name, FOLDER, dir_fd=above.fd), above.child_path(name), noting)
    except OSError as error:
        if error.errno in NO_FOLDER:
            return None
        raise


def lstat_in(name: bytes, folder: int) -> Optional[os.stat_result]:
    """`lstat` of an entry of an open folder; None if there is none."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def open_parent(path: bytes, folder: int) -> Iterator[tuple[int, bytes]]:
    """Open the folder of an entry below `folder`; returns it and the entry's name. Follows no links. Raises
    OSError.
    """
    above, name = os.path.split(path)
    if not above:
        yield folder, name
        return
    fd = open_below(above, folder, _THROUGH)
    try:
        yield fd, name
    finally:
        os.close(fd)


def open_below(path: bytes, folder: int, flags: int) -> int:
    """Open an entry below `folder`, also with O_NOFOLLOW, through real folders alone. Raises OSError."""
    *above, last = path.split(b"/")
    fd = folder
    try:
        for name in above:
            below = os.open(name, _THROUGH, dir_fd=fd)
            if fd != folder:
                os.close(fd)
            fd = below
        return os.open(last, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    finally:
        if fd != folder:
            os.close(fd)
