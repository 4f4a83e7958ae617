"""What processes and folders use at a moment, from /proc and the file system. Linux only."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from benchmarks.soak.soak_records import ProcessSample

PROC = Path("/proc")
STAGING_PREFIX = ".castray-"


def sample_process(role: str, pid: int) -> ProcessSample | None:
    """None if the process has ended."""
    folder = PROC / str(pid)
    try:
        memory = _fields(folder / "smaps_rollup")
        status = _fields(folder / "status")
        descriptors = sum(1 for _ in (folder / "fd").iterdir())
        return ProcessSample(
            role, pid, memory["Pss"] * 1024, memory["Rss"] * 1024, status["Threads"], descriptors
        )
    except (OSError, KeyError):
        return None


def _fields(path: Path) -> dict[str, int]:
    """The lines `Name: NUMBER ...` of a file in /proc. Raises OSError."""
    found = {}
    for line in path.read_text(errors="replace").splitlines():
        name, _, rest = line.partition(":")
        number = rest.split()[:1]
        if number and number[0].isdigit():
            found[name] = int(number[0])
    return found


def command_line(pid: int) -> list[bytes]:
    """The arguments of a process; empty if it has ended."""
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    return []


def disk_bytes(folder: Path) -> int:
    """Allocated bytes of all files below a folder; what vanishes meanwhile counts nothing."""
    total = 0
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue
    return total


def staging_folders(folder: Path) -> list[Path]:
    """The staging folders of deliveries below a folder."""
    found = []
    for here, names, _ in os.walk(folder):
        found += [Path(here, name) for name in names if name.startswith(STAGING_PREFIX)]
        names[:] = [name for name in names if not name.startswith(STAGING_PREFIX)]
    return found
