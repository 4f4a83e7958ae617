"""Inspect the node: folders, sizes, reachable peers, and what casts need of it."""

from __future__ import annotations

import asyncio
import heapq
import os
import platform
import shutil
import socket
import stat
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Optional

from castray_desktop.core.content.file_names import display_name
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.nodes import agent_protocol
from castray_desktop.workers.agent.network_addresses import with_own_scope
from castray_desktop.workers.agent.transfer.source.scan_cache import ScanPaths
from castray_desktop.workers.agent.transfer.source.scanner import scan_paths
from castray_desktop.workers.agent.transfer.system.os_failures import reason_of, user_name

LIST_SECONDS = 10.0
"""Listing a folder stops after this time; the rest is not shown."""

SHARED_MEMORY = "/dev/shm"
_STORE = b"--plasma_directory="


def list_folder(order: agent_protocol.ListFolder) -> agent_protocol.FolderReply:
    """List a folder: folders first, by name, at most `limit` entries; the rest is counted. Blocking.

    Names that are not UTF-8 are left out, since the interface can't address them.
    """
    path = os.path.abspath(os.path.expanduser(order.path or "~"))
    counted = _EntryCounter(time.monotonic() + LIST_SECONDS)
    try:
        with os.scandir(path) as entries:
            first = heapq.nsmallest(order.limit, counted.of(entries), key=_order)
    except OSError as error:
        return agent_protocol.FolderReply(path, failure=_unlistable(path, error))
    items = tuple(_item(entry) for entry in first)
    return agent_protocol.FolderReply(path, items, counted.entries - len(items))


class _EntryCounter:
    """Iterates over entries and counts them, until the deadline."""

    def __init__(self, deadline: float) -> None:
        self.entries = 0
        self._deadline = deadline

    def of(self, entries: Iterable[Any]) -> Iterable[Any]:
        for entry in entries:
            self.entries += 1
            if _is_text(entry.name):
                yield entry
            if self.entries % 1000 == 0 and time.monotonic() > self._deadline:
                return


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _order(entry: Any) -> tuple[bool, str, str]:
    return not _leads_to_folder(entry), entry.name.casefold(), entry.name


def _leads_to_folder(entry: Any) -> bool:
    try:
        return bool(entry.is_dir())
    except OSError:
        return False


def _item(entry: Any) -> agent_protocol.FolderItem:
    folder, link = _leads_to_folder(entry), bool(entry.is_symlink())
    try:
        found = entry.stat()
    except OSError:  # removed meanwhile, or a dangling link
        return agent_protocol.FolderItem(entry.name, folder, link=link)
    size = found.st_size if stat.S_ISREG(found.st_mode) else 0
    return agent_protocol.FolderItem(entry.name, folder, size, found.st_mtime, link)


def _unlistable(path: str, error: OSError) -> Failure:
    shown = display_name(path)
    if isinstance(error, FileNotFoundError):
        return Failure(FailureKind.NO_SUCH_FILE, {"path": shown})
    if isinstance(error, NotADirectoryError):
        return Failure(FailureKind.NOT_A_FOLDER, {"path": shown})
    if isinstance(error, PermissionError):
        return Failure(FailureKind.NOT_READABLE, {"path": shown, "user": user_name()})
    return Failure(FailureKind.READ_ERROR, {"path": shown, "reason": reason_of(error)})


# --- sizes --------------------------------------------------------------------------------------


def measure_sizes(
    order: agent_protocol.MeasureSizes, scan: ScanPaths = scan_paths
) -> agent_protocol.MeasureReply:
    """The size of each path, in the given order. Blocking: reads every folder below them."""
    return agent_protocol.MeasureReply(tuple(measure_path(path, order.exclude, scan) for path in order.paths))


def measure_path(path: str, exclude: Sequence[str], scan: ScanPaths = scan_paths) -> agent_protocol.PathSize:
    """The size of one path, or why it can't be sent."""
    name = os.path.basename(path.rstrip("/")) or path
    try:
        found = scan((path,), "auto", exclude, lambda _: None)
    except CastRayError as error:
        return agent_protocol.PathSize(path, name, failure=error.failure)
    folder = any(entry.folder for entry in found.top)
    return agent_protocol.PathSize(path, name, folder, found.files, found.size)


# --- whom it can reach --------------------------------------------------------------------------


async def dial_peers(order: agent_protocol.DialPeers, own: str) -> agent_protocol.DialReply:
    """Connect to every peer's data port at once, as a cast would; `own` is this node's data address."""
    dialled = await asyncio.gather(*(_dial(peer, own, order.seconds) for peer in order.peers))
    return agent_protocol.DialReply(tuple(dialled))


async def _dial(peer: agent_protocol.Peer, own: str, seconds: float) -> agent_protocol.DialResult:
    start = time.monotonic()
    try:
        address = with_own_scope(peer.address, own)
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, peer.port), seconds)
    except asyncio.TimeoutError:
        return agent_protocol.DialResult(peer.node, time.monotonic() - start, "timed out")
    except OSError as error:
        # asyncio wraps the system's error text.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        return agent_protocol.DialResult(peer.node, time.monotonic() - start, reason)
    writer.transport.abort()
    return agent_protocol.DialResult(peer.node, time.monotonic() - start)


# --- what casts need ----------------------------------------------------------------------------


def inspect_node(
    ray_version: str, inbox: Path, data_address: str, data_ports: str
) -> agent_protocol.NodeInspection:
    """Inspect what casts need on this node; 0 or empty for what this platform does not tell."""
    shared = _usage(SHARED_MEMORY)
    room = _usage(str(_nearest(inbox)))
    return agent_protocol.NodeInspection(
        time=time.time(),
        ray_version=ray_version,
        python_version=platform.python_version(),
        system=f"{platform.system()} {platform.release()}",
        user=user_name(),
        hostname=socket.gethostname(),
        shared_free=shared[0],
        shared_total=shared[1],
        store=object_store(),
        open_files=_open_files(),
        inbox=str(inbox),
        inbox_writable=os.access(_nearest(inbox), os.W_OK | os.X_OK),
        inbox_free=room[0],
        data_address=data_address,
        data_ports=data_ports,
    )


def object_store(process: str = "") -> str:
    """The object store folder of the raylet that started this process, or another `process`.

    Empty if there is none or this platform does not tell.
    """
    try:
        with open(f"/proc/{process or os.getppid()}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return ""
    return next((os.fsdecode(word[len(_STORE) :]) for word in words if word.startswith(_STORE)), "")


def ray_of_this_process() -> str:
    """The Ray version that started this agent; empty if none did."""
    return str(getattr(sys.modules.get("ray"), "__version__", ""))


def _usage(path: str) -> tuple[int, int]:
    try:
        found = shutil.disk_usage(path)
    except OSError:
        return 0, 0
    return found.free, found.total


def _nearest(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _open_files() -> int:
    """Limit of open files per process; 0 if unknown or unlimited."""
    try:
        import resource

        limit: Optional[int] = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except (ImportError, OSError, ValueError):
        return 0
    return limit if limit is not None and limit > 0 else 0
