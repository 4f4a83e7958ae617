"""The connected clients, and what each of them is sent.

A client that reads slowly loses progress events, which the next snapshot makes up for, and never anything
else.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Collection, Iterator

from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import (
    CastChanged,
    DeliveriesChanged,
    Event,
    FromEngine,
    LogLine,
    Throughput,
)
from castray_desktop.workers.engine.log_tail import LEVELS

SLOW_BYTES = 4 * 1024 * 1024
"""Progress is dropped for a client with more than this unread."""

DISCONNECT_BYTES = 256 * 1024 * 1024
"""A client with more than this unread is closed; it gets the complete state when it reconnects."""

CLOSE_SECONDS = 1.0

WINDOW = "window"
"""The kind of client that sees the casts of every cluster."""

log = logging.getLogger("castray.engine")


class ClientConnection:
    """One connection."""

    def __init__(self, writer: asyncio.StreamWriter, kind: str, target: str = "") -> None:
        self.kind = kind
        self.target = target
        """The cluster that it shows."""
        self._writer = writer
        self._watched: frozenset[str] | None = None
        self._log_level: int | None = None

    def watch(self, casts: tuple[str, ...] | None) -> None:
        """Send the deliveries of these casts only; None: of all."""
        self._watched = None if casts is None else frozenset(casts)

    def watch_log(self, level: str) -> None:
        """Send log lines from this level on; empty: none. Unknown levels count as "info"."""
        self._log_level = LEVELS.get(level, LEVELS["info"]) if level else None

    @property
    def watches_log(self) -> bool:
        return self._log_level is not None

    def send(self, message: FromEngine, frame: bytes) -> bool:
        """Send a frame, unless it is progress and the client is slow; returns whether it was sent."""
        unread = self._writer.transport.get_write_buffer_size()
        if isinstance(message, DeliveriesChanged) and not self._watches(message.cast):
            return True
        if isinstance(message, LogLine) and not self._wants_line(message):
            return True
        if self._writer.is_closing():
            return False
        if unread > DISCONNECT_BYTES:
            self._writer.transport.abort()
        elif unread > SLOW_BYTES and _is_progress(message):
            return False
        else:
            self._writer.write(frame)
        return True

    def _watches(self, cast: str) -> bool:
        return self._watched is None or cast in self._watched

    def _wants_line(self, line: LogLine) -> bool:
        return self._log_level is not None and LEVELS.get(line.level, 0) >= self._log_level

    async def close(self) -> None:
        """Close the connection after pending frames were sent; a client that does not read loses them."""
        self._writer.close()
        with contextlib.suppress(OSError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._writer.wait_closed()
        self._writer.transport.abort()


class ClientConnections:
    """All clients."""

    def __init__(self) -> None:
        self._clients: dict[int, ClientConnection] = {}
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._clients)

    def __iter__(self) -> Iterator[ClientConnection]:
        return iter(tuple(self._clients.values()))

    def add_client(self, client: ClientConnection) -> int:
        """Add a client; returns the number to remove it with."""
        number = next(self._numbers)
        self._clients[number] = client
        return number

    def remove_client(self, number: int) -> None:
        """Remove a client."""
        self._clients.pop(number, None)

    @property
    def watches_log(self) -> bool:
        """Whether any client wants log lines."""
        return any(client.watches_log for client in self._clients.values())

    @property
    def targets(self) -> frozenset[str]:
        """The clusters that clients show."""
        return frozenset(client.target for client in self._clients.values())

    def targets_of(self, kind: str) -> frozenset[str]:
        """The clusters that clients of a kind show."""
        return frozenset(client.target for client in self._clients.values() if client.kind == kind)

    def publish(self, event: Event) -> None:
        """Send an event to every client."""
        self._send(event, self._clients.values())

    def send_by_target(self, event: Event, target: str, looking: bool) -> None:
        """Send an event to clients of a cluster, or to clients without one."""
        self._send(event, [item for item in self._clients.values() if (item.target == target) is looking])

    def tell_windows(self, event: Event, target: str) -> None:
        """Send an event to the windows that don't look at a cluster."""
        others = [client for client in self._clients.values() if client.target != target]
        self._send(event, [client for client in others if client.kind == WINDOW])

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
        await asyncio.gather(*(client.close() for client in self._clients.values()))


def _is_progress(message: FromEngine) -> bool:
    """Whether a later message of the same kind replaces this one."""
    if isinstance(message, CastChanged):
        return not message.summary.state.finished
    if isinstance(message, DeliveriesChanged):
        return not any(item.state.finished for item in message.deliveries)
    return isinstance(message, Throughput | LogLine)
