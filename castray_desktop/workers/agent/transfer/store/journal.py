"""What a delivery has recorded about itself, so that it can resume after any kind of end.

    journal    a magic line, a line of JSON about the parcel, then 24 bytes for each verified piece
    landing    a line for each entry, written before the entry gets its final name

Nothing here is synced to the disk unless stated: a reader checks what it finds. After a loss of power a
journal may be ahead of the data, and may end in a torn record.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import struct
import time
from collections.abc import Iterator
from typing import NamedTuple, Optional

from castray_desktop.workers.agent.transfer.system import linux_calls

STILL_USED = "another process is still using it"
JOURNAL_MAGIC = b"CastRay journal 1\n"
_RECORD = struct.Struct("<Q16s")
_READ_BYTES = _RECORD.size << 14
_MAX_LINE = 1 << 16
_LOCK_SECONDS = 3.0
_LOCK_PAUSE = 0.05
_OPEN = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class Journal:
    """An open journal. Only one process has it at a time."""

    def __init__(self, fd: int, records_at: int) -> None:
        self.fd = fd
        self._records_at = records_at

    @classmethod
    def create(cls, name: bytes, folder: int, header: dict[str, str]) -> Journal:
        """A new one in an open folder. Raises OSError."""
        fd = os.open(name, _OPEN | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
        try:
            _lock(fd)
            head = JOURNAL_MAGIC + json.dumps(header, sort_keys=True).encode() + b"\n"
            _append(fd, head)
        except OSError:
            os.close(fd)
            raise
        return cls(fd, len(head))

    @classmethod
    def reopen(cls, name: bytes, folder: int, header: dict[str, str]) -> Optional[Journal]:
        """Reopen the existing one, if it is about the same parcel; a torn end is cut off.

        Raises OSError, with EBUSY if another process uses it.
        """
        try:
            fd = os.open(name, _OPEN, dir_fd=folder)
        except OSError:
            return None
        try:
            _lock(fd)
            at = _header_end(fd, header)
            if at:
                torn = max(os.fstat(fd).st_size - at, 0) % _RECORD.size
                if torn:
                    os.ftruncate(fd, os.fstat(fd).st_size - torn)
                return cls(fd, at)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return None

    def append(self, index: int, digest: bytes) -> None:
        """A piece was verified and written."""
        _append(self.fd, _RECORD.pack(index, digest))

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Recorded pieces and their digests, in order. A later record of a piece replaces an earlier one."""
        at = self._records_at
        while True:
            raw = os.pread(self.fd, _READ_BYTES, at)
            whole = len(raw) - len(raw) % _RECORD.size
            if not whole:
                return
            yield from _RECORD.iter_unpack(raw[:whole])
            at += whole

    def close(self) -> None:
        os.close(self.fd)


def _append(fd: int, data: bytes) -> None:
    """Append all of it, also where a full disk takes only a part at first. Raises OSError."""
    while data:
        data = data[os.write(fd, data) :]


def _header_end(fd: int, header: dict[str, str]) -> int:
    """Offset of the first record; 0 if this is not the journal of that parcel."""
    raw = os.pread(fd, _MAX_LINE, 0)
    if not raw.startswith(JOURNAL_MAGIC):
        return 0
    line, newline, _ = raw[len(JOURNAL_MAGIC) :].partition(b"\n")
    try:
        same = bool(newline) and json.loads(line) == header
    except (ValueError, RecursionError):
        return 0
    return len(JOURNAL_MAGIC) + len(line) + 1 if same else 0


def _lock(fd: int) -> None:
    """Lock out other processes, including a previous agent that has not quite ended."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                return  # a file system without locks
            if time.monotonic() > deadline:
                raise OSError(errno.EBUSY, STILL_USED) from error
        time.sleep(_LOCK_PAUSE)


class CommitStep(NamedTuple):
    """The next step for an entry of the parcel."""

    verb: str
    target: bytes


MOVE, KEEP, DROP = "move", "stand", "drop"  # renamed, found to exist already, not committed
REPLACE = "over"  # what had the name is replaced; a MOVE of the entry follows
OPEN = "open"  # a folder of the user's was made writable for a while: the target is its mode
_VERBS = (MOVE, KEEP, DROP, OPEN, REPLACE)


class CommitLog:
    """Which entries were about to get which final name. It exists once every file was verified."""

    def __init__(self, name: bytes, folder: int, careful: bool = False) -> None:
        """`careful`: each line is on the disk before the entry moves. Raises OSError."""
        self._name = name
        self._fd = os.open(name, _OPEN | os.O_CREAT, 0o600, dir_fd=folder)
        self._careful = careful
        try:
            self._cut_torn_line()
        except OSError:
            os.close(self._fd)
            raise

    def _cut_torn_line(self) -> None:
        """It was not acted on, and the next line must not continue it."""
        size = os.fstat(self._fd).st_size
        first = max(size - _MAX_LINE, 0)
        whole = first + os.pread(self._fd, _MAX_LINE, first).rfind(b"\n") + 1
        if whole < size:
            os.ftruncate(self._fd, whole)

    def append(self, verb: str, path: bytes, target: bytes = b"") -> None:
        _append(self._fd, f"{verb} {path.hex()} {target.hex()}\n".encode())
        if self._careful:
            linux_calls.sync(self._fd, self._name)

    def steps(self) -> dict[bytes, CommitStep]:
        """The last recorded step of each entry."""
        return {path: step for path, step in self._lines() if step.verb != REPLACE}

    def replaced(self) -> set[bytes]:
        """Entries that have replaced something, or were about to."""
        return {path for path, step in self._lines() if step.verb == REPLACE}

    def _lines(self) -> Iterator[tuple[bytes, CommitStep]]:
        with os.fdopen(os.dup(self._fd), "rb") as file:
            file.seek(0)
            for line in file:
                words = line.decode("ascii", "replace").rstrip("\n").split(" ")
                if len(words) == 3 and words[0] in _VERBS and line.endswith(b"\n"):
                    with contextlib.suppress(ValueError):
                        yield bytes.fromhex(words[1]), CommitStep(words[0], bytes.fromhex(words[2]))

    def close(self) -> None:
        os.close(self._fd)
