"""Cast many small objects of a store, whose links are as long as those of S3 with session tokens.

    python -m benchmarks.many_objects [--objects 100000] [--size 1000] [--recipients 2]

Real agents without Ray, on addresses of the loopback interface; the store is a list in memory, and a web
server of this machine has its objects: so this is the product's own share of the time. Prints when the first
byte has arrived, the time of the cast, the orders with the list and with links, and how much memory the
engine's part and the agents have grown by. Every copy is compared. Status 1 if a delivery has failed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import os
import resource
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from benchmarks.laboratory.lab import LoopbackHosts
from benchmarks.laboratory.lab_nodes import LabNodes
from benchmarks.laboratory.trials import MIB
from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.protocol.messages import CastResult, SendRequest
from castray_desktop.core.protocol.nodes import agent_orders
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile
from castray_desktop.workers.casts.agent_directory import ORDER_SECONDS
from castray_desktop.workers.casts.cast_table import CastServices
from castray_desktop.workers.casts.session.checkpoint import CheckpointStore
from castray_desktop.workers.sources.address_resolver import AddressResolver
from castray_desktop.workers.sources.store_protocol import LINK_SECONDS, Waits

TOP = "objects"
QUERY = f"X-Amz-Security-Token={'T' * 1200}&X-Amz-Signature={'0' * 64}"
FIRST_SECONDS = 600.0
CAST_SECONDS = 3600.0


class ListedStore:
    """Implements `Store` for files that a web server has."""

    def __init__(self, base: str, folder: Path, size: int, count: int) -> None:
        self._base = base
        self._names = [f"{TOP}/{number // 1000:05d}/{number}.bin" for number in range(count)]
        self._size = size
        for name in self._names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(os.urandom(size))

    async def list_files(
        self, address: str, options: TransferOptions, waits: Waits
    ) -> tuple[RemoteFile, ...]:
        return tuple(RemoteFile(name, "", self._size, address=f"s3://bucket/{name}") for name in self._names)

    async def with_links(self, files: Sequence[RemoteFile], waits: Waits) -> tuple[RemoteFile, ...]:
        expires = time.time() + LINK_SECONDS
        return tuple(
            dataclasses.replace(file, url=f"{self._base}/{file.path}?{QUERY}", expires=expires)
            for file in files
        )


class TimedNodes(LabNodes):
    """Notes how long orders take until the agent has answered."""

    def __init__(self, lab: LoopbackHosts, folder: Path, services: CastServices) -> None:
        home = os.environ | {"CASTRAY_LOCAL_COPY": "0", "CASTRAY_HOME": str(folder / "home")}
        super().__init__(lab, folder, home, services)
        self.seconds: dict[str, list[float]] = {}  # by name of the order

    async def call(
        self, node: str, order: agent_orders.Order, seconds: float = ORDER_SECONDS
    ) -> agent_orders.OrderReply | None:
        began = time.monotonic()
        try:
            return await super().call(node, order, seconds)
        finally:
            self.seconds.setdefault(type(order).__name__, []).append(time.monotonic() - began)


@contextlib.asynccontextmanager
async def stand(arguments: argparse.Namespace, folder: Path) -> AsyncIterator[TimedNodes]:
    """A store with its server, and agents."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    served, records = folder / "served", folder / "casts"
    records.mkdir()
    store = ListedStore(f"http://127.0.0.1:{port}", served, arguments.size, arguments.objects)
    services = CastServices(
        checkpoints=CheckpointStore(records), resolver=AddressResolver({"s3": lambda: store})
    )
    words = [sys.executable, "-m", "benchmarks.laboratory.static_server", str(served), "--port", str(port)]
    server = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    lab = LoopbackHosts.of(["source", *(f"node_{number}" for number in range(arguments.recipients))])
    nodes = TimedNodes(lab, folder, services)
    try:
        assert server.stdout is not None
        if (await server.stdout.readline()).strip() != b"ready":
            raise RuntimeError("the web server did not start")
        for host in lab.hosts:
            await nodes.place(host)
        yield nodes
    finally:
        await nodes.close()
        server.kill()
        await server.wait()


async def measure(arguments: argparse.Namespace, folder: Path) -> bool:
    """Cast once and print the figures; returns whether everything arrived."""
    async with stand(arguments, folder) as nodes:
        recipients = tuple(host.name for host in nodes.lab.hosts[1:])
        nodes.reset_usage()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.monotonic()
        manager = nodes.cast_manager
        cast = manager.send(SendRequest((f"s3://bucket/{TOP}",), recipients, source="source"))
        ended = asyncio.ensure_future(manager.result(cast))

        def has_begun() -> bool:
            return ended.done() or any(report.content_bytes for report in nodes.reports.values())

        await nodes.until(has_begun, FIRST_SECONDS)
        first = time.monotonic() - began
        async with asyncio.timeout(CAST_SECONDS):
            result: CastResult = await ended
        seconds = time.monotonic() - began
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
        print(f"first byte at a recipient: {first:.1f} s; all: {seconds:.1f} s")
        print(f"objects in a second: {arguments.objects / seconds:.0f}")
        for name in ("PrepareSource", "GiveLinks"):
            taken = sorted(nodes.seconds.get(name, [0.0]))
            print(f"{name}: {len(taken)}, median {taken[len(taken) // 2]:.3f} s, longest {taken[-1]:.3f} s")
        usage = nodes.usage()
        growth = "; ".join(
            f"{node} {used.growth // MIB} MiB, {used.cpu:.0f} s" for node, used in usage.items()
        )
        print(f"growth and processor time: engine {grown // MIB} MiB; {growth}")
        delivered = all(item.state.delivered for item in result.deliveries)
        same = delivered and all(is_same(folder / "served", folder / node) for node in recipients)
        print("every copy is the same" if same else f"FAILED: {result.summary.failure}")
        return same


def is_same(served: Path, inbox: Path) -> bool:
    """Whether a recipient has all objects."""
    paths = [path for path in served.rglob("*") if path.is_file()]
    return all((inbox / path.relative_to(served)).read_bytes() == path.read_bytes() for path in paths)


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_objects")
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=1000, help="bytes of each")
    parser.add_argument("--recipients", type=int, default=2)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="castray-objects-"))
    try:
        return 0 if asyncio.run(measure(arguments, folder)) else 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
