"""Connect a recipient to its upstream: either end may dial, and Ray may carry the connection.

`core.protocol.nodes.dial_strategy` says what is tried when. The first connection wins; the other one is
closed.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import select
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Callable, NamedTuple, Optional

from castray_desktop.core.protocol.nodes import dial_strategy
from castray_desktop.core.protocol.nodes.agent_protocol import Upstream
from castray_desktop.core.protocol.nodes.handshake import PeerHello, PeerRole
from castray_desktop.core.protocol.nodes.peer_frames import ProtocolError
from castray_desktop.workers.agent.network_addresses import with_own_scope
from castray_desktop.workers.agent.repeated_log_lines import RepeatedLogLines
from castray_desktop.workers.agent.transfer.peer.connection import (
    PeerConnection,
    UntrustedPeerError,
    begin_connecting,
    connect_local,
)
from castray_desktop.workers.agent.transfer.peer.tls import Certificates

log = logging.getLogger("castray.byte_plane")

CONNECT_SECONDS = 3.0
HANDSHAKE_SECONDS = 5.0
SILENCE_SECONDS = 5.0
SEND_SECONDS = 10.0
REPEAT_REQUEST_SECONDS = 1.0
RAY_RETRY_SECONDS = 2.0


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

    def record_transport(self, upstream: Upstream, transport: str) -> None:
        """Record the transport that worked."""
        with self.lock:
            self.known_transports.record(_pair(upstream), transport, time.monotonic())

    def plan(self, upstream: Upstream, wanted: str) -> dial_strategy.DialPlan:
        """The dial plan."""
        with self.lock:
            return dial_strategy.dial_plan(
                wanted, self.known_transports.last_working(_pair(upstream), time.monotonic())
            )


def _pair(upstream: Upstream) -> str:
    return f"{upstream.node} {upstream.address}"


class ReverseDialRequest(NamedTuple):
    """How often a recipient has asked to be dialled, and by whom last."""

    times: int = 0
    upstream: str = ""


class PeerDialer:
    """Makes one delivery's connections. The delivery's thread calls `connect`; all else may be called from
    any thread.

    `changed` is called when the upstream should be asked to dial (see `reverse_request`), and when it has
    dialled.
    """

    def __init__(
        self,
        connections: ConnectionFactory,
        cast: str,
        secret: bytes,
        wanted: str,
        changed: Callable[[bool], None],
    ) -> None:
        dial_strategy.dial_plan(wanted, dial_strategy.DIRECT)
        self.reverse_request = ReverseDialRequest()
        self._factory = connections
        self._cast = cast
        self._secret = secret
        self._wanted = wanted
        self._changed = changed
        self._lock = threading.Lock()
        self._wake: Optional[tuple[int, int]] = None
        self._closed = False
        self._expected = 0  # epoch of the upstream that may dial; 0: none
        self._offered: Optional[PeerConnection] = None
        self._using: Optional[PeerConnection] = None  # in its handshake
        self._target: tuple[int, Optional[Upstream]] = (0, None)
        self._since = 0.0
        self._next_request = 0.0
        self._next_ray = 0.0
        self._no_local_connection = RepeatedLogLines(log, logging.INFO, "no local connection to %s")
        self._through = RepeatedLogLines(log, logging.INFO, "cast %s: connecting to %s through Ray")

    @property
    def upstream_connected(self) -> bool:
        """Whether the upstream has dialled."""
        return self._offered is not None

    def offer(self, channel: PeerConnection, epoch: int) -> bool:
        """Offer an authenticated connection from the upstream. True: the channel is ours now."""
        with self._lock:
            if self._closed or epoch != self._expected or self._offered is not None:
                return False
            self._offered = channel
            self._write_wake()
        self._changed(False)
        return True

    def interrupt(self) -> None:
        """Let `connect` check at once whether it is still wanted."""
        with self._lock:
            self._write_wake()
            if self._using is not None:
                self._using.abort()

    def close(self) -> None:
        """Close pending connections. To be called by the delivery's thread."""
        with self._lock:
            self._closed = True
            wake, self._wake = self._wake, None
            offered, self._offered = self._offered, None
        for fd in wake or ():
            os.close(fd)
        if offered is not None:
            offered.close()

    def connect(
        self, epoch: int, upstream: Upstream, wanted: Callable[[], bool]
    ) -> tuple[PeerConnection, str]:
        """Connect; returns an authenticated connection and its transport.

        Raises OSError or ProtocolError on failure: pause, and call it again.
        """
        if self._target != (epoch, upstream):
            self._set_target(epoch, upstream)
        if self._since == 0.0:
            self._since = time.monotonic()
        try:
            channel, transport = self._connect(upstream, epoch, wanted)
        except (ProtocolError, UntrustedPeerError):
            self._since = 0.0  # it is reachable, but refuses us
            raise
        with self._lock:
            self._expected = 0
            late, self._offered = self._offered, None
        if late is not None:
            late.close()
        self._since = 0.0
        if transport != dial_strategy.LOCAL:
            self._factory.record_transport(upstream, transport)
        channel.set_timeouts(SILENCE_SECONDS, SEND_SECONDS)
        return channel, transport

    def _set_target(self, epoch: int, upstream: Upstream) -> None:
        self._target = epoch, upstream
        self._since = self._next_request = self._next_ray = 0.0
        with self._lock:
            self._expected = 0
            late, self._offered = self._offered, None
            if self._wake is None:
                self._wake = _pipe()
        if late is not None:
            late.close()

    def _connect(
        self, upstream: Upstream, epoch: int, wanted: Callable[[], bool]
    ) -> tuple[PeerConnection, str]:
        plan = self._factory.plan(upstream, self._wanted)
        if self._wanted != dial_strategy.RAY:
            channel = self._connect_locally(upstream)
            if channel is not None:
                return self._authenticate(channel, epoch), dial_strategy.LOCAL
        with self._lock:
            self._expected = epoch
            offered, self._offered = self._offered, None
        if offered is not None:
            return offered, dial_strategy.REVERSE
        now = time.monotonic()
        if self._factory.open_tunnel is not None and now >= max(self._since + plan.ray_after, self._next_ray):
            if plan.dial_after != math.inf:  # then dialling is tried in between
                self._next_ray = now + RAY_RETRY_SECONDS
            return self._through_ray(self._factory.open_tunnel, upstream, epoch), dial_strategy.RAY
        if now < self._since + plan.dial_after:
            raise OSError(errno.EHOSTUNREACH, "Ray has no connection to it")
        return self._dial(upstream, epoch, plan, wanted)

    def _connect_locally(self, upstream: Upstream) -> Optional[PeerConnection]:
        if not (self._factory.local_copy and upstream.local_path and upstream.host == self._factory.host):
            return None
        try:
            return connect_local(upstream.local_path, CONNECT_SECONDS)
        except OSError:  # another user, or another container: its port still works
            self._no_local_connection.log(upstream.node)
            return None

    def _through_ray(self, open_tunnel: OpenTunnel, upstream: Upstream, epoch: int) -> PeerConnection:
        self._through.log(self._cast, upstream.node)
        return self._authenticate(PeerConnection(open_tunnel(upstream.node), local=False), epoch)

    def _dial(
        self, upstream: Upstream, epoch: int, plan: dial_strategy.DialPlan, wanted: Callable[[], bool]
    ) -> tuple[PeerConnection, str]:
        """Dial, and ask to be dialled when that takes too long; the first connection wins."""
        try:
            sock = begin_connecting(self._factory.scoped_address(upstream.address), upstream.port)
            try:
                offered = self._await(sock, upstream, plan, wanted)
                if offered is not None:
                    sock.close()
                    return offered, dial_strategy.REVERSE
                channel = self._factory.connection(sock, listening=False)
            except BaseException:
                sock.close()
                raise
            return self._authenticate(channel, epoch), dial_strategy.DIRECT
        except UntrustedPeerError:
            raise
        except OSError:
            if wanted():
                self._request_reverse_dial(upstream)
            raise

    def _await(
        self,
        sock: socket.socket,
        upstream: Upstream,
        plan: dial_strategy.DialPlan,
        wanted: Callable[[], bool],
    ) -> Optional[PeerConnection]:
        """Wait until the connection is up or the upstream has dialled. Raises OSError, also when it is Ray's
        turn."""
        assert self._wake is not None
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        poll.register(self._wake[0], select.POLLIN)
        started = time.monotonic()
        until = started + CONNECT_SECONDS
        if self._factory.open_tunnel is not None:
            until = min(until, max(self._since + plan.ray_after, self._next_ray, started))
        while True:
            now = time.monotonic()
            if now >= self._since + plan.ask_after:
                self._request_reverse_dial(upstream)
            events = [until, max(self._since + plan.ask_after, self._next_request)]
            ready = dict(poll.poll(max(0.0, min(events) - now) * 1000 + 1))
            if self._wake[0] in ready:
                os.read(self._wake[0], 4096)
            with self._lock:
                offered, self._offered = self._offered, None
            if offered is not None:
                return offered
            if not wanted():
                raise InterruptedError(errno.EINTR, "another upstream is wanted")
            if sock.fileno() in ready:
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code))
                return None
            if time.monotonic() >= until:
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    def _request_reverse_dial(self, upstream: Upstream) -> None:
        """Ask the engine to let the upstream dial us; not too often."""
        now = time.monotonic()
        if now < self._next_request:
            return
        self._next_request = now + REPEAT_REQUEST_SECONDS
        self.reverse_request = ReverseDialRequest(self.reverse_request.times + 1, upstream.node)
        self._changed(True)

    def _authenticate(self, channel: PeerConnection, epoch: int) -> PeerConnection:
        """The handshake, which `interrupt` aborts."""
        try:
            with self._lock:
                self._using = channel
            channel.dial(PeerHello(PeerRole.FETCH, self._cast, epoch), self._secret, HANDSHAKE_SECONDS)
        except BaseException:
            channel.close()
            raise
        finally:
            with self._lock:
                self._using = None
        return channel

    def _write_wake(self) -> None:
        if self._wake is not None:
            try:
                os.write(self._wake[1], b"x")
            except BlockingIOError:  # it will wake up in any case
                return


def _pipe() -> tuple[int, int]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    return reading, writing
