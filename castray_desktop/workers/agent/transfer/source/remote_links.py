"""The links of a cast's remote files, which the engine gives for those that are next in the stream.

A link of a store is long, expires, and is a secret: so the engine makes it when it is about to be used, in
batches. The source asks for one before it has used up the last, once half of the time of its links has
passed, and when a link is refused.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Callable, Optional

from castray_desktop.core.protocol.nodes.agent_orders import FileLink, GiveLinks
from castray_desktop.core.protocol.nodes.agent_reports import LinkRequest
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile
from castray_desktop.workers.agent.transfer.source.range_client import LinkRefusedError, RemoteLink

RENEWAL_SECONDS = 120.0
"""The download of a file fails if the engine has not renewed its link within this time."""

FRESH_SECONDS = 60.0
"""If a renewed link is refused within this time, the file is refused, not the link."""

ASK_SECONDS = 30.0
"""An unanswered request is repeated after this time."""

CHECK_SECONDS = 0.25

MAX_BATCHES = 4
"""Batches that are kept: those of the reader, and of parts that are read once more."""


@dataclass(frozen=True, eq=False)
class _Batch:
    """Links of files that follow each other."""

    order: GiveLinks
    given: float  # monotonic seconds
    renews: bool  # it was asked for because links were refused

    def has(self, position: int) -> bool:
        return self.order.first <= position < self.end

    @property
    def end(self) -> int:
        return self.order.first + len(self.order.links)

    def link(self, position: int) -> FileLink:
        return self.order.links[position - self.order.first]

    def is_old(self, now: float) -> bool:
        """Whether half of its time has passed."""
        return bool(self.order.seconds) and now >= self.given + self.order.seconds / 2


class RemoteLinks:
    """Thread-safe. `changed()` is called when `wanted` has changed."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._condition = threading.Condition()
        self._files: Mapping[int, RemoteFile] = {}
        self._positions: dict[int, int] = {}  # of files of stores, see `LinkRequest`
        self._batches: list[_Batch] = []  # the one that was used last is the last one
        self._number = 0  # of the last request, or of the last links
        self._request: Optional[LinkRequest] = None
        self._renews = False  # that request is for links that were refused
        self._asked = 0.0  # monotonic seconds
        self._stopped = False

    @property
    def wanted(self) -> Optional[LinkRequest]:
        """The links that are needed and not there yet."""
        return self._request

    def set_files(self, files: Mapping[int, RemoteFile]) -> None:
        """The remote files of the cast, by number of the manifest's files. To be called before `get`."""
        self._files = files
        of_stores = (file for file in sorted(files) if files[file].address)
        self._positions = {file: position for position, file in enumerate(of_stores)}

    def get(self, file: int, refused: Optional[LinkRefusedError] = None) -> Optional[RemoteLink]:
        """The newest link of a file, newer than the one that was `refused`. Waits for the engine; None if the
        cast has ended.

        Raises `refused` if there is no newer link in time, or the refused one was renewed just now.
        """
        item = self._files[file]
        if not item.address:
            return RemoteLink(item.url, item.authorization, contents=item.contents)
        position, deadline = self._positions[file], time.monotonic() + RENEWAL_SECONDS
        while True:
            with self._condition:
                if self._stopped:
                    return None
                now, batch = time.monotonic(), self._find(position)
                found: Optional[RemoteLink] = None
                if batch is not None and (refused is None or batch.order.number > refused.number):
                    link = batch.link(position)
                    found = RemoteLink(link.url, link.authorization, batch.order.number, link.contents)
                    asked = self._ask_ahead(position, batch, now)
                else:
                    if refused is not None and (
                        now >= deadline
                        or (batch is not None and batch.renews and now < batch.given + FRESH_SECONDS)
                    ):
                        raise refused
                    first = position if batch is None else batch.order.first  # others are refused as well
                    asked = self._ask(first, now, urgent=True, renews=refused is not None)
                    if not asked:
                        self._condition.wait(CHECK_SECONDS)
            if asked:
                self._changed()
            if found is not None:
                return found

    def give(self, order: GiveLinks) -> None:
        """Use the links of this order from now on."""
        with self._condition:
            answers = self._request is not None and order.number >= self._request.number
            self._number = max(self._number, order.number)
            self._batches.append(_Batch(order, time.monotonic(), answers and self._renews))
            del self._batches[:-MAX_BATCHES]
            if answers:
                self._request = None
            self._condition.notify_all()
        self._changed()

    def stop(self) -> None:
        """Nothing waits from now on."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()

    def _find(self, position: int) -> Optional[_Batch]:
        """The batch with the newest link of a file."""
        found = max(
            (batch for batch in self._batches if batch.has(position)),
            key=lambda batch: batch.order.number,
            default=None,
        )
        if found is not None and found is not self._batches[-1]:
            self._batches.remove(found)
            self._batches.append(found)
        return found

    def _ask_ahead(self, position: int, batch: _Batch, now: float) -> bool:
        """Ask for what is needed soon; returns whether `wanted` has changed."""
        if batch.is_old(now):
            return self._ask(position, now, urgent=False)
        is_near = position >= (batch.order.first + batch.end) // 2 and batch.end < len(self._positions)
        if is_near and not any(other.has(batch.end) for other in self._batches):
            return self._ask(batch.end, now, urgent=False)
        return False

    def _ask(self, first: int, now: float, *, urgent: bool, renews: bool = False) -> bool:
        """Want links from this position on. One request is open at a time, which may become urgent, or be
        replaced by an urgent one. Returns whether `wanted` has changed.
        """
        open_, repeats = self._request, now >= self._asked + ASK_SECONDS
        if open_ is not None and not repeats:
            if open_.urgent or not urgent:
                return False
            if open_.first <= first and not renews:  # the answer may be on its way
                self._request = replace(open_, urgent=True)
                return True
        self._number += 1
        self._request, self._renews, self._asked = LinkRequest(self._number, first, urgent), renews, now
        return True
