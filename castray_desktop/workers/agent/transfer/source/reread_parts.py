"""Parts of remote files that are read once more, on request: the reader in order has passed them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Callable, Optional

from castray_desktop.workers.agent.transfer.source.download_window import (
    DownloadEndedError,
    FilePart,
    PinFile,
)
from castray_desktop.workers.agent.transfer.source.range_client import (
    LinkRefusedError,
    RangeClient,
    RemoteState,
)

CHECK_SECONDS = 0.25
"""A pause before another attempt ends so soon after the cast."""

KEPT_BYTES = 4 << 20
"""So much of the last parts is kept: several recipients often request one at once."""


class RereadParts:
    """Downloads one part at a time, for any thread, and keeps the last ones."""

    def __init__(
        self, pin: PinFile, check_end: Callable[[], None], waiting: Callable[[str, float], None]
    ) -> None:
        """`check_end` raises when the cast has ended. `waiting(reason, seconds)` is called while a server
        lets wait, and with no reason after.
        """
        self.received_bytes = 0
        self._pin = pin
        self._check_end = check_end
        self._waiting = waiting
        self._lock = threading.Lock()
        self._client: Optional[RangeClient] = None
        self._kept: deque[tuple[FilePart, bytes]] = deque()  # guarded by the lock
        self._stopped = False

    def read(self, part: FilePart, view: memoryview) -> None:
        """Fill `view` with the part. Raises RemoteFileError."""
        with self._one_at_a_time() as client:
            if self._read_kept(part, view):
                return
            refused: Optional[LinkRefusedError] = None
            while True:
                pinned = self._pin(part.file, refused)
                if pinned.contents is not None:
                    view[:] = pinned.contents[part.offset : part.offset + part.length]
                    return
                try:
                    client.read(pinned.link, part.offset, view, pinned.state)
                    break
                except LinkRefusedError as error:
                    refused = error
                    self._waiting(str(error), 0.0)
            self.received_bytes += part.length
            self._waiting("", 0.0)
            self._keep(part, view)

    def state(self, file: int) -> RemoteState:
        """What the server says of a file now. Raises RemoteFileError."""
        with self._one_at_a_time() as client:
            return client.state(self._pin(file, None).link)

    def stop(self) -> None:
        """End what is being read soon; nothing is read from now on."""
        self._stopped = True
        client = self._client
        if client is not None:
            client.abort()
        self._close()

    def _read_kept(self, part: FilePart, view: memoryview) -> bool:
        for kept, payload in self._kept:
            first = part.offset - kept.offset
            if kept.file == part.file and first >= 0 and first + part.length <= kept.length:
                view[:] = payload[first : first + part.length]
                return True
        return False

    def _keep(self, part: FilePart, view: memoryview) -> None:
        if part.length > KEPT_BYTES:
            return
        self._kept.append((part, bytes(view)))
        while sum(kept.length for kept, _ in self._kept) > KEPT_BYTES:
            self._kept.popleft()

    @contextlib.contextmanager
    def _one_at_a_time(self) -> Iterator[RangeClient]:
        """The client, for one thread. Raises RemoteFileError."""
        try:
            with self._lock:
                if self._stopped:
                    raise DownloadEndedError
                if self._client is None:
                    self._client = RangeClient(self._pause)
                yield self._client
        finally:
            if self._stopped:
                self._close()

    def _close(self) -> None:
        """Close the client, unless it is in use: then its user does that."""
        if self._lock.acquire(blocking=False):
            try:
                if self._client is not None:
                    self._client.close()
            finally:
                self._lock.release()

    def _pause(self, seconds: float, reason: str) -> None:
        self._waiting(reason, seconds)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._check_end()
            time.sleep(min(left, CHECK_SECONDS))
