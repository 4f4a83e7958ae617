"""Could this node take that parcel? Asked before the first byte."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path

from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.core.names import display, safe_node
from castray_desktop.workers.ray_side.byte_plane import linux
from castray_desktop.workers.ray_side.byte_plane.failures import no_room, reason_of
from castray_desktop.workers.ray_side.byte_plane.mounts import disk_of, storage_of
from castray_desktop.workers.ray_side.byte_plane.room import Ledger, free_files
from castray_desktop.workers.ray_side.protocol import Preflight, PreflightReply, TopEntry

COUNT_SECONDS = 2.0
SPARE_FILES = 8  # staging, journal and what else a delivery makes


def resolve_destination(destination: str, node: str, inbox: Path) -> bytes:
    """The folder to write to, absolute, links resolved as far as it exists. Raises CastRayError."""
    text = destination.replace("{node}", safe_node(node)) if destination else str(inbox)
    if not os.path.isabs(text) or "\0" in text:
        raise CastRayError(FailureKind.BAD_DESTINATION, destination=display(destination))
    return os.path.realpath(os.fsencode(text))


def nearest_folder(path: bytes, node: str) -> bytes:
    """The nearest ancestor that exists. Raises CastRayError where it is no folder."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    if not os.path.isdir(path):
        raise CastRayError(FailureKind.NOT_A_FOLDER, path=display(path), node=node)
    return path


def examine(
    order: Preflight, node: str, host: str, inbox: Path, ledger: Ledger, share: bool = True
) -> PreflightReply:
    """The answer, with the failure in it where this node can't.

    Without `share` other machines are not told which storage it is.
    """
    try:
        destination = resolve_destination(order.destination, node, inbox)
        folder = nearest_folder(destination, node)
        _check_writable(folder, node)
        free = ledger.free(folder)
        tight = free < order.needed_bytes
        present = (
            present_bytes(destination, order.top, order.needed_bytes) if tight or order.count_present else 0
        )
        if free < order.needed_bytes - present:
            raise no_room(node, destination, free, order.needed_bytes - present)
        _check_files(folder, order, node, destination)
        device = os.stat(folder).st_dev
    except CastRayError as error:
        return PreflightReply(failure=error.failure)
    except OSError as error:
        failure = CastRayError(
            FailureKind.NOT_WRITABLE, node=node, path=order.destination or inbox, reason=reason_of(error)
        ).failure
        return PreflightReply(failure=failure)
    kernel = linux.machine()[1]
    return PreflightReply(
        destination=display(destination),
        storage=f"{host}:{device}:{display(destination)}",
        mount=storage_of(destination, kernel) if share else "",
        free_bytes=max(free, 0),
        disk=(disk_of(destination, kernel) if share else "") or f"{host}:{device}",
        promised_bytes=ledger.promised(device, but=order.cast),
        present_bytes=present,
    )


def present_bytes(destination: bytes, top: Sequence[TopEntry], needed: int) -> int:
    """How much lies there under the names of what is sent: most probably an earlier copy of it.

    Where that takes long, all of it counts as there: a cast fails rather later than without need.
    """
    deadline = time.monotonic() + COUNT_SECONDS
    waiting = [os.path.join(destination, os.fsencode(entry.name)) for entry in top]
    total = 0
    while waiting and total < needed:
        if time.monotonic() > deadline:
            return needed
        path = waiting.pop()
        with contextlib.suppress(OSError):
            facts = os.lstat(path)
            if stat.S_ISDIR(facts.st_mode):
                waiting += [entry.path for entry in os.scandir(path)]
            elif stat.S_ISREG(facts.st_mode):
                total += facts.st_size
    return min(total, needed)


def _check_writable(folder: bytes, node: str) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        read_only = bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
        reason = "it is read-only" if read_only else "permission denied"
        raise CastRayError(FailureKind.NOT_WRITABLE, node=node, path=display(folder), reason=reason)


def _check_files(folder: bytes, order: Preflight, node: str, destination: bytes) -> None:
    files = free_files(folder)
    if files is not None and files < order.needed_files + SPARE_FILES:
        raise CastRayError(
            FailureKind.NO_ROOM,
            node=node,
            path=display(destination),
            free=f"room for {files} files",
            needed=f"{order.needed_files + SPARE_FILES} files",
        )
