"""Events that a WebSocket client has not been sent yet: it may lose progress, and never anything else."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Hashable

import msgspec

from castray_desktop.core.casts.json_views import message_to_json
from castray_desktop.core.protocol import messages

MAX_QUEUED = 20_000
"""A client with more queued results than this is disconnected; it gets the complete state when it
reconnects.
"""


class OutgoingEvent:
    """An event for any number of clients; its JSON is encoded once."""

    def __init__(self, event: messages.Event) -> None:
        self.event = event

    @functools.cached_property
    def text(self) -> str:
        return msgspec.json.encode(message_to_json(self.event)).decode()


class EventQueue:
    """The queue of one client. Of messages that replace each other, only the last one stays."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, OutgoingEvent] = {}
        self._numbers = 0
        self._filled = asyncio.Event()
        self.overrun = False

    def __len__(self) -> int:
        return len(self._waiting)

    def push(self, outgoing: OutgoingEvent) -> None:
        """Append an event."""
        key = _key(outgoing.event)
        if key is not None and (earlier := self._waiting.pop(key, None)) is not None:
            outgoing = _merged(earlier, outgoing)
        if key is None or _is_end(outgoing.event):
            self._numbers += 1
            key = self._numbers
        self._waiting[key] = outgoing
        self.overrun = self.overrun or len(self._waiting) > MAX_QUEUED
        self._filled.set()

    async def pop(self) -> str:
        """Wait for the next message; returns it as JSON."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        return self._waiting.pop(next(iter(self._waiting))).text


def _key(event: messages.Event) -> Hashable | None:
    """A key that is equal for events of which the later replaces the earlier; None for all others."""
    match event:
        case messages.CastChanged(summary):
            return ("cast", summary.cast)
        case messages.DeliveriesChanged(cast):
            return ("deliveries", cast)
        case (
            messages.Throughput()
            | messages.ClusterChanged()
            | messages.NodesChanged()
            | messages.SchedulesChanged()
            | messages.SettingsChanged()
            | messages.HistoryChanged()
            | messages.VerifyProgress()
            | messages.DiagnosisProgress()
        ):
            return type(event).__name__
    return None


def _is_end(event: messages.Event) -> bool:
    """Whether it is a final event, which later events must not replace."""
    match event:
        case messages.CastChanged(summary):
            return summary.state.finished
        case messages.DeliveriesChanged(_, deliveries):
            return any(item.state.finished for item in deliveries)
    return False


def _merged(earlier: OutgoingEvent, later: OutgoingEvent) -> OutgoingEvent:
    """The later event, with fields that only the earlier one has."""
    match earlier.event, later.event:
        case messages.DeliveriesChanged(cast, before), messages.DeliveriesChanged(_, after):
            deliveries = {item.node: item for item in (*before, *after)}
            return OutgoingEvent(messages.DeliveriesChanged(cast, tuple(deliveries.values())))
        case messages.NodesChanged(before_nodes, before_gone), messages.NodesChanged(after_nodes, gone):
            nodes = {node.name: node for node in before_nodes if node.name not in gone}
            nodes |= {node.name: node for node in after_nodes}
            removed = tuple(name for name in dict.fromkeys((*before_gone, *gone)) if name not in nodes)
            return OutgoingEvent(messages.NodesChanged(tuple(nodes.values()), removed))
    return later
