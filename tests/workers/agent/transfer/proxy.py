"""A proxy that forwards bytes, holds them, flips bits, or cuts the connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import replace

from castray_desktop.core.protocol.nodes.agent_protocol import Upstream


class Proxy:
    """Stands in for a node's data port. Offsets count the bytes from the node over all connections."""

    def __init__(
        self, upstream: Upstream, hold_at: int = -1, flip_at: tuple[int, ...] = (), cut_at: int = -1
    ) -> None:
        self._upstream = upstream
        self._flips = set(flip_at)
        self._cut_at = cut_at
        self._hold_at = hold_at
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.passed = 0
        self.connections = 0
        self.up = bytearray()  # the bytes from the dialer
        self.down = bytearray()  # the bytes to it
        self.held = threading.Event()
        self._go_on = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._run(self._accept)

    @property
    def upstream(self) -> Upstream:
        port = self._listening.getsockname()[1]
        return replace(self._upstream, address="127.0.0.1", port=port, local_path="")

    def release(self) -> None:
        """Forward the held bytes."""
        self._hold_at = -1
        self._go_on.set()

    def cut(self) -> None:
        """Close all connections; new ones are forwarded."""
        with self._lock:
            for sock in self._sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self.cut()  # first: what is held must not get through
        self.release()
        for thread in self._threads:
            thread.join(5)
        for sock in [*self._sockets, self._listening]:
            sock.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name="castray-proxy", daemon=True)  # type: ignore[arg-type]
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
                self.connections += 1
                self._sockets += [below, above]
            self._run(self._pump, below, above, False)
            self._run(self._pump, above, below, True)

    def _pump(self, source: socket.socket, target: socket.socket, down: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if down:
                    data = self._tamper(bytearray(data))
                    self.down += data
                else:
                    self.up += data
                target.sendall(data)
        for sock in (source, target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

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
