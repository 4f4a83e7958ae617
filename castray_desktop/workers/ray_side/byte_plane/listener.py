"""The data port: accepts connections, lets nobody past the handshake without the cast's secret."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import tempfile
import threading
from pathlib import Path
from typing import Callable, Optional, TypeVar

from castray_desktop.core.handshake import Greeting, Role
from castray_desktop.core.wire import ProtocolError
from castray_desktop.workers.ray_side.byte_plane.channel import Channel, Untrusted
from castray_desktop.workers.ray_side.byte_plane.serving import Serving
from castray_desktop.workers.ray_side.byte_plane.supply import Supply
from castray_desktop.workers.ray_side.byte_plane.surroundings import Surroundings
from castray_desktop.workers.ray_side.protocol import Reach

log = logging.getLogger("castray.byte_plane")

MAX_STRANGERS = 64
MAX_CONNECTIONS = 512
CONNECT_SECONDS = 3.0
HANDSHAKE_SECONDS = 5.0
SEND_SECONDS = 60.0
MAX_LOCAL_PATH = 100

SupplyOf = Callable[[str], Optional["tuple[bytes, Supply]"]]
T = TypeVar("T")
UpstreamCame = Callable[[str, int, Channel], bool]


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
        self._strangers = 0
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
                sock.listen(128)
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
            sock.listen(128)
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
        with selectors.DefaultSelector() as selector:
            for sock in [*self._sockets, self._wake_read]:
                selector.register(sock, selectors.EVENT_READ)
            while not self._closing:
                for key, _ in selector.select():
                    if key.fileobj is not self._wake_read:
                        assert isinstance(key.fileobj, socket.socket)
                        self._accept(key.fileobj)

    def _accept(self, listening: socket.socket) -> None:
        try:
            sock, _ = listening.accept()
        except OSError as error:  # the peer is gone already, or too many files are open
            log.warning("a connection could not be accepted: %s", error)
            self._wake_read.settimeout(0.05)
            with contextlib.suppress(OSError):
                self._wake_read.recv(1, socket.MSG_PEEK)
            return
        try:
            channel = self._around.channel(sock, listening=True)
        except OSError:  # gone already
            sock.close()
            return
        self._begin(channel, lambda: self._meet(channel))

    def adopt(self, sock: socket.socket) -> bool:
        """Serve a connection that came by another way; False: it was closed, since there are too many."""
        channel = Channel(sock, local=False)
        return self._begin(channel, lambda: self._meet(channel))

    def reach(self, order: Reach) -> None:
        """Dial a recipient and serve it, in a thread; not twice at a time."""
        key = order.cast, order.node
        with self._lock:
            if key in self._reaching or self._closing:
                return
            self._reaching.add(key)
        if not self._begin(None, lambda: self._visit(order)):
            self._reached(order)

    def _begin(self, channel: Optional[Channel], work: Callable[[], None]) -> bool:
        """A thread for a connection, unless there are too many."""
        thread = threading.Thread(target=work, name="castray-serve", daemon=True)
        with self._lock:
            full = (
                self._closing or self._strangers >= MAX_STRANGERS or len(self._connections) >= MAX_CONNECTIONS
            )
            if not full:
                self._strangers += 1
                self._connections[thread] = channel
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
            log.info("a peer was refused: %s", error)
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
            log.info("%s could not be dialled: %s", order.node, error)
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
        """Until it is over, the peer counts as a stranger."""
        try:
            return work()
        finally:
            with self._lock:
                self._strangers -= 1

    def _reached(self, order: Reach) -> None:
        with self._lock:
            self._reaching.discard((order.cast, order.node))

    def _ended(self) -> None:
        with self._lock:
            self._connections.pop(threading.current_thread(), None)

    def _secret_of(self, cast: str) -> Optional[bytes]:
        found = self._supply_of(cast)
        return found[0] if found is not None else None
