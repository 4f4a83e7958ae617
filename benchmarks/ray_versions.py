"""Run the command line against clusters of several Ray versions, whose hosts have only Ray.

    python -m benchmarks.ray_versions                      2.40, 2.49 and our own, in five hosts each
    python -m benchmarks.ray_versions --ray 2.49.2=3.12    that version, on this Python

For each version, hosts get a Ray node from an environment with only that Ray, CastRay gets a driver prepared
for it, and one file is sent in four ways: from the head to all others, from a worker, through Ray only, and
with the data ports closed by firewalls. Every copy is compared. Environments are created once, in `--folder`;
that needs the package index. The hosts need root. Ends with 1 if a delivery failed.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.laboratory.lab import Lab, LabUnavailable
from benchmarks.laboratory.lab_clusters import LabCluster, Sent, ray_of_version
from castray_desktop.workers.clusters.driver_environments import (
    DriverEnvironments,
    RayVersions,
    own_versions,
)

DATA_PORT = 7000
OTHERS = ("2.40.0=3.10", "2.49.2=3.12")
MEGABYTE = 1_000_000


def main() -> int:
    """Print a table with one row for each Ray version and way to send."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ray_versions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--ray", action="append", metavar="RAY=PYTHON")
    parser.add_argument("--hosts", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "castray-rays")
    options = parser.parse_args()
    own = own_versions()
    wanted = options.ray or [*OTHERS, f"{own.ray}={own.python}"]
    options.folder.mkdir(parents=True, exist_ok=True)
    row = "{:<9} {:<8} {:<14} {:>8} {:>11} {:<8} {:<7} {}"
    print(
        row.format("Ray", "Python", "case", "seconds", "first byte", "transport", "hash", "result"),
        flush=True,
    )
    failed = False
    for text in wanted:
        ray, _, python = text.partition("=")
        try:
            for line in measure(RayVersions(ray, python), options):
                print(row.format(*line), flush=True)
                failed = failed or line[-1] != "delivered"
        except LabUnavailable as error:
            print(f"{text}: {error}", file=sys.stderr)
            failed = True
    return 1 if failed else 0


def measure(asked: RayVersions, options: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    """One row for each way to send."""
    python = ray_of_version(options.folder, asked)
    versions = RayVersions(asked.ray, subprocess.check_output([python, "-V"], text=True).split()[-1])
    home = options.folder / "home"
    home.mkdir(exist_ok=True)
    drivers = DriverEnvironments(home / "castray", home / "castray" / "logs")
    # Hosts of a laboratory can't reach the package index, so the driver is prepared outside of them.
    if not drivers.use("nowhere:1", versions):
        asyncio.run(drivers.prepare(versions, lambda step: None))
    files = Path(tempfile.mkdtemp(prefix="castray-files-"))
    try:
        path = files / "big.bin"
        path.write_bytes(os.urandom(options.megabytes * MEGABYTE))
        with (
            Lab(options.hosts, "1gbit") as lab,
            LabCluster(lab, python, home, DATA_PORT, complete=True) as cluster,
        ):
            started = cluster.castray("engine", "start", "--cluster", cluster.address)
            if started.returncode:
                raise LabUnavailable(started.stderr.strip())
            for case, sent in send_all(lab, cluster, path, files):
                yield (versions.ray, versions.python, case, *figures(sent, path, options.hosts - 1))
    finally:
        shutil.rmtree(files, ignore_errors=True)


def send_all(lab: Lab, cluster: LabCluster, path: Path, files: Path) -> Iterator[tuple[str, Sent]]:
    """The four ways to send."""
    worker = cluster.nodes()[lab.hosts[1].address]
    yield "from the head", cluster.send(path, "--to", "all", "--dest", files / "one" / "{node}")
    options = ("--to", "all", "--from", worker, "--dest", files / "two" / "{node}")
    yield "from a worker", cluster.send(path, *options)
    options = ("--to", "all", "--transport", "ray", "--dest", files / "three" / "{node}")
    yield "through Ray", cluster.send(path, *options)
    for host in lab.hosts:
        lab.block(host, "in", DATA_PORT)
    yield "firewalls", cluster.send(path, "--to", "all", "--dest", files / "four" / "{node}")


def figures(sent: Sent, path: Path, recipients: int) -> tuple[str, str, str, str, str]:
    """Seconds, first byte, transport, hash and outcome."""
    deliveries = sent.result.get("deliveries", [])
    copies = [Path(copy) for delivery in deliveries for copy in delivery["paths"]]
    same = all(digest(copy) == digest(path) for copy in copies)
    result = "delivered" if same and sent.status == 0 and len(copies) == recipients else "NOT DELIVERED"
    hashes = {str(delivery["hash"]).partition(":")[0] for delivery in deliveries}
    return (
        f"{sent.result.get('seconds', 0):.2f}",
        f"{sent.first_byte:.2f}",
        ",".join(sorted(map(str, sent.transports))),
        ",".join(sorted(hashes)),
        result if result == "delivered" else f"{result}: {sent.errors.strip()}",
    )


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
