"""A proxy between an agent and the nodes that fetch from it, which flips one bit of the data once.

    python -m benchmarks.laboratory.flipping_proxy LISTEN_ADDRESS TARGET_ADDRESS TARGET_PORT AT

Prints its port. AT is an offset in the bytes from the target, summed over all connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.laboratory.lab import Host
from benchmarks.laboratory.lab_nodes import LabNodes

ROOT = Path(__file__).resolve().parents[2]
CHUNK = 1 << 16


@contextlib.contextmanager
def flipping(nodes: LabNodes, host: Host, at: int) -> Iterator[None]:
    """Inside the block, the data that the host's node serves passes through such a proxy in the same host."""
    hello = nodes.hello(host.name)
    assert hello is not None
    target = [hello.address, str(hello.port), str(at)]
    command = [sys.executable, "-m", "benchmarks.laboratory.flipping_proxy", host.address, *target]
    process = nodes.lab.popen(host, command, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        nodes.detour(host.name, host.address, int(process.stdout.readline()))
        yield
    finally:
        nodes.straight(host.name)
        process.kill()
        process.wait()
        process.stdout.close()


class Flipper:
    """Flip the lowest bit of one byte of a stream that arrives in parts."""

    def __init__(self, at: int) -> None:
        self._left = at

    def pass_on(self, data: bytes) -> bytes:
        """The part to forward."""
        at, self._left = self._left, self._left - len(data)
        if not 0 <= at < len(data):
            return data
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flipper: Flipper | None) -> None:
    """Forward until one side closes."""
    try:
        while data := await reader.read(CHUNK):
            writer.write(flipper.pass_on(data) if flipper else data)
            await writer.drain()
    except ConnectionError:
        pass  # the close below tells the other side
    finally:
        writer.close()


async def serve(listen: str, target: str, port: int, at: int) -> None:
    """Run until the process is ended."""
    flipper = Flipper(at)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, onward = await asyncio.open_connection(target, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, onward, None), pump(there, writer, flipper))

    server = await asyncio.start_server(accept, listen, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    _, *arguments = sys.argv
    asyncio.run(serve(arguments[0], arguments[1], int(arguments[2]), int(arguments[3])))
