"""The connected clients: their commands are read and answered, and each is sent the events that it shows.

A client that reads slowly loses progress events, which the next snapshot makes up for, and never anything
else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterator

import msgspec

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import (
    CastChanged,
    DeliveriesChanged,
    Event,
    FromEngine,
    LogLine,
    Throughput,
)
from castray_desktop.workers.client.engine_client import read_body
from castray_desktop.workers.engine.log_tail import LEVELS

SLOW_BYTES = 4 * 1024 * 1024
"""Progress is dropped for a client with more than this unread."""

DISCONNECT_BYTES = 256 * 1024 * 1024
"""A client with more than this unread is closed; it gets the complete state when it reconnects."""

CLOSE_SECONDS = 1.0
HELLO_SECONDS = 5.0
MAX_SILENT_CLIENTS = 256
"""Connections that have sent no hello yet. The oldest is closed for a new one."""

MAX_HELLO_BYTES = 64 * 1024

WINDOW = "window"
"""The kind of client that sees the casts of every cluster."""

log = logging.getLogger("castray.engine")


class ClientConnection:
    """One connection."""

    def __init__(self, writer: asyncio.StreamWriter, kind: str) -> None:
        self.kind = kind
        self.target = ""
        """The cluster that it shows."""
        self._writer = writer
        self._watched: frozenset[str] | None = None
        self._log_level: int | None = None
        self._followed: set[str] = set()

    def watch(self, casts: tuple[str, ...] | None) -> None:
        """Send the deliveries of these casts only; None: of all."""
        self._watched = None if casts is None else frozenset(casts)

    def follow(self, cast: str) -> None:
        """Send the events of this cast too, although it is on a cluster that the client does not show."""
        self._followed.add(cast)

    def follows(self, event: Event) -> bool:
        """Whether it is one of a cast that is followed."""
        if isinstance(event, messages.CastsRemoved):
            return not self._followed.isdisjoint(event.casts)
        return bool(self._followed) and messages.cast_of(event) in self._followed

    def watch_log(self, level: str) -> None:
        """Send log lines from this level on; empty: none. Unknown levels count as "info"."""
        self._log_level = LEVELS.get(level, LEVELS["info"]) if level else None

    @property
    def watches_log(self) -> bool:
        return self._log_level is not None

    def send(self, message: FromEngine, frame: bytes) -> None:
        """Send a frame, unless the client does not watch it, or it is progress and the client is slow."""
        if self._writer.is_closing() or not self._watches(message):
            return
        unread = self._writer.transport.get_write_buffer_size()
        if unread > DISCONNECT_BYTES:
            self._writer.transport.abort()
        elif unread <= SLOW_BYTES or not _is_progress(message):
            self._writer.write(frame)

    def _watches(self, message: FromEngine) -> bool:
        match message:
            case DeliveriesChanged(cast):
                return self._watched is None or cast in self._watched
            case LogLine(level=level):
                return self._log_level is not None and LEVELS.get(level, 0) >= self._log_level
        return True

    async def close(self) -> None:
        """Close the connection after pending frames were sent; a client that does not read loses them."""
        self._writer.close()
        with contextlib.suppress(OSError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._writer.wait_closed()
        self._writer.transport.abort()


class ClientConnections:
    """All clients. `idle_since` is when the last one left, None while there is one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.idle_since: float | None = clock()
        self._clock = clock
        self._clients: dict[ClientConnection, None] = {}  # in the order in which they have come

    def __len__(self) -> int:
        return len(self._clients)

    def __iter__(self) -> Iterator[ClientConnection]:
        return iter(tuple(self._clients))

    def add_client(self, client: ClientConnection) -> None:
        """Add a client."""
        self._clients[client] = None
        self.idle_since = None

    def remove_client(self, client: ClientConnection) -> None:
        """Remove a client."""
        del self._clients[client]
        if not self._clients:
            self.idle_since = self._clock()

    @property
    def watches_log(self) -> bool:
        """Whether any client wants log lines."""
        return any(client.watches_log for client in self._clients)

    @property
    def targets(self) -> frozenset[str]:
        """The clusters that clients show."""
        return frozenset(client.target for client in self._clients)

    def targets_of(self, kind: str) -> frozenset[str]:
        """The clusters that clients of a kind show."""
        return frozenset(client.target for client in self._clients if client.kind == kind)

    def publish(self, event: Event) -> None:
        """Send an event to every client."""
        self._send(event, self._clients)

    def send_by_target(self, event: Event, target: str, looking: bool) -> None:
        """Send an event to clients of a cluster, or to clients without one."""
        self._send(event, [client for client in self._clients if (client.target == target) is looking])

    def tell_others(self, event: Event, target: str) -> None:
        """Send an event to those that want it without looking at its cluster: windows, and followers of its
        cast."""
        others = [client for client in self._clients if client.target != target]
        self._send(event, [item for item in others if item.kind == WINDOW or item.follows(event)])

    def _send(self, event: Event, clients: Collection[ClientConnection]) -> None:
        if not clients:
            return
        try:
            frame = messages.encode(event)
        except ValueError:  # an event that can't be encoded must not break the sender
            log.exception("%s", type(event).__name__)
            return
        for client in clients:
            client.send(event, frame)

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(client.close() for client in self._clients))


class ClientServer:
    """Reads the commands of clients and answers them.

    `welcome(client)` returns what a new client is sent first. While `is_ending()`, a new client of any
    version is disconnected without an answer, and starts another engine. `carry_out` may raise CastRayError,
    which is the answer then.
    """

    def __init__(
        self,
        clients: ClientConnections,
        is_ending: Callable[[], bool],
        welcome: Callable[[ClientConnection], messages.Welcome],
        carry_out: Callable[[ClientConnection, messages.Command], Awaitable[messages.Reply]],
    ) -> None:
        self._clients = clients
        self._is_ending = is_ending
        self._welcome = welcome
        self._carry_out = carry_out
        self._sessions: set[asyncio.Task[None]] = set()
        self._silent: dict[asyncio.StreamWriter, None] = {}  # without a hello, the oldest first

    def close(self) -> None:
        """End all sessions."""
        for session in tuple(self._sessions):
            session.cancel()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until its connection ends."""
        task = asyncio.current_task()
        if task is not None:
            self._sessions.add(task)
            task.add_done_callback(self._sessions.discard)
        requests: set[asyncio.Task[None]] = set()
        client: ClientConnection | None = None
        try:
            client = self._accept(await self._read_hello(reader, writer), writer)
            if client is None:
                return
            while True:
                request = await _read(reader)
                if isinstance(request, messages.Request):
                    work = asyncio.create_task(self._answer(client, request))
                    requests.add(work)
                    work.add_done_callback(requests.discard)
        except (OSError, EOFError, TimeoutError, ValueError, msgspec.DecodeError):
            pass
        finally:
            for work in requests:
                work.cancel()
            writer.close()
            if client is not None:
                self._clients.remove_client(client)

    async def _read_hello(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> messages.ToEngine:
        """The first message of a connection. Raises TimeoutError, and what `_read` raises."""
        self._silent[writer] = None
        if len(self._silent) > MAX_SILENT_CLIENTS:
            oldest = next(iter(self._silent))
            del self._silent[oldest]
            oldest.transport.abort()
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                return await _read(reader, MAX_HELLO_BYTES)
        finally:
            self._silent.pop(writer, None)

    def _accept(self, hello: messages.ToEngine, writer: asyncio.StreamWriter) -> ClientConnection | None:
        if self._is_ending():
            return None
        if not isinstance(hello, messages.Hello) or hello.protocol != messages.PROTOCOL_VERSION:
            writer.write(messages.encode(messages.Failed(Failure(FailureKind.ENGINE_VERSION))))
            return None
        client = ClientConnection(writer, hello.client)
        writer.write(messages.encode(self._welcome(client)))
        self._clients.add_client(client)
        return client

    async def _answer(self, client: ClientConnection, request: messages.Request) -> None:
        reply: messages.Reply
        try:
            reply = await self._carry_out(client, request.command)
        except CastRayError as error:
            reply = messages.Failed(error.failure)
        except Exception as error:
            log.exception("%s", type(request.command).__name__)
            reason = f"{type(error).__name__}: {error}"
            reply = messages.Failed(Failure(FailureKind.INTERNAL, {"reason": reason}))
        answer = messages.Answer(request.number, reply)
        try:
            frame = messages.encode(answer)
        except ValueError as error:  # a name that is not UTF-8, or a message that is too long
            failure = Failure(FailureKind.INTERNAL, {"reason": str(error)})
            frame = messages.encode(messages.Answer(request.number, messages.Failed(failure)))
        client.send(answer, frame)


async def _read(reader: asyncio.StreamReader, limit: int = messages.MAX_FRAME_BYTES) -> messages.ToEngine:
    return messages.decode_to_engine(await read_body(reader, limit))


def _is_progress(message: FromEngine) -> bool:
    """Whether a later message of the same kind replaces this one."""
    if isinstance(message, CastChanged):
        return not message.summary.state.finished
    if isinstance(message, DeliveriesChanged):
        return not any(item.state.finished for item in message.deliveries)
    return isinstance(message, Throughput | LogLine)
