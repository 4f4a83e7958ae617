"""Which thread writes the pieces that multicast has delivered."""

from __future__ import annotations

import threading

import pytest

from castray_desktop.core.content.manifest import Manifest
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.workers.agent.transfer.multicast.piece_writer import PieceWriter
from castray_desktop.workers.agent.transfer.multicast.reassembly import ReassemblyBuffer
from castray_desktop.workers.agent.transfer.system.digests import piece_hasher
from castray_desktop.workers.agent.transfer.system.time_breakdown import CHECKING, WAITING, TimeBreakdown
from tests.workers.agent.transfer.pieces import LAYOUT, content


def digest(data: bytes) -> bytes:
    hasher = piece_hasher("blake2b-128")()
    hasher.update(data)
    return hasher.digest()


class Delivery:
    """Has the digests of all pieces except those that are `unknown`."""

    layout = LAYOUT

    def __init__(self) -> None:
        self.manifest: Manifest | None = Manifest(())
        self.time_breakdown = TimeBreakdown()
        self.write_lock = threading.Lock()
        self.new_piece_hasher = piece_hasher("blake2b-128")
        self.wake_pending = False
        self.paused = False
        self.unknown: set[int] = set()
        self.placed: list[int] = []
        self.by_datagrams = 0
        self.full = False

    @property
    def pieces(self) -> Delivery:
        return self

    def needs_piece(self, index: int) -> bool:
        return index not in self.placed

    def next_needed(self, index: int) -> int:
        return index

    def is_undecided(self) -> bool:
        return False

    def report_state(self) -> None:
        pass

    def early_digest(self, index: int) -> bytes | None:
        return None if index in self.unknown else digest(content(index))

    def can_write(self, index: int) -> bool:
        return self.manifest is not None or index == 0

    def write_piece(self, index: int, digest: bytes, view: memoryview) -> bool:
        assert self.write_lock.locked()
        assert bytes(view) == content(index)
        if self.full:
            raise CastRayError(FailureKind.NO_ROOM)
        self.placed.append(index)
        return True

    def record_datagram_bytes(self, count: int) -> None:
        self.by_datagrams += count

    def is_complete(self) -> bool:
        return len(self.placed) == LAYOUT.pieces

    def notify_waiting(self) -> None:
        pass


@pytest.fixture
def delivery() -> Delivery:
    return Delivery()


@pytest.fixture
def candidates(delivery: Delivery) -> ReassemblyBuffer:
    return ReassemblyBuffer(LAYOUT, delivery)


@pytest.fixture
def writer(delivery: Delivery, candidates: ReassemblyBuffer) -> PieceWriter:
    return PieceWriter(delivery, candidates)


def fill(candidates: ReassemblyBuffer, *pieces: int, data: bytes = b"") -> None:
    for piece in pieces:
        candidates.accept(piece, 0, memoryview(data or content(piece)))


def test_contents_are_placed_at_once(
    delivery: Delivery, candidates: ReassemblyBuffer, writer: PieceWriter
) -> None:
    fill(candidates, 1, 2)
    assert writer.write_now()
    assert delivery.placed == [1, 2]
    assert delivery.by_datagrams == 2000
    assert candidates.complete_pieces == ()
    spent = delivery.time_breakdown.seconds(CHECKING)
    assert delivery.time_breakdown.seconds(WAITING) > 0
    assert delivery.time_breakdown.seconds(CHECKING) == spent  # it reports that it has resumed


def test_the_lists_are_left_to_the_other_thread(
    delivery: Delivery, candidates: ReassemblyBuffer, writer: PieceWriter
) -> None:
    fill(candidates, 0, 1, 6)
    assert not writer.write_now()
    assert delivery.placed == [1]
    fill(candidates, 2)
    assert writer.write_complete() == []
    assert delivery.placed == [1, 0, 6]


def test_without_the_manifest_all_is(
    delivery: Delivery, candidates: ReassemblyBuffer, writer: PieceWriter
) -> None:
    delivery.manifest = None
    fill(candidates, 0, 1)
    assert not writer.write_now()
    assert delivery.placed == []
    writer.write_complete()
    assert delivery.placed == [0]


def test_a_piece_waits_for_its_digest(
    delivery: Delivery, candidates: ReassemblyBuffer, writer: PieceWriter
) -> None:
    delivery.unknown = {2}
    fill(candidates, 1, 2, 3)
    assert writer.write_now()  # no thread can do more
    assert delivery.placed == [1, 3]
    delivery.unknown = set()
    writer.write_complete()
    assert delivery.placed == [1, 3, 2]


def test_nobody_waits_for_whoever_is_at_it(
    delivery: Delivery, candidates: ReassemblyBuffer, writer: PieceWriter
) -> None:
    fill(candidates, 1)
    with delivery.write_lock:
        assert not writer.write_now()
    assert delivery.placed == []
    writer.write_complete()
    assert delivery.placed == [1]


def test_contents_are_not_taken_from_whoever_is_about_to_place_them(
    delivery: Delivery, candidates: ReassemblyBuffer, writer: PieceWriter
) -> None:
    fill(candidates, 1)
    writer.write_complete()
    assert delivery.placed == []
    writer.defer()
    writer.write_complete()
    fill(candidates, 2)
    writer.write_complete()
    assert delivery.placed == [1]
    writer.write_complete(all_of_them=True)  # no other thread will
    assert delivery.placed == [1, 2]


def test_contents_that_can_not_be_placed_stay_left(
    delivery: Delivery, candidates: ReassemblyBuffer, writer: PieceWriter
) -> None:
    delivery.manifest = None
    fill(candidates, 1)
    assert not writer.write_now()
    writer.write_complete()
    assert delivery.placed == []
    delivery.manifest = Manifest(())
    writer.write_complete()
    assert delivery.placed == [1]


def test_wrong_bytes_are_told_to_the_other_thread(
    delivery: Delivery, candidates: ReassemblyBuffer, writer: PieceWriter
) -> None:
    fill(candidates, 2, data=bytes(1000))
    fill(candidates, 3)
    assert not writer.write_now()
    assert delivery.placed == [3]
    assert writer.write_complete() == [(2, 3)]
    assert writer.write_complete() == []


def test_what_keeps_it_from_placing_as_well(
    delivery: Delivery, candidates: ReassemblyBuffer, writer: PieceWriter
) -> None:
    delivery.full = True
    fill(candidates, 1)
    assert not writer.write_now()
    assert not delivery.write_lock.locked()
    with pytest.raises(CastRayError) as caught:
        writer.write_complete()
    assert caught.value.failure.kind is FailureKind.NO_ROOM


def test_the_last_piece_is_told(
    delivery: Delivery, candidates: ReassemblyBuffer, writer: PieceWriter
) -> None:
    fill(candidates, 0, 6)
    writer.write_complete()
    fill(candidates, 1, 2, 3, 4)
    assert writer.write_now()
    fill(candidates, 5)
    assert not writer.write_now()
    assert delivery.is_complete()


def test_what_came_elsewhere_meanwhile_is_let_go(
    delivery: Delivery, candidates: ReassemblyBuffer, writer: PieceWriter
) -> None:
    fill(candidates, 1)
    delivery.placed = [1]
    assert writer.write_now()
    assert delivery.placed == [1]
    assert candidates.complete_pieces == ()
