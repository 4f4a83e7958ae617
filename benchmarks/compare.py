"""Compare the relay with other tools: alternately in one laboratory, verifying every byte, in one table.

    python -m benchmarks.compare --case links --recipients 4 8 --size 1GiB --rate 1gbit
    python -m benchmarks.compare --case loss long loopback small --json figures.json
    python -m benchmarks.compare --case all --json figures.json --markdown docs/benchmarks.md
    python -m benchmarks.compare --read figures.json --markdown docs/benchmarks.md
    python -m benchmarks.peers.plot figures.json docs/images/relay.svg

Needs root and the requirements of `benchmarks.laboratory.lab`. Tools that are not installed are left out,
with a line that says how to install them. Every round measures iperf3 and then each tool once; the result is
the median of the rounds. Sources and destinations are on a tmpfs, and no tool syncs. The file given with
`--json` keeps the results of earlier runs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from blake3 import blake3

from benchmarks.byte_plane import parse_size, warm_up
from benchmarks.laboratory.lab import Host, Lab, LabUnavailable
from benchmarks.laboratory.memory_disk import memory_disk
from benchmarks.peers import PEERS
from benchmarks.peers.common import PeerFailed
from benchmarks.peers.comparison import Comparison, Results, Row, load, markdown, replace_between, save, text

BLOCK = 1 << 20
CONGESTION = "net.ipv4.tcp_congestion_control"
FILES_PER_FOLDER = 100
IPERF_SECONDS = 2.0


class Loopback(Lab):
    """One host with several addresses that acts as several hosts; their traffic uses loopback, unshaped."""

    def __init__(self, hosts: int) -> None:
        super().__init__(1, None)
        first = self.hosts[0]
        self._more = tuple(
            Host(f"h{number}", first.namespace, f"10.77.0.{number + 1}") for number in range(1, hosts)
        )

    def __enter__(self) -> Self:
        super().__enter__()
        for host in self._more:
            add = ["ip", "address", "add", f"{host.address}/32", "dev", "lo"]
            self.run(host, add, check=True)
        self.hosts = (*self.hosts, *self._more)
        return self


@dataclass(frozen=True)
class Case:
    """One case; `rate` None means loopback."""

    name: str
    peers: tuple[str, ...]
    recipients: tuple[int, ...]
    size: int
    files: int = 1
    rate: str | None = "1gbit"
    loss: float = 0.0
    delay: float = 0.0  # seconds, one way
    coalesce: bool = True

    def lab(self, recipients: int) -> Lab:
        if self.rate is None:
            return Loopback(recipients + 1)
        return Lab(recipients + 1, self.rate, loss=self.loss, delay=self.delay, coalesce=self.coalesce)

    @property
    def link(self) -> str:
        """The case as text."""
        if self.rate is None:
            return "loopback without a limit"
        words = [f"links of {self.rate.replace('gbit', ' Gbit/s').replace('mbit', ' Mbit/s')}"]
        if self.delay:
            words.append(f"{self.delay * 2000:g} ms there and back")
        if self.loss:
            words.append(f"{self.loss * 100:g} % loss" + ("" if self.coalesce else ", packets not coalesced"))
        return ", ".join(words)


ALL = ("relay", "rsync", "uftp", "bittorrent", "ray", "scp")
CASES = {
    case.name: case
    for case in (
        Case("links", ALL, (4, 8), 1 << 30),
        Case("loss", ALL, (4,), 64 << 20, rate="100mbit", loss=0.01, coalesce=False),
        Case(
            "long",
            ("relay", "rsync", "rsync-cubic"),
            (1,),
            64 << 20,
            rate="50mbit",
            loss=0.005,
            delay=0.05,
            coalesce=False,
        ),
        Case("loopback", ("relay", "cp", "ray", "scp"), (1,), 4 << 30, rate=None),
        Case("small", ("relay", "rsync"), (4,), 20_000 * 4096, files=20_000),
    )
}


def make(folder: Path, size: int, files: int) -> Path:
    """A file, or a folder of files of one size, with random bytes that do not repeat."""
    path = folder / ("payload" if files > 1 else "payload.bin")
    if files > 1:
        for number in range(files):
            below = path / f"{number // FILES_PER_FOLDER:04}"
            below.mkdir(parents=True, exist_ok=True)
            (below / f"{number:06}.bin").write_bytes(os.urandom(size // files))
        return path
    with path.open("wb") as file:
        for at in range(0, size, BLOCK):
            file.write(os.urandom(min(BLOCK, size - at)))
    return path


def fingerprint(path: Path) -> str:
    """The hash of a file's bytes, or of all names and bytes below a folder."""
    if path.is_file():
        return blake3().update_mmap(path).hexdigest()
    whole = blake3()
    for found in sorted(item for item in path.rglob("*") if item.is_file()):
        whole.update(f"{found.relative_to(path)}\0{fingerprint(found)}\n".encode())
    return whole.hexdigest()


def one_run(lab: Lab, key: str, source: Path, digest: str, folder: Path) -> tuple[float, float | None]:
    """Seconds, and copies that the source sent; None if it has no link. Raises PeerFailed."""
    destinations = [folder / "to" / host.name for host in lab.hosts[1:]]
    for destination in destinations:
        destination.mkdir(parents=True)
    try:
        before = lab.traffic(lab.hosts[0])[0]
        seconds = PEERS[key].run(lab, source, lab.hosts, destinations)
        sent = lab.traffic(lab.hosts[0])[0] - before
        for destination in destinations:
            if fingerprint(destination / source.name) != digest:
                raise PeerFailed(f"other bytes in {destination}")
    finally:
        shutil.rmtree(folder / "to")
    size = sum(path.stat().st_size for path in [source, *source.rglob("*")] if path.is_file())
    return seconds, None if isinstance(lab, Loopback) or key == "cp" else sent / size


def limit_rate(lab: Lab, case: Case) -> float:
    """Bytes per second: of iperf3 without loss, or of a long path itself, which one stream can't fill."""
    source, target = lab.hosts[:2]
    if case.delay:
        return nominal(case.rate or "")
    if not case.loss:
        return lab.iperf(source, target, IPERF_SECONDS)
    for host in lab.hosts:
        lab.set_loss(host, 0.0)
    try:
        return lab.iperf(source, target, IPERF_SECONDS)
    finally:
        for host in lab.hosts:
            lab.set_loss(host, case.loss)


def nominal(rate: str) -> float:
    """Bytes per second of a rate as `tc` writes it. Raises ValueError."""
    for unit, factor in (("gbit", 1e9), ("mbit", 1e6), ("kbit", 1e3)):
        if rate.endswith(unit):
            return float(rate[: -len(unit)]) * factor / 8
    raise ValueError(f"{rate!r} is no rate: 1gbit, 100mbit")


def congestion_control(lab: Lab, wanted: str) -> str:
    """The congestion control of the hosts, after setting it if one was requested. Raises LabUnavailable."""
    for host in lab.hosts if wanted else ():
        command = ["sysctl", "-qw", f"{CONGESTION}={wanted}"]
        if lab.run(host, command, stderr=subprocess.DEVNULL).returncode:
            raise LabUnavailable(
                f"TCP can't use {wanted} in a host: the kernel lacks it, or wants it named first in "
                "net.ipv4.tcp_allowed_congestion_control"
            )
    shown = lab.run(lab.hosts[0], ["sysctl", "-n", CONGESTION], capture_output=True, text=True, check=True)
    return str(shown.stdout).strip()


def compare(case: Case, recipients: int, times: int, folder: Path, wanted_tcp: str = "") -> Comparison:
    """Run one case; raises LabUnavailable. A failed tool becomes a row with the reason."""
    rows = {key: Row(key, PEERS[key].NAME, runs_with=PEERS[key].RUNS_WITH) for key in case.peers}
    source = make(folder, case.size, case.files)
    digest = fingerprint(source)
    warm_up(folder, case.size * recipients)
    rates: list[float] = []
    with case.lab(recipients) as lab:
        tcp = congestion_control(lab, wanted_tcp)
        for number in range(1, times + 1):
            rates.append(limit_rate(lab, case))
            say(f"round {number}: one copy {case.size / rates[-1]:.3f} s")
            for key, row in rows.items():
                try:
                    seconds, sent = one_run(lab, key, source, digest, folder)
                except (PeerFailed, LabUnavailable, OSError, subprocess.SubprocessError) as error:
                    say(f"round {number}: {row.name} failed: {error}")
                    rows[key] = replace(row, failures=(*row.failures, str(error)))
                    continue
                more = () if sent is None else (sent,)
                rows[key] = replace(row, seconds=(*row.seconds, seconds), sent=(*row.sent, *more))
                say(f"round {number}: {row.name} {seconds:.3f} s")
    limit = "the link" if case.delay else "iperf3"
    return Comparison(
        case.name,
        recipients,
        case.size,
        case.files,
        case.link,
        tcp,
        limit,
        tuple(rates),
        tuple(rows.values()),
    )


def machine() -> dict[str, str]:
    """The properties of the machine that affect the figures."""
    model = "an unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "machine": f"{os.cpu_count()} x {model}",
        "kernel": platform.release().partition("-")[0],
        "Python": platform.python_version(),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def say(line: str) -> None:
    """Print progress, separate from the table."""
    print(line, file=sys.stderr, flush=True)


def chosen(options: argparse.Namespace) -> list[Case]:
    """The cases with the changes of the command line; missing tools are left out and named."""
    missing = {key: how for key, peer in PEERS.items() if (how := peer.available())}
    cases = []
    for name in CASES if "all" in options.case else options.case:
        case = CASES[name]
        peers = [key for key in case.peers if not options.peers or key in options.peers or key == "relay"]
        for key in peers:
            if key in missing:
                say(f"{name}: without {PEERS[key].NAME}: {missing[key]}")
        files = options.files or case.files if case.files > 1 else 1
        size = options.size or case.size * files // case.files
        cases.append(
            replace(
                case,
                peers=tuple(key for key in peers if key not in missing),
                recipients=tuple(options.recipients or case.recipients),
                size=size // files * files,
                files=files,
                rate=case.rate and (options.rate or case.rate),
            )
        )
    return cases


def run_all(options: argparse.Namespace) -> Results:
    results = load(options.json) if options.json and options.json.exists() else Results()
    results = replace(results, machine=machine())
    for case in chosen(options):
        for recipients in case.recipients:
            with place(options.folder) as folder:
                found = compare(case, recipients, options.times, folder, options.congestion)
            print(text(found), flush=True)
            results = results.with_comparison(found)
            if options.json:
                save(results, options.json)
    return results


@contextlib.contextmanager
def place(below: str) -> Iterator[Path]:
    """An empty folder for sources and destinations, in memory unless `below` gives another folder."""
    if not below:
        with memory_disk("castray-compare-") as folder:
            yield folder
        return
    with tempfile.TemporaryDirectory(prefix="castray-compare-", dir=below) as name:
        yield Path(name)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--case", nargs="+", choices=[*CASES, "all"], default=["links"])
    parser.add_argument(
        "--peers", nargs="+", choices=list(PEERS), help="these and the relay; else all of a case's"
    )
    parser.add_argument("--recipients", nargs="+", type=int)
    parser.add_argument("--size", type=parse_size, help="of everything, 64MiB or 1GiB")
    parser.add_argument("--files", type=int, help="how many there are in the case of small files")
    parser.add_argument("--rate", help="of each link, as tc writes it")
    parser.add_argument("--congestion", default="", help="the hosts' TCP, cubic or bbr; else as here")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--folder", default="", help="for the files; else a tmpfs with huge pages")
    parser.add_argument("--json", type=Path, help="results are added to this file")
    parser.add_argument("--read", type=Path, help="measure nothing, take this file")
    parser.add_argument("--markdown", type=Path, help="put the tables between the marks in this document")
    options = parser.parse_args(arguments)
    try:
        results = load(options.read) if options.read else run_all(options)
    except LabUnavailable as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    if options.read and not options.markdown:
        print("\n\n".join(text(item) for item in results.comparisons))
    if options.markdown:
        document = options.markdown.read_text()
        options.markdown.write_text(replace_between(document, markdown(results)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
