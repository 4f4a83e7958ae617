"""Parsing received datagrams, on real sockets; the share of datagrams that a receiver gets."""

from __future__ import annotations

import itertools
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from castray_desktop.core.multicast.datagrams import (
    HEADER_BYTES,
    DatagramHeader,
    DatagramKeys,
    pack_datagram_header,
)
from castray_desktop.workers.agent.transfer.multicast.multicast_receiver import (
    JUDGED_FROM,
    MIN_RATIO_SECONDS,
    DatagramParser,
    DatagramRun,
    DeliveryRatio,
)
from castray_desktop.workers.agent.transfer.multicast.multicast_sockets import (
    MAX_MESSAGE_BYTES,
    BatchReceiver,
)

SIZE, MOST, PIECE = 1000, 40, 3
KEYS = DatagramKeys(bytes(32), "0123456789ab")
BYTES = secrets.token_bytes(MOST * SIZE)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with ExitStack() as stack:
        receiving = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sending = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        receiving.bind(("127.0.0.1", 0))
        receiving.settimeout(5)
        receiving.setblocking(True)
        sending.connect(receiving.getsockname())
        yield receiving, sending


def datagram(number: int, length: int = SIZE) -> bytes:
    """One datagram of a piece, in the order of the stream."""
    offset = number * SIZE
    head = DatagramHeader(b"", 100 + number, PIECE, offset, SIZE)
    tag = KEYS.tags(head, 1)
    return pack_datagram_header(tag, *head[1:]) + BYTES[offset : offset + length]


def probe(number: int) -> bytes:
    head = 100 + number, PIECE, number * SIZE, SIZE
    return pack_datagram_header(KEYS.probe_tag(DatagramHeader(b"", *head)), *head)


class Taken:
    """The result of one receive call."""

    def __init__(
        self,
        pair: tuple[socket.socket, socket.socket],
        raw: list[bytes],
    ) -> None:
        receiving, sending = pair
        for each in raw:
            sending.send(each)
        taken = BatchReceiver(SIZE, MOST, 1)
        parser = DatagramParser(taken, KEYS)
        lengths = taken.receive(receiving, wait=True)
        self.runs: list[tuple[int, int]] = []  # position in the piece, number
        self.probes: list[int] = []
        for run in parser.runs(lengths):
            self._look(run)

    def _look(self, run: DatagramRun) -> None:
        offset = run.head.offset
        if not run.number:
            self.probes.append(offset // SIZE)
            return
        assert bytes(run.data) == BYTES[offset : offset + len(run.data)]
        assert len(run.data) > (run.number - 1) * SIZE
        self.runs.append((offset // SIZE, run.number))


class TestRuns:
    def test_datagrams_in_order_are_one_run(self, pair: tuple[socket.socket, socket.socket]) -> None:
        raw = [datagram(number) for number in range(5, 20)] + [datagram(20, 123)]
        assert Taken(pair, raw).runs == [(5, 16)]

    def test_a_gap_ends_a_run(self, pair: tuple[socket.socket, socket.socket]) -> None:
        raw = [datagram(number) for number in (0, 1, 2, 5, 6, 7, 8, 20, 21)]
        assert Taken(pair, raw).runs == [(0, 3), (5, 4), (20, 2)]

    def test_datagrams_out_of_order_are_kept(self, pair: tuple[socket.socket, socket.socket]) -> None:
        raw = [datagram(number) for number in (9, 8, 7, 3, 4, 12)]
        runs = [(9, 1), (8, 1), (7, 1), (3, 2), (12, 1)]
        assert Taken(pair, raw).runs == runs

    def test_datagrams_with_wrong_tags_are_left_out(self, pair: tuple[socket.socket, socket.socket]) -> None:
        raw = [datagram(0), datagram(1)]
        raw.append(secrets.token_bytes(8) + datagram(2)[8:])  # with another tag
        raw += [datagram(2), datagram(3), b"", b"x", secrets.token_bytes(HEADER_BYTES + 700), datagram(4)]
        assert Taken(pair, raw).runs == [(0, 2), (2, 2), (4, 1)]

    def test_a_forged_datagram_in_place_of_a_lost_one_is_left_out(
        self, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        raw = [datagram(number) for number in range(9)]
        raw[4] = secrets.token_bytes(8) + raw[4][8:HEADER_BYTES] + bytes(SIZE)
        assert Taken(pair, raw).runs == [(0, 4), (5, 4)]

    def test_probes_tell_the_sender_s_position(self, pair: tuple[socket.socket, socket.socket]) -> None:
        taken = Taken(pair, [datagram(0), probe(1), probe(1), datagram(1), probe(7)])
        assert taken.runs == [(0, 1), (1, 1)]
        assert taken.probes == [1, 1, 7]


def test_coalesced_bursts(pair: tuple[socket.socket, socket.socket]) -> None:
    """Headers and payloads of one message are separated too, wherever a burst ends."""
    receiving, sending = pair
    receiving.setsockopt(17, 104, 1)
    together = MAX_MESSAGE_BYTES // (SIZE + HEADER_BYTES)
    taken = BatchReceiver(SIZE, 200, together)
    parser = DatagramParser(taken, KEYS)
    seen: list[tuple[int, int]] = []
    numbers = itertools.count()
    for count in (10, 7, 10):
        raw = b"".join(datagram(next(numbers)) for _ in range(count))
        sending.sendmsg([raw], [(17, 103, (SIZE + HEADER_BYTES).to_bytes(2, "little"))])
    while sum(number for _, number in seen) < 27:
        for run in parser.runs(taken.receive(receiving, wait=True)):
            offset = run.head.offset
            assert bytes(run.data) == BYTES[offset : offset + len(run.data)]
            seen.append((offset // SIZE, run.number))
    assert seen == [(0, 10), (10, 7), (17, 10)]


def test_no_datagram_raises_blocking_io_error(pair: tuple[socket.socket, socket.socket]) -> None:
    receiver = BatchReceiver(SIZE, MOST, 1)
    with pytest.raises(BlockingIOError):
        receiver.receive(pair[0], wait=False)


def judged(came: list[int], every: float = 0.15, sent: int = 100) -> list[bool]:
    """This number of 100 datagrams in each interval."""
    share, total, verdicts = DeliveryRatio(), 0, []
    share.restart(10.0, 0, 0)
    for number, more in enumerate(came, 1):
        total += more
        verdicts.append(share.is_too_small(10.0 + number * every, number * sent, total))
    return verdicts


def test_half_of_the_datagrams_is_enough() -> None:
    assert not any(judged([50] * 20))


def test_less_than_half_for_half_a_second_is_too_little() -> None:
    assert judged([100, 100] + [40] * 5) == [False] * 5 + [True] * 2
    assert 3 * 0.15 < MIN_RATIO_SECONDS < 4 * 0.15


def test_the_share_may_recover() -> None:
    assert not any(judged([40, 40, 40, 80] * 5))


def test_a_few_datagrams_are_not_judged() -> None:
    assert not any(judged([0] * 20, sent=JUDGED_FROM // 20 - 1))
