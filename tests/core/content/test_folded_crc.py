"""CRCs that the standard library lacks."""

from __future__ import annotations

import functools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.content.folded_crc import CHUNK_BYTES, GENERATORS, FoldedCrc, Generator

CHECKS = {"crc32c": "e3069283", "crc64nvme": "ae8b14860a799888"}
"""CRCs of `123456789`, as catalogues of CRCs have them."""


@functools.cache
def crc_table(generator: Generator) -> list[int]:
    """By the lowest byte."""
    reflected = int(f"{generator.polynomial:0{generator.bits}b}"[::-1], 2)
    table = []
    for value in range(256):
        entry = value
        for _ in range(8):
            entry = (entry >> 1) ^ (reflected if entry & 1 else 0)
        table.append(entry)
    return table


def slow_crc(kind: str, data: bytes) -> bytes:
    """A byte at a time."""
    generator = GENERATORS[kind]
    table = crc_table(generator)
    value = ones = (1 << generator.bits) - 1
    for byte in data:
        value = (value >> 8) ^ table[(value ^ byte) & 255]
    return (value ^ ones).to_bytes(generator.bits // 8, "big")


def folded_crc(kind: str, *parts: bytes) -> bytes:
    crc = FoldedCrc(kind)
    for part in parts:
        crc.update(part)
    return crc.digest()


@pytest.mark.parametrize("kind", list(GENERATORS))
def test_the_check_value_is_that_of_the_catalogue(kind: str) -> None:
    assert folded_crc(kind, b"123456789").hex() == CHECKS[kind]
    assert folded_crc(kind) == bytes(GENERATORS[kind].bits // 8)


@pytest.mark.parametrize("kind", list(GENERATORS))
def test_the_multiples_are_multiples(kind: str) -> None:
    generator = GENERATORS[kind]
    whole = 1 << generator.bits | generator.polynomial

    def remainder(value: int) -> int:
        while (excess := value.bit_length() - whole.bit_length()) >= 0:
            value ^= whole << excess
        return value

    def power(exponent: int) -> int:
        """x to this power, by squares."""
        value = 1
        for digit in f"{exponent:b}":
            value = remainder(int(f"{value:b}", 4) << int(digit))  # the square of a polynomial over GF(2)
        return value

    for exponents in generator.multiples:
        assert list(exponents) == sorted(exponents, reverse=True)
        assert exponents[-1] == 0
        total = 0
        for exponent in exponents:
            total ^= power(exponent)
        assert total == 0, exponents


@pytest.mark.parametrize("kind", list(GENERATORS))
@given(data=st.binary(max_size=3000), cut=st.integers(0, 3000))
def test_short_data(kind: str, data: bytes, cut: int) -> None:
    assert folded_crc(kind, data[:cut], data[cut:]) == slow_crc(kind, data)


@pytest.mark.parametrize("kind", list(GENERATORS))
@pytest.mark.parametrize("seed", range(4))
def test_data_of_any_length(kind: str, seed: int) -> None:
    """Of several chunks, in pieces of any length; the first and the last bits count too."""
    chance = random.Random(seed)
    data = bytearray(chance.randbytes(chance.randrange(CHUNK_BYTES, 2 * CHUNK_BYTES + 99)))
    wanted = slow_crc(kind, data)
    crc, at = FoldedCrc(kind), 0
    while at < len(data):
        length = chance.choice((1, 4099, 256 << 10, CHUNK_BYTES + 3))
        crc.update(memoryview(data)[at : at + length])
        at += length
    assert crc.digest() == wanted
    data[chance.choice((0, -1, len(data) // 2))] ^= 1 << chance.randrange(8)
    assert folded_crc(kind, bytes(data)) != wanted
