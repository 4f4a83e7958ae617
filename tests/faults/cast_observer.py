"""A client of the engine that keeps the state of casts, waits for conditions, and survives the engine."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import (
    CastState,
    ClusterPhase,
    DeliverySnapshot,
    NodeInfo,
    NodeState,
)
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.client.engine_client import EngineClient

CONNECT_SECONDS = 30.0
RETRY_SECONDS = 0.1


class CastObserver:
    """Follows one engine after another. `moments` are the times at which deliveries ended, in seconds of the
    monotonic clock, by cast and node."""

    def __init__(self, paths: Paths) -> None:
        self.cluster = messages.ClusterStatus()
        self.nodes: dict[str, NodeInfo] = {}
        self.casts: dict[str, messages.CastSummary] = {}
        self.deliveries: dict[str, dict[str, DeliverySnapshot]] = {}
        self.results: dict[str, messages.CastResult] = {}
        self.moments: dict[tuple[str, str], float] = {}
        self.engine_ended = True
        self._paths = paths
        self._client: EngineClient | None = None
        self._following: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    @property
    def client(self) -> EngineClient:
        """The connection. Raises RuntimeError if there is none."""
        if self._client is None:
            raise RuntimeError("not connected")
        return self._client

    async def connect(self) -> None:
        """Connect to the engine that runs. Raises CastRayError, TimeoutError."""
        await self.close()
        async with asyncio.timeout(CONNECT_SECONDS):
            while self._client is None:
                try:
                    self._client = await EngineClient.connect(self._paths, "faults", start=False)
                except CastRayError:
                    await asyncio.sleep(RETRY_SECONDS)
        self.engine_ended = False
        self._welcomed(self._client.welcome)
        self._following = asyncio.create_task(self._follow(self._client))

    async def close(self) -> None:
        """Disconnect."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
        if self._client is not None:
            await self._client.close()
        self._client = self._following = None

    async def until(self, what: str, done: Callable[[], object], seconds: float) -> None:
        """Wait for the condition, which events change. Raises TimeoutError with `what`."""
        try:
            async with asyncio.timeout(seconds):
                while not done():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}; {self.cluster.phase}") from None

    async def _follow(self, client: EngineClient) -> None:
        async for event in client.events():
            match event:
                case messages.Welcome():
                    self._welcomed(event)
                case messages.ClusterChanged(status):
                    self.cluster = status
                case messages.NodesChanged(changed, removed):
                    self.nodes |= {node.name: node for node in changed}
                    for name in removed:
                        self.nodes.pop(name, None)
                case messages.CastChanged(summary):
                    self.casts[summary.cast] = summary
                case messages.DeliveriesChanged(cast, deliveries):
                    self._delivered(cast, deliveries)
                case messages.CastResult(summary, deliveries):
                    self.casts[summary.cast] = summary
                    self._delivered(summary.cast, deliveries)
                    self.results[summary.cast] = event
            self._news.set()
        self.engine_ended = True
        self._news.set()

    def _welcomed(self, welcome: messages.Welcome) -> None:
        self.cluster = welcome.cluster
        self.nodes = {node.name: node for node in welcome.nodes}
        self.casts |= {summary.cast: summary for summary in welcome.casts}
        for cast, deliveries in welcome.deliveries.items():
            self._delivered(cast, deliveries)

    def _delivered(self, cast: str, deliveries: tuple[DeliverySnapshot, ...]) -> None:
        known = self.deliveries.setdefault(cast, {})
        for delivery in deliveries:
            before = known.get(delivery.node)
            known[delivery.node] = delivery
            if delivery.state.finished and not (before and before.state.finished):
                self.moments[cast, delivery.node] = time.monotonic()

    # --- what it knows

    def is_ready(self, nodes: int) -> bool:
        """Whether the cluster is ready with so many nodes online."""
        return self.cluster.phase is ClusterPhase.READY and self.cluster.nodes_ready == nodes

    def name_at(self, address: str) -> str:
        """The node at an address. Raises LookupError."""
        for node in self.nodes.values():
            if node.address == address:
                return node.name
        raise LookupError(f"no node at {address}")

    def is_online(self, node: str) -> bool:
        """Whether it is."""
        info = self.nodes.get(node)
        return info is not None and info.state is NodeState.ONLINE

    def state(self, cast: str) -> CastState | None:
        """The state of a cast, None before it is heard of."""
        summary = self.casts.get(cast)
        return summary.state if summary is not None else None

    def chain(self, cast: str) -> tuple[str, ...]:
        """The source and the recipients in the order of its route; empty before there is one."""
        summary = self.casts.get(cast)
        return summary.chain if summary is not None else ()

    def has(self, cast: str, node: str) -> int:
        """Verified bytes of the contents that a node has."""
        delivery = self.deliveries.get(cast, {}).get(node)
        return delivery.bytes if delivery is not None else 0

    def ended(self, cast: str, node: str) -> bool:
        """Whether the delivery to a node has ended."""
        delivery = self.deliveries.get(cast, {}).get(node)
        return delivery is not None and delivery.state.finished
