"""The limit that every node keeps to over all of its casts: told to every agent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from castray_desktop.core.failure import CastRayError
from castray_desktop.core.messages import NodeInfo, NodeState
from castray_desktop.workers.agents import Agents
from castray_desktop.workers.ray_side.protocol import SetNodeLimit
from castray_desktop.workers.settings import SettingsFile

TELL_SECONDS = 5.0

log = logging.getLogger("castray.limit")


class NodeLimit:
    """Bytes per second that each node of one cluster may pass on, as the settings have it; 0 is no limit."""

    def __init__(self, settings: SettingsFile, agents: Agents) -> None:
        self._settings = settings
        self._agents = agents
        self._told: set[str] = set()  # the nodes that are online, as far as they were seen
        self._chores: set[asyncio.Task[None]] = set()

    @property
    def limit(self) -> int:
        """As the settings have it now."""
        return self._settings.current.limit

    async def tell(self) -> None:
        """The settings have another limit; every agent that answers keeps to it when this returns."""
        online = [node.name for node in self._agents.nodes.values() if node.state is NodeState.ONLINE]
        if online:
            await asyncio.wait([self._spawn(name) for name in online], timeout=TELL_SECONDS)

    def nodes_changed(self, changed: Iterable[NodeInfo], removed: Iterable[str]) -> None:
        """Agents that have just been placed are told."""
        for node in changed:
            if node.state is not NodeState.ONLINE:
                self._told.discard(node.name)
            elif node.name not in self._told:
                self._told.add(node.name)
                if self.limit:  # a new agent has none
                    self._spawn(node.name)
        self._told.difference_update(removed)

    def _spawn(self, node: str) -> asyncio.Task[None]:
        chore = asyncio.create_task(self._tell(node, self.limit), name=f"limit {node}")
        self._chores.add(chore)
        chore.add_done_callback(self._chores.discard)
        return chore

    async def _tell(self, node: str, limit: int) -> None:
        try:
            await self._agents.call(node, SetNodeLimit(limit))
        except CastRayError as error:  # an agent that was lost is told when it is back
            log.warning("%s was not told the limit: %s", node, error)
