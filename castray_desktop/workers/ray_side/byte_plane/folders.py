"""Folders as open descriptors: nobody can put a link in the place of one between two steps."""

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
"""What opening a folder says where there is none: nothing, a file, or a link."""


class Folder:
    """An open folder, and the path that it was found at, which is for people and logs."""

    def __init__(self, fd: int, path: bytes, noting: Callable[[int], None] = lambda mode: None) -> None:
        """`noting` is told the mode before it is changed. Raises what that raises."""
        self.fd = fd
        self.path = path
        self._noting = noting
        self.mode: Optional[int] = None
        """Of one that was made writable: the mode that it gets back."""

    def below(self, name: bytes) -> bytes:
        """The path of an entry."""
        return self.path + b"/" + name

    def change(self, step: Callable[[], T]) -> T:
        """Carry out a step that changes its entries, also where it is ours and its mode forbids that.

        It gets its mode back when it is closed. Raises OSError.
        """
        try:
            return step()
        except PermissionError:
            if not self._make_writable():
                raise
        return step()

    def _make_writable(self) -> bool:
        """Whether it can be changed now and could not before."""
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
        """It gets its mode back. Raises OSError."""
        try:
            if self.mode is not None:
                os.fchmod(self.fd, self.mode)
        finally:
            os.close(self.fd)


def open_folder(
    name: bytes, above: Folder, noting: Callable[[int], None] = lambda mode: None
) -> Optional[Folder]:
    """A folder in another one; None where there is no real one. Raises OSError."""
    try:
        return Folder(os.open(name, FOLDER, dir_fd=above.fd), above.below(name), noting)
    except OSError as error:
        if error.errno in NO_FOLDER:
            return None
        raise


def facts_of(name: bytes, folder: int) -> Optional[os.stat_result]:
    """What there is in an open folder, a link itself rather than what it points to; None for nothing."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def folder_above(path: bytes, folder: int) -> Iterator[tuple[int, bytes]]:
    """The open folder that an entry below `folder` lies in, and its name there. Goes through real folders
    alone. Raises OSError.
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
