"""A data connection through calls between agents, where no socket gets through.

Each end is a socket pair: the transfer service has one end of each and notices no difference, handshake
included. The recipient calls its upstream's agent: `open`, `put` for its requests, and a few `get` at a
time, each of which waits for the next bytes. Memory is bounded by what those few calls bring, whatever
the parcel's size; a recipient that does not read does not call.

A computer outside the cluster runs its agent itself, so no actor in the cluster could call it. A mailbox, an
actor with the agent's name, queues the calls of tunnels until the agent's process fetches them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
import socket
import threading
import time
from collections import deque
from typing import Any, Callable, Optional, Protocol

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
        self._ends: dict[str, _TunnelEnd] = {}

    def open(self, tunnel: str) -> None:
        """Open a tunnel. Raises ConnectionError when there are too many."""
        if tunnel in self._ends or len(self._ends) >= MAX_TUNNELS:
            raise ConnectionRefusedError("there are too many tunnels")
        ours, theirs = socket.socketpair()
        if not self._adopt(theirs):
            ours.close()
            raise ConnectionRefusedError("there are too many connections")
        ours.setblocking(False)
        self._ends[tunnel] = _TunnelEnd(ours)

    async def put(self, tunnel: str, data: bytes) -> None:
        """Accept bytes from the recipient; empty: it has closed. Raises ConnectionError."""
        end = self._end(tunnel)
        if data:
            async with end.putting:
                await asyncio.get_running_loop().sock_sendall(end.sock, data)
        else:
            self._close(tunnel)

    async def get(self, tunnel: str, number: int) -> bytes:
        """Return the next bytes for the recipient; empty if there are none for a while. Raises
        ConnectionError."""
        end = self._end(tunnel)
        async with end.turning:
            await end.turning.wait_for(lambda: end.turn == number or end.closed)
            try:
                if end.closed:
                    raise ConnectionResetError("the tunnel was closed")
                data = await end.read()
            except ConnectionError:
                self._close(tunnel)
                raise
            finally:
                end.turn += 1
                end.turning.notify_all()
        return data

    def sweep(self) -> None:
        """Close tunnels that were not used for a while."""
        now = time.monotonic()
        for tunnel in [name for name, end in self._ends.items() if now - end.used > IDLE_SECONDS]:
            log.info("closing an unused tunnel")
            self._close(tunnel)

    def close(self) -> None:
        """Close all tunnels."""
        for tunnel in list(self._ends):
            self._close(tunnel)

    def _end(self, tunnel: str) -> _TunnelEnd:
        try:
            end = self._ends[tunnel]
        except KeyError:
            raise ConnectionResetError("there is no such tunnel") from None
        end.used = time.monotonic()
        return end

    def _close(self, tunnel: str) -> None:
        end = self._ends.pop(tunnel, None)
        if end is not None:
            end.close()


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
        self._waking = asyncio.ensure_future(self._wake_readers())

    async def _wake_readers(self) -> None:
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
        self._begin(lambda: _send(remote, tunnel, theirs))
        self._begin(lambda: _receive(remote, tunnel, theirs))
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


def _send(remote: TunnelPeer, tunnel: str, sock: socket.socket) -> None:
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


def _receive(remote: TunnelPeer, tunnel: str, sock: socket.socket) -> None:
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


MAILBOX_SECONDS = 2.0

TUNNEL_METHODS = ("open_tunnel", "put_into_tunnel", "get_from_tunnel")

MailboxCall = tuple[int, str, tuple[Any, ...]]
"""Call number, method name of the agent, arguments."""


class AgentMailbox:
    """The actor. `next_calls` and `answer` are called by the agent's process, the others by agents of the
    cluster."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._calls: list[MailboxCall] = []
        self._answers: dict[int, asyncio.Future[bytes]] = {}
        self._called = asyncio.Event()

    async def open_tunnel(self, tunnel: str) -> bytes:
        """See `NodeAgent.open_tunnel`. Raises ConnectionError."""
        return await self._ask("open_tunnel", tunnel)

    async def put_into_tunnel(self, tunnel: str, data: bytes) -> bytes:
        """See `NodeAgent.put_into_tunnel`. Raises ConnectionError."""
        return await self._ask("put_into_tunnel", tunnel, data)

    async def get_from_tunnel(self, tunnel: str, number: int) -> bytes:
        """See `NodeAgent.get_from_tunnel`. Raises ConnectionError."""
        return await self._ask("get_from_tunnel", tunnel, number)

    async def _ask(self, method: str, *arguments: Any) -> bytes:
        number = next(self._numbers)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        self._calls.append((number, method, arguments))
        self._called.set()
        try:
            return await answer
        finally:
            del self._answers[number]

    async def next_calls(self) -> list[MailboxCall]:
        """The pending calls; waits up to two seconds for some."""
        try:
            await asyncio.wait_for(self._called.wait(), MAILBOX_SECONDS)
        except asyncio.TimeoutError:
            return []
        self._called.clear()
        calls, self._calls = self._calls, []
        return calls

    async def answer(self, number: int, data: bytes, error: str) -> None:
        """Deliver the result or the error of a call."""
        waiting = self._answers.get(number)
        if waiting is None or waiting.done():
            return
        if error:
            waiting.set_exception(ConnectionResetError(error))
        else:
            waiting.set_result(data)


async def carry_out(agent: Any, call: MailboxCall) -> tuple[int, bytes, str]:
    """Carry out a tunnel call on the agent. Returns the arguments of `answer`."""
    number, method, arguments = call
    if method not in TUNNEL_METHODS:
        return number, b"", f"{method} can't be called from here"
    try:
        data = await getattr(agent, method)(*arguments)
    except OSError as error:
        return number, b"", str(error) or type(error).__name__
    return number, data or b"", ""
