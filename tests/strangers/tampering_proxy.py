"""A proxy between two nodes that understands frames or TLS records, and changes some of them on the way."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from castray_desktop.core.protocol.nodes.cast_parcel import Upstream
from castray_desktop.core.protocol.nodes.peer_frames import HEADER_BYTES
from tests.workers.agent.transfer.proxy import Forwarder

HEADER = struct.Struct("<BBI")
RECORD = struct.Struct(">BHH")


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
        self._attacks = attacks
        self._header = layout
        self.seen: set[int] = set()  # kinds of frames
        self._said: dict[tuple[bool, int], bytearray] = {}
        self._forwarder = Forwarder(upstream, self._pump)

    @property
    def upstream(self) -> Upstream:
        return self._forwarder.upstream

    @property
    def up(self) -> list[bytearray]:
        """What dialers have sent."""
        return self._sent(False)

    @property
    def down(self) -> list[bytearray]:
        """What the node has sent."""
        return self._sent(True)

    def _sent(self, down: bool) -> list[bytearray]:
        return [self._said.get((down, number), bytearray()) for number in range(self._forwarder.connections)]

    def close(self) -> None:
        self._forwarder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pump(self, source: socket.socket, target: socket.socket, down: bool, number: int) -> None:
        held, said = b"", self._said.setdefault((down, number), bytearray())
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
            target.sendall(cut.last)
        except StallError as stall:
            target.sendall(stall.last)
            while source.recv(1 << 16):
                pass

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
