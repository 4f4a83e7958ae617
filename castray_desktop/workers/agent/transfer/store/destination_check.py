"""Can this node take a parcel? Checked before the first byte; and which storage the destination is on.

The storage comes from /proc/self/mountinfo (proc_pid_mountinfo(5)), so that two machines can compare;
elsewhere it is unknown.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional

from castray_desktop.core.content.file_names import display_name, node_file_name
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.nodes.agent_protocol import CheckDestination, DestinationReply, TopEntry
from castray_desktop.workers.agent.transfer.store.space_reservations import SpaceReservations, free_files
from castray_desktop.workers.agent.transfer.system import linux_calls
from castray_desktop.workers.agent.transfer.system.os_failures import no_room, reason_of

MOUNTINFO = "/proc/self/mountinfo"

# No two kernels can have one of these at the same time, so what counts is this kernel's number for it.
_OF_ONE_KERNEL = frozenset(
    b"btrfs exfat ext2 ext3 ext4 f2fs iso9660 jfs ntfs3 overlay ramfs squashfs tmpfs vfat xfs zfs".split()
)

_ESCAPE = re.compile(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    """One mount."""

    device: bytes  # MAJOR:MINOR
    root: bytes  # the part of the file system that is mounted, from the file system's top
    point: bytes  # where it is mounted
    kind: bytes
    source: bytes


def parse_mountinfo(table: bytes) -> list[Mount]:
    """The mounts of a mountinfo table; invalid lines are skipped."""
    found = []
    for line in table.splitlines():
        before, dash, after = line.partition(b" - ")
        left, right = before.split(b" "), after.split(b" ")
        if dash and len(left) >= 6 and len(right) >= 2:
            found.append(Mount(left[2], *map(_unescape, (left[3], left[4], right[0], right[1]))))
    return found


def _unescape(field: bytes) -> bytes:
    """Decode octal escapes."""
    return _ESCAPE.sub(lambda match: bytes([int(match.group(1), 8) & 0xFF]), field)


def locate_mount(mounts: list[Mount], path: bytes) -> Optional[tuple[Mount, bytes]]:
    """The mount of an absolute path, and the path relative to the file system's root.

    The longest mount point wins; of several on one point the last, which hides the others.
    """
    best: Optional[Mount] = None
    for mount in mounts:
        fits = path == mount.point or path.startswith(mount.point.rstrip(b"/") + b"/")
        if fits and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    if best is None:
        return None
    below = path[len(best.point.rstrip(b"/")) :].strip(b"/")
    return best, b"/" + b"/".join(part for part in (best.root.strip(b"/"), below) if part)


def disk_of(path: bytes, kernel: str, table: Optional[bytes] = None) -> str:
    """A text that is equal for paths on one file system; empty if unknown."""
    found = _found(path, table)
    return _name(found[0], kernel) if found is not None else ""


def storage_of(path: bytes, kernel: str, table: Optional[bytes] = None) -> str:
    """A text that is equal for two nodes whose `path` may be the same folder; empty if unknown.

    Equal texts are a hint, not a proof: names of servers and devices may mean something else elsewhere.
    `kernel` identifies the running kernel, since a local file system belongs to one kernel only.
    """
    found = _found(path, table)
    if found is None:
        return ""
    mount, inside = found
    return _name(mount, kernel) + os.fsdecode(inside)


def _found(path: bytes, table: Optional[bytes]) -> Optional[tuple[Mount, bytes]]:
    if table is None:
        try:
            with open(MOUNTINFO, "rb") as file:
                table = file.read()
        except OSError:
            return None
    return locate_mount(parse_mountinfo(table), path)


def _name(mount: Mount, kernel: str) -> str:
    if mount.kind in _OF_ONE_KERNEL:
        return f"{kernel}:{mount.device.decode()}"
    # nfs and nfs4 are one thing, and a part of an export may be mounted by itself
    kind = re.sub(rb"[0-9]+$", b"", mount.kind) or mount.kind
    return f"{os.fsdecode(kind)}:{os.fsdecode(mount.source).rstrip('/')}"


COUNT_SECONDS = 2.0

SPARE_FILES = 8  # staging, journal and what else a delivery makes


def resolve_destination(destination: str, node: str, inbox: Path) -> bytes:
    """The destination folder, absolute, links resolved as far as it exists. Raises CastRayError."""
    text = destination.replace("{node}", node_file_name(node)) if destination else str(inbox)
    if not os.path.isabs(text) or "\0" in text:
        raise CastRayError(FailureKind.BAD_DESTINATION, destination=display_name(destination))
    return os.path.realpath(os.fsencode(text))


def nearest_folder(path: bytes, node: str) -> bytes:
    """The nearest existing ancestor. Raises CastRayError where it is no folder."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    if not os.path.isdir(path):
        raise CastRayError(FailureKind.NOT_A_FOLDER, path=display_name(path), node=node)
    return path


def check_destination(
    order: CheckDestination,
    node: str,
    host: str,
    inbox: Path,
    reservations: SpaceReservations,
    share: bool = True,
) -> DestinationReply:
    """The reply, with the failure if this node can't.

    Without `share`, the storage is not told to other machines.
    """
    try:
        destination = resolve_destination(order.destination, node, inbox)
        folder = nearest_folder(destination, node)
        _check_writable(folder, node)
        free = reservations.free_bytes(folder)
        tight = free < order.needed_bytes
        present = (
            present_bytes(destination, order.top, order.needed_bytes) if tight or order.count_present else 0
        )
        if free < order.needed_bytes - present:
            raise no_room(node, destination, free, order.needed_bytes - present)
        _check_files(folder, order, node, destination)
        device = os.stat(folder).st_dev
    except CastRayError as error:
        return DestinationReply(failure=error.failure)
    except OSError as error:
        failure = CastRayError(
            FailureKind.NOT_WRITABLE, node=node, path=order.destination or inbox, reason=reason_of(error)
        ).failure
        return DestinationReply(failure=failure)
    kernel = linux_calls.machine_identity()[1]
    return DestinationReply(
        destination=display_name(destination),
        storage=f"{host}:{device}:{display_name(destination)}",
        mount=storage_of(destination, kernel) if share else "",
        free_bytes=max(free, 0),
        disk=(disk_of(destination, kernel) if share else "") or f"{host}:{device}",
        promised_bytes=reservations.reserved(device, but=order.cast),
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
        raise CastRayError(FailureKind.NOT_WRITABLE, node=node, path=display_name(folder), reason=reason)


def _check_files(folder: bytes, order: CheckDestination, node: str, destination: bytes) -> None:
    files = free_files(folder)
    if files is not None and files < order.needed_files + SPARE_FILES:
        raise CastRayError(
            FailureKind.NO_ROOM,
            node=node,
            path=display_name(destination),
            free=f"room for {files} files",
            needed=f"{order.needed_files + SPARE_FILES} files",
        )
