"""Part files: where a delivery's bytes lie, from the first piece until long after landing.

Folders are made when the manifest is there, files when their first byte comes. A file's place changes
once, from staging to its final name; those who serve from it ask here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import threading
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Optional

from castray_desktop.core.parcel import Entry, EntryKind, Manifest
from castray_desktop.workers.ray_side.byte_plane import linux
from castray_desktop.workers.ray_side.byte_plane.files import OpenFiles
from castray_desktop.workers.ray_side.byte_plane.holes import has_same_holes
from castray_desktop.workers.ray_side.byte_plane.journal import DROP, MOVE, STAND, LandingLog
from castray_desktop.workers.ray_side.byte_plane.room import Ledger
from castray_desktop.workers.ray_side.byte_plane.staging import Staging
from castray_desktop.workers.ray_side.byte_plane.twins import Twins

RESERVE_FROM = 1 << 20
FEW_FILES = 16
"""So many are synced one by one, so that nobody waits for what else the file system has to write."""

CREATED, RESERVED, WHOLE = 1, 2, 3
_NO_LINKS = (errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV)
PERMISSIONS = 0o777  # never set-user-id, set-group-id or sticky


def current_umask() -> int:
    """Set and restored: there is no other portable way to ask, and /proc is cheaper where it is."""
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
    """The files of one delivery by number. All methods raise OSError."""

    def __init__(
        self, staging: Staging, manifest: Manifest, cast: str, ledger: Ledger, on_conflict: str
    ) -> None:
        self._staging = staging
        self._root = staging.parts
        # only there a name that a loss of power made us forget would be given twice
        self._careful = on_conflict == "rename"
        self._manifest = manifest
        self._cast = cast
        self._ledger = ledger
        self._umask = current_umask()
        self._created = bytearray(len(manifest.files))
        self._unsaid = 0  # bytes of small files that the ledger has not been told of, one mebibyte at most
        self._lock = threading.Lock()
        self._moved: dict[bytes, bytes] = {}  # path in the parcel -> where it is now
        self._dropped: set[bytes] = set()
        self._settled: set[int] = set()  # files that an earlier delivery has landed or dropped
        self.something_moved = False
        self.twins: Optional[Twins] = None  # files that stand at the destination and need no part file
        self._lost: dict[int, int] = {}  # files that will not land: kept open for those below
        self._writing = OpenFiles(self._open_for_writing)

    def make_folders(self) -> None:
        for entry in self._manifest.entries:
            if entry.kind is EntryKind.FOLDER and not self.has_landed(entry.path):
                self._make_folder(self._root + b"/" + entry.path)

    def _make_folder(self, path: bytes) -> None:
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if not self._staging.resumed:
                raise

    def write(self, file: int, offset: int, view: memoryview) -> None:
        """Write a verified part of a file."""
        length = len(view)
        if file in self._settled:
            return
        if not (offset or self._created[file] or self._staging.resumed) and length < RESERVE_FROM:
            entry = self._manifest.files[file]
            if length == entry.size and self.mode_of(entry) & stat.S_IRUSR:  # we read it back ourselves
                self._write_whole(file, entry, view)
                return
        with self._writing.borrow(file) as fd:
            while view:
                count = os.pwrite(fd, view, offset)
                offset += count
                view = view[count:]
        if self._created[file] != RESERVED:
            self._ledger.wrote(self._cast, length)

    def _write_whole(self, file: int, entry: Entry, view: memoryview) -> None:
        """A small file in one go: it is never opened again, and made with the mode that it shall have."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self.staged(entry.path), flags, entry.mode & PERMISSIONS)  # less the umask
        try:
            self._created[file] = CREATED
            done = os.write(fd, view)
            while done < len(view):
                done += os.write(fd, view[done:])
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)
        self._created[file] = WHOLE
        self._unsaid += len(view)
        if self._unsaid >= RESERVE_FROM:
            self._ledger.wrote(self._cast, self._unsaid)
            self._unsaid = 0

    def complete(self, file: int) -> None:
        """All of it is there: mode and time, and close it. Of few files syncing uses the same descriptor,
        since another one might not be told of an error of the disk.
        """
        if self._created[file] == WHOLE or self.is_standing(file) or file in self._settled:
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
        """Everything to the disk: file by file if they are few, else the whole file system if it can."""
        few = len(self._manifest.files) <= FEW_FILES
        if not few and linux.sync_file_system(self._staging.parts_fd):
            return
        for number, entry in enumerate(self._manifest.files):
            if self.is_standing(number) or number in self._settled:
                continue
            if few and self._created[number] != WHOLE:
                with self._writing.borrow(number) as fd:
                    linux.sync(fd, self.staged(entry.path))
                self._writing.forget(number)
            else:
                linux.sync_path(self.staged(entry.path))
        for entry in self._manifest.entries:
            if entry.kind in (EntryKind.FOLDER, EntryKind.HARDLINK) and os.path.lexists(
                self.staged(entry.path)
            ):
                linux.sync_path(self.staged(entry.path))
        linux.sync(self._staging.parts_fd, self._root)

    def sync_folders(self, folders: Sequence[bytes]) -> None:
        """Modes and times of folders that have their names by now."""
        if len(folders) > FEW_FILES and linux.sync_file_system(self._staging.parts_fd):
            return
        for folder in folders:
            # the user has moved it since, or it may not be read
            with contextlib.suppress(FileNotFoundError, PermissionError):
                linux.sync_path(folder)

    def open(self, file: int) -> int:
        """The file for reading, wherever it is by now."""
        path = self._manifest.files[file].path
        with self._lock:
            lost = self._lost.get(file)
            if lost is not None:
                return os.dup(lost)
            if self.twins is not None and file in self.twins:
                path = self.twins.place(file)
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            return os.open(self._place(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def is_standing(self, file: int) -> bool:
        """Whether its bytes are those of a file of the user's that stands where it would go."""
        return self.twins is not None and file in self.twins

    def is_proved(self, file: int) -> bool:
        """Whether it is known to have the right hash still, without being read again."""
        return self.twins is not None and self.twins.is_proved(file)

    def staged(self, path: bytes) -> bytes:
        """Where an entry of the parcel lies before landing."""
        return self._root + b"/" + path

    def link(self, path: bytes, file: int) -> None:
        """Stage another name of a file, or a copy where the file system has no such names."""
        with self._lock:
            if self.twins is not None and file in self.twins:
                first = self.twins.place(file)
            else:
                first = self._place(self._manifest.files[file].path)
        staged = self.staged(path)
        if os.path.lexists(staged):  # an earlier delivery went on to here; the file may have been lost since
            if os.path.samestat(os.lstat(first), os.lstat(staged)):
                return
            os.unlink(staged)
        try:
            os.link(first, staged, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            shutil.copy2(first, staged, follow_symlinks=False)

    def move(self, path: bytes, target: bytes) -> None:
        """Give a staged entry its final name, without replacing. Raises FileExistsError."""
        with self._lock:
            self._log.note(MOVE, path, target)
            linux.rename_without_replacing(self.staged(path), target)
            self._moved[path] = target
            self.something_moved = True

    def replace(self, path: bytes, target: bytes) -> None:
        """Give a staged file its final name; what had it is gone."""
        with self._lock:
            self._log.note(MOVE, path, target)
            os.replace(self.staged(path), target)
            self._moved[path] = target
            self.something_moved = True

    def stands_at(self, path: bytes, target: bytes) -> None:
        """An identical one is there already: the staged one is not needed."""
        with self._lock:
            self._log.note(STAND, path, target)
            with contextlib.suppress(FileNotFoundError):  # one that was never sent
                os.unlink(self.staged(path))
            self._moved[path] = target

    def drop(self, file: int) -> None:
        """This file will not land. Those below may still fetch its bytes, as long as it is open here."""
        with self._lock:
            entry = self._manifest.files[file]
            if entry.path in self._dropped or self.is_standing(file):
                return
            path = self.staged(entry.path)
            self._log.note(DROP, entry.path)
            if len(self._lost) < 256:
                self._lost[file] = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            os.unlink(path)

    # --- landing, and going on with it

    def begin_landing(self) -> None:
        """All files were verified and synced: from now on entries get their names."""
        self._staging.landing_log(self._careful)

    @property
    def _log(self) -> LandingLog:
        return self._staging.landing_log(self._careful)

    def landed_at(self, path: bytes) -> Optional[bytes]:
        """Where the entry is, if it has its final name already."""
        return self._moved.get(path)

    def take_up(self, went_on: Callable[[], None]) -> None:
        """Find out what an earlier delivery has landed. What it has not is written again where it is wrong.

        `went_on` is called now and then, and may raise.
        """
        if self._staging.has_begun_landing():
            self._take_up_landing()
        for number, entry in enumerate(self._manifest.files):
            if entry.path in self._dropped or self.has_landed(entry.path):
                self._settled.add(number)
            elif entry.data is not None and not self._may_go_on(entry, went_on):
                os.unlink(self.staged(entry.path))  # no digest of a piece would tell

    def _may_go_on(self, entry: Entry, went_on: Callable[[], None]) -> bool:
        """Whether nothing lies in the holes of a file that was begun."""
        path = self.staged(entry.path)
        return not os.path.lexists(path) or has_same_holes(path, entry.data or (), entry.size, went_on)

    @property
    def settled(self) -> AbstractSet[int]:
        """Files that an earlier delivery has landed or dropped: nothing of them is needed."""
        return self._settled

    def _take_up_landing(self) -> None:
        for path, step in self._log.steps().items():
            if os.path.lexists(self.staged(path)):
                continue  # it was about to move, and did not
            if step.verb == DROP:
                self._dropped.add(path)
            else:
                self._moved[path] = step.target
                self.something_moved = self.something_moved or step.verb == MOVE

    def elsewhere(self) -> set[bytes]:
        """The names that entries got because theirs were taken: paths below the destination."""
        start = len(self._staging.destination) + 1
        return {target[start:] for path, target in self._moved.items() if target[start:] != path}

    def has_landed(self, path: bytes) -> bool:
        """Whether it, or a folder that it lies in, has its final name; there it is the user's."""
        while path:
            if path in self._moved:
                return True
            path = path.rpartition(b"/")[0]
        return False

    def close(self) -> None:
        self._writing.close()
        with self._lock:
            for fd in self._lost.values():
                os.close(fd)
            self._lost.clear()

    def mode_of(self, entry: Entry) -> int:
        return entry.mode & PERMISSIONS & ~self._umask

    def _place(self, path: bytes) -> bytes:
        above, rest = path, b""
        while above:
            target = self._moved.get(above)
            if target is not None:
                return target + rest
            above, slash, name = above.rpartition(b"/")
            rest = slash + name + rest
        return self.staged(path)

    def _open_for_writing(self, file: int) -> int:
        entry = self._manifest.files[file]
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        path = self.staged(entry.path)
        if self._created[file]:
            return os.open(path, flags)
        fd = self._open_anew(path, flags) if self._staging.resumed else -1
        if fd < 0:
            fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        self._created[file] = CREATED
        try:
            self._shape(file, fd, entry)
        except OSError:
            os.close(fd)
            raise
        return fd

    def _shape(self, file: int, fd: int, entry: Entry) -> None:
        """Room for all of it, if it has no holes; else its size, and room only where bytes will be."""
        if entry.data is not None:
            os.ftruncate(fd, entry.size)
        elif entry.size >= RESERVE_FROM and linux.reserve(fd, entry.size):
            self._created[file] = RESERVED
            self._ledger.wrote(self._cast, entry.size)

    def _open_anew(self, path: bytes, flags: int) -> int:
        """What an earlier delivery has left of a file, maybe with its final mode; -1 for nothing."""
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            return -1
        except PermissionError:
            os.chmod(path, 0o600)
            return os.open(path, flags)
