"""A data connection through calls between agents, where no socket gets through.

Each end is a socket pair: the transfer service has one end of each and notices no difference, handshake
included. The recipient calls its upstream's agent: `open`, `put` for its requests, and a few `get` at a
time, each of which waits for the next bytes. Memory is bounded by what those few calls bring, whatever
the parcel's size; a recipient that does not read does not call.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import threading
import time
from collections import deque
from typing import Callable, Optional, Protocol

CHUNK_BYTES = 1 << 20
"""Maximum size of one call's data; it is in Ray's object store for a moment, on both sides."""

IN_FLIGHT = 4
MAX_TUNNELS = 64
WAIT_SECONDS = 1.0
MORE_SECONDS = 0.002
IDLE_SECONDS = 15.0
CALL_SECONDS = 10.0
OPEN_SECONDS = 3.0

log = logging.getLogger("castray.agent")


class PendingResult(Protocol):
    """A pending call."""

    def result(self, seconds: float) -> bytes:
        """The result. Raises OSError, also when it takes too long."""


class TunnelPeer(Protocol):
    """The agent at the other end. Methods may be called from any thread, and raise OSError."""

    def open(self, tunnel: str) -> PendingResult:
        """Open a tunnel with this name."""

    def put(self, tunnel: str, data: bytes) -> PendingResult:
        """Send bytes to the other end; empty: this end has closed."""

    def get(self, tunnel: str, number: int) -> PendingResult:
        """Receive chunk `number`, from 0; empty if none came for a while."""


class TunnelServer:
    """The upstream's side, in the agent's event loop. `adopt` serves a socket as an incoming connection."""

    def __init__(self, adopt: Callable[[socket.socket], bool]) -> None:
        self._adopt = adopt
        self._mouths: dict[str, _TunnelEnd] = {}

    def open(self, tunnel: str) -> None:
        """Open a tunnel. Raises ConnectionError when there are too many."""
        if tunnel in self._mouths or len(self._mouths) >= MAX_TUNNELS:
            raise ConnectionRefusedError("there are too many tunnels")
        ours, theirs = socket.socketpair()
        if not self._adopt(theirs):
            ours.close()
            raise ConnectionRefusedError("there are too many connections")
        ours.setblocking(False)
        self._mouths[tunnel] = _TunnelEnd(ours)

    async def put(self, tunnel: str, data: bytes) -> None:
        """Accept bytes from the recipient; empty: it has closed. Raises ConnectionError."""
        mouth = self._mouth(tunnel)
        if data:
            async with mouth.putting:
                await asyncio.get_running_loop().sock_sendall(mouth.sock, data)
        else:
            self._close(tunnel)

    async def get(self, tunnel: str, number: int) -> bytes:
        """Return the next bytes for the recipient; empty if there are none for a while. Raises
        ConnectionError."""
        mouth = self._mouth(tunnel)
        async with mouth.turning:
            await mouth.turning.wait_for(lambda: mouth.turn == number or mouth.closed)
            try:
                if mouth.closed:
                    raise ConnectionResetError("the tunnel was closed")
                data = await mouth.read()
            except ConnectionError:
                self._close(tunnel)
                raise
            finally:
                mouth.turn += 1
                mouth.turning.notify_all()
        return data

    def sweep(self) -> None:
        """Close tunnels that were not used for a while."""
        now = time.monotonic()
        for tunnel in [name for name, mouth in self._mouths.items() if now - mouth.used > IDLE_SECONDS]:
            log.info("closing an unused tunnel")
            self._close(tunnel)

    def close(self) -> None:
        """Close all tunnels."""
        for tunnel in list(self._mouths):
            self._close(tunnel)

    def _mouth(self, tunnel: str) -> _TunnelEnd:
        try:
            mouth = self._mouths[tunnel]
        except KeyError:
            raise ConnectionResetError("there is no such tunnel") from None
        mouth.used = time.monotonic()
        return mouth

    def _close(self, tunnel: str) -> None:
        mouth = self._mouths.pop(tunnel, None)
        if mouth is not None:
            mouth.close()


class _TunnelEnd:
    """One tunnel's socket, and the order of its readers."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.used = time.monotonic()
        self.turn = 0
        self.turning = asyncio.Condition()
        self.putting = asyncio.Lock()
        self.closed = False
        self._waiting: Optional[asyncio.Future[None]] = None

    async def read(self) -> bytes:
        """Read a whole chunk if available at once, else what there is. Raises ConnectionError at the end."""
        parts: list[bytes] = []
        left, patience = CHUNK_BYTES, WAIT_SECONDS
        while left and await self._readable(patience):
            data = self.sock.recv(left)
            if not data:
                if parts:
                    break  # the next call reaches the end again
                raise ConnectionResetError("the upstream has closed the tunnel")
            parts.append(data)
            left, patience = left - len(data), MORE_SECONDS
        self.used = time.monotonic()
        return b"".join(parts)

    async def _readable(self, seconds: float) -> bool:
        """Wait for readability instead of reading: data read by a cancelled wait would be lost."""
        if self.closed:
            raise ConnectionResetError("the tunnel was closed")
        loop = asyncio.get_running_loop()
        waiting = self._waiting = loop.create_future()
        loop.add_reader(self.sock, _settle, waiting)
        try:
            await asyncio.wait_for(waiting, seconds)
        except asyncio.TimeoutError:
            return False
        finally:
            self._waiting = None
            if not self.closed:
                loop.remove_reader(self.sock)
        if self.closed:
            raise ConnectionResetError("the tunnel was closed")
        return True

    def close(self) -> None:
        self.closed = True
        asyncio.get_running_loop().remove_reader(self.sock)
        self.sock.close()
        if self._waiting is not None:
            _settle(self._waiting)
        self._goodbye = asyncio.ensure_future(self._let_go())

    async def _let_go(self) -> None:
        """Wake readers that wait for their turn, with an error."""
        async with self.turning:
            self.turning.notify_all()


def _settle(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


class TunnelClient:
    """The recipient's side, with two threads for each tunnel. `remote_of` returns the agent of a node."""

    def __init__(self, remote_of: Callable[[str], TunnelPeer]) -> None:
        self._remote_of = remote_of
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()

    def open_tunnel(self, node: str) -> socket.socket:
        """Open a connection to a node's agent. It is closed by closing the socket. Raises OSError."""
        remote, tunnel = self._remote_of(node), secrets.token_hex(8)
        remote.open(tunnel).result(OPEN_SECONDS)
        ours, theirs = socket.socketpair()
        self._begin(lambda: _upwards(remote, tunnel, theirs))
        self._begin(lambda: _downwards(remote, tunnel, theirs))
        return ours

    def join(self, seconds: float) -> None:
        """Wait for the threads of tunnels that have been closed."""
        deadline = time.monotonic() + seconds
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _begin(self, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name="castray-tunnel", daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()


def _upwards(remote: TunnelPeer, tunnel: str, sock: socket.socket) -> None:
    """Send what the transfer writes, until it closes; in order, since each call waits for the
    previous one.
    """
    try:
        while data := sock.recv(CHUNK_BYTES):
            remote.put(tunnel, data).result(CALL_SECONDS)
    except OSError as error:
        log.info("a tunnel failed: %s", error)
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        remote.put(tunnel, b"").result(CALL_SECONDS)


def _downwards(remote: TunnelPeer, tunnel: str, sock: socket.socket) -> None:
    """Receive what the upstream sends, with a few calls at a time, until either end closes."""
    calls: deque[PendingResult] = deque()
    number = 0
    try:
        while True:
            while len(calls) < IN_FLIGHT:
                calls.append(remote.get(tunnel, number))
                number += 1
            data = calls.popleft().result(CALL_SECONDS)
            sock.sendall(data)
    except OSError as error:
        log.info("a tunnel ended: %s", error)
    finally:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()
