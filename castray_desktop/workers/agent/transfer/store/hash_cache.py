"""Hashes of files that were read before, keyed by device, inode, size and times.

A SQLite file in the node's data folder, shared by the agents of this user. It only ever saves work: where
it is missing, locked, damaged or of a later version, files are read. Like git's index, it excludes a file
that was modified within the last two seconds, since another write in the same tick of the clock would not
show.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Optional

from castray_desktop.core.content.manifest import HASH_BYTES
from castray_desktop.workers.agent.transfer.system.digests import Hasher
from castray_desktop.workers.agent.transfer.system.file_io import page_buffer
from castray_desktop.workers.agent.transfer.system.linux_calls import FileSystems, fstat, is_remote

try:
    import sqlite3
except ImportError:  # a Python that was built without it
    sqlite3 = None  # type: ignore[assignment]

log = logging.getLogger("castray.byte_plane")

VERSION = 1  # of the file, as SQLite's user_version; none was written at first, which means the same
MAX_ROWS = 200_000
SETTLED_NS = 2_000_000_000
REMOTE_SETTLED_NS = 62_000_000_000  # NFS caches attributes for up to a minute, and clocks differ
BUSY_SECONDS = 1.0
CHUNK_BYTES = 1 << 20
_FILE = struct.Struct("<QQ")
_STATE = struct.Struct("<Qqq")
_TABLE = """CREATE TABLE IF NOT EXISTS hashes (
    algorithm TEXT, file BLOB, state BLOB, hash BLOB, used INTEGER, PRIMARY KEY (algorithm, file)
) WITHOUT ROWID"""
_FIND = "SELECT hash FROM hashes WHERE algorithm = ? AND file = ? AND state = ?"
_USED = "UPDATE hashes SET used = ? WHERE algorithm = ? AND file = ?"
_KEEP = "INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?)"
_TRIM = """DELETE FROM hashes WHERE (algorithm, file) IN (
    SELECT algorithm, file FROM hashes ORDER BY used LIMIT max((SELECT count(*) FROM hashes) - ?, 0)
)"""


_OF_ANOTHER_KIND = ("no such column", "unsupported file format", "has no column", "columns but")


class FileKey(NamedTuple):
    """A file and its state: while all of it is the same, so are the contents."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> FileKey:
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def is_settled(self, now_ns: int, remote: bool = False) -> bool:
        """Whether a write after `now_ns` (POSIX, nanoseconds) would show; False for times in the future.

        `remote`: on a file system to which other machines write as well.
        """
        return max(self.mtime_ns, self.ctime_ns) <= now_ns - (REMOTE_SETTLED_NS if remote else SETTLED_NS)


class HashCache:
    """Finds and saves hashes. Methods may be called from any thread and raise nothing."""

    def __init__(self, folder: Path, rows: int = MAX_ROWS) -> None:
        self._path = folder / "hashes.sqlite"
        self._rows = rows
        self._writers: list[threading.Thread] = []
        self._lock = threading.Lock()

    def find(self, algorithm: str, keys: Iterable[FileKey]) -> dict[FileKey, bytes]:
        """Known hashes of these files, also those that are being saved now."""
        self._await_writers()
        found: dict[FileKey, bytes] = {}
        now = time.time_ns()
        settled = [key for key in keys if key.is_settled(now)]
        if not settled or not self._path.exists():
            return found

        def look(known: sqlite3.Connection) -> None:
            for key in settled:
                row = known.execute(_FIND, (algorithm, _file(key), _state(key))).fetchone()
                if row is not None and len(row[0]) == HASH_BYTES:
                    found[key] = bytes(row[0])
            used = ((now // 10**9, algorithm, _file(key)) for key in found)
            known.executemany(_USED, used)

        self._with_connection(look)
        return found

    def save(self, algorithm: str, hashes: Mapping[FileKey, bytes]) -> None:
        """Save these in one transaction. The caller has checked that they are settled."""
        now = time.time_ns() // 10**9
        rows = [(algorithm, _file(key), _state(key), hash_, now) for key, hash_ in hashes.items()]

        def write(known: sqlite3.Connection) -> None:
            known.executemany(_KEEP, rows)
            known.execute(_TRIM, (self._rows,))

        if rows:
            self._with_connection(write)

    def save_in_background(self, algorithm: str, hashes: Callable[[], Mapping[FileKey, bytes]]) -> None:
        """Save in a background thread."""
        writer = threading.Thread(
            target=lambda: self.save(algorithm, hashes()), name="castray-hash-cache", daemon=True
        )
        with self._lock:
            self._writers = [other for other in self._writers if other.is_alive()]
            self._writers.append(writer)
            writer.start()

    def close(self) -> None:
        """Wait for pending writes."""
        self._await_writers()

    def _await_writers(self) -> None:
        with self._lock:
            writers = list(self._writers)
        for writer in writers:
            writer.join()

    def _with_connection(self, work: Callable[[sqlite3.Connection], None]) -> None:
        if sqlite3 is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            with contextlib.closing(sqlite3.connect(os.fspath(self._path), BUSY_SECONDS)) as known, known:
                version = known.execute("PRAGMA user_version").fetchone()[0]
                if version > VERSION:
                    log.info("hash cache not used: it was written by a newer version")
                    return
                known.execute("PRAGMA synchronous = NORMAL")
                known.execute(_TABLE)
                if version < VERSION:
                    known.execute(f"PRAGMA user_version = {VERSION}")
                work(known)
        except (sqlite3.Error, OSError, TypeError, ValueError) as error:
            if not _is_damage(error):
                log.info("hash cache unavailable: %s", error)
                return
            log.warning("hash cache damaged, removed: %s", error)
            for path in (self._path, self._path.with_name(self._path.name + "-journal")):
                with contextlib.suppress(OSError):
                    path.unlink()


def _is_damage(error: Exception) -> bool:
    """Whether the file is damaged, rather than locked, inaccessible or on a full disk.

    Old Pythons tell no error codes.
    """
    if isinstance(error, sqlite3.OperationalError):
        return any(words in str(error) for words in _OF_ANOTHER_KIND)
    return not isinstance(error, OSError)


def _file(key: FileKey) -> bytes:
    return _FILE.pack(key.device, key.inode)


def _state(key: FileKey) -> bytes:
    return _STATE.pack(key.size, key.mtime_ns, key.ctime_ns)


def file_keys(paths: Iterable[bytes]) -> Iterator[FileKey]:
    """The keys of those files that are there, and whose attributes are never out of date."""
    systems = FileSystems()
    for path in paths:
        with contextlib.suppress(OSError):
            found = os.lstat(path)
            if not systems.is_remote(found.st_dev, path):
                yield FileKey.of(found)


def hash_file(
    path: bytes,
    new_hasher: Callable[[], Hasher],
    on_progress: Callable[[], None] = lambda: None,
    folder: Optional[int] = None,
) -> tuple[Optional[FileKey], bytes]:
    """A file's hash, and its key if it may be cached. `path` may be that of an entry in an open folder.

    `on_progress` is called now and then, and may raise.

    Raises OSError where it can't be read.
    """
    hasher = new_hasher()
    buffer = page_buffer(CHUNK_BYTES)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
    with open(fd, "rb", buffering=0) as file:
        remote = is_remote(fd)
        before, now = FileKey.of(fstat(fd, remote)), time.time_ns()
        while True:
            on_progress()
            count = file.readinto(buffer)
            if not count:
                break
            hasher.update(buffer[:count])
        after = FileKey.of(fstat(fd, remote))
    return (before if before == after and before.is_settled(now, remote) else None), hasher.digest()
