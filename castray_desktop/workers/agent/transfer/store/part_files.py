"""Part files: where a delivery's bytes lie, from the first piece until after the commit.

Folders are made when the manifest is there, files when their first byte arrives. A file's path changes
once, from staging to its final name; uploads ask here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import threading
from collections.abc import Callable
from functools import partial
from typing import Optional

from castray_desktop.core.content.manifest import EntryKind, Manifest, ManifestEntry
from castray_desktop.workers.agent.transfer.store.destination_check import SpaceReservations
from castray_desktop.workers.agent.transfer.store.existing_files import ExistingFiles
from castray_desktop.workers.agent.transfer.store.journal import DROP, KEEP, MOVE, OPEN, REPLACE, CommitLog
from castray_desktop.workers.agent.transfer.store.staging import Staging
from castray_desktop.workers.agent.transfer.system import linux_calls
from castray_desktop.workers.agent.transfer.system.file_io import OpenFiles, has_same_holes, write_fully
from castray_desktop.workers.agent.transfer.system.open_folders import (
    OpenFolder,
    lstat_in,
    open_below,
    open_folder,
    open_parent,
)

RESERVE_FROM = 1 << 20
FEW_FILES = 16
"""Up to this number, files are synced one by one, which does not wait for other writes to the file system."""

CREATED, RESERVED, WHOLE = 1, 2, 3
_NO_LINKS = (errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV)
_NEW = os.O_CREAT | os.O_EXCL
COPY_BYTES = 1 << 20
PERMISSIONS = 0o777  # never set-user-id, set-group-id or sticky


def current_umask() -> int:
    """The process's umask: read from /proc, else by setting and restoring it."""
    try:
        with open("/proc/self/status", "rb") as file:
            for line in file:
                if line.startswith(b"Umask:"):
                    return int(line.split()[1], 8)
    except (OSError, ValueError, IndexError):
        pass
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


class PartFiles:
    """The part files of one delivery, by number. All methods raise OSError."""

    def __init__(
        self,
        staging: Staging,
        manifest: Manifest,
        cast: str,
        reservations: SpaceReservations,
        on_conflict: str,
    ) -> None:
        self._staging = staging
        self._root = staging.parts
        # only there a name lost in a power failure might be used twice
        self._careful = on_conflict == "rename"
        self._manifest = manifest
        self._cast = cast
        self._reservations = reservations
        self._umask = current_umask()
        self._created = bytearray(len(manifest.files))
        self._unrecorded = 0  # written bytes of small files not yet recorded in reservations
        self._lock = threading.Lock()
        self.committed: dict[bytes, bytes] = {}  # path in the parcel -> final path
        self._dropped: set[bytes] = set()
        self.kept: set[bytes] = set()  # entries of which an identical one existed
        self.replaced: set[bytes] = set()  # entries that replace what had their name
        self.modes: dict[bytes, int] = {}  # to restore: an earlier delivery has made these folders writable
        self.settled: set[int] = set()  # files that an earlier delivery has committed or dropped
        self.something_moved = False
        self.existing: Optional[ExistingFiles] = None  # existing files that need no part
        self._dropped_files: dict[int, int] = {}  # files that are not committed: kept open for downstreams
        self.destination = OpenFolder(os.dup(staging.destination_fd), staging.destination)
        self._writing = OpenFiles(self._open_for_writing)

    def make_folders(self) -> None:
        for entry in self._manifest.entries:
            if entry.kind is EntryKind.FOLDER and not self.is_committed(entry.path):
                self._make_folder(entry.path)

    def _make_folder(self, path: bytes) -> None:
        try:
            os.mkdir(path, 0o700, dir_fd=self._staging.parts_fd)
        except FileExistsError:
            if not self._staging.resumed:
                raise

    def write(self, file: int, offset: int, view: memoryview) -> None:
        """Write a verified part of a file."""
        if file in self.settled:
            return
        if not (offset or self._created[file] or self._staging.resumed) and len(view) < RESERVE_FROM:
            entry = self._manifest.files[file]
            if len(view) == entry.size and self.mode_of(entry) & stat.S_IRUSR:  # we read it back ourselves
                self._write_whole(file, entry, view)
                return
        with self._writing.borrow(file) as fd:
            write_fully(fd, offset, view)
        if self._created[file] != RESERVED:
            self._reservations.record_written(self._cast, len(view))

    def _write_whole(self, file: int, entry: ManifestEntry, view: memoryview) -> None:
        """Write a small file at once: it is created with its final mode and never reopened."""
        fd = self.open_staged(entry.path, os.O_WRONLY | _NEW, entry.mode & PERMISSIONS)  # less the umask
        try:
            self._created[file] = CREATED
            write_fully(fd, 0, view)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)
        self._created[file] = WHOLE
        self._unrecorded += len(view)
        if self._unrecorded >= RESERVE_FROM:
            self._reservations.record_written(self._cast, self._unrecorded)
            self._unrecorded = 0

    def complete(self, file: int) -> None:
        """The file is complete: set mode and time, and close it. Of few files syncing uses the same
        descriptor, since another one might not report an error of the disk.
        """
        if self._created[file] == WHOLE or self.is_existing(file) or file in self.settled:
            return
        entry = self._manifest.files[file]
        with self._writing.borrow(file) as fd:
            if self._staging.resumed and os.fstat(fd).st_size != entry.size:
                os.ftruncate(fd, entry.size)
            os.fchmod(fd, entry.mode & PERMISSIONS & ~self._umask)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        if len(self._manifest.files) > FEW_FILES:
            self._writing.forget(file)

    def sync(self) -> None:
        """Sync everything: file by file if they are few, else the whole file system."""
        few = len(self._manifest.files) <= FEW_FILES
        if not few and linux_calls.sync_file_system(self._staging.parts_fd):
            return
        for number, entry in enumerate(self._manifest.files):
            if self.is_existing(number) or number in self.settled:
                continue
            if few and self._created[number] != WHOLE:
                with self._writing.borrow(number) as fd:
                    linux_calls.sync(fd, self.staged(entry.path))
                self._writing.forget(number)
            else:
                self._sync_staged(entry.path)
        for entry in self._manifest.entries:
            if entry.kind in (EntryKind.FOLDER, EntryKind.HARDLINK) and self.is_staged(entry.path):
                self._sync_staged(entry.path)
        linux_calls.sync(self._staging.parts_fd, self._root)

    def _sync_staged(self, path: bytes) -> None:
        linux_calls.sync_path(path, self._staging.parts_fd, self.staged(path))

    def open(self, file: int) -> int:
        """Open the file for reading, wherever it is by now."""
        with self._lock:
            lost = self._dropped_files.get(file)
            if lost is not None:
                return os.dup(lost)
            path, folder = self._locate(file)
            if folder == self._staging.parts_fd:
                return self.open_staged(path, os.O_RDONLY)
            return open_below(path, folder, os.O_RDONLY)

    def is_existing(self, file: int) -> bool:
        """Whether an existing file at the destination has its bytes."""
        return self.existing is not None and file in self.existing

    def is_settled(self, file: int) -> bool:
        """Whether it is known to still have the right hash, without reading it."""
        return self.existing is not None and self.existing.is_settled(file)

    def staged(self, path: bytes) -> bytes:
        """Path of an entry before the commit."""
        return self._root + b"/" + path

    def is_staged(self, path: bytes) -> bool:
        """Whether it lies there."""
        return self.facts_of(path) is not None

    def facts_of(self, path: bytes) -> Optional[os.stat_result]:
        """What lies there; None for nothing."""
        return lstat_in(path, self._staging.parts_fd)

    def open_staged(self, path: bytes, flags: int, mode: int = 0o600) -> int:
        """Open a staged entry. All folders on the way are our own."""
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=self._staging.parts_fd)

    def make_link(self, entry: ManifestEntry) -> None:
        """Stage a symbolic link."""
        parts = self._staging.parts_fd
        if self.is_staged(entry.path):  # an earlier delivery has made it
            os.unlink(entry.path, dir_fd=parts)
        os.symlink(entry.target, entry.path, dir_fd=parts)
        os.utime(entry.path, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parts, follow_symlinks=False)

    def link(self, path: bytes, file: int) -> None:
        """Stage a hard link of a file, or a copy if the file system has none."""
        parts = self._staging.parts_fd
        with self._lock:
            first, folder = self._locate(file)
        with open_parent(first, folder) as (above, name):
            there = self.facts_of(path)
            if there is not None:  # an earlier delivery has made it; the file may have been lost since
                if os.path.samestat(os.stat(name, dir_fd=above, follow_symlinks=False), there):
                    return
                os.unlink(path, dir_fd=parts)
            try:
                os.link(name, path, src_dir_fd=above, dst_dir_fd=parts, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                self._copy(file, path)

    def _copy(self, file: int, path: bytes) -> None:
        entry = self._manifest.files[file]
        with open(self.open(file), "rb") as source:
            copy = self.open_staged(path, os.O_WRONLY | _NEW, self.mode_of(entry))
            with open(copy, "wb") as target:
                shutil.copyfileobj(source, target, COPY_BYTES)
                target.flush()
                os.utime(copy, ns=(entry.mtime_ns, entry.mtime_ns))

    def move(self, path: bytes, folder: OpenFolder, name: bytes) -> None:
        """Rename a staged entry to its final name, without replacing. Raises FileExistsError."""
        parts = self._staging.parts_fd
        rename = partial(linux_calls.rename_without_replacing, path, parts, name, folder.fd)
        self._rename(rename, path, folder, name)

    def replace(self, path: bytes, folder: OpenFolder, name: bytes) -> None:
        """Rename a staged file to its final name, replacing."""
        self.note_replaced(path)
        parts = self._staging.parts_fd
        rename = partial(os.replace, path, name, src_dir_fd=parts, dst_dir_fd=folder.fd)
        self._rename(rename, path, folder, name)

    def _rename(self, rename: Callable[[], None], path: bytes, folder: OpenFolder, name: bytes) -> None:
        with self._lock:
            self._log.append(MOVE, path, folder.child_path(name))
            folder.change(rename)
            self.committed[path] = folder.child_path(name)
            self.something_moved = True

    def note_replaced(self, path: bytes) -> None:
        """The entry is about to replace what has its name."""
        self._log.append(REPLACE, path)
        self.replaced.add(path)

    def set_aside(self, folder: OpenFolder, name: bytes) -> bytes:
        """Move away what has the name of an entry of another kind; it is removed with the staging."""
        staging, number = self._staging.folder_fd, 0
        while lstat_in(b"aside-%d" % number, staging) is not None:
            number += 1
        aside = b"aside-%d" % number
        inner = open_folder(name, folder)
        try:  # a folder has to be writable itself to get another folder above it
            step = partial(os.rename, name, aside, src_dir_fd=folder.fd, dst_dir_fd=staging)
            folder.change(partial(inner.change, step) if inner is not None else step)
        finally:
            if inner is not None:
                inner.close()
        return aside

    def put_back(self, aside: bytes, folder: OpenFolder, name: bytes) -> None:
        """Undo `set_aside`."""
        linux_calls.rename_without_replacing(aside, self._staging.folder_fd, name, folder.fd)

    def note_open(self, path: bytes, mode: int) -> None:
        """A folder of the user's with this mode will be made writable for a while."""
        self._log.append(OPEN, path, b"%o" % mode)

    def keep_existing(self, path: bytes, target: bytes) -> None:
        """An identical file exists: the staged one is removed."""
        with self._lock:
            self._log.append(KEEP, path, target)
            with contextlib.suppress(FileNotFoundError):  # one that was never sent
                os.unlink(path, dir_fd=self._staging.parts_fd)
            self.kept.add(path)
            self.committed[path] = target

    def drop(self, file: int) -> None:
        """This file will not be committed. Downstreams may still fetch its bytes while it is open here."""
        with self._lock:
            entry = self._manifest.files[file]
            if entry.path in self._dropped or self.is_existing(file):
                return
            self._log.append(DROP, entry.path)
            if len(self._dropped_files) < 256:
                self._dropped_files[file] = self.open_staged(entry.path, os.O_RDONLY)
            os.unlink(entry.path, dir_fd=self._staging.parts_fd)

    # --- commit, and resuming it

    def begin_commit(self) -> None:
        """All files were verified and synced: renames start."""
        self._staging.commit_log(self._careful)

    @property
    def _log(self) -> CommitLog:
        return self._staging.commit_log(self._careful)

    def resume(self, on_progress: Callable[[], None]) -> None:
        """Find out what an earlier delivery has committed. The rest is written again where it is wrong.

        `on_progress` is called now and then, and may raise.
        """
        if self._staging.has_started_commit():
            self._read_commit_log()
        for number, entry in enumerate(self._manifest.files):
            if entry.path in self._dropped or self.is_committed(entry.path):
                self.settled.add(number)
            elif entry.data is not None and not self._can_resume(entry, on_progress):
                os.unlink(entry.path, dir_fd=self._staging.parts_fd)  # no digest of a piece would tell

    def _can_resume(self, entry: ManifestEntry, on_progress: Callable[[], None]) -> bool:
        """Whether nothing lies in the holes of a file that was begun."""
        path = self.staged(entry.path)
        return not self.is_staged(entry.path) or has_same_holes(
            path, entry.data or (), entry.size, on_progress
        )

    def _read_commit_log(self) -> None:
        self.replaced = self._log.replaced()
        for path, step in self._log.steps().items():
            if step.verb == OPEN:
                self.modes[path] = int(step.target, 8)
                continue
            if self.is_staged(path):
                continue  # it was about to move, and did not
            if step.verb == DROP:
                self._dropped.add(path)
            elif step.target.startswith(self._staging.destination + b"/"):
                self.committed[path] = step.target
                if step.verb == KEEP:
                    self.kept.add(path)
                self.something_moved = self.something_moved or step.verb == MOVE

    def renamed_paths(self) -> set[bytes]:
        """Paths below the destination of entries that were renamed because their name was taken."""
        names = ((path, self.below_destination(target)) for path, target in self.committed.items())
        return {name for path, name in names if name != path}

    def below_destination(self, target: bytes) -> bytes:
        """The path of what has its name, from the destination on."""
        return target[len(self._staging.destination) + 1 :]

    def is_committed(self, path: bytes) -> bool:
        """Whether it, or a folder above it, has its final name; there it is the user's."""
        while path:
            if path in self.committed:
                return True
            path = path.rpartition(b"/")[0]
        return False

    def close(self) -> None:
        self._writing.close()
        with self._lock:
            for fd in self._dropped_files.values():
                os.close(fd)
            self._dropped_files.clear()
            if self.destination.fd >= 0:
                self.destination.close()
                self.destination.fd = -1

    def mode_of(self, entry: ManifestEntry) -> int:
        return entry.mode & PERMISSIONS & ~self._umask

    def _locate(self, file: int) -> tuple[bytes, int]:
        """Where a file is by now: a path below an open folder."""
        path = self._manifest.files[file].path
        if self.existing is not None and file in self.existing:
            return path, self.destination.fd
        above, rest = path, b""
        while above:
            target = self.committed.get(above)
            if target is not None:
                return self.below_destination(target) + rest, self.destination.fd
            above, slash, name = above.rpartition(b"/")
            rest = slash + name + rest
        return path, self._staging.parts_fd

    def _open_for_writing(self, file: int) -> int:
        entry = self._manifest.files[file]
        if self._created[file]:
            return self.open_staged(entry.path, os.O_RDWR)
        fd = self._reopen(entry.path) if self._staging.resumed else -1
        if fd < 0:
            fd = self.open_staged(entry.path, os.O_RDWR | _NEW)
        self._created[file] = CREATED
        try:
            self._shape(file, fd, entry)
        except OSError:
            os.close(fd)
            raise
        return fd

    def _shape(self, file: int, fd: int, entry: ManifestEntry) -> None:
        """Reserve space for all of it if it has no holes; else set its size only."""
        if entry.data is not None:
            os.ftruncate(fd, entry.size)
        elif entry.size >= RESERVE_FROM and linux_calls.reserve_space(fd, entry.size):
            self._created[file] = RESERVED
            self._reservations.record_written(self._cast, entry.size)

    def _reopen(self, path: bytes) -> int:
        """Reopen what an earlier delivery left of a file; -1 for nothing."""
        try:
            return self.open_staged(path, os.O_RDWR)
        except FileNotFoundError:
            return -1
        except PermissionError:
            os.chmod(path, 0o600, dir_fd=self._staging.parts_fd)  # all folders on the way are our own
            return self.open_staged(path, os.O_RDWR)
