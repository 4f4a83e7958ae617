"""What stands in a folder at a recipient and is not in the parcel: found, and removed if that was asked for.

Only inside folders that were sent and stand there as real folders, and never through a link: each folder is
opened from the one above it, without following, and entries are removed by their name in that open folder.
What was excluded from the parcel is none of it, nor what lies on another file system. A folder that was
empty at the source removes nothing: it is more likely a disk that is not mounted than what anybody wants.

A removal is one step of the file system's for each entry. Whatever ends it in the middle leaves each entry
whole or gone, and the same cast or the next one goes on with the rest.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import stat
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Optional

from castray_desktop.core.exclusions import Exclusions
from castray_desktop.core.failure import Failure, FailureKind
from castray_desktop.core.names import display
from castray_desktop.core.parcel import EntryKind, Manifest, decode
from castray_desktop.workers.ray_side.byte_plane.failures import reason_of

MOST_SHOWN = 100
MOST_FOLDERS = 200
"""One in the other; what lies deeper stays."""

MOST_MANIFEST_BYTES = 1 << 30
OURS = b".castray-"  # staging and probes
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass
class Extras:
    """What was found or removed: the folders first that hold the others."""

    count: int = 0
    paths: list[str] = field(default_factory=list)  # absolute, the first hundred
    failed: int = 0
    trouble: Optional[OSError] = None  # of the first that could not be removed


class ExtraFinder:
    """Looks through one destination. `went_on` is called for each entry, and may raise to end it."""

    def __init__(
        self,
        manifest: Manifest,
        destination: bytes,
        exclude: Collection[str],
        went_on: Callable[[], None] = lambda: None,
        keep: Collection[bytes] = (),
    ) -> None:
        """`keep` are paths below the destination that are the parcel's under other names."""
        self._destination = destination
        self._exclusions = Exclusions(tuple(exclude))
        self._went_on = went_on
        self._keep = frozenset(keep)
        self._remove = False
        self._found = Extras()
        self._kinds = {entry.path: entry.kind for entry in manifest.entries}
        self._names: dict[bytes, set[bytes]] = {}
        for entry in manifest.entries:
            folder, _, name = entry.path.rpartition(b"/")
            self._names.setdefault(folder, set()).add(name)

    def find(self) -> Extras:
        """Tell what is there, and leave it. Raises OSError."""
        return self._run(remove=False)

    def remove(self) -> Extras:
        """Remove it. What can't be removed is counted, and the rest goes all the same. Raises OSError."""
        return self._run(remove=True)

    def _run(self, remove: bool) -> Extras:
        self._remove, self._found = remove, Extras()
        try:
            destination = os.open(self._destination, _FOLDER)
        except FileNotFoundError:
            return self._found
        with _closing(destination):
            for name in self._names.get(b"", ()):
                if self._kinds[name] is EntryKind.FOLDER:
                    self._go_into(destination, name, name)
        return self._found

    def _go_into(self, above: int, name: bytes, path: bytes) -> None:
        """Look through a folder of the parcel, if a real folder stands there."""
        if path.count(b"/") > MOST_FOLDERS:
            return
        try:
            folder = os.open(name, _FOLDER, dir_fd=above)
        except OSError as error:  # a link, a file, or nothing: none of the parcel's folders
            if isinstance(error, PermissionError):
                self._note_trouble(error)
            return
        with _closing(folder):
            if os.fstat(folder).st_dev != os.fstat(above).st_dev:
                return
            known = self._names.get(path)
            if known is None:  # it was empty
                return
            there = _identities(folder, known)
            for found in self._listed(folder):
                below = path + b"/" + found
                if found not in known:
                    self._extra(folder, found, below, there)
                elif self._kinds[below] is EntryKind.FOLDER:
                    self._go_into(folder, found, below)

    def _extra(self, folder: int, name: bytes, path: bytes, known: Collection[tuple[int, int]]) -> bool:
        """One entry that the parcel does not have; whether it is gone, or would be."""
        self._went_on()
        try:
            facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:  # somebody else was faster
            return True
        is_folder = stat.S_ISDIR(facts.st_mode)
        if not (is_folder or stat.S_ISREG(facts.st_mode) or stat.S_ISLNK(facts.st_mode)):
            return False  # no parcel has such things
        if path in self._keep or name.startswith(OURS) or self._exclusions.excludes(display(path), is_folder):
            return False
        if (facts.st_dev, facts.st_ino) in known and (is_folder or facts.st_nlink == 1):
            return False  # the parcel's own, on a file system to which both names are one
        if facts.st_dev != os.fstat(folder).st_dev:
            return False
        return self._drop_folder(folder, name, path) if is_folder else self._drop(folder, name, path, False)

    def _drop_folder(self, above: int, name: bytes, path: bytes) -> bool:
        at = self._found.count
        if path.count(b"/") > MOST_FOLDERS:
            self._note_trouble(OSError(errno.ELOOP, "too deep in its folders"), path)
            return False
        try:
            folder = os.open(name, _FOLDER, dir_fd=above)
        except OSError as error:
            self._note_trouble(error, path)
            return False
        with _closing(folder):
            gone = [self._extra(folder, below, path + b"/" + below, ()) for below in self._listed(folder)]
        if not all(gone):
            return False
        return self._drop(above, name, path, True, at)

    def _drop(self, folder: int, name: bytes, path: bytes, is_folder: bool, at: int = -1) -> bool:
        if self._remove:
            try:
                if is_folder:
                    os.rmdir(name, dir_fd=folder)
                else:
                    os.unlink(name, dir_fd=folder)
            except FileNotFoundError:
                return True
            except OSError as error:
                self._note_trouble(error, path)
                return False
        self._found.count += 1
        shown = self._found.paths
        if at < MOST_SHOWN:
            shown.insert(at if at >= 0 else len(shown), display(self._destination + b"/" + path))
            del shown[MOST_SHOWN:]
        return True

    def _listed(self, folder: int) -> list[bytes]:
        try:
            return sorted(os.fsencode(name) for name in os.listdir(folder))
        except OSError as error:
            self._note_trouble(error)
            return []

    def _note_trouble(self, error: OSError, path: bytes = b"") -> None:
        self._found.failed += 1
        if self._found.trouble is None:
            place = os.fsdecode(self._destination + b"/" + path) if path else error.filename
            self._found.trouble = OSError(error.errno, error.strerror, place)


def not_removed(node: str, extras: Extras) -> Failure:
    """What a delivery fails with that could not remove all of it."""
    assert extras.trouble is not None
    return Failure(
        FailureKind.NOT_REMOVED,
        {
            "node": node,
            "count": str(extras.failed),
            "path": display(extras.trouble.filename or ""),
            "reason": reason_of(extras.trouble),
        },
    )


def pack(raw: bytes) -> str:
    """A manifest as it travels in a control call."""
    return base64.b85encode(zlib.compress(raw, 6)).decode()


def unpack(text: str) -> Manifest:
    """The manifest that was packed. Raises ValueError."""
    unpacking = zlib.decompressobj()
    try:
        raw = unpacking.decompress(base64.b85decode(text), MOST_MANIFEST_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if unpacking.unconsumed_tail:
        raise ValueError("too long a manifest")
    return decode(raw)


@contextlib.contextmanager
def _closing(fd: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(fd)


def _identities(folder: int, names: Collection[bytes]) -> set[tuple[int, int]]:
    """Which files and folders these names of an open folder are."""
    found = set()
    for name in names:
        with contextlib.suppress(OSError):
            facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
            found.add((facts.st_dev, facts.st_ino))
    return found
