"""Names of a parcel that are one name to a recipient's file system, as `A` and `a` are where it ignores case.

Which names those are only the file system knows: it is asked, with empty files in a folder of ours.
"""

from __future__ import annotations

import contextlib
import errno
import os
import unicodedata
from collections.abc import Callable, Iterator
from typing import Optional

from castray_desktop.core.parcel import Manifest
from castray_desktop.workers.ray_side.byte_plane.folders import FOLDER, facts_of

AreOne = Callable[[bytes, bytes], bool]
NOT_A_NAME = (errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG)
_TELLING = ((b"castray-name", b"CASTRAY-NAME"), ("é".encode(), "e\u0301".encode()))
"""Names that are one wherever case, or the way that an accent is written, does not count."""


def find_clash(manifest: Manifest, are_one: AreOne) -> Optional[tuple[bytes, bytes]]:
    """Two paths of the parcel that can't be there at the same time; None if there are none."""
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
    """Equal for names that any file system takes for one, and for some that it does not."""
    text = unicodedata.normalize("NFKD", name.decode("utf-8", "surrogateescape")).casefold()
    text = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in text if unicodedata.category(letter) != "Cf").rstrip(". ")


@contextlib.contextmanager
def asking(folder: int) -> Iterator[AreOne]:
    """Ask the file system of an open folder. Raises OSError, and so does what it gives."""
    name = b"names"
    with contextlib.suppress(FileExistsError):  # an earlier process was ended while it asked
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
        return False  # such a name can't be there at all: that is told when it is made
    try:
        return facts_of(second, folder) is not None
    except OSError as error:
        if error.errno not in NOT_A_NAME:
            raise
        return False
    finally:
        os.unlink(first, dir_fd=folder)
