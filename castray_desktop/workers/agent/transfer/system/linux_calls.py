"""System calls that Python does not offer, and fallbacks where the kernel lacks them."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import stat
import sys
from typing import Any, Optional, Union

from castray_desktop.workers.agent.transfer.system.open_folders import lstat_in

_RENAME_NOREPLACE = 1
_AT_FDCWD = -100
_AT_EMPTY_PATH, _AT_SYMLINK_NOFOLLOW, _AT_STATX_FORCE_SYNC = 0x1000, 0x100, 0x2000
_STATX_BASIC = 0x7FF
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY)
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)  # any other error means that data may be lost
TMPFS_MAGIC = 0x01021994


def libc_function(name: str, *arguments: Any) -> Any:
    """A function of the C library, None if it lacks it."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (OSError, AttributeError):
        return None
    function.argtypes = arguments
    function.restype = ctypes.c_int
    return function


_renameat2 = libc_function(
    "renameat2", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint
)
_fallocate = libc_function("fallocate", ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_syncfs = libc_function("syncfs", ctypes.c_int)
_fstatfs = libc_function("fstatfs", ctypes.c_int, ctypes.c_char_p)
_statfs = libc_function("statfs", ctypes.c_char_p, ctypes.c_char_p)
_statx = libc_function("statx", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p)


def rename_without_replacing(source: bytes, source_folder: int, target: bytes, target_folder: int) -> None:
    """Give `source` in an open folder the name `target` in another one.

    Raises FileExistsError if something has that name.
    """
    if _renameat2 is not None:
        if _renameat2(source_folder, source, target_folder, target, _RENAME_NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in _UNSUPPORTED:
            raise OSError(code, os.strerror(code), os.fsdecode(target))
    _rename_by_link(source, source_folder, target, target_folder)


def _rename_by_link(source: bytes, source_folder: int, target: bytes, target_folder: int) -> None:
    """For file systems without RENAME_NOREPLACE. A folder can't be linked: it is checked, then renamed."""
    if stat.S_ISDIR(os.stat(source, dir_fd=source_folder, follow_symlinks=False).st_mode):
        _rename_checked(source, source_folder, target, target_folder)
        return
    folders = {"src_dir_fd": source_folder, "dst_dir_fd": target_folder}
    try:
        os.link(source, target, follow_symlinks=False, **folders)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        _rename_checked(source, source_folder, target, target_folder)
        return
    os.unlink(source, dir_fd=source_folder)


def _rename_checked(source: bytes, source_folder: int, target: bytes, target_folder: int) -> None:
    if lstat_in(target, target_folder) is not None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fsdecode(target))
    os.rename(source, target, src_dir_fd=source_folder, dst_dir_fd=target_folder)


def reserve_space(fd: int, size: int) -> bool:
    """Reserve space for a file of `size` bytes. False where the file system can't; raises OSError for no
    room.

    Not on tmpfs, where it allocates all memory at once, before the first byte (measured).
    """
    if _fallocate is None or file_system_type(fd) == TMPFS_MAGIC:
        return False
    while _fallocate(fd, 0, 0, size) != 0:
        code = ctypes.get_errno()
        if code in _UNSUPPORTED:
            return False
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))
    return True


def sync_file_system(fd: int) -> bool:
    """Write everything of the file system that `fd` lies on to its disk. False where that can't be asked for.

    Raises OSError, also for what went wrong since `fd` was opened.
    """
    if _syncfs is None:
        return False
    while _syncfs(fd) != 0:
        code = ctypes.get_errno()
        if code in _CANNOT_SYNC:
            return False
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))
    return True


def sync(fd: int, path: bytes) -> None:
    """Write an open file, or a folder's entries, to the disk. Raises OSError, which names `path`.

    Some file systems can't sync a folder, or anything: that is no error.
    """
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise OSError(error.errno, error.strerror, os.fsdecode(path)) from error


def sync_path(path: bytes, folder: Optional[int] = None, shown: bytes = b"") -> None:
    """The same for a file or a folder that is not open, perhaps below an open folder."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
    try:
        sync(fd, shown or path)
    finally:
        os.close(fd)


def file_system_type(file: Union[int, bytes]) -> int:
    """The magic number of the file system that a descriptor or a path lies on, 0 if unknown."""
    call = _fstatfs if isinstance(file, int) else _statfs
    if call is None:
        return 0
    raw = ctypes.create_string_buffer(256)
    if call(file, raw) != 0:
        return 0
    return int(ctypes.c_long.from_buffer(raw).value)


def refresh(file: Union[int, bytes]) -> None:
    """Have a network file system ask its server for the attributes of a descriptor or a path once more.

    What is read after that is no older either. Where it does not work the next `stat` says what is cached.
    """
    if _statx is None:
        return
    raw = ctypes.create_string_buffer(256)
    if isinstance(file, int):
        _statx(file, b"", _AT_STATX_FORCE_SYNC | _AT_EMPTY_PATH, _STATX_BASIC, raw)
    else:
        _statx(_AT_FDCWD, file, _AT_STATX_FORCE_SYNC | _AT_SYMLINK_NOFOLLOW, _STATX_BASIC, raw)


def prefer_bbr(sock: socket.socket) -> None:
    """Use BBR congestion control if the kernel offers it: it keeps its rate on long paths with some loss."""
    option = getattr(socket, "TCP_CONGESTION", None)
    if option is None:
        return
    try:
        sock.setsockopt(socket.IPPROTO_TCP, option, b"bbr")
    except OSError:  # not offered, or not to us: the default is fine
        return


def set_tcp_user_timeout(sock: socket.socket, seconds: float) -> None:
    """End a TCP connection whose peer acknowledges nothing for this long; the default is 15 minutes."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None:
        sock.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))


NO_BOUND = (1 << 31) - 1


def limit_unsent(sock: socket.socket, count: int) -> None:
    """Limit the unsent bytes in the kernel to about `count`, if it supports that."""
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, count)


def machine_identity() -> tuple[str, str, str]:
    """Identity of this machine, of its boot, and of the PID namespace."""
    known = [socket.gethostname()]
    with contextlib.suppress(OSError), open("/etc/machine-id", encoding="utf-8") as file:
        known.append(file.read().strip())
    boot = namespace = ""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
        boot = file.read().strip()
    with contextlib.suppress(OSError):
        namespace = os.readlink("/proc/self/ns/pid")
    return " ".join(known), boot, namespace


def process_start(pid: int) -> str:
    """Start time of a process, which distinguishes it from a later one with the same number; empty if
    unknown."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return ""
