"""Compare the transfer without Ray with `cp`: a source and a chain of recipients, as processes, on a tmpfs.

    python -m benchmarks.byte_plane --size 1GiB --recipients 3 --runs 5
    python -m benchmarks.byte_plane --no-local-copy            through TCP sockets
    python -m benchmarks.byte_plane --files 2000 --size 64MiB  a folder

Runs casts and copies alternately and prints medians. `benchmarks.local_casts` measures the program with Ray.
Run it on an idle machine; the ratio is meaningful, the seconds are not.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import resource
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from castray_desktop.core.protocol.nodes.agent_orders import (
    AnnounceTrailer,
    ForgetCast,
    PrepareSource,
    ServeSource,
    StartDelivery,
)
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState, SourceState
from castray_desktop.core.protocol.nodes.cast_parcel import Algorithms, ParcelTotals, Upstream
from castray_desktop.core.protocol.nodes.driver_protocol import PlaceAgent
from castray_desktop.workers.agent.transfer.peer.dial import ConnectionFactory
from castray_desktop.workers.agent.transfer.system.digests import FILE_HASHES, PIECE_DIGESTS
from castray_desktop.workers.agent.transfer.transfer_service import TransferService

UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "B": 1}


def parse_size(text: str) -> int:
    for unit, factor in UNITS.items():
        if text.endswith(unit):
            return int(float(text[: -len(unit)]) * factor)
    return int(text)


# --- one node, in its own process ----------------------------------------------------------------


def memory(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) << 10
    return 0


def node_main(pipe: Connection, name: str, folder: str, local: bool) -> None:
    """Run one node; orders arrive and reports leave through the pipe."""
    lock = threading.Lock()

    def changed(urgent: bool) -> None:
        with lock:
            pipe.send(("reports", plane.drain_reports()))

    plane = TransferService(
        PlaceAgent(name, f"{folder}/{name}", "127.0.0.1", runtime_dir=folder),
        ConnectionFactory(name, "here", local, "127.0.0.1"),
        changed,
    )
    port, path = plane.start()
    pipe.send(("hello", Upstream(name, "127.0.0.1", port, "here", path)))
    before = (0.0, 0)
    while True:
        method, order = pipe.recv()
        if method == "close":
            break
        if method == "usage":
            usage = resource.getrusage(resource.RUSAGE_SELF)
            cpu = usage.ru_utime + usage.ru_stime
            with lock:
                pipe.send(("usage", (cpu - before[0], memory("VmHWM") - before[1])))
            continue
        if method == "reset":
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")
            usage = resource.getrusage(resource.RUSAGE_SELF)
            before = (usage.ru_utime + usage.ru_stime, memory("VmRSS"))
            continue
        plane.carry_out(order)
    plane.close()


# --- the cast_manager of this benchmark ------------------------------------------------------------


@dataclass
class Peer:
    pipe: Connection
    process: Any
    upstream: Upstream


class Lab:
    def __init__(self, folder: Path, recipients: int, local: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self.peers: list[Peer] = []
        for number in range(recipients + 1):
            ours, theirs = context.Pipe()
            process = context.Process(target=node_main, args=(theirs, f"node_{number}", str(folder), local))
            process.start()
            theirs.close()
            self.peers.append(Peer(ours, process, ours.recv()[1]))

    def send(self, path: Path, piece: int) -> tuple[float, list[tuple[float, int]]]:
        """Seconds, and the CPU seconds and memory growth of each process."""
        for peer in self.peers:
            peer.pipe.send(("reset", None))
        started = time.monotonic()
        cast, secret = secrets.token_hex(4), secrets.token_hex(32)
        algorithms = Algorithms(PIECE_DIGESTS[0], FILE_HASHES[0], piece)
        source, *recipients = self.peers
        source.pipe.send(("order", PrepareSource(cast, (str(path),))))
        waiting, digest = {id(peer.pipe) for peer in recipients}, ""
        while waiting:
            for pipe in wait([peer.pipe for peer in self.peers]):
                sources, deliveries = pipe.recv()[1]  # type: ignore[union-attr]
                for report in sources:
                    if report.state is SourceState.PREPARED:
                        source.pipe.send(("order", ServeSource(cast, secret, 1, algorithms)))
                        self._deliver(cast, secret, report.totals, algorithms)
                    elif report.state is SourceState.HASHED and not digest:
                        digest = report.trailer_digest
                        for peer in recipients:
                            peer.pipe.send(("order", AnnounceTrailer(cast, digest)))
                for report in deliveries:
                    if report.state is RecipientState.COMPLETED:
                        waiting.discard(id(pipe))
                    elif report.failure is not None:
                        sys.exit(f"failed: {report.failure}")
        seconds = time.monotonic() - started
        return seconds, self._finish(cast)

    def _deliver(self, cast: str, secret: str, totals: ParcelTotals, algorithms: Algorithms) -> None:
        for above, peer in zip(self.peers, self.peers[1:], strict=False):
            order = StartDelivery(cast, secret, 1, above.upstream, totals, algorithms)
            peer.pipe.send(("order", order))

    def _finish(self, cast: str) -> list[tuple[float, int]]:
        usages = []
        for peer in self.peers:
            peer.pipe.send(("usage", None))
            while True:
                kind, body = peer.pipe.recv()
                if kind == "usage":
                    usages.append(body)
                    break
            peer.pipe.send(("order", ForgetCast(cast)))
        return usages

    def close(self) -> None:
        for peer in self.peers:
            peer.pipe.send(("close", None))
            while peer.process.is_alive():
                with contextlib.suppress(EOFError, OSError):
                    while peer.pipe.poll(0.05):
                        peer.pipe.recv()


# --- what is sent --------------------------------------------------------------------------------


def make(folder: Path, size: int, files: int) -> Path:
    """A file, or a folder with this number of files, of random bytes."""
    block = os.urandom(1 << 20)
    if files <= 1:
        path = folder / "payload.bin"
        with path.open("wb") as file:
            for at in range(0, size, len(block)):
                file.write(block[: min(len(block), size - at)])
        return path
    path = folder / "payload"
    for number in range(files):
        below = path / f"folder {number % 40}"
        below.mkdir(parents=True, exist_ok=True)
        (below / f"{number}.bin").write_bytes(block[: max(size // files, 0)])
    return path


def copy(path: Path, folder: Path, recipients: int) -> float:
    started = time.monotonic()
    for number in range(recipients):
        (folder / f"copy_{number}").mkdir()
        subprocess.run(["cp", "-r", path, folder / f"copy_{number}"], check=True)
    return time.monotonic() - started


def clear(folder: Path, pattern: str) -> None:
    for found in folder.glob(pattern):
        shutil.rmtree(found)


def warm_up(folder: Path, size: int) -> None:
    """Touch the memory once and free it: the first use of memory is slow and noisy in a virtual machine."""
    path = folder / "warm"
    with path.open("wb") as file:
        for _ in range(max(size >> 20, 1)):
            file.write(bytes(1 << 20))
    path.unlink()


def measure(options: argparse.Namespace) -> None:
    size = parse_size(options.size)
    folder = Path(tempfile.mkdtemp(prefix="castray-bench-", dir=options.folder))
    lab = Lab(folder, options.recipients, options.local_copy)
    try:
        path = make(folder, size, options.files)
        warm_up(folder, size * options.recipients)
        ours, theirs, cpu, growth = [], [], [], []
        for run in range(options.runs + 1):
            seconds, usages = lab.send(path, parse_size(options.piece))
            clear(folder, "node_*")
            copied = copy(path, folder, options.recipients) if not options.no_cp else 0.0
            clear(folder, "copy_*")
            if run:  # the first run is a warm-up
                ours.append(seconds)
                theirs.append(copied)
                cpu.append(sum(usage[0] for usage in usages))
                growth.append(max(usage[1] for usage in usages))
                print(f"run {run}: cast {seconds:.3f} s, cp {copied:.3f} s, CPU {cpu[-1]:.2f} s", flush=True)
    finally:
        lab.close()
        shutil.rmtree(folder)
    report(size, options, ours, theirs, cpu, growth)


def report(
    size: int,
    options: argparse.Namespace,
    ours: list[float],
    theirs: list[float],
    cpu: list[float],
    growth: list[int],
) -> None:
    middle: Callable[[list[float]], float] = statistics.median
    delivered = size * options.recipients / 1e9
    transport = "local" if options.local_copy else "sockets"
    what = f"{options.size} in {options.files} file(s) to {options.recipients} recipients"
    print(f"{what}, {transport}, {os.cpu_count()} CPUs")
    print(f"  cast          {middle(ours):.3f} s  ({delivered / middle(ours):.2f} GB/s delivered)")
    if not options.no_cp:
        print(f"  cp, in a row  {middle(theirs):.3f} s")
        print(f"  ratio         {middle([a / b for a, b in zip(ours, theirs, strict=False)]):.2f}")
    print(f"  CPU           {middle(cpu) / delivered:.2f} s per delivered GB")
    print(f"  growth        {max(growth) / (1 << 20):.1f} MiB at most in one process")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="1GiB")
    parser.add_argument("--recipients", type=int, default=3)
    parser.add_argument("--files", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--no-local-copy", dest="local_copy", action="store_false")
    parser.add_argument("--piece", default="1MiB")
    parser.add_argument("--no-cp", action="store_true", help="only the cast")
    parser.add_argument("--folder", default="/dev/shm")
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
