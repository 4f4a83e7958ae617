"""UFTP: one multicast of the file to a closed group, at the link's rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from benchmarks.laboratory.lab import Host, Lab
from benchmarks.peers.common import Workshop, link_rate, missing

NAME = "UFTP"
PORT = 1044


@dataclass(frozen=True)
class Setting:
    """The speed options of its command line."""

    share: float = (
        0.95  # share of the link's rate in `-R`, or the maximum with TFMCC; 0: as fast as the device sends
    )
    tfmcc: bool = False  # its congestion control, starting at half of that rate, instead of a fixed rate
    buffer: int = 4 << 20  # socket buffers in bytes
    cache: int = 20 << 20  # bytes that a recipient has not written yet
    block: int = 1440  # bytes of the file in each packet
    round_trip: str = "0.01"  # seconds: the first estimate, and optionally the minimum and the maximum

    @property
    def words(self) -> str:
        rate = f"-R {self.share:g} of the link's rate" if self.share else "-R -1"
        if self.tfmcc:
            rate = f"TFMCC up to {self.share:g} of the link's rate"
        return (
            f"{rate}, blocks of {self.block:,} bytes, socket buffers of {self.buffer / (1 << 20):g} MiB, "
            f"receive cache of {self.cache / (1 << 20):g} MiB, round trip {self.round_trip} s"
        )

    def options(self, rate: int | None) -> list[object]:
        """The settings of the sender on links of this rate in bits per second."""
        kilobits = int(rate * self.share / 1000) if rate else 0
        options: list[object] = ["-b", self.block, "-r", self.round_trip, "-B", self.buffer]
        if self.tfmcc and kilobits:
            first = kilobits // 2
            return [*options, "-C", f"tfmcc:min={kilobits // 100}:init={first}:max={kilobits}"]
        return [*options, "-R", kilobits or -1]


BEST = Setting()
"""The fastest of those below on links of 1 Gbit/s; `benchmarks.multicast` measures them again."""

SETTINGS = (
    BEST,
    Setting(share=0.90),
    Setting(share=0.98),
    Setting(share=0.0),
    Setting(share=0.98, tfmcc=True),
    Setting(buffer=1 << 20),
    Setting(buffer=64 << 20),
    Setting(cache=1 << 20),
    Setting(round_trip="0.01:0.001:15"),
    Setting(block=1300),
)

RUNS_WITH = f"uftp, closed group, no encryption, {BEST.words}"


def available() -> str:
    return missing(("uftp", "uftp"), ("uftpd", "uftp"))


def run(lab: Lab, source: Path, hosts: Sequence[Host], destinations: Sequence[Path]) -> float:
    return run_with(BEST, lab, source, hosts, destinations)


def run_with(
    setting: Setting, lab: Lab, source: Path, hosts: Sequence[Host], destinations: Sequence[Path]
) -> float:
    """As `Peer.run`, with other settings."""
    first, *recipients = hosts
    with Workshop(lab) as work:
        for host, folder in zip(recipients, destinations, strict=True):
            options = ["-d", "-q", "-D", folder, "-I", "eth0", "-B", setting.buffer, "-c", setting.cache]
            work.daemon(host, ["uftpd", *options], PORT, "udp")
        group = ",".join(f"0x{int(IPv4Address(host.address)):08X}" for host in recipients)
        options = [*setting.options(link_rate(lab, first)), "-I", "eth0"]
        return work.together([(first, ["uftp", *options, "-q", "-H", group, source])])
