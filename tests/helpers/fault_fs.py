"""A FUSE file system in memory that fails when a test says so, and forgets what was not synced.

    async with fault_fs(folder) as disk:          # mounted at the folder, in a process of its own
        await disk.hold("write", r"/parts/", after_bytes=1 << 20)
        ...
        await disk.held()                         # a write waits there: nothing happens on the disk meanwhile
        await disk.set_state(full=True)
        await disk.go_on()

Power loss follows POSIX as strictly as it can be read: without `fsync` of the file its contents are lost,
without `fsync` of the folder its names are. The kernel does not pass `syncfs` on, so that syncs nothing.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import hashlib
import json
import os
import re
import stat
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 20.0
REPLY_SECONDS = 20.0
STAGING = ".castray-"
NO_REPLACE, EXCHANGE = 1, 2
CHANGES = frozenset(
    {
        "create",
        "write",
        "truncate",
        "mkdir",
        "unlink",
        "rmdir",
        "rename",
        "link",
        "symlink",
        "chmod",
        "utimens",
    }
)
BLOCK = 512


# --- the file system, in its process --------------------------------------------------------------


@dataclass(eq=False)
class Inode:
    """A file, folder or link, as it is and as the disk has it."""

    number: int
    mode: int
    data: bytearray = field(default_factory=bytearray)
    entries: dict[str, Inode] = field(default_factory=dict)
    times: list[int] = field(default_factory=lambda: [time.time_ns()] * 3)  # access, change, of the inode
    synced_data: bytes | None = None  # None: never synced
    synced_entries: dict[str, Inode] = field(default_factory=dict)
    forgets: bool = False  # a failed sync: later ones succeed, and the data is lost all the same

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    def touch(self, contents: bool = True) -> None:
        now = time.time_ns()
        self.times[2] = now
        if contents:
            self.times[1] = now


@dataclass
class State:
    """What is wrong with the disk at present."""

    full: bool = False
    read_only: bool = False
    hangs: bool = False
    errors: dict[str, int] = field(default_factory=dict)  # operation -> how often it still fails; -1: always
    error_path: str = ""  # pattern of the paths that this concerns
    free: int = 1 << 30


@dataclass
class Hold:
    """Where an operation waits."""

    operation: str
    path: str
    after_bytes: int
    count: int


class FaultFileSystem:
    """The operations; names and arguments are those that libfuse wants, paths are text."""

    use_ns = True

    def __init__(self) -> None:
        self.state = State()
        self.final: list[tuple[str, str, int]] = []  # final names with hash and size, whenever they change
        self._number = 1
        self.root = Inode(1, stat.S_IFDIR | 0o755)
        self._open: dict[int, Inode] = {}
        self._handles = 0
        self._news = threading.Condition()
        self._hold: Hold | None = None
        self._holding = False
        self._lost = 0  # how often power was lost

    # --- faults

    def _enter(self, operation: str, path: str | None, size: int = 0, fh: int | None = None) -> None:
        """Wait, or fail, as the state says. Raises OSError."""
        path = path or (self._path_of(self._open[fh]) if fh in self._open else "")
        with self._news:
            lost = self._lost
            hold = self._hold
            if hold is not None and operation in hold.operation.split("|") and re.search(hold.path, path):
                hold.after_bytes -= size
                hold.count -= 1
                if hold.after_bytes < 0 and hold.count < 0:
                    self._hold, self._holding = None, True
                    tell({"held": path})
                    self._news.wait_for(lambda: not self._holding)
            self._news.wait_for(lambda: not self.state.hangs)
            if lost != self._lost:
                raise OSError(errno.EIO, "power was lost")
            state = self.state
            if state.errors.get(operation, 0) and re.search(state.error_path, path):
                state.errors[operation] -= state.errors[operation] > 0
                if operation == "fsync":
                    self._forget_dirty(path, fh)
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            if operation in CHANGES and state.read_only:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            grows = operation in ("create", "write", "mkdir", "link", "symlink", "fallocate")
            if grows and state.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _forget_dirty(self, path: str, fh: int | None) -> None:
        with contextlib.suppress(OSError):
            (self._open.get(fh or -1) or self._find(path)).forgets = True

    # --- paths

    def _find(self, path: str) -> Inode:
        node = self.root
        for name in path.split("/"):
            if name:
                if name not in node.entries:
                    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
                node = node.entries[name]
        return node

    def _parent(self, path: str) -> tuple[Inode, str]:
        above, _, name = path.rstrip("/").rpartition("/")
        return self._find(above), name

    def _file(self, path: str | None, fh: int | None) -> Inode:
        if fh is not None and fh in self._open:
            return self._open[fh]
        if path is None:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return self._find(path)

    def _path_of(self, wanted: Inode) -> str:
        return next((path for path, node in walk(self.root) if node is wanted), "")

    def _new(self, path: str, mode: int) -> Inode:
        folder, name = self._parent(path)
        if name in folder.entries:
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
        self._number += 1
        node = folder.entries[name] = Inode(self._number, mode)
        folder.touch()
        return node

    def _record(self, path: str) -> None:
        """Note what final names say now."""
        if STAGING in path:
            return
        node = self._find(path)
        for name, file in walk(node, path) if node.is_folder else [(path, node)]:
            if stat.S_ISREG(file.mode) and STAGING not in name:
                self.final.append((name, hashlib.sha256(file.data).hexdigest(), len(file.data)))

    # --- what libfuse calls

    def init_with_config(self, _connection: Any, config: Any) -> None:
        """Nothing is cached in the kernel: every access is asked for here."""
        for name in ("hard_remove", "use_ino", "direct_io"):
            setattr(config, name, 1)
        for name in ("entry_timeout", "negative_timeout", "attr_timeout"):
            setattr(config, name, 0.0)

    def getattr(self, path: str | None, fh: int | None = None) -> dict[str, Any]:
        self._enter("getattr", path, fh=fh)
        with self._news:
            node = self._file(path, fh)
            size = len(node.data)
            return {
                "st_mode": node.mode,
                "st_ino": node.number,
                "st_nlink": 2 if node.is_folder else max(1, self._links(node)),
                "st_size": size,
                "st_blocks": -(-size // BLOCK),
                "st_uid": os.getuid(),
                "st_gid": os.getgid(),
                "st_atime": node.times[0],
                "st_mtime": node.times[1],
                "st_ctime": node.times[2],
            }

    def _links(self, node: Inode) -> int:
        return sum(found is node for _, found in walk(self.root))

    def statfs(self, path: str) -> dict[str, int]:
        self._enter("statfs", path)
        used = sum(len(node.data) for _, node in walk(self.root))
        free = 0 if self.state.full else max(0, self.state.free - used)
        return {
            "f_bsize": BLOCK,
            "f_frsize": BLOCK,
            "f_blocks": self.state.free // BLOCK,
            "f_bfree": free // BLOCK,
            "f_bavail": free // BLOCK,
            "f_files": 1 << 20,
            "f_ffree": 1 << 19,
            "f_favail": 1 << 19,
            "f_namemax": 255,
            "f_flag": os.ST_RDONLY if self.state.read_only else 0,
        }

    def opendir(self, path: str) -> int:
        self._enter("opendir", path)
        return self._handle(self._find(path))

    def _handle(self, node: Inode) -> int:
        self._handles += 1
        self._open[self._handles] = node
        return self._handles

    def readdir(self, path: str | None, fh: int) -> Iterator[Any]:
        self._enter("readdir", path, fh=fh)
        names = list(self._file(path, fh).entries.items())
        return iter([(name, {"st_mode": node.mode, "st_ino": node.number}, 0) for name, node in names])

    def releasedir(self, path: str | None, fh: int) -> int:
        self._open.pop(fh, None)
        return 0

    def mkdir(self, path: str, mode: int) -> int:
        self._enter("mkdir", path)
        with self._news:
            self._new(path, stat.S_IFDIR | mode)
        return 0

    def symlink(self, target: str, source: str) -> int:
        self._enter("symlink", target)
        with self._news:
            self._new(target, stat.S_IFLNK | 0o777).data[:] = source.encode()
        return 0

    def readlink(self, path: str) -> str:
        self._enter("readlink", path)
        return self._find(path).data.decode()

    def create(self, path: str, mode: int, flags: int) -> int:
        self._enter("create", path)
        with self._news:
            node = self._new(path, stat.S_IFREG | mode)
            self._record(path)
            return self._handle(node)

    def open(self, path: str, flags: int) -> int:
        self._enter("open", path)
        if flags & os.O_ACCMODE != os.O_RDONLY and self.state.read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        with self._news:
            node = self._find(path)
            if flags & os.O_TRUNC:
                del node.data[:]
                node.touch()
                self._record(path)
            return self._handle(node)

    def release(self, path: str | None, fh: int) -> int:
        self._open.pop(fh, None)
        return 0

    def read(self, path: str | None, size: int, offset: int, fh: int) -> bytes:
        self._enter("read", path, size, fh)
        with self._news:
            return bytes(self._file(path, fh).data[offset : offset + size])

    def write(self, path: str | None, data: bytes, offset: int, fh: int) -> int:
        self._enter("write", path, len(data), fh)
        with self._news:
            node = self._file(path, fh)
            if offset > len(node.data):
                node.data.extend(bytes(offset - len(node.data)))
            node.data[offset : offset + len(data)] = data
            node.touch()
            if path is not None:
                self._record(path)
            return len(data)

    def truncate(self, path: str | None, length: int, fh: int | None = None) -> int:
        self._enter("truncate", path, fh=fh)
        with self._news:
            node = self._file(path, fh)
            del node.data[length:]
            node.data.extend(bytes(length - len(node.data)))
            node.touch()
            if path is not None:
                self._record(path)
        return 0

    def fallocate(self, path: str | None, mode: int, offset: int, size: int, fh: int) -> int:
        self._enter("fallocate", path, fh=fh)
        with self._news:
            node = self._file(path, fh)
            if not mode and offset + size > len(node.data):
                node.data.extend(bytes(offset + size - len(node.data)))
        return 0

    def chmod(self, path: str, mode: int) -> int:
        self._enter("chmod", path)
        with self._news:
            node = self._find(path)
            node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)
            node.touch(contents=False)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        self._enter("utimens", path)
        with self._news:
            node, now = self._find(path), time.time_ns()
            node.times = [*(times or (now, now)), now]
        return 0

    def unlink(self, path: str) -> int:
        self._enter("unlink", path)
        with self._news:
            folder, name = self._parent(path)
            del folder.entries[name]
            folder.touch()
        return 0

    def rmdir(self, path: str) -> int:
        self._enter("rmdir", path)
        with self._news:
            folder, name = self._parent(path)
            if folder.entries[name].entries:
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
            del folder.entries[name]
            folder.touch()
        return 0

    def rename(self, old: str, new: str) -> int:
        return self.rename_with_flags(old, new, 0)

    def rename_with_flags(self, old: str, new: str, flags: int) -> int:
        """Raises OSError."""
        self._enter("rename", new)
        with self._news:
            source, name = self._parent(old)
            target, new_name = self._parent(new)
            node, there = self._find(old), target.entries.get(new_name)
            if flags & EXCHANGE:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            if there is not None and flags & NO_REPLACE:
                raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
            if there is not None and there.entries:
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
            del source.entries[name]
            target.entries[new_name] = node
            source.touch()
            target.touch()
            node.touch(contents=False)
            self._record(new)
        return 0

    def link(self, target: str, source: str) -> int:
        self._enter("link", target)
        with self._news:
            node = self._find(source)
            folder, name = self._parent(target)
            if name in folder.entries:
                raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
            folder.entries[name] = node
            folder.touch()
            node.touch(contents=False)
            self._record(target)
        return 0

    def fsync(self, path: str | None, datasync: int, fh: int) -> int:
        self._enter("fsync", path, fh=fh)
        with self._news:
            sync_inode(self._file(path, fh))
        return 0

    def fsyncdir(self, path: str | None, datasync: int, fh: int) -> int:
        return self.fsync(path, datasync, fh)

    # --- what the test says

    def carry_out(self, order: dict[str, Any]) -> Any:
        """One order of the test; returns its reply."""
        (name, value), *_ = order.items()
        with self._news:
            reply = getattr(self, f"order_{name}")(value)
            self._news.notify_all()
            return reply

    def order_hold(self, value: dict[str, Any]) -> None:
        self._hold = Hold(**value)

    def order_go_on(self, _: Any) -> None:
        self._holding = False

    def order_set_state(self, value: dict[str, Any]) -> None:
        for name, one in value.items():
            setattr(self.state, name, one)

    def order_sync(self, _: Any) -> None:
        """Everything reaches the disk."""
        for _path, node in walk(self.root):
            sync_inode(node)
        sync_inode(self.root)

    def order_power_loss(self, names_stay: bool) -> None:
        """Only what was synced is there afterwards. With `names_stay` all names are, some of zeros."""
        nodes = [self.root, *(node for _, node in walk(self.root))]
        for node in nodes:
            if node.is_folder:
                if not names_stay:
                    node.entries = dict(node.synced_entries)
            elif names_stay and node.synced_data != node.data:
                kept = node.synced_data or b""
                node.data = bytearray(kept[: len(node.data)].ljust(len(node.data), b"\0"))
            else:
                node.data = bytearray(node.synced_data or b"")
        for node in nodes:
            node.forgets = False
            sync_inode(node)
        self._lost += 1
        self.state = State()
        self._hold, self._holding = None, False
        for path, node in walk(self.root):
            if not node.is_folder:
                self._record(path)

    def order_files(self, _: Any) -> dict[str, tuple[str, int]]:
        """Hash and size of each file by path."""
        return {
            path: (hashlib.sha256(node.data).hexdigest(), len(node.data))
            for path, node in walk(self.root)
            if not node.is_folder
        }

    def order_read(self, path: str) -> str:
        return base64.b64encode(self._find(path).data).decode()

    def order_names(self, _: Any) -> list[str]:
        return [path for path, _ in walk(self.root)]

    def order_start_log(self, _: Any) -> None:
        self.final.clear()

    def order_final(self, _: Any) -> list[tuple[str, str, int]]:
        return self.final

    def order_remove(self, path: str) -> None:
        """As another machine would remove a file, or a folder with all in it."""
        folder, name = self._parent(path)
        del folder.entries[name]
        folder.touch()

    def order_change(self, value: dict[str, Any]) -> None:
        """Change a file's contents: the first bytes, or its size."""
        node = self._find(value["path"])
        if value.get("size") is not None:
            del node.data[value["size"] :]
        else:
            node.data[: len(node.data)] = bytes(255 - byte for byte in node.data)
        node.touch()


def sync_inode(node: Inode) -> None:
    """What it holds is on the disk, unless an earlier attempt has failed."""
    if node.is_folder:
        node.synced_entries = dict(node.entries)
    elif not node.forgets:
        node.synced_data = bytes(node.data)


def walk(folder: Inode, path: str = "") -> Iterator[tuple[str, Inode]]:
    """Everything below a folder with its path."""
    for name, node in list(folder.entries.items()):
        yield f"{path}/{name}", node
        if node.is_folder:
            yield from walk(node, f"{path}/{name}")


_output = threading.Lock()


def tell(message: dict[str, Any]) -> None:
    """One line to the test."""
    with _output:
        sys.__stdout__.write(json.dumps(message) + "\n")  # type: ignore[union-attr]
        sys.__stdout__.flush()  # type: ignore[union-attr]


def main(mount: str) -> None:
    """The process of the file system: mounted until its input ends."""
    import mfusepy

    system = FaultFileSystem()

    class Mount(mfusepy.FUSE):  # type: ignore[misc]
        """Passes on what the library leaves out: flags of renames, and open files."""

        def rename_fuse_3(self, old: bytes, new: bytes, flags: int) -> int:
            return system.rename_with_flags(os.fsdecode(old), os.fsdecode(new), flags)

        def truncate_fuse_3(self, path: bytes | None, length: int, fip: Any) -> int:
            handle = fip.contents.fh if fip else None
            return system.truncate(None if path is None else os.fsdecode(path), length, handle)

    def listen() -> None:
        for line in sys.stdin:
            try:
                tell({"reply": system.carry_out(json.loads(line))})
            except Exception as error:  # noqa: BLE001 - told to the test
                tell({"error": f"{type(error).__name__}: {error}"})
        os._exit(0)  # the kernel fails all calls that wait, and the process that mounted it unmounts it

    threading.Thread(target=listen, daemon=True).start()
    Mount(system, mount, foreground=True, nothreads=True, fsname="castray-fault-fs")


# --- the test's side ------------------------------------------------------------------------------


class FaultDisk:
    """A mounted file system: orders to it, and its log. Paths begin with `/`, which is the mount."""

    def __init__(self, mount: Path, process: asyncio.subprocess.Process) -> None:
        self.mount = mount
        self._process = process
        self._replies: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._held: asyncio.Queue[str] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read(), name=f"disk {mount}")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            message = json.loads(line)
            if "held" in message:
                self._held.put_nowait(message["held"])
            else:
                self._replies.put_nowait(message)

    async def _order(self, name: str, value: Any = None) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({name: value}).encode() + b"\n")
        message = await asyncio.wait_for(self._replies.get(), REPLY_SECONDS)
        if "error" in message:
            raise RuntimeError(message["error"])
        return message["reply"]

    async def hold(self, operation: str, path: str = "", *, after_bytes: int = -1, count: int = 0) -> None:
        """Stop before the operation that exceeds `after_bytes`, or after `count` of them.

        `operation` may name several, separated by `|`; `path` is a pattern.
        """
        order = {"operation": operation, "path": path, "after_bytes": after_bytes, "count": count}
        await self._order("hold", order)

    async def held(self, seconds: float = 20.0) -> str:
        """Wait until an operation is stopped; returns its path. Raises TimeoutError."""
        return await asyncio.wait_for(self._held.get(), seconds)

    async def go_on(self) -> None:
        """Carry out the operation that was stopped, in the state that the disk is in now."""
        await self._order("go_on")

    async def set_state(self, **state: Any) -> None:
        """Change fields of `State`."""
        await self._order("set_state", state)

    async def sync(self) -> None:
        """What is there now survives a power loss."""
        await self._order("sync")

    async def lose_power(self, names_stay: bool) -> None:
        """Go back to what was synced, see `order_power_loss`; operations under way fail."""
        await self._order("power_loss", names_stay)

    async def remove(self, path: str) -> None:
        """Remove a file, or a folder with all in it."""
        await self._order("remove", path)

    async def change(self, path: str, size: int | None = None) -> None:
        """Invert a file's bytes, or cut it to a size."""
        await self._order("change", {"path": path, "size": size})

    async def files(self) -> dict[str, tuple[str, int]]:
        """SHA-256 and size of every file."""
        return {path: (digest, size) for path, (digest, size) in (await self._order("files")).items()}

    async def read(self, path: str) -> bytes:
        """The contents of a file, also while the disk fails."""
        return base64.b64decode(await self._order("read", path))

    async def names(self) -> list[str]:
        """Every file, folder and link."""
        found: list[str] = await self._order("names")
        return found

    async def final_names(self) -> list[tuple[str, str, int]]:
        """Path, hash and size of files outside of staging folders, each time that one of them changed."""
        return [(path, digest, size) for path, digest, size in await self._order("final")]

    async def start_log(self) -> None:
        """Empty that list."""
        await self._order("start_log")

    async def close(self) -> None:
        """Unmount it; calls that wait get an error."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 5)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading
        command = ["umount", "-l"] if os.getuid() == 0 else ["fusermount3", "-u", "-z"]
        await asyncio.to_thread(
            subprocess.run, [*command, str(self.mount)], check=False, capture_output=True, timeout=20
        )


@contextlib.asynccontextmanager
async def fault_fs(mount: Path) -> AsyncIterator[FaultDisk]:
    """A mounted file system, empty. Raises RuntimeError if none can be mounted."""
    mount.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.helpers.fault_fs",
        str(mount),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 26,
    )
    disk = FaultDisk(mount, process)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not mount.is_mount():  # the kernel has no event for that
            if process.returncode is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no FUSE file system could be mounted at {mount}: is fuse3 installed?")
            await asyncio.sleep(0.01)
        yield disk
    finally:
        await disk.close()


if __name__ == "__main__":
    main(sys.argv[1])
