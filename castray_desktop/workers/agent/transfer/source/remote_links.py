"""The links of a cast's remote files: as the source was given them, and as the engine renews them."""

from __future__ import annotations

import threading
import time
from typing import Callable

from castray_desktop.core.protocol.nodes.agent_orders import RenewLinks
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile
from castray_desktop.workers.agent.transfer.source.range_client import LinkRefusedError, RemoteLink

RENEWAL_SECONDS = 120.0
"""A link that the engine has not renewed after so long ends the download of its file."""

FRESH_SECONDS = 60.0
"""Where a renewed link is refused so soon, it is not the link that is refused, but the file."""

CHECK_SECONDS = 0.25


class RemoteLinks:
    """Thread-safe. `changed()` is called when `wanted` has changed."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._condition = threading.Condition()
        self._number = 1  # of the newest links
        self._wanted = 0
        self._renewed: dict[str, RemoteLink] = {}  # by address in the store
        self._renewed_at = 0.0  # monotonic
        self._stopped = False

    @property
    def wanted(self) -> int:
        """The number of the links that are waited for; 0 if none are."""
        return self._wanted if self._wanted > self._number else 0

    def link(self, file: RemoteFile) -> RemoteLink:
        """The newest link of a file."""
        with self._condition:
            found = self._renewed.get(file.address) if file.address else None
        return found or RemoteLink(file.url, file.authorization, 1 if file.address else 0)

    def renew(self, order: RenewLinks) -> None:
        """Use the links of this order from now on."""
        with self._condition:
            if order.number <= self._number:
                return
            self._number, self._renewed_at = order.number, time.monotonic()
            for fresh in order.links:
                self._renewed[fresh.address] = RemoteLink(fresh.url, fresh.authorization, order.number)
            self._condition.notify_all()
        self._changed()

    def await_fresh(self, error: LinkRefusedError) -> bool:
        """Wait until there is a newer link than the one that was refused; False if the cast has ended.

        Raises `error` if there is none in time, or the refused one was new.
        """
        with self._condition:
            newest = error.number >= self._number
            if newest and self._number > 1 and time.monotonic() < self._renewed_at + FRESH_SECONDS:
                raise error
            asks = newest and self._wanted <= self._number
            if asks:
                self._wanted = self._number + 1
        if asks:
            self._changed()
        deadline = time.monotonic() + RENEWAL_SECONDS
        with self._condition:
            while error.number >= self._number and not self._stopped:
                if time.monotonic() >= deadline:
                    raise error
                self._condition.wait(CHECK_SECONDS)
            return not self._stopped

    def stop(self) -> None:
        """Nothing waits from now on."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()
