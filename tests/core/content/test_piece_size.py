"""The length of pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.content.stream_layout import (
    MAX_PIECE_BYTES,
    MIN_PIECE_BYTES,
    PIPELINE_FILL_DIVISOR,
    choose_piece_bytes,
)

MIB = 1 << 20


def test_few_recipients_of_much_get_long_pieces() -> None:
    assert choose_piece_bytes(1024 * MIB, 8) == MIB
    assert choose_piece_bytes(16 * 1024 * MIB, 1) == MIB


def test_many_recipients_of_little_get_short_ones() -> None:
    assert choose_piece_bytes(256 * MIB, 32) == MIN_PIECE_BYTES
    assert choose_piece_bytes(256 * MIB, 8) == MIB // 2
    assert choose_piece_bytes(0, 1) == MIN_PIECE_BYTES


@given(size=st.integers(0, 1 << 45), recipients=st.integers(0, 10_000))
def test_no_longer_than_the_hops_may_cost(size: int, recipients: int) -> None:
    length = choose_piece_bytes(size, recipients)
    assert MIN_PIECE_BYTES <= length <= MAX_PIECE_BYTES
    assert length & (length - 1) == 0
    assert length == MIN_PIECE_BYTES or length * recipients * PIPELINE_FILL_DIVISOR <= size
    assert length == MAX_PIECE_BYTES or 2 * length * recipients * PIPELINE_FILL_DIVISOR > size
