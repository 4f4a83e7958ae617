"""Which node downloads the files of web servers, where none was named: the one with the fastest way there."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

import msgspec

from castray_desktop.core.content.urls import redacted_url
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.failures.sentences import explain
from castray_desktop.core.protocol.messages import DownloadPlacement, NodeInfo, PlacementReason, StoreSpeed
from castray_desktop.core.protocol.nodes.agent_orders import (
    DownloadRate,
    MeasureDownload,
    RemoteListing,
    ResolveUrls,
)
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile
from castray_desktop.core.routing.download_nodes import (
    MAX_ASKED,
    SMALL_BYTES,
    bytes_to_measure,
    fastest_node,
    nodes_to_ask,
)
from castray_desktop.workers.casts.agent_directory import AgentDirectory
from castray_desktop.workers.casts.session.cast_status import offline_failure
from castray_desktop.workers.casts.session.download_links import DownloadLinks
from castray_desktop.workers.casts.session.session_context import SessionContext
from castray_desktop.workers.casts.speed_stores import DownloadSpeedStore, RecentDownloaders

MEASURE_SECONDS = 8.0
"""A node that has not measured its rate by then is left out."""

MAX_ASKED_SECONDS = 900.0
"""A cast ends if servers ask it to wait longer than this, in all, before they say what a file is."""

Failures = dict[str, Failure]
"""Why nodes can't download, by their names."""

Waits = dict[str, RemoteListing]
"""Answers of nodes that a server asks to wait, by their names."""

log = logging.getLogger("castray.cast")


async def list_files(
    agents: AgentDirectory,
    nodes: Iterable[str],
    urls: tuple[str, ...],
    failures: Failures,
    waits: Waits,
) -> tuple[str, tuple[RemoteFile, ...]] | None:
    """Ask nodes at once what the addresses stand for; the first one that knows, and what it says.

    None if none does. The reasons are added to `failures`, answers of nodes that a server asks to wait to
    `waits`.
    """
    tasks = [asyncio.create_task(_resolve(agents, node, urls)) for node in nodes]
    try:
        for answer in asyncio.as_completed(tasks):
            node, listing = await answer
            if listing.failure is None:
                return node, listing.files
            failures[node] = listing.failure
            if listing.wait:
                waits[node] = listing
    finally:
        for task in tasks:
            task.cancel()
    return None


async def _resolve(agents: AgentDirectory, node: str, urls: tuple[str, ...]) -> tuple[str, RemoteListing]:
    try:
        reply = await agents.call(node, ResolveUrls(urls))
    except CastRayError as error:
        return node, RemoteListing(failure=error.failure)
    return node, reply if isinstance(reply, RemoteListing) else RemoteListing(failure=offline_failure(node))


def busy_server(waits: Waits) -> Failure | None:
    """Why nothing is known of files whose server answers and asks to wait; None if no server does."""
    return next((listing.problem for listing in waits.values() if listing.busy), None)


def unreachable(url: str, failures: Mapping[str, Failure]) -> Failure:
    """Why no node can download: one reason if it is the same everywhere, otherwise that of each node."""
    reasons = {
        node: item.values.get("reason", "") or explain(item).happened for node, item in failures.items()
    }
    if len(set(reasons.values())) == 1:
        return next(iter(failures.values()))
    each = "; ".join(f"{node}: {reason}" for node, reason in reasons.items())
    return Failure(FailureKind.URL_NOT_REACHED, {"url": redacted_url(url), "reasons": each})


class DownloadPlanner:
    """Finds out what the addresses of a cast stand for, and makes one node its source."""

    def __init__(
        self,
        context: SessionContext,
        links: DownloadLinks,
        speeds: DownloadSpeedStore | None,
        recent: RecentDownloaders,
    ) -> None:
        self._context = context
        self._status = context.status
        self._links = links
        self._speeds = speeds
        self._recent = recent

    @property
    def has_other_source(self) -> bool:
        """Whether the source was lost, and another node may download instead."""
        lost = self._context.source in self._context.absences
        return lost and self._status.chooses_source and bool(self._able())

    async def plan(self, measures: bool = True, patience: float = math.inf) -> None:
        """Set the files to download, and the source where it was not named. Raises CastRayError.

        Without `measures`, only what is known already decides. With less `patience`, in seconds, a store that
        asks to wait longer raises CastRayError(SERVER_BUSY), and so does any web server that asks to wait.
        """
        self._links.check_encrypted(self._status.request.urls)
        if self._status.request.urls and self._is_open:
            await self._choose(measures, patience)
        elif self._status.request.urls:
            await self._list(((self._context.source,),), Failures(), measures, patience)

    @property
    def _is_open(self) -> bool:
        """Whether the source is to be chosen, for the first time or again."""
        download = self._status.download
        if download is None or not self._status.chooses_source:
            return False
        return download.reason is PlacementReason.AWAITED or not self._is_able(self._context.source)

    # --- the choice

    async def _choose(self, measures: bool, patience: float) -> None:
        groups = self._groups()
        failures = Failures()
        lister = await self._list(groups, failures, measures, patience)
        largest = self._links.sample
        if largest is None:
            self._settle(lister or groups[0][0], DownloadPlacement(PlacementReason.SMALL))
            return
        host = urlsplit(largest.url).netloc.rpartition("@")[2]
        if measures and (node := await self._with_most(largest)):
            self._settle(node, DownloadPlacement(PlacementReason.RESUMED, host))
            return
        if measures and (node := await self._with_hashes(largest)):
            self._settle(node, DownloadPlacement(PlacementReason.AGAIN, host))
            return
        known = self._known(host)
        best = fastest_node({speed.node: speed.rate for speed in known}, self._recipients)
        if not measures:
            placement = DownloadPlacement(PlacementReason.AWAITED, host, known)
            self._settle(best or lister or groups[0][0], placement)
            return
        if best is not None and not (await self._measure((best,), largest, 0))[0].failure:
            self._settle(best, DownloadPlacement(PlacementReason.REMEMBERED, host, known))
            return
        size = sum(file.size for file in self._links.files)
        if (size < SMALL_BYTES or not largest.ranges) and lister is not None:
            reason = PlacementReason.SMALL if lister in groups[0] else self._only(lister)
            self._settle(lister, DownloadPlacement(reason, host, _unreached(failures)))
            return
        await self._choose_fastest(groups, largest, host, size, failures)

    async def _with_most(self, file: RemoteFile) -> str:
        """The recipient that received most in the attempt before, and reaches the server: what it has kept is
        not downloaded again. Empty if there is none.
        """
        received = self._status.received_before
        able = [info.name for info in self._able() if info.name in self._status.unfinished]
        asked = sorted((node for node in able if received.get(node)), key=received.__getitem__, reverse=True)
        reached = await self._measure(tuple(asked[:MAX_ASKED]), file, 0)
        return next((speed.node for speed in reached if speed.failure is None), "")

    async def _with_hashes(self, file: RemoteFile) -> str:
        """The node that has downloaded the same files before, if it reaches the server; else empty."""
        node = self._recent.find(self._links.version)
        if node not in {info.name for info in self._able()}:
            return ""
        (reached,) = await self._measure((node,), file, 0)
        return "" if reached.failure is not None else node

    async def _list(
        self, groups: tuple[tuple[str, ...], ...], failures: Failures, patient: bool, patience: float
    ) -> str | None:
        """Find the files; returns the node that was asked for them, if any.

        If `patient`, wait as long as a web server asks for, and as long as a store does within `patience`.
        Raises CastRayError.
        """
        listers = []
        left = MAX_ASKED_SECONDS if patient else 0.0

        async def ask(urls: tuple[str, ...]) -> tuple[RemoteFile, ...]:
            nonlocal left
            while True:
                waits: Waits = {}
                for group in groups:
                    found = await list_files(self._context.agents, group, urls, failures, waits)
                    if found is not None:
                        listers.append(found[0])
                        return found[1]
                first = min(waits, key=lambda node: waits[node].wait, default="")
                seconds = waits[first].wait if first else 0.0
                left -= seconds
                if not seconds or left < 0:
                    busy = busy_server(waits) if patience < math.inf else None
                    raise CastRayError.of(busy or unreachable(urls[0], failures))
                await self._links.wait(seconds, failures[first].values["reason"])
                failures.clear()

        await self._links.resolve(ask, patience)
        await self._links.prepare(patience)
        return listers[0] if listers else None

    async def _choose_fastest(
        self,
        groups: tuple[tuple[str, ...], ...],
        file: RemoteFile,
        host: str,
        size: int,
        failures: Failures,
    ) -> None:
        measures = size >= SMALL_BYTES and file.ranges
        for number, group in enumerate(groups):
            asked = tuple(node for node in group if node not in failures)
            length = bytes_to_measure(size, len(asked)) if measures else 0
            speeds = await self._measure(asked, file, length)
            failures |= {speed.node: speed.failure for speed in speeds if speed.failure is not None}
            reached = {speed.node: speed.rate for speed in speeds if speed.failure is None}
            node = fastest_node(reached, self._recipients)
            if node is None:
                continue
            if self._speeds is not None and any(reached.values()):
                nodes = self._context.agents.nodes.values()
                self._speeds.record(self._context.agents.target, host, nodes, reached)
            reason = PlacementReason.MEASURED if measures else PlacementReason.SMALL
            if number or (len(reached) == 1 and len(group) > 1):
                reason = self._only(node)
            measured = tuple(speed for speed in speeds if speed.failure is None)
            self._settle(node, DownloadPlacement(reason, host, (*measured, *_unreached(failures))))
            return
        raise CastRayError.of(unreachable(file.shown_address, failures))

    async def _measure(self, nodes: tuple[str, ...], file: RemoteFile, length: int) -> tuple[StoreSpeed, ...]:
        """Let nodes download `length` bytes at once; 0: only see whether they reach the server."""

        async def ask(node: str) -> StoreSpeed:
            try:
                reply = await self._context.agents.call(node, MeasureDownload(file, length), MEASURE_SECONDS)
            except CastRayError as error:
                return StoreSpeed(node, failure=error.failure)
            if not isinstance(reply, DownloadRate):
                return StoreSpeed(node, failure=offline_failure(node))
            return StoreSpeed(node, reply.rate, 0.0, reply.failure)

        return tuple(await asyncio.gather(*(ask(node) for node in nodes)))

    def _settle(self, node: str, placement: DownloadPlacement) -> None:
        if placement.reason is not PlacementReason.AWAITED:
            log.info("cast %s: %s downloads: %s", self._context.cast, node, placement.reason)
        if self._context.source not in self._recipients:
            self._context.absences.mark_back(self._context.source)
        self._status.request = msgspec.structs.replace(self._status.request, source=node)
        self._status.download = placement
        self._context.wakeup.changed()

    # --- who is asked

    @property
    def _recipients(self) -> frozenset[str]:
        return frozenset(self._status.recipients)

    def _is_able(self, node: str) -> bool:
        return self._context.is_online(node) and node not in self._context.absences

    def _able(self) -> list[NodeInfo]:
        """Nodes that can be the source."""
        return [
            info
            for name, info in self._context.agents.nodes.items()
            if self._is_able(name) and self._context.encryption_failure(name) is None
        ]

    def _groups(self) -> tuple[tuple[str, ...], ...]:
        """Who is asked, and who else if none of them reaches the server. Raises CastRayError."""
        able, recipients = self._able(), self._recipients
        if not able:
            failure = self._context.encryption_failure(self._context.source)
            raise CastRayError.of(failure or offline_failure(self._context.source))
        asked = nodes_to_ask(node for node in able if node.name in recipients)
        others = [node for node in able if node.name not in recipients and not node.this_computer]
        asked += nodes_to_ask(others, MAX_ASKED - len(asked))
        rest = [node for node in able if node.name not in asked]
        more = nodes_to_ask(node for node in rest if not node.this_computer)
        here = tuple(node.name for node in rest if node.this_computer)
        return tuple(group for group in (asked, more, here) if group)

    def _known(self, host: str) -> tuple[StoreSpeed, ...]:
        """What is remembered of nodes that can download, if there is a recipient among them."""
        if self._speeds is None:
            return ()
        known = self._speeds.speeds(self._context.agents.target, host, self._able())
        return known if any(speed.node in self._recipients for speed in known) else ()

    def _only(self, node: str) -> PlacementReason:
        info = self._context.agents.nodes.get(node)
        here = info is not None and info.this_computer
        return PlacementReason.ONLY_HERE if here else PlacementReason.ONLY


def _unreached(failures: Mapping[str, Failure]) -> tuple[StoreSpeed, ...]:
    return tuple(StoreSpeed(node, failure=failure) for node, failure in failures.items())
