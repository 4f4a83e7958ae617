"""Casts that code inside Ray asks its node's agent for: started here, and answered to the agent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from castray_desktop.core.errors import sentence
from castray_desktop.core.failure import CastRayError
from castray_desktop.core.messages import SendRequest, Ways
from castray_desktop.workers.agents import Agents
from castray_desktop.workers.ray_side import protocol

CALL_SECONDS = 15.0

log = logging.getLogger("castray.cast")


class AskedByAgents:
    """Starts what agents ask for in their reports."""

    def __init__(self, agents: Agents, send: Callable[[SendRequest], str]) -> None:
        self._agents = agents
        self._send = send
        self._chores: set[asyncio.Task[None]] = set()

    def take(self, node: str, asked: protocol.TransferRequest) -> None:
        """Start a cast from that node, and tell its agent the id, or why there is none."""
        request = SendRequest(
            asked.paths, asked.recipients, source=node, transport=Ways(asked.transport), leave_out=True
        )
        try:
            answer = protocol.AnswerTransfer(asked.number, self._send(request))
        except CastRayError as error:
            log.warning("%s asked for a cast: %s", node, sentence(error.failure))
            answer = protocol.AnswerTransfer(asked.number, refusal=sentence(error.failure))
        chore = asyncio.create_task(self._tell(node, answer), name=f"answer {node}")
        self._chores.add(chore)
        chore.add_done_callback(self._chores.discard)

    def close(self) -> None:
        """End what is under way."""
        for chore in self._chores:
            chore.cancel()

    async def _tell(self, node: str, answer: protocol.AnswerTransfer) -> None:
        with contextlib.suppress(CastRayError, TimeoutError):  # it has gone, and whoever asked it
            async with asyncio.timeout(CALL_SECONDS):
                await self._agents.call(node, answer)
