"""Ray's object store: real Ray in each host, objects of 4 MiB, eight in flight to each recipient."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.laboratory.lab import Host, Lab, ray_environment
from benchmarks.peers.common import LIMIT_SECONDS, PeerFailed, Workshop

NAME = "Ray object store"
RUNS_WITH = "objects of 4 MiB, 8 on their way to each recipient, an actor on each node writes them to a file"
DRIVER = Path(__file__).with_name("ray_driver.py")


def available() -> str:
    there = importlib.util.find_spec("ray") and importlib.util.find_spec("numpy")
    return "" if there else "pip install ray numpy"


def run(lab: Lab, source: Path, hosts: Sequence[Host], destinations: Sequence[Path]) -> float:
    if not source.is_file():
        raise PeerFailed("it sends one file, no folder")
    first, *recipients = hosts
    before = {process for host in hosts for process in lab.processes(host)}
    try:
        head = lab.start_ray(first)
        for host in recipients:
            lab.start_ray(host, first)
        with Workshop(lab) as work:
            addresses = [host.address for host in hosts]
            driver = work.talk(first, [sys.executable, DRIVER, head, *addresses], env=ray_environment())
            driver.say(do="open", paths=[str(folder / source.name) for folder in destinations])
            driver.expect("opened", 120)
            began = time.monotonic()
            driver.say(do="send", path=str(source))
            driver.expect("sent", LIMIT_SECONDS)
            return time.monotonic() - began
    finally:
        _end({process for host in hosts for process in lab.processes(host)} - before)


def _end(processes: set[int]) -> None:
    """Ray's processes are in the hosts' namespaces, which contain nothing else."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    for process in processes:  # our own children leave a status to collect, init collects the others
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.waitpid(process, 0)
