"""Inspect the node: folders, sizes, reachable peers, what casts need of it, and its load.

Processors, memory and load come from Linux's /proc, elsewhere from what Python knows.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import platform
import resource
import shutil
import socket
import stat
import sys
import time
from collections.abc import Iterable
from concurrent import futures
from pathlib import Path
from typing import Any, Optional

from castray_desktop.core.content.file_names import NamePatterns, display_name
from castray_desktop.core.content.urls import is_url, url_file_name
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.nodes import agent_orders
from castray_desktop.core.protocol.nodes.agent_reports import MachineFacts
from castray_desktop.workers.agent.network_addresses import device_of, with_own_scope
from castray_desktop.workers.agent.transfer.source.remote_listing import resolve_urls
from castray_desktop.workers.agent.transfer.source.scan_cache import ScanPaths
from castray_desktop.workers.agent.transfer.source.scanner import scan_paths
from castray_desktop.workers.agent.transfer.system.disk_watch import call_in_thread
from castray_desktop.workers.agent.transfer.system.linux_calls import machine_identity
from castray_desktop.workers.agent.transfer.system.os_failures import reason_of, user_name

LIST_SECONDS = 10.0
"""Listing a folder stops after this time; the rest is not shown."""

SHARED_MEMORY = "/dev/shm"
_STORE = b"--plasma_directory="


def list_folder(order: agent_orders.ListFolder) -> agent_orders.FolderReply:
    """List a folder: folders first, by name, at most `limit` entries; the rest is counted. Blocking.

    Names that are not UTF-8 are left out, since the interface can't address them.
    """
    path = os.path.abspath(os.path.expanduser(order.path or "~"))
    counted = _EntryCounter(time.monotonic() + LIST_SECONDS)
    try:
        with os.scandir(path) as entries:
            first = heapq.nsmallest(order.limit, counted.of(entries), key=_order)
    except OSError as error:
        return agent_orders.FolderReply(path, failure=_unlistable(path, error))
    items = tuple(_item(entry) for entry in first)
    return agent_orders.FolderReply(path, items, counted.entries - len(items))


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


def _item(entry: Any) -> agent_orders.FolderItem:
    folder, link = _leads_to_folder(entry), bool(entry.is_symlink())
    try:
        found = entry.stat()
    except OSError:  # removed meanwhile, or a dangling link
        return agent_orders.FolderItem(entry.name, folder, link=link)
    size = found.st_size if stat.S_ISREG(found.st_mode) else 0
    return agent_orders.FolderItem(entry.name, folder, size, found.st_mtime, link)


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
    order: agent_orders.MeasureSizes, scan: ScanPaths = scan_paths
) -> agent_orders.MeasureReply:
    """The size of each path, in the given order. Blocking: reads every folder below them."""
    return agent_orders.MeasureReply(
        tuple(measure_path(path, NamePatterns(order.exclude, order.include), scan) for path in order.paths)
    )


def measure_path(path: str, patterns: NamePatterns, scan: ScanPaths = scan_paths) -> agent_orders.PathSize:
    """The size of one path or address, or why it can't be sent."""
    if is_url(path):
        listing = resolve_urls(agent_orders.ResolveUrls((path,)))
        name, size = display_name(url_file_name(path)), sum(file.size for file in listing.files)
        return agent_orders.PathSize(path, name, False, len(listing.files), size, listing.problem)
    name = os.path.basename(path.rstrip("/")) or path
    try:
        found = scan((path,), "auto", patterns, lambda: None)
    except CastRayError as error:
        return agent_orders.PathSize(path, name, failure=error.failure)
    folder = any(entry.folder for entry in found.top)
    return agent_orders.PathSize(path, name, folder, found.files, found.size)


# --- whom it can reach --------------------------------------------------------------------------


async def dial_peers(order: agent_orders.DialPeers, own: str) -> agent_orders.DialReply:
    """Connect to every peer's data port at once, as a cast would; `own` is this node's data address."""
    dialled = await asyncio.gather(*(_dial(peer, own, order.seconds) for peer in order.peers))
    return agent_orders.DialReply(tuple(dialled))


async def _dial(peer: agent_orders.Peer, own: str, seconds: float) -> agent_orders.DialResult:
    start = time.monotonic()
    try:
        address = with_own_scope(peer.address, own)
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, peer.port), seconds)
    except asyncio.TimeoutError:
        return agent_orders.DialResult(peer.node, time.monotonic() - start, "timed out")
    except OSError as error:
        # asyncio wraps the system's error text.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        return agent_orders.DialResult(peer.node, time.monotonic() - start, reason)
    writer.transport.abort()
    return agent_orders.DialResult(peer.node, time.monotonic() - start)


# --- what casts need ----------------------------------------------------------------------------


def inspect_node(
    inbox: Path, data_address: str, data_ports: str, kept: tuple[int, int]
) -> agent_orders.NodeInspection:
    """Inspect what casts need on this node; 0 or empty for what this platform does not tell.

    `kept` are the number of failed deliveries that are kept for a retry, and their bytes.
    """
    shared = _usage(SHARED_MEMORY)
    folder = _nearest_existing_folder(inbox)
    return agent_orders.NodeInspection(
        time=time.time(),
        ray_version=str(getattr(sys.modules.get("ray"), "__version__", "")),
        python_version=platform.python_version(),
        system=f"{platform.system()} {platform.release()}",
        user=user_name(),
        hostname=socket.gethostname(),
        shared_free=shared[0],
        shared_total=shared[1],
        store=object_store(),
        open_files=_open_files(),
        inbox=str(inbox),
        inbox_writable=os.access(folder, os.W_OK | os.X_OK),
        inbox_free=_usage(str(folder))[0],
        data_address=data_address,
        data_ports=data_ports,
        kept_deliveries=kept[0],
        kept_bytes=kept[1],
    )


def object_store() -> str:
    """The object store folder of the raylet that started this process.

    Empty if there is none or this platform does not tell.
    """
    try:
        words = Path(f"/proc/{os.getppid()}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return next((os.fsdecode(word[len(_STORE) :]) for word in words if word.startswith(_STORE)), "")


def _usage(path: str) -> tuple[int, int]:
    try:
        found = shutil.disk_usage(path)
    except OSError:
        return 0, 0
    return found.free, found.total


def _nearest_existing_folder(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _open_files() -> int:
    """Limit of open files per process; 0 if unlimited."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit if limit != resource.RLIM_INFINITY else 0


DISK_SECONDS = 0.1
"""How long to wait for the answer of a disk at first; it mostly takes microseconds."""


def host_identity(address: str) -> str:
    """Equal for two agents if and only if they run on the same machine under the same node address.

    The boot id tells machines apart; the address tells hosts apart that share one kernel, such as
    containers and network namespaces.
    """
    return f"{machine_identity()[1] or socket.gethostname()}/{address}"


class MachineFactsMeter:
    """Measures this node. Keeps the last processor counters, since the load is a difference of two
    readings.
    """

    def __init__(self, inbox: Path, address: str = "") -> None:
        self._room = _Room(inbox)
        self._link = _link_speed(address)
        self._last: Optional[tuple[int, int]] = _processor_times()

    def measure(self) -> MachineFacts:
        """Current facts. 0 for what this platform can't measure. Raises OSError.

        For the event loop: it never waits for the inbox's disk for long.
        """
        memory, memory_free = _memory()
        free, total, silent = self._room.look()
        return MachineFacts(
            cpus=float(os.cpu_count() or 0),
            memory=memory,
            memory_free=memory_free,
            disk_free=free,
            disk_total=total,
            inbox_silent=silent,
            load=self._load(),
            link=self._link,
        )

    def _load(self) -> float:
        now, last = _processor_times(), self._last
        self._last = now
        if now is None or last is None or now[1] <= last[1]:
            return 0.0
        busy = 1.0 - (now[0] - last[0]) / (now[1] - last[1])
        return round(min(1.0, max(0.0, busy)), 3)  # the kernel may correct idle time downwards


class _Room:
    """What is free where the inbox lies, asked in a thread: where a mount hangs, nothing ends the call."""

    def __init__(self, inbox: Path) -> None:
        self._inbox = inbox
        self._call: Optional[futures.Future[Any]] = None  # that has not been answered yet
        self._began = 0.0
        self._found = 0, 0

    def look(self) -> tuple[int, int, float]:
        """Free and all bytes as of the last answer, and for how long there was none. Raises OSError."""
        patience = 0.0
        if self._call is None:
            self._began, patience = time.monotonic(), DISK_SECONDS
            self._call = call_in_thread(lambda: shutil.disk_usage(_nearest_existing_folder(self._inbox)))
        if not futures.wait((self._call,), patience).done:
            return (*self._found, time.monotonic() - self._began)
        answered, self._call = self._call, None
        disk = answered.result()
        self._found = disk.free, disk.total
        return (*self._found, 0.0)


def _link_speed(address: str, devices: Path = Path("/sys/class/net")) -> int:
    """Bytes per second of the network device with that address; 0 if unknown."""
    device = device_of(address)
    try:
        megabits = int((devices / device / "speed").read_text()) if device else 0
    except (OSError, ValueError):
        return 0
    return max(0, megabits) * 125_000


def _processor_times() -> Optional[tuple[int, int]]:
    """Idle and total ticks since the machine started."""
    try:
        with open("/proc/stat") as lines:
            ticks = [int(word) for word in lines.readline().split()[1:9]]
    except OSError:
        return None
    return ticks[3] + ticks[4], sum(ticks)


def _memory() -> tuple[int, int]:
    """Total and available bytes."""
    try:
        with open("/proc/meminfo") as lines:
            table = dict(line.split(":", 1) for line in lines)
        return _kibibytes(table["MemTotal"]), _kibibytes(table["MemAvailable"])
    except (OSError, KeyError):
        return 0, 0


def _kibibytes(text: str) -> int:
    return int(text.split(maxsplit=1)[0]) * 1024
