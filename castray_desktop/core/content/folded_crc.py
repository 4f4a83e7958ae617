"""Cyclic redundancy checks that the standard library lacks, computed with its large integers.

The bits of the data are the coefficients of a polynomial over GF(2), and a CRC is the remainder of a division
by the generator. A multiple of the generator with few terms clears as many bits of the data at once as there
are between its two highest exponents, by one shift and one XOR for each further term. Its square has the same
number of terms, and twice the exponents: so the same few terms shorten data of any length.
"""

from __future__ import annotations

import functools
from typing import NamedTuple, Union

CHUNK_BYTES = 1372 << 10
"""What is folded at once: as much as the longest fold needs. An operation on integers of this length takes
less than a millisecond, and then other threads get their turn.
"""


class Generator(NamedTuple):
    """The polynomial of a CRC."""

    bits: int
    polynomial: int  # without its highest term
    multiples: tuple[tuple[int, ...], ...]  # their exponents, highest first; the longest multiple first


GENERATORS = {
    "crc32c": Generator(
        32,
        0x1EDC6F41,
        ((6777, 484, 100, 0), (685, 31, 26, 25, 23, 19, 15, 11, 3, 0)),
    ),
    "crc64nvme": Generator(
        64,
        0xAD93D23594C93659,
        (
            (745501, 86137, 65902, 46086, 0),
            (297745, 134528, 62677, 40714, 0),
            (30816, 792, 54, 42, 40, 30, 23, 16, 14, 12, 10, 8, 0),
            (865, 59, 43, 41, 40, 37, 33, 31, 30, 29, 20, 18, 16, 13, 7, 6, 4, 3, 2, 0),
        ),
    ),
}


class _Fold(NamedTuple):
    """One way to clear the lowest bits, which have the highest exponents: bits are reflected."""

    length: int  # bits that are cleared
    needed: int  # bits that must be there
    mask: int
    shifts: tuple[int, ...]


class _Rules(NamedTuple):
    folds: tuple[_Fold, ...]  # in this order, each as often as there are enough bits
    table: tuple[int, ...]  # by the lowest byte


class FoldedCrc:
    """A CRC with reflected bits, and with ones as its first value and as its final mask."""

    def __init__(self, kind: str) -> None:
        """`kind` is one of `GENERATORS`."""
        self._bits = GENERATORS[kind].bits
        self._rules = _rules(kind)
        self._ones = self._value = (1 << self._bits) - 1
        self._waiting = bytearray()  # less than a chunk

    def update(self, data: Union[bytes, memoryview]) -> None:
        """Add the next bytes."""
        self._waiting += data
        if len(self._waiting) >= CHUNK_BYTES:
            whole = len(self._waiting) // CHUNK_BYTES * CHUNK_BYTES
            with memoryview(self._waiting) as view:
                for start in range(0, whole, CHUNK_BYTES):
                    self._value = self._after(view[start : start + CHUNK_BYTES])
            del self._waiting[:whole]

    def digest(self) -> bytes:
        """The CRC of the bytes so far, highest byte first."""
        return (self._after(self._waiting) ^ self._ones).to_bytes(self._bits // 8, "big")

    def _after(self, chunk: Union[bytearray, memoryview]) -> int:
        """The value after these bytes."""
        value, left = int.from_bytes(chunk, "little") ^ self._value, 8 * len(chunk)
        for length, needed, mask, shifts in self._rules.folds:
            while left >= needed:
                low = value & mask
                value >>= length
                for shift in shifts:
                    value ^= low << shift
                left -= length
        table = self._rules.table
        for _ in range(left // 8):
            value = (value >> 8) ^ table[value & 0xFF]
        return value


@functools.cache
def _rules(kind: str) -> _Rules:
    generator = GENERATORS[kind]
    reflected = int(f"{generator.polynomial:0{generator.bits}b}"[::-1], 2)
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (reflected if value & 1 else 0)
        table.append(value)
    folds, most = [], 8 * CHUNK_BYTES  # bits that can be left after the folds so far
    for multiple in generator.multiples:
        highest, following = multiple[:2]
        for power in (1 << digit for digit in reversed(range(most.bit_length()))):
            length = (highest - following) * power // 8 * 8
            needed = length + highest * power
            if needed <= most:
                shifts = tuple((highest - exponent) * power - length for exponent in multiple[1:])
                folds.append(_Fold(length, needed, (1 << length) - 1, shifts))
                most = needed - 1
    return _Rules(tuple(folds), tuple(table))
