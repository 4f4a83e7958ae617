"""A forger without the secret of a cast, who joins its group and floods it with datagrams.

    python -m benchmarks.laboratory.multicast_forger SOURCE OWN --share 0.1

Prints that it is ready, reads a line with the group's address and port, and ends with its input; then it
prints the number of datagrams that it has sent. Receives as recipients do, at the address OWN, and sends as
SOURCE through a raw socket: tags and headers that it has received, with other bytes, immediately, so that
some arrive before the genuine ones. The share is of all datagrams of the group; it never sends more. Needs
root.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator

from benchmarks.laboratory.lab import Host, Lab
from castray_desktop.core.multicast.datagrams import (
    HEADER_BYTES,
    ZONE_BYTES,
    DatagramHeader,
    pack_datagram_header,
    parse_datagram_header,
)
from castray_desktop.core.protocol.nodes.cast_parcel import MulticastGroup
from castray_desktop.workers.agent.transfer.multicast.multicast_sockets import ReceivingSocket

IDLE_SECONDS = 0.1
END_SECONDS = 10.0
OTHER_PORT = 4444
FAR = 1 << 31


class Forger:
    """Sends datagrams that appear to come from the source. IPv4 only."""

    def __init__(self, group: MulticastGroup, own: str, share: float) -> None:
        self.sent = 0
        self._group = group
        self._each = share / (1 - share)  # for each received datagram
        self._due = 0.0
        self._noise = memoryview(os.urandom(1 << 17))
        self._ear = ReceivingSocket(group, own)
        self._ear.set_timeout(IDLE_SECONDS)
        self._mouth = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
        self._mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        self._kinds: Iterator[Callable[[DatagramHeader, int, int], None]] = itertools.cycle(
            (
                *(self._ahead, self._ahead, self._ahead, self._repeat, self._skip, self._as_another),
                *(self._short, self._shifted, self._without_bytes),
            )
        )

    def run(self, ended: Callable[[], bool]) -> None:
        """Run until the input ends."""
        buffer = memoryview(bytearray(1 << 16))
        while not ended():
            try:
                count, segment, where = self._ear.receive(buffer)
            except BlockingIOError:
                continue
            number = -(-count // segment) if segment > HEADER_BYTES else 0
            self._due += number * self._each
            last = (number - 1) * segment
            if number and count - last >= HEADER_BYTES:
                self._spoil(parse_datagram_header(buffer, last), where[1], segment - HEADER_BYTES)

    def _spoil(self, heard: DatagramHeader, port: int, payload: int) -> None:
        while self._due >= 1 and payload:
            self._due -= 1
            next(self._kinds)(heard, port, payload)

    def close(self) -> None:
        self._ear.close()
        self._mouth.close()

    # --- forged datagrams

    def _ahead(self, heard: DatagramHeader, port: int, payload: int) -> None:
        """The next position with the same tag, before the genuine datagram arrives."""
        steps = (ZONE_BYTES - 1 - heard.offset % ZONE_BYTES) // payload
        step = 1 + self.sent % steps if steps else 0
        further = {"sequence": heard.sequence + step, "offset": heard.offset + step * payload}
        self._send(port, heard._replace(**further), payload)

    def _repeat(self, heard: DatagramHeader, port: int, payload: int) -> None:
        """The same position with other bytes, for receivers that have lost it."""
        self._send(port, heard, payload)

    def _skip(self, heard: DatagramHeader, port: int, payload: int) -> None:
        """A position far ahead, so that nearly everything seems lost."""
        self._send(port, heard._replace(sequence=heard.sequence + FAR), payload)

    def _as_another(self, heard: DatagramHeader, port: int, payload: int) -> None:
        """From another port, so that reports go to the wrong address."""
        self._send(OTHER_PORT + port % 2, heard, payload)

    def _shifted(self, heard: DatagramHeader, port: int, payload: int) -> None:
        """A position that overlaps the next datagram."""
        self._send(port, heard._replace(offset=heard.offset + payload // 2), payload)

    def _without_bytes(self, heard: DatagramHeader, port: int, payload: int) -> None:
        """A position at the end, as if the sender had finished."""
        self._send(port, heard._replace(piece=FAR - 1, offset=0), 0)

    def _short(self, heard: DatagramHeader, port: int, payload: int) -> None:
        """A length that differs from the others."""
        self._send(port, heard, payload - 8)

    def _send(self, port: int, head: DatagramHeader, payload: int) -> None:
        start = self.sent * 64 % (len(self._noise) - payload)
        udp = struct.pack("!HHHH", port, self._group.port, 8 + HEADER_BYTES + payload, 0)
        data = udp + pack_datagram_header(*head)
        packet = b"".join((self._ip(len(data) + payload), data, self._noise[start : start + payload]))
        try:
            self._mouth.sendto(packet, (self._group.address, 0))
        except OSError:  # its own queue is full
            return
        self.sent += 1

    def _ip(self, length: int) -> bytes:
        source, target = map(socket.inet_aton, (self._group.source, self._group.address))
        return struct.pack(
            "!BBHHHBBH4s4s", 0x45, 0, 20 + length, 0, 0, 1, socket.IPPROTO_UDP, 0, source, target
        )


@contextlib.contextmanager
def forging(lab: Lab, host: Host, source: Host, share: float = 0.1) -> Iterator[Forging]:
    """A forger in `host` inside the block, which starts once it knows the group."""
    command = [sys.executable, "-m", "benchmarks.laboratory.multicast_forger", source.address, host.address]
    process = lab.popen(
        host,
        [*command, "--share", str(share)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()  # it is ready
    forger = Forging(process)
    try:
        yield forger
    finally:
        forger.stop()


class Forging:
    """A forger in a separate process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.sent = 0  # after it has stopped
        self._process = process

    def begin(self, address: str, port: int) -> None:
        """Tell it the group."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{address} {port}".encode())
        self._process.stdin.flush()

    def stop(self) -> None:
        """End it; may be called again."""
        if self._process.returncode is None:
            said, _ = self._process.communicate(timeout=END_SECONDS)
            self.sent = int(said or 0)  # empty if it was never told a group


def input_ended() -> bool:
    """Whether standard input has ended."""
    return bool(select.select([0], [], [], 0)[0]) and not os.read(0, 1)


def main() -> int:
    """Forge datagrams until the input ends."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.laboratory.multicast_forger")
    parser.add_argument("source")
    parser.add_argument("own")
    parser.add_argument("--share", type=float, default=0.1)
    options = parser.parse_args()
    print("ready", flush=True)
    address, port = os.read(0, 100).split()
    group = MulticastGroup(address.decode(), int(port), options.source)
    forger = Forger(group, options.own, options.share)
    try:
        forger.run(input_ended)
    finally:
        forger.close()
    print(forger.sent, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
