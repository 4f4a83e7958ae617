"""rsync over TCP with cubic, the default of Linux, whatever this machine uses.

Only the source's host uses it, by its route to the recipients: the machine's settings do not change, and a
program that requests another congestion control itself, as the relay does, still gets it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.laboratory.lab import Host, Lab, LabUnavailable
from benchmarks.peers import rsync

NAME = "rsync with cubic"
RUNS_WITH = f"{rsync.RUNS_WITH}; the source's route has congctl cubic"
AVAILABLE = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
NETWORK = "10.77.0.0/24"


def available() -> str:
    if "cubic" not in AVAILABLE.read_text().split():
        return "this kernel has no cubic: modprobe tcp_cubic"
    return rsync.available()


def run(lab: Lab, source: Path, hosts: Sequence[Host], destinations: Sequence[Path]) -> float:
    with cubic_from(lab, hosts[0]):
        return rsync.run(lab, source, hosts, destinations)


@contextlib.contextmanager
def cubic_from(lab: Lab, host: Host) -> Iterator[None]:
    """Inside the block, new connections from the host use cubic. Raises LabUnavailable."""
    route = ["ip", "route", "replace", NETWORK, "dev", "eth0", "proto", "kernel", "scope", "link"]
    route += ["src", host.address]
    changed = lab.run(host, [*route, "congctl", "cubic"], capture_output=True, text=True)
    if changed.returncode:
        raise LabUnavailable(f"the route can't have cubic: {changed.stderr.strip()}")
    try:
        yield
    finally:
        lab.run(host, route)
