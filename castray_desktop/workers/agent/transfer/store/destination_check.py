"""Can this node take a parcel? Checked before the first byte: the folder, disk space, names, and the storage.

The storage comes from /proc/self/mountinfo (proc_pid_mountinfo(5)), so that two machines can compare;
elsewhere it is unknown. Whether two names are equal, such as `A` and `a`, only the file system knows: that is
tested with empty files in a folder of CastRay.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Optional

from castray_desktop.core.content.file_names import display_name, node_file_name
from castray_desktop.core.content.manifest import Manifest
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.nodes.agent_orders import CheckDestination, DestinationReply
from castray_desktop.core.protocol.nodes.cast_parcel import TopEntry
from castray_desktop.workers.agent.transfer.store.staging import (
    StagingRegistry,
    entries_below,
    folder_name,
    used_bytes,
)
from castray_desktop.workers.agent.transfer.system import linux_calls
from castray_desktop.workers.agent.transfer.system.open_folders import FOLDER, lstat_in
from castray_desktop.workers.agent.transfer.system.os_failures import no_room, reason_of

UNKNOWN_FREE_BYTES = 1 << 62
"""For a file system without a count: whether there is space shows at the first write."""


class SpaceReservations:
    """Reserved bytes by cast and file system, so that two casts never count on the same space."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._promised: dict[str, tuple[int, int]] = {}  # cast -> device, bytes still to come

    def reserved(self, device: int, but: str = "") -> int:
        """Bytes reserved by casts other than `but`."""
        with self._lock:
            return sum(size for cast, (dev, size) in self._promised.items() if dev == device and cast != but)

    def reserve(self, cast: str, device: int, size: int) -> None:
        with self._lock:
            self._promised[cast] = (device, size)

    def record_written(self, cast: str, size: int) -> None:
        """This much of the reservation was written, or reserved by the file system."""
        with self._lock:
            device, left = self._promised.get(cast, (0, 0))
            self._promised[cast] = (device, max(left - size, 0))

    def release(self, cast: str) -> None:
        with self._lock:
            self._promised.pop(cast, None)

    def free_bytes(self, folder: bytes, but: str = "") -> int:
        """Free bytes in an existing folder, less reserved ones."""
        found = os.statvfs(folder)
        if not found.f_blocks:
            return UNKNOWN_FREE_BYTES
        return found.f_bavail * found.f_frsize - self.reserved(os.stat(folder).st_dev, but)


MOUNTINFO = Path("/proc/self/mountinfo")

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


def storage_of(path: bytes, kernel: str, table: Optional[bytes] = None) -> tuple[str, str]:
    """Two texts: one that is equal for paths on one file system, and one that is equal for two nodes whose
    `path` may be the same folder. Both are empty if unknown.

    Equal texts are a hint, not a proof: names of servers and devices may mean something else elsewhere.
    `kernel` identifies the running kernel, since a local file system belongs to one kernel only.
    """
    if table is None:
        try:
            table = MOUNTINFO.read_bytes()
        except OSError:
            return "", ""
    found = locate_mount(parse_mountinfo(table), path)
    if found is None:
        return "", ""
    disk = _name(found[0], kernel)
    return disk, disk + os.fsdecode(found[1])


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
    registry: StagingRegistry,
    share: bool = True,
) -> DestinationReply:
    """The reply, with the failure if this node can't.

    Without `share`, the reply does not identify the storage. Where there is little room, what is kept for
    retries of other casts is removed.
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
        if tight or order.count_present:  # what an earlier attempt has left counts as well
            staged = used_bytes(destination + b"/" + folder_name(order.cast, node) + b"/parts")
            present = min(order.needed_bytes, present + staged)
        needed = order.needed_bytes - present
        if free < needed:
            free = registry.make_room(folder, needed, lambda: reservations.free_bytes(folder), order.cast)
        if free < needed:
            raise no_room(node, destination, free, needed)
        _check_files(folder, order, node, destination)
        device = os.stat(folder).st_dev
    except CastRayError as error:
        return DestinationReply(failure=error.failure)
    except OSError as error:
        failure = CastRayError(
            FailureKind.NOT_WRITABLE,
            node=node,
            path=display_name(order.destination.replace("{node}", node_file_name(node)) or str(inbox)),
            reason=reason_of(error),
        ).failure
        return DestinationReply(failure=failure)
    disk, mount = storage_of(destination, linux_calls.machine_identity()[1]) if share else ("", "")
    return DestinationReply(
        destination=display_name(destination),
        storage=f"{host}:{device}:{display_name(destination)}",
        mount=mount,
        free_bytes=max(free, 0),
        disk=disk or f"{host}:{device}",
        promised_bytes=reservations.reserved(device, but=order.cast),
        present_bytes=present,
    )


def may_exist(destination: bytes, top: Sequence[TopEntry]) -> bool:
    """Whether a top-level entry exists at the destination: otherwise there is nothing to compare."""
    return any(os.path.lexists(destination + b"/" + os.fsencode(entry.name)) for entry in top)


def present_bytes(destination: bytes, top: Sequence[TopEntry], needed: int) -> int:
    """How much lies there under the names of what is sent: most probably an earlier copy of it.

    If counting takes too long, all of it counts as present: a cast had better fail later than without need.
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
    found = os.statvfs(folder)
    if not found.f_files:  # the file system does not count them
        return
    files, needed = found.f_favail, order.needed_files + SPARE_FILES
    if files < needed:  # what an earlier attempt has left counts as well
        files += entries_below(destination + b"/" + folder_name(order.cast, node) + b"/parts")
    if files < needed:
        raise CastRayError(
            FailureKind.NO_ROOM,
            node=node,
            path=display_name(destination),
            free=f"room for {files} files",
            needed=f"{needed} files",
        )


AreOne = Callable[[bytes, bytes], bool]
NOT_A_NAME = (errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG)
_TELLING = ((b"castray-name", b"CASTRAY-NAME"), ("é".encode(), "e\u0301".encode()))
"""Pairs of names that are equal if case or Unicode normalisation is ignored."""


def find_clash(manifest: Manifest, are_one: AreOne) -> Optional[tuple[bytes, bytes]]:
    """Two paths of the parcel that can't both exist; None if there are none."""
    if not any(are_one(*pair) for pair in _TELLING):
        return None
    seen: dict[tuple[bytes, str], list[bytes]] = {}
    for entry in manifest.entries:
        above, _, name = entry.path.rpartition(b"/")
        alike = seen.setdefault((above, _folded(name)), [])
        for other in alike:
            if are_one(other, name):
                return (above + b"/" + other if above else other), entry.path
        alike.append(name)
    return None


def _folded(name: bytes) -> str:
    """Equal for all names that any file system may consider equal."""
    text = unicodedata.normalize("NFKD", name.decode("utf-8", "surrogateescape")).casefold()
    text = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in text if unicodedata.category(letter) != "Cf").rstrip(". ")


@contextlib.contextmanager
def name_comparison(folder: int) -> Iterator[AreOne]:
    """Compare names on the file system of an open folder. Raises OSError, and so does what it gives."""
    name = b"names"
    with contextlib.suppress(FileExistsError):  # left by an earlier process
        os.mkdir(name, 0o700, dir_fd=folder)
    fd = os.open(name, FOLDER, dir_fd=folder)
    try:
        yield lambda first, second: _are_one(fd, first, second)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=folder)


def _are_one(folder: int, first: bytes, second: bytes) -> bool:
    try:
        os.close(os.open(first, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=folder))
    except OSError as error:
        if error.errno not in NOT_A_NAME:
            raise
        return False  # an invalid name; reported when it is created
    try:
        return lstat_in(second, folder) is not None
    except OSError as error:
        if error.errno not in NOT_A_NAME:
            raise
        return False
    finally:
        os.unlink(first, dir_fd=folder)
