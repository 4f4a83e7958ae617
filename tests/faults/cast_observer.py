"""A client of the engine that keeps the state of casts, waits for conditions, and survives the engine."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastState, ClusterPhase, DeliverySnapshot, NodeState
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.client.client_cache import ClientCache
from castray_desktop.workers.client.engine_client import EngineClient

CONNECT_SECONDS = 30.0
RETRY_SECONDS = 0.1


class CastObserver:
    """Follows one engine after another, and keeps the state of the latest in `cache`.

    `results` are those of all engines, `moments` the times at which deliveries ended, in seconds of the
    monotonic clock, by cast and node.
    """

    def __init__(self, paths: Paths) -> None:
        self.cache = ClientCache()
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
        self._hear(self._client.welcome)
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
            raise TimeoutError(f"not within {seconds:.0f} s: {what}; {self.cache.cluster.phase}") from None

    async def _follow(self, client: EngineClient) -> None:
        async for event in client.events():
            self._hear(event)
            self._news.set()
        self.engine_ended = True
        self._news.set()

    def _hear(self, event: messages.Event) -> None:
        self.cache.apply_event(event)
        match event:
            case messages.Welcome():
                for cast in event.deliveries:
                    self._note_ends(cast)
            case messages.DeliveriesChanged(cast):
                self._note_ends(cast)
            case messages.CastResult(summary):
                self._note_ends(summary.cast)
                self.results[summary.cast] = event

    def _note_ends(self, cast: str) -> None:
        for delivery in self.cache.deliveries(cast):
            if not delivery.state.finished:
                self.moments.pop((cast, delivery.node), None)
            else:
                self.moments.setdefault((cast, delivery.node), time.monotonic())

    # --- what it knows

    def is_ready(self, nodes: int) -> bool:
        """Whether the cluster is ready with so many nodes online."""
        cluster = self.cache.cluster
        return cluster.phase is ClusterPhase.READY and cluster.nodes_ready == nodes

    def name_at(self, address: str) -> str:
        """The node at an address. Raises LookupError."""
        for node in self.cache.nodes.values():
            if node.address == address:
                return node.name
        raise LookupError(f"no node at {address}")

    def is_online(self, node: str) -> bool:
        """Whether it is."""
        info = self.cache.nodes.get(node)
        return info is not None and info.state is NodeState.ONLINE

    def state(self, cast: str) -> CastState | None:
        """The state of a cast, None before it is heard of."""
        summary = self.cache.casts.get(cast)
        return summary.state if summary is not None else None

    def chain(self, cast: str) -> tuple[str, ...]:
        """The source and the recipients in the order of its route; empty before there is one."""
        summary = self.cache.casts.get(cast)
        return summary.chain if summary is not None else ()

    def delivery(self, cast: str, node: str) -> DeliverySnapshot | None:
        """The delivery to a node, None before it is heard of."""
        return next((item for item in self.cache.deliveries(cast) if item.node == node), None)

    def has(self, cast: str, node: str) -> int:
        """Verified bytes of the contents that a node has."""
        delivery = self.delivery(cast, node)
        return delivery.bytes if delivery is not None else 0

    def ended(self, cast: str, node: str) -> bool:
        """Whether the delivery to a node has ended."""
        delivery = self.delivery(cast, node)
        return delivery is not None and delivery.state.finished
