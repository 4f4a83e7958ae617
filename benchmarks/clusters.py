"""Test casts while nodes and heads of a Ray cluster fail and return, as a client of the engine sees them.

    python -m benchmarks.clusters [--hosts 5] [--megabytes 300] [CASE...]

Cases: join, cable, raylet, head, client, errors. Each case prints its events with their times in seconds, and
the exit status is 1 if an expected event did not happen. Needs root: it creates a laboratory
(`benchmarks/laboratory/lab.py`) with a Ray node in each host. The engine runs in the first host; for
`client`, in a host that is not a node.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import filecmp
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from benchmarks.laboratory.lab import Host, Lab, LabUnavailable, ray_environment
from benchmarks.laboratory.namespaces import nft
from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import ClusterPhase, NodeState
from castray_desktop.workers.base.paths import Paths, find_paths
from castray_desktop.workers.client.client_cache import ClientCache
from castray_desktop.workers.client.engine_client import EngineClient

CASES = ("join", "cable", "raylet", "head", "client", "errors")
SECONDS = 60.0
RATE = 30_000_000
TOKEN = "a" * 64


class Desk:
    """A client that tracks the engine's state and waits for conditions."""

    def __init__(self, client: EngineClient) -> None:
        self.client = client
        self.cache = ClientCache(client.welcome)
        self.results: dict[str, messages.CastResult] = {}
        self._news = asyncio.Event()
        self._following = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async for event in self.client.events():
            self.cache.apply_event(event)
            if isinstance(event, messages.CastResult):
                self.results[event.summary.cast] = event
            self._news.set()

    async def until(self, what: str, done: Callable[[], object], seconds: float = SECONDS) -> float:
        """Wait for the condition; prints and returns the elapsed time. Raises TimeoutError."""
        begun = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                while not done():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            print(f"  NOT within {seconds:.0f} s: {what}; {self.cache.cluster}", flush=True)
            raise
        took = time.monotonic() - begun
        print(f"  {took:6.2f} s  {what}", flush=True)
        return took

    def is_online(self, address: str) -> bool:
        return any(
            node.address == address and node.state is NodeState.ONLINE for node in self.cache.nodes.values()
        )

    def is_ready(self, nodes: int) -> bool:
        cluster = self.cache.cluster
        return cluster.phase is ClusterPhase.READY and cluster.nodes_ready == nodes

    async def use(self, target: str) -> None:
        await self.client.request(messages.UseCluster(target), messages.Done)

    async def send(
        self,
        path: Path,
        folder: Path,
        recipients: tuple[str, ...] = ("all",),
        source: str = messages.THIS_COMPUTER,
        options: messages.TransferOptions | None = None,
    ) -> str:
        request = messages.SendRequest(
            (str(path),),
            recipients,
            source,
            leave_out=True,
            options=options or messages.TransferOptions(destination=str(folder / "{node}"), limit=RATE),
        )
        return (await self.client.request(messages.Send(request), messages.Accepted)).cast

    def done_bytes(self, cast: str) -> int:
        summary = self.cache.casts.get(cast)
        return summary.done_bytes if summary is not None else 0

    async def close(self) -> None:
        await self.client.request(messages.StopEngine(), messages.Done)
        await self.client.close()
        await self._following


@contextlib.contextmanager
def _home(folder: Path) -> Iterator[Paths]:
    """A temporary home for the engine, with a short path for sockets."""
    environment = {"CASTRAY_HOME": str(folder / "home"), "XDG_RUNTIME_DIR": str(folder / "run")}
    (folder / "run").mkdir(mode=0o700)
    paths = find_paths(environment)
    paths.prepare()
    yield paths


@contextlib.asynccontextmanager
async def engine_in(lab: Lab, host: Host, folder: Path) -> AsyncIterator[Desk]:
    """An engine in a host. Its socket is in the file system, which all hosts share."""
    with _home(folder) as paths:
        environment = ray_environment() | {
            "CASTRAY_HOME": str(paths.home),
            "XDG_RUNTIME_DIR": str(paths.socket.parent.parent),
            "CASTRAY_LOCAL_COPY": "0",
            "HOME": str(folder),
        }
        environment.pop("RAY_AUTH_MODE")  # the default settings
        with (folder / "engine.out").open("wb") as output:
            process = lab.popen(
                host,
                [sys.executable, "-m", "castray_desktop.workers.engine.process"],
                env=environment,
                stdout=output,
                stderr=output,
            )
        desk = Desk(await _connect(paths))
        try:
            yield desk
        finally:
            await desk.close()
            await asyncio.to_thread(process.wait, 20)
            assert not list(paths.runs.iterdir())
            token = folder / ".ray" / "auth_token"
            assert not token.exists() or token.read_text() == TOKEN


async def _connect(paths: Paths) -> EngineClient:
    for _ in range(100):
        with contextlib.suppress(Exception):
            return await EngineClient.connect(paths, "test", start=False)
        await asyncio.sleep(0.1)
    raise RuntimeError("the engine did not come up")


def ray_processes(lab: Lab, host: Host, *names: str) -> list[int]:
    """The Ray processes in a host whose program has one of these names."""
    found = []
    for pid in lab.processes(host):
        with contextlib.suppress(OSError):
            program = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
            if program.rpartition("/")[2] in names:
                found.append(pid)
    return found


def kill(pids: list[int]) -> None:
    assert pids
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def check_files(desk: Desk, cast: str, path: Path) -> None:
    """Check that every recipient has the whole file."""
    result = desk.results[cast]
    for item in result.deliveries:
        reason = sentence(item.failure) if item.failure else ""
        assert item.state.delivered, (item.node, item.state, reason)
        assert filecmp.cmp(path, item.paths[0], shallow=False)
    transports = sorted({str(item.transport) for item in result.deliveries})
    print(
        f"  {result.seconds:6.2f} s  the cast, to {len(result.deliveries)} nodes, {', '.join(transports)}",
        flush=True,
    )


async def join(lab: Lab, desk: Desk, path: Path, folder: Path) -> None:
    """A node joins, and leaves again."""
    await desk.use(f"{lab.hosts[0].address}:6379")
    await desk.until("attached, with an agent on every node", lambda: desk.is_ready(len(lab.hosts) - 1))
    late = lab.hosts[-1]
    await asyncio.to_thread(lab.start_ray, late, lab.hosts[0])
    took = await desk.until("the agent on a node that has joined", lambda: desk.is_online(late.address))
    kill(ray_processes(lab, late, "raylet"))
    gone = await desk.until("offline after its raylet was killed", lambda: not desk.is_online(late.address))
    assert took < 3
    assert gone < 5


async def cable(lab: Lab, desk: Desk, path: Path, folder: Path) -> None:
    """A cable is unplugged during a cast, and plugged in again."""
    await desk.use(f"{lab.hosts[0].address}:6379")
    await desk.until("attached", lambda: desk.is_ready(len(lab.hosts)))
    cast = await desk.send(path, folder)
    await desk.until("some has arrived", lambda: desk.done_bytes(cast) > path.stat().st_size // 4)
    victim = lab.hosts[1]
    lab.set_link(victim, up=False)
    gone = await desk.until("offline after its cable was pulled", lambda: not desk.is_online(victim.address))
    lab.set_link(victim, up=True)
    await desk.until("online after it was put in again", lambda: desk.is_online(victim.address))
    await desk.until("the cast has ended", lambda: cast in desk.results)
    check_files(desk, cast, path)
    assert gone < 5


async def raylet(lab: Lab, desk: Desk, path: Path, folder: Path) -> None:
    """A raylet is killed during a cast, and started again."""
    await desk.use(f"{lab.hosts[0].address}:6379")
    await desk.until("attached", lambda: desk.is_ready(len(lab.hosts)))
    cast = await desk.send(path, folder)
    share = path.stat().st_size * (len(lab.hosts) - 1) // 5
    await desk.until("a fifth has arrived", lambda: desk.done_bytes(cast) > share)
    victim = lab.hosts[2]
    kill(ray_processes(lab, victim, "raylet"))
    await desk.until("offline after its raylet was killed", lambda: not desk.is_online(victim.address))
    await asyncio.to_thread(lab.start_ray, victim, lab.hosts[0])
    await desk.until("online after it was started again", lambda: desk.is_online(victim.address))
    await desk.until("the cast has ended", lambda: cast in desk.results)
    check_files(desk, cast, path)


async def head(lab: Lab, desk: Desk, path: Path, folder: Path) -> None:
    """The head is killed during a cast, and another one is started at its address."""
    await desk.use(f"{lab.hosts[0].address}:6379")
    await desk.until("attached", lambda: desk.is_ready(len(lab.hosts)))
    cast = await desk.send(path, folder)
    await desk.until("some has arrived", lambda: desk.done_bytes(cast) > path.stat().st_size // 4)
    kill(ray_processes(lab, lab.hosts[0], "gcs_server", "raylet"))
    took = await desk.until("said that the head is gone", lambda: desk.cache.cluster.failure is not None)
    assert desk.cache.cluster.failure is not None
    print(f"            “{sentence(desk.cache.cluster.failure)}”", flush=True)
    assert took < 5
    for host in lab.hosts:
        for pid in lab.processes(host):
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                if b"/ray/" in command and b"castray" not in command:
                    os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(lab.start_ray, lab.hosts[0])
    await desk.until("attached to the new head", lambda: desk.is_ready(1))
    for host in lab.hosts[1:]:
        await asyncio.to_thread(lab.start_ray, host, lab.hosts[0])
    await desk.until("all nodes are back", lambda: desk.is_ready(len(lab.hosts)))
    await desk.until("the cast has ended", lambda: cast in desk.results)
    result = desk.results[cast]
    print(f"            it is {result.summary.state}", flush=True)


async def client(lab: Lab, desk: Desk, path: Path, folder: Path) -> None:
    """A computer that is not a node of the cluster sends and receives through Ray's client server."""
    await desk.use(f"ray://{lab.hosts[0].address}:10001")
    nodes, outside = len(lab.hosts), lab.hosts[-1]
    await desk.until("attached from outside", lambda: desk.is_ready(nodes))
    own, other = (
        next(node.name for node in desk.cache.nodes.values() if node.address == host.address)
        for host in (outside, lab.hosts[1])
    )
    for what in ("by sockets", "its own port blocked", "all but Ray's port blocked"):
        print(f"            {what}", flush=True)
        if what == "its own port blocked":
            lab.block(outside, "in")
        elif what.startswith("all"):
            rule = "tcp dport != 10001 tcp flags & (syn | ack) == syn drop"
            nft(outside.namespace, f"add rule inet lab out {rule}")
        for source, recipients in ((own, ("all",)), (other, (own,))):
            cast = await desk.send(path, folder / what[:3] / source, recipients, source)
            await desk.until(f"the cast from {source} has ended", lambda: cast in desk.results)  # noqa: B023
            check_files(desk, cast, path)


async def errors(lab: Lab, desk: Desk, path: Path, folder: Path) -> None:
    """A wrong address or token is reported within ten seconds, and a correct one works afterwards."""
    head = lab.hosts[0]
    token = folder / ".ray" / "auth_token"
    token.parent.mkdir()
    web = [sys.executable, "-m", "http.server", "8000", "--bind", head.address]
    mute = [
        sys.executable,
        "-c",
        f"import socket as s,time\nx=s.create_server(('{head.address}',8001))\ntime.sleep(600)",
    ]
    for command in (web, mute):
        lab.popen(head, command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    await asyncio.sleep(1.0)
    for target, secret, kind in (
        (f"{head.address}:1", "", FailureKind.CLUSTER_UNREACHABLE),
        ("10.99.0.1:6379", "", FailureKind.CLUSTER_UNREACHABLE),
        ("no-such-host:6379", "", FailureKind.CLUSTER_UNREACHABLE),
        (f"{head.address}:8000", "", FailureKind.NOT_RAY),
        (f"{head.address}:8001", "", FailureKind.CLUSTER_SILENT),
        (f"{head.address}:6379", "", FailureKind.TOKEN_NEEDED),
        (f"ray://{head.address}:10001", "", FailureKind.TOKEN_NEEDED),
        (f"{head.address}:6379", "b" * 64, FailureKind.TOKEN_WRONG),
        (f"ray://{head.address}:10001", "b" * 64, FailureKind.TOKEN_WRONG),
        (f"{head.address}:10001", TOKEN, FailureKind.NOT_RAY),
        (f"ray://{head.address}:6379", TOKEN, FailureKind.NOT_RAY),
    ):
        token.unlink(missing_ok=True)
        if secret:
            token.write_text(secret)
        await desk.use(target)
        took = await desk.until(
            target,
            lambda: desk.cache.cluster.phase is ClusterPhase.FAILED and desk.cache.cluster.target == target,  # noqa: B023
        )
        failure = desk.cache.cluster.failure
        assert failure is not None
        print(f"            “{sentence(failure)}”", flush=True)
        assert took < 10
        assert failure.kind is kind, failure
    await desk.use(f"{head.address}:6379")
    await desk.until("attached with the right token", lambda: desk.is_ready(len(lab.hosts)))
    await desk.use(f"ray://{head.address}:10001")
    await desk.until("and through its client server", lambda: desk.is_ready(len(lab.hosts) + 1))
    assert token.read_text() == TOKEN


async def run(case: str, hosts: int, size: int) -> bool:
    """Run one case in its own laboratory; returns whether everything expected happened."""
    print(f"{case}: {(globals()[case].__doc__ or '').strip()}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="castray-clusters-", dir="/dev/shm") as name,
        Lab(hosts, "1gbit") as lab,
    ):
        folder = Path(name)
        path = folder / "big.bin"
        path.write_bytes(os.urandom(1 << 20) * (size >> 20))
        outside = lab.hosts[-1:] if case in ("join", "client") else ()
        nodes = [host for host in lab.hosts if host not in outside]
        secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN} if case == "errors" else {}
        for host in nodes:
            head = None if host is nodes[0] else nodes[0]
            await asyncio.to_thread(lab.start_ray, host, head, environment=secret)
        async with engine_in(lab, lab.hosts[-1] if case == "client" else lab.hosts[0], folder) as desk:
            try:
                await globals()[case](lab, desk, path, folder)
            except (AssertionError, TimeoutError) as error:
                print(f"  {type(error).__name__}: {error}", flush=True)
                for log in sorted((folder / "home" / "logs").glob("*.log")):
                    print(f"--- {log.name}\n{log.read_text(errors='replace')[-6000:]}", flush=True)
                return False
    return True


def main() -> int:
    """Run the cases."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clusters", description=__doc__)
    parser.add_argument("--hosts", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("cases", nargs="*", metavar="CASE", default=list(CASES))
    options = parser.parse_args()
    try:
        came_true = [asyncio.run(run(case, options.hosts, options.megabytes << 20)) for case in options.cases]
    except LabUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if all(came_true) else 1


if __name__ == "__main__":
    sys.exit(main())
