"""Send many casts at the same time to the same nodes, through a real engine and a real local cluster.

    python -m benchmarks.casts_at_once [--casts 100] [--nodes 8] [--size 4MiB] [--at-once 0]
    python -m benchmarks.casts_at_once --rounds 100 --casts 20 --nodes 3 --size 1MiB

`--at-once` is the engine's setting: 0 lets all casts run together, 4 (the default of a new home) queues the
others. Every cast has a file and a destination of its own; each delivered file is compared with its source.
Prints the time, how fair the progress was, and the memory, threads and descriptors of the engine, the driver
and the agents at their highest. Status 1 if a delivery has failed, or a promise below does not hold.

Fairness is Jain's index of the casts' mean rates, from sending to the end: 1 if all were as fast, 1/n if one
of n got everything. Casts that wait in the queue are slower by that, and that is not unfair.

With `--rounds` the same is done again and again. The engine's memory is taken after each round: it must not
grow over the second half, when its caches are full, the largest being the last 200 casts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import filecmp
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.local_casts import parse_size
from benchmarks.soak.resource_samples import command_line, sample_process
from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.protocol import messages as m
from castray_desktop.workers.base.paths import find_paths
from castray_desktop.workers.client.engine_client import EngineClient

MIB = 1 << 20
START_SECONDS = 120.0
CAST_SECONDS = 600.0
SAMPLE_SECONDS = 0.5
MAX_ENGINE = 300 * MIB
MAX_AGENT = 400 * MIB
MAX_GROWTH = 4 * MIB
MIN_FAIRNESS = 0.8
"""Of casts that all run."""


@dataclass
class Peak:
    """The highest values of a kind of process."""

    pss: int = 0
    threads: int = 0
    descriptors: int = 0


@dataclass
class Outcome:
    """What happened."""

    seconds: float = 0.0
    ends: list[float] = field(default_factory=list)  # seconds until each cast had ended
    failures: list[str] = field(default_factory=list)
    peaks: dict[str, Peak] = field(default_factory=dict)
    rounds: list[int] = field(default_factory=list)  # the engine's memory after each

    @property
    def growth(self) -> int:
        """Bytes by which the engine's memory grew over the second half of the rounds."""
        return self.rounds[-1] - self.rounds[len(self.rounds) // 2 - 1] if len(self.rounds) > 1 else 0

    @property
    def fairness(self) -> float:
        """Of equally large casts."""
        return jain(1 / end for end in self.ends)


def jain(values: Iterable[float]) -> float:
    """Jain's index of fairness; 1 for no values, and if all are 0."""
    known = list(values)
    squares = sum(value * value for value in known)
    return sum(known) ** 2 / (len(known) * squares) if squares else 1.0


class ProcessWatch:
    """Samples every process of a home until it is cancelled."""

    def __init__(self, home: Path, engine: int) -> None:
        self._mark = f"CASTRAY_HOME={home}".encode()
        self._engine = engine
        self.peaks: dict[str, Peak] = {}

    async def run(self) -> None:
        while True:
            await asyncio.to_thread(self._take)
            await asyncio.sleep(SAMPLE_SECONDS)

    def _take(self) -> None:
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                title = command_line(int(folder.name))
                role = self._role(int(folder.name), title)
                if not role or (
                    self._mark not in (folder / "environ").read_bytes().split(b"\0")
                    and (not title[0].startswith(b"ray::"))
                ):
                    continue
                if (sample := sample_process(role, int(folder.name))) is not None:
                    peak = self.peaks.setdefault(role, Peak())
                    peak.pss = max(peak.pss, sample.pss)
                    peak.threads = max(peak.threads, sample.threads)
                    peak.descriptors = max(peak.descriptors, sample.descriptors)

    def _role(self, pid: int, title: list[bytes]) -> str:
        if pid == self._engine:
            return "engine"
        if b"castray_desktop.workers.driver.ray_driver" in title:
            return "driver"
        return "agent" if title and title[0].startswith(b"ray::NodeAgent") else ""


class Crowd:
    """All casts of a run, as a client sees them."""

    def __init__(self, client: EngineClient, folder: Path, casts: int, size: int) -> None:
        self._client = client
        self._folder = folder
        self._size = size
        self._count = casts
        self._ready = asyncio.Event()
        self._wanted = 0
        self._following = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async for event in self._client.events():
            match event:
                case m.ClusterChanged(status) if (
                    status.phase is m.ClusterPhase.READY and status.nodes_ready >= self._wanted > 0
                ):
                    self._ready.set()

    async def start_cluster(self, nodes: int, at_once: int) -> None:
        """Raises TimeoutError."""
        settings = m.EngineSettings(casts_at_once=at_once, demo_nodes=nodes)
        await self._client.request(m.ChangeSettings(settings), m.Done)
        self._wanted = nodes + 1
        await self._client.request(m.UseCluster(m.LOCAL_TARGET), m.Done)
        async with asyncio.timeout(START_SECONDS):
            await self._ready.wait()

    async def send(self) -> Outcome:
        """Send all, wait for all, compare all."""
        for number in range(self._count):
            (self._folder / f"file {number}").write_bytes(os.urandom(self._size))
        outcome = Outcome()
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._one(number, begun, outcome))
        outcome.seconds = time.monotonic() - begun
        return outcome

    async def _one(self, number: int, begun: float, outcome: Outcome) -> None:
        file = self._folder / f"file {number}"
        options = TransferOptions(destination=str(self._folder / "out" / str(number) / "{node}"))
        request = m.SendRequest((str(file),), ("all",), options=options)
        cast = (await self._client.request(m.Send(request), m.Accepted)).cast
        async with asyncio.timeout(CAST_SECONDS):
            result = await self._client.request(m.GetResult(cast), m.CastResult)
        outcome.ends.append(time.monotonic() - begun)
        for item in result.deliveries:
            copy = self._folder / "out" / str(number) / item.node / file.name
            if not item.state.delivered:
                outcome.failures.append(f"cast {number} to {item.node}: {item.failure}")
            elif not await asyncio.to_thread(filecmp.cmp, file, copy, False):
                outcome.failures.append(f"cast {number} to {item.node}: other bytes")
        await asyncio.to_thread(shutil.rmtree, self._folder / "out" / str(number), ignore_errors=True)

    async def close(self) -> None:
        await self._client.request(m.StopEngine(), m.Done)
        await self._client.close()
        await self._following


async def run(folder: Path, casts: int, nodes: int, size: int, at_once: int, rounds: int = 1) -> Outcome:
    """Raises TimeoutError, CastRayError."""
    paths = find_paths()
    client = await EngineClient.connect(paths, "benchmark")
    crowd = Crowd(client, folder, casts, size)
    watch = ProcessWatch(paths.home, client.welcome.pid)
    try:
        await crowd.start_cluster(nodes, at_once)
        watching = asyncio.create_task(watch.run())
        memory: list[int] = []
        for _ in range(rounds):
            outcome = await crowd.send()
            if (engine := sample_process("engine", client.welcome.pid)) is not None:
                memory.append(engine.pss)
            if outcome.failures:
                break
        outcome.rounds = memory
        watching.cancel()
        await asyncio.wait([watching])
        outcome.peaks = watch.peaks
        return outcome
    finally:
        await crowd.close()


def problems(outcome: Outcome, at_once: int) -> list[str]:
    """The promises that do not hold."""
    found = list(outcome.failures)
    if not at_once and outcome.fairness < MIN_FAIRNESS:
        found.append(f"unfair: {outcome.fairness:.2f} is below {MIN_FAIRNESS}")
    if outcome.growth > MAX_GROWTH:
        found.append(f"the engine has grown by {outcome.growth / MIB:.1f} MiB over the second half")
    for role, most in (("engine", MAX_ENGINE), ("agent", MAX_AGENT)):
        if (peak := outcome.peaks.get(role, Peak())).pss > most:
            found.append(f"{role}: {peak.pss / MIB:.0f} MiB, more than {most / MIB:.0f}")
    return found


def main() -> int:
    """Print the outcome; status 1 if a promise does not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--casts", type=int, default=100)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--size", type=parse_size, default=4 * MIB, help="of each file")
    parser.add_argument("--at-once", type=int, default=0, help="casts that may run together; 0: all")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    root = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="castray-crowd-", dir=root) as name:
        folder = Path(name)
        (folder / "run").mkdir(mode=0o700)
        os.environ |= {
            "CASTRAY_HOME": str(folder / "home"),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "HOME": name,
            "CASTRAY_LOCAL_COPY": "0",
        }
        outcome = asyncio.run(
            run(folder, options.casts, options.nodes, options.size, options.at_once, options.rounds)
        )
    ends = sorted(outcome.ends)
    total = options.casts * options.nodes * options.size
    print(
        f"{options.casts} casts of {options.size / MIB:.0f} MiB to {options.nodes} nodes in"
        f" {outcome.seconds:.1f} s, {total / outcome.seconds / MIB:.0f} MiB/s over all nodes;"
        f" the first had ended after {ends[0]:.1f} s, half of them after {ends[len(ends) // 2]:.1f} s"
    )
    print(f"fairness {outcome.fairness:.2f} (1: all equal)")
    for role, peak in sorted(outcome.peaks.items()):
        print(
            f"{role}: {peak.pss / MIB:.0f} MiB, {peak.threads} threads,"
            f" {peak.descriptors} descriptors at most"
        )
    if options.rounds > 1:
        shown = outcome.rounds[:: max(1, options.rounds // 10)]
        print(f"engine after each tenth of the rounds: {', '.join(f'{pss / MIB:.1f}' for pss in shown)} MiB")
    found = problems(outcome, options.at_once)
    print("\n".join(found) or "Everything was delivered, and every promise holds.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
