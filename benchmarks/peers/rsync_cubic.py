"""rsync over TCP with cubic, which Linux has unless somebody changes it, whatever this machine has.

Only the source's host gets it, by its route to the recipients: nothing of the machine is changed, and whoever
asks for another congestion control by itself, as the relay does, still gets that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.lab import Host, Lab, LabUnavailable
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
    """New connections from the host have cubic in the block. Raises LabUnavailable."""
    route = ["ip", "route", "replace", NETWORK, "dev", "eth0", "proto", "kernel", "scope", "link"]
    route += ["src", host.address]
    changed = lab.run(host, [*route, "congctl", "cubic"], capture_output=True, text=True)
    if changed.returncode:
        raise LabUnavailable(f"the route can't have cubic: {changed.stderr.strip()}")
    try:
        yield
    finally:
        lab.run(host, route)
