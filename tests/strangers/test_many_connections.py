"""Ten thousand idle and slow connections to every socket: the work goes on, and memory stays bounded.

An ordinary run opens 1,000 to each; `python -m tests.strangers` opens 10,000.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.laboratory.lab import ROOT, Host, Lab, inside
from benchmarks.laboratory.lab_nodes import LabNodes, lab_nodes
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastState, SendRequest
from castray_desktop.core.protocol.nodes.peer_frames import FrameType, frame
from castray_desktop.workers.client.engine_client import EngineClient
from castray_desktop.workers.engine.client_connections import MAX_SILENT_CLIENTS
from castray_desktop.workers.http_api.access_control import AllowedHosts, ConnectionLimits
from castray_desktop.workers.http_api.api_app import ApiApp, ApiServer, open_port
from tests.helpers.answering_engine import AnsweringEngine
from tests.lab.test_casts import SECONDS, assert_delivered, make_file
from tests.strangers.__main__ import CONNECTIONS
from tests.workers.http_api.conftest import TOKEN

MIB = 1 << 20
COUNT = int(os.environ.get(CONNECTIONS, "1000"))
AGAIN = 300
"""So many closed connections are replaced each second."""

TRIES = 10
CASTS = 3
ADDRESSES = 40
"""The strangers have so many addresses: the limits for one address are lower than those for all."""

MANNERS = ("idle", "half", "slow")
HALF_A_HELLO = frame(FrameType.HELLO, bytes(80))[:20]
HALF_A_REQUEST = b"GET /api/status HTTP/1.1\r\nHost: localhost\r\nX: "
HALF_A_MESSAGE = b"\0\0\1\0\x80abc"

AGENT_GROWTH = 64 * MIB
AGENT_FILES = 512 + 3 * 64 + 64  # silent connections, handshakes, and what an agent has open anyway
SLOWER = 3.0
"""A test on a busy machine measures no time; docs/guarantees.md has what was measured on a quiet one."""

pytestmark = pytest.mark.timeout(300)


class CrowdProcess:
    """A process that opens `count` connections. See `tests.strangers.crowd`."""

    def __init__(
        self,
        where: str,
        count: int,
        manner: str,
        said: bytes,
        addresses: tuple[str, ...] = (),
        host: Host | None = None,
    ) -> None:
        words = [where, str(count), manner, str(AGAIN / len(MANNERS)), *addresses]
        command = [sys.executable, "-m", "tests.strangers.crowd", *words]
        self._process = subprocess.Popen(
            inside(host, command) if host is not None else command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(said.hex() + "\n")
        self._process.stdin.flush()

    def wait(self) -> None:
        """Wait until all connections were opened."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "there\n"

    def end(self) -> dict[str, int]:
        """End it; what has become of the connections."""
        output, _ = self._process.communicate(timeout=60)
        summary: dict[str, int] = json.loads(output.splitlines()[-1])
        return summary

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def crowds(*crowd: CrowdProcess) -> Iterator[list[dict[str, int]]]:
    """They are all there inside the block; afterwards the list has their summaries."""
    summaries: list[dict[str, int]] = []
    try:
        for one in crowd:
            one.wait()
        yield summaries
        summaries += [one.end() for one in crowd]
    finally:
        for one in crowd:
            one.kill()


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208


# --- data ports -----------------------------------------------------------------------------------------


async def send(nodes: LabNodes, path: Path) -> float:
    """Send a file to the two recipients; the seconds that the cast took."""
    cast = nodes.cast_manager.send(SendRequest((str(path),), ("h1", "h2"), source="h0"))
    await nodes.until(lambda: not nodes.cast_manager.unfinished, SECONDS * 3)
    ended = await nodes.cast_manager.result(cast)
    assert ended.summary.state is CastState.COMPLETED, ended
    assert_delivered(nodes, ended, path)
    return ended.seconds


async def shortest_beside(nodes: LabNodes, within: float) -> float:
    """The seconds of a cast beside the strangers. A busy machine may add to one: then there is another."""
    found: list[float] = []
    while len(found) < CASTS and min(found, default=within) >= within:
        found.append(await send(nodes, make_file(nodes, 60_000_000, f"beside {len(found)}.bin")))
    return min(found)


async def test_connections_to_data_ports_beside_a_cast(make_lab: Callable[..., Lab]) -> None:
    """With `-s`, or after a failure, the figures are shown."""
    lab = make_lab(4, "200mbit")
    stranger = lab.hosts[3]
    own = tuple(f"10.77.0.{number}" for number in range(101, 101 + ADDRESSES))  # that hosts answer to
    for address in own:
        lab.run(stranger, ["ip", "address", "add", f"{address}/24", "dev", "eth0"], check=True)
    async with lab_nodes(lab) as nodes:
        alone = await send(nodes, make_file(nodes, 60_000_000, "first.bin"))
        agents = {name: nodes._agent(name).process.pid for name in ("h0", "h1", "h2")}
        nodes.reset_usage()
        there = [
            CrowdProcess(
                f"{hello.address}:{hello.port}",
                COUNT // len(MANNERS) + 1,
                manner,
                HALF_A_HELLO,
                own,
                stranger,
            )
            for hello in (nodes.hello("h0"), nodes.hello("h1"))
            for manner in MANNERS
        ]
        with crowds(*there) as summaries:
            beside = await shortest_beside(nodes, SLOWER * alone + 2)
            files = {name: open_files(pid) for name, pid in agents.items()}
            threads = {name: int(status(pid)["Threads"]) for name, pid in agents.items()}
        growth = {name: usage.growth for name, usage in nodes.usage().items()}
    opened = sum(each["opened"] for each in summaries)
    sys.stdout.write(
        f"alone {alone:.2f} s, beside {opened} connections {beside:.2f} s, memory {growth}, files {files}\n"
    )
    assert opened >= 2 * COUNT
    assert min(files["h0"], files["h1"]) > 100  # the strangers are there
    assert sum(each["received"] for each in summaries) == 0  # not even a refusal for half a hello
    assert max(growth.values()) < AGENT_GROWTH
    assert max(files.values()) < AGENT_FILES
    assert max(threads.values()) < 64 + 64
    assert beside < SLOWER * alone + 2


# --- the API --------------------------------------------------------------------------------------------


@pytest.fixture
async def api_port() -> AsyncIterator[tuple[int, ApiServer]]:
    app = ApiApp(AnsweringEngine(), TOKEN, AllowedHosts("127.0.0.1"))
    with open_port("127.0.0.1", 0) as listener:
        server = ApiServer(app.app)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        yield listener.getsockname()[1], server
        server.end()
        async with asyncio.timeout(20):
            await serving


async def test_connections_to_the_api_beside_requests(api_port: tuple[int, ApiServer]) -> None:
    port, server = api_port
    where, before = f"127.0.0.1:{port}", resident()
    there = [CrowdProcess(where, COUNT // len(MANNERS) + 1, manner, HALF_A_REQUEST) for manner in MANNERS]
    headers = {"Authorization": f"Bearer {TOKEN}"}

    async def ask() -> None:
        """A busy machine may let 128 others overtake a request on its way; then it is sent again."""
        for _ in range(TRIES):
            with contextlib.suppress(httpx.TransportError):
                async with httpx.AsyncClient(headers=headers, timeout=20.0) as client:
                    assert (await client.get(f"http://{where}/api/nodes")).status_code == 200
                    return
        raise AssertionError("no answer")

    summaries: list[dict[str, int]] = []
    try:
        for one in there:
            waiting = asyncio.create_task(asyncio.to_thread(one.wait))
            while not waiting.done():
                await ask()  # also while they come
            await waiting
        for _ in range(50):
            await ask()
        # of those that have just come, more than of strangers who have had their time
        assert len(server.server_state.connections) <= ConnectionLimits().connections + 1
        summaries += [await asyncio.to_thread(one.end) for one in there]
    finally:
        for one in there:
            one.kill()
    assert sum(each["opened"] for each in summaries) >= COUNT
    assert resident() - before < AGENT_GROWTH


def resident() -> int:
    return int(status(os.getpid())["VmRSS"].split()[0]) << 10


# --- the engine -----------------------------------------------------------------------------------------


@pytest.fixture
def engine_home(tmp_path: Path) -> Iterator[tuple[Any, subprocess.Popen[bytes]]]:
    """A real engine's process, without a cluster."""
    from castray_desktop.workers.base.paths import find_paths
    from castray_desktop.workers.client.engine_client import start_engine

    (tmp_path / "run").mkdir(mode=0o700)
    variables = {"CASTRAY_HOME": str(tmp_path / "home"), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    paths = find_paths(variables)

    def spawn(*words: Any, **options: Any) -> subprocess.Popen[bytes]:
        options["env"] = options["env"] | variables
        return subprocess.Popen(*words, **options)

    process = start_engine(paths, spawn)
    yield paths, process
    process.terminate()
    assert process.wait(30) == 0


async def test_connections_to_the_engine_beside_a_client(
    engine_home: tuple[Any, subprocess.Popen[bytes]],
) -> None:
    paths, process = engine_home
    client = await connected(paths)
    before = int(status(process.pid)["VmRSS"].split()[0]) << 10
    there = [
        CrowdProcess(str(paths.socket), COUNT // len(MANNERS) + 1, manner, HALF_A_MESSAGE)
        for manner in MANNERS
    ]
    try:
        for one in there:
            await asyncio.to_thread(one.wait)
        for _ in range(20):
            async with asyncio.timeout(20):
                await client.request(messages.GetStatus(), messages.EngineStatus)
                other = await connected(paths)  # at once, or after it was refused a few times
                await other.close()
        assert open_files(process.pid) < MAX_SILENT_CLIENTS + 64
        summaries = [await asyncio.to_thread(one.end) for one in there]
    finally:
        for one in there:
            one.kill()
    await client.close()
    assert sum(each["opened"] for each in summaries) >= COUNT
    assert sum(each["received"] for each in summaries) == 0
    assert (int(status(process.pid)["VmRSS"].split()[0]) << 10) - before < AGENT_GROWTH


async def connected(paths: Any) -> EngineClient:
    """A client of the engine, once it is up."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return await EngineClient.connect(paths, "test", start=False)
        except Exception:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
