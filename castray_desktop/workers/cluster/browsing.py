"""Looking at files of a node: what lies in a folder, and how much lies under a path.

This computer's own are looked at by the engine itself, so that they can be chosen before there is a cluster.
"""

from __future__ import annotations

import asyncio

from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.messages import THIS_COMPUTER, FolderEntry, FolderListing, PathSummary
from castray_desktop.workers.agents import Agents
from castray_desktop.workers.measure import measure_paths, path_summary
from castray_desktop.workers.ray_side import looking, protocol
from castray_desktop.workers.who import find_node

LIST_SECONDS = 20.0
MEASURE_SECONDS = 300.0


async def browse(agents: Agents, node: str, path: str) -> FolderListing:
    """What lies in a folder of a node. Raises CastRayError with what keeps it from being listed."""
    order = protocol.ListFolder(path)
    if _is_here(agents, node):
        reply = await asyncio.to_thread(looking.list_folder, order)
    else:
        answer = await _ask(agents, node, order, LIST_SECONDS)
        reply = answer if isinstance(answer, protocol.FolderReply) else protocol.FolderReply(path)
    if reply.failure is not None:
        raise CastRayError.of(_with_node(reply.failure, node))
    entries = tuple(
        FolderEntry(item.name, item.folder, item.bytes, item.modified, item.link) for item in reply.entries
    )
    return FolderListing(node, reply.path, entries, reply.left_out)


async def measure(
    agents: Agents, node: str, paths: tuple[str, ...], exclude: tuple[str, ...]
) -> tuple[PathSummary, ...]:
    """How much lies under each path of a node, in their order. Raises CastRayError for the node itself."""
    if _is_here(agents, node):
        return await asyncio.to_thread(measure_paths, paths, exclude)
    reply = await _ask(agents, node, protocol.MeasurePaths(paths, exclude), MEASURE_SECONDS)
    return tuple(map(path_summary, reply.entries)) if isinstance(reply, protocol.MeasureReply) else ()


def _is_here(agents: Agents, node: str) -> bool:
    if node == THIS_COMPUTER:
        return True
    return find_node(node, agents.nodes).this_computer


async def _ask(agents: Agents, node: str, order: protocol.Order, seconds: float) -> protocol.Answers | None:
    name = find_node(node, agents.nodes).name
    try:
        async with asyncio.timeout(seconds):
            return await agents.call(name, order)
    except TimeoutError:
        raise CastRayError(FailureKind.NODE_SILENT, node=name, seconds=int(seconds)) from None


def _with_node(failure: Failure, node: str) -> Failure:
    return Failure(failure.kind, {"node": node} | failure.values)
