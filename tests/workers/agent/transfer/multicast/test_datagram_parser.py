"""The parsing of the datagrams that one call has received, on real sockets."""

from __future__ import annotations

import itertools
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from castray_desktop.core.multicast.datagrams import (
    HEADER_BYTES,
    DatagramHeader,
    DatagramKeys,
    pack_datagram_header,
    tags_of,
    zone_of,
)
from castray_desktop.workers.agent.transfer.multicast.batched_datagrams import (
    BatchReceiver,
    MmsgReceiver,
    SingleReceiver,
    make_batch_receiver,
)
from castray_desktop.workers.agent.transfer.multicast.datagram_parser import (
    NO_PIECE,
    DatagramParser,
    DatagramRun,
    TagChecker,
)
from castray_desktop.workers.agent.transfer.multicast.multicast_sockets import MAX_MESSAGE_BYTES
from castray_desktop.workers.agent.transfer.system.file_io import page_buffer

SIZE, MOST, PIECE = 1000, 40, 3
KEYS = DatagramKeys(bytes(32), "0123456789ab")
BYTES = secrets.token_bytes(MOST * SIZE)
Make = Callable[[], BatchReceiver]
KINDS = [lambda: MmsgReceiver(SIZE, MOST, 1), lambda: SingleReceiver(SIZE, MOST)]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with ExitStack() as stack:
        ears = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        mouth = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        ears.bind(("127.0.0.1", 0))
        ears.settimeout(5)
        ears.setblocking(True)
        mouth.connect(ears.getsockname())
        yield ears, mouth


def datagram(number: int, length: int = SIZE) -> bytes:
    """One datagram of a piece, in the order of the stream."""
    offset = number * SIZE
    head = DatagramHeader(b"", 100 + number, PIECE, offset, SIZE)
    tag = tags_of(KEYS.tags, 1, head)
    return pack_datagram_header(tag, *head[1:]) + BYTES[offset : offset + length]


def probe(number: int) -> bytes:
    head = 100 + number, PIECE, number * SIZE, SIZE
    return pack_datagram_header(KEYS.tags(zone_of(*head))[:8], *head)


class Taken:
    """The result of one receive call; the datagrams of the piece from `first` on are expected."""

    def __init__(
        self,
        make: Make,
        pair: tuple[socket.socket, socket.socket],
        raw: list[bytes],
        first: int = 0,
        piece: int = PIECE,
    ) -> None:
        ears, mouth = pair
        for each in raw:
            mouth.send(each)
        taken = make()
        self.memory = page_buffer(MOST * SIZE + MAX_MESSAGE_BYTES)
        catch = DatagramParser(taken, TagChecker(KEYS))
        lengths = taken.receive(ears, self.memory, first, MOST, wait=True)
        self.runs: list[tuple[int, int, bool]] = []  # position in the piece, number, whether stored
        self.probes: list[int] = []
        for run in catch.runs(self.memory, piece, first, lengths):
            self._look(run)

    def _look(self, run: DatagramRun) -> None:
        offset = run.head.offset
        if not run.number:
            self.probes.append(offset // SIZE)
            return
        assert bytes(run.data) == BYTES[offset : offset + len(run.data)]
        assert len(run.data) > (run.number - 1) * SIZE
        if run.in_place:
            assert self.memory[offset : offset + len(run.data)] == run.data
        self.runs.append((offset // SIZE, run.number, run.in_place))


@pytest.mark.parametrize("make", KINDS)
class TestRuns:
    def test_what_was_expected_lies_where_it_belongs(
        self, make: Make, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        raw = [datagram(number) for number in range(5, 20)] + [datagram(20, 123)]
        assert Taken(make, pair, raw, first=5).runs == [(5, 16, True)]

    def test_after_a_gap_the_rest_lies_elsewhere(
        self, make: Make, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        raw = [datagram(number) for number in (0, 1, 2, 5, 6, 7, 8, 20, 21)]
        assert Taken(make, pair, raw).runs == [(0, 3, True), (5, 4, False), (20, 2, False)]

    def test_nothing_is_lost_where_all_lies_elsewhere(
        self, make: Make, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        raw = [datagram(number) for number in (9, 8, 7, 3, 4, 12)]
        runs = [(9, 1, False), (8, 1, False), (7, 1, False), (3, 2, False), (12, 1, False)]
        assert Taken(make, pair, raw).runs == runs
        assert Taken(make, pair, raw, piece=NO_PIECE).runs == runs

    def test_strangers_between_are_left_out(
        self, make: Make, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        raw = [datagram(0), datagram(1)]
        raw.append(secrets.token_bytes(8) + datagram(2)[8:])  # with another tag
        raw += [datagram(2), datagram(3), b"", b"x", secrets.token_bytes(HEADER_BYTES + 700), datagram(4)]
        assert Taken(make, pair, raw).runs == [(0, 2, True), (2, 2, False), (4, 1, False)]

    def test_a_stranger_in_the_stead_of_a_lost_one(
        self, make: Make, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        raw = [datagram(number) for number in range(9)]
        raw[4] = secrets.token_bytes(8) + raw[4][8:HEADER_BYTES] + bytes(SIZE)
        assert Taken(make, pair, raw).runs == [(0, 4, True), (5, 4, True)]

    def test_where_the_sender_only_says_where_it_is(
        self, make: Make, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        taken = Taken(make, pair, [datagram(0), probe(1), probe(1), datagram(1), probe(7)])
        assert taken.runs == [(0, 1, True), (1, 1, False)]
        assert taken.probes == [1, 1, 7]


def test_bursts_that_the_kernel_puts_together(pair: tuple[socket.socket, socket.socket]) -> None:
    """Headers and payloads of one message are separated too, wherever a burst ends."""
    ears, mouth = pair
    ears.setsockopt(17, 104, 1)
    together = MAX_MESSAGE_BYTES // (SIZE + HEADER_BYTES)
    taken = make_batch_receiver(SIZE, 200, together)
    memory, catch = page_buffer(200 * SIZE + MAX_MESSAGE_BYTES), DatagramParser(taken, TagChecker(KEYS))
    seen: list[tuple[int, int, bool]] = []
    numbers = itertools.count()
    for count in (10, 7, 10):
        raw = b"".join(datagram(next(numbers)) for _ in range(count))
        mouth.sendmsg([raw], [(17, 103, (SIZE + HEADER_BYTES).to_bytes(2, "little"))])
    while sum(number for _, number, _ in seen) < 27:
        first = sum(number for _, number, _ in seen)
        lengths = taken.receive(ears, memory, first, 200, wait=True)
        for run in catch.runs(memory, PIECE, first, lengths):
            offset = run.head.offset
            assert bytes(run.data) == BYTES[offset : offset + len(run.data)]
            seen.append((offset // SIZE, run.number, run.in_place))
    assert seen[0] == (0, 10, True)
    assert [(place, number) for place, number, _ in seen] == [(0, 10), (10, 7), (17, 10)]


def test_nothing_has_come(pair: tuple[socket.socket, socket.socket]) -> None:
    for make in KINDS:
        with pytest.raises(BlockingIOError):
            make().receive(pair[0], page_buffer(MOST * SIZE + MAX_MESSAGE_BYTES), 0, MOST, wait=False)
