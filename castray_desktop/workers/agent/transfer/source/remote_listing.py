"""What web servers have: ask them for the state of files, and add these to the list of files of a cast."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from castray_desktop.core.content.file_names import ExcludePatterns, NamePatterns, display_name
from castray_desktop.core.content.manifest import EntryKind, ManifestEntry
from castray_desktop.core.content.urls import redacted_url, url_file_name
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.nodes.agent_orders import (
    DownloadRate,
    MeasureDownload,
    RemoteListing,
    ResolveUrls,
)
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile, TopEntry
from castray_desktop.workers.agent.transfer.source.range_client import (
    RangeClient,
    RemoteFileError,
    RemoteLink,
    RemoteState,
    WholeOnlyError,
)
from castray_desktop.workers.agent.transfer.source.scanner import ScanResult

RESOLVE_SECONDS = 10.0
"""If a server asks to wait longer than this, the request fails: the engine repeats it."""

MEASURE_SECONDS = 1.0
"""The longest time that a node downloads to measure its rate."""

REACH_SECONDS = 5.0
"""A server that has not answered within this time counts as unreachable."""

FILE_MODE = 0o644
FOLDER_MODE = 0o755
LINK_MODE = 0o777
"""Modes, which a web server does not state."""


def remote_state(file: RemoteFile) -> RemoteState:
    """What the server must state for a file."""
    return RemoteState(file.size, file.etag, file.modified_ns, file.ranges)


def resolve_urls(order: ResolveUrls) -> RemoteListing:
    """Ask the servers for size, version and date of each file."""
    deadline, wait = time.monotonic() + RESOLVE_SECONDS, 0.0

    def pause(seconds: float, reason: str) -> None:
        nonlocal wait
        if time.monotonic() + seconds > deadline:
            wait = seconds
            raise TimeoutError(reason)
        time.sleep(seconds)

    client, found = RangeClient(pause), []
    try:
        for url in order.urls:
            client.answered = False
            try:
                state = client.state(RemoteLink(url))
            except (RemoteFileError, TimeoutError) as error:
                busy = wait > 0 and client.answered
                return RemoteListing(failure=_failure(url, str(error)), wait=wait, busy=busy)
            path = os.fsdecode(url_file_name(url))
            version = (state.size, state.etag, state.modified_ns, state.ranges)
            found.append(RemoteFile(path, url, *version, checksum=state.checksum))
    finally:
        client.close()
    return RemoteListing(tuple(found))


def measure_download(order: MeasureDownload) -> DownloadRate:
    """Download the beginning of a file, to see how fast that is. The connection is opened before."""

    def pause(seconds: float, reason: str) -> None:
        raise TimeoutError(reason)

    file = order.file
    link, pinned = RemoteLink(file.url, file.authorization), remote_state(file)
    client = RangeClient(pause)
    watch = threading.Timer(REACH_SECONDS, client.abort)
    watch.start()
    try:
        with contextlib.suppress(WholeOnlyError):
            client.read(link, 0, memoryview(bytearray(min(1, file.size))), pinned)
        if not order.length:
            return DownloadRate()
        began = time.monotonic()
        count = client.read_for(MEASURE_SECONDS, link, order.length, pinned)
        return DownloadRate(count / (time.monotonic() - began))
    except TimeoutError as error:
        reason = str(error) if watch.is_alive() else "the server does not respond"
        return (
            DownloadRate() if client.answered else DownloadRate(failure=_failure(file.shown_address, reason))
        )
    except RemoteFileError as error:
        return DownloadRate(failure=_failure(file.shown_address, str(error)))
    finally:
        watch.cancel()
        client.close()


def _failure(url: str, reason: str) -> Failure:
    return Failure(FailureKind.URL_FAILED, {"url": redacted_url(url), "reason": reason})


def with_remote_files(scan: ScanResult, files: Sequence[RemoteFile], patterns: NamePatterns) -> ScanResult:
    """The scan with these files after its own. Raises CastRayError."""
    exclusions = ExcludePatterns(patterns)
    found = replace(
        scan,
        entries=scan.entries[:],
        inodes=scan.inodes[:],
        devices=scan.devices[:],
        ctimes=scan.ctimes[:],
        others=scan.others[:],
        top_paths=dict(scan.top_paths),
        top=scan.top[:],
        remote={},
    )
    folders: set[bytes] = set()
    for item in files:
        path = os.fsencode(item.path)
        of_web = bool(item.url and not item.address)  # the engine has filtered what is in stores
        if of_web and exclusions.leaves_out(display_name(path)):
            continue
        top = path.partition(b"/")[0]
        if top in scan.top_paths or (top == path and top in found.top_paths):
            raise CastRayError(FailureKind.SAME_NAME_TWICE, name=display_name(top))
        _add_folders(found, path, folders, item.modified_ns)
        found.top_paths.setdefault(top, os.fsencode(item.shown_address))
        if item.target:
            _add_link(found, path, item)
        else:
            _add_file(found, path, item)
    if not found.entries:
        raise CastRayError(FailureKind.NOTHING_TO_SEND)
    return found


def _add_file(scan: ScanResult, path: bytes, item: RemoteFile) -> None:
    top = path.partition(b"/")[0]
    scan.remote[scan.files] = item
    scan.entries.append(ManifestEntry(EntryKind.FILE, path, FILE_MODE, item.modified_ns, item.size))
    scan.inodes.append(0)
    scan.devices.append(0)
    scan.ctimes.append(0)
    scan.files += 1
    scan.size += item.size
    if top == path:
        scan.top.append(TopEntry(display_name(top), False, item.size, 1))
    else:
        before = scan.top[-1]  # files of one folder follow each other
        scan.top[-1] = TopEntry(before.name, True, before.bytes + item.size, before.files + 1)


def _add_link(scan: ScanResult, path: bytes, item: RemoteFile) -> None:
    """A symbolic link below a folder."""
    target = os.fsencode(item.target)
    scan.entries.append(ManifestEntry(EntryKind.SYMLINK, path, LINK_MODE, item.modified_ns, 0, target))
    scan.others.append((0, 0, 0))


def _add_folders(scan: ScanResult, path: bytes, folders: set[bytes], modified_ns: int) -> None:
    """Add the folders above a file that were not added yet."""
    names = path.split(b"/")[:-1]
    for count in range(1, len(names) + 1):
        folder = b"/".join(names[:count])
        if folder not in folders:
            folders.add(folder)
            scan.entries.append(ManifestEntry(EntryKind.FOLDER, folder, FOLDER_MODE, modified_ns))
            scan.others.append((0, 0, 0))
            if count == 1:
                scan.top.append(TopEntry(display_name(folder), True))
