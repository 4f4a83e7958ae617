"""Files of a node: list a folder, measure paths.

The engine lists this computer's folders itself, so that files can be chosen before there is a cluster. It
lets the agent of this computer measure them, if there is one: the agent keeps the scan for the cast.
"""

from __future__ import annotations

import asyncio

from castray_desktop.core.casts.node_selector import find_node
from castray_desktop.core.failures.kinds import CastRayError, Failure
from castray_desktop.core.protocol.messages import (
    THIS_COMPUTER,
    FolderEntry,
    FolderListing,
    NodeState,
    PathSummary,
)
from castray_desktop.core.protocol.nodes import agent_protocol
from castray_desktop.workers.agent import node_inspection
from castray_desktop.workers.casts.agent_directory import AgentDirectory
from castray_desktop.workers.client.local_files import measure_paths, path_summary

LIST_SECONDS = 20.0
MEASURE_SECONDS = 300.0


async def browse(agents: AgentDirectory, node: str, path: str) -> FolderListing:
    """List a folder of a node. Raises CastRayError if it can't be listed."""
    order = agent_protocol.ListFolder(path)
    if _is_here(agents, node):
        reply = await asyncio.to_thread(node_inspection.list_folder, order)
    else:
        answer = await agents.call(find_node(node, agents.nodes).name, order, LIST_SECONDS)
        reply = answer if isinstance(answer, agent_protocol.FolderReply) else agent_protocol.FolderReply(path)
    if reply.failure is not None:
        raise CastRayError.of(_with_node(reply.failure, node))
    entries = tuple(
        FolderEntry(item.name, item.folder, item.bytes, item.modified, item.link) for item in reply.entries
    )
    return FolderListing(node, reply.path, entries, reply.left_out)


async def measure(
    agents: AgentDirectory, node: str, paths: tuple[str, ...], exclude: tuple[str, ...]
) -> tuple[PathSummary, ...]:
    """Measure paths of a node, in the given order. Raises CastRayError for errors of the node itself."""
    order = agent_protocol.MeasureSizes(paths, exclude)
    if _is_here(agents, node):
        own = [
            info for info in agents.nodes.values() if info.this_computer and info.state is NodeState.ONLINE
        ]
        if len(own) != 1:
            return await asyncio.to_thread(measure_paths, paths, exclude)
        try:
            reply = await agents.call(own[0].name, order, MEASURE_SECONDS)
        except CastRayError:  # its agent is lost
            return await asyncio.to_thread(measure_paths, paths, exclude)
    else:
        reply = await agents.call(find_node(node, agents.nodes).name, order, MEASURE_SECONDS)
    return tuple(map(path_summary, reply.entries)) if isinstance(reply, agent_protocol.MeasureReply) else ()


def _is_here(agents: AgentDirectory, node: str) -> bool:
    if node == THIS_COMPUTER:
        return True
    return find_node(node, agents.nodes).this_computer


def _with_node(failure: Failure, node: str) -> Failure:
    return Failure(failure.kind, {"node": node} | failure.values)
