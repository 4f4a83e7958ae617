"""UFTP: one multicast of the file to a closed group, with the link's rate."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

from benchmarks.lab import Host, Lab
from benchmarks.peers.common import Workshop, link_rate, missing

NAME = "UFTP"
SHARE = 0.95
"""Of the link's rate: what is left for 1,440 bytes of file in each packet, less headers."""
RUNS_WITH = (
    f"uftp -R {SHARE:g} of the link's rate, closed group, blocks of 1,440 bytes, 4 MiB socket buffers, "
    "no encryption"
)
BUFFER = 4 << 20
BLOCK = 1440
CACHE = 20 << 20
PORT = 1044


def available() -> str:
    return missing(("uftp", "uftp"), ("uftpd", "uftp"))


def run(lab: Lab, source: Path, hosts: Sequence[Host], destinations: Sequence[Path]) -> float:
    first, *recipients = hosts
    rate = link_rate(lab, first)
    with Workshop(lab) as work:
        for host, folder in zip(recipients, destinations, strict=True):
            options = ["-d", "-q", "-D", folder, "-I", "eth0", "-B", str(BUFFER), "-c", str(CACHE)]
            work.daemon(host, ["uftpd", *options], PORT, "udp")
        group = ",".join(f"0x{int(IPv4Address(host.address)):08X}" for host in recipients)
        options = ["-R", str(int(rate * SHARE / 1000)) if rate else "-1", "-I", "eth0", "-B", str(BUFFER)]
        return work.together(
            [(first, ["uftp", *options, "-q", "-b", str(BLOCK), "-r", "0.01", "-H", group, source])]
        )
