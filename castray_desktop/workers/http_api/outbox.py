"""What a WebSocket client has not been sent yet: it may lose progress, and never anything else."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Hashable

import msgspec

from castray_desktop.core import messages
from castray_desktop.core.forms import whole

LOST_MESSAGES = 20_000
"""A client with more than this many results waiting is disconnected; it gets the whole picture next time."""


class Outgoing:
    """An event on its way to any number of clients: its JSON is made once."""

    def __init__(self, event: messages.Event) -> None:
        self.event = event

    @functools.cached_property
    def text(self) -> str:
        return msgspec.json.encode(whole(self.event)).decode()


class Outbox:
    """One client's queue. Of messages that the next one makes needless, only the last one stays."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, Outgoing] = {}
        self._numbers = 0
        self._filled = asyncio.Event()
        self.overrun = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, outgoing: Outgoing) -> None:
        """Take in an event; it follows whatever is there."""
        key = _key(outgoing.event)
        if key is not None and (earlier := self._waiting.pop(key, None)) is not None:
            outgoing = _merged(earlier, outgoing)
        if key is None or _is_end(outgoing.event):
            self._numbers += 1
            key = self._numbers
        self._waiting[key] = outgoing
        self.overrun = self.overrun or len(self._waiting) > LOST_MESSAGES
        self._filled.set()

    async def take(self) -> str:
        """The next message as JSON; waits for one."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        return self._waiting.pop(next(iter(self._waiting))).text


def _key(event: messages.Event) -> Hashable | None:
    """The same for events of which the later one makes the earlier one needless; None for all others."""
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
    """Whether something has ended by it: nothing that comes later may take its place."""
    match event:
        case messages.CastChanged(summary):
            return summary.state.finished
        case messages.DeliveriesChanged(_, deliveries):
            return any(item.state.finished for item in deliveries)
    return False


def _merged(earlier: Outgoing, later: Outgoing) -> Outgoing:
    """The later one, with what only the earlier one tells."""
    match earlier.event, later.event:
        case messages.DeliveriesChanged(cast, before), messages.DeliveriesChanged(_, after):
            deliveries = {item.node: item for item in (*before, *after)}
            return Outgoing(messages.DeliveriesChanged(cast, tuple(deliveries.values())))
        case messages.NodesChanged(before_nodes, before_gone), messages.NodesChanged(after_nodes, gone):
            nodes = {node.name: node for node in before_nodes if node.name not in gone}
            nodes |= {node.name: node for node in after_nodes}
            removed = tuple(name for name in dict.fromkeys((*before_gone, *gone)) if name not in nodes)
            return Outgoing(messages.NodesChanged(tuple(nodes.values()), removed))
    return later
