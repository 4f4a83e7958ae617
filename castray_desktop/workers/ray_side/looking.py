"""What an agent can tell about its node: folders, sizes, whom it can reach, and what casts need of it."""

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
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Optional

from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.names import display
from castray_desktop.workers.ray_side import protocol
from castray_desktop.workers.ray_side.addresses import scoped
from castray_desktop.workers.ray_side.byte_plane.failures import reason_of, user_name
from castray_desktop.workers.ray_side.byte_plane.scan import Scanner

LIST_SECONDS = 10.0
"""A folder that has still more entries after so long is listed as far as it was read."""

SHARED_MEMORY = "/dev/shm"
_STORE = b"--plasma_directory="


def list_folder(order: protocol.ListFolder) -> protocol.FolderReply:
    """Folders first, by name, so many at most; what is left out is counted. Blocking.

    Names that are not UTF-8 are left out: nothing can name them to us.
    """
    path = os.path.abspath(os.path.expanduser(order.path or "~"))
    counted = _Counted(time.monotonic() + LIST_SECONDS)
    try:
        with os.scandir(path) as entries:
            first = heapq.nsmallest(order.limit, counted.of(entries), key=_order)
    except OSError as error:
        return protocol.FolderReply(path, failure=_unlistable(path, error))
    items = tuple(_item(entry) for entry in first)
    return protocol.FolderReply(path, items, counted.entries - len(items))


class _Counted:
    """Entries on their way, counted, as long as there is time."""

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


def _item(entry: Any) -> protocol.FolderItem:
    folder, link = _leads_to_folder(entry), bool(entry.is_symlink())
    try:
        found = entry.stat()
    except OSError:  # it has gone, or is a link that leads nowhere
        return protocol.FolderItem(entry.name, folder, link=link)
    size = found.st_size if stat.S_ISREG(found.st_mode) else 0
    return protocol.FolderItem(entry.name, folder, size, found.st_mtime, link)


def _unlistable(path: str, error: OSError) -> Failure:
    shown = display(path)
    if isinstance(error, FileNotFoundError):
        return Failure(FailureKind.NO_SUCH_FILE, {"path": shown})
    if isinstance(error, NotADirectoryError):
        return Failure(FailureKind.NOT_A_FOLDER, {"path": shown})
    if isinstance(error, PermissionError):
        return Failure(FailureKind.NOT_READABLE, {"path": shown, "user": user_name()})
    return Failure(FailureKind.READ_ERROR, {"path": shown, "reason": reason_of(error)})


# --- sizes --------------------------------------------------------------------------------------


def measure(order: protocol.MeasurePaths) -> protocol.MeasureReply:
    """How much lies under each path, in their order. Blocking: reads every folder below them."""
    return protocol.MeasureReply(tuple(measure_path(path, order.exclude) for path in order.paths))


def measure_path(path: str, exclude: Iterable[str]) -> protocol.PathSize:
    """How much lies under one path, or why it can't be sent."""
    name = os.path.basename(path.rstrip("/")) or path
    try:
        scan = Scanner("auto", exclude, lambda _: None).run([path])
    except CastRayError as error:
        return protocol.PathSize(path, name, failure=error.failure)
    folder = any(entry.folder for entry in scan.top)
    return protocol.PathSize(path, name, folder, scan.files, scan.size)


# --- whom it can reach --------------------------------------------------------------------------


async def dial(order: protocol.Dial, own: str) -> protocol.DialReply:
    """Connect to every peer's data port at once, as a cast would; `own` is this node's data address."""
    dialled = await asyncio.gather(*(_dial(peer, own, order.seconds) for peer in order.peers))
    return protocol.DialReply(tuple(dialled))


async def _dial(peer: protocol.Peer, own: str, seconds: float) -> protocol.Dialled:
    start = time.monotonic()
    try:
        address = scoped(peer.address, own)
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, peer.port), seconds)
    except asyncio.TimeoutError:
        return protocol.Dialled(peer.node, time.monotonic() - start, "timed out")
    except OSError as error:
        # asyncio writes a text of its own around the system's.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        return protocol.Dialled(peer.node, time.monotonic() - start, reason)
    writer.transport.abort()
    return protocol.Dialled(peer.node, time.monotonic() - start)


# --- what casts need ----------------------------------------------------------------------------


def examine(ray_version: str, inbox: Path, data_address: str, data_ports: str) -> protocol.ExamineReply:
    """What this node has of what casts need; 0 or empty where this platform does not tell."""
    shared = _usage(SHARED_MEMORY)
    room = _usage(str(_nearest(inbox)))
    return protocol.ExamineReply(
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
    """The folder of the object store of the raylet that started this process, or of another `process`.

    Empty where none has, or this platform does not tell.
    """
    try:
        with open(f"/proc/{process or os.getppid()}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return ""
    return next((os.fsdecode(word[len(_STORE) :]) for word in words if word.startswith(_STORE)), "")


def ray_of_this_process() -> str:
    """The version of the Ray that has started this agent; empty where none has."""
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
    """How many files one process may have open; 0 if that is not known, or there is no bound."""
    try:
        import resource

        limit: Optional[int] = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except (ImportError, OSError, ValueError):
        return 0
    return limit if limit is not None and limit > 0 else 0
