"""Seconds until a dropped folder's first byte can leave: measured, surveyed and prepared, with and without
the cache of scans. `python -m benchmarks.scans`; needs no root."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from castray_desktop.core.content.file_names import NamePatterns
from castray_desktop.workers.agent.node_inspection import measure_path
from castray_desktop.workers.agent.transfer.source.scan_cache import ScanCache, is_current
from castray_desktop.workers.agent.transfer.source.scanner import OnProgress, ScanResult, scan_paths
from castray_desktop.workers.agent.transfer.store.hash_cache import SETTLED_NS

FILES_IN_A_FOLDER = 100


class CountedScans:
    """Scans, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def scan(
        self, paths: Sequence[str], links: str, patterns: NamePatterns, on_progress: OnProgress
    ) -> ScanResult:
        """Scan."""
        self.count += 1
        return scan_paths(paths, links, patterns, on_progress)


def _no_progress() -> None:
    pass


def make_files(folder: Path, files: int) -> None:
    """Small files, a hundred in each folder."""
    for number in range(files):
        within = folder / f"part_{number // FILES_IN_A_FOLDER:05}"
        if number % FILES_IN_A_FOLDER == 0:
            within.mkdir()
        (within / f"file_{number:07}.bin").write_bytes(b"x" * 64)


def until_first_byte(folder: Path, max_entries: int) -> tuple[int, float]:
    """The number of scans and the seconds that the sizes, the survey and the cast's own manifest take."""
    counted = CountedScans()
    cache = ScanCache(counted.scan, max_entries=max_entries)
    start = time.perf_counter()
    measure_path(str(folder), NamePatterns(), cache.scan)
    for _ in ("survey", "send"):
        _ = cache.scan((str(folder),), "auto", NamePatterns(), _no_progress).totals
    return counted.count, time.perf_counter() - start


def check_seconds(folder: Path) -> tuple[float, float]:
    """The seconds of one scan with its manifest, and of the check that it is still true."""
    start = time.perf_counter()
    scan = scan_paths((str(folder),), "auto", NamePatterns(), _no_progress)
    _ = scan.totals
    middle = time.perf_counter()
    assert is_current(scan, _no_progress)
    return middle - start, time.perf_counter() - middle


def main() -> None:
    """Measure in turns, and print medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scans", description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "dropped"
        folder.mkdir()
        make_files(folder, options.files)
        time.sleep(SETTLED_NS / 1e9 + 0.1)  # what is younger is scanned each time
        rounds = [
            (until_first_byte(folder, 0), until_first_byte(folder, 10**9), check_seconds(folder))
            for _ in range(options.rounds)
        ]
    without, with_cache, checks = zip(*rounds, strict=True)
    before = statistics.median(seconds for _, seconds in without)
    after = statistics.median(seconds for _, seconds in with_cache)
    scan, check = (statistics.median(column) for column in zip(*checks, strict=True))
    print(f"{options.files:,} files, medians of {options.rounds} rounds in turns")
    print(f"without the cache: {without[0][0]} scans, {before:.2f} s until the first byte can leave")
    print(f"with it:           {with_cache[0][0]} scan,  {after:.2f} s ({before / after:.1f} times faster)")
    print(f"one scan {scan:.2f} s, the check {check:.2f} s ({check / scan:.0%})")


if __name__ == "__main__":
    main()
