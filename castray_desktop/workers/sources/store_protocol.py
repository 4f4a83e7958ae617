"""What a kind of store has to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile

LINK_SECONDS = 3600.0
"""How long a link should be valid. Half of that is left when it is renewed."""

MAX_FILES = 100_000
"""Of stores in one cast, as has been measured. Engine and node keep the list of them in memory."""

Waits = Callable[[float, str], None]
"""Called on the event loop with seconds and the reason in words when a store asks to wait."""


class Store(Protocol):
    """A kind of store, chosen by the scheme of an address. Its methods may be cancelled.

    Errors are CastRayError: STORE_UNREACHABLE for what may pass, which is repeated while a cast runs;
    STORE_NOT_FOUND, STORE_DENIED, STORE_UNSIGNED, or another kind, for what ends the cast.
    """

    async def list_files(
        self, address: str, options: TransferOptions, waits: Waits
    ) -> tuple[RemoteFile, ...]:
        """The files that the address stands for, without links: with size, version, checksum and `address`.

        Their paths begin with one name, which is that of the file, or of the folder around all of them. Their
        addresses end with what their paths have after that name.
        """
        ...

    async def with_links(self, files: Sequence[RemoteFile], waits: Waits) -> tuple[RemoteFile, ...]:
        """The same files with links, and when these expire. Called again before they do.

        A store may leave out the last ones, where links take long or contents are long; not the first one.
        """
        ...
