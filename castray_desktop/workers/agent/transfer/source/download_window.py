"""Download ahead of a reader: several parts at once, in the reader's order, in bounded memory."""

from __future__ import annotations

import logging
import mmap
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Callable, NamedTuple, Optional, Union

from castray_desktop.core.content.manifest import FileStatus
from castray_desktop.workers.agent.transfer.source.range_client import (
    LinkRefusedError,
    RangeClient,
    RemoteFileError,
    RemoteLink,
    RemoteState,
)

log = logging.getLogger("castray.byte_plane")

PART_BYTES = 4 << 20
WINDOW_BYTES = 24 << 20
"""Parts that are downloaded or being downloaded, and not read yet."""

MAPPED_BYTES = 128 << 10
"""A part this large has memory of its own, which returns to the system once it is read. The allocator would
keep it for the thread that downloaded it: up to twice the window for each of them.
"""

CONNECTIONS = 6
WAIT_SECONDS = 0.25


class FilePart(NamedTuple):
    """A part of a remote file."""

    file: int
    offset: int
    length: int


@dataclass(frozen=True)
class PinnedFile:
    """A remote file, and what it has to be."""

    link: RemoteLink
    state: RemoteState
    contents: Optional[bytes] = None  # where they are known, so that nothing is downloaded


PinFile = Callable[[int, Optional[LinkRefusedError]], PinnedFile]
"""Gives a file with a newer link than the one that was refused, for which it may wait. Raises
DownloadEndedError, and RemoteFileError where there is none.
"""


class DownloadEndedError(RemoteFileError):
    """The downloads have ended."""

    def __init__(self) -> None:
        super().__init__(FileStatus.READ_ERROR, "the download has ended")


Payload = Union[bytearray, mmap.mmap]


def new_payload(length: int) -> Payload:
    """Memory for a part of this many bytes."""
    if length < MAPPED_BYTES:
        return bytearray(length)
    return mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


OnWaiting = Callable[[str, float], None]
"""Called with the reason and seconds when a server asks to wait, and with an empty reason afterwards."""


def download_part(
    client: RangeClient, pin: PinFile, part: FilePart, view: memoryview, waiting: OnWaiting
) -> int:
    """Fill `view` with the part, by a newer link where one is refused. Returns how many bytes came from the
    server. Raises RemoteFileError.
    """
    refused: Optional[LinkRefusedError] = None
    while True:
        pinned = pin(part.file, refused)
        if pinned.contents is not None:
            view[:] = pinned.contents[part.offset : part.offset + part.length]
            return 0
        try:
            client.read(pinned.link, part.offset, view, pinned.state)
            return part.length
        except LinkRefusedError as error:
            refused = error
            waiting(str(error), 0.0)


class _Download:
    """A part that is being downloaded, or is there."""

    def __init__(self, part: FilePart) -> None:
        self.part = part
        self.payload: Optional[Payload] = None  # once it is there


def _copy(download: _Download, part: FilePart, view: memoryview) -> None:
    """Copy what a download that is there has of the part."""
    assert download.payload is not None
    first = max(part.offset, download.part.offset)
    count = min(part.offset + part.length, download.part.offset + download.part.length) - first
    at = first - download.part.offset
    view[first - part.offset : first - part.offset + count] = memoryview(download.payload)[at : at + count]


class DownloadWindow:
    """Downloads parts in order, ahead of one thread that reads them in order."""

    def __init__(
        self,
        pin: PinFile,
        has_ranges: Callable[[int], bool],
        parts: Iterator[FilePart],
        check_end: Callable[[], None],
        waiting: OnWaiting,
    ) -> None:
        """The next of `parts` is taken once there is room for it. `check_end` raises when the download has to
        end.
        """
        self._pin = pin
        self._has_ranges = has_ranges
        self._parts = parts
        self._check_end = check_end
        self._waiting = waiting
        self._condition = threading.Condition()
        self._queue: deque[_Download] = deque()  # in order; the reader is at the first
        self._queued_bytes = 0  # of these
        self._failed: dict[int, RemoteFileError] = {}  # files of which no more is downloaded
        self._clients: list[RangeClient] = []
        self._threads: list[threading.Thread] = []
        self._exhausted = False
        self._streaming = False  # one thread downloads a file that can't be had in parts
        self._closed = False
        self.received_bytes = 0
        self.stated_checksums: dict[int, str] = {}  # of files, by answers of their servers; empty: none

    def read(self, part: FilePart, view: memoryview) -> bool:
        """Copy the next part, or some of it, into `view`; False if it is not one of the window's.

        Parts must be read in order. Raises RemoteFileError, or what `check_end` raises.
        """
        at = 0
        while at < part.length:
            download = self._await(part.file, part.offset + at)
            if download is None:
                return False
            _copy(download, part, view)
            at = download.part.offset + download.part.length - part.offset
        return True

    def read_queued(self, part: FilePart, view: memoryview) -> bool:
        """Copy a part that is downloaded or being downloaded, for any thread; False if the window does not
        have all of it. Raises what `check_end` raises.
        """
        with self._condition:
            while not self._closed and part.file not in self._failed:
                found = self._covering(part)
                if not found:
                    return False
                if all(download.payload is not None for download in found):
                    for download in found:
                        _copy(download, part, view)
                    return True
                self._condition.wait(WAIT_SECONDS)
                self._check_end()
            return False

    def _covering(self, part: FilePart) -> list[_Download]:
        """The downloads in the queue that have this part together; empty if they don't have all of it."""
        found, at, end = [], part.offset, part.offset + part.length
        for download in self._queue:
            first, after = download.part.offset, download.part.offset + download.part.length
            if download.part.file == part.file and first <= at < min(after, end):
                found.append(download)
                at = after
        return found if at >= end else []

    def stop(self) -> None:
        """End the downloads soon."""
        with self._condition:
            self._closed = True
            self._queue.clear()
            self._queued_bytes = 0
            clients = list(self._clients)
            self._condition.notify_all()
        for client in clients:
            client.abort()

    def join(self, seconds: float) -> None:
        """Wait for their threads."""
        for thread in list(self._threads):
            thread.join(seconds)

    # --- the reader

    def _await(self, file: int, offset: int) -> Optional[_Download]:
        """The download that has this byte, once it is there."""
        with self._condition:
            while True:
                self._check_end()
                if file in self._failed:
                    raise self._failed[file]
                self._drop_before(file, offset)
                if not self._queue and self._exhausted and not self._streaming:
                    return None
                if self._queue:
                    part = self._queue[0].part
                    if (part.file, part.offset) > (file, offset):
                        return None
                    if self._queue[0].payload is not None:
                        return self._queue[0]
                self._grow()
                self._condition.wait(WAIT_SECONDS)

    def _drop_before(self, file: int, offset: int) -> None:
        """Drop what the reader has passed."""
        dropped = False
        while self._queue:
            part = self._queue[0].part
            if (part.file, part.offset + part.length) > (file, offset):
                break
            self._queue.popleft()
            self._queued_bytes -= part.length
            dropped = True
        if dropped:
            self._condition.notify_all()

    def _grow(self) -> None:
        """Start another thread if there is a part for it."""
        wanted = not (self._exhausted or self._streaming or self._closed) and self._has_room()
        if wanted and len(self._threads) < CONNECTIONS:
            client = RangeClient(self._pause)
            thread = threading.Thread(
                target=self._run, args=(client,), name=f"castray-range-{len(self._threads)}", daemon=True
            )
            self._clients.append(client)
            self._threads.append(thread)
            thread.start()

    # --- the threads that download

    def _run(self, client: RangeClient) -> None:
        try:
            while (download := self._next()) is not None:
                self._download(client, download)
        except DownloadEndedError:
            return
        finally:
            client.close()

    def _next(self) -> Optional[_Download]:
        """The next part, once there is room for it; None at the end."""
        with self._condition:
            while not (self._closed or self._exhausted):
                if self._streaming or not self._has_room():
                    self._condition.wait()
                    continue
                part = next(self._parts, None)
                if part is None:
                    self._exhausted = True
                    self._condition.notify_all()
                elif part.file not in self._failed:
                    self._streaming = not self._has_ranges(part.file)
                    download = _Download(part)
                    if not self._streaming:
                        self._append(download)
                        self._grow()
                    return download
            return None

    def _append(self, download: _Download) -> None:
        self._queue.append(download)
        self._queued_bytes += download.part.length

    def _has_room(self) -> bool:
        return self._queued_bytes < WINDOW_BYTES

    def _download(self, client: RangeClient, download: _Download) -> None:
        part = download.part
        try:
            if self._has_ranges(part.file):
                payload = new_payload(part.length)
                received = download_part(client, self._pin, part, memoryview(payload), self._waiting)
                if received:
                    self.stated_checksums.setdefault(part.file, client.stated_checksum)
                self._complete(download, payload, received)
            else:
                self._stream(client, part.file)
        except DownloadEndedError:
            raise
        except RemoteFileError as error:
            self._fail(part.file, error)
        except Exception as error:
            log.exception("a download failed")
            self._fail(part.file, RemoteFileError(FileStatus.READ_ERROR, type(error).__name__))
        else:
            self._waiting("", 0.0)

    def _read_whole(self, client: RangeClient, file: int) -> Iterator[memoryview]:
        refused = None
        while True:
            pinned = self._pin(file, refused)
            try:
                if pinned.contents is not None:
                    yield memoryview(pinned.contents)
                else:
                    yield from client.read_whole(pinned.link, pinned.state)
                return
            except LinkRefusedError as error:  # before the first byte
                refused = error
                self._waiting(str(error), 0.0)

    def _stream(self, client: RangeClient, file: int) -> None:
        """Download a file from its beginning to its end, while no other thread begins a part."""
        at = 0
        try:
            for chunk in self._read_whole(client, file):
                download = _Download(FilePart(file, at, len(chunk)))
                with self._condition:
                    self._condition.wait_for(lambda: self._closed or self._has_room())
                    if self._closed:
                        raise DownloadEndedError
                    self._append(download)
                self._complete(download, bytearray(chunk), len(chunk))
                at += len(chunk)
        finally:
            with self._condition:
                self._streaming = False
                self._condition.notify_all()

    def _complete(self, download: _Download, payload: Payload, received: int) -> None:
        with self._condition:
            download.payload = payload
            self.received_bytes += received
            self._condition.notify_all()

    def _fail(self, file: int, error: RemoteFileError) -> None:
        with self._condition:
            self._failed.setdefault(file, error)
            self._condition.notify_all()

    def _pause(self, seconds: float, reason: str) -> None:
        """Wait before the next attempt. Raises when the downloads end."""
        self._waiting(reason, seconds)
        with self._condition:
            self._condition.wait_for(lambda: self._closed, seconds)
            if self._closed:
                raise DownloadEndedError
