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
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Optional

from castray_desktop.core.exclusions import Exclusions
from castray_desktop.core.failure import Failure, FailureKind
from castray_desktop.core.names import display
from castray_desktop.core.parcel import EntryKind, Manifest, decode
from castray_desktop.workers.ray_side.byte_plane.failures import reason_of
from castray_desktop.workers.ray_side.byte_plane.folders import FOLDER, Folder, facts_of, open_folder

MOST_SHOWN = 100
MOST_FOLDERS = 200
"""One in the other; what lies deeper stays."""

MOST_MANIFEST_BYTES = 1 << 30
OURS = b".castray-"  # staging and probes


@dataclass
class Extras:
    """What was found or removed: the folders first that hold the others."""

    count: int = 0
    paths: list[str] = field(default_factory=list)  # absolute, the first hundred
    failed: int = 0
    trouble: Optional[OSError] = None  # of the first that could not be removed

    def add(self, more: Extras) -> None:
        """Count these as well."""
        self.count += more.count
        self.paths += more.paths[: MOST_SHOWN - len(self.paths)]


class ExtraFinder:
    """Looks through one destination. `went_on` is called for each entry, and may raise to end it."""

    def __init__(
        self,
        manifest: Manifest,
        destination: bytes,
        exclude: Collection[str],
        went_on: Callable[[], None] = lambda: None,
        noting: Callable[[bytes, int], None] = lambda path, mode: None,
    ) -> None:
        """`noting` is told the path and the mode of a folder of the parcel before it is made writable."""
        self._destination = destination
        self._exclusions = Exclusions(tuple(exclude))
        self._went_on = went_on
        self._noting = noting
        self._keep: frozenset[bytes] = frozenset()
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

    def remove(self, keep: Collection[bytes] = ()) -> Extras:
        """Remove it. What can't be removed is counted, and the rest goes all the same. Raises OSError.

        `keep` are paths below the destination that are the parcel's under other names.
        """
        self._keep = frozenset(keep)
        return self._run(remove=True)

    def could_remove(self, above: Folder, name: bytes, path: bytes) -> Optional[Extras]:
        """A folder where something else of the parcel comes: all in it, None if any of that has to stay."""
        self._remove, self._found = False, Extras()
        gone = self._extra(above, name, path, ())
        return self._found if gone and not self._found.failed else None

    def _run(self, remove: bool) -> Extras:
        self._remove, self._found = remove, Extras()
        try:
            destination = Folder(os.open(self._destination, FOLDER), self._destination)
        except FileNotFoundError:
            return self._found
        with contextlib.closing(destination):
            for name in self._names.get(b"", ()):
                if self._kinds[name] is EntryKind.FOLDER:
                    self._go_into(destination, name, name)
        return self._found

    def _go_into(self, above: Folder, name: bytes, path: bytes) -> None:
        """Look through a folder of the parcel, if a real folder stands there."""
        if path.count(b"/") > MOST_FOLDERS:
            return
        try:
            folder = open_folder(name, above, partial(self._noting, path))
        except OSError as error:
            self._note_trouble(error, path)
            return
        if folder is None:  # a link, a file, or nothing: none of the parcel's folders
            return
        with contextlib.closing(folder):
            if os.fstat(folder.fd).st_dev != os.fstat(above.fd).st_dev:
                return
            known = self._names.get(path)
            if known is None:  # it was empty
                return
            there = _identities(folder.fd, known)
            for found in self._listed(folder):
                below = path + b"/" + found
                if found not in known:
                    self._extra(folder, found, below, there)
                elif self._kinds[below] is EntryKind.FOLDER:
                    self._go_into(folder, found, below)
                elif not self._remove:  # else what came has taken its place already, if that could be
                    self._look_at_other_kind(folder, found, below)

    def _look_at_other_kind(self, above: Folder, name: bytes, path: bytes) -> None:
        """Count what would go where a folder stands in the place of something else."""
        facts = facts_of(name, above.fd)
        if facts is None or not stat.S_ISDIR(facts.st_mode):
            return
        before = self._found
        removed = self.could_remove(above, name, path)
        self._found = before
        if removed is not None:
            before.add(removed)

    def _extra(self, folder: Folder, name: bytes, path: bytes, known: Collection[tuple[int, int]]) -> bool:
        """One entry that the parcel does not have; whether it is gone, or would be."""
        self._went_on()
        try:
            facts = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
        except OSError:  # somebody else was faster
            return True
        is_folder = stat.S_ISDIR(facts.st_mode)
        if not (is_folder or stat.S_ISREG(facts.st_mode) or stat.S_ISLNK(facts.st_mode)):
            return False  # no parcel has such things
        if path in self._keep or name.startswith(OURS) or self._exclusions.excludes(display(path), is_folder):
            return False
        if (facts.st_dev, facts.st_ino) in known and (is_folder or facts.st_nlink == 1):
            return False  # the parcel's own, on a file system to which both names are one
        if facts.st_dev != os.fstat(folder.fd).st_dev:
            return False
        return self._drop_folder(folder, name, path) if is_folder else self._drop(folder, name, path, False)

    def _drop_folder(self, above: Folder, name: bytes, path: bytes) -> bool:
        at = self._found.count
        if path.count(b"/") > MOST_FOLDERS:
            self._note_trouble(OSError(errno.ELOOP, "too deep in its folders"), path)
            return False
        try:
            folder = open_folder(name, above)
        except OSError as error:
            self._note_trouble(error, path)
            return False
        if folder is None:  # it has become something else
            return False
        with contextlib.closing(folder):
            gone = [self._extra(folder, below, path + b"/" + below, ()) for below in self._listed(folder)]
        if not all(gone):
            return False
        return self._drop(above, name, path, True, at)

    def _drop(self, folder: Folder, name: bytes, path: bytes, is_folder: bool, at: int = -1) -> bool:
        if self._remove:
            try:
                remove = os.rmdir if is_folder else os.unlink
                folder.change(partial(remove, name, dir_fd=folder.fd))
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

    def _listed(self, folder: Folder) -> list[bytes]:
        try:
            return sorted(os.fsencode(name) for name in os.listdir(folder.fd))
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


def _identities(folder: int, names: Collection[bytes]) -> set[tuple[int, int]]:
    """Which files and folders these names of an open folder are."""
    found = set()
    for name in names:
        with contextlib.suppress(OSError):
            facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
            found.add((facts.st_dev, facts.st_ino))
    return found
