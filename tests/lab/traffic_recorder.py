"""Records all packets of a host's network device. Run inside of the host; it ends with its standard input."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.laboratory.lab import Host, Lab, inside

ETH_P_ALL = 3
MAX_PACKET = 1 << 17
BUFFER = 64 << 20


@contextlib.contextmanager
def recorded(lab: Lab, host: Host, folder: Path) -> Iterator[Path]:
    """The packets that enter and leave the host during the block are in this file after it."""
    file = folder / f"traffic-{host.name}"
    process = subprocess.Popen(
        inside(host, [sys.executable, str(Path(__file__)), str(file)]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield file
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def main() -> None:
    """Record until the standard input ends, then what has arrived before."""
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as sock,
        selectors.DefaultSelector() as selector,
        Path(sys.argv[1]).open("wb") as file,
    ):
        sock.setsockopt(socket.SOL_SOCKET, 33, BUFFER)  # SO_RCVBUFFORCE
        sock.bind(("eth0", ETH_P_ALL))
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        ended = False
        while True:
            with contextlib.suppress(BlockingIOError):
                while True:
                    file.write(sock.recv(MAX_PACKET))
            if ended:
                return
            ended = any(key.fileobj is sys.stdin for key, _ in selector.select())


if __name__ == "__main__":
    main()
