"""The engine's clients: who is connected, and what each of them is sent.

A client that reads slowly loses progress, which the next snapshot makes up for, and never anything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Collection, Iterator

from castray_desktop.core import messages
from castray_desktop.core.messages import (
    CastChanged,
    DeliveriesChanged,
    Event,
    FromEngine,
    LogLine,
    Throughput,
)
from castray_desktop.workers.log_tail import LEVELS

SLOW_BYTES = 4 * 1024 * 1024
"""Progress is dropped for a client with more than this unread."""

LOST_BYTES = 256 * 1024 * 1024
"""A client with more than this unread is closed; it gets the whole picture when it comes back."""

GOODBYE_SECONDS = 1.0

WINDOW = "window"
"""The kind of client that sees the casts of every cluster."""

log = logging.getLogger("castray.engine")


class Client:
    """One connection."""

    def __init__(self, writer: asyncio.StreamWriter, kind: str, target: str = "") -> None:
        self.kind = kind
        self.target = target
        """The cluster that it looks at."""
        self._writer = writer
        self._watched: frozenset[str] | None = None
        self._log_level: int | None = None

    def watch(self, casts: tuple[str, ...] | None) -> None:
        """Send the deliveries of these casts only; None is all."""
        self._watched = None if casts is None else frozenset(casts)

    def watch_log(self, level: str) -> None:
        """Send lines of the log from this level on; empty is none. Unknown levels count as "info"."""
        self._log_level = LEVELS.get(level, LEVELS["info"]) if level else None

    @property
    def watches_log(self) -> bool:
        return self._log_level is not None

    def send(self, message: FromEngine, frame: bytes) -> bool:
        """Send a frame, unless it is progress and the client is slow. False when it was left out."""
        unread = self._writer.transport.get_write_buffer_size()
        if isinstance(message, DeliveriesChanged) and not self._watches(message.cast):
            return True
        if isinstance(message, LogLine) and not self._wants_line(message):
            return True
        if self._writer.is_closing():
            return False
        if unread > LOST_BYTES:
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
        """Close the connection after what was written has gone out; a reader that stands still loses it."""
        self._writer.close()
        with contextlib.suppress(OSError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._writer.wait_closed()
        self._writer.transport.abort()


class ClientHub:
    """All clients."""

    def __init__(self) -> None:
        self._clients: dict[int, Client] = {}
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._clients)

    def __iter__(self) -> Iterator[Client]:
        return iter(tuple(self._clients.values()))

    def add(self, client: Client) -> int:
        """Take in a client; returns the number to remove it with."""
        number = next(self._numbers)
        self._clients[number] = client
        return number

    def remove(self, number: int) -> None:
        """Leave a client out from now on."""
        self._clients.pop(number, None)

    @property
    def watches_log(self) -> bool:
        """Whether any client wants lines of the log."""
        return any(client.watches_log for client in self._clients.values())

    @property
    def targets(self) -> frozenset[str]:
        """The clusters that clients look at."""
        return frozenset(client.target for client in self._clients.values())

    def targets_of(self, kind: str) -> frozenset[str]:
        """The clusters that clients of a kind look at."""
        return frozenset(client.target for client in self._clients.values() if client.kind == kind)

    def publish(self, event: Event) -> None:
        """Send an event to every client."""
        self._send(event, self._clients.values())

    def tell(self, event: Event, target: str, looking: bool) -> None:
        """Send an event to those who look at a cluster, or to all who don't."""
        self._send(event, [item for item in self._clients.values() if (item.target == target) is looking])

    def tell_windows(self, event: Event, target: str) -> None:
        """Send an event to the windows that don't look at a cluster."""
        others = [client for client in self._clients.values() if client.target != target]
        self._send(event, [client for client in others if client.kind == WINDOW])

    def _send(self, event: Event, clients: Collection[Client]) -> None:
        if not clients:
            return
        try:
            frame = messages.encode(event)
        except ValueError:  # what can't be told must not end whoever wanted to tell it
            log.exception("%s", type(event).__name__)
            return
        for client in clients:
            client.send(event, frame)

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(client.close() for client in self._clients.values()))


def _is_progress(message: FromEngine) -> bool:
    """Whether a later message of the same kind makes this one needless."""
    if isinstance(message, CastChanged):
        return not message.summary.state.finished
    if isinstance(message, DeliveriesChanged):
        return not any(item.state.finished for item in message.deliveries)
    return isinstance(message, Throughput | LogLine)
