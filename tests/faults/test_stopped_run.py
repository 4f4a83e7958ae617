"""A run of the fault matrix that is stopped removes what it has started."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.laboratory.namespaces import PREFIX, ROOT_FOLDER, LabUnavailable, check_machine
from tests.helpers.extent import TEST_ALL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
SECONDS = 100.0
MARK = "CASTRAY_STOPPED_RUN"
FOLDERS = re.compile(rb"/dev/shm/castray-(?:lab|fault)-[^/\0]+|/tmp/clr[^/\0]+")


class Run:
    """`python -m tests.faults` for one cell. Its processes are known by a variable that they inherit."""

    def __init__(self, cell: str) -> None:
        self._mark = f"{MARK}={secrets.token_hex(8)}"
        name, _, value = self._mark.partition("=")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults", "--rows", cell],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {name: value},
            start_new_session=True,
        )
        self.folders: set[Path] = set()

    def commands(self) -> dict[int, bytes]:
        """The command lines of its living processes. Notes the folders that they name."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                variables = (process / "environ").read_bytes()
                command = (process / "cmdline").read_bytes()
            except OSError:  # it has ended
                continue
            if self._mark.encode() in variables:
                found[int(process.name)] = command
                names = FOLDERS.findall(variables + b"\0" + command)
                self.folders |= {Path(os.fsdecode(name)) for name in names}
        return found

    def until_there_is(self, part: bytes, count: int) -> None:
        """Wait for so many processes with this in their command lines."""
        deadline = time.monotonic() + SECONDS
        while sum(part in command for command in self.commands().values()) < count:
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < deadline, f"{part!r} did not start"
            time.sleep(0.2)  # each look reads the variables of all processes

    def stop(self, number: signal.Signals) -> str:
        """Stop it; returns what it printed."""
        self.process.send_signal(number)
        return self.process.communicate(timeout=SECONDS)[0]

    def left(self) -> list[str]:
        """What is still there."""
        folders = tuple(self.folders)
        namespaces = ROOT_FOLDER.glob(f"{PREFIX}{self.process.pid}-*")
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        return [
            *(f"process {pid}: {command[:200]!r}" for pid, command in self.commands().items()),
            *(str(path) for path in (*namespaces, *folders) if path.exists()),
            *(mount for mount in mounts if any(mount.startswith(str(folder)) for folder in folders)),
        ]


@contextmanager
def run_of(cell: str) -> Iterator[Run]:
    try:
        check_machine()
    except LabUnavailable as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
    run = Run(cell)
    try:
        yield run
    finally:
        for pid in run.commands():
            os.kill(pid, signal.SIGKILL)
        run.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_over_agents_and_a_file_system_of_its_own_is_stopped(number: signal.Signals) -> None:
    with run_of("inbox that hangs/last hop/half way") as run:
        run.until_there_is(b"benchmarks.laboratory.lab_agent", 4)
        output = run.stop(number)
        assert run.process.returncode == 128 + number, output
        assert f"stopped by {number.name}" in output
        assert len(run.folders) == 1
        assert run.left() == []


@pytest.mark.ray
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM] if TEST_ALL else [signal.SIGTERM])
def test_a_run_over_a_ray_cluster_is_stopped(number: signal.Signals) -> None:
    with run_of("SIGSTOP for 20 s, then SIGCONT/last hop/preflight") as run:
        run.until_there_is(b"raylet/raylet", 1)
        output = run.stop(number)
        assert run.process.returncode == 128 + number, output
        assert len(run.folders) > 1
        assert run.left() == []
