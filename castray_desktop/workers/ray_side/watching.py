"""Watches the cluster for the driver: which nodes are alive, and whether the head still is.

Ray itself would notice a lost head after a minute only, and end the driver then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, Callable

from castray_desktop.core.failure import Failure, FailureKind
from castray_desktop.workers.ray_side import protocol

LOOK_SECONDS = 1.0
KNOCK_SECONDS = 1.0
KNOCKS = 2
"""So many vain attempts in a row to connect to the head, and it is gone."""

ERRORS = 5
"""Likewise when Ray raises an error so many times in a row: its own connection has broken."""

log = logging.getLogger("castray.driver")

Nodes = tuple[protocol.RayNode, ...]


class ClusterWatch:
    """Looks once a second. `look` asks Ray for its nodes and may block; `tell` takes what is new."""

    def __init__(self, target: str, up: protocol.ClusterUp, look: Callable[[], Nodes]) -> None:
        self._target = target
        self._address = up.address
        self._nodes = up.nodes
        self._look = look
        self._looking: Any = None
        self._errors = 0

    async def run(self, tell: Callable[[Any], None]) -> None:
        """Watch until the head is gone, which is told as `ClusterFailed`."""
        knocks = 0
        while knocks < KNOCKS and self._errors < ERRORS:
            await asyncio.sleep(LOOK_SECONDS)
            knocks = 0 if await answers(self._address, KNOCK_SECONDS) else knocks + 1
            nodes = await self._seen() if not knocks else self._nodes
            if nodes != self._nodes:
                self._nodes = nodes
                tell(protocol.NodesSeen(nodes))
        log.error("the head at %s does not answer", self._address)
        tell(protocol.ClusterFailed(Failure(FailureKind.CLUSTER_LOST, {"target": self._target})))

    async def _seen(self) -> Nodes:
        """The nodes as of now, or as of before while Ray does not answer; it is asked by one thread."""
        if self._looking is None:
            self._looking = asyncio.get_running_loop().run_in_executor(None, self._look)
        done, _ = await asyncio.wait([self._looking], timeout=LOOK_SECONDS)
        if not done:
            return self._nodes
        looked, self._looking = self._looking, None
        if (error := looked.exception()) is not None:  # the head is asked again, and knocked at
            self._errors += 1
            log.warning("Ray does not say which nodes there are: %s", error)
            return self._nodes
        self._errors = 0
        nodes: Nodes = looked.result()
        return nodes


async def answers(address: str, seconds: float) -> bool:
    """Whether anything takes connections at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        opening = asyncio.open_connection(host.strip("[]"), int(port))
        _, writer = await asyncio.wait_for(opening, seconds)
    except (OSError, ValueError, asyncio.TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
