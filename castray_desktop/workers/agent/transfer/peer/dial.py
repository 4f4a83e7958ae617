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

from castray_desktop.core.casts.transfer_options import Encryption
from castray_desktop.core.protocol.nodes import dial_strategy
from castray_desktop.core.protocol.nodes.agent_orders import DialRecipient, ServeSource, StartDelivery
from castray_desktop.core.protocol.nodes.cast_parcel import Upstream
from castray_desktop.core.protocol.nodes.handshake import (
    HandshakeRefused,
    PeerHello,
    PeerRole,
    RefusalReason,
    node_digest,
)
from castray_desktop.core.protocol.nodes.peer_frames import ProtocolError
from castray_desktop.workers.agent.network_addresses import with_own_scope
from castray_desktop.workers.agent.repeated_log_lines import RepeatedLogLines
from castray_desktop.workers.agent.transfer.peer.connection import (
    PeerConnection,
    UntrustedPeerError,
    begin_connecting,
    connect_local,
)
from castray_desktop.workers.agent.transfer.peer.tls import (
    HANDSHAKE_RECORD,
    Certificates,
    certificate_name,
)

log = logging.getLogger("castray.byte_plane")

CONNECT_SECONDS = 3.0
HANDSHAKE_SECONDS = 5.0
SILENCE_SECONDS = 5.0
SEND_SECONDS = 10.0
REPEAT_REQUEST_SECONDS = 1.0
RAY_RETRY_SECONDS = 2.0


OpenTunnel = Callable[[str], socket.socket]
"""Opens a tunnel to the agent of a node through Ray; the socket is its local end. Raises OSError."""


class PlainPeers(NamedTuple):
    """From which nodes on other machines a cast accepts plain connections, by order of the engine."""

    option: Encryption
    nodes: frozenset[bytes] = frozenset()  # those that can't encrypt, see `node_digest`

    @classmethod
    def of(cls, order: ServeSource | StartDelivery) -> PlainPeers:
        """What the order says."""
        return cls(order.options.encrypt, frozenset(map(node_digest, order.plain_peers)))


@dataclass
class ConnectionFactory:
    """The node's own address, and how it reaches others."""

    node: str
    host: str
    local_copy: bool
    address: str  # of the data port
    certificates: Optional[Certificates] = None
    open_tunnel: Optional[OpenTunnel] = None
    port: int = 0  # the data port, once it is open
    known_transports: dial_strategy.KnownTransports = field(default_factory=dial_strategy.KnownTransports)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def dialled(self, sock: socket.socket, peer: Upstream | DialRecipient) -> PeerConnection:
        """Make a connection to `peer` over a socket that has connected to it, or leads to it through Ray.

        Over TCP it is encrypted with Ray's certificates, if Ray has some. With those of the engine it is
        encrypted to other machines, and through Ray, if that is ordered. Raises OSError.
        """
        own, tunnel = self.certificates, sock.family == socket.AF_UNIX
        if own is not None and not own.of_engine:
            encrypted = not tunnel
        else:
            encrypted = peer.encrypted and (tunnel or peer.host != self.host)
        if not encrypted:
            return PeerConnection(sock, local=False)
        if own is None:
            raise UntrustedPeerError("this node has no certificate")
        return own.connection(sock, listening=False)

    def accepted(self, channel: PeerConnection, seconds: float) -> PeerConnection:
        """The connection to use instead of `channel`, whose peer has dialled: encrypted if the peer begins
        with that; over TCP always, if Ray has certificates. Raises Silent or OSError.
        """
        if channel.local or self.certificates is None:
            return channel
        tunnel = channel.sock.family == socket.AF_UNIX
        if self.certificates.of_engine:
            encrypted = channel.first_byte(seconds) == HANDSHAKE_RECORD
        else:
            encrypted = not tunnel
        return self.certificates.connection(channel.sock, True) if encrypted else channel

    def check_dialer(self, channel: PeerConnection, hello: PeerHello, plain: PlainPeers) -> None:
        """Check that the peer may use this connection. Raises HandshakeRefused."""
        own = self.certificates
        if channel.encrypted:
            if own is not None and own.of_engine and channel.peer != certificate_name(hello.node):
                text = "this is the certificate of another node"
                raise HandshakeRefused(RefusalReason.OTHER_CERTIFICATE, text)
        elif not (
            channel.same_machine
            or plain.option is Encryption.NEVER
            or (own is not None and not own.of_engine)  # through Ray, which encrypts
            or (plain.option is Encryption.AUTO and (own is None or hello.node in plain.nodes))
        ):
            text = "connections of this cast have to be encrypted"
            raise HandshakeRefused(RefusalReason.NOT_ENCRYPTED, text)

    def expected_name(self, channel: PeerConnection, node: str) -> str:
        """The name that the certificate of the node at the other end must have; empty for any."""
        own = self.certificates
        if not channel.encrypted or own is None or not own.of_engine:
            return ""
        return certificate_name(node_digest(node))

    def is_encrypted(self, channel: PeerConnection, upstream: Upstream) -> Optional[bool]:
        """Whether what comes on this connection is encrypted; None if it stays on this machine."""
        if channel.encrypted:
            return True
        if channel.local or upstream.host == self.host:
            return None
        through_ray = channel.sock.family == socket.AF_UNIX
        return through_ray and self.certificates is not None and not self.certificates.of_engine

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

    def offer(self, channel: PeerConnection, hello: PeerHello) -> bool:
        """Offer an authenticated connection from the upstream. True: the channel is ours now."""
        with self._lock:
            upstream = self._target[1]
            if self._closed or hello.epoch != self._expected or self._offered is not None:
                return False
            if upstream is None or hello.node != node_digest(upstream.node):
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
                return self._authenticate(channel, epoch, upstream), dial_strategy.LOCAL
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
        sock = open_tunnel(upstream.node)
        try:
            channel = self._factory.dialled(sock, upstream)
        except BaseException:
            sock.close()
            raise
        return self._authenticate(channel, epoch, upstream)

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
                channel = self._factory.dialled(sock, upstream)
            except BaseException:
                sock.close()
                raise
            return self._authenticate(channel, epoch, upstream), dial_strategy.DIRECT
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

    def _authenticate(self, channel: PeerConnection, epoch: int, upstream: Upstream) -> PeerConnection:
        """The handshake, which `interrupt` aborts."""
        greeting = PeerHello(PeerRole.FETCH, node_digest(self._factory.node), self._cast, epoch)
        expected = self._factory.expected_name(channel, upstream.node)
        try:
            with self._lock:
                self._using = channel
            channel.dial(greeting, self._secret, HANDSHAKE_SECONDS, expected)
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
