"""The requests with an `Idempotency-Key`, and their answers, in a SQLite file of the home.

A key is written before its request is carried out, and the answer before it is sent. So a server that was
killed leaves a key without an answer, and the next one does not carry the request out again. Several servers
may use one file.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from castray_desktop.workers.agent.transfer.system.processes import is_running, process_start
from castray_desktop.workers.base.state_files import UNREADABLE, quarantine_file

VERSION = 1
KEEP_SECONDS = 24 * 3600.0
MAX_KEYS = 10_000
MAX_STORED_BYTES = 16 * 1024 * 1024

SCHEMA = """
CREATE TABLE requests(
    key TEXT PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    since REAL NOT NULL,
    server INTEGER NOT NULL,
    server_start TEXT NOT NULL,
    size INTEGER NOT NULL DEFAULT 0,
    answer BLOB
);
CREATE INDEX requests_by_time ON requests(since, size);
"""

_DAMAGE = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR))

log = logging.getLogger("castray.api")


class StoredAnswer(msgspec.Struct, frozen=True, array_like=True):
    """An answer, so that it can be sent again."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(frozen=True)
class KnownRequest:
    """The request that a key was used with first.

    If it is neither answered nor in progress, its server has ended, or could not store the answer: the
    request may have been carried out.
    """

    fingerprint: bytes
    answer: StoredAnswer | None = None
    in_progress: bool = False


class IdempotencyKeys:
    """Keys for a day, at most `MAX_KEYS` and `MAX_STORED_BYTES` of answers; the oldest are dropped first.

    Every method blocks, may be called on any thread, and raises sqlite3.Error or OSError.
    """

    def __init__(self, path: Path | None = None, wall: Callable[[], float] = time.time) -> None:
        """`wall` returns POSIX seconds. Without a path, keys are forgotten with this object."""
        self._path = path
        self._wall = wall
        self._lock = threading.Lock()
        self._server = (os.getpid(), process_start(os.getpid()))
        self._in_progress: set[str] = set()  # keys of requests that this server carries out
        self._database: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open or create the file, for this user only. A damaged one is set aside first.

        The other methods do this too.
        """
        with self._lock:
            self._opened()

    def close(self) -> None:
        """Close the file. A key that has no answer by now is not used again for a day."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def claim(self, key: str, fingerprint: bytes) -> KnownRequest | None:
        """Store a new key, whose request is then in progress; None. For a known key, what is known."""
        with self._transaction() as database:
            self._drop_old(database)
            row = database.execute(
                "SELECT fingerprint, server, server_start, answer FROM requests WHERE key = ?", (key,)
            ).fetchone()
            if row is not None:
                return self._known(key, *row)
            database.execute(
                "INSERT INTO requests(key, fingerprint, since, server, server_start) VALUES(?, ?, ?, ?, ?)",
                (key, fingerprint, self._wall(), *self._server),
            )
            self._in_progress.add(key)
        return None

    def answered(self, key: str, answer: StoredAnswer) -> None:
        """Store the answer to the request of a claimed key."""
        content = msgspec.msgpack.encode(answer)
        with self._finishing(key) as database:
            database.execute(
                "UPDATE requests SET answer = ?, size = ? WHERE key = ?", (content, len(content), key)
            )

    def interrupted(self, key: str) -> None:
        """The request of a claimed key ended without an answer."""
        with self._lock:
            self._in_progress.discard(key)

    def forget(self, key: str) -> None:
        """Nothing was done: the key can be used again."""
        with self._finishing(key) as database:
            database.execute("DELETE FROM requests WHERE key = ?", (key,))

    def _known(
        self, key: str, fingerprint: bytes, server: int, server_start: str, answer: bytes | None
    ) -> KnownRequest:
        if answer is not None:
            try:
                return KnownRequest(fingerprint, msgspec.msgpack.decode(answer, type=StoredAnswer))
            except UNREADABLE:
                return KnownRequest(fingerprint)
        own = (server, server_start) == self._server
        goes_on = key in self._in_progress if own else is_running(server, server_start)
        return KnownRequest(fingerprint, in_progress=goes_on)

    def _drop_old(self, database: sqlite3.Connection) -> None:
        oldest_allowed = self._wall() - KEEP_SECONDS
        database.execute("DELETE FROM requests WHERE since < ?", (oldest_allowed,))
        keys, size = database.execute("SELECT count(*), total(size) FROM requests").fetchone()
        if keys < MAX_KEYS and size <= MAX_STORED_BYTES:
            return
        answered = database.execute(
            "SELECT rowid, size FROM requests WHERE answer IS NOT NULL ORDER BY since, rowid"
        ).fetchall()
        for row, each in answered:
            if keys < MAX_KEYS and size <= MAX_STORED_BYTES:
                break
            database.execute("DELETE FROM requests WHERE rowid = ?", (row,))
            keys, size = keys - 1, size - each

    @contextlib.contextmanager
    def _finishing(self, key: str) -> Iterator[sqlite3.Connection]:
        try:
            with self._transaction() as database:
                yield database
        finally:
            self.interrupted(key)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            database = self._opened()
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.rollback()
                raise
            database.commit()

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            try:
                self._database = self._connect()
            except sqlite3.Error as error:
                if self._path is None or getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGE:
                    raise
                for suffix in ("-wal", "-shm"):
                    self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
                quarantine_file(self._path, "the keys of repeated requests", error)
                self._database = self._connect()
        return self._database

    def _connect(self) -> sqlite3.Connection:
        if self._path is not None:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            self._path.chmod(0o600)
        database = sqlite3.connect(self._path or ":memory:", check_same_thread=False, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")  # a key survives a power failure
            database.execute("PRAGMA secure_delete=ON")
            database.execute("BEGIN IMMEDIATE")  # another server may be making the table
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version != VERSION:
                for statement in filter(str.strip, SCHEMA.split(";")):
                    database.execute(statement)  # fails in a file of another form
                database.execute(f"PRAGMA user_version={VERSION}")
            database.execute(
                "SELECT key, fingerprint, since, server, server_start, size, answer FROM requests"
            )
            database.commit()
        except BaseException:
            database.close()
            raise
        return database
