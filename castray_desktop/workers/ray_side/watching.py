"""Watches the cluster for the driver: which nodes are alive, and whether the head still is.

Ray itself would notice a lost head after a minute only, and end the driver then.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Callable

from castray_desktop.core.failure import Failure, FailureKind
from castray_desktop.workers.ray_side import protocol
from castray_desktop.workers.ray_side.knocking import Answer, NodeKnocks, knock

LOOK_SECONDS = 1.0
AGAIN_SECONDS = 0.3
KNOCKS = 2
"""So many vain attempts in a row to connect to the head, and it is gone."""

ERRORS = 5
"""Likewise when Ray raises an error so many times in a row: its own connection has broken."""

PATIENCE = 3
"""A look that Ray does not answer counts as a third of an error a second."""

log = logging.getLogger("castray.driver")

Nodes = tuple[protocol.RayNode, ...]


class ClusterWatch:
    """Looks once a second; `tell` takes what is new.

    `look` asks Ray for its nodes, `is_autoscaled` whether it takes them away; both may block.
    """

    def __init__(
        self,
        target: str,
        up: protocol.ClusterUp,
        look: Callable[[], Nodes],
        is_autoscaled: Callable[[], bool] = bool,
    ) -> None:
        self._target = target
        self._address = up.address
        self._through_head = any(node.mine and not node.node_id for node in up.nodes)
        self._nodes = self._alive = up.nodes
        self._look = look
        self._is_autoscaled = is_autoscaled
        self._knocks = NodeKnocks()
        self._looking: Any = None
        self._errors = 0.0

    async def run(self, tell: Callable[[Any], None]) -> None:
        """Watch until the head is gone, or every node; that is told as `ClusterFailed`."""
        knocks = 0
        while knocks < KNOCKS and self._errors < ERRORS:
            await asyncio.sleep(AGAIN_SECONDS if knocks else LOOK_SECONDS)
            host, _, port = self._address.rpartition(":")
            knocks = 0 if await knock(host, int(port)) is Answer.THERE else knocks + 1
            if not knocks:
                await self._compare(tell)
            if not self._nodes:
                break
        log.error("the cluster at %s does not answer", self._address)
        tell(protocol.ClusterFailed(Failure(FailureKind.CLUSTER_LOST, {"target": self._target})))

    async def _compare(self, tell: Callable[[Any], None]) -> None:
        """Tell of the nodes where they are others than before."""
        self._alive = await self._seen()
        nodes = await self._knocks.present(self._alive)
        head_gone = any(node.head for node in self._alive) and not any(node.head for node in nodes)
        if head_gone and self._through_head:
            nodes = ()  # what serves us ends with the head's raylet
        if nodes != self._nodes:
            self._nodes = nodes
            if nodes:
                ask = asyncio.get_running_loop().run_in_executor
                tell(protocol.NodesSeen(nodes, await ask(None, self._is_autoscaled)))

    async def _seen(self) -> Nodes:
        """The nodes as of now, or as of before while Ray does not answer; it is asked by one thread."""
        if self._looking is None:
            self._looking = asyncio.get_running_loop().run_in_executor(None, self._look)
        done, _ = await asyncio.wait([self._looking], timeout=LOOK_SECONDS)
        if not done:
            self._errors += 1 / PATIENCE
            return self._alive
        looked, self._looking = self._looking, None
        if (error := looked.exception()) is not None:  # the head is asked again, and knocked at
            self._errors += 1
            log.warning("Ray does not say which nodes there are: %s", error)
            return self._alive
        self._errors = 0.0
        nodes: Nodes = looked.result()
        return nodes
