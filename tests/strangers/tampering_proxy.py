"""A proxy between two nodes that understands frames or TLS records, and changes some of them on the way."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from castray_desktop.core.protocol.nodes.agent_protocol import Upstream
from castray_desktop.core.protocol.nodes.peer_frames import HEADER_BYTES

HEADER = struct.Struct("<BBI")
RECORD = struct.Struct(">BHH")
JOIN_SECONDS = 10.0


class CutError(Exception):
    """The proxy closes the connection after these bytes."""

    def __init__(self, last: bytes) -> None:
        super().__init__("cut")
        self.last = last


class StallError(Exception):
    """The proxy forwards these bytes and nothing after them, but keeps the connection."""

    def __init__(self, last: bytes) -> None:
        super().__init__("stall")
        self.last = last


Change = Callable[[bytes], Sequence[bytes]]
"""What is sent instead of a frame; None is a place for the frame that follows it."""


@dataclass
class Attack:
    """Changes frames of one kind: `times` of them after the first ones, over all connections; all for 0."""

    kind: int
    change: Change
    times: int = 1
    after: int = 0  # so many are left as they are
    swaps: bool = False  # each is sent after the frame that follows it, instead
    done: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def concerns(self, kind: int) -> bool:
        """Whether the next frame of this kind is to be changed; counts it."""
        with self.lock:
            if kind != self.kind:
                return False
            self.done += 1
            return self.done > self.after and (not self.times or self.done <= self.after + self.times)


class TamperingProxy:
    """Stands in for a node's data port. Keeps what both sides have sent, by connection."""

    def __init__(self, upstream: Upstream, *attacks: Attack, layout: struct.Struct = HEADER) -> None:
        """`layout` is that of a frame's header, or of a TLS record's; it ends with the length."""
        self._upstream = upstream
        self._attacks = attacks
        self._header = layout
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.seen: set[int] = set()  # kinds of frames
        self.up: list[bytearray] = []  # what dialers have sent
        self.down: list[bytearray] = []  # what the node has sent
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._run(self._accept)

    @property
    def upstream(self) -> Upstream:
        port = self._listening.getsockname()[1]
        return replace(self._upstream, address="127.0.0.1", port=port, local_path="")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for sock in self._sockets:
                _shut(sock)
        for thread in self._threads:
            thread.join(JOIN_SECONDS)
        for sock in [*self._sockets, self._listening]:
            sock.close()

    def __enter__(self) -> TamperingProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
                self._sockets += [below, above]
                self.up.append(bytearray())
                self.down.append(bytearray())
                up, down = self.up[-1], self.down[-1]
            self._run(self._pump, below, above, up)
            self._run(self._pump, above, below, down)

    def _pump(self, source: socket.socket, target: socket.socket, said: bytearray) -> None:
        held = b""
        try:
            while True:
                raw = self._read_frame(source)
                said += raw
                self.seen.add(raw[0])
                attack = next((attack for attack in self._attacks if attack.concerns(raw[0])), None)
                if attack is not None and attack.swaps:
                    held += raw
                    continue
                for part in attack.change(raw) if attack is not None else (raw,):
                    target.sendall(part)
                if held:
                    target.sendall(held)
                    held = b""
        except CutError as cut:
            with contextlib.suppress(OSError):
                target.sendall(cut.last)
        except StallError as stall:
            with contextlib.suppress(OSError):
                target.sendall(stall.last)
                while source.recv(1 << 16):
                    pass
        except OSError:
            pass
        _shut(source)
        _shut(target)

    def _read_frame(self, source: socket.socket) -> bytes:
        """The next frame. Raises OSError at the end."""
        header = _read(source, self._header.size)
        return header + _read(source, self._header.unpack(header)[2])


def _read(source: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        data = source.recv(count - len(found))
        if not data:
            raise ConnectionError("the end")
        found += data
    return bytes(found)


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


# --- changes ------------------------------------------------------------------------------------------


def flip(at: int) -> Change:
    """Flip one bit of a byte of the frame, of its last one for -1."""

    def change(raw: bytes) -> Sequence[bytes]:
        place = at % len(raw)
        return (raw[:place] + bytes([raw[place] ^ 0x10]) + raw[place + 1 :],)

    return change


def truncate(raw: bytes) -> Sequence[bytes]:
    """Half of the frame, and the end of the connection."""
    raise CutError(raw[: len(raw) // 2])


def stall(raw: bytes) -> Sequence[bytes]:
    """Half of the frame, and nothing any more."""
    raise StallError(raw[: len(raw) // 2])


def shorten(raw: bytes) -> Sequence[bytes]:
    """A whole frame whose body lacks its last byte."""
    kind, flags, length = HEADER.unpack_from(raw)
    return (HEADER.pack(kind, flags, max(length - 1, 0)) + raw[HEADER_BYTES:][:-1],)


def lengthen(raw: bytes) -> Sequence[bytes]:
    """A whole frame with one more byte."""
    kind, flags, length = HEADER.unpack_from(raw)
    return (HEADER.pack(kind, flags, length + 1) + raw[HEADER_BYTES:] + b"\x55",)


def drop(raw: bytes) -> Sequence[bytes]:
    """Nothing."""
    return ()


def repeat(raw: bytes) -> Sequence[bytes]:
    """The frame twice."""
    return (raw, raw)


def insert(other: bytes) -> Change:
    """Another frame before it."""
    return lambda raw: (other, raw)


def replace_by(other: bytes) -> Change:
    """Another frame instead."""
    return lambda raw: (other,)
