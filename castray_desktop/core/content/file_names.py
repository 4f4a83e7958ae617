"""File names from other machines: validation, free names, display; and patterns of names to exclude.

Every path of a parcel passes `safe_component`; nothing else decides about safety.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from typing import Callable, NamedTuple

MAX_COMPONENT = 255  # bytes; limit of ext4, xfs, btrfs, tmpfs and APFS
MAX_PATH = 3500  # bytes; leaves room below the kernel's 4,096 for the destination

_DOUBLE_SUFFIXES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4", ".tar.lz", ".tar.Z")


def safe_component(name: bytes) -> bytes:
    """Return `name` if it is a valid name of a folder entry on any POSIX file system.

    Raises ValueError for an empty name, `.`, `..`, a slash, a NUL or more than 255 bytes.
    """
    if not name or name in (b".", b".."):
        raise ValueError(f"not the name of a file: {name!r}")
    if b"/" in name or b"\0" in name:
        raise ValueError(f"a name with a slash or a NUL: {name[:MAX_COMPONENT]!r}")
    if len(name) > MAX_COMPONENT:
        raise ValueError(f"a name of {len(name)} bytes")
    return name


def display_name(name: str | bytes) -> str:
    """A name as valid Unicode; bytes that are not UTF-8 become replacement characters."""
    raw = name if isinstance(name, bytes) else os.fsencode(name)
    return raw.decode("utf-8", "replace")


def split_suffix(name: bytes) -> tuple[bytes, bytes]:
    """Split a name into stem and suffix, to insert a number: `archive`, `.tar.gz`; `.bashrc`, ``."""
    for suffix in _DOUBLE_SUFFIXES:
        ending = suffix.encode()
        if name.endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)], ending
    stem, suffix_bytes = os.path.splitext(name)  # noqa: PTH122 - pathlib knows no bytes
    if len(suffix_bytes) > 20:  # rather a sentence with a dot than a suffix
        return name, b""
    return stem, suffix_bytes


def numbered_name(name: bytes, number: int, folder: bool = False) -> bytes:
    """Insert a number: `model (2).bin` for `model.bin`; long stems are cut to keep the name valid."""
    stem, suffix = (name, b"") if folder else split_suffix(name)
    tag = b" (%d)" % number
    room = MAX_COMPONENT - len(tag) - len(suffix)
    if len(stem) > room:
        stem = _cut(stem, room)
    return stem + tag + suffix


def free_name(name: bytes, taken: Callable[[bytes], bool], folder: bool = False) -> bytes:
    """`name` if it is free, else the first free one of `name (2)`, `name (3)`, ... that is free."""
    candidate, number = name, 2
    while taken(candidate):
        candidate = numbered_name(name, number, folder)
        number += 1
    return candidate


def node_file_name(node: str) -> str:
    """A node's name as a part of a file name."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", node)[:60] or "_"


def _cut(stem: bytes, room: int) -> bytes:
    """Cut to `room` bytes without splitting a UTF-8 character."""
    while room > 0 and stem[room] & 0xC0 == 0x80:
        room -= 1
    return stem[:room]


class NamePatterns(NamedTuple):
    """Which names are left out of a parcel, and which alone are part of it."""

    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()  # none: everything


class _PatternList:
    """Patterns, a subset of gitignore's.

    A pattern without a slash matches any name; one with a slash matches the whole path (with or without the
    parcel's top folder); `/` at the end restricts it to folders, `/` at the start anchors it.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._names: list[tuple[str, bool]] = []
        self._paths: list[tuple[str, bool]] = []
        for pattern in patterns:
            folders_only = pattern.endswith("/")
            text = pattern.rstrip("/")
            if not text:
                continue
            if "/" in text:
                text = text.lstrip("/")
                self._paths.append((text, folders_only))
                if text.startswith("**/"):
                    self._paths.append((text[3:], folders_only))
            else:
                self._names.append((text, folders_only))

    def __bool__(self) -> bool:
        return bool(self._names or self._paths)

    def match(self, path: str, folder: bool) -> bool:
        """Whether a pattern matches the entry at this path of the parcel."""
        name = path.rpartition("/")[2]
        inner = path.partition("/")[2]
        for pattern, folders_only in self._names:
            if (folder or not folders_only) and fnmatch.fnmatchcase(name, pattern):
                return True
        for pattern, folders_only in self._paths:
            if (folder or not folders_only) and (
                fnmatch.fnmatchcase(path, pattern) or (inner and fnmatch.fnmatchcase(inner, pattern))
            ):
                return True
        return False


class ExcludePatterns:
    """Leaves out of a parcel what a pattern of `exclude` matches. If there are patterns in `include`, it also
    leaves out the files that none of them matches, if none matches a folder above them either.
    """

    def __init__(self, patterns: NamePatterns) -> None:
        self._exclude = _PatternList(patterns.exclude)
        self._include = _PatternList(patterns.include)

    def __bool__(self) -> bool:
        return bool(self._exclude or self._include)

    @property
    def selects(self) -> bool:
        """Whether only chosen files are part of the parcel, so that a folder without any is left out."""
        return bool(self._include)

    def excludes(self, path: str, folder: bool) -> bool:
        """Whether the entry at this path of the parcel is left out. Not whether a folder above it is."""
        if self._exclude.match(path, folder):
            return True
        if folder or not self._include or self._include.match(path, False):
            return False
        return not any(self._include.match(above, True) for above in folders_above(path))

    def leaves_out(self, path: str) -> bool:
        """Whether the file at this path of the parcel, or a folder above it, is left out."""
        return self.excludes(path, False) or any(self.excludes(above, True) for above in folders_above(path))


def folders_above(path: str) -> Iterator[str]:
    """The folders above an entry of a parcel, from the top."""
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)
