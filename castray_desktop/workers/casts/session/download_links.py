"""The remote files of a cast: what its addresses stand for, and links for those that are downloaded next."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import itertools
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence

from castray_desktop.core.casts.transfer_options import Encryption
from castray_desktop.core.content.urls import is_store_url, redacted_url, url_scheme
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.nodes import agent_reports
from castray_desktop.core.protocol.nodes.agent_orders import FileLink, GiveLinks
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile
from castray_desktop.core.protocol.nodes.driver_protocol import LINE_LIMIT
from castray_desktop.core.protocol.nodes.packed_listing import pack_listing
from castray_desktop.workers.casts.session.session_context import SessionContext
from castray_desktop.workers.sources.address_resolver import AddressResolver, merge_listings

log = logging.getLogger("castray.cast")

BATCH_FILES = 1000
"""Number of files that get links at once. With session tokens a batch has 1.7 MB, which driver and agent
decode in some hundredths of a second.
"""

ATTEMPT_DELAYS = (1.0, 2.0, 5.0, 10.0, 20.0)
"""Pauses between attempts to make links of a store that can't be reached."""

SHORTEST_SECONDS = 5.0
"""Links are taken to be valid for so long at least, or they would be asked for all the time."""

MAX_LISTING = LINE_LIMIT * 3 // 4
"""Bytes of a packed listing, which is part of one message."""

AskNodes = Callable[[tuple[str, ...]], Awaitable[tuple[RemoteFile, ...]]]
"""Asks nodes for the files that addresses of web servers stand for. Raises CastRayError."""


class DownloadLinks:
    """Finds the remote files once, and makes links of those that the node which downloads asks for."""

    def __init__(
        self,
        context: SessionContext,
        resolver: AddressResolver,
        wall: Callable[[], float],
        files: tuple[RemoteFile, ...] = (),
    ) -> None:
        """`files` are those of a checkpoint."""
        self.files = files  # without links to stores
        self.listing = ""  # the same, packed for the node that downloads; see `prepare`
        self.sample: RemoteFile | None = None
        """The largest file that a node downloads, with its link; see `prepare`."""
        self._context = context
        self._status = context.status
        self._resolver = resolver
        self._wall = wall
        self._request: agent_reports.LinkRequest | None = None  # the last one of the node
        self._answered = 0  # number of the last one that was answered
        self._passed_over: agent_reports.LinkRequest | None = None  # that could not be answered
        self._preparations = 0  # each is for another agent, which counts from the beginning
        self._wanted = asyncio.Event()  # there is a request
        self._answering: asyncio.Task[None] | None = None

    @functools.cached_property
    def _of_stores(self) -> tuple[RemoteFile, ...]:
        return tuple(file for file in self.files if file.address)

    @functools.cached_property
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

    async def resolve(self, ask_nodes: AskNodes, patience: float = math.inf) -> None:
        """Find out what the addresses of the request stand for, once.

        Raises CastRayError, also for a store that asks to wait for longer than `patience` seconds.
        """
        urls = self._status.request.urls
        if not urls or self.files:
            return
        options = self._status.request.options
        found: dict[str, Sequence[RemoteFile]] = {}
        if web := tuple(url for url in urls if not is_store_url(url)):
            found.update(zip(web, ((file,) for file in await ask_nodes(web)), strict=True))
        for url in filter(is_store_url, urls):
            found[url] = await self._resolver.list_files(url, options, self._waiting, patience)
        listings = {url: found[url] for url in urls}
        self.files = await asyncio.to_thread(merge_listings, listings, options.layout)

    def _waiting(self, seconds: float, reason: str) -> None:
        """A store asks to wait for this many seconds; without a reason, no longer."""
        failure = Failure(FailureKind.SERVER_AWAITED, {"reason": reason}) if reason else None
        self._status.store_waits(failure, seconds, self._context.now)
        self._context.wakeup.wake()

    async def wait(self, seconds: float, reason: str) -> None:
        """Wait as long as a server asks for, and show the reason meanwhile."""
        self._waiting(seconds, reason)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._waiting(0.0, "")

    async def prepare(self, patience: float = math.inf) -> None:
        """Before a node gets the files: pack them, and see that links can be made. Raises CastRayError, as
        `resolve` does."""
        self._preparations += 1
        self._request, self._answered, self._passed_over = None, 0, None
        if self.files and not self.listing:
            self.listing = await asyncio.to_thread(pack_listing, self.files)
            if len(self.listing) > MAX_LISTING:
                urls = ", ".join(map(redacted_url, self._status.request.urls))
                count, most = len(self.files), len(self.files) * MAX_LISTING // len(self.listing)
                raise CastRayError(FailureKind.STORE_TOO_LARGE, url=urls, count=count, most=most)
        given = [file for file in self.files if file.address or file.url]  # others have their contents
        largest = max(given, key=lambda file: (file.ranges, file.size), default=None)
        if largest is not None and largest.address:
            (largest,) = await self._linked((largest,), patient=True, patience=patience)
        self.sample = largest if largest is not None and largest.url else None

    def answer_requests(self) -> None:
        """Give the node the links that it asks for, from now on, for as long as the cast runs."""
        if self._answering is None and self._of_stores:
            self._answering = self._context.background.run(self._answer_requests())

    def source_reported(self, report: agent_reports.SourceReport) -> None:
        """The node that downloads may need links."""
        request = report.links_wanted
        if request is not None:
            self._request = request
            self._wanted.set()

    async def _answer_requests(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            request, source, preparation = self._request, self._context.source, self._preparations
            if request is None or request.number <= self._answered or request == self._passed_over:
                continue
            order: GiveLinks | Failure
            try:
                order = await self._links_for(request)
            except CastRayError as error:
                order = error.failure
            if preparation != self._preparations:
                continue
            if isinstance(order, GiveLinks):
                self._answered = request.number
                await self._context.broadcast((source,), order)
            elif request.urgent:
                self._context.order_failed(source, order)
                return
            else:  # the node has links that are still good, and asks again
                self._passed_over = request
                log.warning("cast %s: no new links: %s", self._context.cast, order.kind)

    async def _links_for(self, request: agent_reports.LinkRequest) -> GiveLinks:
        """Raises CastRayError."""
        files = self._of_stores[request.first : request.first + BATCH_FILES]
        now, linked = self._wall(), await self._linked(files, patient=request.urgent)
        linked = tuple(itertools.takewhile(_is_linked, linked))
        expires = min((file.expires for file in linked if file.expires), default=0.0)
        links = tuple(FileLink(file.url, file.authorization, file.contents) for file in linked)
        seconds = max(expires - now, SHORTEST_SECONDS) if expires else 0.0
        return GiveLinks(self._context.cast, request.number, request.first, links, seconds)

    async def _linked(
        self, files: Sequence[RemoteFile], patient: bool, patience: float = math.inf
    ) -> tuple[RemoteFile, ...]:
        """These files with links. If `patient`, a store that can't be reached is tried again. Raises
        CastRayError.
        """
        delays = iter(ATTEMPT_DELAYS if patient else ())
        while True:
            try:
                linked = await self._resolver.with_links(files, self._waiting, patience)
                break
            except CastRayError as error:
                delay = next(delays, None)
                if error.failure.kind is not FailureKind.STORE_UNREACHABLE or delay is None:
                    raise
            await asyncio.sleep(delay)
        self.check_encrypted(file.url for file in linked)
        return linked

    def check_encrypted(self, urls: Iterable[str]) -> None:
        """Raises CastRayError(URL_NOT_ENCRYPTED) for plain http where the cast has to be encrypted."""
        if self._status.request.options.encrypt is not Encryption.ALWAYS:
            return
        for url in urls:
            if url_scheme(url) == "http":
                raise CastRayError(FailureKind.URL_NOT_ENCRYPTED, url=redacted_url(url))


def _is_linked(file: RemoteFile) -> bool:
    """Whether a node can get it; not one that its store has left out for now."""
    return bool(file.url or file.contents or not file.size)
