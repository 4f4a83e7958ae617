"""Repositories of a Hugging Face hub as a store: `hf://OWNER/NAME[@REVISION][/PATH]`.

The files of a cast are those of one commit, which is part of each file's address. A public repository is
downloaded without a token. Of others, large files (Git LFS) have signed links that expire, and small files go
with the order to the node that downloads. No node gets a token.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.content.hub_addresses import HubAddress, parse_hub_address
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile, pack_contents
from castray_desktop.workers.sources.hub_client import HubClient, HubFile
from castray_desktop.workers.sources.store_protocol import Waits

T = TypeVar("T")


class HubStore:
    """See `Store`."""

    async def list_files(
        self, address: str, options: TransferOptions, waits: Waits
    ) -> tuple[RemoteFile, ...]:
        """The files of the commit that the address names now. Raises CastRayError."""
        where = _parse(address)
        listing = await _in_thread(lambda client: client.listing(where), waits)
        pinned = replace(where, revision=listing.commit)
        return tuple(
            RemoteFile(
                path=file.path.rpartition("/")[2] if listing.single else f"{where.name}/{file.path}",
                url="",
                size=file.size,
                modified_ns=listing.modified_ns,
                address=str(replace(pinned, path=file.path)),
                checksum=file.checksum,
            )
            for file in listing.files
        )

    async def with_links(self, files: Sequence[RemoteFile], waits: Waits) -> tuple[RemoteFile, ...]:
        """The files, the first of them with links that can be used now, or with their contents. Raises
        CastRayError."""
        linked, by_repository = list(files), dict[HubAddress, list[tuple[int, HubFile]]]()
        for number, file in enumerate(files):
            place = _parse(file.address)
            item = HubFile.of(place.path, file.size, file.checksum)
            by_repository.setdefault(replace(place, path=""), []).append((number, item))
        for repository, items in by_repository.items():
            wanted = [item for _, item in items]
            links = await _in_thread(partial(HubClient.links, repository=repository, files=wanted), waits)
            for (number, _), link in zip(items, links, strict=False):
                contents = pack_contents(link.contents) if link.contents is not None else ""
                linked[number] = replace(files[number], url=link.url, expires=link.expires, contents=contents)
        return tuple(linked)


def _parse(address: str) -> HubAddress:
    try:
        return parse_hub_address(address)
    except ValueError as error:
        raise CastRayError(FailureKind.BAD_HUB_ADDRESS, address=address, reason=str(error)) from error


async def _in_thread(work: Callable[[HubClient], T], waits: Waits) -> T:
    """Run blocking requests; when this is cancelled, they end with the one that is under way."""
    ended, loop = threading.Event(), asyncio.get_running_loop()

    def pause(seconds: float, reason: str) -> None:
        loop.call_soon_threadsafe(waits, seconds, reason)
        if ended.wait(seconds):
            raise ConnectionAbortedError("cancelled")

    try:
        return await asyncio.to_thread(lambda: work(HubClient(pause)))
    finally:
        ended.set()
