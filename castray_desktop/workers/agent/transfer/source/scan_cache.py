"""The last scans of this node: a dropped folder is scanned once, to measure, to survey and to send it.

A scan is used again only after a check that a new one would give the same result: every entry is compared
with its state in the scan. That costs about a third of a scan. A scan that depends on anything else is never
kept (`ScanResult.reusable`), nor one of a file system to which other machines write, nor one in which
something changed so lately that another change might not show.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Callable, Optional

from castray_desktop.core.content.file_names import NamePatterns
from castray_desktop.core.content.manifest import EntryKind
from castray_desktop.workers.agent.transfer.source.scanner import OnProgress, ScanResult, scan_paths
from castray_desktop.workers.agent.transfer.store.hash_cache import SETTLED_NS

log = logging.getLogger("castray.byte_plane")

MAX_SCANS = 4
MAX_ENTRIES = 200_000  # of all kept scans together: about 80 MB
KEEP_SECONDS = 120.0  # since the last use: from the drop to the decision to send
CLOCK_STEP_NS = 1_000_000_000
TURN_SECONDS = 0.25
CHECKED_AT_ONCE = 1000

ScanPaths = Callable[[Sequence[str], str, NamePatterns, OnProgress], ScanResult]
"""Paths, links mode, patterns of names, progress. Raises CastRayError."""

_Key = tuple[tuple[str, ...], str, NamePatterns]


@dataclass
class _KeptScan:
    scan: ScanResult
    clock_offset: int  # of the wall clock from the monotonic one, when it was made
    used: float


class ScanCache:
    """Scans paths, or returns an earlier scan that is still true. Methods may be called from any thread.

    Of several threads that want the same scan, one scans and the others wait for its result.
    """

    def __init__(
        self,
        scan: ScanPaths = scan_paths,
        clock: Callable[[], float] = time.monotonic,
        max_entries: int = MAX_ENTRIES,
        settled_ns: int = SETTLED_NS,
    ) -> None:
        """`settled_ns`: a change that long after another one has another time stamp."""
        self._scan_paths = scan
        self._clock = clock
        self._max_entries = max_entries
        self._settled_ns = settled_ns
        self._turns = threading.Condition()
        self._scanning: set[_Key] = set()
        self._kept: OrderedDict[_Key, _KeptScan] = OrderedDict()  # the least recently used first

    def scan(
        self, paths: Sequence[str], links: str, patterns: NamePatterns, on_progress: OnProgress
    ) -> ScanResult:
        """As `scan_paths`; the result is shared, and must not be changed. Raises CastRayError."""
        key = (tuple(os.path.abspath(path) for path in paths), links, patterns)
        self._await_turn(key, on_progress)
        try:
            found = self._find(key, on_progress)
            return found if found is not None else self._scan(key, on_progress)
        finally:
            with self._turns:
                self._scanning.discard(key)
                self._turns.notify_all()

    def drop_expired(self) -> None:
        """Free the memory of scans that were not used for a while."""
        with self._turns:
            oldest = self._clock() - KEEP_SECONDS
            while self._kept and next(iter(self._kept.values())).used <= oldest:
                self._kept.popitem(last=False)

    @property
    def kept_entries(self) -> int:
        """The number of entries of all kept scans: the memory that they take."""
        with self._turns:
            return sum(len(kept.scan.entries) for kept in self._kept.values())

    def _await_turn(self, key: _Key, on_progress: OnProgress) -> None:
        while True:
            with self._turns:
                if key in self._scanning:
                    self._turns.wait(TURN_SECONDS)
                if key not in self._scanning:
                    self._scanning.add(key)
                    return
            on_progress()  # without the lock: it may raise, and report

    def _find(self, key: _Key, on_progress: OnProgress) -> Optional[ScanResult]:
        self.drop_expired()
        with self._turns:
            kept = self._kept.pop(key, None)
        if kept is None or abs(_clock_offset() - kept.clock_offset) > CLOCK_STEP_NS:
            return None
        if not is_current(kept.scan, on_progress):
            return None
        self._keep(key, kept.scan, kept.clock_offset)
        log.info("used an earlier scan of %d entries", len(kept.scan.entries))
        return kept.scan

    def _scan(self, key: _Key, on_progress: OnProgress) -> ScanResult:
        start, offset = time.time_ns(), _clock_offset()
        found = self._scan_paths(*key, on_progress)
        if found.reusable and _newest_ctime(found) <= start - self._settled_ns and not _has_remote(found):
            self._keep(key, found, offset)
        return found

    def _keep(self, key: _Key, scan: ScanResult, clock_offset: int) -> None:
        if len(scan.entries) > self._max_entries:
            return
        with self._turns:
            self._kept[key] = _KeptScan(scan, clock_offset, self._clock())
            while len(self._kept) > MAX_SCANS or self.kept_entries > self._max_entries:
                self._kept.popitem(last=False)


def is_current(scan: ScanResult, on_progress: OnProgress) -> bool:
    """Whether every entry of a reusable scan is unchanged: the same inode with the same ctime.

    A folder's ctime shows added, removed and renamed entries; a file's shows writes, also where the writer
    restores the time stamp, and changes of mode, owner and number of names.
    """
    files = zip(scan.devices, scan.inodes, scan.ctimes)
    others = iter(scan.others)
    above = b""
    for number, entry in enumerate(scan.entries):
        if number % CHECKED_AT_ONCE == 0:
            on_progress()
        path = entry.path
        if path in scan.top_paths:
            above = scan.top_paths[path][: -len(path)]
        try:
            found = os.lstat(above + path)
        except OSError:
            return False
        state = next(files if entry.kind is EntryKind.FILE else others)
        if (found.st_dev, found.st_ino, found.st_ctime_ns) != state:
            return False
        if entry.kind is EntryKind.FILE and (found.st_size, found.st_mtime_ns) != (
            entry.size,
            entry.mtime_ns,
        ):
            return False
    return True


def _newest_ctime(scan: ScanResult) -> int:
    others = max((ctime for _, _, ctime in scan.others), default=0)
    return max(others, max(scan.ctimes, default=0))


def _has_remote(scan: ScanResult) -> bool:
    """Whether any of it is on a file system whose attributes this kernel may have cached."""
    devices: dict[int, bytes] = {}
    files, others = iter(scan.devices), iter(scan.others)
    for entry in scan.entries:
        device = next(files) if entry.kind is EntryKind.FILE else next(others)[0]
        if device not in devices:
            devices[device] = scan.local_path(entry.path)
    return any(scan.systems.is_remote(device, path) for device, path in devices.items())


def _clock_offset() -> int:
    """A step of the wall clock shows in it: time stamps before and after a step can't be compared."""
    return time.time_ns() - time.monotonic_ns()
