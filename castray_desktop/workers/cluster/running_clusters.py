"""The Ray clusters that this machine is a node of, found by their processes, as Ray itself finds them.

Nothing of Ray is imported. What another user runs is found as well; what runs in another network
namespace is not, nor a cluster that an engine has started for itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from castray_desktop.workers.cluster.reaper import TEMP_PREFIX

PROC = Path("/proc")
_GCS = b"--gcs-address="
_OWN = f"/{TEMP_PREFIX}".encode()


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
        if not words or words[0].rpartition(b"/")[2] != b"raylet" or any(_OWN in word for word in words):
            continue
        for word in words:
            if word.startswith(_GCS):
                yield word[len(_GCS) :].decode(errors="replace")


def _linux(proc: Path) -> Iterator[list[bytes]]:
    own = _network(proc / "self")
    for entry in os.scandir(proc):
        if not entry.name.isdigit():
            continue
        try:
            words = Path(entry.path, "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile
            continue
        if _network(Path(entry.path)) in (own, ""):
            yield words


def _network(process: Path) -> str:
    """The network namespace of a process; empty where it may not be known."""
    try:
        return str((process / "ns" / "net").readlink())
    except OSError:
        return ""


def _elsewhere() -> Iterator[list[bytes]]:
    table = subprocess.run(["ps", "-axww", "-o", "command="], capture_output=True, check=False)
    for line in table.stdout.splitlines():
        yield line.split()
