"""Landing: verified files get their final names, without replacing what the user has unless told to.

A new folder appears by one rename. Where a folder of that name is there already, `skip` and `overwrite` go
into it and decide file by file. An identical file is left as it is. Modes and times of folders come last.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Optional

from castray_desktop.core.names import free_name
from castray_desktop.core.parcel import Entry, EntryKind, FileResult, FileStatus, Manifest
from castray_desktop.workers.ray_side.byte_plane import linux
from castray_desktop.workers.ray_side.byte_plane.digests import file_hasher
from castray_desktop.workers.ray_side.byte_plane.hash_cache import FileKey, HashCache, hash_file, keys_of
from castray_desktop.workers.ray_side.byte_plane.link_targets import NOWHERE
from castray_desktop.workers.ray_side.byte_plane.parts import PartFiles
from castray_desktop.workers.ray_side.byte_plane.twins import CHANGED_TWIN


@dataclass
class Landed:
    """Where the top-level entries are now, and whether anything new came."""

    paths: list[bytes] = field(default_factory=list)
    places: dict[bytes, bytes] = field(default_factory=dict)  # by path in the parcel: of whatever got a name
    something_new: bool = False


class Landing:
    """One delivery's landing. All methods raise OSError."""

    def __init__(
        self,
        manifest: Manifest,
        parts: PartFiles,
        results: Sequence[FileResult],
        destination: bytes,
        on_conflict: str,
        file_hash: str,
        cache: HashCache,
    ) -> None:
        self._manifest = manifest
        self._parts = parts
        self._results = results
        self._destination = destination
        self._on_conflict = on_conflict
        self._file_hash = file_hash
        self._new_hasher = file_hasher(file_hash)
        self._cache = cache
        self._known: dict[FileKey, bytes] = {}  # hashes of the user's files from earlier
        self._learned: dict[FileKey, bytes] = {}
        self._numbers: dict[bytes, int] = {}
        self._proved: set[bytes] = set()  # files that were compared by their hash, and have not changed since
        self._children: dict[bytes, list[Entry]] = {}
        self._failed: set[bytes] = set()  # files that won't land
        self._standing: set[bytes] = set()  # files that were not sent, and the folders that they lie in
        self._new_folders: list[tuple[bytes, Entry]] = []
        self.landed = Landed()

    def run(self) -> Landed:
        """Put everything in place that was read well at the source."""
        self._parts.begin_landing()
        self._arrange()
        for entry in self._children.get(b"", ()):
            place = self.landed.places[entry.path] = self._land_top(entry)
            self.landed.paths.append(place)
        for path, entry in reversed(self._new_folders):
            self._finish_folder(path, entry)
        self._parts.sync_folders([path for path, _ in self._new_folders])
        linux.sync_path(self._destination)
        self._cache.keep(self._file_hash, self._learned)
        self.landed.something_new = self._parts.something_moved
        return self.landed

    def make_links(self) -> None:
        """Stage all links, before their folders are synced. Files that failed have no other names."""
        for entry in self._manifest.entries:
            if entry.kind is EntryKind.SYMLINK:
                self._make_link(entry)
            elif entry.kind is EntryKind.HARDLINK and not self._parts.has_landed(entry.path):
                number = self._number_of(entry.target)
                if self._results[number].status is FileStatus.OK:
                    self._parts.link(entry.path, number)

    def _arrange(self) -> None:
        """What failed at the source is dropped, the rest is listed by folder."""
        number, unproved = 0, []
        for entry in self._manifest.entries:
            if entry.kind is EntryKind.FILE:
                result = self._results[number]
                number += 1
                if result.status is not FileStatus.OK:
                    self._parts.drop(number - 1)
                    self._failed.add(entry.path)
                    continue
                if self._parts.is_standing(number - 1):
                    self._note_standing(entry.path)
                    if self._parts.is_proved(number - 1):
                        self._proved.add(entry.path)
                    else:
                        unproved.append(self._destination + b"/" + entry.path)
            elif entry.kind is EntryKind.HARDLINK and entry.target in self._failed:
                continue
            self._children.setdefault(entry.path.rpartition(b"/")[0], []).append(entry)
        self._known = self._cache.find(self._file_hash, keys_of(unproved))

    def _number_of(self, path: bytes) -> int:
        """A file's number; they are counted when the first one is asked for."""
        if not self._numbers:
            self._numbers = {entry.path: number for number, entry in enumerate(self._manifest.files)}
        return self._numbers[path]

    def _note_standing(self, path: bytes) -> None:
        while path and path not in self._standing:
            self._standing.add(path)
            path = path.rpartition(b"/")[0]

    def _make_link(self, entry: Entry) -> None:
        if self._parts.has_landed(entry.path):
            return
        path = self._parts.staged(entry.path)
        if os.path.lexists(path):  # an earlier delivery went on to here
            os.unlink(path)
        os.symlink(entry.target, path)
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)

    def _land_top(self, entry: Entry) -> bytes:
        landed = self._landed_before(entry)
        if landed is not None:
            return landed
        if self._on_conflict == "rename":
            return self._move_to_free_name(entry, self._destination, entry.path)
        return self._land(entry, self._destination, entry.path)

    def _land(self, entry: Entry, folder: bytes, name: bytes) -> bytes:
        """Give one entry its name in an existing folder; where it is now."""
        landed = self._landed_before(entry)
        if landed is not None:
            return landed
        target = folder + b"/" + name
        if entry.path in self._standing:
            return self._leave_standing(entry, target)
        try:
            return self._move(entry, target)
        except FileExistsError:
            pass
        if entry.kind is EntryKind.FOLDER:
            if _is_real_folder(target):
                return self._merge(entry, target)
            if _is_dead_link(target):
                os.unlink(target)
                return self._move(entry, target)
        elif self._identical(entry, target):
            self._parts.stands_at(entry.path, target)
            return target
        elif _is_dead_link(target) or (self._on_conflict == "overwrite" and not _is_real_folder(target)):
            self._parts.replace(entry.path, target)
            return target
        return self._move_to_free_name(entry, folder, name)

    def _leave_standing(self, entry: Entry, target: bytes) -> bytes:
        """What was compared before has to be there still, and the same: it was not sent."""
        if entry.kind is EntryKind.FOLDER and os.path.lexists(target) and _is_real_folder(target):
            return self._merge(entry, target)
        if entry.path in self._proved or (
            entry.kind is EntryKind.FILE and os.path.lexists(target) and self._identical(entry, target)
        ):
            self._parts.stands_at(entry.path, target)
            return target
        raise OSError(errno.ESTALE, CHANGED_TWIN, os.fsdecode(target))

    def _landed_before(self, entry: Entry) -> Optional[bytes]:
        target = self._parts.landed_at(entry.path)
        if target is not None and entry.kind is EntryKind.FOLDER:
            self._remember_folders(entry, target)
        return target

    def _merge(self, entry: Entry, target: bytes) -> bytes:
        for child in self._children.get(entry.path, ()):
            name = child.path.rpartition(b"/")[2]
            self.landed.places[child.path] = self._land(child, target, name)
        linux.sync_path(target)
        return target

    def _move(self, entry: Entry, target: bytes) -> bytes:
        self._parts.move(entry.path, target)
        if entry.kind is EntryKind.FOLDER:
            self._remember_folders(entry, target)
        return target

    def _remember_folders(self, entry: Entry, target: bytes) -> None:
        self._new_folders.append((target, entry))
        for child in self._children.get(entry.path, ()):
            if child.kind is EntryKind.FOLDER:
                self._remember_folders(child, target + child.path[len(entry.path) :])

    def _move_to_free_name(self, entry: Entry, folder: bytes, name: bytes) -> bytes:
        """The first free name; asked again if somebody else takes it in between."""
        is_folder = entry.kind is EntryKind.FOLDER
        while True:
            free = free_name(name, lambda other: os.path.lexists(folder + b"/" + other), is_folder)
            try:
                return self._move(entry, folder + b"/" + free)
            except FileExistsError:
                continue

    def _identical(self, entry: Entry, target: bytes) -> bool:
        found = os.lstat(target)
        if entry.kind is EntryKind.SYMLINK:
            return stat.S_ISLNK(found.st_mode) and os.readlink(target) == entry.target
        if entry.kind is EntryKind.HARDLINK:
            if os.path.samestat(found, os.lstat(self._parts.staged(entry.path))):
                return True
            entry = self._manifest.files[self._number_of(entry.target)]
        if not stat.S_ISREG(found.st_mode) or found.st_size != entry.size:
            return False
        known = self._known.get(FileKey.of(found))
        return (known or self._hash_file(target)) == self._results[self._number_of(entry.path)].hash

    def _hash_file(self, path: bytes) -> Optional[bytes]:
        """The hash of a file of the user's, None if it can't be read."""
        try:
            key, hash_ = hash_file(path, self._new_hasher)
        except OSError:
            return None
        if key is not None:
            self._learned[key] = hash_
        return hash_

    def _finish_folder(self, path: bytes, entry: Entry) -> None:
        try:
            os.chmod(path, self._parts.mode_of(entry))
            os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))
        except FileNotFoundError:  # it landed before an agent's end, and the user has moved it since
            return


def _is_real_folder(path: bytes) -> bool:
    return stat.S_ISDIR(os.lstat(path).st_mode)


def _is_dead_link(path: bytes) -> bool:
    """Whether it is a symbolic link to nothing, as an earlier cast may have put it there."""
    if not os.path.islink(path):
        return False
    try:
        os.stat(path)
    except OSError as error:
        return error.errno in NOWHERE
    return False
