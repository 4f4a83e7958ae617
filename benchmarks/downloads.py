"""Measure what a cast of an address costs, beside `curl` and `hf download`, in a laboratory.

    python -m benchmarks.downloads                           all cases
    python -m benchmarks.downloads cluster --times 5
    python -m benchmarks.downloads memory                    16 GiB to one recipient; on the disk of --disk
    python -m benchmarks.downloads --scale 0.1 --times 1     a quick run; the targets apply to full sizes

The first host of the laboratory is the web server (`benchmarks.laboratory.static_server`), the others are
recipients. Each round is one `curl`, a cast to 8 recipients, eight `curl` at once and eight `hf download` at
once, so that all see the same machine; with 4 recipients, and with slower links, it is `curl` and cast alone.
Every copy is compared with the file of the server. The cast begins with the measurement of the nodes, as the
first cast of a day does. Needs the requirements of `benchmarks.laboratory.lab`, curl, memory for all copies
at once, and an idle machine. Ends with 1 if a target was missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from benchmarks.laboratory.lab import Host, Lab
from benchmarks.laboratory.lab_nodes import LabNodes, lab_nodes
from benchmarks.laboratory.memory_disk import memory_disk
from benchmarks.laboratory.trials import MIB, TrialFailed, make_file, median, stopwatch
from benchmarks.relay import MOST_COPIES, Options, Row, run
from castray_desktop.core.casts.transfer_options import Encryption, TransferOptions
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol.messages import SendRequest, TransportOption
from castray_desktop.core.routing.download_nodes import explain_placement

RECIPIENTS = 8
PORT = 8080
LIMIT_SECONDS = 1800.0
MOST_RATIO = 1.10
MOST_GROWTH = 64 * MIB
FILE_NAME = "payload.bin"
SERVER_RATE = 1.1
"""The server has to give out this many times what one link carries, or it is the limit."""


@dataclass(frozen=True)
class Laboratory:
    """The store, and recipients that have agents."""

    lab: Lab
    nodes: LabNodes
    folder: Path  # for copies
    size: int
    digest: str

    @property
    def store(self) -> Host:
        return self.lab.hosts[0]

    @property
    def recipients(self) -> tuple[Host, ...]:
        return self.lab.hosts[1:]

    @property
    def base(self) -> str:
        return f"http://{self.store.address}:{PORT}"

    @property
    def url(self) -> str:
        return f"{self.base}/{FILE_NAME}"

    def sent(self) -> int:
        """Bytes that have left the store, with headers."""
        return self.lab.traffic(self.store)[0]

    def compare(self, copies: Sequence[Path]) -> None:
        """Raises TrialFailed for a copy with other bytes."""
        for copy in copies:
            if copy.stat().st_size != self.size or digest(copy) != self.digest:
                raise TrialFailed(f"{copy} has other bytes than the server")


def digest(path: Path) -> str:
    """The hash of a file."""
    return blake3().update_mmap(path).hexdigest()


@contextlib.asynccontextmanager
async def laboratory(
    recipients: int, rate: str | None, below: Path, make: Callable[[Path], None]
) -> AsyncIterator[Laboratory]:
    """A store that serves the file that `make` writes, and agents. Raises LabUnavailable, RuntimeError."""
    served = below / "served"
    served.mkdir()
    make(served / FILE_NAME)
    size, known = (served / FILE_NAME).stat().st_size, await asyncio.to_thread(digest, served / FILE_NAME)
    with Lab(recipients + 1, rate) as lab:
        words = [sys.executable, "-m", "benchmarks.laboratory.static_server", str(served)]
        words += ["--address", lab.hosts[0].address, "--port", str(PORT)]
        server = lab.popen(lab.hosts[0], words, stdout=subprocess.PIPE)
        try:
            assert server.stdout is not None
            if server.stdout.readline().strip() != b"ready":
                raise RuntimeError("the web server did not start")
            async with lab_nodes(lab, below=below) as nodes:
                yield Laboratory(lab, nodes, below, size, known)
        finally:
            server.kill()
            server.wait()
            if server.stdout is not None:
                server.stdout.close()


# --- the ways to the files -------------------------------------------------------------------------


async def cast(place: Laboratory) -> tuple[float, str]:
    """Seconds of a cast of the address to all recipients, and why its node downloaded. Raises TrialFailed."""
    request = SendRequest(
        (place.url,),
        tuple(host.name for host in place.recipients),
        source="",
        options=TransferOptions(transport=TransportOption.DIRECT, encrypt=Encryption.NEVER),
    )
    passed = stopwatch()
    async with asyncio.timeout(LIMIT_SECONDS):
        result = await place.nodes.cast_manager.result(place.nodes.cast_manager.send(request))
    seconds = passed()
    for delivery in result.deliveries:
        if not delivery.state.delivered:
            reason = sentence(delivery.failure) if delivery.failure else delivery.state
            raise TrialFailed(f"{delivery.node}: {reason}")
    copies = [Path(delivery.paths[0]) for delivery in result.deliveries]
    await asyncio.to_thread(place.compare, copies)
    for node in place.nodes.nodes.values():
        await asyncio.to_thread(shutil.rmtree, node.inbox, ignore_errors=True)
    summary = result.summary
    return seconds, explain_placement(summary.download) if summary.download is not None else ""


async def curl(place: Laboratory, hosts: Sequence[Host]) -> float:
    """Seconds in which `curl` downloads the file in each host, all at once. Raises TrialFailed."""
    return await _all_at_once(
        place, hosts, lambda folder: ["curl", "-sSf", "-o", str(folder / FILE_NAME), place.url]
    )


async def hub(place: Laboratory, hosts: Sequence[Host]) -> float:
    """The same with `hf download`. Raises TrialFailed."""
    command = str(Path(sys.executable).with_name("hf"))
    return await _all_at_once(
        place,
        hosts,
        lambda folder: [command, "download", "org/model", FILE_NAME, "--local-dir", str(folder)],
    )


async def _all_at_once(
    place: Laboratory, hosts: Sequence[Host], command: Callable[[Path], list[str]]
) -> float:
    folders = [Path(tempfile.mkdtemp(prefix=f"{host.name}-", dir=place.folder)) for host in hosts]
    try:
        passed = stopwatch()
        running = [
            place.lab.popen(
                host,
                command(folder),
                env=os.environ
                | {"HF_ENDPOINT": place.base, "HF_HOME": str(folder), "HF_HUB_DISABLE_XET": "1"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            for host, folder in zip(hosts, folders, strict=True)
        ]
        said = await asyncio.gather(*(asyncio.to_thread(process.communicate) for process in running))
        seconds = passed()
        for process, (_, errors) in zip(running, said, strict=True):
            if process.returncode:
                raise TrialFailed(errors.decode(errors="replace")[-500:])
        await asyncio.to_thread(place.compare, [folder / FILE_NAME for folder in folders])
        return seconds
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


# --- the cases -------------------------------------------------------------------------------------


async def server(options: Options) -> list[Row]:
    """Whether the web server is faster than a link of 1 Gbit/s: one `curl` without a limit."""
    size = options.size(1024)
    with memory_disk("castray-bench-") as disk:
        async with laboratory(1, None, disk, lambda path: make_file(path, size)) as place:
            seconds = median([await curl(place, place.recipients) for _ in range(options.times)])
    bar = size / (SERVER_RATE * 125e6)
    what = f"{size // MIB} MiB, unshaped, one curl"
    note = f"{size / seconds / 1e6:.0f} MB/s"
    return [Row("server", what, seconds, bar=bar, rule=f"{SERVER_RATE} x 1 Gbit/s", note=note)]


async def cluster(options: Options) -> list[Row]:
    """1 GiB to 8 recipients over links of 1 Gbit/s: the cast against one curl of the same round.

    Also to 4, and to 8 over links of 250 Mbit/s: a machine with two processors can't write, hash and forward
    eight streams of 1 Gbit/s at once, and these rows show the cast without that limit.
    """
    rows = await _against_curl(options, RECIPIENTS, 1000, others=True)
    rows += await _against_curl(options, RECIPIENTS // 2, 1000)
    return rows + await _against_curl(options, RECIPIENTS, 250)


async def _against_curl(options: Options, recipients: int, rate: int, others: bool = False) -> list[Row]:
    """The rows for links of so many Mbit/s; with `others`, beside as many curl and hf download at once."""
    size, found = options.size(1024), dict[str, list[float]](one=[], cast=[], many=[], hub=[])
    copies, cpu, idle, why = [], [], [], ""
    with memory_disk("castray-bench-") as disk:
        async with laboratory(recipients, f"{rate}mbit", disk, lambda path: make_file(path, size)) as place:
            for _ in range(options.times):
                found["one"].append(await curl(place, place.recipients[:1]))
                before, processors = place.sent(), Processors.now()
                place.nodes.reset_usage()
                seconds, why = await cast(place)
                found["cast"].append(seconds)
                cpu.append(sum(usage.cpu for usage in place.nodes.usage().values()))
                idle.append(Processors.now().idle_since(processors))
                copies.append((place.sent() - before) / size)
                if others:
                    found["many"].append(await curl(place, place.recipients))
                    found["hub"].append(await hub(place, place.recipients))
    one = median(found["one"])
    ratio = median(mine / theirs for mine, theirs in zip(found["cast"], found["one"], strict=True))
    what = f"{size // MIB} MiB, {rate} Mbit/s"
    rows = [
        Row("cluster", f"{what}, one curl", one, one_copy=one),
        Row(
            "cluster",
            f"{what}, a cast to {recipients}",
            median(found["cast"]),
            bar=median(found["cast"]) / ratio * MOST_RATIO,
            rule=f"{MOST_RATIO} x one curl, {MOST_COPIES} copies and headers",
            one_copy=one,
            copies=median(copies),
            most_copies=MOST_COPIES + HEADERS,
            cpu=median(cpu),
            note=f"{ratio:.3f} x one curl of the same round; machine {median(idle):.0%} idle; {why}",
        ),
    ]
    if others:
        rows += [
            Row("cluster", f"{what}, {recipients} curl at once", median(found["many"]), one_copy=one),
            Row("cluster", f"{what}, {recipients} hf download at once", median(found["hub"]), one_copy=one),
        ]
    return rows


@dataclass(frozen=True)
class Processors:
    """What all processors of this machine have done since its start, in ticks."""

    idle: int  # also for a disk
    all: int

    @classmethod
    def now(cls) -> Processors:
        ticks = list(map(int, Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]))
        return cls(ticks[3] + ticks[4], sum(ticks))

    def idle_since(self, before: Processors) -> float:
        """The share of the time since then in which they had nothing to do, 0 to 1."""
        return (self.idle - before.idle) / max(1, self.all - before.all)


HEADERS = 0.05
"""The share of a link's bytes that is headers of packets and acknowledgements, with some room."""


async def memory(options: Options) -> list[Row]:
    """16 GiB of zeros, which take no room on the server, to one recipient that downloads them itself."""
    size = options.size(16 * 1024)

    def sparse(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(size)

    with tempfile.TemporaryDirectory(prefix="castray-bench-", dir=options.disk) as disk:
        async with laboratory(1, None, Path(disk), sparse) as place:
            place.nodes.reset_usage()
            seconds, _ = await cast(place)
            growth = place.nodes.usage()[place.recipients[0].name].growth
    return [
        Row(
            "memory",
            f"{size // MIB} MiB, growth of the agent that downloads and receives",
            growth / MIB,
            unit="MiB",
            bar=MOST_GROWTH / MIB,
            rule="64 MiB",
            note=f"{seconds:.1f} s, {size / seconds / 1e6:.0f} MB/s",
        )
    ]


CASES = {"server": server, "cluster": cluster, "memory": memory}

if __name__ == "__main__":
    sys.exit(run(CASES, "benchmarks.downloads", __doc__))
