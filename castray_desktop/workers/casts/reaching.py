"""Recipients that can't dial their upstreams: the upstreams are told to dial them."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from castray_desktop.core.failure import CastRayError
from castray_desktop.workers.agents import Agents
from castray_desktop.workers.ray_side import protocol
from castray_desktop.workers.ray_side.repeated import Repeated

CALL_SECONDS = 5.0

log = logging.getLogger("castray.cast")


class Reaching:
    """Passes on, once each, what recipients ask for in their reports."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents
        self._asked: dict[tuple[str, str], int] = {}
        self._asking = Repeated(log, logging.INFO, "cast %s: %s is to dial %s")
        self._chores: set[asyncio.Task[None]] = set()

    def reported(self, node: str, report: protocol.DeliveryReport) -> None:
        """A recipient's report, which may ask for being dialled."""
        key = report.cast, node
        if report.asked == self._asked.get(key, 0) or report.state in protocol.FINAL_RECIPIENT_STATES:
            return
        self._asked[key] = report.asked  # fewer than before: its agent is another one
        if not report.asked_upstream:
            return
        chore = asyncio.create_task(self._reach(node, report), name=f"{report.asked_upstream} dials {node}")
        self._chores.add(chore)
        chore.add_done_callback(self._chores.discard)

    def forget(self, cast: str) -> None:
        """The cast has ended."""
        for key in [key for key in self._asked if key[0] == cast]:
            del self._asked[key]

    def close(self) -> None:
        """End what is under way."""
        for chore in self._chores:
            chore.cancel()

    async def _reach(self, node: str, report: protocol.DeliveryReport) -> None:
        self._asking.tell(report.cast, report.asked_upstream, node)
        with contextlib.suppress(
            CastRayError, TimeoutError
        ):  # the recipient asks again, or finds another way
            hello = self._agents.hello(node)
            order = protocol.Reach(report.cast, report.epoch, node, hello.address, hello.port)
            async with asyncio.timeout(CALL_SECONDS):
                await self._agents.call(report.asked_upstream, order)
