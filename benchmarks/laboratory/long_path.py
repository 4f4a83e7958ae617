"""A switch in user space that delays each packet by a given time: a long path between hosts.

    python -m benchmarks.laboratory.long_path --delay 0.05 \
        --host /run/netns/A 10.77.0.1 fd77::1 --host /run/netns/B ...

Creates a TUN device `eth0` in each host's namespace, prints one line, and forwards packets until it is ended.
It neither limits the rate nor drops packets: the hosts' own queues do that (`benchmarks.laboratory.lab`).
Meant for up to 100 Mbit/s; an overloaded switch appears as a longer path.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import gc
import ipaddress
import os
import select
import signal
import struct
import time
from collections import deque

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
CLONE_NEWNET = 0x40000000
PACKET_BYTES = 65_536
BATCH = 64
"""Packets that are read from one host before the other hosts and the clock are checked again."""

Waiting = deque[tuple[float, int, bytes]]


def open_device(namespace: str) -> int:
    """A TUN device `eth0` in the namespace; exists as long as the descriptor. Raises OSError."""
    handle = os.open(namespace, os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(handle, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), namespace)
    finally:
        os.close(handle)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"eth0", IFF_TUN | IFF_NO_PI))
    return device


def destination(packet: bytes) -> bytes:
    """A packet's destination address, packed."""
    return packet[16:20] if packet[0] >> 4 == 4 else packet[24:40]


class Switch:
    """Forwards packets between devices. One delay for all keeps the queue sorted by due time."""

    def __init__(self, delay: float, devices: dict[int, tuple[str, ...]]) -> None:
        self._delay = delay
        self._devices = list(devices)
        self._by_address = {
            ipaddress.ip_address(address).packed: device
            for device, addresses in devices.items()
            for address in addresses
        }
        self._waiting: Waiting = deque()

    def run(self) -> None:
        """Run until the process is ended."""
        poll = select.epoll()
        for device in self._devices:
            poll.register(device, select.EPOLLIN)
        while True:
            seconds = max(self._waiting[0][0] - time.monotonic(), 0.0) if self._waiting else None
            for device, _ in poll.poll(seconds):
                self._take(device)
            self._deliver()

    def _take(self, device: int) -> None:
        due = time.monotonic() + self._delay
        with contextlib.suppress(BlockingIOError):
            for _ in range(BATCH):
                packet = os.read(device, PACKET_BYTES)
                for target in self._targets(packet, device):
                    self._waiting.append((due, target, packet))

    def _targets(self, packet: bytes, sender: int) -> list[int]:
        address = destination(packet)
        target = self._by_address.get(address)
        if target is not None:
            return [target]
        if address[0] >> 4 == 0xE or address[0] == 0xFF:  # multicast
            return [device for device in self._devices if device != sender]
        return []

    def _deliver(self) -> None:
        waiting, now = self._waiting, time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, target, packet = waiting.popleft()
            with contextlib.suppress(OSError):  # a host that is down receives nothing, as on a real cable
                os.write(target, packet)


def main() -> None:
    """Create the devices, print the line, forward packets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--delay", type=float, required=True, help="seconds, one way")
    parser.add_argument("--host", nargs="+", action="append", required=True, metavar=("NAMESPACE", "ADDRESS"))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the laboratory handles Ctrl+C and ends this process
    devices = {open_device(namespace): tuple(addresses) for namespace, *addresses in options.host}
    gc.disable()  # this code creates no cycles, and a collection would add delay
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    print("ready", flush=True)
    Switch(options.delay, devices).run()


if __name__ == "__main__":
    main()
