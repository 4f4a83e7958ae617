"""The Ray clusters that this machine is a node of, found by their processes, as Ray itself finds them.

Nothing of Ray is imported. What another user runs is found as well; what runs in another network
namespace is not (nor where that can't be known), nor a cluster that an engine has started for itself.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from castray_desktop.workers.cluster.reaper import is_temp_dir

PROC = Path("/proc")
_GCS = b"--gcs-address="
_TEMP_DIR = (b"--temp_dir=", b"--temp-dir=")


def running_clusters(proc: Path = PROC) -> tuple[str, ...]:
    """The addresses of their heads, HOST:PORT, sorted. May take some milliseconds."""
    commands = _linux(proc) if sys.platform.startswith("linux") else _elsewhere()
    return tuple(sorted(set(addresses(commands))))


def is_a_node(proc: Path = PROC) -> bool:
    """Whether any node of Ray runs on this machine, one of our own clusters as well."""
    commands = list(_linux(proc) if sys.platform.startswith("linux") else _elsewhere())
    return any(words and words[0].rpartition(b"/")[2] == b"raylet" for words in commands)


def addresses(commands: Iterable[list[bytes]]) -> Iterator[str]:
    """The heads' addresses in the command lines of raylets."""
    for words in commands:
        if not words or words[0].rpartition(b"/")[2] != b"raylet" or _is_of_an_engine(words):
            continue
        for word in words:
            if word.startswith(_GCS):
                yield word[len(_GCS) :].decode(errors="replace")


def _is_of_an_engine(words: list[bytes]) -> bool:
    """Whether an engine has started this raylet: its files lie in a run's temp folder."""
    folders = [word.partition(b"=")[2] for word in words if word.startswith(_TEMP_DIR)]
    return any(is_temp_dir(Path(os.fsdecode(folder))) for folder in folders)


def _linux(proc: Path) -> Iterator[list[bytes]]:
    own = set(_networks(proc / "self"))
    for entry in os.scandir(proc):
        if not entry.name.isdigit():
            continue
        try:
            words = Path(entry.path, "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile
            continue
        if not own.isdisjoint(_networks(Path(entry.path))):
            yield words


def _networks(process: Path) -> Iterator[str]:
    """What names the network namespace of a process, as far as it may be known.

    The link is for those who may trace the process. A file below `net` is for all, and another one in each
    namespace.
    """
    with contextlib.suppress(OSError):
        yield str((process / "ns" / "net").readlink())
    with contextlib.suppress(OSError):
        found = (process / "net" / "tcp").stat()
        yield f"{found.st_dev}:{found.st_ino}"


def _elsewhere() -> Iterator[list[bytes]]:
    table = subprocess.run(["ps", "-axww", "-o", "command="], capture_output=True, check=False)
    for line in table.stdout.splitlines():
        yield line.split()
