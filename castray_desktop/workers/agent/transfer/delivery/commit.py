"""Commit: verified files get their final names, without replacing the user's files unless told to.

A new folder appears by one rename. Where a folder of that name exists, `skip` and `overwrite` go into it
and decide file by file. An identical file is left as it is. Modes and times of folders come last.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Optional

from castray_desktop.core.content.file_names import free_name
from castray_desktop.core.content.manifest import EntryKind, FileResult, FileStatus, Manifest, ManifestEntry
from castray_desktop.workers.agent.transfer.delivery.prune import PrunedEntries, Pruner
from castray_desktop.workers.agent.transfer.source.scanner import NOWHERE
from castray_desktop.workers.agent.transfer.store.existing_files import CHANGED_WHILE_COMPARED
from castray_desktop.workers.agent.transfer.store.hash_cache import FileKey, HashCache, file_keys, hash_file
from castray_desktop.workers.agent.transfer.store.part_files import FEW_FILES, PartFiles
from castray_desktop.workers.agent.transfer.system import linux_calls
from castray_desktop.workers.agent.transfer.system.digests import file_hasher
from castray_desktop.workers.agent.transfer.system.open_folders import (
    FOLDER,
    NO_FOLDER,
    OpenFolder,
    lstat_in,
    open_below,
    open_folder,
)


class DeliveryCommit:
    """The commit of one delivery. All methods raise OSError."""

    def __init__(
        self,
        manifest: Manifest,
        parts: PartFiles,
        results: Sequence[FileResult],
        on_conflict: str,
        file_hash: str,
        cache: HashCache,
        pruner: Optional[Pruner] = None,
    ) -> None:
        """`pruner` says which existing entries are removed; None: none are."""
        self._manifest = manifest
        self._parts = parts
        self._results = results
        self._on_conflict = on_conflict
        self._file_hash = file_hash
        self._new_hasher = file_hasher(file_hash)
        self._cache = cache
        self._pruner = pruner
        self._known: dict[FileKey, bytes] = {}  # cached hashes of existing files
        self._new_hashes: dict[FileKey, bytes] = {}
        self._numbers: dict[bytes, int] = {}
        self._verified: set[bytes] = set()  # files compared by hash and unchanged since
        self._children: dict[bytes, list[ManifestEntry]] = {}
        self._failed: set[bytes] = set()  # files that will not be committed
        self._existing: set[bytes] = set()  # existing files that were not sent, and their folders
        self._new_folders = 0
        self.paths: list[bytes] = []  # of the top-level entries that have been committed
        self.removed: list[PrunedEntries] = []  # folders in whose place files have come

    def run(self) -> None:
        """Commit everything that was read successfully at the source."""
        self._parts.begin_commit()
        self._arrange()
        destination = self._parts.destination
        for entry in self._children.get(b"", ()):
            self.paths.append(self._commit_top_entry(entry, destination))
        if self._new_folders > FEW_FILES:
            linux_calls.sync_file_system(destination.fd)
        linux_calls.sync(destination.fd, destination.path)
        self._cache.save(self._file_hash, self._new_hashes)

    def make_links(self) -> None:
        """Stage all links, before their folders are synced. Files that failed have no other names."""
        for entry in self._manifest.entries:
            if entry.kind not in (EntryKind.SYMLINK, EntryKind.HARDLINK):
                continue
            if self._parts.is_committed(entry.path):
                continue
            if entry.kind is EntryKind.SYMLINK:
                self._parts.make_link(entry)
            else:
                number = self._number_of(entry.target)
                if self._results[number].status is FileStatus.OK:
                    self._parts.link(entry.path, number)

    def _arrange(self) -> None:
        """What failed at the source is dropped, the rest is listed by folder."""
        number, unverified = 0, []
        for entry in self._manifest.entries:
            if entry.kind is EntryKind.FILE:
                result = self._results[number]
                number += 1
                if result.status is not FileStatus.OK:
                    self._parts.drop(number - 1)
                    self._failed.add(entry.path)
                    continue
                if self._parts.is_existing(number - 1):
                    self._note_existing(entry.path)
                    if self._parts.is_settled(number - 1):
                        self._verified.add(entry.path)
                    else:
                        unverified.append(self._parts.destination.child_path(entry.path))
            elif entry.kind is EntryKind.HARDLINK and entry.target in self._failed:
                continue
            self._children.setdefault(entry.path.rpartition(b"/")[0], []).append(entry)
        self._known = self._cache.find(self._file_hash, file_keys(unverified))

    def _number_of(self, path: bytes) -> int:
        """A file's number; computed on first use."""
        if not self._numbers:
            self._numbers = {entry.path: number for number, entry in enumerate(self._manifest.files)}
        return self._numbers[path]

    def _note_existing(self, path: bytes) -> None:
        while path and path not in self._existing:
            self._existing.add(path)
            path = path.rpartition(b"/")[0]

    def _commit_top_entry(self, entry: ManifestEntry, destination: OpenFolder) -> bytes:
        committed = self._committed_before(entry)
        if committed is not None:
            return committed
        if self._on_conflict == "rename":
            return self._move_to_free_name(entry, destination, entry.path)
        return self._commit_entry(entry, destination, entry.path)

    def _commit_entry(self, entry: ManifestEntry, folder: OpenFolder, name: bytes) -> bytes:
        """Give one entry its name in an existing folder; returns its path."""
        committed = self._committed_before(entry)
        if committed is not None:
            return committed
        target = folder.child_path(name)
        with _errors_naming(target):
            if entry.path in self._existing:
                return self._keep_existing(entry, folder, name)
            try:
                return self._move(entry, folder, name)
            except FileExistsError:
                pass
            found = lstat_in(name, folder.fd)
            dead = found is not None and _is_dead_link(name, folder, found)
            if entry.kind is EntryKind.FOLDER:
                if self._merge(entry, folder, name):
                    return target
            elif found is not None and self._identical(entry, folder, name, found):
                self._parts.keep_existing(entry.path, target)
                return target
            if found is not None and (dead or self._on_conflict == "overwrite"):
                if entry.kind is not EntryKind.FOLDER and not stat.S_ISDIR(found.st_mode):
                    self._parts.replace(entry.path, folder, name)
                    return target
                if self._replace_other_kind(entry, folder, name, found):
                    return target
            return self._move_to_free_name(entry, folder, name)

    def _keep_existing(self, entry: ManifestEntry, folder: OpenFolder, name: bytes) -> bytes:
        """An existing file that was not sent must still be there and unchanged."""
        target = folder.child_path(name)
        if entry.kind is EntryKind.FOLDER:
            if self._merge(entry, folder, name):
                return target
        else:
            found = lstat_in(name, folder.fd)
            if entry.path in self._verified or (
                found is not None and self._identical(entry, folder, name, found)
            ):
                self._parts.keep_existing(entry.path, target)
                return target
        raise OSError(errno.ESTALE, CHANGED_WHILE_COMPARED, os.fsdecode(target))

    def _committed_before(self, entry: ManifestEntry) -> Optional[bytes]:
        target = self._parts.committed.get(entry.path)
        if target is not None and entry.kind is EntryKind.FOLDER:
            below = self._parts.below_destination(target)
            with _unless_moved():
                self._finish(open_below(below, self._parts.destination.fd, FOLDER), entry, target)
        return target

    def _merge(self, entry: ManifestEntry, folder: OpenFolder, name: bytes) -> bool:
        """Put what the folder holds into the one that has its name; False where that is no real folder."""
        target = open_folder(name, folder, partial(self._parts.note_open, entry.path))
        if target is None:
            return False
        target.mode = self._parts.modes.get(entry.path)
        if target.mode is not None:  # also after one more end in the middle
            self._parts.note_open(entry.path, target.mode)
        with contextlib.closing(target):
            for child in self._children.get(entry.path, ()):
                self._commit_entry(child, target, child.path.rpartition(b"/")[2])
            linux_calls.sync(target.fd, target.path)
        return True

    def _move(self, entry: ManifestEntry, folder: OpenFolder, name: bytes) -> bytes:
        target = folder.child_path(name)
        if entry.kind is not EntryKind.FOLDER:
            self._parts.move(entry.path, folder, name)
            return target
        fd = self._parts.open_staged(entry.path, FOLDER)  # it stays the same one when it gets its name
        try:
            self._parts.move(entry.path, folder, name)
        except OSError:
            os.close(fd)
            raise
        self._finish(fd, entry, target)
        return target

    def _finish(self, fd: int, entry: ManifestEntry, target: bytes) -> None:
        """Modes and times of a new folder and of those in it, once all they hold is there. Closes it."""
        try:
            for child in self._children.get(entry.path, ()):
                if child.kind is EntryKind.FOLDER:
                    name = child.path.rpartition(b"/")[2]
                    with _unless_moved():
                        self._finish(os.open(name, FOLDER, dir_fd=fd), child, target + b"/" + name)
            os.fchmod(fd, self._parts.mode_of(entry))
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
            self._new_folders += 1
            if self._new_folders <= FEW_FILES:
                linux_calls.sync(fd, target)
        finally:
            os.close(fd)

    def _replace_other_kind(
        self, entry: ManifestEntry, folder: OpenFolder, name: bytes, found: os.stat_result
    ) -> bool:
        """Put an entry in the place of one of another kind. False where that has to stay."""
        removed: Optional[PrunedEntries] = None
        if stat.S_ISDIR(found.st_mode):
            if self._remove_empty(folder, name):
                self._parts.note_replaced(entry.path)
                self._move(entry, folder, name)
                return True
            if self._pruner is None or b"/" not in entry.path:  # nothing beside the sent entries is removed
                return False
            removed = self._pruner.could_remove(folder, name, entry.path)
            if removed is None:
                return False
        aside = self._parts.set_aside(folder, name)
        self._parts.note_replaced(entry.path)
        try:
            self._move(entry, folder, name)
        except OSError:
            self._parts.put_back(aside, folder, name)
            raise
        if removed is not None:
            self.removed.append(removed)
        return True

    def _remove_empty(self, folder: OpenFolder, name: bytes) -> bool:
        try:
            folder.change(partial(os.rmdir, name, dir_fd=folder.fd))
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
                raise
            return False
        return True

    def _move_to_free_name(self, entry: ManifestEntry, folder: OpenFolder, name: bytes) -> bytes:
        """Rename to the first free name; repeated if another process takes it meanwhile.

        Unless the policy is `rename`, an identical file that exists as `a (2)` is kept.
        """
        is_folder = entry.kind is EntryKind.FOLDER

        def taken(other: bytes) -> bool:
            found = lstat_in(other, folder.fd)
            if found is None or is_folder or self._on_conflict == "rename" or other == name:
                return found is not None
            return not self._identical(entry, folder, other, found)

        while True:
            free = free_name(name, taken, is_folder)
            try:
                return self._move(entry, folder, free)
            except FileExistsError:
                found = lstat_in(free, folder.fd)
                if not taken(free) and found is not None:
                    self._parts.keep_existing(entry.path, folder.child_path(free))
                    return folder.child_path(free)

    def _identical(
        self, entry: ManifestEntry, folder: OpenFolder, name: bytes, found: os.stat_result
    ) -> bool:
        if entry.kind is EntryKind.SYMLINK:
            return stat.S_ISLNK(found.st_mode) and os.readlink(name, dir_fd=folder.fd) == entry.target
        if entry.kind is EntryKind.HARDLINK:
            staged = self._parts.facts_of(entry.path)
            if staged is not None and os.path.samestat(found, staged):
                return True
            entry = self._manifest.files[self._number_of(entry.target)]
        if not stat.S_ISREG(found.st_mode) or found.st_size != entry.size:
            return False
        known = self._known.get(FileKey.of(found))
        return (known or self._hash_file(folder, name)) == self._results[self._number_of(entry.path)].hash

    def _hash_file(self, folder: OpenFolder, name: bytes) -> Optional[bytes]:
        """The hash of an existing file, None if it can't be read."""
        try:
            key, hash_ = hash_file(name, self._new_hasher, folder=folder.fd)
        except OSError:
            return None
        if key is not None:
            self._new_hashes[key] = hash_
        return hash_


@contextlib.contextmanager
def _errors_naming(path: bytes) -> Iterator[None]:
    """Errors name the whole final path of the entry."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and os.path.isabs(os.fsencode(error.filename)):
            raise
        raise OSError(error.errno, error.strerror, os.fsdecode(path)) from error


@contextlib.contextmanager
def _unless_moved() -> Iterator[None]:
    """Ignore that a folder of an earlier commit can't be opened: the user has moved it since, or its mode
    forbids it.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (*NO_FOLDER, errno.EACCES):
            raise


def _is_dead_link(name: bytes, folder: OpenFolder, found: os.stat_result) -> bool:
    """Whether it is a symbolic link to nothing, as an earlier cast may have put it there."""
    if not stat.S_ISLNK(found.st_mode):
        return False
    try:
        os.stat(name, dir_fd=folder.fd)
    except OSError as error:
        return error.errno in NOWHERE
    return False
