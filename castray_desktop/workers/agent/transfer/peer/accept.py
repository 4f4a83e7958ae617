"""The data port: accept connections, reject peers that don't know the cast's secret, limit unknown peers."""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import selectors
import socket
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Generic, NamedTuple, Optional, TypeVar

from castray_desktop.core.protocol.nodes.agent_orders import DialRecipient
from castray_desktop.core.protocol.nodes.handshake import PeerHello, PeerRole, node_digest
from castray_desktop.core.protocol.nodes.peer_frames import ProtocolError
from castray_desktop.workers.agent.repeated_log_lines import RepeatedLogLines
from castray_desktop.workers.agent.transfer.peer.connection import PeerConnection, UntrustedPeerError
from castray_desktop.workers.agent.transfer.peer.dial import (
    CONNECT_SECONDS,
    HANDSHAKE_SECONDS,
    ConnectionFactory,
    PlainPeers,
)
from castray_desktop.workers.agent.transfer.peer.upload import PieceUploader
from castray_desktop.workers.agent.transfer.store.piece_store import PieceStore

Key = TypeVar("Key")


class UnauthenticatedConnections(Generic[Key]):
    """Unauthenticated peers with their times, the oldest first. Not safe for several threads."""

    def __init__(self, most: int, most_of_one: int) -> None:
        """Limits in total and for each address."""
        self._most = most
        self._most_of_one = most_of_one
        self._since: dict[Key, tuple[str, float]] = {}
        self._of_one: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._since)

    def __contains__(self, key: object) -> bool:
        return key in self._since

    def add(self, key: Key, address: str, now: float) -> Optional[Key]:
        """Add a peer; returns the one that has to be dropped for it."""
        oldest_peer = None
        if self._of_one[address] >= self._most_of_one:
            oldest_peer = next(other for other, (where, _) in self._since.items() if where == address)
        elif len(self._since) >= self._most:
            oldest_peer = self.oldest()
        if oldest_peer is not None:
            self.remove(oldest_peer)
        self._since[key] = address, now
        self._of_one[address] += 1
        return oldest_peer

    def remove(self, key: Key) -> None:
        """Remove a peer that has disconnected or authenticated. Does nothing if it was dropped."""
        found = self._since.pop(key, None)
        if found is not None:
            self._of_one[found[0]] -= 1
            if not self._of_one[found[0]]:
                del self._of_one[found[0]]

    def oldest(self) -> Optional[Key]:
        """The oldest peer."""
        return next(iter(self._since), None)

    def came_before(self, moment: float) -> list[Key]:
        """Peers that came before that moment."""
        found = []
        for key, (_, since) in self._since.items():
            if since >= moment:
                break
            found.append(key)
        return found

    def next_end(self, seconds: float) -> Optional[float]:
        """The time at which the oldest peer reaches this age; None if there is none."""
        key = self.oldest()
        return None if key is None else self._since[key][1] + seconds


log = logging.getLogger("castray.byte_plane")

MAX_SILENT = 512  # that have dialled and sent nothing yet; they cost no thread
MAX_SILENT_OF_ONE = 256  # of these from one address
MAX_UNAUTHENTICATED = 64  # in their handshake, of each origin
MAX_UNAUTHENTICATED_OF_ONE = 32  # of these from one address
MAX_CONNECTIONS = 512  # that have proved themselves, of each origin
ACCEPTED_AT_ONCE = 64
BACKLOG = 1024
LOCAL = ""  # the address of a peer on this machine, or one that came through Ray
SEND_SECONDS = 60.0
MAX_LOCAL_PATH = 100

T = TypeVar("T")


class ServedCast(NamedTuple):
    """A cast that this node has, or fetches."""

    secret: bytes
    pieces: PieceStore
    plain: PlainPeers


FindCast = Callable[[str], Optional[ServedCast]]
UpstreamConnected = Callable[[PeerHello, PeerConnection], bool]


class ConnectionOrigin(enum.Enum):
    """Who opened a connection. Each origin has limits of its own, so that none can use up the others'."""

    DIRECT = "direct"  # the peer has dialled
    REVERSE = "reverse"  # this node has
    TUNNEL = "tunnel"  # through Ray


@dataclass
class ServedConnection:
    """A connection with a thread of its own."""

    origin: ConnectionOrigin
    channel: Optional[PeerConnection]  # None until this node has dialled


class PeerAcceptor:
    """One thread that accepts, and one for each connection that this node serves.

    `find_cast` returns a cast by its id. `upstream_came(hello, channel)` is called for a peer that dials in
    order to serve; it returns whether it takes the connection.
    """

    def __init__(
        self, find_cast: FindCast, upstream_came: UpstreamConnected, connections: ConnectionFactory
    ) -> None:
        self._find_cast = find_cast
        self._upstream_came = upstream_came
        self._factory = connections
        self._lock = threading.Lock()
        self._unauthenticated: dict[ConnectionOrigin, UnauthenticatedConnections[threading.Thread]] = {
            origin: UnauthenticatedConnections(
                MAX_UNAUTHENTICATED,
                MAX_UNAUTHENTICATED_OF_ONE if origin is ConnectionOrigin.DIRECT else MAX_UNAUTHENTICATED,
            )
            for origin in ConnectionOrigin
        }
        self._authenticated: dict[ConnectionOrigin, set[threading.Thread]] = {
            origin: set() for origin in ConnectionOrigin
        }
        self._refused = RepeatedLogLines(log, logging.INFO, "a peer was refused: %s")
        self._not_dialled = RepeatedLogLines(log, logging.INFO, "%s could not be dialled: %s")
        self._crowded = RepeatedLogLines(log, logging.WARNING, "there are too many connections (%s)")
        self._not_accepted = RepeatedLogLines(log, logging.WARNING, "a connection could not be accepted: %s")
        self._connections: dict[threading.Thread, ServedConnection] = {}
        self._dialing: set[tuple[str, str]] = set()
        self._sockets: list[socket.socket] = []
        self._wake_read, self._wake_write = socket.socketpair()
        self._closing = False
        self._local_path = ""
        self._local_folder = ""
        self._thread: Optional[threading.Thread] = None

    def open_tcp(self, address: str, ports: Optional[tuple[int, int]]) -> int:
        """Listen on a free port (of the range, if there is one). Raises OSError."""
        family, _, _, _, where = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM)[0]
        low, high = ports or (0, 0)
        for port in range(low, high + 1):
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((where[0], port, *where[2:]))
                sock.listen(BACKLOG)
                sock.setblocking(False)
            except OSError:
                sock.close()
                if port == high:
                    raise
                continue
            self._sockets.append(sock)
            return int(sock.getsockname()[1])
        raise OSError(f"no port in {low}-{high}")

    def open_local(self, folder: Optional[Path]) -> str:
        """Listen on a Unix socket of this user. Empty if that fails."""
        try:
            path = self._local_name(folder)
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError:
            return ""
        try:
            sock.bind(path)
            os.chmod(path, 0o600)
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except OSError as error:
            log.warning("no Unix socket at %s: %s", path, error)
            sock.close()
            return ""
        self._sockets.append(sock)
        self._local_path = path
        return path

    def _local_name(self, folder: Optional[Path]) -> str:
        """Short enough for a Unix socket."""
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = str(folder / f"bp-{os.getpid()}-{id(self) & 0xFFFFFF:x}.sock")
            if len(os.fsencode(path)) <= MAX_LOCAL_PATH:
                return path
        self._local_folder = tempfile.mkdtemp(prefix="castray-")
        return os.path.join(self._local_folder, "bp.sock")

    def start(self) -> None:
        self._thread = threading.Thread(target=self._accept_all, name="castray-listener", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End all connections and threads."""
        if self._closing:
            return
        self._closing = True
        self._wake_write.send(b"x")
        if self._thread is not None:
            self._thread.join(5)
        with self._lock:
            connections = list(self._connections.items())
        for _, served in connections:
            if served.channel is not None:
                served.channel.abort()
        for thread, _ in connections:
            thread.join(5)
        for sock in [*self._sockets, self._wake_read, self._wake_write]:
            sock.close()
        if self._local_path:
            Path(self._local_path).unlink(missing_ok=True)
        if self._local_folder:
            os.rmdir(self._local_folder)

    def _accept_all(self) -> None:
        """A peer gets a thread once it has sent something: a peer that dials sends first, and at once."""
        with selectors.DefaultSelector() as selector:
            for sock in [*self._sockets, self._wake_read]:
                selector.register(sock, selectors.EVENT_READ)
            silent: UnauthenticatedConnections[socket.socket] = UnauthenticatedConnections(
                MAX_SILENT, MAX_SILENT_OF_ONE
            )
            while not self._closing:
                end = silent.next_end(HANDSHAKE_SECONDS)
                ready = selector.select(None if end is None else max(end - time.monotonic(), 0.0))
                sockets = [key.fileobj for key, _ in ready if isinstance(key.fileobj, socket.socket)]
                for sock in sockets:
                    if sock in silent:
                        _drop(selector, silent, sock)
                        self._begin_handshake(sock)
                for sock in sockets:
                    if sock in self._sockets:
                        self._accept(sock, selector, silent)
                for sock in silent.came_before(time.monotonic() - HANDSHAKE_SECONDS):
                    _drop(selector, silent, sock).close()
            while (left := silent.oldest()) is not None:
                _drop(selector, silent, left).close()

    def _accept(
        self,
        listening: socket.socket,
        selector: selectors.BaseSelector,
        silent: UnauthenticatedConnections[socket.socket],
    ) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                sock, address = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:  # the peer is gone already, or too many files are open
                self._not_accepted.log(str(error))
                oldest = silent.oldest()
                if oldest is not None:
                    _drop(selector, silent, oldest).close()
                    continue
                self._wake_read.settimeout(0.05)
                with contextlib.suppress(OSError):
                    self._wake_read.recv(1, socket.MSG_PEEK)
                return
            selector.register(sock, selectors.EVENT_READ)
            evicted = silent.add(sock, address[0] if address else LOCAL, time.monotonic())
            if evicted is not None:
                selector.unregister(evicted)
                evicted.close()

    def _begin_handshake(self, sock: socket.socket) -> None:
        """A peer that has dialled has sent something, or has closed the connection."""
        try:
            if not sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                raise ConnectionResetError
            address = sock.getpeername()
            channel = PeerConnection(sock)
        except OSError:  # closed already
            sock.close()
            return
        self._begin(
            ConnectionOrigin.DIRECT,
            address[0] if address else LOCAL,
            channel,
            lambda: self._serve_dialer(channel),
        )

    def adopt(self, sock: socket.socket) -> bool:
        """Serve a connection that came through Ray; False: it was closed, since there are too many."""
        channel = PeerConnection(sock, local=False)
        return self._begin(ConnectionOrigin.TUNNEL, LOCAL, channel, lambda: self._serve_dialer(channel))

    def dial_recipient(self, order: DialRecipient) -> None:
        """Dial a recipient and serve it, in a thread; one attempt at a time."""
        key = order.cast, order.node
        with self._lock:
            if key in self._dialing or self._closing:
                return
            self._dialing.add(key)
        if not self._begin(
            ConnectionOrigin.REVERSE, order.address, None, lambda: self._serve_recipient(order)
        ):
            self._end_dialing(order)

    def _begin(
        self,
        origin: ConnectionOrigin,
        address: str,
        channel: Optional[PeerConnection],
        work: Callable[[], None],
    ) -> bool:
        """Start a thread for a connection, which is unauthenticated at first.

        If there are too many of these, the oldest is closed; of those that this node dials, the new one.
        """
        thread = threading.Thread(target=work, name="castray-serve", daemon=True)
        with self._lock:
            unauthenticated = self._unauthenticated[origin]
            full = self._closing or (
                origin is ConnectionOrigin.REVERSE and len(unauthenticated) >= MAX_UNAUTHENTICATED
            )
            if not full:
                oldest_peer = unauthenticated.add(thread, address, time.monotonic())
                evicted = self._connections.get(oldest_peer) if oldest_peer is not None else None
                if evicted is not None and evicted.channel is not None:
                    evicted.channel.abort()
                self._connections[thread] = ServedConnection(origin, channel)
        if full:
            if channel is not None:
                channel.close()
            return False
        thread.start()
        return True

    def _serve_dialer(self, channel: PeerConnection) -> None:
        """Handle a peer that has dialled."""
        kept = False
        try:
            channel, hello = self._authenticate(lambda: self._accept_dialer(channel))
            if hello.role is PeerRole.SERVE:
                kept = self._upstream_came(hello, channel)
            else:
                self._serve(channel, hello.cast, hello.node == node_digest(self._factory.node))
        except UntrustedPeerError as error:
            self._refused.log(str(error))
        except (OSError, ProtocolError) as error:
            log.debug("connection ended: %s", error)
        except Exception:
            log.exception("serving failed")
        finally:
            if not kept:
                channel.close()
            self._ended()

    def _accept_dialer(self, channel: PeerConnection) -> tuple[PeerConnection, PeerHello]:
        """The handshake; returns the connection to use, which has the same socket."""
        deadline = time.monotonic() + HANDSHAKE_SECONDS
        used = self._factory.accepted(channel, HANDSHAKE_SECONDS)

        def admit(hello: PeerHello) -> None:
            cast = self._find_cast(hello.cast)
            if cast is not None:
                self._factory.check_dialer(used, hello, cast.plain)

        return used, used.accept(self._secret_of, deadline - time.monotonic(), admit)

    def _serve_recipient(self, order: DialRecipient) -> None:
        """Dial a recipient and serve it."""
        channel: Optional[PeerConnection] = None
        try:
            channel = self._authenticate(lambda: self._dial(order))
            self._end_dialing(order)
            if channel is not None:
                self._serve(channel, order.cast)
        except (OSError, ProtocolError) as error:
            self._not_dialled.log(order.node, str(error))
        except Exception:
            log.exception("serving failed")
        finally:
            if channel is not None:
                channel.close()
            self._end_dialing(order)
            self._ended()

    def _dial(self, order: DialRecipient) -> Optional[PeerConnection]:
        """An authenticated connection to a recipient; None if the cast is not served any more."""
        secret = self._secret_of(order.cast)
        if secret is None:
            return None
        channel = self._connect(order)
        try:
            with self._lock:
                self._connections[threading.current_thread()].channel = channel
            if self._closing:
                raise ConnectionError("this node is closing")
            greeting = PeerHello(PeerRole.SERVE, node_digest(self._factory.node), order.cast, order.epoch)
            expected = self._factory.expected_name(channel, order.node)
            channel.dial(greeting, secret, HANDSHAKE_SECONDS, expected)
        except BaseException:
            channel.close()
            raise
        return channel

    def _connect(self, order: DialRecipient) -> PeerConnection:
        where = self._factory.scoped_address(order.address), order.port
        sock = socket.create_connection(where, CONNECT_SECONDS)
        try:
            return self._factory.dialled(sock, order)
        except OSError:
            sock.close()
            raise

    def _serve(self, channel: PeerConnection, cast: str, to_itself: bool = False) -> None:
        found = self._find_cast(cast)
        if found is not None:
            channel.set_timeouts(HANDSHAKE_SECONDS, SEND_SECONDS)
            PieceUploader(channel, found.pieces, to_itself).run()

    def _authenticate(self, work: Callable[[], T]) -> T:
        """Until the handshake is over, the peer counts as unauthenticated. Raises ConnectionError where too
        many are none."""
        thread = threading.current_thread()
        found = work()
        with self._lock:
            origin = self._connections[thread].origin
            self._unauthenticated[origin].remove(thread)
            self._authenticated[origin].add(thread)
            full = len(self._authenticated[origin]) > MAX_CONNECTIONS
        if full:
            self._crowded.log(origin.value)
            raise ConnectionError("there are too many connections")
        return found

    def _end_dialing(self, order: DialRecipient) -> None:
        with self._lock:
            self._dialing.discard((order.cast, order.node))

    def _ended(self) -> None:
        thread = threading.current_thread()
        with self._lock:
            origin = self._connections.pop(thread).origin
            self._unauthenticated[origin].remove(thread)
            self._authenticated[origin].discard(thread)

    def _secret_of(self, cast: str) -> Optional[bytes]:
        found = self._find_cast(cast)
        return found.secret if found is not None else None


def _drop(
    selector: selectors.BaseSelector, silent: UnauthenticatedConnections[socket.socket], sock: socket.socket
) -> socket.socket:
    """Remove a socket from those that have sent nothing yet."""
    selector.unregister(sock)
    silent.remove(sock)
    return sock
