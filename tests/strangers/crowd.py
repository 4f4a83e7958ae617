"""Many connections of strangers to one socket, from a process of their own.

    python -m tests.strangers.crowd WHERE COUNT MANNER [AGAIN [ADDRESS ...]]

WHERE is ADDRESS:PORT or the path of a Unix socket. MANNER is `idle` (says nothing), `half` (sends the
beginning of a request, given on standard input as one line of hexadecimal digits) or `slow` (sends it byte by
byte, one a second). AGAIN connections a second replace closed ones. With ADDRESSes, they come from these in
turn. Prints a line once COUNT connections were opened, and a summary as JSON when its standard input ends.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import resource
import selectors
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

TICK_SECONDS = 0.05
SLOW_SECONDS = 1.0
FIRST_PER_SECOND = 1500
"""So fast the first connections are opened."""


@dataclass
class Summary:
    """What has become of the connections."""

    opened: int = 0
    closed: int = 0  # by the other side
    most: int = 0  # held at once
    received: int = 0  # bytes


class Crowd:
    """Opens connections, holds them, and replaces those that the other side closes."""

    def __init__(self, where: str, count: int, manner: str, said: bytes, again: float) -> None:
        self.summary = Summary()
        self._count, self._manner, self._said, self._again = count, manner, said, again
        self._where: str | tuple[str, int] = where
        self._family = socket.AF_UNIX
        if not where.startswith("/"):
            host, _, port = where.rpartition(":")
            self._where, self._family = (host.strip("[]"), int(port)), socket.AF_INET
            if ":" in host:
                self._family = socket.AF_INET6
        self._selector = selectors.DefaultSelector()
        self._sent: dict[socket.socket, int] = {}

    def run(self, ends: int, addresses: Sequence[str]) -> None:
        """Go on until there is something to read from `ends`."""
        source = itertools.cycle(addresses)
        self._selector.register(ends, selectors.EVENT_READ)
        told, budget, before, slow_at = False, 0.0, time.monotonic(), 0.0
        while True:
            now = time.monotonic()
            first = self.summary.opened < self._count
            budget = min(budget + (now - before) * (FIRST_PER_SECOND if first else self._again), 500.0)
            before = now
            while len(self._sent) < self._count and budget >= 1:
                budget -= 1
                if not self._open(next(source, "")):
                    break
            if not told and self.summary.opened >= self._count:
                told = True
                say("there")
            if self._manner == "slow" and now >= slow_at:
                slow_at = now + SLOW_SECONDS
                for sock in list(self._sent):
                    self._say(sock, 1)
            for key, events in self._selector.select(TICK_SECONDS):
                if key.fileobj == ends:
                    return
                assert isinstance(key.fileobj, socket.socket)
                self._serve(key.fileobj, events)

    def close(self) -> None:
        for sock in self._sent:
            sock.close()
        self._selector.close()

    def _open(self, source: str) -> bool:
        """Begin one connection; whether there may be another one at once."""
        sock = socket.socket(self._family, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            if source:
                sock.bind((source, 0))
            code = sock.connect_ex(self._where)
        except OSError as error:
            code = error.errno or errno.EIO
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            return False
        self._sent[sock] = 0
        self._selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
        return True

    def _serve(self, sock: socket.socket, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._drop(sock)
                return
            self._selector.modify(sock, selectors.EVENT_READ)
            self.summary.opened += 1
            self.summary.most = max(self.summary.most, len(self._sent))
            if self._manner == "half":
                self._say(sock, len(self._said))
            return
        try:
            data = sock.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.summary.received += len(data)
        if not data:
            self.summary.closed += 1
            self._drop(sock)

    def _say(self, sock: socket.socket, count: int) -> None:
        at = self._sent[sock]
        with contextlib.suppress(OSError):
            self._sent[sock] += sock.send(self._said[at : at + count])

    def _drop(self, sock: socket.socket) -> None:
        self._selector.unregister(sock)
        del self._sent[sock]
        sock.close()


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    where, count, manner, *more = sys.argv[1:]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    said = bytes.fromhex(sys.stdin.buffer.readline().decode())
    crowd = Crowd(where, int(count), manner, said, float(more[0]) if more else 0.0)
    try:
        crowd.run(sys.stdin.fileno(), more[1:])
    finally:
        crowd.close()
    say(json.dumps(asdict(crowd.summary)))
    os._exit(0)


if __name__ == "__main__":
    main()
