"""Which file system a folder lies on, and where in it, so that two machines can compare.

From /proc/self/mountinfo (proc_pid_mountinfo(5)); elsewhere nothing is known.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple, Optional

MOUNTINFO = "/proc/self/mountinfo"

# No two kernels can have one of these at the same time, so what counts is this kernel's number for it.
_OF_ONE_KERNEL = frozenset(
    b"btrfs exfat ext2 ext3 ext4 f2fs iso9660 jfs ntfs3 overlay ramfs squashfs tmpfs vfat xfs zfs".split()
)
_ESCAPE = re.compile(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    """One line of the table."""

    device: bytes  # MAJOR:MINOR
    root: bytes  # the part of the file system that is mounted, from the file system's top
    point: bytes  # where it is mounted
    kind: bytes
    source: bytes


def parse(table: bytes) -> list[Mount]:
    """The mounts of a mountinfo table; lines that make no sense are left out."""
    found = []
    for line in table.splitlines():
        before, dash, after = line.partition(b" - ")
        left, right = before.split(b" "), after.split(b" ")
        if dash and len(left) >= 6 and len(right) >= 2:
            found.append(Mount(left[2], *map(_plain, (left[3], left[4], right[0], right[1]))))
    return found


def _plain(field: bytes) -> bytes:
    """Spaces, tabs, line ends and backslashes come as three octal digits."""
    return _ESCAPE.sub(lambda match: bytes([int(match.group(1), 8) & 0xFF]), field)


def locate(mounts: list[Mount], path: bytes) -> Optional[tuple[Mount, bytes]]:
    """The mount that an absolute path lies on, and the path from the file system's top.

    The longest mount point wins, and of several on one point the last, which hides the others.
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
    """A text that is equal for two nodes whose `path` may be one folder of one storage; empty if unknown.

    Equal texts are a reason to look, no proof: names of servers and devices mean other things elsewhere.
    `kernel` tells running kernels apart, since a file system of one kernel is no other kernel's.
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
    return locate(parse(table), path)


def _name(mount: Mount, kernel: str) -> str:
    if mount.kind in _OF_ONE_KERNEL:
        return f"{kernel}:{mount.device.decode()}"
    # nfs and nfs4 are one thing, and a part of an export may be mounted by itself
    kind = re.sub(rb"[0-9]+$", b"", mount.kind) or mount.kind
    return f"{os.fsdecode(kind)}:{os.fsdecode(mount.source).rstrip('/')}"
