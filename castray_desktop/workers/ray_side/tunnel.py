"""A connection of the byte plane that goes through calls between agents, where no socket gets through.

Each end is a pair of sockets: the byte plane has one of each pair and notices no difference, handshake
included. The recipient calls its upstream's agent: `open`, `put` for its requests, and a few `get` at a time,
each of which waits for the next bytes. What is in memory is at most what those few calls bring, whatever
the parcel's size; a recipient that takes nothing does not call.
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
"""At most what one call brings; it lies in Ray's object store for a moment, on both sides."""

IN_FLIGHT = 4
MAX_TUNNELS = 64
WAIT_SECONDS = 1.0
MORE_SECONDS = 0.002
IDLE_SECONDS = 15.0
CALL_SECONDS = 10.0
OPEN_SECONDS = 3.0

log = logging.getLogger("castray.agent")


class Ticket(Protocol):
    """A call that is under way."""

    def result(self, seconds: float) -> bytes:
        """What it returned. Raises OSError, also when it takes too long."""


class Remote(Protocol):
    """The agent at the other end. All of it may be called from any thread, and raises OSError."""

    def open(self, tunnel: str) -> Ticket:
        """Open a tunnel with this name."""

    def put(self, tunnel: str, data: bytes) -> Ticket:
        """Bytes for the other end; none: this end has closed."""

    def get(self, tunnel: str, number: int) -> Ticket:
        """The `number`th bytes from there, from 0; none when there are none for a while."""


class TunnelMouths:
    """The upstream's side, in the agent's event loop. `adopt` takes a socket as a connection to serve."""

    def __init__(self, adopt: Callable[[socket.socket], bool]) -> None:
        self._adopt = adopt
        self._mouths: dict[str, _Mouth] = {}

    def open(self, tunnel: str) -> None:
        """A new tunnel. Raises ConnectionError when there are too many."""
        if tunnel in self._mouths or len(self._mouths) >= MAX_TUNNELS:
            raise ConnectionRefusedError("there are too many tunnels")
        ours, theirs = socket.socketpair()
        if not self._adopt(theirs):
            ours.close()
            raise ConnectionRefusedError("there are too many connections")
        ours.setblocking(False)
        self._mouths[tunnel] = _Mouth(ours)

    async def put(self, tunnel: str, data: bytes) -> None:
        """Bytes from the recipient; none: it has closed. Raises ConnectionError."""
        mouth = self._mouth(tunnel)
        if data:
            async with mouth.putting:
                await asyncio.get_running_loop().sock_sendall(mouth.sock, data)
        else:
            self._close(tunnel)

    async def get(self, tunnel: str, number: int) -> bytes:
        """The next bytes for the recipient; none when there are none for a while. Raises ConnectionError."""
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
        """Close tunnels that nobody has used for a while."""
        now = time.monotonic()
        for tunnel in [name for name, mouth in self._mouths.items() if now - mouth.used > IDLE_SECONDS]:
            log.info("a tunnel that nobody uses is closed")
            self._close(tunnel)

    def close(self) -> None:
        """Close all of them."""
        for tunnel in list(self._mouths):
            self._close(tunnel)

    def _mouth(self, tunnel: str) -> _Mouth:
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


class _Mouth:
    """One tunnel's socket, and whose turn it is to read from it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.used = time.monotonic()
        self.turn = 0
        self.turning = asyncio.Condition()
        self.putting = asyncio.Lock()
        self.closed = False
        self._waiting: Optional[asyncio.Future[None]] = None

    async def read(self) -> bytes:
        """A whole chunk where it comes at once, else what there is. Raises ConnectionError at the end."""
        parts: list[bytes] = []
        left, patience = CHUNK_BYTES, WAIT_SECONDS
        while left and await self._readable(patience):
            data = self.sock.recv(left)
            if not data:
                if parts:
                    break  # the next call finds the end again
                raise ConnectionResetError("the upstream has closed the tunnel")
            parts.append(data)
            left, patience = left - len(data), MORE_SECONDS
        self.used = time.monotonic()
        return b"".join(parts)

    async def _readable(self, seconds: float) -> bool:
        """Waits for it rather than reading: what is read when a wait is given up would be lost."""
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
        """Those who wait for their turn learn that there is none."""
        async with self.turning:
            self.turning.notify_all()


def _settle(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


class Tunnels:
    """The recipient's side, with two threads for each tunnel. `remote_of` gives the agent of a node."""

    def __init__(self, remote_of: Callable[[str], Remote]) -> None:
        self._remote_of = remote_of
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()

    def carry(self, node: str) -> socket.socket:
        """A connection to a node's agent. It is closed by closing the socket. Raises OSError."""
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


def _upwards(remote: Remote, tunnel: str, sock: socket.socket) -> None:
    """What the byte plane sends, until it closes; in order, since each call waits for the one before."""
    try:
        while data := sock.recv(CHUNK_BYTES):
            remote.put(tunnel, data).result(CALL_SECONDS)
    except OSError as error:
        log.info("a tunnel has broken: %s", error)
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        remote.put(tunnel, b"").result(CALL_SECONDS)


def _downwards(remote: Remote, tunnel: str, sock: socket.socket) -> None:
    """What the upstream sends, a few calls at a time, until either end closes."""
    calls: deque[Ticket] = deque()
    number = 0
    try:
        while True:
            while len(calls) < IN_FLIGHT:
                calls.append(remote.get(tunnel, number))
                number += 1
            data = calls.popleft().result(CALL_SECONDS)
            sock.sendall(data)
    except OSError as error:
        log.info("a tunnel has ended: %s", error)
    finally:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()
