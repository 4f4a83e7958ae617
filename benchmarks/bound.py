"""Measure the lower bound of this machine: three verified copies without any protocol, compared with `cp`.

    python -m benchmarks.bound --runs 3
    python -m benchmarks.bound --transports sockets --work both --piece 4MiB     one row, longer pieces

Four processes do only the work on bytes that a source and three recipients need: no
orders, no journal, no waiting except for bytes. The ratio of their time to that of three `cp` in a row is a
bound for `benchmarks.local_casts`, with the same two transports:

    local      each recipient reads the source's file, checks each piece (XXH3), writes and hashes it (BLAKE3)
    sockets    a chain over loopback TCP: `sendfile` out of the upstream's file, `recv_into`, then the same

The source reads every byte and computes both. The cost of each part is measured by leaving it out:

    both       as in the program
    hash       without XXH3
    check      without BLAKE3
    neither    only copying

The variants alternate. Run it on an otherwise idle machine; only the ratios are meaningful.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import resource
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import NamedTuple

import blake3
import xxhash

from benchmarks.local_casts import NODES, make_file, parse_size
from castray_desktop.workers.agent.transfer.system.file_io import CHUNK_BYTES, page_buffer

HEAD = 34
TRANSPORTS = ("local", "sockets")


@dataclass(frozen=True)
class Work:
    """The work of a recipient on a piece besides writing it."""

    check: bool
    hash: bool


WORK = {
    "both": Work(True, True),
    "hash": Work(False, True),
    "check": Work(True, False),
    "neither": Work(False, False),
}


class Spent(NamedTuple):
    """Wall-clock seconds, and processor seconds of all processes together."""

    clock: float
    processor: float


@dataclass
class Peer:
    """One of the four processes."""

    source: Path
    size: int
    piece: int
    work: Work
    start: Barrier
    target: Path | None = None
    above: socket.socket | None = None
    below: socket.socket | None = None

    def run(self) -> None:
        """Process the whole file, starting when all processes are ready."""
        view, hasher = page_buffer(self.piece), blake3.blake3()
        if self.target is None:
            reading = writing = os.open(self.source, os.O_RDONLY)
        else:
            reading = os.open(self.source, os.O_RDONLY)
            writing = os.open(self.target, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        ready = threading.Semaphore(0)
        forwarding = threading.Thread(target=self._forward, args=(writing, ready))
        self.start.wait()
        forwarding.start()
        for offset in range(0, self.size, self.piece):
            piece = view[: min(self.piece, self.size - offset)]
            self._take(reading, offset, piece)
            if self.target is not None:
                os.pwrite(writing, piece, offset)
            ready.release()
            if self.work.hash:
                hasher.update(piece)
        hasher.digest()
        forwarding.join()

    def _forward(self, file: int, ready: threading.Semaphore) -> None:
        """Forward pieces as they become ready, while the next ones arrive."""
        if self.below is None:
            return
        at = 0
        while at < self.size:
            ready.acquire()
            self.below.sendall(bytes(HEAD), socket.MSG_MORE)
            end = min(at + self.piece, self.size)
            while at < end:
                at += os.sendfile(self.below.fileno(), file, at, end - at)

    def _take(self, reading: int, offset: int, piece: memoryview) -> None:
        check = xxhash.xxh3_128()
        if self.above is not None:
            self.above.recv(HEAD, socket.MSG_WAITALL)
            self.above.recv_into(piece, 0, socket.MSG_WAITALL)
            if self.work.check:
                check.update(piece)
        else:
            for at in range(0, len(piece), CHUNK_BYTES):
                chunk = piece[at : at + CHUNK_BYTES]
                os.preadv(reading, [chunk], offset + at)
                if self.work.check:
                    check.update(chunk)
        check.digest()


def connected() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection on loopback, with the socket options of the transfer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    for sock in (one, other):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one, other


def bare(folder: Path, source: Path, size: int, piece: int, transport: str, work: Work) -> Spent:
    """Run all four, and measure from the moment they are ready until the last one has ended."""
    start = multiprocessing.Barrier(len(NODES) + 2)
    peers = [
        Peer(source, size, piece, WORK["both"], start),
        *(Peer(source, size, piece, work, start, folder / node) for node in NODES),
    ]
    if transport == "sockets":
        for above, below in itertools.pairwise(peers):
            above.below, below.above = connected()
    processes = [multiprocessing.Process(target=peer.run) for peer in peers]
    for process in processes:
        process.start()
    for peer in peers:
        for sock in (peer.above, peer.below):
            if sock is not None:
                sock.close()
    start.wait()
    began, before = time.perf_counter(), processor_seconds()
    for process in processes:
        process.join()
    spent = Spent(time.perf_counter() - began, processor_seconds() - before)
    if any(process.exitcode for process in processes):
        raise RuntimeError("a process has failed")
    return spent


def copies(folder: Path, source: Path) -> Spent:
    """Run three `cp`, one after the other."""
    began, before = time.perf_counter(), processor_seconds()
    for node in NODES:
        subprocess.run(["cp", str(source), str(folder / node)], check=True)
    return Spent(time.perf_counter() - began, processor_seconds() - before)


def processor_seconds() -> float:
    """The processor seconds of all processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def compare(size: int, piece: int, runs: int, rows: list[tuple[str, str]]) -> None:
    """Run the variants alternately, and print the medians."""
    root = "/dev/shm" if Path("/dev/shm").is_dir() else None
    plain: list[Spent] = []
    spent: dict[tuple[str, str], list[Spent]] = {row: [] for row in rows}
    with tempfile.TemporaryDirectory(dir=root) as name:
        folder = Path(name)
        source = make_file(folder / "file.bin", size)
        copies(folder, source)  # warms up the memory
        remove_copies(folder)
        for _ in range(runs):
            plain.append(copies(folder, source))
            remove_copies(folder)
            for transport, work in rows:
                spent[transport, work].append(bare(folder, source, size, piece, transport, WORK[work]))
                remove_copies(folder)
    print(f"{'':16}    clock   processors")
    print_row("three cp", plain, plain)
    for (transport, work), times in spent.items():
        print_row(f"{transport:8}{work}", times, plain)
    print(f"medians of {runs}, {os.cpu_count()} processors")


def remove_copies(folder: Path) -> None:
    """Delete the copies, so that each run starts with the same free space."""
    for node in NODES:
        (folder / node).unlink()


def print_row(name: str, times: list[Spent], plain: list[Spent]) -> None:
    """The medians, including those of the ratios."""
    clock = statistics.median(one.clock for one in times)
    processor = statistics.median(one.processor for one in times)
    ratio = statistics.median(one.clock / other.clock for one, other in zip(times, plain, strict=True))
    print(f"{name:16} {clock:6.2f} s     {processor:6.2f} s   ratio {ratio:5.2f}")


def main() -> None:
    """Run the variants that the command line selects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=parse_size, default=1 << 30)
    parser.add_argument("--piece", type=parse_size, default=1 << 20)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--transports", nargs="+", choices=TRANSPORTS, default=list(TRANSPORTS))
    parser.add_argument("--work", nargs="+", choices=list(WORK), default=list(WORK))
    options = parser.parse_args()
    compare(
        options.size,
        options.piece,
        options.runs,
        [(transport, work) for transport in options.transports for work in options.work],
    )


if __name__ == "__main__":
    main()
