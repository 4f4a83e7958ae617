"""Files of a node: list a folder, measure paths.

The engine lists this computer's folders itself, so that files can be chosen before there is a cluster. It
lets the agent of this computer measure them, if there is one: the agent keeps the scan for the cast.
"""

from __future__ import annotations

import asyncio

from castray_desktop.core.casts.node_selector import find_node
from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.content.file_names import NamePatterns, display_name
from castray_desktop.core.content.urls import is_store_url, url_file_name
from castray_desktop.core.failures.kinds import CastRayError, Failure
from castray_desktop.core.protocol.messages import (
    THIS_COMPUTER,
    FolderEntry,
    FolderListing,
    MeasurePaths,
    NodeState,
    PathSummary,
)
from castray_desktop.core.protocol.nodes import agent_orders
from castray_desktop.core.routing.download_nodes import nodes_to_ask
from castray_desktop.workers.agent import node_inspection
from castray_desktop.workers.casts.agent_directory import AgentDirectory
from castray_desktop.workers.casts.session.download_planner import (
    Failures,
    Waits,
    busy_server,
    list_files,
    unreachable,
)
from castray_desktop.workers.sources.address_resolver import SHORT_PATIENCE_SECONDS, AddressResolver

LIST_SECONDS = 20.0
MEASURE_SECONDS = 300.0


async def browse(agents: AgentDirectory, node: str, path: str) -> FolderListing:
    """List a folder of a node. Raises CastRayError if it can't be listed."""
    order = agent_orders.ListFolder(path)
    if _is_here(agents, node):
        reply = await asyncio.to_thread(node_inspection.list_folder, order)
    else:
        answer = await agents.call(find_node(node, agents.nodes).name, order, LIST_SECONDS)
        reply = answer if isinstance(answer, agent_orders.FolderReply) else agent_orders.FolderReply(path)
    if reply.failure is not None:
        raise CastRayError.of(_with_node(reply.failure, node))
    entries = tuple(
        FolderEntry(item.name, item.folder, item.bytes, item.modified, item.link) for item in reply.entries
    )
    return FolderListing(node, reply.path, entries, reply.left_out)


async def measure(
    agents: AgentDirectory, resolver: AddressResolver, command: MeasurePaths
) -> tuple[PathSummary, ...]:
    """Measure paths of a node and addresses, in the given order. Raises CastRayError for errors of the node
    itself.

    Without a node, nodes that can download what is on web servers are asked.
    """
    stored = [path for path in command.paths if is_store_url(path)]
    paths = tuple(path for path in command.paths if not is_store_url(path))
    patterns = NamePatterns(command.exclude, command.include)
    found = {path: await _measure_address(resolver, path, patterns) for path in stored}
    if paths:
        found |= zip(paths, await _measure_paths(agents, command.node, paths, patterns), strict=False)
    return tuple(found[path] for path in command.paths if path in found)


async def _measure_address(resolver: AddressResolver, address: str, patterns: NamePatterns) -> PathSummary:
    name = display_name(url_file_name(address))
    options = TransferOptions(exclude=patterns.exclude, include=patterns.include)
    try:
        files = await resolver.list_files(address, options, patience=SHORT_PATIENCE_SECONDS)
    except CastRayError as error:
        return PathSummary(address, name, failure=error.failure)
    folder = any("/" in file.path for file in files)
    return PathSummary(address, name, folder, len(files), sum(file.size for file in files))


async def _measure_paths(
    agents: AgentDirectory, node: str, paths: tuple[str, ...], patterns: NamePatterns
) -> tuple[PathSummary, ...]:
    if not node:
        return tuple(await asyncio.gather(*(_measure_web_address(agents, path) for path in paths)))
    order = agent_orders.MeasureSizes(paths, *patterns)
    if _is_here(agents, node):
        own = [
            info for info in agents.nodes.values() if info.this_computer and info.state is NodeState.ONLINE
        ]
        if len(own) != 1:
            return await asyncio.to_thread(_measure_here, paths, patterns)
        try:
            reply = await agents.call(own[0].name, order, MEASURE_SECONDS)
        except CastRayError:  # its agent is lost
            return await asyncio.to_thread(_measure_here, paths, patterns)
    else:
        reply = await agents.call(find_node(node, agents.nodes).name, order, MEASURE_SECONDS)
    return tuple(map(_summary, reply.entries)) if isinstance(reply, agent_orders.MeasureReply) else ()


def _measure_here(paths: tuple[str, ...], patterns: NamePatterns) -> tuple[PathSummary, ...]:
    """Measure paths of this computer without an agent. Blocking: reads every folder below them."""
    return tuple(_summary(node_inspection.measure_path(path, patterns)) for path in paths)


def _summary(size: agent_orders.PathSize) -> PathSummary:
    return PathSummary(size.path, size.name, size.folder, size.files, size.bytes, size.failure)


async def _measure_web_address(agents: AgentDirectory, url: str) -> PathSummary:
    """What the first node says that reaches the server; this computer is asked if no other node does."""
    online = [node for node in agents.nodes.values() if node.state is NodeState.ONLINE]
    others = nodes_to_ask(node for node in online if not node.this_computer)
    here = tuple(node.name for node in online if node.this_computer)
    failures: Failures = {}
    waits: Waits = {}
    name = display_name(url_file_name(url))
    for group in (others, here):
        if group and (found := await list_files(agents, group, (url,), failures, waits)) is not None:
            files = found[1]
            return PathSummary(url, name, False, len(files), sum(file.size for file in files))
    if (busy := busy_server(waits)) is not None:
        return PathSummary(url, name, failure=busy)
    if not failures:  # there are no nodes yet
        return (await asyncio.to_thread(_measure_here, (url,), NamePatterns()))[0]
    return PathSummary(url, name, failure=unreachable(url, failures))


def _is_here(agents: AgentDirectory, node: str) -> bool:
    return node == THIS_COMPUTER or find_node(node, agents.nodes).this_computer


def _with_node(failure: Failure, node: str) -> Failure:
    return Failure(failure.kind, {"node": node} | failure.values)
