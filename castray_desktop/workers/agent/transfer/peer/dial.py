"""Connect a recipient to its upstream: either end may dial, and Ray may carry the connection.

The downstream dials the upstream. Where that does not succeed soon, the upstream is asked to dial the
downstream as well (after RFC 8305, "happy eyeballs": start the second attempt before the first has
failed). Where neither works, the bytes go through Ray. The first connection wins; the other one is closed.
The transport that worked is remembered for a while, so that the next connection between the two loses no
time; after that the direct attempt is made first again.
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

from castray_desktop.core.casts.transfer_options import Encryption, TransportOption
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
ASK_SECONDS = 0.25
RAY_SECONDS = 2.0
REMEMBERED_SECONDS = 300.0
MAX_REMEMBERED = 1000

DIRECT, REVERSE, RAY, LOCAL = "direct", "reverse", "ray", "local"
"""Transports of a connection, as reports name them."""


class DialPlan(NamedTuple):
    """When each attempt starts, in seconds since the connection was requested; infinite for never."""

    dial_after: float
    ask_after: float  # the upstream is asked to dial
    ray_after: float


def dial_plan(wanted: TransportOption, known: str) -> DialPlan:
    """The plan for the user's option and the transport that worked last. The relay beside multicast uses any
    transport."""
    if wanted is TransportOption.RAY or (wanted is not TransportOption.DIRECT and known == RAY):
        return DialPlan(math.inf, math.inf, 0.0)
    ask_after = ASK_SECONDS if known == DIRECT else 0.0
    return DialPlan(0.0, ask_after, math.inf if wanted is TransportOption.DIRECT else RAY_SECONDS)


class KnownTransports:
    """Upstreams that could only be reached indirectly."""

    def __init__(self) -> None:
        self._known: dict[
            tuple[str, str], tuple[str, float]
        ] = {}  # by node and address; transport, and until when
        self._lock = threading.Lock()

    def last_working(self, upstream: Upstream, now: float) -> str:
        """The transport that worked last; `direct` if unknown or too long ago."""
        transport, until = self._known.get((upstream.node, upstream.address), (DIRECT, 0.0))
        return transport if now < until else DIRECT

    def record(self, upstream: Upstream, transport: str, now: float) -> None:
        """Record the transport that worked. Using a known transport does not extend its validity."""
        with self._lock:
            if transport != DIRECT and self.last_working(upstream, now) == transport:
                return
            key = upstream.node, upstream.address
            self._known.pop(key, None)
            if transport != DIRECT:
                self._known[key] = transport, now + REMEMBERED_SECONDS
            if len(self._known) > MAX_REMEMBERED:
                del self._known[next(iter(self._known))]


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
    known_transports: KnownTransports = field(default_factory=KnownTransports)

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


class ReverseDialRequest(NamedTuple):
    """How often a recipient has asked to be dialled, and by whom last."""

    times: int = 0
    upstream: str = ""


NO_UPSTREAM = Upstream("", "", 0)
"""Before the first one is known."""


class PeerDialer:
    """Makes one delivery's connections. The delivery's thread calls `connect`; all else may be called from
    any thread.

    `is_current(epoch)` says whether the upstream of that order is still wanted. `changed` is called when the
    upstream should be asked to dial (see `reverse_request`), and when it has dialled.
    """

    def __init__(
        self,
        connections: ConnectionFactory,
        cast: str,
        secret: bytes,
        wanted: TransportOption,
        is_current: Callable[[int], bool],
        changed: Callable[[bool], None],
    ) -> None:
        self.reverse_request = ReverseDialRequest()
        self._factory = connections
        self._cast = cast
        self._secret = secret
        self._wanted = wanted
        self._is_current = is_current
        self._changed = changed
        self._lock = threading.Lock()
        self._wake: Optional[tuple[int, int]] = None
        self._closed = False
        self._epoch, self._upstream = 0, NO_UPSTREAM  # of the last call of `connect`
        self._may_dial = False  # whether an offer of that upstream is accepted
        self._offered: Optional[PeerConnection] = None
        self._using: Optional[PeerConnection] = None  # in its handshake
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
            if self._closed or not self._may_dial or self._offered is not None:
                return False
            if hello.epoch != self._epoch or hello.node != node_digest(self._upstream.node):
                return False
            self._offered = channel
            self._write_wake()
        self._changed(False)
        return True

    def interrupt(self) -> None:
        """Let `connect` check at once whether its upstream is still wanted."""
        with self._lock:
            self._write_wake()
            if self._using is not None:
                self._using.abort()

    def close(self) -> None:
        """Close pending connections. To be called by the delivery's thread."""
        with self._lock:
            self._closed = True
            wake, self._wake = self._wake, None
        for fd in wake or ():
            os.close(fd)
        self._reject_offers()

    def connect(self, epoch: int, upstream: Upstream) -> tuple[PeerConnection, str]:
        """Connect; returns an authenticated connection and its transport.

        Raises OSError or ProtocolError on failure: pause, and call it again.
        """
        if (self._epoch, self._upstream) != (epoch, upstream):
            self._set_target(epoch, upstream)
        if self._since == 0.0:
            self._since = time.monotonic()
        try:
            channel, transport = self._connect()
        except (ProtocolError, UntrustedPeerError):
            self._since = 0.0  # it is reachable, but refuses us
            raise
        self._reject_offers()
        self._since = 0.0
        if transport != LOCAL:
            self._factory.known_transports.record(upstream, transport, time.monotonic())
        channel.set_timeouts(SILENCE_SECONDS, SEND_SECONDS)
        return channel, transport

    def _set_target(self, epoch: int, upstream: Upstream) -> None:
        self._reject_offers()
        with self._lock:
            self._epoch, self._upstream = epoch, upstream
            if self._wake is None:
                self._wake = _pipe()
        self._since = self._next_request = self._next_ray = 0.0

    def _take_offer(self, may_dial: bool = True) -> Optional[PeerConnection]:
        """The connection that the upstream has offered; `may_dial` is whether it may offer another."""
        with self._lock:
            self._may_dial = may_dial
            offered, self._offered = self._offered, None
        return offered

    def _reject_offers(self) -> None:
        late = self._take_offer(may_dial=False)
        if late is not None:
            late.close()

    def _connect(self) -> tuple[PeerConnection, str]:
        known = self._factory.known_transports.last_working(self._upstream, time.monotonic())
        plan = dial_plan(self._wanted, known)
        if self._wanted is not TransportOption.RAY:
            channel = self._connect_locally()
            if channel is not None:
                return self._authenticate(channel), LOCAL
        offered = self._take_offer()
        if offered is not None:
            return offered, REVERSE
        now = time.monotonic()
        if self._factory.open_tunnel is not None and now >= max(self._since + plan.ray_after, self._next_ray):
            if plan.dial_after != math.inf:  # then dialling is tried in between
                self._next_ray = now + RAY_RETRY_SECONDS
            return self._through_ray(self._factory.open_tunnel), RAY
        if now < self._since + plan.dial_after:
            raise OSError(errno.EHOSTUNREACH, "Ray has no connection to it")
        return self._dial(plan)

    def _connect_locally(self) -> Optional[PeerConnection]:
        upstream = self._upstream
        if not (self._factory.local_copy and upstream.local_path and upstream.host == self._factory.host):
            return None
        try:
            return connect_local(upstream.local_path, CONNECT_SECONDS)
        except OSError:  # another user, or another container: its port still works
            self._no_local_connection.log(upstream.node)
            return None

    def _through_ray(self, open_tunnel: OpenTunnel) -> PeerConnection:
        self._through.log(self._cast, self._upstream.node)
        sock = open_tunnel(self._upstream.node)
        try:
            channel = self._factory.dialled(sock, self._upstream)
        except BaseException:
            sock.close()
            raise
        return self._authenticate(channel)

    def _dial(self, plan: DialPlan) -> tuple[PeerConnection, str]:
        """Dial, and ask to be dialled when that takes too long; the first connection wins."""
        try:
            address = self._factory.scoped_address(self._upstream.address)
            sock = begin_connecting(address, self._upstream.port)
            try:
                offered = self._await(sock, plan)
                if offered is not None:
                    sock.close()
                    return offered, REVERSE
                channel = self._factory.dialled(sock, self._upstream)
            except BaseException:
                sock.close()
                raise
            return self._authenticate(channel), DIRECT
        except UntrustedPeerError:
            raise
        except OSError:
            if self._is_current(self._epoch):
                self._request_reverse_dial()
            raise

    def _await(self, sock: socket.socket, plan: DialPlan) -> Optional[PeerConnection]:
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
                self._request_reverse_dial()
            events = [until, max(self._since + plan.ask_after, self._next_request)]
            ready = dict(poll.poll(max(0.0, min(events) - now) * 1000 + 1))
            if self._wake[0] in ready:
                os.read(self._wake[0], 4096)
            offered = self._take_offer()
            if offered is not None:
                return offered
            if not self._is_current(self._epoch):
                raise InterruptedError(errno.EINTR, "another upstream is wanted")
            if sock.fileno() in ready:
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code))
                return None
            if time.monotonic() >= until:
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    def _request_reverse_dial(self) -> None:
        """Ask the engine to let the upstream dial us; not too often."""
        now = time.monotonic()
        if now < self._next_request:
            return
        self._next_request = now + REPEAT_REQUEST_SECONDS
        self.reverse_request = ReverseDialRequest(self.reverse_request.times + 1, self._upstream.node)
        self._changed(True)

    def _authenticate(self, channel: PeerConnection) -> PeerConnection:
        """The handshake, which `interrupt` aborts."""
        greeting = PeerHello(PeerRole.FETCH, node_digest(self._factory.node), self._cast, self._epoch)
        expected = self._factory.expected_name(channel, self._upstream.node)
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
