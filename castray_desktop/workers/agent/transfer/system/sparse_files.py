"""Holes of sparse files: find them, and hash them as zeros."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from typing import Optional

from castray_desktop.core.content.byte_ranges import Range
from castray_desktop.core.content.manifest import MAX_DATA_RANGES
from castray_desktop.workers.agent.transfer.system.digests import Hasher
from castray_desktop.workers.agent.transfer.system.file_io import page_buffer

BLOCK_BYTES = 512  # the unit of st_blocks, whatever the file system's is
ZERO_BYTES = 1 << 20
_ZEROS = bytes(ZERO_BYTES)

DataRanges = Optional[tuple[Range, ...]]


def may_have_holes(found: os.stat_result) -> bool:
    """Whether less is allocated than its size. Also true of files that the file system has compressed."""
    return found.st_blocks * BLOCK_BYTES < found.st_size


def data_ranges(fd: int, size: int) -> DataRanges:
    """Data ranges of a file, at most MAX_DATA_RANGES; None if it has no holes.

    A file system without support reports no holes.
    """
    try:
        found = list(_ranges(fd, 0, size))
    except OSError:
        return None
    least = 1
    while len(found) > MAX_DATA_RANGES:
        least *= 2
        found = list(_without_holes_below(least, found))
    return None if found == [(0, size)] else tuple(found)


def _ranges(fd: int, at: int, end: int) -> Iterator[Range]:
    """Data ranges in `[at, end)` of a file, ascending. Raises OSError."""
    while at < end:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                return
            raise
        if start >= end:
            return
        at = min(os.lseek(fd, start, os.SEEK_HOLE), end)
        yield start, at


def _without_holes_below(least: int, ranges: list[Range]) -> Iterator[Range]:
    start, end = ranges[0]
    for low, high in ranges[1:]:
        if low - end >= least:
            yield start, end
            start = low
        end = high
    yield start, end


def holes(data: tuple[Range, ...], size: int) -> Iterator[Range]:
    """The holes between data ranges, ascending."""
    at = 0
    for start, end in data:
        if at < start:
            yield at, start
        at = end
    if at < size:
        yield at, size


def has_same_holes(path: bytes, data: tuple[Range, ...], size: int, went_on: Callable[[], None]) -> bool:
    """Whether a file reads as zeros in all holes of `data`, allocated or not.

    `went_on` is called now and then, and may raise. False if it can't be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return all(_is_zero(fd, low, high, went_on) for low, high in holes(data, size))
    except OSError:
        return False
    finally:
        os.close(fd)


def _is_zero(fd: int, low: int, high: int, went_on: Callable[[], None]) -> bool:
    buffer = page_buffer(min(ZERO_BYTES, high - low))
    for start, end in _ranges(fd, low, high):
        at = start
        while at < end:
            went_on()
            view = buffer[: end - at]
            count = os.preadv(fd, [view], at)
            if not count or view[:count] != _ZEROS[:count]:
                return False
            at += count
    return True


def hash_zeros(hasher: Hasher, count: int, went_on: Callable[[], None]) -> None:
    """Hash `count` zeros. `went_on` is called now and then, and may raise."""
    while count > 0:
        went_on()
        part = min(count, ZERO_BYTES)
        hasher.update(_ZEROS if part == ZERO_BYTES else _ZEROS[:part])
        count -= part
