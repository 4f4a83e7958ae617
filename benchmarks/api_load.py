"""Measure how requests and WebSocket clients of the HTTP API affect a cast that saturates a link.

    python -m benchmarks.api_load                                    a local cluster, hops limited to 1 Gbit/s
    python -m benchmarks.laboratory.lab --hosts 2 --rate 1gbit --ray -- python -m benchmarks.api_load --lab

Starts `castray serve` in a temporary home. A cast alone, a cast under load, and the load on an idle server
alternate. Prints the medians of the casts' times, their ratio, and the latency of requests
with and without a cast. Requests leave at fixed times, whether or not answers have arrived, so that a blocked
server is visible. The load comes from a separate process with a low priority, because it represents other
machines; with few processors it still dominates the result.

By default 200 HTTP clients, each with a connection of its own, ask together 500 times a second, beside 200
WebSocket clients. What is promised: no request fails and no client is disconnected, the server needs at most
250 MiB, and a cast takes at most 1.10 times as long. Status 1 if one of these does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

START_SECONDS = 120.0
MIB = 1 << 20
MAX_MEMORY = 250 * MIB
MAX_RATIO = 1.10


@dataclass(frozen=True)
class Latencies:
    """The latency of requests in milliseconds, and the number of messages to WebSocket clients."""

    count: int
    failed: int
    median: float
    p99: float
    longest: float
    messages: int
    seconds: float

    def line(self) -> str:
        return (
            f"{self.count / self.seconds:.0f} requests/s, {self.failed} failed,"
            f" {self.median:.2f} ms in the middle, {self.p99:.1f} ms for 99 of 100, {self.longest:.1f} ms the"
            f" longest; {self.messages / self.seconds:.0f} WebSocket messages/s"
        )


class Load:
    """Clients that together send requests to `/api/status` at this rate, and WebSocket clients that read
    everything.
    """

    def __init__(self, host: str, port: int, token: str, rate: float, clients: int, sockets: int) -> None:
        self._host, self._port = host, port
        self._rate, self._clients, self._sockets = rate, clients, sockets
        head = f"Host: {host}:{port}\r\nAuthorization: Bearer {token}\r\n"
        self._request = f"GET /api/status HTTP/1.1\r\n{head}\r\n".encode()
        key = base64.b64encode(os.urandom(16)).decode()
        self._upgrade = (
            f"GET /ws HTTP/1.1\r\n{head}Upgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        ).encode()
        self._times: list[float] = []
        self._failed = 0
        self._messages = 0

    async def run(self) -> Latencies:
        """Run until SIGTERM."""
        stopping = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
        listening = [asyncio.create_task(self._listen()) for _ in range(self._sockets)]
        asking = [asyncio.create_task(self._ask(number)) for number in range(self._clients)]
        begun = time.monotonic()
        await stopping.wait()
        seconds = time.monotonic() - begun
        ended = [task for task in (*listening, *asking) if task.done()]
        self._failed += len(ended)
        for reason, count in Counter(repr(task.exception()) for task in ended).items():
            print(f"{count} clients have ended: {reason}", file=sys.stderr)
        for task in (*listening, *asking):
            task.cancel()
        await asyncio.gather(*listening, *asking, return_exceptions=True)
        taken = sorted(self._times)
        return Latencies(
            count=len(taken),
            failed=self._failed,
            median=1000 * statistics.median(taken),
            p99=1000 * taken[int(len(taken) * 0.99)],
            longest=1000 * taken[-1],
            messages=self._messages,
            seconds=seconds,
        )

    async def _ask(self, number: int) -> None:
        """One connection's share of the requests. A late answer delays the next, which counts as latency."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        step = self._clients / self._rate
        due = time.monotonic() + step * number / self._clients
        try:
            while True:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                writer.write(self._request)
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                await reader.readexactly(length)
                self._failed += not head.startswith(b"HTTP/1.1 200")
                self._times.append(time.monotonic() - due)
                due += step
        finally:
            writer.close()

    async def _listen(self) -> None:
        """One WebSocket client that counts its messages."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        writer.write(self._upgrade)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101"):
                raise ConnectionError(head.decode())
            while True:
                first, length = await reader.readexactly(2)
                if length == 126:
                    length = int.from_bytes(await reader.readexactly(2), "big")
                elif length == 127:
                    length = int.from_bytes(await reader.readexactly(8), "big")
                await reader.readexactly(length)
                if first & 0x0F == 9:  # a ping
                    writer.write(b"\x8a\x80\0\0\0\0")
                self._messages += 1
        finally:
            writer.close()


class Server:
    """`castray serve`, and casts through it."""

    def __init__(self, folder: Path, cluster: str) -> None:
        self._environment = os.environ | {
            "CASTRAY_HOME": str(folder / "home"),
            "XDG_RUNTIME_DIR": str(folder / "run"),
        }
        (folder / "run").mkdir(mode=0o700)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "castray_desktop", "serve", "--port", "0", "--cluster", cluster],
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("castray serve did not start")
        self.address = line.split()[4].rstrip(",")
        self.token = (folder / "home" / "api-token").read_text().strip()
        self.client = httpx.Client(
            base_url=self.address, headers={"Authorization": f"Bearer {self.token}"}, timeout=600
        )

    def cast(self, body: dict[str, object]) -> float:
        """The duration of a cast in seconds. Raises SystemExit if it was not delivered."""
        cast = self.client.post("/api/file-transfers/manual", json=body).raise_for_status().json()["cast"]
        result = self.client.get(f"/api/casts/{cast}/result").raise_for_status().json()
        if result["state"] != "completed":
            raise SystemExit(f"the cast did not arrive: {result}")
        seconds: float = result["seconds"]
        return seconds

    def processor_seconds(self) -> float:
        """The processor seconds that the server's process has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_memory(self) -> int:
        """The largest resident size of the server's process so far, in bytes."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024

    def close(self) -> None:
        self.client.close()
        self._process.terminate()
        self._process.wait(30)

    @contextlib.contextmanager
    def under_load(self, options: argparse.Namespace, told: list[Latencies]) -> Iterator[None]:
        """Run the load inside the block, and append its results to `told`."""
        host, _, port = self.address.removeprefix("http://").rpartition(":")
        command = ["nice", "-n", "10", sys.executable, "-m", "benchmarks.api_load", "--load", host, port]
        command += ["--rate", str(options.rate), "--sockets", str(options.sockets)]
        command += ["--clients", str(options.clients)]
        load = subprocess.Popen(
            command, env=os.environ | {"TOKEN": self.token}, stdout=subprocess.PIPE, text=True
        )
        time.sleep(options.settle)  # every client is connected and has the complete state
        try:
            yield
        finally:
            load.terminate()
            output, _ = load.communicate(timeout=30)
            told.append(Latencies(**json.loads(output)))


def measure(server: Server, options: argparse.Namespace, folder: Path) -> list[str]:
    """Run the trials alternately, and print their results. Returns the promises that do not hold."""
    file = folder / "file.bin"
    with file.open("wb") as output:
        for _ in range(options.size):
            output.write(os.urandom(MIB))
    destination = Path(options.dest or folder / "in")
    body = {
        "file_path": str(file),
        "recipients": [options.to],
        "dest": str(destination),
        "limit": options.limit,
    }
    alone, loaded, used = [], [], []
    with_cast: list[Latencies] = []
    without: list[Latencies] = []
    server.cast(body)
    for turn in range(options.times):
        for kind in ("alone", "loaded") if turn % 2 == 0 else ("loaded", "alone"):
            shutil.rmtree(destination, ignore_errors=True)
            if kind == "alone":
                alone.append(server.cast(body))
                continue
            with server.under_load(options, with_cast):
                before = server.processor_seconds()
                loaded.append(server.cast(body))
                used.append((server.processor_seconds() - before) / loaded[-1])
        with server.under_load(options, without):
            time.sleep(statistics.median(alone))
        print(f"turn {turn + 1}: alone {alone[-1]:.2f} s, under load {loaded[-1]:.2f} s", flush=True)
    first, second = statistics.median(alone), statistics.median(loaded)
    print(f"{options.size} MiB to {options.to}: {first:.2f} s alone, {second:.2f} s under load")
    print(f"ratio {second / first:.3f}; the server used {statistics.median(used):.2f} of a processor")
    for name, seen in (("with a cast", with_cast), ("without one", without)):
        print(f"{name}: {min(seen, key=lambda one: one.p99).line()}")
    memory, failed = server.peak_memory(), sum(one.failed for one in (*with_cast, *without))
    print(f"the server's process: {memory / MIB:.0f} MiB at most")
    promises = {
        f"{failed} requests or clients have failed": failed == 0,
        f"the server used {memory / MIB:.0f} MiB, more than {MAX_MEMORY / MIB:.0f}": memory <= MAX_MEMORY,
        f"a cast took {second / first:.2f} times as long, more than {MAX_RATIO}": second / first <= MAX_RATIO,
    }
    return [broken for broken, holds in promises.items() if not holds]


def main() -> int:
    """Run the benchmark, or the load process; status 1 if a promise does not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=500.0, help="requests a second")
    parser.add_argument("--clients", type=int, default=200, help="HTTP clients")
    parser.add_argument("--sockets", type=int, default=200, help="WebSocket clients")
    parser.add_argument("--size", type=int, default=1024, help="MiB to send")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--settle", type=float, default=3.0, help="seconds before a cast under load begins")
    parser.add_argument("--limit", default="1Gbit/s", help="of the hop; off where the link has that rate")
    parser.add_argument("--to", default="node_1")
    parser.add_argument("--dest", default="")
    parser.add_argument("--cluster", default="local")
    parser.add_argument("--lab", action="store_true", help="in the first host of a laboratory, to its second")
    parser.add_argument("--load", nargs=2, metavar=("HOST", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        host, port = options.load
        load = Load(host, int(port), os.environ["TOKEN"], options.rate, options.clients, options.sockets)
        print(json.dumps(vars(asyncio.run(load.run()))))
        return 0
    if options.lab:
        hosts = os.environ["HOSTS"].split()
        options.cluster, options.to, options.limit = f"{hosts[0]}:6379", hosts[1], "off"
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="castray-api-", dir=shared if shared.is_dir() else None))
    try:
        server = Server(folder, options.cluster)
        try:
            broken = measure(server, options, folder)
        finally:
            server.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(broken) or "Every promise holds.")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
