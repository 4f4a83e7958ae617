"""Orders that wait for an agent's answer."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import Any

from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.workers.ray_side import protocol

log = logging.getLogger("castray.cluster")


class AgentCalls:
    """Numbers the calls, and hands each answer to whoever waits for it."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[str, asyncio.Future[protocol.Returned]]] = {}
        self._numbers = itertools.count(1)

    async def call(
        self, send: Callable[[Any], None], node: str, order: protocol.Order
    ) -> protocol.Answers | None:
        """Have an agent carry out an order.

        Raises CastRayError: NODE_OFFLINE when it can't be reached, INTERNAL when it could not do it.
        """
        number = next(self._numbers)
        future: asyncio.Future[protocol.Returned] = asyncio.get_running_loop().create_future()
        self._waiting[number] = node, future
        try:
            send(protocol.Call(number, node, order))
            returned = await future
        finally:
            self._waiting.pop(number, None)
        if not returned.error:
            return returned.reply
        log.warning("%s on %s: %s", type(order).__name__, node, returned.error)
        if returned.raised:
            raise CastRayError(FailureKind.INTERNAL, reason=f"{node}: {returned.error}")
        raise CastRayError(FailureKind.NODE_OFFLINE, node=node)

    def returned(self, returned: protocol.Returned) -> None:
        """An answer has come."""
        _, future = self._waiting.get(returned.number, (None, None))
        if future is not None and not future.done():
            future.set_result(returned)

    def lost(self, node: str) -> None:
        """No answer will come from that node's agent."""
        for called, future in self._waiting.values():
            if called == node and not future.done():
                future.set_result(protocol.Returned(0, error="the agent is lost"))
