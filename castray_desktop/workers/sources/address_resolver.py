"""Resolve the addresses of stores: which files they stand for, and links to these."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from castray_desktop.core.casts.transfer_options import Layout, TransferOptions
from castray_desktop.core.content.file_names import MAX_PATH, ExcludePatterns, folders_above, safe_component
from castray_desktop.core.content.hub_addresses import parse_hub_address
from castray_desktop.core.content.urls import is_store_url, redacted_url, url_scheme
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile
from castray_desktop.workers.base.installation import extra_command, lacks_extra
from castray_desktop.workers.sources.hub_cache_layout import in_cache_layout
from castray_desktop.workers.sources.store_protocol import MAX_FILES, Store, Waits

LIST_SECONDS = 120.0
LINKS_SECONDS = 60.0

SHORT_PATIENCE_SECONDS = 10.0
"""How long a preflight waits when a store asks to wait. A cast waits as long as the store asks."""


def _object_stores() -> Store:
    from castray_desktop.workers.sources.object_stores import ObjectStores

    return ObjectStores()


def _hub_store() -> Store:
    from castray_desktop.workers.sources.hub_store import HubStore

    return HubStore()


STORES: dict[str, Callable[[], Store]] = {
    **dict.fromkeys(("s3", "gs", "az"), _object_stores),
    "hf": _hub_store,
}
"""What makes the store of each scheme. Its module imports what the extra installs."""


Waiting = Callable[[float, str], None]
"""Called with seconds and the reason when a store asks to wait, and with an empty reason afterwards."""


def ignore_waiting(seconds: float, reason: str) -> None:
    """For callers that do not show why they wait."""


class AddressResolver:
    """Chooses the store of each address. `stores` has what makes them, by scheme."""

    def __init__(self, stores: Mapping[str, Callable[[], Store]] = STORES) -> None:
        self._makers = stores
        self._stores: dict[str, Store] = {}

    async def list_files(
        self,
        address: str,
        options: TransferOptions,
        waiting: Waiting = ignore_waiting,
        patience: float = math.inf,
    ) -> tuple[RemoteFile, ...]:
        """The files that an address stands for, without links and without what `options` leave out.

        Raises CastRayError; SERVER_BUSY if a store asks to wait for longer than `patience` seconds.
        """
        store = self._store(url_scheme(address), address)
        async with _within(LIST_SECONDS, address, waiting, patience) as waits:
            files = await store.list_files(address, options, waits)
        return await asyncio.to_thread(_selected, address, files, options)

    async def with_links(
        self,
        files: Sequence[RemoteFile],
        waiting: Waiting = ignore_waiting,
        patience: float = math.inf,
    ) -> tuple[RemoteFile, ...]:
        """The files, those of stores with new links, except for the last ones where `Store.with_links` leaves
        them out. Raises CastRayError as `list_files` does.
        """
        schemes = dict.fromkeys(url_scheme(file.address) for file in files if file.address)
        found: dict[str, RemoteFile] = {}
        for scheme in schemes:
            wanted = [file for file in files if file.address and url_scheme(file.address) == scheme]
            address = wanted[0].address
            store = self._store(scheme, address)
            async with _within(LINKS_SECONDS, address, waiting, patience) as waits:
                linked = await store.with_links(wanted, waits)
            found.update((file.path, file) for file in linked)
        return tuple(found.get(file.path, file) for file in files)

    def _store(self, scheme: str, address: str) -> Store:
        if scheme not in self._stores:
            maker = self._makers.get(scheme)
            if maker is None:
                raise CastRayError(FailureKind.STORE_UNKNOWN, url=redacted_url(address))
            if lacks_extra("remote"):
                command = extra_command("remote")
                raise CastRayError(
                    FailureKind.STORE_NOT_INSTALLED, url=redacted_url(address), command=command
                )
            self._stores[scheme] = maker()
        return self._stores[scheme]


def _selected(address: str, files: Sequence[RemoteFile], options: TransferOptions) -> tuple[RemoteFile, ...]:
    """The files at an address that are sent, with their paths at the recipients. Raises CastRayError."""
    exclusions = ExcludePatterns(options.patterns)
    kept = tuple(file for file in files if not exclusions.leaves_out(file.path))
    if not kept:
        kind = FailureKind.NOTHING_TO_SEND if files else FailureKind.STORE_NOT_FOUND
        raise CastRayError(kind, **({} if files else {"url": redacted_url(address)}))
    _check_count(kept, address)
    _check_paths(kept)
    if options.layout is Layout.HF_CACHE:
        return in_cache_layout(parse_hub_address(address), kept)
    return kept


def _check_count(files: Sequence[RemoteFile], *addresses: str) -> None:
    """Refuse more than a cast takes. Raises CastRayError."""
    count = sum(1 for file in files if file.address)
    if count > MAX_FILES:
        urls = ", ".join(map(redacted_url, addresses))
        raise CastRayError(FailureKind.STORE_TOO_LARGE, url=urls, count=count, most=MAX_FILES)


def _check_paths(files: Sequence[RemoteFile]) -> None:
    """Refuse names that no file can have, and one that is both a file and a folder. Raises CastRayError."""
    taken = {above for file in files for above in folders_above(file.path)}
    for file in files:
        reason = ""
        try:
            raw = [safe_component(name.encode()) for name in file.path.split("/")]
        except ValueError as error:
            reason = str(error)
        else:
            if sum(map(len, raw)) + len(raw) > MAX_PATH:
                reason = "it is too long"
            elif file.path in taken:
                reason = "another file or folder has the same name"
        if reason:
            raise CastRayError(FailureKind.STORE_NAME, url=file.shown_address, reason=reason)
        taken.add(file.path)


def merge_listings(listings: Mapping[str, Sequence[RemoteFile]], layout: Layout) -> tuple[RemoteFile, ...]:
    """The files of several addresses, those of one folder after each other.

    Addresses may name parts of one folder, such as two folders of a repository at one commit; what is named
    twice is there once. A cache has several commits of a repository. Raises CastRayError if two different
    things have one name.
    """
    merged: dict[str, dict[str, RemoteFile]] = {}  # by the first part of the path, and the path
    owners: dict[str, tuple[str, str]] = {}  # what that part stands for, and the address, by its name
    for address, files in listings.items():
        for file in files:
            top = file.path.partition("/")[0]
            stands_for = top if layout is Layout.HF_CACHE else _top_address(file)
            first, owner = owners.setdefault(top, (stands_for, address))
            if first != stands_for:
                both = {"first": redacted_url(owner), "second": redacted_url(address)}
                raise CastRayError(FailureKind.ADDRESSES_SAME_NAME, name=top, **both)
            merged.setdefault(top, {})[file.path] = file
    found = tuple(file for files in merged.values() for file in files.values())
    _check_count(found, *(address for address in listings if is_store_url(address)))
    return found


def _top_address(file: RemoteFile) -> str:
    """The address of what the first part of its path stands for."""
    below = file.path.partition("/")[2]
    return (file.address or file.url).removesuffix(f"/{below}" if below else "")


@asynccontextmanager
async def _within(seconds: float, address: str, waiting: Waiting, patience: float) -> AsyncIterator[Waits]:
    """Limit the time that a store takes, without up to `patience` seconds that it asks to wait."""
    told, waited = False, 0.0
    busy: dict[str, str] = {}
    try:
        async with asyncio.timeout(seconds) as limit:

            def waits(more: float, reason: str) -> None:
                nonlocal told, waited
                if busy:
                    return
                waited += more
                if waited > patience:
                    busy.update(url=redacted_url(address), reason=reason, seconds=f"{more:.0f}")
                    limit.reschedule(0.0)  # it ends now
                    return
                told = True
                limit.reschedule((limit.when() or 0.0) + more)
                waiting(more, reason)

            yield waits
    except TimeoutError:
        if busy:
            raise CastRayError(FailureKind.SERVER_BUSY, **busy) from None
        reason = f"no answer within {seconds:.0f} seconds"
        raise CastRayError(FailureKind.STORE_UNREACHABLE, url=redacted_url(address), reason=reason) from None
    finally:
        if told:
            waiting(0.0, "")
