"""The rate limit of each node over all of its casts, sent to every agent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.protocol.messages import NodeInfo, NodeState
from castray_desktop.core.protocol.nodes.agent_protocol import SetNodeLimit
from castray_desktop.workers.base.settings import SettingsFile
from castray_desktop.workers.casts.session.agent_orders import AgentDirectory

APPLY_SECONDS = 5.0

log = logging.getLogger("castray.limit")


class NodeRateLimit:
    """The rate limit of each node of one cluster, as in the settings; 0 is no limit."""

    def __init__(self, settings: SettingsFile, agents: AgentDirectory) -> None:
        self._settings = settings
        self._agents = agents
        self._told: set[str] = set()  # the nodes that are online, as far as they were seen
        self._chores: set[asyncio.Task[None]] = set()

    @property
    def limit(self) -> int:
        """The current setting."""
        return self._settings.current.limit

    async def apply(self) -> None:
        """The setting changed; every agent that answers applies it before this returns."""
        online = [node.name for node in self._agents.nodes.values() if node.state is NodeState.ONLINE]
        if online:
            await asyncio.wait([self._spawn(name) for name in online], timeout=APPLY_SECONDS)

    def nodes_changed(self, changed: Iterable[NodeInfo], removed: Iterable[str]) -> None:
        """Send the limit to new agents."""
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
        except CastRayError as error:  # a lost agent gets the limit when it is back
            log.warning("%s did not get the limit: %s", node, error)
