"""The manifest of a parcel, and how offsets of its contents map to files.

The stream is `manifest | contents | trailer`, offsets 0..L, cut in pieces (`core.content.stream_layout`).
The manifest lists the entries, the contents are the bytes of the regular files in order, the trailer has
the status and the hash of each regular file.

An entry refers to its parent by number, and a parent must be an earlier folder. So no entry can lie below
a link or outside the parcel, whatever the bytes say.
"""

from __future__ import annotations

import enum
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import NamedTuple, Optional

from castray_desktop.core.content.byte_ranges import Range
from castray_desktop.core.content.file_names import MAX_PATH, safe_component

MAGIC = b"CRPM"
VERSION = 1
ALIGNMENT = 4096  # contents of big parcels start at a page boundary
ALIGN_FROM = 1 << 20
MAX_TARGET = 4095
MAX_SIZE = 1 << 62
MAX_DATA_RANGES = 4096  # for one file; with more, the smallest holes count as data

_HEAD = struct.Struct("<4sBxxxIQ")  # magic, version, entries, content bytes
_FILE_NUMBER = struct.Struct("<I")
# kind, flags, mode, parent + 1, mtime_ns, size, length of name, length of target
_ENTRY = struct.Struct("<BBHIqQHH")
_COUNT = struct.Struct("<I")  # number of data ranges after a sparse file's entry
_SPARSE = 1  # the only flag


class EntryKind(enum.IntEnum):
    """What an entry is."""

    FOLDER = 1
    FILE = 2
    SYMLINK = 3
    HARDLINK = 4  # further name of an earlier file


_KINDS: dict[int, EntryKind] = {int(kind): kind for kind in EntryKind}


class ManifestEntry(NamedTuple):
    """One entry of a parcel. `path` is relative, `/` between its components, bytes as on disk.

    `target` is a symbolic link's text, or the path of the file that a hard link refers to. `data` has the
    data ranges of a sparse file, sorted and disjoint; only these are sent.
    """

    kind: EntryKind
    path: bytes
    mode: int = 0
    mtime_ns: int = 0
    size: int = 0
    target: bytes = b""
    data: Optional[tuple[Range, ...]] = None

    @property
    def content_bytes(self) -> int:
        """Its bytes in the stream: its size without holes."""
        return self.size if self.data is None else sum(end - start for start, end in self.data)


class FileSpan(NamedTuple):
    """A part of one regular file: file number, offset, length."""

    file: int
    offset: int
    length: int


class Manifest:
    """All entries of a parcel, parents before children, and the position of each file's contents."""

    def __init__(self, entries: Iterable[ManifestEntry]) -> None:
        self.entries: tuple[ManifestEntry, ...] = tuple(entries)
        self.files: tuple[ManifestEntry, ...] = tuple(e for e in self.entries if e.kind is EntryKind.FILE)
        self._ends = array("Q")
        self._sparse: dict[int, array[int]] = {}  # for sparse files: ends of the ranges within their contents
        end = 0
        for number, entry in enumerate(self.files):
            if entry.data is not None:
                self._sparse[number] = array("Q", accumulate(high - low for low, high in entry.data))
            end += entry.size if entry.data is None else entry.content_bytes
            self._ends.append(end)
        self.content_bytes = end

    def file_range(self, file: int) -> tuple[int, int]:
        """The file's range within the contents."""
        return (self._ends[file - 1] if file else 0), self._ends[file]

    def spans(self, start: int, end: int) -> list[FileSpan]:
        """The file spans in `[start, end)` of the contents."""
        found: list[FileSpan] = []
        file = bisect_right(self._ends, start)
        while start < end and file < len(self._ends):
            first, file_end = (self._ends[file - 1] if file else 0), self._ends[file]
            stop = min(end, file_end)
            if start < stop:
                if file in self._sparse:
                    found += self._spans_between_holes(file, start - first, stop - first)
                else:
                    found.append(FileSpan(file, start - first, stop - start))
                start = stop
            file += 1
        return found

    def _spans_between_holes(self, file: int, start: int, end: int) -> Iterator[FileSpan]:
        """The same for one sparse file, in offsets of its own contents."""
        ends, data = self._sparse[file], self.files[file].data or ()
        number = bisect_right(ends, start)
        while start < end:
            stop = min(end, ends[number])
            yield FileSpan(file, data[number][1] - (ends[number] - start), stop - start)
            start = stop
            number += 1

    def span_within(self, start: int, end: int) -> Optional[FileSpan]:
        """`[start, end)` of the contents as a span of one file; None if it has several spans."""
        file = bisect_right(self._ends, start)
        if start >= end or end > self._ends[file]:
            return None
        if file in self._sparse:
            spans = self.spans(start, end)
            return spans[0] if len(spans) == 1 else None
        return FileSpan(file, start - self.file_range(file)[0], end - start)

    def has_holes(self, spans: Iterable[FileSpan]) -> bool:
        """Whether any of these spans belongs to a sparse file."""
        return bool(self._sparse) and any(span.file in self._sparse for span in spans)

    def is_first(self, span: FileSpan) -> bool:
        """Whether the span contains the file's first byte."""
        data = self.files[span.file].data
        return span.offset == (data[0][0] if data else 0)

    def is_last(self, span: FileSpan) -> bool:
        """Whether the span contains the file's last byte."""
        entry = self.files[span.file]
        return span.offset + span.length == (entry.data[-1][1] if entry.data else entry.size)

    def has_bytes(self, file: int) -> bool:
        """Whether any bytes of the file are sent: not for an empty file or one hole."""
        first, end = self.file_range(file)
        return first < end

    def files_within(self, start: int, end: int) -> tuple[int, int]:
        """The files whose contents lie in `[start, end)`: the first one, and the one after the last."""
        first = 0 if start <= 0 else bisect_left(self._ends, start) + 1
        return first, (bisect_right(self._ends, end) if end > 0 else 0)

    def file_at(self, offset: int) -> int:
        """The first file whose contents end after `offset`; the number of files past the end."""
        return bisect_right(self._ends, offset)


# --- the manifest as bytes -----------------------------------------------------------------------


def encode_manifest(manifest: Manifest) -> bytes:
    """Encode the manifest; equal entries give equal bytes. Raises ValueError for entries that
    `decode_manifest` would refuse.
    """
    folders: dict[bytes, int] = {b"": 0}
    names = {entry.target for entry in manifest.entries if entry.kind is EntryKind.HARDLINK}
    files: dict[bytes, int] = {}  # files with several names
    count = 0
    raw = bytearray(_HEAD.pack(MAGIC, VERSION, len(manifest.entries), manifest.content_bytes))
    for number, entry in enumerate(manifest.entries, 1):
        above, _, name = entry.path.rpartition(b"/")
        if above not in folders:
            raise ValueError(f"no folder for {entry.path!r}")
        if entry.kind is EntryKind.FOLDER:
            folders[entry.path] = number
        elif entry.kind is EntryKind.FILE:
            if entry.path in names:
                files[entry.path] = count
            count += 1
        target = entry.target
        if entry.kind is EntryKind.HARDLINK:
            if target not in files:
                raise ValueError(f"a name of no earlier file: {entry.path!r}")
            target = _FILE_NUMBER.pack(files[target])
        fixed = _ENTRY.pack(
            entry.kind,
            0 if entry.data is None else _SPARSE,
            entry.mode & 0o7777,
            folders[above],
            entry.mtime_ns,
            entry.size,
            len(name),
            len(target),
        )
        raw += fixed + name + target
        if entry.data is not None:
            raw += _encode_data(entry)
    if manifest.content_bytes >= ALIGN_FROM:
        raw += bytes(-len(raw) % ALIGNMENT)
    return bytes(raw)


def _encode_data(entry: ManifestEntry) -> bytes:
    _check_data(entry)
    data = entry.data or ()
    return _COUNT.pack(len(data)) + struct.pack(f"<{2 * len(data)}Q", *chain.from_iterable(data))


def decode_manifest(raw: bytes) -> Manifest:
    """Decode a manifest. Raises ValueError for bytes that `encode_manifest` would not have produced.

    Memory use is proportional to `raw`, whatever it claims.
    """
    try:
        magic, version, count, content = _HEAD.unpack_from(raw)
    except struct.error as error:
        raise ValueError("not a manifest: too short") from error
    if magic != MAGIC or version != VERSION:
        raise ValueError(f"not a manifest of version {VERSION}")
    if count * (_ENTRY.size + 1) > len(raw):
        raise ValueError("a manifest that claims more entries than it holds")
    entries, at = _entries(raw, _HEAD.size, count)
    rest = raw[at:]
    if len(rest) >= ALIGNMENT or rest.strip(b"\0"):
        raise ValueError("bytes after the manifest's last entry")
    manifest = Manifest(entries)
    if manifest.content_bytes != content:
        raise ValueError("a manifest whose sizes do not add up")
    return manifest


def _entries(raw: bytes, at: int, count: int) -> tuple[list[ManifestEntry], int]:
    entries: list[ManifestEntry] = []
    files: list[bytes] = []
    paths: set[bytes] = set()
    total = 0
    for _ in range(count):
        try:
            kind, flags, mode, parent, mtime, size, name_length, target_length = _ENTRY.unpack_from(raw, at)
        except struct.error as error:
            raise ValueError("a manifest that ends within an entry") from error
        at += _ENTRY.size
        name = safe_component(raw[at : at + name_length])
        target = raw[at + name_length : at + name_length + target_length]
        at += name_length + target_length
        if at > len(raw) or kind not in _KINDS or flags > _SPARSE or mode > 0o7777:
            raise ValueError("an entry that this version does not know")
        path = _below(entries, parent, name)
        if path in paths:
            raise ValueError(f"an entry twice: {path!r}")
        paths.add(path)
        if kind == EntryKind.HARDLINK:
            target = _first_name(files, target)
        data = None
        if flags:
            data, at = _decode_data(raw, at)
        entry = ManifestEntry(_KINDS[kind], path, mode, mtime, size, target, data)
        _check(entry)
        if kind == EntryKind.FILE:
            files.append(path)
        total += entry.content_bytes
        if total > MAX_SIZE:
            raise ValueError("more contents than a stream can have")
        entries.append(entry)
    return entries, at


def _decode_data(raw: bytes, at: int) -> tuple[tuple[Range, ...], int]:
    try:
        (count,) = _COUNT.unpack_from(raw, at)
        at += _COUNT.size
        if count > MAX_DATA_RANGES:
            raise ValueError("a file with too many holes")
        bounds = struct.unpack_from(f"<{2 * count}Q", raw, at)
    except struct.error as error:
        raise ValueError("a manifest that ends within an entry") from error
    return tuple(zip(bounds[::2], bounds[1::2])), at + 16 * count


def _first_name(files: Sequence[bytes], target: bytes) -> bytes:
    """The path of the earlier file whose number is in `target`."""
    if len(target) != _FILE_NUMBER.size:
        raise ValueError("a name of a file without that file's number")
    number = int(_FILE_NUMBER.unpack(target)[0])
    if number >= len(files):
        raise ValueError("a name of no earlier file")
    return files[number]


def _below(entries: Sequence[ManifestEntry], parent: int, name: bytes) -> bytes:
    """The path of `name` in folder number `parent` (0: the parcel itself)."""
    if parent == 0:
        return name
    if parent > len(entries) or entries[parent - 1].kind is not EntryKind.FOLDER:
        raise ValueError("an entry below something that is no folder")
    path = entries[parent - 1].path + b"/" + name
    if len(path) > MAX_PATH:
        raise ValueError(f"a path of {len(path)} bytes")
    return path


def _check(entry: ManifestEntry) -> None:
    if entry.kind is not EntryKind.FILE and entry.size:
        raise ValueError("only files have a size")
    if entry.kind is EntryKind.SYMLINK:
        if not entry.target or len(entry.target) > MAX_TARGET or b"\0" in entry.target:
            raise ValueError("a link without a proper target")
    elif entry.kind is EntryKind.HARDLINK:
        if entry.mode or entry.mtime_ns:
            raise ValueError("a second name with a mode or a time of its own")
    elif entry.target:
        raise ValueError("only links have a target")
    if entry.data is not None:
        _check_data(entry)


def _check_data(entry: ManifestEntry) -> None:
    """Check the data ranges of a sparse file: sorted, disjoint, within the file, and not all of it."""
    data = entry.data or ()
    if entry.kind is not EntryKind.FILE or len(data) > MAX_DATA_RANGES or entry.size > MAX_SIZE:
        raise ValueError("holes where there can be none")
    bounds = [-1, *chain.from_iterable(data)]
    if any(low >= high for low, high in zip(bounds, bounds[1:])) or bounds[-1] > entry.size:
        raise ValueError("a file whose holes do not fit it")
    if entry.size == entry.content_bytes:
        raise ValueError("a file with holes that has none")


# --- the trailer ---------------------------------------------------------------------------------


class FileStatus(enum.IntEnum):
    """Result of reading a file at the source."""

    OK = 0
    CHANGED = 1
    VANISHED = 2
    READ_ERROR = 3
    NOT_READABLE = 4


HASH_BYTES = 32
_RECORD = struct.Struct(f"<B{HASH_BYTES}s")
TRAILER_RECORD = _RECORD.size


class FileResult(NamedTuple):
    """A file's record in the trailer."""

    status: FileStatus
    hash: bytes


def encode_trailer(results: Iterable[FileResult]) -> bytes:
    """Encode the trailer: one fixed-size record for each regular file, in order."""
    raw = bytearray()
    for status, hash_ in results:
        raw.append(status)
        raw += hash_.ljust(HASH_BYTES, b"\0")
    return bytes(raw)


_STATUSES = {status.value: status for status in FileStatus}


def decode_trailer(raw: bytes, files: int) -> list[FileResult]:
    """Decode the records of a trailer. Raises ValueError if it does not match the manifest."""
    if len(raw) != files * TRAILER_RECORD:
        raise ValueError(f"a trailer of {len(raw)} bytes for {files} files")
    try:
        return [FileResult(_STATUSES[status], hash_) for status, hash_ in _RECORD.iter_unpack(raw)]
    except KeyError as error:
        raise ValueError(f"a file with the state {error}") from error
