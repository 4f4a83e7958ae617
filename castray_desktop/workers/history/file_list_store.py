"""What became of the files of each cast: one file in the home for each. Every method blocks.

    HOME/files/CAST    a magic line, then records: their length in 4 bytes, and MessagePack

A record has the list of files, compressed, or what became of them at one recipient, so that a recipient's end
costs one small record, and 100,000 files of which few are special cost little more than their names and
hashes. A torn or damaged record ends the reading. Later records replace earlier ones of their kind and
recipient, so a file only grows.
"""

from __future__ import annotations

import logging
import os
import struct
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import msgspec

from castray_desktop.workers.base.state_files import UNREADABLE, open_private

MAGIC = b"CastRay files 1\n"
MAX_CASTS = 10_000
MAX_BYTES = 512 << 20
"""Of all lists together; the oldest are dropped."""

MAX_CAST_BYTES = 64 << 20
"""Of one cast: about a million files. What goes beyond that is not kept."""

_LENGTH = struct.Struct("<I")

log = logging.getLogger("castray.history")


class ParcelRecord(msgspec.Struct, frozen=True, tag="parcel"):
    """The files that a cast sends."""

    digest: str  # of the manifest
    algorithm: str  # of the hashes
    manifest: bytes  # compressed
    trailer: bytes = b""  # status and hash of each; empty before all were read


class OutcomeRecord(msgspec.Struct, frozen=True, tag="outcomes"):
    """What became of them at one recipient."""

    node: str
    digest: str  # of the manifest that it received
    packed: str  # see `core.content.file_outcomes`


FileRecord = ParcelRecord | OutcomeRecord


class FileListStore:
    """The lists in one folder, which is made with the first of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sizes: OrderedDict[str, int] | None = None  # by cast, the oldest first; None: not looked at

    def append(self, cast: str, record: FileRecord) -> None:
        """Add a record to the list of a cast. Raises OSError."""
        content = msgspec.msgpack.encode(record)
        sizes = self._known()
        size = sizes.get(cast, 0)
        if size + _LENGTH.size + len(content) > MAX_CAST_BYTES:
            log.warning("cast %s: the outcome of its files is not kept, because there are too many", cast)
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open_private(self._folder / cast, "ab") as file:
            if file.tell() == 0:
                file.write(MAGIC)
            file.write(_LENGTH.pack(len(content)) + content)
            sizes[cast] = file.tell()
        sizes.move_to_end(cast)
        while len(sizes) > 1 and (len(sizes) > MAX_CASTS or sum(sizes.values()) > MAX_BYTES):
            self.discard((next(iter(sizes)),))

    def load(self, cast: str) -> list[FileRecord]:
        """The records of a cast, oldest first; none for an unknown one."""
        try:
            content = (self._folder / cast).read_bytes()
        except OSError:
            return []
        found: list[FileRecord] = []
        at = len(MAGIC)
        while content.startswith(MAGIC) and at + _LENGTH.size <= len(content):
            (length,) = _LENGTH.unpack_from(content, at)
            at += _LENGTH.size
            try:
                found.append(msgspec.msgpack.decode(content[at : at + length], type=FileRecord))
            except UNREADABLE as error:
                log.warning("the list of files of cast %s ends with a damaged record: %s", cast, error)
                break
            at += length
        return found

    def discard(self, casts: Iterable[str]) -> None:
        """Remove the lists of these casts. Raises OSError."""
        sizes = self._known()
        for cast in casts:
            (self._folder / cast).unlink(missing_ok=True)
            sizes.pop(cast, None)

    def retain(self, known: Callable[[Collection[str]], Collection[str]]) -> None:
        """Remove the lists of casts that `known` leaves out of those that it is given. Raises OSError."""
        casts = list(self._known())
        if casts:
            self.discard(set(casts) - set(known(casts)))

    def _known(self) -> OrderedDict[str, int]:
        if self._sizes is None:
            found = []
            try:
                with os.scandir(self._folder) as entries:
                    for entry in entries:
                        facts = entry.stat(follow_symlinks=False)
                        found.append((facts.st_mtime_ns, entry.name, facts.st_size))
            except FileNotFoundError:
                pass
            self._sizes = OrderedDict((name, size) for _, name, size in sorted(found))
        return self._sizes
