"""What became of each file of a parcel at one recipient, in a form that is small for many files.

One byte for each entry of the manifest that is no folder, in order, and the places of those that did not get
their own name: of a folder that was renamed as a whole only the folder's.
"""

from __future__ import annotations

import base64
import binascii
import enum
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from castray_desktop.core.content.file_names import display_name
from castray_desktop.core.content.manifest import EntryKind, FileStatus, ManifestEntry
from castray_desktop.core.failures.kinds import Failure, FailureKind

MOST_OUTCOME_BYTES = 1 << 28
_LENGTH = struct.Struct("<I")


class FileOutcome(enum.IntEnum):
    """What became of a file, or is so far."""

    PENDING = 0  # not all of its bytes are there
    RECEIVED = 1  # all of them are, and verified
    SENT = 2  # written under its own name
    IDENTICAL = 3  # the same file existed
    RENAMED = 4  # written under another name, since its own was taken
    OVERWRITTEN = 5  # written in the place of another one
    FAILED = 6  # the source could not send it


_LAST = max(FileOutcome)


@dataclass(frozen=True)
class FileCounts:
    """How many files have ended in each way at a recipient."""

    sent: int = 0
    identical: int = 0
    renamed: int = 0
    overwritten: int = 0
    failed: int = 0

    def __bool__(self) -> bool:
        return any((self.sent, self.identical, self.renamed, self.overwritten, self.failed))


class FileOutcomes(NamedTuple):
    """The outcomes of one delivery."""

    codes: bytes  # a `FileOutcome` for each entry that is no folder
    places: Mapping[bytes, bytes] = {}
    """Path below the destination by path in the parcel, of entries that have another one; a folder stands for
    what it holds."""

    @property
    def counts(self) -> FileCounts:
        """How many of each."""
        count = self.codes.count
        return FileCounts(
            count(FileOutcome.SENT),
            count(FileOutcome.IDENTICAL),
            count(FileOutcome.RENAMED),
            count(FileOutcome.OVERWRITTEN),
            count(FileOutcome.FAILED),
        )


def listed(entries: Iterable[ManifestEntry]) -> list[ManifestEntry]:
    """The entries of a manifest that have an outcome: files and links."""
    return [entry for entry in entries if entry.kind is not EntryKind.FOLDER]


def place_of(path: bytes, places: Mapping[bytes, bytes]) -> bytes:
    """Where an entry of the parcel is, by the places of those entries and folders that are elsewhere."""
    above, rest = path, b""
    while above:
        if above in places:
            return places[above] + rest
        above, slash, name = above.rpartition(b"/")
        rest = slash + name + rest
    return path


def file_failure(status: FileStatus, path: str | bytes, reason: str = "") -> Failure:
    """The failure of a file that the source did not send, from its record in the trailer."""
    shown = display_name(path)
    if status is FileStatus.CHANGED:
        return Failure(FailureKind.CHANGED, {"path": shown})
    if status is FileStatus.VANISHED:
        return Failure(FailureKind.VANISHED, {"path": shown})
    if status is FileStatus.NOT_READABLE:
        return Failure(FailureKind.NOT_READABLE, {"path": shown, "user": reason or "the source"})
    return Failure(
        FailureKind.READ_ERROR, {"path": shown, "reason": reason or "the source could not read it"}
    )


def pack_outcomes(outcomes: FileOutcomes) -> str:
    """The outcomes as text for a report."""
    names = b"\0".join(part for pair in sorted(outcomes.places.items()) for part in pair)
    raw = _LENGTH.pack(len(outcomes.codes)) + outcomes.codes + names
    return base64.b64encode(zlib.compress(raw, 6)).decode()


def unpack_outcomes(packed: str) -> FileOutcomes:
    """Raises ValueError for a text that `pack_outcomes` would not have made."""
    try:
        decoder = zlib.decompressobj()
        raw = decoder.decompress(base64.b64decode(packed, validate=True), MOST_OUTCOME_BYTES)
        (count,) = _LENGTH.unpack_from(raw)
    except (binascii.Error, zlib.error, struct.error) as error:
        raise ValueError(f"no outcomes: {error}") from error
    codes, names = raw[_LENGTH.size : _LENGTH.size + count], raw[_LENGTH.size + count :]
    parts = names.split(b"\0") if names else []
    if not decoder.eof or len(codes) != count or len(parts) % 2 or max(codes, default=0) > _LAST:
        raise ValueError("outcomes that are damaged")
    return FileOutcomes(codes, dict(zip(parts[::2], parts[1::2])))
