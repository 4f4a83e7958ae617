"""The data port: accepts connections, lets nobody past the handshake without the cast's secret."""

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
from pathlib import Path
from typing import Callable, Optional, TypeVar

from castray_desktop.core.handshake import Greeting, Role
from castray_desktop.core.wire import ProtocolError
from castray_desktop.workers.ray_side.byte_plane.channel import Channel, Untrusted
from castray_desktop.workers.ray_side.byte_plane.serving import Serving
from castray_desktop.workers.ray_side.byte_plane.strangers import Strangers
from castray_desktop.workers.ray_side.byte_plane.supply import Supply
from castray_desktop.workers.ray_side.byte_plane.surroundings import Surroundings
from castray_desktop.workers.ray_side.protocol import Reach
from castray_desktop.workers.ray_side.repeated import Repeated

log = logging.getLogger("castray.byte_plane")

MAX_SILENT = 512  # that have dialled and said nothing yet; they cost no thread
MAX_SILENT_OF_ONE = 256  # of these from one address
MAX_STRANGERS = 64  # in their handshake, of each way
MAX_STRANGERS_OF_ONE = 32  # of these from one address
MAX_CONNECTIONS = 512  # that have proved themselves, of each way
ACCEPTED_AT_ONCE = 64
BACKLOG = 1024
LOCAL = ""  # the address of a peer on this machine, or one that came through Ray
CONNECT_SECONDS = 3.0
HANDSHAKE_SECONDS = 5.0
SEND_SECONDS = 60.0
MAX_LOCAL_PATH = 100

SupplyOf = Callable[[str], Optional["tuple[bytes, Supply]"]]
T = TypeVar("T")
UpstreamCame = Callable[[str, int, Channel], bool]


class Way(enum.Enum):
    """How a connection has come about. Each has a budget of its own, so that none can use up the others'."""

    DIRECT = "direct"  # the peer has dialled
    REVERSE = "reverse"  # this node has
    TUNNEL = "tunnel"  # through Ray


class Listener:
    """One thread that accepts, and one for each connection that this node serves.

    `supply_of` gives a cast's secret and pieces. `upstream_came(cast, epoch, channel)` hears of a peer that
    dials in order to serve, and says whether it takes the channel.
    """

    def __init__(self, supply_of: SupplyOf, upstream_came: UpstreamCame, surroundings: Surroundings) -> None:
        self._supply_of = supply_of
        self._upstream_came = upstream_came
        self._around = surroundings
        self._lock = threading.Lock()
        self._strangers: dict[Way, Strangers[threading.Thread]] = {
            way: Strangers(MAX_STRANGERS, MAX_STRANGERS_OF_ONE if way is Way.DIRECT else MAX_STRANGERS)
            for way in Way
        }
        self._ways: dict[threading.Thread, Way] = {}
        self._known: dict[Way, set[threading.Thread]] = {way: set() for way in Way}
        self._refused = Repeated(log, logging.INFO, "a peer was refused: %s")
        self._not_dialled = Repeated(log, logging.INFO, "%s could not be dialled: %s")
        self._crowded = Repeated(log, logging.WARNING, "there are too many connections (%s)")
        self._not_accepted = Repeated(log, logging.WARNING, "a connection could not be accepted: %s")
        self._connections: dict[threading.Thread, Optional[Channel]] = {}
        self._reaching: set[tuple[str, str]] = set()
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
        """Listen on a Unix socket of this user. Empty where that does not work."""
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
            folder.mkdir(parents=True, exist_ok=True)
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
        for _, channel in connections:
            if channel is not None:
                channel.abort()
        for thread, _ in connections:
            thread.join(5)
        for sock in [*self._sockets, self._wake_read, self._wake_write]:
            sock.close()
        if self._local_path:
            Path(self._local_path).unlink(missing_ok=True)
        if self._local_folder:
            os.rmdir(self._local_folder)

    def _accept_all(self) -> None:
        """Nobody gets a thread before saying something: a peer that dials speaks first, and at once."""
        with selectors.DefaultSelector() as selector:
            for sock in [*self._sockets, self._wake_read]:
                selector.register(sock, selectors.EVENT_READ)
            silent: Strangers[socket.socket] = Strangers(MAX_SILENT, MAX_SILENT_OF_ONE)
            while not self._closing:
                end = silent.next_end(HANDSHAKE_SECONDS)
                ready = selector.select(None if end is None else max(end - time.monotonic(), 0.0))
                sockets = [key.fileobj for key, _ in ready if isinstance(key.fileobj, socket.socket)]
                for sock in sockets:
                    if sock in silent:
                        _drop(selector, silent, sock)
                        self._spoke(sock)
                for sock in sockets:
                    if sock in self._sockets:
                        self._accept(sock, selector, silent)
                for sock in silent.came_before(time.monotonic() - HANDSHAKE_SECONDS):
                    _drop(selector, silent, sock).close()
            while (left := silent.oldest()) is not None:
                _drop(selector, silent, left).close()

    def _accept(
        self, listening: socket.socket, selector: selectors.BaseSelector, silent: Strangers[socket.socket]
    ) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                sock, address = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:  # the peer is gone already, or too many files are open
                self._not_accepted.tell(str(error))
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

    def _spoke(self, sock: socket.socket) -> None:
        """Somebody who has dialled has said something, or has gone."""
        try:
            if not sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                raise ConnectionResetError
            address = sock.getpeername()
            channel = self._around.channel(sock, listening=True)
        except OSError:  # gone already
            sock.close()
            return
        self._begin(Way.DIRECT, address[0] if address else LOCAL, channel, lambda: self._meet(channel))

    def adopt(self, sock: socket.socket) -> bool:
        """Serve a connection that came through Ray; False: it was closed, since there are too many."""
        channel = Channel(sock, local=False)
        return self._begin(Way.TUNNEL, LOCAL, channel, lambda: self._meet(channel))

    def reach(self, order: Reach) -> None:
        """Dial a recipient and serve it, in a thread; not twice at a time."""
        key = order.cast, order.node
        with self._lock:
            if key in self._reaching or self._closing:
                return
            self._reaching.add(key)
        if not self._begin(Way.REVERSE, order.address, None, lambda: self._visit(order)):
            self._reached(order)

    def _begin(self, way: Way, address: str, channel: Optional[Channel], work: Callable[[], None]) -> bool:
        """A thread for a connection, until it has proved itself as a stranger.

        Where there are too many strangers, the oldest has to go; of those that this node dials, the new one.
        """
        thread = threading.Thread(target=work, name="castray-serve", daemon=True)
        with self._lock:
            strangers = self._strangers[way]
            full = self._closing or (way is Way.REVERSE and len(strangers) >= MAX_STRANGERS)
            if not full:
                victim = strangers.add(thread, address, time.monotonic())
                evicted = self._connections.get(victim) if victim is not None else None
                if evicted is not None:
                    evicted.abort()
                self._connections[thread] = channel
                self._ways[thread] = way
        if full:
            if channel is not None:
                channel.close()
            return False
        thread.start()
        return True

    def _meet(self, channel: Channel) -> None:
        """A peer that has dialled."""
        kept = False
        try:
            greeting = self._shake_hands(lambda: channel.listen(self._secret_of, HANDSHAKE_SECONDS))
            if greeting.role is Role.SERVE:
                kept = self._upstream_came(greeting.cast, greeting.epoch, channel)
            else:
                self._serve(channel, greeting.cast)
        except Untrusted as error:
            self._refused.tell(str(error))
        except (OSError, ProtocolError) as error:
            log.debug("connection ended: %s", error)
        except Exception:
            log.exception("serving failed")
        finally:
            if not kept:
                channel.close()
            self._ended()

    def _visit(self, order: Reach) -> None:
        """A recipient that this node dials."""
        channel: Optional[Channel] = None
        try:
            channel = self._shake_hands(lambda: self._dial(order))
            self._reached(order)
            if channel is not None:
                self._serve(channel, order.cast)
        except (OSError, ProtocolError) as error:
            self._not_dialled.tell(order.node, str(error))
        except Exception:
            log.exception("serving failed")
        finally:
            if channel is not None:
                channel.close()
            self._reached(order)
            self._ended()

    def _dial(self, order: Reach) -> Optional[Channel]:
        """An authenticated channel to a recipient; None for a cast that is not served any more."""
        secret = self._secret_of(order.cast)
        if secret is None:
            return None
        channel = self._connect(order)
        try:
            with self._lock:
                self._connections[threading.current_thread()] = channel
            if self._closing:
                raise ConnectionError("this node is closing")
            channel.dial(Greeting(Role.SERVE, order.cast, order.epoch), secret, HANDSHAKE_SECONDS)
        except BaseException:
            channel.close()
            raise
        return channel

    def _connect(self, order: Reach) -> Channel:
        where = self._around.reachable(order.address), order.port
        sock = socket.create_connection(where, CONNECT_SECONDS)
        try:
            return self._around.channel(sock, listening=False)
        except OSError:
            sock.close()
            raise

    def _serve(self, channel: Channel, cast: str) -> None:
        found = self._supply_of(cast)
        if found is not None:
            channel.limit_silence(HANDSHAKE_SECONDS, SEND_SECONDS)
            Serving(channel, found[1]).run()

    def _shake_hands(self, work: Callable[[], T]) -> T:
        """Until it is over, the peer counts as a stranger. Raises ConnectionError where too many are none."""
        thread = threading.current_thread()
        found = work()
        with self._lock:
            way = self._ways[thread]
            self._strangers[way].remove(thread)
            self._known[way].add(thread)
            full = len(self._known[way]) > MAX_CONNECTIONS
        if full:
            self._crowded.tell(way.value)
            raise ConnectionError("there are too many connections")
        return found

    def _reached(self, order: Reach) -> None:
        with self._lock:
            self._reaching.discard((order.cast, order.node))

    def _ended(self) -> None:
        thread = threading.current_thread()
        with self._lock:
            self._connections.pop(thread, None)
            way = self._ways.pop(thread)
            self._strangers[way].remove(thread)
            self._known[way].discard(thread)

    def _secret_of(self, cast: str) -> Optional[bytes]:
        found = self._supply_of(cast)
        return found[0] if found is not None else None


def _drop(
    selector: selectors.BaseSelector, silent: Strangers[socket.socket], sock: socket.socket
) -> socket.socket:
    """It is not one of the silent ones any more."""
    selector.unregister(sock)
    silent.remove(sock)
    return sock
