"""Files to send, and checks that they arrived."""

from __future__ import annotations

import os
import stat
from pathlib import Path

Facts = dict[str, tuple[str, int, bytes]]


def make_file(path: Path, size: int) -> Path:
    """A file of this size whose megabytes all differ."""
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for number in range(-(-size // (1 << 20))):
            left = size - number * (1 << 20)
            file.write((number.to_bytes(8, "big") + block[8:])[: min(left, 1 << 20)])
    return path


def make_tree(folder: Path, files: int) -> Path:
    """Nested folders with names in several scripts, empty files and folders, and links."""
    names = ("数据", "模型 权重", "données", "Ωμέγα", "plain", "名字很长" * 10)
    for number in range(files):
        below = folder / names[number % 6] / names[number // 6 % 6] / f"层{number // 36}"
        below.mkdir(parents=True, exist_ok=True)
        (below / f"文件 {number}.bin").write_bytes(os.urandom(number % 5000))
    (folder / "空文件夹").mkdir()
    (folder / "空文件").touch()
    (folder / "link").symlink_to("空文件")
    (folder / "dangling").symlink_to("nowhere")
    script = folder / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    os.utime(script, ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
    return folder


def facts(root: Path) -> Facts:
    """Everything below `root` that a delivery preserves: kind, permissions, time and content."""
    found: Facts = {}
    for path in [root, *sorted(root.rglob("*"))]:
        name = str(path.relative_to(root))
        state = path.lstat()
        if path.is_symlink():
            found[name] = ("link", 0, os.fsencode(path.readlink()))
        elif path.is_dir():
            found[name] = (f"folder {stat.S_IMODE(state.st_mode):o}", 0, b"")
        else:
            found[name] = (f"file {stat.S_IMODE(state.st_mode):o}", state.st_mtime_ns, path.read_bytes())
    return found
