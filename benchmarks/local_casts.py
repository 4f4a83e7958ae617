"""Compare the whole program with `cp`: a file to the three demo nodes of a local cluster, on a tmpfs.

    python -m benchmarks.local_casts --size 1GiB --runs 5       ratio to three `cp` one after the other
    python -m benchmarks.local_casts --memory --size 4GiB       the memory growth of the agents

The time of a cast is that of its result, from *Send* to the last rename. Casts and copies alternate. Medians
are printed, once through sockets and once with the local transport. Neither side
syncs to a disk, since a tmpfs has none. Run it on an idle machine; the ratio is meaningful.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
NODES = ("node_1", "node_2", "node_3")
UNITS = {"MiB": MIB, "GiB": 1 << 30}


def parse_size(text: str) -> int:
    """The bytes of "512MiB" or "1GiB"."""
    match = re.fullmatch(r"(\d+)(MiB|GiB)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text} is not a size; write it like 1GiB")
    return int(match[1]) * UNITS[match[2]]


@dataclass
class Laboratory:
    """An engine with a temporary home, and a folder on a tmpfs."""

    home: Path
    folder: Path
    environment: dict[str, str]

    def castray(self, *arguments: str | Path) -> str:
        """Run a command; returns its stdout. Raises CalledProcessError."""
        command = [sys.executable, "-m", "castray_desktop", *map(str, arguments)]
        return subprocess.run(
            command, env=self.environment, stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    def cast(self, file: Path) -> dict[str, object]:
        """Send the file to all three nodes; returns the result."""
        output = self.castray("send", file, "--to", "all", "--dest", self.folder / "{node}", "--json")
        result: dict[str, object] = json.loads(output.splitlines()[-1])
        return result

    def copy(self, file: Path) -> float:
        """Run three `cp`, one after the other; returns the seconds."""
        began = time.perf_counter()
        for node in NODES:
            target = self.folder / node
            target.mkdir(exist_ok=True)
            subprocess.run(["cp", str(file), str(target)], check=True)
        return time.perf_counter() - began

    def remove_copies(self) -> None:
        """Delete the copies, so that each run starts with the same free space."""
        for node in NODES:
            shutil.rmtree(self.folder / node, ignore_errors=True)

    def agents(self) -> dict[str, int]:
        """The processes of the agents, from the engine's log."""
        log = (self.home / "logs" / "engine.log").read_text()
        return {name: int(pid) for name, pid in re.findall(r"the agent of (\S+) is process (\d+)", log)}


@contextmanager
def laboratory(short_cut: bool) -> Iterator[Laboratory]:
    """Start a local cluster; everything is removed afterwards."""
    root = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory(dir=root) as folder:
        environment = os.environ | {"CASTRAY_HOME": home, "CASTRAY_LOCAL_COPY": str(int(short_cut))}
        place = Laboratory(Path(home), Path(folder), environment)
        place.castray("engine", "start", "--cluster", "local")
        try:
            yield place
        finally:
            place.castray("engine", "stop")


def make_file(path: Path, size: int) -> Path:
    """A file whose megabytes all differ."""
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for number in range(size // MIB):
            file.write(number.to_bytes(8, "big") + block[8:])
    return path


def compare(size: int, runs: int, short_cut: bool) -> None:
    """Print the medians of cast and copies, and their ratio."""
    casts: list[float] = []
    copies: list[float] = []
    with laboratory(short_cut) as place:
        file = make_file(place.folder / "file.bin", size)
        for run in range(runs + 1):  # the first one warms up the memory
            copied = place.copy(file)
            place.remove_copies()
            result = place.cast(file)
            place.remove_copies()
            if result["state"] != "completed":
                raise RuntimeError(f"the cast ended as {result['state']}")
            if run:
                copies.append(copied)
                casts.append(float(str(result["seconds"])))
    kind = "short cut" if short_cut else "sockets"
    cast, copy = statistics.median(casts), statistics.median(copies)
    pairs = statistics.median(one / other for one, other in zip(casts, copies, strict=True))
    print(
        f"{kind:10} cast {cast:6.2f} s   three cp {copy:6.2f} s   ratio {pairs:5.2f} (median of {runs} pairs)"
    )


def measure_memory(size: int) -> None:
    """Print the peak growth of each agent's resident memory while the file is sent."""
    with laboratory(short_cut=False) as place:
        file = make_file(place.folder / "file.bin", size)
        place.cast(make_file(place.folder / "warm-up.bin", 8 * MIB))
        before = {name: resident(pid) for name, pid in place.agents().items()}
        peak = dict(before)
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.05):
                for name, pid in place.agents().items():
                    peak[name] = max(peak[name], resident(pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            place.cast(file)
        finally:
            done.set()
            watcher.join()
        for name, start in before.items():
            print(f"{name:12} {start / MIB:7.1f} MiB before, grew by {(peak[name] - start) / MIB:5.1f} MiB")


def resident(pid: int) -> int:
    """Anonymous memory of a process, without file pages, which belong to the page cache."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def main() -> None:
    """Run the measurement that the command line selects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=parse_size, default=1 << 30)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    if options.memory:
        measure_memory(options.size)
        return
    for short_cut in (False, True):
        compare(options.size, options.runs, short_cut)


if __name__ == "__main__":
    main()
