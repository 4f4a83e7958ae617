"""Digests that are known before their pieces."""

from __future__ import annotations

import threading
from typing import cast

import pytest

from castray_desktop.workers.ray_side.byte_plane.place import Place
from castray_desktop.workers.ray_side.byte_plane.stock import Stock
from castray_desktop.workers.ray_side.protocol import Algorithms, ParcelTotals, StartDelivery

PIECE = 1000


def digest(number: int) -> bytes:
    return bytes([number]) * 16


@pytest.fixture
def stock() -> Stock:
    """Of one piece of lists, and four of contents."""
    totals = ParcelTotals(10, "", 4 * PIECE, 0, 1, 1)
    order = StartDelivery("cast", "", 1, None, totals, Algorithms(piece_bytes=PIECE))
    return Stock(order, cast(Place, None), lambda urgent: None)


def known(stock: Stock) -> list[bytes | None]:
    return [stock.early_digest(index) for index in range(5)]


def test_what_has_come_is_known(stock: Stock) -> None:
    assert known(stock) == [None] * 5
    stock.take_early(1, digest(1) + digest(2))
    assert known(stock) == [None, digest(1), digest(2), None, None]
    stock.take_early(2, digest(9) + digest(3))
    assert known(stock) == [None, digest(1), digest(9), digest(3), None]


def test_there_are_no_digests_beyond_the_last_piece(stock: Stock) -> None:
    with pytest.raises(ValueError, match="up to 6"):
        stock.take_early(4, digest(1) + digest(2))
    assert known(stock) == [None] * 5


def test_that_of_a_piece_that_is_here_stays(stock: Stock) -> None:
    stock.add(1, digest(1))
    stock.take_early(0, digest(7) + digest(8) + digest(9))
    assert known(stock) == [digest(7), digest(1), digest(9), None, None]
    stock.add(2, digest(2))  # it was read anew
    assert known(stock) == [digest(7), digest(1), digest(2), None, None]
    assert not stock.has_piece(0)


def test_who_waits_for_one_goes_on(stock: Stock) -> None:
    waiting = threading.Thread(target=stock.await_digest, args=(3, 20.0))
    waiting.start()
    stock.take_early(3, digest(3))
    waiting.join(10)
    assert not waiting.is_alive()
