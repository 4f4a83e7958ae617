"""Makes a node's data connections: encrypted or not, and which transports worked to which peer."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Callable, Optional

from castray_desktop.core.protocol.nodes import dial_strategy
from castray_desktop.core.protocol.nodes.agent_protocol import Upstream
from castray_desktop.workers.agent.network_addresses import with_own_scope
from castray_desktop.workers.agent.transfer.peer.connection import PeerConnection
from castray_desktop.workers.agent.transfer.peer.tls import Certificates

OpenTunnel = Callable[[str], socket.socket]
"""Opens a tunnel to the agent of a node through Ray; the socket is its local end. Raises OSError."""


@dataclass
class ConnectionFactory:
    """The node's own address, and how it reaches others."""

    host: str
    local_copy: bool
    address: str  # of the data port
    certificates: Optional[Certificates] = None
    open_tunnel: Optional[OpenTunnel] = None
    port: int = 0  # the data port, once it is open
    known_transports: dial_strategy.KnownTransports = field(default_factory=dial_strategy.KnownTransports)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def connection(self, sock: socket.socket, listening: bool) -> PeerConnection:
        """Make a connection over a TCP socket, encrypted if Ray is; not over a Unix socket. Raises
        OSError.
        """
        if self.certificates is None or sock.family == socket.AF_UNIX:
            return PeerConnection(sock)
        return self.certificates.connection(sock, listening)

    def scoped_address(self, address: str) -> str:
        """Another node's address with the scope that this node needs."""
        return with_own_scope(address, self.address)

    def record_transport(self, upstream: Upstream, way: str) -> None:
        """Record the transport that worked."""
        with self.lock:
            self.known_transports.record(_pair(upstream), way, time.monotonic())

    def plan(self, upstream: Upstream, wanted: str) -> dial_strategy.DialPlan:
        """The dial plan."""
        with self.lock:
            return dial_strategy.dial_plan(
                wanted, self.known_transports.last_working(_pair(upstream), time.monotonic())
            )


def _pair(upstream: Upstream) -> str:
    return f"{upstream.node} {upstream.address}"
