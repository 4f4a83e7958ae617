"""Casts and faults for hours; then a verdict on every curve and every delivery.

    python -m benchmarks.soak --minutes 10                    a quick look
    python -m benchmarks.soak --minutes 120 --write-docs      renews docs/soak.md and its curves
    python -m benchmarks.soak --read RUN.jsonl                the verdict of an earlier run again

Creates a laboratory of hosts with a Ray node in each, an engine, a window and an HTTP server; sends files of
1 B to 256 MiB, cancels, pauses and damages some of them, and kills, stops and cuts off what takes part. Needs
root and 3 GiB of memory, and uses about half of a processor. The same seed draws the same casts and faults.
The status is 0 if nothing grew and every delivery is accounted for.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.laboratory.lab import Lab, LabUnavailable
from benchmarks.laboratory.memory_disk import memory_disk
from benchmarks.soak.resource_samples import staging_folders
from benchmarks.soak.soak_casts import CastTraffic
from benchmarks.soak.soak_cluster import SoakClient, SoakCluster
from benchmarks.soak.soak_faults import FaultInjector
from benchmarks.soak.soak_records import ResourceSample, RunEnded, RunStarted, RunWriter, read_run
from benchmarks.soak.soak_report import SoakRun, problems, text, write_documents

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENT = ROOT / "docs" / "soak.md"
PICTURES = ROOT / "docs" / "images"
RATE = "400mbit"
SAMPLE_SECONDS = 5.0
CLEAN_SECONDS = 60.0
FETCH_SECONDS = 10.0


@dataclass(frozen=True)
class Pace:
    """How much happens; times in seconds."""

    hosts: int = 5
    cast_gap: float = 7.0  # mean
    casts_at_once: int = 3
    fault_gap: tuple[float, float] = (15.0, 45.0)
    quiet: float = 45.0  # at the end, without casts and faults, so that everything can be cleaned up


PATHS = ("/api/status", "/api/file-transfers/status", "/api/history?limit=50", "/metrics")


class Soak:
    """One run."""

    def __init__(self, cluster: SoakCluster, writer: RunWriter, seed: int, pace: Pace) -> None:
        self._cluster = cluster
        self._pace = pace
        self._writer = writer
        self._client = SoakClient(cluster, self._node_changed)
        self._begun = time.monotonic()
        self._whole = False  # all nodes have been online
        self._faults = FaultInjector(
            cluster, self._client, random.Random(f"faults {seed}"), self._now, writer.write
        )
        self._casts = CastTraffic(
            cluster,
            self._client,
            random.Random(f"casts {seed}"),
            self._now,
            self._faults.explains,
            writer.write,
        )

    def _node_changed(self, node: str, online: bool) -> None:
        if self._whole:
            self._faults.node_changed(node, online)

    def _now(self) -> float:
        return time.monotonic() - self._begun

    async def run(self, seconds: float) -> RunEnded:
        """Casts and faults for that long."""
        await self._client.until_whole(120.0)
        self._whole = True
        watching = [asyncio.create_task(self._sample()), asyncio.create_task(self._fetch())]
        stopped = ""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._casts.run(seconds, self._pace.cast_gap, self._pace.casts_at_once))
                group.create_task(self._faults.run(seconds, self._pace.fault_gap))
        except* Exception as group_error:  # noqa: BLE001 - it is in the verdict
            stopped = "; ".join(f"{type(error).__name__}: {error}" for error in group_error.exceptions)
        await asyncio.sleep(self._pace.quiet)
        await self._until_clean()
        for task in watching:
            if task.done() and not task.cancelled() and task.exception() is not None:
                stopped += f" {task.exception()!r}"
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        left = [str(folder) for folder in staging_folders(self._cluster.destinations)]
        stopped += " ".join(self._cluster.ended_clients())
        ended = RunEnded(
            self._now(),
            tuple(left),
            (*self._casts.unended.values(), *sorted(self._client.running)),
            stopped=stopped,
        )
        await self._client.close()
        return ended

    async def _until_clean(self) -> None:
        """Wait until no staging folder is left and no cast runs: on a busy machine that takes longer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLEAN_SECONDS):
                while self._client.running or staging_folders(self._cluster.destinations):  # noqa: ASYNC110
                    await asyncio.sleep(1.0)

    async def _sample(self) -> None:
        while True:
            processes, disk = await asyncio.to_thread(self._cluster.sample)
            self._writer.write(ResourceSample(self._now(), processes, disk, len(self._client.running)))
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _fetch(self) -> None:
        """Give the HTTP server something to do."""
        number = 0
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._cluster.fetch, PATHS[number % len(PATHS)])
            number += 1
            await asyncio.sleep(FETCH_SECONDS)


def soak(
    seconds: float, seed: int, run_file: Path, beside: str = "", keep: bool = False, pace: Pace | None = None
) -> None:
    """Run in a new laboratory. Raises LabUnavailable."""
    pace = pace or Pace()
    with (
        Lab(pace.hosts, RATE) as lab,
        memory_disk("cs-") as folder,
        RunWriter(run_file) as writer,
    ):
        # Mounts below it must appear in the hosts, which have mount namespaces of their own.
        subprocess.run(["mount", "--make-shared", str(folder)], check=True)
        cluster = SoakCluster(lab, folder, RATE)
        try:
            cluster.start()
            writer.write(RunStarted(0.0, time.time(), seed, seconds, machine(), pace.hosts, beside))
            ended = asyncio.run(_run(cluster, writer, seed, seconds, pace))
        finally:
            left = cluster.close()
            if keep:
                keep_logs(folder, run_file.with_suffix(".logs"))
        writer.write(RunEnded(ended.at, ended.staging, ended.casts, tuple(left), ended.stopped))


def keep_logs(folder: Path, target: Path) -> None:
    """Copy the logs of engine, window and server."""
    for name in ("home/logs", "logs"):
        shutil.copytree(folder / name, target / name, dirs_exist_ok=True)


async def _run(cluster: SoakCluster, writer: RunWriter, seed: int, seconds: float, pace: Pace) -> RunEnded:
    return await Soak(cluster, writer, seed, pace).run(seconds)


def machine() -> str:
    """Processor and memory in words."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown processor",
    )
    cores = len(list(Path("/sys/devices/system/cpu").glob("cpu[0-9]*")))
    return f"{cores} x {cpu}"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--run-file", type=Path, help="where the records go (a temporary file)")
    parser.add_argument("--read", type=Path, help="measure nothing, read this run file")
    parser.add_argument("--beside", default="", help="what else the machine does, for the documents")
    parser.add_argument("--keep-logs", action="store_true", help="copy the logs beside the run file")
    parser.add_argument("--write-docs", action="store_true", help="renew docs/soak.md and its curves")
    options = parser.parse_args()
    run_file = options.read or options.run_file
    run_file = run_file or Path(tempfile.gettempdir()) / f"soak-{int(time.time())}.jsonl"
    try:
        if not options.read:
            soak(options.minutes * 60, options.seed, run_file, options.beside, options.keep_logs)
        run = SoakRun.of(read_run(run_file))
        if options.write_docs:
            write_documents(run, DOCUMENT, PICTURES)
    except (LabUnavailable, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{text(run)}\n\nrecords in {run_file}")
    return 1 if problems(run) else 0


if __name__ == "__main__":
    sys.exit(main())
