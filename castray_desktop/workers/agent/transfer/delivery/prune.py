"""Entries of a recipient's folder that are not in the parcel: found, and removed if that was requested.

Only inside folders that were sent and exist as real folders, and never through a link: each folder is
opened from the one above it, without following links, and entries are removed by name in that open
folder. Excluded entries are kept, and so is what lies on another file system. A folder that was empty at
the source removes nothing: more likely a disk was not mounted.

Each removal is one step of the file system. An interruption leaves each entry whole or gone, and the same
cast or the next one continues.
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

from castray_desktop.core.content.file_names import ExcludePatterns, NamePatterns, display_name
from castray_desktop.core.content.manifest import EntryKind, Manifest, decode_manifest
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.workers.agent.transfer.store.staging import OWN_PREFIX
from castray_desktop.workers.agent.transfer.system.open_folders import (
    FOLDER,
    OpenFolder,
    lstat_in,
    open_folder,
)
from castray_desktop.workers.agent.transfer.system.os_failures import reason_of

MAX_SHOWN = 100
MAX_DEPTH = 200
"""Nesting depth; deeper entries are kept."""

MOST_MANIFEST_BYTES = 1 << 30


@dataclass
class PrunedEntries:
    """Found or removed entries: folders before their contents."""

    count: int = 0
    paths: list[str] = field(default_factory=list)  # absolute, the first hundred
    failed: int = 0
    first_error: Optional[OSError] = None  # of the first that could not be removed

    def add(self, more: PrunedEntries) -> None:
        """Count these as well."""
        self.count += more.count
        self.paths += more.paths[: MAX_SHOWN - len(self.paths)]


class Pruner:
    """Searches one destination. `on_progress` is called for each entry and may raise to stop."""

    def __init__(
        self,
        manifest: Manifest,
        destination: bytes,
        patterns: NamePatterns,
        on_progress: Callable[[], None] = lambda: None,
        noting: Callable[[bytes, int], None] = lambda path, mode: None,
    ) -> None:
        """`noting` gets the path and the mode of a folder of the parcel before it is made writable."""
        self._destination = destination
        self._exclusions = ExcludePatterns(patterns)
        self._on_progress = on_progress
        self._noting = noting
        self._keep: frozenset[bytes] = frozenset()
        self._remove = False
        self._found = PrunedEntries()
        self._kinds = {entry.path: entry.kind for entry in manifest.entries}
        self._names: dict[bytes, set[bytes]] = {}
        for entry in manifest.entries:
            folder, _, name = entry.path.rpartition(b"/")
            self._names.setdefault(folder, set()).add(name)

    def find(self) -> PrunedEntries:
        """Find entries without removing them. Raises OSError."""
        return self._run(remove=False)

    def remove(self, keep: Collection[bytes] = ()) -> PrunedEntries:
        """Remove entries. Failures are counted, and the rest is removed all the same. Raises OSError.

        `keep` are paths below the destination where entries of the parcel have other names.
        """
        self._keep = frozenset(keep)
        return self._run(remove=True)

    def could_remove(self, above: OpenFolder, name: bytes, path: bytes) -> Optional[PrunedEntries]:
        """What would be removed of a folder that another kind of entry replaces; None if any of it stays."""
        self._remove, self._found = False, PrunedEntries()
        gone = self._extra(above, name, path, ())
        return self._found if gone and not self._found.failed else None

    def _run(self, remove: bool) -> PrunedEntries:
        self._remove, self._found = remove, PrunedEntries()
        try:
            destination = OpenFolder(os.open(self._destination, FOLDER), self._destination)
        except FileNotFoundError:
            return self._found
        with contextlib.closing(destination):
            for name in self._names.get(b"", ()):
                if self._kinds[name] is EntryKind.FOLDER:
                    self._go_into(destination, name, name)
        return self._found

    def _go_into(self, above: OpenFolder, name: bytes, path: bytes) -> None:
        """Search a folder of the parcel, if it exists as a real folder."""
        if path.count(b"/") > MAX_DEPTH:
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

    def _look_at_other_kind(self, above: OpenFolder, name: bytes, path: bytes) -> None:
        """Count what would be removed if a folder has the name of another kind of entry."""
        facts = lstat_in(name, above.fd)
        if facts is None or not stat.S_ISDIR(facts.st_mode):
            return
        before = self._found
        removed = self.could_remove(above, name, path)
        self._found = before
        if removed is not None:
            before.add(removed)

    def _extra(
        self, folder: OpenFolder, name: bytes, path: bytes, known: Collection[tuple[int, int]]
    ) -> bool:
        """Handle one entry that is not in the parcel; returns whether it is gone, or would be."""
        self._on_progress()
        try:
            facts = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
        except OSError:  # removed by another process
            return True
        is_folder = stat.S_ISDIR(facts.st_mode)
        if not (is_folder or stat.S_ISREG(facts.st_mode) or stat.S_ISLNK(facts.st_mode)):
            return False  # no parcel has such things
        if (
            path in self._keep
            or name.startswith(OWN_PREFIX)
            or self._exclusions.excludes(display_name(path), is_folder)
        ):
            return False
        if (facts.st_dev, facts.st_ino) in known and (is_folder or facts.st_nlink == 1):
            return False  # the parcel's own, on a file system to which both names are one
        if facts.st_dev != os.fstat(folder.fd).st_dev:
            return False
        return self._drop_folder(folder, name, path) if is_folder else self._drop(folder, name, path, False)

    def _drop_folder(self, above: OpenFolder, name: bytes, path: bytes) -> bool:
        at = self._found.count
        if path.count(b"/") > MAX_DEPTH:
            self._note_trouble(OSError(errno.ELOOP, "nested too deeply in folders"), path)
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

    def _drop(self, folder: OpenFolder, name: bytes, path: bytes, is_folder: bool, at: int = -1) -> bool:
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
        if at < MAX_SHOWN:
            shown.insert(at if at >= 0 else len(shown), display_name(self._destination + b"/" + path))
            del shown[MAX_SHOWN:]
        return True

    def _listed(self, folder: OpenFolder) -> list[bytes]:
        try:
            return sorted(os.fsencode(name) for name in os.listdir(folder.fd))
        except OSError as error:
            self._note_trouble(error)
            return []

    def _note_trouble(self, error: OSError, path: bytes = b"") -> None:
        self._found.failed += 1
        if self._found.first_error is None:
            place = os.fsdecode(self._destination + b"/" + path) if path else error.filename
            self._found.first_error = OSError(error.errno, error.strerror, place)


def not_removed(node: str, pruned: PrunedEntries) -> Failure:
    """The failure of a delivery that could not prune everything."""
    assert pruned.first_error is not None
    return Failure(
        FailureKind.NOT_REMOVED,
        {
            "node": node,
            "count": str(pruned.failed),
            "path": display_name(pruned.first_error.filename or ""),
            "reason": reason_of(pruned.first_error),
        },
    )


def pack_manifest(raw: bytes) -> str:
    """Pack a manifest for a control call."""
    return base64.b64encode(zlib.compress(raw, 6)).decode()


def unpack_manifest(text: str) -> Manifest:
    """Unpack a manifest. Raises ValueError."""
    unpacking = zlib.decompressobj()
    try:
        raw = unpacking.decompress(base64.b64decode(text), MOST_MANIFEST_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if unpacking.unconsumed_tail:
        raise ValueError("too long a manifest")
    return decode_manifest(raw)


def _identities(folder: int, names: Collection[bytes]) -> set[tuple[int, int]]:
    """Device and inode of these names in an open folder."""
    found = set()
    for name in names:
        with contextlib.suppress(OSError):
            facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
            found.add((facts.st_dev, facts.st_ino))
    return found
