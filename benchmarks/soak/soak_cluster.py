"""The cluster of a soak: a Ray node in each host of a laboratory, the engine, a window and an HTTP server.

Everything except Ray's own folders is in one memory file system, so that other programs on the disk do not
count, and a destination can be a small file system of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.laboratory.lab import ROOT, Host, Lab, ray_environment
from benchmarks.soak.resource_samples import command_line, disk_bytes, sample_process, staging_folders
from benchmarks.soak.soak_records import ProcessSample
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import ClusterPhase, NodeInfo, NodeState
from castray_desktop.workers.base.paths import find_paths
from castray_desktop.workers.client.engine_client import EngineClient, ReplyType

COMMAND_SECONDS = 90.0
RETRY_SECONDS = 0.2
UNKNOWN_SECONDS = 20.0
GONE_SECONDS = 30.0
PORT = 8123
DRIVER = b"castray_desktop.workers.driver.ray_driver"
AGENT_TITLES = (b"NodeAgent", b"castray-agent")


class SoakCluster:
    """The processes and folders. `start` and `close` block."""

    def __init__(self, lab: Lab, folder: Path, rate: str) -> None:
        self.lab = lab
        self.rate = rate  # of every link, as `Lab` has it
        self.folder = folder
        self.sources = folder / "sources"
        self.destinations = folder / "out"
        self.address = ""
        self.engine_pid = 0
        self._clients: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("run", "sources", "out", "tmp", "logs"):
            (folder / name).mkdir(mode=0o700)
        self.paths = find_paths(self.environment)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of everything in the first host except Ray."""
        return ray_environment() | {
            "HOME": str(self.folder),
            "CASTRAY_HOME": str(self.folder / "home"),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "CASTRAY_LOCAL_COPY": "0",
            "QT_QPA_PLATFORM": os.environ.get("QT_QPA_PLATFORM", "offscreen"),
            "TMPDIR": str(self.folder / "tmp"),
            "PYTHONPATH": str(ROOT),
        }

    def start(self) -> None:
        """Raises LabUnavailable, RuntimeError."""
        self.address = self.start_node(self.lab.hosts[0])
        for host in self.lab.hosts[1:]:
            self.start_node(host)
        self.start_engine()
        self._start_client("server", ["serve", "--cluster", self.address, "--port", str(PORT)])
        self._start_client("window", ["--cluster", self.address])

    def start_node(self, host: Host) -> str:
        """Start a Ray node in a host; what is left of an earlier one is removed. Raises LabUnavailable."""
        head = self.lab.hosts[0]
        home = self.folder / host.name
        home.mkdir(exist_ok=True)
        variables = {
            "HOME": str(home),
            "XDG_DATA_HOME": str(home / "data"),
            "CASTRAY_LOCAL_COPY": "0",
            "RAY_worker_niceness": "0",  # otherwise the agents are the first to starve on a busy machine
        }
        if host == head:
            return self.lab.start_ray(host, environment=variables)
        self.lab.end_ray(host)
        return self.lab.start_ray(host, head, environment=variables)

    def start_engine(self) -> None:
        """Start the engine, unless another client has just done it. Raises RuntimeError."""
        done = self.lab.run(
            self.lab.hosts[0],
            [sys.executable, "-m", "castray_desktop", "engine", "start", "--cluster", self.address],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        if done.returncode:
            raise RuntimeError(f"castray engine start: {done.stderr}")

    def _start_client(self, role: str, arguments: list[str]) -> None:
        with (self.folder / "logs" / f"{role}.out").open("wb") as output:
            self._clients[role] = self.lab.popen(
                self.lab.hosts[0],
                [sys.executable, "-m", "castray_desktop", *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def ended_clients(self) -> list[str]:
        """Window and server, if they have ended, with their statuses."""
        return [
            f"{role}: {client.poll()}" for role, client in self._clients.items() if client.poll() is not None
        ]

    def fetch(self, path: str) -> bool:
        """Whether the HTTP server has answered a GET with status 200."""
        token = self.folder / "home" / "api-token"
        if not token.exists():
            return False
        done = self.lab.run(
            self.lab.hosts[0],
            [
                "curl",
                "-s",
                "-o/dev/null",
                "-w%{http_code}",
                "-m20",
                f"-HAuthorization: Bearer {token.read_text().strip()}",
                f"http://127.0.0.1:{PORT}{path}",
            ],
            capture_output=True,
            text=True,
            timeout=30,
        )
        return bool(done.stdout == "200")

    # --- processes ------------------------------------------------------------------------------

    def driver_pid(self) -> int:
        """0 if there is none."""
        for pid in self.lab.processes(self.lab.hosts[0]):
            if DRIVER in command_line(pid):
                return pid
        return 0

    def agent_pid(self, host: Host) -> int:
        """0 if there is none."""
        for pid in self.lab.processes(host):
            title = command_line(pid)[:1]
            if title and _is_agent(title[0]):
                return pid
        return 0

    def raylet_pid(self, host: Host) -> int:
        """0 if there is none."""
        for pid in self.lab.processes(host):
            if command_line(pid)[:1] and command_line(pid)[0].endswith(b"/raylet"):
                return pid
        return 0

    def sample(self) -> tuple[tuple[ProcessSample, ...], dict[str, int]]:
        """Every process of ours, and the bytes of each place."""
        roles = {self.engine_pid: "engine"} | {
            client.pid: role for role, client in self._clients.items() if client.poll() is None
        }
        for host in self.lab.hosts:
            for pid in self.lab.processes(host):
                words = command_line(pid)
                if not words or pid in roles:
                    continue
                if DRIVER in words:
                    roles[pid] = "driver"
                elif _is_agent(words[0]):
                    roles[pid] = f"agent {host.name}"
                elif words[0].endswith((b"/raylet", b"/gcs_server")):
                    roles[pid] = f"{words[0].rpartition(b'/')[2].decode()} {host.name}"
        roles.pop(0, None)
        samples = [sample_process(role, pid) for pid, role in roles.items()]
        staging = staging_folders(self.destinations)
        disk = {
            "home": disk_bytes(self.folder / "home"),
            "nodes": sum(disk_bytes(self.folder / host.name) for host in self.lab.hosts),
            "staging": sum(disk_bytes(folder) for folder in staging),
            "temp": disk_bytes(self.folder / "tmp") + disk_bytes(self.folder / "run"),
            "Ray": sum(disk_bytes(self.lab.ray_folder(host)) for host in self.lab.hosts),
        }
        return tuple(sample for sample in samples if sample is not None), disk

    def close(self) -> list[str]:
        """End the clients and the engine; the command lines of our processes that are left."""
        for client in self._clients.values():
            if client.poll() is None:
                client.send_signal(signal.SIGTERM)
        for client in self._clients.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                client.wait(10)
        self.lab.run(
            self.lab.hosts[0],
            [sys.executable, "-m", "castray_desktop", "engine", "stop"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_SECONDS,
        )
        limit = time.monotonic() + GONE_SECONDS
        while (left := self._left()) and time.monotonic() < limit:
            time.sleep(0.5)
        return left

    def _left(self) -> list[str]:
        left = []
        for host in self.lab.hosts:
            for pid in self.lab.processes(host):
                line = b" ".join(command_line(pid))
                if _is_agent(line) or b"castray_desktop" in line:
                    left.append(f"{host.name}: {line.decode(errors='replace')}"[:200])
        return left


class SoakClient:
    """A client of the engine that connects again whenever another engine has started."""

    def __init__(self, cluster: SoakCluster, node_changed: Callable[[str, bool], None]) -> None:
        """`node_changed(node, online)` is called when a node's state may have changed."""
        self._node_changed = node_changed
        self.nodes: dict[str, NodeInfo] = {}
        self.status = messages.ClusterStatus()
        self.running: set[str] = set()
        self._cluster = cluster
        self._client: EngineClient | None = None
        self._changed = asyncio.Condition()
        self._following = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            try:
                self._client = client = await EngineClient.connect(self._cluster.paths, "soak", start=False)
                self._cluster.engine_pid = client.welcome.pid
                self._take(client.welcome)
                await client.request(messages.UseCluster(self._cluster.address), messages.Done)
                await client.request(messages.KeepEngine(True), messages.Done)
                async for event in client.events():
                    self._take(event)
                    async with self._changed:
                        self._changed.notify_all()
            except CastRayError:
                pass
            if self._client is not None:
                await self._client.close()
            self._client = None
            self.status = messages.ClusterStatus()
            await asyncio.sleep(RETRY_SECONDS)

    def _take(self, event: messages.Event) -> None:
        match event:
            case messages.Welcome():
                self.status = event.cluster
                self.nodes = {node.name: node for node in event.nodes}
                self.running = {cast.cast for cast in event.casts if not cast.state.finished}
            case messages.ClusterChanged(status):
                self.status = status
            case messages.NodesChanged(changed, removed):
                self.nodes |= {node.name: node for node in changed}
                for name in removed:
                    self.nodes.pop(name, None)
                for node in changed:
                    self._node_changed(node.name, node.state is NodeState.ONLINE)
            case messages.CastChanged(summary):
                (self.running.discard if summary.state.finished else self.running.add)(summary.cast)

    def is_whole(self) -> bool:
        """Whether every host's node is online."""
        online = {node.address for node in self.nodes.values() if node.state is NodeState.ONLINE}
        return (
            self._client is not None
            and self.status.phase is ClusterPhase.READY
            and all(host.address in online for host in self._cluster.lab.hosts)
        )

    async def until_whole(self, seconds: float) -> None:
        """Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not self.is_whole():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0), self._changed:
                        await self._changed.wait()

    def name_of(self, host: Host) -> str:
        """The name of a host's node; empty while it is not known."""
        return next((node.name for node in self.nodes.values() if node.address == host.address), "")

    async def request(self, command: messages.Command, expect: type[ReplyType]) -> ReplyType:
        """As `EngineClient.request`."""
        if self._client is None:
            raise CastRayError(FailureKind.ENGINE_UNREACHABLE, reason="it is being replaced")
        return await self._client.request(command, expect)

    async def result(self, cast: str) -> messages.CastResult:
        """Wait for a cast's end, over restarts of the engine. Raises CastRayError if it is unknown."""
        unknown = 0.0
        while True:
            try:
                return await self.request(messages.GetResult(cast), messages.CastResult)
            except CastRayError as error:
                if error.failure.kind is FailureKind.CAST_UNKNOWN:
                    with contextlib.suppress(CastRayError):  # it has left the list
                        return await self.request(messages.GetPastCast(cast), messages.CastResult)
                    unknown += 1.0
                    if unknown > UNKNOWN_SECONDS:
                        raise
                elif error.failure.kind is not FailureKind.ENGINE_UNREACHABLE:
                    raise
                await asyncio.sleep(1.0)

    async def find(self, destination: str) -> str:
        """The cast to this destination; empty if there is none. Its acceptance may have been lost."""
        with contextlib.suppress(CastRayError):
            page = await self.request(messages.GetHistory(), messages.HistoryPage)
            casts = [*page.casts, *(self._client.welcome.casts if self._client else ())]
            return next((cast.cast for cast in casts if cast.options.destination == destination), "")
        return ""

    async def close(self) -> None:
        self._following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._following
        if self._client is not None:
            await self._client.close()


def _is_agent(title: bytes) -> bool:
    """Whether this is how Ray titles the process of an agent."""
    return title.startswith(b"ray::") and any(name in title for name in AGENT_TITLES)


def remove_tree(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
