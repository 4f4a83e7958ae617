"""One real local cluster for all tests of this folder, in a temporary home."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from castray_desktop.core.protocol import messages
from castray_desktop.workers.base.paths import find_paths
from castray_desktop.workers.base.settings import SettingsFile
from castray_desktop.workers.client.engine_client import EngineClient
from castray_desktop.workers.clusters import reaper

START_SECONDS = 120.0
SEND_SECONDS = 90.0
GONE_SECONDS = 30.0


@dataclass
class Castray:
    """The command line in a temporary home."""

    home: Path
    runs: dict[str, Path] = field(default_factory=dict)  # every observed run

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "HOME": str(self.home),
            "CASTRAY_HOME": str(self.home / "castray"),
            "XDG_RUNTIME_DIR": str(self.home / "run"),
            "CASTRAY_CLUSTER": "local",  # this machine may be a node of another cluster
        }

    def demo_nodes(self, count: int) -> None:
        """Set the number of nodes beside this computer, before the engine starts. Each is a process."""
        paths = find_paths(self.environment)
        paths.prepare()
        SettingsFile(paths.settings).change(messages.EngineSettings(demo_nodes=count))

    def __call__(
        self, *arguments: str | Path, timeout: float = SEND_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a command until it ends."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def command(self, *arguments: str | Path) -> list[str]:
        return [sys.executable, "-m", "castray_desktop", *map(str, arguments)]

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start a command and leave it running."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def send(self, *arguments: str | Path) -> tuple[int, dict[str, Any], str]:
        """`send --json`: exit status, result and standard error."""
        done = self("send", *arguments, "--json")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        results = [line for line in lines if line["event"] == "result"]
        assert len(results) <= 1
        assert all(line["event"] in ("progress", "result", "error") for line in lines)
        return done.returncode, results[0] if results else {}, done.stderr

    def nodes(self) -> list[dict[str, Any]]:
        listed = self("nodes", "--json")
        assert listed.returncode == 0, listed.stderr
        nodes: list[dict[str, Any]] = json.loads(listed.stdout)
        return nodes

    def processes(self) -> list[int]:
        """Every process that was started with this home: engine, reaper, driver, Ray and agents."""
        mark = f"CASTRAY_HOME={self.home / 'castray'}".encode()
        found = set()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.add(int(entry.name))
        for record in (self.home / "castray" / "runs").glob("*.json"):
            with contextlib.suppress(OSError):
                run = json.loads(record.read_text())
                self.runs[run["run"]] = Path(run["temp_dir"])
        for name, temp_dir in self.runs.items():
            found.update(reaper.processes_of(name, temp_dir))
        return sorted(found)

    def wait_until_gone(self, seconds: float = GONE_SECONDS) -> list[int]:
        """The processes that remain after this number of seconds."""
        deadline = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < deadline:
            for pid in left:
                _await_end(pid, deadline)
        return left


def _await_end(pid: int, deadline: float) -> None:
    """Wait until that process has ended. A look at all processes every moment would keep a processor busy."""
    try:
        ended = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([ended], [], [], max(deadline - time.monotonic(), 0.0))
    finally:
        os.close(ended)


def make_home(folder: Path) -> Castray:
    (folder / "run").mkdir(mode=0o700)
    return Castray(folder)


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Castray]:
    """A local cluster that runs for all tests of this folder."""
    castray = make_home(tmp_path_factory.mktemp("home"))
    started = castray("engine", "start", "--cluster", "local", timeout=START_SECONDS)
    assert started.returncode == 0, started.stderr
    yield castray
    stopped = castray("engine", "stop", timeout=60)
    assert stopped.returncode == 0, stopped.stderr
    assert castray.wait_until_gone() == []
    assert not list((castray.home / "castray" / "runs").iterdir())
    assert not (castray.home / ".ray").exists()


@pytest.fixture
def own_castray(tmp_path: Path) -> Iterator[Castray]:
    """A home without an engine. No process may remain afterwards."""
    castray = make_home(tmp_path)
    yield castray
    castray("engine", "stop", timeout=60)
    assert castray.wait_until_gone() == []


@pytest.fixture
async def client(cluster: Castray) -> AsyncIterator[EngineClient]:
    """Of the engine of that cluster. All schedules are disabled afterwards."""
    client = await EngineClient.connect(find_paths(cluster.environment), "test", start=False)
    yield client
    await client.request(messages.EnableSchedule("", False), messages.Done)
    await client.close()
