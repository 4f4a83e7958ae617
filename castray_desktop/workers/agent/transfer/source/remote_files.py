"""The remote files of one cast: what the source reads instead of files on its disk."""

from __future__ import annotations

import contextlib
import hashlib
import struct
import threading
import time
import urllib.parse
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Callable, Optional

from castray_desktop.core.content.checksums import ChecksumHasher, checksum_hasher
from castray_desktop.core.content.manifest import FileStatus, Manifest
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile, unpack_contents
from castray_desktop.workers.agent.transfer.source.delivered_files import DeliveredFiles
from castray_desktop.workers.agent.transfer.source.download_window import (
    PART_BYTES,
    DownloadEndedError,
    DownloadWindow,
    FilePart,
    OnWaiting,
    PinFile,
    PinnedFile,
    download_part,
)
from castray_desktop.workers.agent.transfer.source.range_client import (
    LinkRefusedError,
    RangeClient,
    RemoteFileError,
    RemoteState,
    WholeOnlyError,
)
from castray_desktop.workers.agent.transfer.source.remote_links import RemoteLinks
from castray_desktop.workers.agent.transfer.source.remote_listing import remote_state
from castray_desktop.workers.agent.transfer.store.hash_cache import FileKey
from castray_desktop.workers.agent.transfer.store.piece_store import StoreGoneError
from castray_desktop.workers.agent.transfer.store.receive_store import ReceiveStore

VERIFY_SECONDS = 0.02
"""How often to check whether journaled pieces have been verified: there is no event for each piece."""

PAUSE_CHECK_SECONDS = 0.25
"""A pause before another attempt ends within this time after the cast."""

KEPT_BYTES = 4 << 20
"""How much of the last parts is kept: several recipients often request one at once."""

COLLISION_FREE = frozenset({"sha256", "git-sha1"})
"""Checksums that are different for different files."""

OwnCopy = Callable[[], Optional[ReceiveStore]]
"""What this node, as a recipient of the same cast, has of it; None before its delivery has started, or if it
is none.
"""


def remote_failure(file: RemoteFile, status: FileStatus, reason: str) -> Failure:
    """The failure of a remote file that was not sent as it was at first."""
    values = {"url": file.shown_address}
    if status is FileStatus.CHANGED:
        return Failure(FailureKind.URL_CHANGED, values)
    return Failure(FailureKind.URL_FAILED, {**values, "reason": reason})


def remote_key(file: RemoteFile) -> Optional[FileKey]:
    """The key of this version of a file in the hash cache; None where the server does not name versions.

    Where it knows a cryptographic checksum, all files with that checksum are one version. No device has a
    number as high as that of the key.
    """
    if file.checksum.partition(":")[0] in COLLISION_FREE:
        version = file.checksum
    elif file.etag and not file.etag.startswith("W/"):
        # with another checksum it is compared, whatever the ETag says
        version = f"{file.shown_address}\n{file.etag}" + (f"\n{file.checksum}" if file.checksum else "")
    else:
        return None
    digest = hashlib.sha256(version.encode()).digest()
    device, inode = struct.unpack_from("<QQ", digest)
    return FileKey(device | 1 << 63, inode, file.size, 0, 0)


class RereadParts:
    """Parts that are downloaded once more, on request: the reader in order has passed them.

    One at a time, for any thread; the last ones are kept.
    """

    def __init__(self, pin: PinFile, check_end: Callable[[], None], waiting: OnWaiting) -> None:
        """`check_end` raises when the cast has ended."""
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
            received = download_part(client, self._pin, part, view, self._waiting)
            if not received:
                return
            self.received_bytes += received
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
            time.sleep(min(left, PAUSE_CHECK_SECONDS))


class RemoteFiles:
    """The remote files of one cast, by number of the manifest's files.

    One thread reads them in order with `read`; any thread may read a part once more with `read_again`.
    """

    def __init__(
        self,
        files: Mapping[int, RemoteFile],
        manifest: Manifest,
        manifest_bytes: int,
        own_copy: OwnCopy,
        delivered: DeliveredFiles,
        is_wanted: Callable[[int, int, int], bool],
        check_end: Callable[[], None],
        waiting: Callable[[Optional[Failure], float], None],
        links: RemoteLinks,
    ) -> None:
        """`is_wanted(file, start, end)` says whether these bytes of the stream will be read in order.
        `check_end` raises when the cast has ended. `waiting(failure, seconds)` is called when a server
        asks to wait, and with None afterwards.
        """
        links.set_files(files)
        self._files = files
        self._manifest = manifest
        self._manifest_bytes = manifest_bytes
        self._own_copy = own_copy
        self.delivered = delivered
        self._is_wanted = is_wanted
        self._check_end = check_end
        self._report_waiting = waiting
        self._waits = False
        self._links = links
        self._whole_only: set[str] = set()  # servers without ranges, see `_server`
        self._windows = [self._new_window(0)]  # the last one is read; the others have ended
        self._reread = RereadParts(self._pin, check_end, self._waiting)
        self._stopped = False

    def __contains__(self, file: int) -> bool:
        return file in self._files

    @property
    def downloaded_bytes(self) -> int:
        """Bytes that came from the servers."""
        return sum(window.received_bytes for window in self._windows) + self._reread.received_bytes

    def read(self, file: int, offset: int, view: memoryview) -> None:
        """Fill `view`. Raises RemoteFileError."""
        part = FilePart(file, offset, len(view))
        try:
            comes = self._windows[-1].read(part, view)
        except WholeOnlyError:
            self._download_whole(file)
            comes = self._windows[-1].read(part, view)
        if not comes:
            self.read_again(file, offset, view)

    def _new_window(self, first: int) -> DownloadWindow:
        """Downloads of this file and those after it."""
        return DownloadWindow(self._pin, self._has_ranges, self._parts(first), self._check_end, self._waiting)

    def _download_whole(self, file: int) -> None:
        """Begin again with this file, whose server turns out to have no ranges. That costs what was
        downloaded ahead, once for each server.
        """
        self._windows[-1].stop()
        self._whole_only.add(self._server(file))
        self._windows.append(self._new_window(file))
        if self._stopped:
            self._windows[-1].stop()

    def _server(self, file: int) -> str:
        """The server of a web address, or the bucket or the owner of the repository."""
        item = self._files[file]
        parts = urllib.parse.urlsplit(item.address or item.url)
        return f"{parts.scheme}://{parts.netloc}"

    def _has_ranges(self, file: int) -> bool:
        return self._files[file].ranges and self._server(file) not in self._whole_only

    def read_again(self, file: int, offset: int, view: memoryview) -> None:
        """Fill `view` with a part that may have been read before. Raises RemoteFileError."""
        part = FilePart(file, offset, len(view))
        if self._read_own_copy(file, offset, view) or self._windows[-1].read_queued(part, view):
            return
        self._reread.read(part, view)

    def new_checksum(self, file: int) -> Optional[ChecksumHasher]:
        """What compares the file with the checksum that its server states; None if it states none."""
        item = self._files[file]
        stated = (window.stated_checksums.get(file, "") for window in self._windows)
        checksum = item.checksum or next(filter(None, stated), "")
        return checksum_hasher(checksum, item.size)

    def states_checksum(self, file: int) -> bool:
        """Whether a checksum that differs is one: an object store may encrypt so that its ETag is no MD5."""
        item = self._files[file]
        if item.checksum.partition(":")[2] != item.etag.strip('"'):
            return True
        try:
            return not self._reread.state(file).opaque_etag
        except RemoteFileError:
            return True

    def stop(self) -> None:
        """End all downloads soon, and close connections."""
        self._stopped = True
        self._links.stop()
        self._windows[-1].stop()
        self._reread.stop()

    def join(self, seconds: float) -> None:
        """Wait for their threads."""
        for window in self._windows:
            window.join(seconds)

    def _pin(self, file: int, refused: Optional[LinkRefusedError]) -> PinnedFile:
        """See `PinFile`."""
        item, link = self._files[file], self._links.get(file, refused)
        if link is None:
            raise DownloadEndedError
        contents = None
        if link.contents:
            try:
                contents = unpack_contents(link.contents, item.size)
            except ValueError as error:
                raise RemoteFileError(FileStatus.READ_ERROR, str(error)) from error
        return PinnedFile(link, replace(remote_state(item), ranges=self._has_ranges(file)), contents)

    def _parts(self, first: int) -> Iterator[FilePart]:
        """The parts to download from this file on, in order: not what this node has already."""
        for file in sorted(self._files):
            if file < first:
                continue
            size = self._files[file].size
            # without ranges the part is the whole file, which the window divides
            length = PART_BYTES if self._has_ranges(file) else max(size, 1)
            for offset in range(0, size, length):
                part = FilePart(file, offset, min(length, size - offset))
                if self._is_wanted(file, *self._range(*part)):
                    yield from self._lacking(part)

    # --- what this node has as a recipient

    def _range(self, file: int, offset: int, length: int) -> tuple[int, int]:
        start = self._manifest_bytes + self._manifest.file_range(file)[0] + offset
        return start, start + length

    def _lacking(self, part: FilePart) -> list[FilePart]:
        """What to download of that part: not what this node has as a recipient, nor what its journal of an
        earlier attempt names. All of it, if the server has no ranges.
        """
        if part.file in self.delivered:
            return []
        store = self._own_copy()
        if store is None:
            return [part]
        start, end = self._range(*part)
        with store.pieces.lock:
            gaps = [
                gap
                for missing in store.pieces.have.missing(start, end)
                for gap in store.needed.not_journaled(*missing)
            ]
        if gaps and not self._has_ranges(part.file):
            return [part]
        return [FilePart(part.file, part.offset + low - start, high - low) for low, high in gaps]

    def _await_verified(self, store: ReceiveStore, start: int, end: int) -> None:
        """Wait as long as this node verifies what its journal names. Raises when the cast has ended."""
        while not store.pieces.gone_reason:
            self._check_end()
            with store.pieces.lock:
                if not store.needed.is_unverified(start, end):
                    return
                store.pieces.condition.wait(VERIFY_SECONDS)

    def _read_own_copy(self, file: int, offset: int, view: memoryview) -> bool:
        """Read it from the files that this node writes as a recipient, or has delivered; False if they don't
        have it."""
        if self.delivered.read(file, offset, view):
            return True
        store = self._own_copy()
        if store is None:
            return False
        start, end = self._range(file, offset, len(view))
        self._await_verified(store, start, end)
        with store.pieces.lock:
            if not store.pieces.have.contains(start, end):
                return False
        try:
            store.pieces.read_stream(view, start, end)
        except (OSError, EOFError, StoreGoneError):
            return False
        return True

    # --- waiting

    def _waiting(self, reason: str, seconds: float) -> None:
        if reason:
            self._waits = True
            self._report_waiting(Failure(FailureKind.SERVER_AWAITED, {"reason": reason}), seconds)
        elif self._waits:
            self._waits = False
            self._report_waiting(None, 0.0)
