"""The remote files of a cast: what its addresses stand for, and links that can be used now."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence

from castray_desktop.core.content.urls import is_store_url
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.nodes import agent_reports
from castray_desktop.core.protocol.nodes.agent_orders import FreshLink, RenewLinks
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile
from castray_desktop.workers.casts.session.session_context import SessionContext
from castray_desktop.workers.sources.address_resolver import AddressResolver, merge_listings

log = logging.getLogger("castray.cast")

ATTEMPT_DELAYS = (1.0, 2.0, 5.0, 10.0, 20.0)
"""Pauses between attempts to renew links at a store that can't be reached."""

CHECK_SECONDS = 60.0
"""So often it is looked whether links expire soon: a computer that was asleep wakes up with old ones."""

SHORTEST_SECONDS = 5.0
"""Between renewals, however soon links expire."""

AskNodes = Callable[[tuple[str, ...]], Awaitable[tuple[RemoteFile, ...]]]
"""Asks nodes for the files that addresses of web servers stand for. Raises CastRayError."""


class DownloadLinks:
    """Finds the remote files once, and renews their links: half of their time before they expire, when a node
    says that they are refused, and for a node that begins with the download.
    """

    def __init__(
        self,
        context: SessionContext,
        resolver: AddressResolver,
        wall: Callable[[], float],
        files: tuple[RemoteFile, ...] = (),
    ) -> None:
        """`files` are those of a checkpoint, without links."""
        self.files = files
        self._context = context
        self._status = context.status
        self._resolver = resolver
        self._wall = wall
        self._due = 0.0  # when links are renewed, POSIX seconds; 0: never
        self._number = 1  # of the links that the node has
        self._wanted = asyncio.Event()  # a node waits for links
        self._keeping: asyncio.Task[None] | None = None

    @property
    def stored(self) -> tuple[RemoteFile, ...]:
        """The files, for a checkpoint."""
        return tuple(file.without_link() for file in self.files)

    @property
    def version(self) -> str:
        """A digest of the versions of the files; empty if there are none. Where a server says neither ETag,
        checksum nor date of a file, each attempt of a cast has another version.
        """
        if not self.files:
            return ""
        hasher = hashlib.sha256()
        for file in self.files:
            known = file.etag or file.checksum or file.contents or file.target or file.modified_ns
            known = known or f"of {self._status.started}"
            hasher.update(f"{file.path} {file.size} {known}\n".encode(errors="surrogateescape"))
        return hasher.hexdigest()

    async def resolve(self, ask_nodes: AskNodes) -> None:
        """Find out what the addresses of the request stand for, once. Raises CastRayError."""
        urls = self._status.request.urls
        if not urls or self.files:
            return
        options = self._status.request.options
        found: dict[str, Sequence[RemoteFile]] = {}
        if web := tuple(url for url in urls if not is_store_url(url)):
            found.update(zip(web, ((file,) for file in await ask_nodes(web)), strict=True))
        for url in filter(is_store_url, urls):
            found[url] = await self._resolver.list_files(url, options, self._waiting)
        self.files = merge_listings({url: found[url] for url in urls}, options.layout)

    def _waiting(self, reason: str) -> None:
        """A store lets wait, or no more."""
        self._status.store_waits(Failure(FailureKind.SERVER_AWAITED, {"reason": reason}) if reason else None)
        self._context.wakeup.wake()

    async def wait(self, seconds: float, reason: str) -> None:
        """Wait as long as a server asks for, and say so."""
        self._waiting(reason)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._waiting("")

    async def prepare(self) -> None:
        """Before a node gets the files: links that are not there or expire soon are renewed. Raises
        CastRayError."""
        self._number = 1
        lacking = any(file.address and not (file.url or file.contents) for file in self.files)
        if lacking or (self._due and self._wall() >= self._due):
            await self._renew()

    def keep_fresh(self) -> None:
        """Renew links from now on, for as long as the cast runs."""
        if self._keeping is None and any(file.address for file in self.files):
            self._keeping = self._context.background.run(self._keep_fresh())

    def source_reported(self, report: agent_reports.SourceReport) -> None:
        """The node that downloads may wait for links."""
        if report.links_wanted > self._number:
            self._wanted.set()

    async def _keep_fresh(self) -> None:
        while True:
            await self._until_due()
            asked = self._wanted.is_set()
            self._wanted.clear()
            number, source = self._number, self._context.source
            try:
                await self._renew()
            except CastRayError as error:
                if not asked:  # those that it has are still good
                    log.warning("cast %s: links were not renewed: %s", self._context.cast, error.failure.kind)
                    self._due = self._wall() + CHECK_SECONDS
                    continue
                self._context.order_failed(self._context.source, error.failure)
                return
            if (number, source) == (self._number, self._context.source):
                self._number += 1
                self._wanted.clear()  # by reports that came meanwhile
                links = tuple(
                    FreshLink(file.address, file.url, file.authorization)
                    for file in self.files
                    if file.address
                )
                order = RenewLinks(self._context.cast, self._number, links)
                await self._context.broadcast((source,), order)

    async def _until_due(self) -> None:
        while not self._wanted.is_set() and not (self._due and self._wall() >= self._due):
            try:
                left = min(self._due - self._wall(), CHECK_SECONDS) if self._due else None
                async with asyncio.timeout(left):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def _renew(self) -> None:
        """Get new links. Raises CastRayError."""
        delays = iter(ATTEMPT_DELAYS)
        while True:
            try:
                self.files = await self._resolver.with_links(self.files, self._waiting)
                break
            except CastRayError as error:
                delay = next(delays, None)
                if error.failure.kind is not FailureKind.STORE_UNREACHABLE or delay is None:
                    raise
            await asyncio.sleep(delay)
        now, ends = self._wall(), [file.expires for file in self.files if file.expires]
        self._due = now + max((min(ends) - now) / 2, SHORTEST_SECONDS) if ends else 0.0
