"""Processes of this machine, by number and start time: whether they run, and their end."""

from __future__ import annotations

import os
import signal
import time

END_SECONDS = 3.0
"""A process that was killed ends at once, unless its disk hangs."""

_PAUSE = 0.02
_STATE, _THREADS, _START = 0, 17, 19  # fields of /proc/PID/stat after the name


def process_start(pid: int) -> str:
    """Start time of a process, which distinguishes it from a later one with the same number; empty if
    unknown."""
    fields = _stat(pid)
    return fields[_START] if fields else ""


def is_running(pid: int, start: str) -> bool:
    """Whether the process with that start time exists; a suspended one does.

    One that is dead does not, even if its parent has not waited for it yet.
    """
    fields = _stat(pid)
    if not fields or fields[_START] != start:
        return False
    return fields[_STATE] not in "ZX" or fields[_THREADS] not in ("0", "1")


def end_process(pid: int, start: str, seconds: float = END_SECONDS) -> bool:
    """Kill the process with that start time, which also ends a suspended one; wait for its end.

    Returns whether it has ended: not if its disk hangs, or another user has it.
    """
    deadline = time.monotonic() + seconds
    while is_running(pid, start):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name; empty where there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].decode("ascii", "replace").split()
    except OSError:
        return []
    return fields if len(fields) > _START else []
