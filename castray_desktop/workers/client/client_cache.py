"""A client's copy of the engine's state, kept up to date by events, and a client that reconnects."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TypeVar

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import (
    CastSummary,
    ClusterStatus,
    DeliverySnapshot,
    NodeInfo,
    Throughput,
)
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.client.engine_client import EngineClient

_NOTHING = messages.Welcome(protocol=0, version="", pid=0, cluster=ClusterStatus(), nodes=(), casts=())


class ClientCache:
    """The cluster, its nodes, casts and deliveries, as reported by the engine.

    `version` counts the changes, so that derived data can be cached.
    """

    def __init__(self, welcome: messages.Welcome = _NOTHING) -> None:
        self.version = 0
        self._start_over(welcome)

    def _start_over(self, welcome: messages.Welcome) -> None:
        self.pid = welcome.pid
        self.cluster = welcome.cluster
        self.nodes: dict[str, NodeInfo] = {node.name: node for node in welcome.nodes}
        self.casts: dict[str, CastSummary] = {cast.cast: cast for cast in welcome.casts}
        self.throughput: Throughput | None = None
        self._deliveries: dict[str, dict[str, DeliverySnapshot]] = {
            cast: {item.node: item for item in deliveries} for cast, deliveries in welcome.deliveries.items()
        }

    def apply_event(self, event: messages.Event) -> None:
        """Apply an event. Events without effect here are ignored."""
        self.version += 1
        match event:
            case messages.Welcome():
                self._start_over(event)
            case messages.ClusterChanged(status):
                self.cluster = status
            case messages.NodesChanged(changed, removed):
                self.nodes.update({node.name: node for node in changed})
                for name in removed:
                    self.nodes.pop(name, None)
            case messages.CastChanged(summary):
                self.casts[summary.cast] = summary
            case messages.DeliveriesChanged(cast, deliveries):
                self._deliveries.setdefault(cast, {}).update({item.node: item for item in deliveries})
            case messages.CastResult(summary, deliveries):
                self.casts[summary.cast] = summary
                self._deliveries[summary.cast] = {item.node: item for item in deliveries}
            case messages.CastsRemoved(casts):
                for cast in casts:
                    self.casts.pop(cast, None)
                    self._deliveries.pop(cast, None)
            case Throughput():
                self.throughput = event

    def deliveries(self, cast: str) -> tuple[DeliverySnapshot, ...]:
        """A cast's deliveries; none for an unknown cast."""
        return tuple(self._deliveries.get(cast, {}).values())

    @property
    def active(self) -> tuple[CastSummary, ...]:
        """The casts that have not ended, oldest first."""
        return tuple(cast for cast in self.casts.values() if not cast.state.finished)

    def find(self, cast: str) -> CastSummary | None:
        """The cast with that id, or with the only id that starts with it."""
        fitting = [summary for known, summary in self.casts.items() if known.startswith(cast)] if cast else []
        return fitting[0] if len(fitting) == 1 else None


ReplyType = TypeVar("ReplyType", bound=messages.Message)

RECONNECT_SECONDS = 1.0

log = logging.getLogger("castray.client")


class ReconnectingClient:
    """Keeps `cache` up to date and forwards every event, starting with the complete state of each new
    connection.

    A killed engine is restarted; one that stopped normally is waited for.
    """

    def __init__(self, paths: Paths, kind: str, target: str = "") -> None:
        """`target` is the cluster to show; by default the one in use."""
        self.cache = ClientCache()
        self._paths = paths
        self._kind = kind
        self._listeners: list[Callable[[messages.Event], None]] = []
        self._client: EngineClient | None = None
        self._following: asyncio.Task[None] | None = None
        self._target = target

    def add_listener(self, listener: Callable[[messages.Event], None]) -> None:
        """Pass every future event to `listener`, after the cache was updated."""
        self._listeners.append(listener)

    async def open(self) -> None:
        """Connect for the first time, starting an engine if there is none. Raises CastRayError."""
        client = await EngineClient.connect(self._paths, self._kind)
        await self._take(client)
        self._following = asyncio.create_task(self._follow(client), name="engine connection")

    async def close(self) -> None:
        """Close the connection."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
        if self._client is not None:
            await self._client.close()
            self._client = None

    @property
    def connected(self) -> bool:
        return self._client is not None

    async def request(self, command: messages.Command, expect: type[ReplyType]) -> ReplyType:
        """See `EngineClient.request`; ENGINE_UNREACHABLE while there is no connection."""
        if self._client is None:
            raise CastRayError(FailureKind.ENGINE_UNREACHABLE, reason="it has stopped")
        return await self._client.request(command, expect)

    async def _take(self, client: EngineClient) -> None:
        """Use this connection, and select the cluster again, since a new engine has none yet."""
        self._client = client
        self._hear(client.welcome)
        if self._target and self._target != self.cache.cluster.target:
            with contextlib.suppress(CastRayError):
                await client.request(messages.UseCluster(self._target), messages.Done)

    def _hear(self, event: messages.Event) -> None:
        self.cache.apply_event(event)
        for listener in self._listeners:
            listener(event)

    async def _follow(self, client: EngineClient) -> None:
        while True:
            async for event in client.events():
                self._hear(event)
            self._client = None
            await client.close()
            log.warning("the connection to the engine was lost")
            client = await self._connect_again()
            await self._take(client)

    async def _connect_again(self) -> EngineClient:
        while True:
            try:
                # An engine that stops normally removes its socket; a killed one leaves it.
                return await EngineClient.connect(self._paths, self._kind, start=self._paths.socket.exists())
            except CastRayError as error:
                log.info("the engine is not reachable: %s", error.failure.values)
                await asyncio.sleep(RECONNECT_SECONDS)
