"""The orders of one cast to its agents: each within a bounded time, and many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable

from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.workers.agents import Agents
from castray_desktop.workers.ray_side import protocol

CALL_SECONDS = 15.0
"""An agent that has not answered an order by then is taken for lost."""


class Orders:
    """Gives orders; `close` ends those that are still on their way."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents
        self._chores: set[asyncio.Future[None]] = set()

    async def call(self, node: str, order: protocol.Order) -> protocol.Answers | None:
        """One order. Raises CastRayError: NODE_OFFLINE, NODE_SILENT, or INTERNAL when it failed there."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await self._agents.call(node, order)
        except TimeoutError:
            raise CastRayError(FailureKind.NODE_SILENT, node=node, seconds=int(CALL_SECONDS)) from None

    async def tell(self, nodes: Iterable[str], order: protocol.Order) -> None:
        """An order whose loss does not matter, since the loss of a node is dealt with elsewhere."""
        await asyncio.gather(*(self.call(node, order) for node in nodes), return_exceptions=True)

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Future[None]:
        """Have this done beside everything else."""
        task = asyncio.ensure_future(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
        return task

    def close(self) -> None:
        """Nobody is interested in what is still under way."""
        for chore in self._chores:
            chore.cancel()
