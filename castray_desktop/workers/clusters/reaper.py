"""Ends what a driver has started, whatever happens to the engine.

Ray starts a dozen processes, and not all of them end when their parent is killed. Every process
that descends from a driver inherits the variable `CASTRAY_RUN`, which names the run, and is found by
it. Some of Ray's own write a title over their environment; those are known by the title and by the
files that they have open in the run's temp folder. `sweep` ends them all and removes that folder.

Run as a script, `reaper.py RUN_FILE` waits until its standard input is closed, which the kernel does
when the engine has ended for any reason, and sweeps. It imports the standard library alone, so that it
stays small.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

RUN_VARIABLE = "CASTRAY_RUN"
GRACE_SECONDS = 2.0
KILL_SECONDS = 2.0
REMOVE_SECONDS = 3.0
TEMP_PREFIX = "castray-"
TEMP_NAME = re.compile(TEMP_PREFIX + "[0-9a-f]{12}")
MARK = "castray-run"
RAY_TITLE = b"ray::"


def write_run(runs: Path, run: str, temp_dir: Path, engine: int) -> Path:
    """Record a run before its driver starts, for a sweep after a crash. Raises OSError."""
    path = runs / f"{run}.json"
    path.touch(0o600)
    path.write_text(json.dumps({"run": run, "temp_dir": str(temp_dir), "engine": engine}))
    return path


def make_temp_dir(folder: Path) -> None:
    """Make a run's temp folder, with a mark that tells it from others. Raises OSError."""
    folder.mkdir(mode=0o700)
    (folder / MARK).touch(0o600)


def is_temp_dir(folder: Path) -> bool:
    """Whether a folder was made as the temp folder of a run, by any engine."""
    if TEMP_NAME.fullmatch(folder.name) is None:
        return False
    try:
        (folder / MARK).lstat()
    except PermissionError:  # it is another user's: only the name is known
        return True
    except OSError:
        return False
    return True


def sweep(record: Path, grace: float = GRACE_SECONDS) -> None:
    """End all processes of the run in `record`, then remove its temp folder and the record.

    They get `grace` seconds to end, since agents remove their part files.
    """
    try:
        facts = json.loads(_read(record))
        run, temp_dir = str(facts["run"]), Path(facts["temp_dir"])
        if not run or "\0" in str(temp_dir):
            raise ValueError("it names no run")
    except OSError:  # it is not known to be damaged: the next start may read it
        return
    except (ValueError, KeyError, TypeError, RecursionError):
        record.replace(record.with_name(f"damaged-{record.stem}"))
        return
    deadline = time.monotonic() + grace
    while list(processes_of(run, temp_dir)) and time.monotonic() < deadline:
        time.sleep(0.05)
    deadline = time.monotonic() + KILL_SECONDS
    while left := list(processes_of(run, temp_dir)):  # this may take long on a busy machine
        for pid in left:
            _kill(pid)
        if time.monotonic() >= deadline:
            break
        time.sleep(0.05)
    if temp_dir.name.startswith(TEMP_PREFIX):
        _remove(temp_dir)
    record.unlink(missing_ok=True)


def _read(record: Path) -> bytes:
    """Again after an error that passes, like too many open files. Raises OSError."""
    for pause in (0.05, 0.2, 0.5):
        try:
            return record.read_bytes()
        except FileNotFoundError:
            raise
        except OSError:
            time.sleep(pause)
    return record.read_bytes()


def _remove(folder: Path) -> None:
    """Remove a folder, retrying if an ending process has written into it."""
    deadline = time.monotonic() + REMOVE_SECONDS
    shutil.rmtree(folder, ignore_errors=True)
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
        shutil.rmtree(folder, ignore_errors=True)


def sweep_abandoned(runs: Path) -> None:
    """Sweep runs whose engine and reaper were both killed; called at an engine's start."""
    for record in runs.glob("*.json"):
        sweep(record, grace=0.0)


def processes_of(run: str, temp_dir: Path) -> Iterator[int]:
    """Live processes of this run, except the caller."""
    mark = f"{RUN_VARIABLE}={run}".encode()
    if sys.platform.startswith("linux"):
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            process = Path(entry.path)
            if _is_marked(process, mark) or _is_rays(process, temp_dir):
                yield int(entry.name)
        return
    table = subprocess.run(["ps", "-axEww", "-o", "pid=,command="], capture_output=True, check=False)
    for line in table.stdout.splitlines():
        pid, _, command = line.strip().partition(b" ")
        if mark in command.split() and int(pid) != os.getpid():
            yield int(pid)


def _is_marked(process: Path, mark: bytes) -> bool:
    try:
        if mark not in (process / "environ").read_bytes().split(b"\0"):
            return False
        return (process / "stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:  # ended meanwhile or owned by another user
        return False


def _is_rays(process: Path, temp_dir: Path) -> bool:
    """Whether it has one of Ray's process titles and open files in this run's folder."""
    try:
        if not (process / "cmdline").read_bytes().startswith(RAY_TITLE):
            return False
        return any(link.readlink().is_relative_to(temp_dir) for link in (process / "fd").iterdir())
    except OSError:
        return False


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def main() -> None:
    """Wait for the engine's end, then sweep its run."""
    record = Path(sys.argv[1])
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # it must outlive the terminal and the engine
    sys.stdin.buffer.read()
    if record.exists():
        sweep(record)


if __name__ == "__main__":
    main()
