"""Names of a parcel that are equal for a recipient's file system, such as `A` and `a` if it ignores case.

Only the file system knows that: it is tested with empty files in a folder of CastRay.
"""

from __future__ import annotations

import contextlib
import errno
import os
import unicodedata
from collections.abc import Callable, Iterator
from typing import Optional

from castray_desktop.core.content.manifest import Manifest
from castray_desktop.workers.agent.transfer.system.open_folders import FOLDER, lstat_in

AreOne = Callable[[bytes, bytes], bool]
NOT_A_NAME = (errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG)
_TELLING = ((b"castray-name", b"CASTRAY-NAME"), ("é".encode(), "e\u0301".encode()))
"""Pairs of names that are equal if case or Unicode normalisation is ignored."""


def find_clash(manifest: Manifest, are_one: AreOne) -> Optional[tuple[bytes, bytes]]:
    """Two paths of the parcel that can't both exist; None if there are none."""
    if not any(are_one(*pair) for pair in _TELLING):
        return None
    seen: dict[tuple[bytes, str], list[bytes]] = {}
    for entry in manifest.entries:
        above, _, name = entry.path.rpartition(b"/")
        alike = seen.setdefault((above, _folded(name)), [])
        for other in alike:
            if are_one(other, name):
                return (above + b"/" + other if above else other), entry.path
        alike.append(name)
    return None


def _folded(name: bytes) -> str:
    """Equal for all names that any file system may consider equal."""
    text = unicodedata.normalize("NFKD", name.decode("utf-8", "surrogateescape")).casefold()
    text = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in text if unicodedata.category(letter) != "Cf").rstrip(". ")


@contextlib.contextmanager
def name_comparison(folder: int) -> Iterator[AreOne]:
    """Compare names on the file system of an open folder. Raises OSError, and so does what it gives."""
    name = b"names"
    with contextlib.suppress(FileExistsError):  # left by an earlier process
        os.mkdir(name, 0o700, dir_fd=folder)
    fd = os.open(name, FOLDER, dir_fd=folder)
    try:
        yield lambda first, second: _are_one(fd, first, second)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=folder)


def _are_one(folder: int, first: bytes, second: bytes) -> bool:
    try:
        os.close(os.open(first, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=folder))
    except OSError as error:
        if error.errno not in NOT_A_NAME:
            raise
        return False  # an invalid name; reported when it is created
    try:
        return lstat_in(second, folder) is not None
    except OSError as error:
        if error.errno not in NOT_A_NAME:
            raise
        return False
    finally:
        os.unlink(first, dir_fd=folder)
