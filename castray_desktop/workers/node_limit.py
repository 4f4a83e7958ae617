"""The limit that every node keeps to over all of its casts: kept in the home, told to every agent."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from pathlib import Path

from castray_desktop.core.failure import CastRayError
from castray_desktop.core.messages import NodeInfo, NodeState
from castray_desktop.workers.agents import Agents
from castray_desktop.workers.ray_side.protocol import SetNodeLimit

TELL_SECONDS = 5.0

log = logging.getLogger("castray.limit")


class NodeLimit:
    """Bytes per second that each node may pass on; 0 is no limit. `file` keeps it over restarts."""

    def __init__(self, file: Path, agents: Agents) -> None:
        self._file = file
        self._agents = agents
        self._told: set[str] = set()  # the nodes that are online, as far as they were seen
        self._chores: set[asyncio.Task[None]] = set()
        self.limit = _load(file)

    async def change(self, limit: int) -> None:
        """Another limit; every agent that answers keeps to it when this returns. Raises OSError."""
        _save(self._file, limit)
        self.limit = limit
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


def _load(file: Path) -> int:
    try:
        limit = json.loads(file.read_bytes())["limit"]
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s can't be read, so there is no limit: %s", file, error)
        return 0
    return limit if isinstance(limit, int) and limit > 0 else 0


def _save(file: Path, limit: int) -> None:
    """Replaced as a whole, so that a crash leaves the old or the new one."""
    fresh = file.with_name(file.name + ".new")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps({"limit": limit}))
    fresh.replace(file)
