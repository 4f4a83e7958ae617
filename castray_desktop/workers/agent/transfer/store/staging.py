"""The hidden staging folder of a delivery, beside the destination's entries.

    DEST/.castray-CAST-NODE/parts/...   the parcel's tree
    DEST/.castray-CAST-NODE/journal     which pieces are there, with their digests
    DEST/.castray-CAST-NODE/manifest    the parcel's list of files, once it is complete
    DEST/.castray-CAST-NODE/trailer     the list of hashes, as far as received
    DEST/.castray-CAST-NODE/landing     the commit log: what was about to get its final name

A delivery that finds such a folder for the same parcel resumes from it. The node's registry has one small
file for each staging folder, which names the process that works there, its cast and its engine, so that a
later start removes abandoned ones. Nothing is removed that does not contain our journal.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Optional

from castray_desktop.core.content.file_names import node_file_name
from castray_desktop.workers.agent.transfer.store.journal import JOURNAL_MAGIC, STILL_USED, CommitLog, Journal
from castray_desktop.workers.agent.transfer.system import linux_calls, processes
from castray_desktop.workers.agent.transfer.system.file_io import replaced_file, write_fully
from castray_desktop.workers.agent.transfer.system.open_folders import FOLDER, NO_FOLDER, lstat_in, open_below

OWN_PREFIX = b".castray-"
"""Names of staging folders and probes begin with it."""

VERSION = 1
"""Of the records in the registry. Those of later versions, and what they name, are left alone."""

EXPIRY_SECONDS = 600.0
"""Interval at which what was kept for long enough is removed."""

REMOVE_SECONDS = 30.0
"""Interval of the attempts to remove what could not be removed at first."""

KEPT_SECONDS = 24 * 3600.0
"""Staging of a failed delivery is kept for a retry for this long, unless the room is needed before."""

FOREIGN_SECONDS = 7 * 24 * 3600.0
"""Staging of an engine that does not return is kept for this long."""


def data_folder() -> Path:
    """The node's data folder, made on first write."""
    home = os.environ.get("CASTRAY_HOME")
    if home:
        return Path(home)
    return Path(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")) / "castray"


def folder_name(cast: str, node: str) -> bytes:
    """The name of a delivery's staging folder."""
    return OWN_PREFIX + os.fsencode(f"{cast}-{node_file_name(node)}")


def used_bytes(folder: bytes) -> int:
    """Disk usage of the files below a folder; 0 where it does not exist."""
    total = 0
    for path, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(path, name)).st_blocks * 512
    return total


def entries_below(folder: bytes) -> int:
    """How many files and folders are below a folder; 0 where it does not exist."""
    return sum(len(folders) + len(files) for _, folders, files in os.walk(folder))


class StagingRegistry:
    """The staging records of this user on this machine, as one engine's agent sees them."""

    def __init__(self, engine: str = "") -> None:
        self.folder = data_folder() / "staging"
        self._engine = engine
        self._lock = threading.Lock()
        self._left: list[tuple[Path, bytes]] = []  # of this process, that could not be removed
        self._removing: Optional[threading.Thread] = None
        self._due = 0.0
        self._expiry_due = time.monotonic() + EXPIRY_SECONDS

    def path(self, cast: str, node: str) -> Path:
        return self.folder / f"{cast}-{node_file_name(node)}"

    def write(self, record: Path, cast: str, folder: bytes, kept: bool = False) -> None:
        """Record that this process uses the folder, or that no process does and it is kept for a retry."""
        pid = os.getpid()
        host, boot, namespace = linux_calls.machine_identity()
        known: dict[str, Any] = {
            "version": VERSION,
            "host": host,
            "boot": boot,
            "namespace": namespace,
            "pid": pid,
            "start": "" if kept else processes.process_start(pid),
            "folder": folder.hex(),
            "engine": self._engine,
            "cast": cast,
        }
        if kept:
            known["kept"] = time.time()
        with contextlib.suppress(OSError):  # without a registry nothing is removed later, all else works
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with replaced_file(record) as file:
                json.dump(known, file)

    def _ended_records(self) -> list[tuple[Path, dict[str, Any]]]:
        """The records of ended processes."""
        try:
            records = sorted(self.folder.iterdir())
        except OSError:
            return []
        return [(record, known) for record in records if (known := _ended(record)) is not None]

    def abandoned(self, keep: Collection[str] = ()) -> list[tuple[Path, bytes]]:
        """Records and folders of ended processes whose casts will not continue.

        Those of other engines are kept for a week: their engine may return. What is kept for a retry is kept
        for a day.
        """
        found = []
        for record, known in self._ended_records():
            if "kept" in known:
                wanted = time.time() - known["kept"] < KEPT_SECONDS
            elif known.get("engine", "") == self._engine:
                wanted = known.get("cast", "") in keep
            else:
                wanted = _age(record) < FOREIGN_SECONDS
            if not wanted:
                found.append((record, bytes.fromhex(known["folder"])))
        return found

    def remove_abandoned(self, keep: Collection[str] = ()) -> list[bytes]:
        """Remove abandoned staging; returns the folders. What can't be removed yet stays recorded."""
        return [folder for record, folder in self.abandoned(keep) if _forget(record, folder)]

    def remove_delivery(self, cast: str, node: str) -> None:
        """Remove staging of a delivery that will not continue, and end a former agent that still uses it."""
        try:
            self.end_replaced(cast, node)
        except OSError as error:
            log.warning("cast %s on %s: %s", cast, node, error)
        left = self.abandoned_delivery(cast, node)
        if left is not None:
            _forget(*left)

    def note_left(self, record: Path, folder: bytes) -> None:
        """A folder of this process that can't be removed yet: its disk is full, read-only or away."""
        with self._lock:
            self._left.append((record, folder))

    def remove_left(self) -> None:
        """Remove what could not be removed before, as far as that works now."""
        with self._lock:
            left, self._left = self._left, []
        for record, folder in left:
            if not _forget(record, folder) and record.exists():
                self.note_left(record, folder)

    def remove_left_now_and_then(self) -> None:
        """Do that in a thread, if it is time to, and remove what was kept for long enough. Never waits."""
        now = time.monotonic()
        if self._removing is not None and self._removing.is_alive():
            return
        if now >= self._expiry_due:
            self._expiry_due = now + EXPIRY_SECONDS
        elif not self._left or now < self._due:
            return
        self._due = now + REMOVE_SECONDS
        self._removing = threading.Thread(target=self._remove_due, name="castray-sweep", daemon=True)
        self._removing.start()

    def _remove_due(self) -> None:
        self.remove_left()
        for record, folder, since in self.kept():
            if time.time() - since >= KEPT_SECONDS:
                _forget(record, folder)

    def kept(self) -> list[tuple[Path, bytes, float]]:
        """Records and folders that are kept for a retry, and since when, the oldest first."""
        found = [
            (record, bytes.fromhex(known["folder"]), float(known["kept"]))
            for record, known in self._ended_records()
            if "kept" in known
        ]
        return sorted(found, key=lambda item: item[2])

    def make_room(self, folder: bytes, needed: int, free_bytes: Callable[[], int], cast: str) -> int:
        """Remove what casts other than this one keep on the file system of `folder`, the oldest first, until
        there is enough room for it. Returns the free bytes. Raises OSError.
        """
        device, free = os.stat(folder).st_dev, free_bytes()
        for record, kept, _ in self.kept():
            if record.name.startswith(f"{cast}-"):
                continue
            if free >= needed:
                break
            with contextlib.suppress(OSError):
                if os.lstat(kept).st_dev == device:
                    log.info("%s gives way to a cast that needs the room", os.fsdecode(kept))
                    _forget(record, kept)
                    free = free_bytes()
        return free

    def mark_kept(self, cast: str, node: str) -> None:
        """Keep for a retry what an earlier agent has left of a delivery that was given up."""
        left = self.abandoned_delivery(cast, node)
        if left is not None:
            self.write(left[0], cast, left[1], kept=True)

    def abandoned_delivery(self, cast: str, node: str) -> Optional[tuple[Path, bytes]]:
        """The record and folder that an ended process of this engine left for a delivery."""
        record = self.path(cast, node)
        known = _ended(record)
        if known is None or known.get("engine", "") != self._engine:
            return None
        return record, bytes.fromhex(known["folder"])

    def end_replaced(self, cast: str, node: str) -> None:
        """End the process that has a delivery, once the engine has given that to this one.

        It is an agent that was given up, since it was suspended or its node could not be reached. There must
        not be two that write. Raises OSError if it can't be ended.
        """
        known = _read(self.path(cast, node))
        if known is None or not _is_running(known) or known.get("engine", "") != self._engine:
            return
        pid = int(known["pid"])
        if pid == os.getpid():
            return
        log.warning("ending process %d, the former agent of %s: it still has cast %s", pid, node, cast)
        if not processes.end_process(pid, known["start"]):
            raise OSError(errno.EBUSY, STILL_USED)


def _age(record: Path) -> float:
    try:
        return time.time() - record.stat().st_mtime
    except OSError:
        return 0.0


def _ended(record: Path) -> Optional[dict[str, Any]]:
    """The record, if its process has certainly ended. Homes may be shared between machines."""
    known = _read(record)
    if known is None or _is_running(known) is not False:
        return None
    return known


def _read(record: Path) -> Optional[dict[str, Any]]:
    """A record of this machine and this version; None for others, and for what is no record."""
    try:
        known: dict[str, Any] = json.loads(record.read_text())
        if b"\0" in bytes.fromhex(known["folder"]):
            return None
        if known.get("version", VERSION) > VERSION or known["host"] != linux_calls.machine_identity()[0]:
            return None
        known["pid"] = int(known["pid"])
        if "kept" in known:
            known["kept"] = float(known["kept"])
        usable = {"boot", "namespace", "start"} <= known.keys() and isinstance(known.get("cast", ""), str)
        return known if usable else None
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
        return None


def _is_running(known: dict[str, Any]) -> Optional[bool]:
    """Whether the process of a record exists; None if that can't be seen from here."""
    _, boot, namespace = linux_calls.machine_identity()
    if known["boot"] != boot:
        return False
    if known["namespace"] != namespace:
        return None
    return known["start"] != "" and processes.is_running(known["pid"], known["start"])


NOT_OURS = "it was made by a later version of CastRay, or by something else"
_JOURNAL = b"journal"
_NAME = re.compile(rb"^\.castray-[0-9A-Za-z]+-[A-Za-z0-9._-]+$")
PROBE_NAME = re.compile(r"\.castray-probe-[0-9a-f]{16,64}")
MAX_PROBE_CONTENT = 64
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC

log = logging.getLogger("castray.byte_plane")


class Staging:
    """One delivery's staging folder. Raises OSError if it can't be made, or another process has it."""

    def __init__(
        self, destination: bytes, cast: str, node: str, header: dict[str, str], registry: StagingRegistry
    ) -> None:
        self.destination = destination
        self.resumed = False
        self._made: list[bytes] = []  # folders of the destination that we made, outermost first
        self._journal: Optional[Journal] = None
        self._log: Optional[CommitLog] = None
        self._trailer = -1
        self._registry = registry
        self._record = registry.path(cast, node)
        self._name = folder_name(cast, node)
        self.folder = destination + b"/" + self._name
        self.parts = self.folder + b"/parts"
        # open from before the first byte is written: syncing tells errors since then
        self.destination_fd = self.folder_fd = self.parts_fd = -1
        self._cast = cast
        self._header = {"cast": cast, "node": node, **header}
        self._ours = False
        try:
            registry.end_replaced(cast, node)
            self._make_destination()
            if not self._reopen():
                self._make()
        except OSError:
            with contextlib.suppress(OSError):  # it stays noted
                if self._ours:
                    self.remove()
                elif not os.path.lexists(self.folder):
                    self._record.unlink(missing_ok=True)
            self._close()
            self.remove_made_folders()
            raise
        registry.write(self._record, cast, self.folder)

    def _reopen(self) -> bool:
        """Resume from an existing folder, if it is about the same parcel."""
        try:
            self.folder_fd = os.open(self._name, FOLDER, dir_fd=self.destination_fd)
            self.parts_fd = os.open(b"parts", FOLDER, dir_fd=self.folder_fd)
        except OSError as error:
            if error.errno not in NO_FOLDER:
                raise
        if self.parts_fd >= 0:
            self._check_owner()
            self._journal = Journal.reopen(_JOURNAL, self.folder_fd, self._header)
        if self._journal is None:
            self._close_folders()
            return False
        self.resumed = self._ours = True
        return True

    def _check_owner(self) -> None:
        """Check that no other user can change its contents. Raises OSError.

        Who makes a file is no owner that the process knows: a file server may take one user for another.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        name = b"owner-%s" % os.urandom(8).hex().encode()  # a killed one may have had our process number
        fd = os.open(name, flags, 0o600, dir_fd=self.folder_fd)
        try:
            owner = os.fstat(fd).st_uid
        finally:
            os.close(fd)
            os.unlink(name, dir_fd=self.folder_fd)
        if any(os.fstat(folder).st_uid != owner for folder in (self.folder_fd, self.parts_fd)):
            raise PermissionError(errno.EPERM, "another user has made it", os.fsdecode(self.folder))

    def _make(self) -> None:
        if os.path.lexists(self.folder) and not remove_staging(self.folder):
            raise FileExistsError(errno.EEXIST, NOT_OURS, os.fsdecode(self.folder))
        self._registry.write(self._record, self._cast, self.folder)
        os.mkdir(self._name, 0o700, dir_fd=self.destination_fd)
        self._ours = True
        self.folder_fd = os.open(self._name, FOLDER, dir_fd=self.destination_fd)
        self._journal = Journal.create(_JOURNAL, self.folder_fd, self._header)
        os.mkdir(b"parts", 0o700, dir_fd=self.folder_fd)
        self.parts_fd = os.open(b"parts", FOLDER, dir_fd=self.folder_fd)
        self._check_owner()

    def start_over(self) -> None:
        """Discard what was found: it can't be used."""
        self._close_files()
        remove_tree(self.folder)
        self.resumed = False
        self._make()

    def _make_destination(self) -> None:
        missing = []
        path = self.destination
        while not os.path.lexists(path):
            missing.append(path)
            path = os.path.dirname(path)
        for folder in reversed(missing):
            try:
                os.mkdir(folder)
            except FileExistsError:
                continue
            self._made.append(folder)
            with contextlib.suppress(PermissionError):  # a folder that may be written to, not read
                linux_calls.sync_path(os.path.dirname(folder))
        if not os.path.isdir(self.destination):
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", os.fsdecode(self.destination))
        root = os.open(b"/", FOLDER)
        try:  # its links were resolved before: a link that is there now is none that anybody meant
            self.destination_fd = open_below(self.destination.strip(b"/") or b".", root, FOLDER)
        finally:
            os.close(root)

    # --- what is kept besides the part files

    @property
    def journal(self) -> Journal:
        assert self._journal is not None
        return self._journal

    def save_manifest(self, raw: bytes) -> None:
        """Appears atomically; a damaged one is detected by its digest."""
        fresh = b"manifest.new"
        with open(os.open(fresh, _WRITE | os.O_TRUNC, 0o600, dir_fd=self.folder_fd), "wb") as file:
            file.write(raw)
        os.rename(fresh, b"manifest", src_dir_fd=self.folder_fd, dst_dir_fd=self.folder_fd)

    def save_trailer(self, offset: int, view: memoryview) -> None:
        if self._trailer < 0:
            self._trailer = os.open(b"trailer", _WRITE, 0o600, dir_fd=self.folder_fd)
        write_fully(self._trailer, offset, view)

    def saved(self, name: bytes) -> bytes:
        """The manifest or the trailer that was saved; nothing where it can't be read."""
        try:
            with open(os.open(name, _READ, dir_fd=self.folder_fd), "rb") as file:
                return file.read()
        except OSError:
            return b""

    def has_started_commit(self) -> bool:
        return lstat_in(b"landing", self.folder_fd) is not None

    def commit_log(self, careful: bool) -> CommitLog:
        """Made on the first call. `careful`: what it depends on is synced to the disk as well."""
        if self._log is None:
            self._log = CommitLog(b"landing", self.folder_fd, careful)
            if careful:
                for name in (b"journal", b"manifest", b"trailer", b"landing", b"."):
                    # a parcel of empty files has no trailer of its own, a folder no contents
                    with contextlib.suppress(FileNotFoundError):
                        linux_calls.sync_path(name, self.folder_fd, self.folder + b"/" + name)
        return self._log

    # --- the end

    def keep(self, for_retry: bool = False) -> None:
        """Keep all of it: for another delivery of a cast that goes on, or for a retry, which may not come."""
        self._close()
        if for_retry:
            self._registry.write(self._record, self._cast, self.folder, kept=True)

    def remove(self) -> None:
        """The folder and all in it, and then its line in the registry. Raises OSError for what is left."""
        self._close_files()
        try:
            remove_tree(self.folder)
        except OSError:
            self._registry.note_left(self._record, self.folder)
            raise
        else:
            with contextlib.suppress(OSError):  # otherwise it may be back after a loss of power, unrecorded
                linux_calls.sync(self.destination_fd, self.destination)
        finally:
            self._close()
        self._record.unlink(missing_ok=True)

    def _close(self) -> None:
        self._close_files()
        if self.destination_fd >= 0:
            os.close(self.destination_fd)
            self.destination_fd = -1

    def _close_folders(self) -> None:
        for fd in (self.folder_fd, self.parts_fd):
            if fd >= 0:
                os.close(fd)
        self.folder_fd = self.parts_fd = -1

    def _close_files(self) -> None:
        self._close_folders()
        if self._trailer >= 0:
            os.close(self._trailer)
            self._trailer = -1
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def remove_made_folders(self) -> None:
        """Remove the destination's folders that we made, if they are empty."""
        for folder in reversed(self._made):
            try:
                os.rmdir(folder)
            except OSError:
                return


def _forget(record: Path, folder: bytes) -> bool:
    """Remove a staging folder or a probe, and its record once it is gone. Returns whether it was there."""
    try:
        was_there = remove_staging(folder) or remove_probe(folder)
    except OSError as error:
        log.warning("%s can't be removed yet: %s", os.fsdecode(folder), error)
        return False
    if not was_there and not os.path.lexists(os.path.dirname(folder)) and _age(record) < FOREIGN_SECONDS:
        return False  # its disk may be mounted again
    record.unlink(missing_ok=True)
    return was_there


def remove_staging(folder: bytes) -> bool:
    """Remove a staging folder, if it is one: named like one, with our journal in it.

    Raises OSError where it can't be read, or some of it can't be removed.
    """
    if not _NAME.match(os.path.basename(folder)) or os.path.islink(folder):
        return False
    try:
        with open(folder + b"/" + _JOURNAL, "rb") as file:
            head = file.read(len(JOURNAL_MAGIC))
            ours = head == JOURNAL_MAGIC or not head.strip(b"\0")  # nothing or zeros: power was lost
    except (FileNotFoundError, NotADirectoryError):
        ours = os.path.isdir(folder) and not os.listdir(folder)
    if ours:
        remove_tree(folder)
    return ours


def remove_tree(folder: bytes) -> None:
    """Remove a staging folder, also where folders in it were given modes that forbid it. Raises OSError.

    The journal goes last: by it a later attempt knows what is left for ours.
    """
    if not os.path.lexists(folder):
        return
    if os.path.islink(folder):
        raise OSError(errno.ELOOP, "a link has come in its place", os.fsdecode(folder))
    if _remove_all_but_journal(folder):
        for path, folders, _ in os.walk(folder):
            for name in folders:
                below = os.path.join(path, name)
                if stat.S_ISDIR(os.lstat(below).st_mode):
                    os.chmod(below, 0o700)
        if _remove_all_but_journal(folder):
            raise OSError(errno.ENOTEMPTY, "some of it can't be removed", os.fsdecode(folder))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(folder + b"/" + _JOURNAL)
    os.rmdir(folder)


def _remove_all_but_journal(folder: bytes) -> list[bytes]:
    """What is left then."""
    for name in os.listdir(folder):
        path = folder + b"/" + name
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path, ignore_errors=True)
        elif name != _JOURNAL:
            with contextlib.suppress(OSError):
                os.unlink(path)
    return [name for name in os.listdir(folder) if name != _JOURNAL]


def remove_probe(path: bytes) -> bool:
    """Remove a file that an ended agent left, if it is a probe. Raises OSError where that can't be done."""
    if not PROBE_NAME.fullmatch(os.fsdecode(os.path.basename(path))):
        return False
    try:
        facts = os.lstat(path)
    except OSError:
        return False
    if not stat.S_ISREG(facts.st_mode) or facts.st_size > MAX_PROBE_CONTENT:
        return False
    os.unlink(path)
    return True
