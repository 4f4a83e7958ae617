"""Which kind of file system files lie on: whether sizes are true, and how old their attributes may be."""

from __future__ import annotations

import os

from castray_desktop.workers.ray_side.byte_plane import linux

# By the numbers in statfs(2).
LOCAL = frozenset(
    {
        0xEF53,  # ext2, ext3, ext4
        0x58465342,  # xfs
        0x9123683E,  # btrfs
        0x01021994,  # tmpfs
        0x794C7630,  # overlay
        0xF2F52010,  # f2fs
        0x2FC12FC1,  # zfs
        0xCA451A4E,  # bcachefs
        0x858458F6,  # ramfs
        0x73717368,  # squashfs
        0xE0F5E1E2,  # erofs
        0x3153464A,  # jfs
        0x52654973,  # reiserfs
        0x3434,  # nilfs
        0x4D44,  # vfat
        0x2011BAB0,  # exfat
        0x7366746E,  # ntfs3
        0x9660,  # iso9660
        0x15013346,  # udf
        0x958458F6,  # hugetlbfs
    }
)
"""Nobody but this kernel writes to these, so what it says of a file is true at that moment."""

MADE_UP = frozenset(
    {
        0x9FA0,  # proc
        0x62656572,  # sysfs
        0x64626720,  # debugfs
        0x74726163,  # tracefs
        0x27E0EB,  # cgroup
        0x63677270,  # cgroup2
        0x73636673,  # securityfs
        0xF97CFF8C,  # selinux
        0x43415D53,  # smack
        0x6165676C,  # pstore
        0xCAFE4A11,  # bpf
        0x62656570,  # configfs
        0x42494E4D,  # binfmt_misc
        0x6E736673,  # nsfs
        0x65735543,  # fuse control
        0x7655821,  # resctrl
    }
)
"""The kernel makes their files up when they are read, and says sizes that are not theirs."""


class FileSystems:
    """The kinds of the file systems that files lie on, each asked for once."""

    def __init__(self) -> None:
        self._kinds: dict[int, int] = {}

    def is_remote(self, device: int, path: bytes) -> bool:
        """Whether others may write to the file without this kernel's noticing it at once; also if unknown."""
        return self._kind(device, path) not in LOCAL

    def is_made_up(self, device: int, path: bytes) -> bool:
        """Whether the file's size is no true one."""
        return self._kind(device, path) in MADE_UP

    def lstat(self, path: bytes) -> os.stat_result:
        """As `os.lstat`, never from attributes that a network file system has cached. Raises OSError."""
        found = os.lstat(path)
        if not self.is_remote(found.st_dev, path):
            return found
        linux.refresh(path)
        return os.lstat(path)

    def _kind(self, device: int, path: bytes) -> int:
        if device not in self._kinds:
            self._kinds[device] = linux.file_system_type(path)
        return self._kinds[device]


def is_remote(fd: int) -> bool:
    """The same for an open file."""
    return linux.file_system_type(fd) not in LOCAL


def fstat(fd: int, remote: bool) -> os.stat_result:
    """As `os.fstat`, not from cached attributes where the file is `remote`. Raises OSError."""
    if remote:
        linux.refresh(fd)
    return os.fstat(fd)
