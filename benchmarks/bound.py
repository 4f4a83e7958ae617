"""What this machine could do at best: a verified copy to three places without any protocol, against `cp`.

    python -m benchmarks.bound --runs 5

Three processes read, check (XXH3), write and hash (BLAKE3) a file as three recipients do, a fourth reads and
hashes it as the source does, all at once, with nothing between them: no socket, no orders, no waiting for one
another. Its time over that of three `cp` in a row is a bound for `benchmarks.local_casts`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import blake3
import xxhash

from benchmarks.local_casts import NODES, make_file, parse_size

PIECE = 1 << 20
CHUNK = 256 << 10


def receive(source: Path, target: Path, size: int, start: Barrier) -> None:
    """A recipient's work on every byte."""
    reading = os.open(source, os.O_RDONLY)
    writing = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    view, hasher = memoryview(bytearray(PIECE)), blake3.blake3()
    start.wait()
    for offset in range(0, size, PIECE):
        check = xxhash.xxh3_128()
        for at in range(0, PIECE, CHUNK):
            os.preadv(reading, [view[at : at + CHUNK]], offset + at)
            check.update(view[at : at + CHUNK])
        os.pwrite(writing, view, offset)
        hasher.update(view)


def serve(source: Path, size: int, start: Barrier) -> None:
    """The source's work on every byte."""
    reading = os.open(source, os.O_RDONLY)
    buffer, hasher = bytearray(PIECE), blake3.blake3()
    start.wait()
    for offset in range(0, size, PIECE):
        os.preadv(reading, [buffer], offset)
        xxhash.xxh3_128().update(buffer)
        hasher.update(buffer)


def bare(folder: Path, source: Path, size: int) -> float:
    """Seconds for all four."""
    start = multiprocessing.Barrier(len(NODES) + 2)
    work = [
        *(
            multiprocessing.Process(target=receive, args=(source, folder / node, size, start))
            for node in NODES
        ),
        multiprocessing.Process(target=serve, args=(source, size, start)),
    ]
    for process in work:
        process.start()
    start.wait()
    began = time.perf_counter()
    for process in work:
        process.join()
    return time.perf_counter() - began


def copies(folder: Path, source: Path) -> float:
    """Seconds for three `cp`, one after the other."""
    began = time.perf_counter()
    for node in NODES:
        subprocess.run(["cp", str(source), str(folder / node)], check=True)
    return time.perf_counter() - began


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=parse_size, default=1 << 30)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    root = "/dev/shm" if Path("/dev/shm").is_dir() else None
    ratios: list[float] = []
    with tempfile.TemporaryDirectory(dir=root) as name:
        folder = Path(name)
        source = make_file(folder / "file.bin", options.size)
        for run in range(options.runs + 1):  # the first one warms up the memory
            times = []
            for seconds in (lambda: copies(folder, source), lambda: bare(folder, source, options.size)):
                times.append(seconds())
                for node in NODES:
                    (folder / node).unlink()
            if run:
                ratios.append(times[1] / times[0])
                print(f"three cp {times[0]:.2f} s   bare verified copies {times[1]:.2f} s")
    print(f"bound: ratio {statistics.median(ratios):.2f} (median of {options.runs} pairs)")


if __name__ == "__main__":
    main()
