"""The length of pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.piece_size import LONGEST, NOTICED, SHORTEST, piece_bytes

MIB = 1 << 20


def test_few_recipients_of_much_get_long_pieces() -> None:
    assert piece_bytes(1024 * MIB, 8) == MIB
    assert piece_bytes(16 * 1024 * MIB, 1) == MIB


def test_many_recipients_of_little_get_short_ones() -> None:
    assert piece_bytes(256 * MIB, 32) == SHORTEST
    assert piece_bytes(256 * MIB, 8) == MIB // 2
    assert piece_bytes(0, 1) == SHORTEST


@given(size=st.integers(0, 1 << 45), recipients=st.integers(0, 10_000))
def test_no_longer_than_the_hops_may_cost(size: int, recipients: int) -> None:
    length = piece_bytes(size, recipients)
    assert SHORTEST <= length <= LONGEST
    assert length & (length - 1) == 0
    assert length == SHORTEST or length * recipients * NOTICED <= size
    assert length == LONGEST or 2 * length * recipients * NOTICED > size
