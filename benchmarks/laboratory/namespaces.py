"""The network namespaces of one process: their names, their processes, and their removal."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

ROOT_FOLDER = Path("/run/netns")
"""The folder in which `ip` keeps a file for each named namespace."""

PREFIX = "castray-lab-"
COMMAND_SECONDS = 60.0
KILL_ROUNDS = 20
KILL_SECONDS = 0.5

_OWNED = re.compile(re.escape(PREFIX) + r"(\d+)-(\d+)-.+")


class LabUnavailable(Exception):
    """A laboratory can't be created or used here; the text has the reason."""


def check_machine() -> None:
    """Raises LabUnavailable, with the missing requirement, if no laboratory can be created."""
    if not sys.platform.startswith("linux"):
        raise LabUnavailable("a laboratory needs Linux")
    if os.geteuid():
        raise LabUnavailable("a laboratory needs root, to make network namespaces")
    packages = {"ip": "iproute2", "tc": "iproute2", "ss": "iproute2", "nft": "nftables", "sysctl": "procps"}
    if missing := sorted({package for tool, package in packages.items() if shutil.which(tool) is None}):
        raise LabUnavailable(f"a laboratory needs {' and '.join(missing)}: install it")


def owner_prefix() -> str:
    """The prefix of the names of this process's namespaces."""
    return f"{PREFIX}{os.getpid()}-{_start_ticks(os.getpid())}-"


def sweep() -> list[str]:
    """Remove the namespaces whose owner has died, and their processes. Returns their names."""
    names = [path.name for path in ROOT_FOLDER.glob(f"{PREFIX}*")]
    owners = {name: _OWNED.fullmatch(name) for name in names}
    dead = [name for name, owner in owners.items() if owner and _start_ticks(int(owner[1])) != owner[2]]
    remove(dead)
    return dead


def remove(namespaces: Iterable[str]) -> None:
    """Kill the processes in these namespaces, then delete them. Missing namespaces are ignored."""
    there = [name for name in namespaces if (ROOT_FOLDER / name).exists()]
    for _ in range(KILL_ROUNDS):  # a process may start another while it is being killed
        left = processes_in(there)
        if not left:
            break
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        for process in left:
            _wait_for_end(process)
    for name in there:
        with contextlib.suppress(LabUnavailable):  # another process has removed it in the meantime
            command_output(["ip", "netns", "delete", name])


def processes_in(namespaces: Iterable[str]) -> list[int]:
    """The ids of the living processes whose network is one of these namespaces."""
    wanted = set()
    for name in namespaces:
        with contextlib.suppress(OSError):
            wanted.add(f"net:[{(ROOT_FOLDER / name).stat().st_ino}]")
    found = []
    for folder in Path("/proc").iterdir() if wanted else ():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended
                if str((folder / "ns/net").readlink()) in wanted:
                    found.append(int(folder.name))
    return found


def command_output(argv: Sequence[str], text: str | None = None) -> str:
    """The output of a command. Raises LabUnavailable with its error message."""
    try:
        ended = subprocess.run(
            argv, input=text, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LabUnavailable(f"{' '.join(argv)} did not end within {COMMAND_SECONDS:g} s") from error
    if ended.returncode:
        raise LabUnavailable(f"{' '.join(argv)}: {ended.stderr.strip() or ended.returncode}")
    return ended.stdout


def ip_batch(lines: Iterable[str], namespace: str | None = None) -> None:
    """Run `ip` commands, one for each line. Raises LabUnavailable."""
    where = ["-n", namespace] if namespace else []
    command_output(["ip", *where, "-batch", "-"], "".join(f"{line}\n" for line in lines))


def nft(namespace: str, text: str) -> None:
    """Apply nftables rules in a namespace. Raises LabUnavailable."""
    command_output(["ip", "netns", "exec", namespace, "nft", "-f", "-"], text)


def sysctl(namespace: str, values: Mapping[str, str]) -> None:
    """Set kernel variables in a namespace. Raises LabUnavailable."""
    settings = [f"{key}={value}" for key, value in values.items()]
    command_output(["ip", "netns", "exec", namespace, "sysctl", "-qw", *settings])


def _wait_for_end(process: int) -> None:
    """Wait until it has ended, or for a moment."""
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.poll(KILL_SECONDS * 1000)
    finally:
        os.close(handle)


def _start_ticks(process: int) -> str:
    """The start time of a process in kernel ticks, empty if it does not exist; it detects a reused id."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]
