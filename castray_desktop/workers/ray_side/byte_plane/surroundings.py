"""What all connections of a node have in common."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Callable, Optional

from castray_desktop.core import ways
from castray_desktop.workers.ray_side.addresses import scoped
from castray_desktop.workers.ray_side.byte_plane.channel import Channel
from castray_desktop.workers.ray_side.byte_plane.tls import Certificates
from castray_desktop.workers.ray_side.protocol import Upstream

Carry = Callable[[str], socket.socket]
"""Opens a connection to the agent of a node through Ray; bytes that go in come out there. Raises OSError."""


@dataclass
class Surroundings:
    """A node's own address, and how it can reach others."""

    host: str
    local_copy: bool
    address: str  # of the data port
    certificates: Optional[Certificates] = None
    carry: Optional[Carry] = None
    port: int = 0  # the data port, once it is open
    known: ways.KnownWays = field(default_factory=ways.KnownWays)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def channel(self, sock: socket.socket, listening: bool) -> Channel:
        """A channel over a TCP socket, encrypted where Ray is; not over a Unix socket. Raises OSError."""
        if self.certificates is None or sock.family == socket.AF_UNIX:
            return Channel(sock)
        return self.certificates.channel(sock, listening)

    def reachable(self, address: str) -> str:
        """Another node's address as a socket of this one takes it."""
        return scoped(address, self.address)

    def learn(self, upstream: Upstream, way: str) -> None:
        """Remember what worked."""
        with self.lock:
            self.known.learn(_pair(upstream), way, time.monotonic())

    def plan(self, upstream: Upstream, wanted: str) -> ways.Plan:
        """What is to be tried when."""
        with self.lock:
            return ways.plan(wanted, self.known.of(_pair(upstream), time.monotonic()))


def _pair(upstream: Upstream) -> str:
    return f"{upstream.node} {upstream.address}"
