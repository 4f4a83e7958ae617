"""Digests that are known before their pieces."""

from __future__ import annotations

import threading
from typing import cast

import pytest

from castray_desktop.core import wire
from castray_desktop.core.wire import PieceFlag
from castray_desktop.workers.ray_side.byte_plane.channel import Channel
from castray_desktop.workers.ray_side.byte_plane.place import Place
from castray_desktop.workers.ray_side.byte_plane.serving import Serving
from castray_desktop.workers.ray_side.byte_plane.source import Source
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


class Peer:
    """Asks for all digests, and notes how long others were waited for."""

    def __init__(self) -> None:
        self.came = bytearray()
        self.waits: list[float] = []
        self._requests = wire.request(0, 4010, PieceFlag.DIGEST | PieceFlag.EARLY)

    def something_to_read(self) -> bool:
        return bool(self._requests)

    def read(self, count: int) -> bytes:
        some, self._requests = self._requests[:count], self._requests[count:]
        return some

    def await_readable(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return False

    def write(self, data: bytes) -> None:
        self.came += data


@pytest.mark.parametrize("seconds", [0.0, Source.early_seconds])
def test_only_their_source_has_them_wait_for_one_another(stock: Stock, seconds: float) -> None:
    """Else the last node of a long chain would hear of them after their pieces."""
    stock.early_seconds = seconds or stock.early_seconds
    peer = Peer()
    serving = Serving(cast(Channel, peer), stock)
    stock.take_early(0, digest(0) + digest(1))
    for _ in range(2):  # it sends them; it waits for others, or not
        serving._step()
    stock.take_early(2, digest(2))
    for _ in range(2):
        serving._step()
    assert peer.came == wire.digests(0, [digest(0), digest(1)]) + wire.digests(2, [digest(2)])
    assert peer.waits == ([seconds] * 2 if seconds else [])
