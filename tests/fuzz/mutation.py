"""Mutations of valid samples: of their bytes, of the values of JSON and MessagePack, and of peer frames."""

from __future__ import annotations

import enum
import json
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

MAX_BYTES = 1 << 16
MAX_DEPTH = 3000
FRAME_HEADER = struct.Struct("<BBI")

NUMBERS = (0, 1, 2, 7, 8, 127, 128, 255, 256, 4095, 4096, 32767, 65535, 65536, 2**31 - 1, 2**31)
NUMBERS += (2**32 - 1, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
TOKENS = (
    *(
        b"\0",
        b"..",
        b"/",
        b"../../",
        b"/etc/passwd",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\n",
        b"\r",
        b" ",
        b"{",
        b"[",
    ),
    *(
        b"null",
        b"NaN",
        b"Infinity",
        b"-1",
        b"1e999",
        b"9" * 400,
        b'"\\ud800"',
        b"true",
        b"*",
        b"?",
        b"[!",
        b"**",
    ),
    *(b"{node}", b"%", b"#", b"\xc1", b"\x91" * 50),
)
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        -1,
        0,
        1,
        2**31,
        2**53,
        2**63,
        2**64,
        -(2**63),
        1e308,
        -0.5,
        0.1,
        [],
        {},
        [[]],
        {"": {}},
    ),
    *(
        "",
        "..",
        "/",
        "../..",
        "/etc/passwd",
        "\0",
        "a\0b",
        "x" * 300,
        "\ud800",
        "9" * 400,
        "NaN",
        "ff",
        "{node}",
    ),
)
HUGE: tuple[Any, ...] = (float("nan"), float("inf"), float("-inf"), 10**400, -(10**400))


class InputFormat(enum.Enum):
    """What the inputs of a target are made of."""

    BYTES = "bytes"
    JSON = "json"  # one value, or one in each line
    MSGPACK = "msgpack"
    FRAMES = "frames"  # of peers, one after the other


class Mutator:
    """Makes inputs from samples. Equal seeds make equal inputs."""

    def __init__(self, seed: int, form: InputFormat) -> None:
        self._random = random.Random(seed)
        self._form = form
        self._edits: tuple[Callable[[bytearray], None], ...] = (
            self._flip,
            self._cut,
            self._insert,
            self._number,
            self._repeat,
            self._token,
            self._erase,
        )

    def mutate(self, samples: Sequence[bytes]) -> bytes:
        """A mutation of one of the samples, or a splice of two."""
        chosen = self._random
        data = chosen.choice(samples)
        if self._form is not InputFormat.BYTES and chosen.random() < 0.6:
            data = self._structured(data, samples)
            if chosen.random() < 0.8:
                return data[:MAX_BYTES]
        raw = bytearray(data)
        if chosen.random() < 0.1:
            other = chosen.choice(samples)
            raw = raw[: chosen.randint(0, len(raw))] + other[chosen.randint(0, len(other)) :]
        for _ in range(chosen.choice((1, 1, 1, 2, 2, 3, 5, 9))):
            chosen.choice(self._edits)(raw)
        return bytes(raw[:MAX_BYTES])

    # --- bytes

    def _at(self, raw: bytearray) -> int:
        return self._random.randrange(len(raw) + 1)

    def _flip(self, raw: bytearray) -> None:
        if raw:
            raw[self._random.randrange(len(raw))] ^= 1 << self._random.randrange(8)

    def _cut(self, raw: bytearray) -> None:
        if self._random.random() < 0.3:
            del raw[self._at(raw) :]
        else:
            at = self._at(raw)
            del raw[at : at + self._random.choice((1, 2, 4, 8, 16))]

    def _insert(self, raw: bytearray) -> None:
        at = self._at(raw)
        raw[at:at] = self._random.randbytes(self._random.choice((1, 1, 2, 4, 8, 32)))

    def _number(self, raw: bytearray) -> None:
        size, order = self._random.choice((1, 2, 4, 8)), self._random.choice(("little", "big"))
        number = self._random.choice(NUMBERS) % (1 << 8 * size)
        at = self._at(raw)
        raw[at : at + size] = number.to_bytes(size, order)  # type: ignore[arg-type]

    def _repeat(self, raw: bytearray) -> None:
        at = self._at(raw)
        part = raw[at : at + self._random.choice((1, 4, 16, 64))]
        raw[at:at] = part * self._random.choice((1, 2, 3, 50, 500))

    def _token(self, raw: bytearray) -> None:
        at, token = self._at(raw), self._random.choice(TOKENS)
        raw[at : at + self._random.choice((0, len(token)))] = token

    def _erase(self, raw: bytearray) -> None:
        at = self._at(raw)
        count = min(self._random.choice((1, 4, 16)), len(raw) - at)
        raw[at : at + count] = bytes(count)

    # --- structures

    def _structured(self, data: bytes, samples: Sequence[bytes]) -> bytes:
        if self._form is InputFormat.FRAMES:
            return self._frames(data, samples)
        if self._form is InputFormat.MSGPACK:
            try:
                value = msgspec.msgpack.decode(data)
                return msgspec.msgpack.encode(self._value(value, VALUES))
            except (ValueError, OverflowError, RecursionError):  # a mutation, or what MessagePack can't say
                return data
        lines = data.splitlines(keepends=True) or [b""]
        at = self._random.randrange(len(lines))
        try:
            value = json.loads(lines[at])
        except (ValueError, RecursionError):
            return data
        try:
            lines[at] = json.dumps(self._value(value, VALUES + HUGE)).encode() + lines[at][-1:].strip(
                b']}"0123456789'
            )
        except RecursionError:
            lines[at] = b"[" * MAX_DEPTH
        return b"".join(lines)

    def _value(self, value: Any, others: Sequence[Any]) -> Any:
        """The value with one change somewhere in it."""
        chosen = self._random
        if isinstance(value, dict) and value and chosen.random() < 0.9:
            key = chosen.choice(list(value))
            change = chosen.random()
            if change < 0.06:
                return {name: item for name, item in value.items() if name != key}
            if change < 0.1:
                return {**value, chosen.choice(("", "x", "type", "\0")): chosen.choice(others)}
            if change < 0.12:
                return {**value, "unknown": self._nested()}
            return {**value, key: self._value(value[key], others)}
        if isinstance(value, list) and value and chosen.random() < 0.9:
            at = chosen.randrange(len(value))
            change = chosen.random()
            if change < 0.06:
                return value[:at] + value[at + 1 :]
            if change < 0.12:
                return value + [value[at]] * chosen.choice((1, 2, 300))
            return [*value[:at], self._value(value[at], others), *value[at + 1 :]]
        if isinstance(value, str) and value and chosen.random() < 0.3:
            at = chosen.randrange(len(value))
            return (
                value[:at]
                + chosen.choice(("\0", "/", "..", " ", "*", "\ud800", "\xe9", "9", ""))
                + value[at + 1 :]
            )
        if chosen.random() < 0.02:
            return self._nested()
        return chosen.choice(others)

    def _nested(self) -> Any:
        nested: Any = []
        for _ in range(self._random.choice((10, 100, 600))):
            nested = [nested] if self._random.random() < 0.9 else {"": nested}
        return nested

    def _frames(self, data: bytes, samples: Sequence[bytes]) -> bytes:
        """The same frames with one changed, removed, repeated or moved; lengths stay right."""
        chosen, frames = self._random, _split(data)
        if chosen.random() < 0.3:
            frames += _split(chosen.choice(samples))
        if not frames:
            return data
        at = chosen.randrange(len(frames))
        kind, flags, body = frames[at]
        change = chosen.random()
        if change < 0.15:
            frames.insert(chosen.randrange(len(frames) + 1), frames[at])
        elif change < 0.25:
            del frames[at]
        elif change < 0.35:
            chosen.shuffle(frames)
        elif change < 0.5:
            frames[at] = kind, flags ^ 1 << chosen.randrange(7), body
        elif change < 0.6:
            frames[at] = chosen.choice((*range(16, 27), 1, 5)), flags, body
        else:
            raw = bytearray(body)
            chosen.choice(self._edits)(raw)
            frames[at] = kind, flags, bytes(raw)
        return b"".join(FRAME_HEADER.pack(kind, flags, len(body)) + body for kind, flags, body in frames)


def _split(data: bytes) -> list[tuple[int, int, bytes]]:
    """The whole frames at the beginning of `data`."""
    frames, at = [], 0
    while at + FRAME_HEADER.size <= len(data):
        kind, flags, length = FRAME_HEADER.unpack_from(data, at)
        at += FRAME_HEADER.size
        if at + length > len(data):
            break
        frames.append((kind, flags, data[at : at + length]))
        at += length
    return frames
