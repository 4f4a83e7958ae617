"""A real Ray cluster in network namespaces, with an engine, for faults of processes and links.

One host has Ray's head, the engine, its driver and the clients; one has the source; the others are
recipients.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.laboratory.lab import ROOT, Host, Lab, ray_environment
from castray_desktop.core.protocol import messages
from castray_desktop.workers.base.paths import find_paths
from tests.faults.cast_observer import CastObserver

RATE = "100mbit"
RECIPIENTS = 4
DATA_PORTS = "7000-7019"
START_SECONDS = 120.0
COMMAND_SECONDS = 60.0
BACK_SECONDS = 90.0
AGENT = b"ray::NodeAgent"


class RayStage:
    """An asynchronous context manager: everything exists inside its block. Raises LabUnavailable."""

    def __init__(self, recipients: int = RECIPIENTS, rate: str = RATE) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="castray-lab-", dir="/dev/shm"))
        self.home = self.folder / "castray"
        (self.folder / "run").mkdir(mode=0o700)
        self.lab = Lab(2 + recipients, rate, coalesce=False)
        self.desk, self.source_host, *self.recipient_hosts = self.lab.hosts
        self.address = f"{self.desk.address}:6379"
        self.environment = ray_environment() | {
            "HOME": str(self.folder),
            "CASTRAY_HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "CASTRAY_LOCAL_COPY": "0",
            "CASTRAY_DATA_PORTS": DATA_PORTS,
            "QT_QPA_PLATFORM": "offscreen",
            "PYTHONPATH": str(ROOT),
        }
        self.observer = CastObserver(find_paths(self.environment))
        self.source = ""
        self.recipients: tuple[str, ...] = ()
        self.chain: tuple[str, ...] = ()  # of the last cast
        self.usual: dict[bool, float] = {}  # seconds of an undisturbed cast, by whether its end is slow
        self._hosts: dict[str, Host] = {}

    async def __aenter__(self) -> Self:
        try:
            await _to_its_end(self.lab.__enter__)
            for host in self.lab.hosts:
                self.lab.count_payload(host, DATA_PORTS)
            await self.start_ray()
            await self.start_engine()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None or not issubclass(kind, asyncio.CancelledError):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    await self.castray("engine", "stop")
            await self.observer.close()
        finally:
            await _to_its_end(self._remove)

    def _remove(self) -> None:
        self.lab.close()
        logs = self.home / "logs"
        if (keep := os.environ.get("CASTRAY_FAULT_LOGS")) and logs.is_dir():
            shutil.copytree(logs, Path(keep) / self.folder.name, dirs_exist_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    async def start_ray(self) -> None:
        """Start Ray's head and all nodes."""
        for host in self.lab.hosts:  # on a loaded machine Ray gives up if several start at once
            await self.start_ray_node(host)

    async def start_ray_node(self, host: Host) -> None:
        """Start Ray's node of one host. Its agent keeps its records in a folder of its own."""
        variables = {"HOME": str(self.folder), "XDG_DATA_HOME": str(self.data_folder(host))}
        head = None if host == self.desk else self.desk
        await _to_its_end(functools.partial(self.lab.start_ray, host, head, environment=variables))

    def data_folder(self, host: Host) -> Path:
        """Where an agent's data folder `castray` is."""
        return self.folder / "data" / host.name

    async def start_engine(self) -> None:
        """Start the engine as a client does, and wait until every node is online. Raises RuntimeError."""
        started = await self.castray("engine", "start", "--cluster", self.address, timeout=START_SECONDS)
        if started.returncode:
            raise RuntimeError(f"the engine did not start: {started.stdout}{started.stderr}")
        await self.observer.connect()
        await self.observer.client.request(messages.UseCluster(self.address), messages.Done)
        await self.whole()
        self._hosts = {self.observer.name_at(host.address): host for host in self.lab.hosts}
        self.source = self.observer.name_at(self.source_host.address)
        self.recipients = tuple(self.observer.name_at(host.address) for host in self.recipient_hosts)

    async def whole(self) -> None:
        """Wait until every node is online."""
        count = len(self.lab.hosts)
        await self.observer.until(
            f"{count} nodes online", lambda: self.observer.is_ready(count), BACK_SECONDS
        )

    def host(self, node: str) -> Host:
        """The host of a node."""
        return self._hosts[node]

    async def castray(
        self, *words: str | Path, timeout: float = COMMAND_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a command beside the engine until it ends. Raises subprocess.TimeoutExpired."""
        return await asyncio.to_thread(
            self.lab.run,
            self.desk,
            [sys.executable, "-m", "castray_desktop", *map(str, words)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    # --- processes

    def agents(self, node: str) -> list[int]:
        """The agents' processes in a node's host: one, unless something was left behind."""
        return [pid for pid in self.lab.processes(self.host(node)) if _command(pid).startswith(AGENT)]

    def processes(self, *parts: bytes) -> list[int]:
        """Processes of the desk with one of these parts in their command lines."""
        found = self.lab.processes(self.desk)
        return [pid for pid in found if any(part in _command(pid) for part in parts)]

    def engine(self) -> list[int]:
        """The engine's process, if it runs."""
        return self.processes(b"castray_desktop.workers.engine.process")

    def drivers(self) -> list[int]:
        """The driver's process."""
        return self.processes(b"castray_desktop.workers.driver.ray_driver")

    def ray_processes(self, host: Host, *names: bytes) -> list[int]:
        """Ray's processes in a host whose program has one of these names."""
        return [
            pid
            for pid in self.lab.processes(host)
            if _command(pid).split(b"\0")[0].rpartition(b"/")[2] in names
        ]

    def end_ray(self) -> None:
        """End every process of Ray in the hosts, as when all of their machines restart. The engine and its
        driver run on."""
        for host in self.lab.hosts:
            for pid in self.lab.processes(host):
                command = _command(pid)
                if command.startswith(b"ray::") or (b"/ray/" in command and b"castray" not in command):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def data_connections(self) -> list[str]:
        """Established connections between agents."""
        low, high = DATA_PORTS.split("-")
        ports = f"( sport >= :{low} and sport <= :{high} )"
        found = []
        for host in self.lab.hosts:
            shown = self.lab.run(
                host, ["ss", "-Htn", "state", "established", ports], capture_output=True, text=True
            )
            found += [f"{host.name}: {line}" for line in shown.stdout.splitlines()]
        return found


async def _to_its_end(work: Callable[[], object]) -> None:
    """Do it in a thread. If this is cancelled, it ends first, so that nothing appears after the clean-up."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
