"""What a delivery has written down about itself, so that it can go on after any kind of end.

    journal    a magic line, a line of JSON about the parcel, then 24 bytes for each verified piece
    landing    a line for each entry, written before the entry gets its final name

Nothing here is synced to the disk but where it says so: whoever reads it checks what it claims. After a loss
of power a journal may be ahead of the data, and may end in a torn record.
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

from castray_desktop.workers.ray_side.byte_plane import linux

JOURNAL_MAGIC = b"CastRay journal 1\n"
_RECORD = struct.Struct("<Q16s")
_READ_BYTES = _RECORD.size << 14
_MAX_HEADER = 1 << 16
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
            os.write(fd, head)
        except OSError:
            os.close(fd)
            raise
        return cls(fd, len(head))

    @classmethod
    def reopen(cls, name: bytes, folder: int, header: dict[str, str]) -> Optional[Journal]:
        """The one that is there, if it is about the same parcel; its torn end is cut off.

        Raises OSError, with EBUSY where another process works with it.
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

    def note(self, index: int, digest: bytes) -> None:
        """A piece was verified and written."""
        os.write(self.fd, _RECORD.pack(index, digest))

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Pieces and their digests, in the order in which they were noted. Of two the later one counts."""
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


def _header_end(fd: int, header: dict[str, str]) -> int:
    """Where the records begin; 0 if this is not the journal of that parcel."""
    raw = os.pread(fd, _MAX_HEADER, 0)
    if not raw.startswith(JOURNAL_MAGIC):
        return 0
    line, newline, _ = raw[len(JOURNAL_MAGIC) :].partition(b"\n")
    try:
        same = bool(newline) and json.loads(line) == header
    except (ValueError, RecursionError):
        return 0
    return len(JOURNAL_MAGIC) + len(line) + 1 if same else 0


def _lock(fd: int) -> None:
    """Keep others out, also an earlier agent that has not quite ended yet."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                return  # a file system without locks
            if time.monotonic() > deadline:
                raise OSError(errno.EBUSY, "another process still works with it") from error
        time.sleep(_LOCK_PAUSE)


class Step(NamedTuple):
    """What was about to happen to an entry of the parcel."""

    verb: str
    target: bytes


MOVE, STAND, DROP = "move", "stand", "drop"  # named, found to be there already, not landed at all
OPEN = "open"  # a folder of the user's was made writable for a while: the target is its mode
_VERBS = (MOVE, STAND, DROP, OPEN)


class LandingLog:
    """Which entries were about to get which final name. It exists once every file was verified."""

    def __init__(self, name: bytes, folder: int, careful: bool = False) -> None:
        """`careful`: each line is on the disk before the entry moves. Raises OSError."""
        self._name = name
        self._fd = os.open(name, _OPEN | os.O_CREAT, 0o600, dir_fd=folder)
        self._careful = careful

    def note(self, verb: str, path: bytes, target: bytes = b"") -> None:
        os.write(self._fd, f"{verb} {path.hex()} {target.hex()}\n".encode())
        if self._careful:
            linux.sync(self._fd, self._name)

    def steps(self) -> dict[bytes, Step]:
        """The last step of each entry."""
        found: dict[bytes, Step] = {}
        with os.fdopen(os.dup(self._fd), "rb") as file:
            file.seek(0)
            for line in file:
                words = line.decode("ascii", "replace").rstrip("\n").split(" ")
                if len(words) == 3 and words[0] in _VERBS and line.endswith(b"\n"):
                    with contextlib.suppress(ValueError):
                        found[bytes.fromhex(words[1])] = Step(words[0], bytes.fromhex(words[2]))
        return found

    def close(self) -> None:
        os.close(self._fd)
