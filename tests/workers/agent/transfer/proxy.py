"""Proxies between nodes: `Forwarder` makes the connections, `Proxy` holds bytes, flips bits, or cuts them."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Self

from castray_desktop.core.protocol.nodes.cast_parcel import Upstream

JOIN_SECONDS = 10.0

Pump = Callable[[socket.socket, socket.socket, bool, int], None]


class Forwarder:
    """Stands in for a node's data port, until it is closed.

    `pump(source, target, down, number)` forwards one direction of a connection, down from the node or up to
    it, in a thread of its own; both sockets are shut down when it returns or raises OSError. `number` counts
    the connections from 0.
    """

    def __init__(self, upstream: Upstream, pump: Pump) -> None:
        self.connections = 0
        self._upstream = upstream
        self._pump = pump
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._run(self._accept)

    @property
    def upstream(self) -> Upstream:
        """The node, reached through this."""
        port = self._listening.getsockname()[1]
        return replace(self._upstream, address="127.0.0.1", port=port, local_path="")

    def cut(self) -> None:
        """Close all connections; new ones are forwarded."""
        with self._lock:
            for sock in self._sockets:
                _shut(sock)

    def stop(self) -> None:
        """Accept no more, and cut what there is."""
        _shut(self._listening)
        self.cut()

    def close(self) -> None:
        """Stop, and wait for all threads."""
        self.stop()
        for thread in self._threads:
            thread.join(JOIN_SECONDS)
        for sock in [*self._sockets, self._listening]:
            sock.close()

    def _run(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name="castray-proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                below, _ = self._listening.accept()
                above = socket.create_connection((self._upstream.address, self._upstream.port))
            except OSError:
                return
            with self._lock:
                number = self.connections
                self.connections += 1
                self._sockets += [below, above]
            self._run(self._forward, below, above, False, number)
            self._run(self._forward, above, below, True, number)

    def _forward(self, source: socket.socket, target: socket.socket, down: bool, number: int) -> None:
        with contextlib.suppress(OSError):
            self._pump(source, target, down, number)
        _shut(source)
        _shut(target)


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


class Proxy:
    """Stands in for a node's data port. Offsets count the bytes from the node over all connections."""

    def __init__(
        self, upstream: Upstream, hold_at: int = -1, flip_at: tuple[int, ...] = (), cut_at: int = -1
    ) -> None:
        self._flips = set(flip_at)
        self._cut_at = cut_at
        self._hold_at = hold_at
        self.passed = 0
        self.up = bytearray()  # the bytes from the dialer
        self.down = bytearray()  # the bytes to it
        self.held = threading.Event()
        self._go_on = threading.Event()
        self._forwarder = Forwarder(upstream, self._pump)
        self.cut = self._forwarder.cut

    @property
    def upstream(self) -> Upstream:
        return self._forwarder.upstream

    @property
    def connections(self) -> int:
        return self._forwarder.connections

    def release(self) -> None:
        """Forward the held bytes."""
        self._hold_at = -1
        self._go_on.set()

    def close(self) -> None:
        self._forwarder.stop()  # first: what is held must not get through
        self.release()
        self._forwarder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pump(self, source: socket.socket, target: socket.socket, down: bool, number: int) -> None:
        while data := source.recv(1 << 16):
            if down:
                data = self._tamper(bytearray(data))
                self.down += data
            else:
                self.up += data
            target.sendall(data)

    def _tamper(self, data: bytearray) -> bytes:
        start, end = self.passed, self.passed + len(data)
        for at in [at for at in self._flips if start <= at < end]:
            data[at - start] ^= 0x10
            self._flips.discard(at)
        if 0 <= self._hold_at < end:
            self.held.set()
            self._go_on.wait(30)
        if 0 <= self._cut_at < end:
            self._cut_at = -1
            raise OSError("cut")
        self.passed = end
        return bytes(data)
