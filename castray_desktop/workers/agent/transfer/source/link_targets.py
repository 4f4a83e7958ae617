"""Targets of a source's symbolic links: inside the parcel, outside of it, or missing."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from typing import Optional

from castray_desktop.core.content.manifest import MAX_TARGET

NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""The errors for a link that points to nothing."""


class LinkTargets:
    """Resolves links of a parcel. Paths are those in the parcel, places those on this machine.

    `is_excluded(path)` says whether something in the parcel's folders is left out of it.
    """

    def __init__(self, is_excluded: Callable[[bytes], bool]) -> None:
        self._is_excluded = is_excluded
        self.lexical = True  # all that was kept so far follows from the texts alone, wherever they lead
        self._roots: list[tuple[bytes, bytes]] = []  # real places of folders in the parcel, and their paths
        self._depth = 1  # of the folder that the walk is in, and that no link of it leads out of by `..`

    def add(self, place: bytes, path: bytes) -> None:
        """Add a chosen file or folder: links into it stay links in the parcel."""
        self._roots.append((os.path.realpath(place), path))

    @contextlib.contextmanager
    def following(self, real: bytes, path: bytes) -> Iterator[None]:
        """For the time in which the folder behind a link is scanned: links within it stay links as well."""
        before = self._depth
        self._roots.append((real, path))
        self._depth = path.count(b"/") + 1
        yield
        self._depth = before
        self._roots.pop()

    def text_to_keep(self, place: bytes, path: bytes, text: bytes) -> Optional[bytes]:
        """The link's text for recipients; None if it leads out of the parcel.

        A link that leads nowhere stays as it is, and so does one to a folder that the parcel lies in, since
        following it would never end. A path from the top of the file system is made relative. Raises OSError
        where that can't be found out.
        """
        try:
            os.stat(place)
        except OSError as error:
            if error.errno in NOWHERE:
                self.lexical = self.lexical and self._is_within(path, text)
                return text
            raise
        if self._is_within(path, text):
            return text
        self.lexical = False
        real = os.path.realpath(place)
        for root, top in reversed(self._roots):
            if _contains(root, real):
                inside = top + real[len(root) :]
                relative = os.path.relpath(b"/" + inside, b"/" + os.path.dirname(path))
                if len(relative) <= MAX_TARGET and not self._is_excluded(inside):
                    return relative
        if any(_contains(real, root) for root, _ in self._roots):
            return text
        return None

    def _is_within(self, path: bytes, text: bytes) -> bool:
        """Whether the text resolves to an entry of the parcel without leaving its folders."""
        if text.startswith(b"/"):
            return False
        names, down = path.split(b"/")[:-1], False
        for name in text.split(b"/"):
            if name == b"..":
                if down or len(names) <= self._depth:  # `..` after a link resolves differently
                    return False
                names.pop()
            elif name not in (b"", b"."):
                down = True
                names.append(name)
        return not self._is_excluded(b"/".join(names))


def _contains(folder: bytes, place: bytes) -> bool:
    return place == folder or place.startswith(folder.rstrip(b"/") + b"/")
