"""Who places what a group has brought."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import cast

import pytest

from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.core.parcel import Manifest
from castray_desktop.workers.ray_side.byte_plane.digests import piece_hasher
from castray_desktop.workers.ray_side.byte_plane.multicast.candidates import Candidates
from castray_desktop.workers.ray_side.byte_plane.multicast.placing import Placing
from castray_desktop.workers.ray_side.byte_plane.spending import CHECKING, WAITING, Spending
from castray_desktop.workers.ray_side.byte_plane.stretch import Stretch
from castray_desktop.workers.ray_side.byte_plane.yielding_lock import YieldingLock
from tests.workers.byte_plane.pieces import LAYOUT, content


def digest(data: bytes) -> bytes:
    hasher = piece_hasher("blake2b-128")()
    hasher.update(data)
    return hasher.digest()


class Row:
    """Pieces that are placed together."""

    def __init__(self, delivery: Delivery, pieces: range) -> None:
        self.delivery = delivery
        self.pieces = pieces
        self.came: list[int] = []

    def is_next(self, piece: int) -> bool:
        return piece == self.pieces.start + len(self.came) and piece in self.pieces

    def put(self, digest: bytes, view: memoryview) -> None:
        piece = self.pieces.start + len(self.came)
        assert self.delivery.placing_lock.locked()
        assert bytes(view) == content(piece)
        if self.delivery.full:
            raise CastRayError(FailureKind.NO_ROOM)
        self.came.append(piece)

    def close(self) -> int:
        assert self.delivery.placing_lock.locked()
        self.delivery.placed += self.came
        return 1000 * len(self.came)


class Delivery:
    """Has digests of all pieces but those that are `unknown`."""

    layout = LAYOUT

    def __init__(self) -> None:
        self.manifest: Manifest | None = Manifest(())
        self.spending = Spending()
        self.placing_lock = YieldingLock()
        self.new_piece_hasher = piece_hasher("blake2b-128")
        self.unwoken = False
        self.unknown: set[int] = set()
        self.placed: list[int] = []
        self.by_datagrams = 0
        self.full = False
        self.stretches = range(0)  # pieces that may be placed together
        self.stretch_of: Row | None = None

    def wants_piece(self, index: int) -> bool:
        return index not in self.placed

    def next_wanted(self, index: int) -> int:
        return index

    def is_undecided(self) -> bool:
        return False

    def stated(self) -> None:
        pass

    def early_digest(self, index: int) -> bytes | None:
        return None if index in self.unknown else digest(content(index))

    def can_place(self, index: int) -> bool:
        return self.manifest is not None or index == 0

    def stretch(self, first: int) -> Stretch | None:
        assert self.placing_lock.locked()
        if first not in self.stretches:
            return None
        self.stretch_of = Row(self, range(first, self.stretches.stop))
        return cast(Stretch, self.stretch_of)

    def place_piece(self, index: int, digest: bytes, view: memoryview) -> bool:
        assert self.placing_lock.locked()
        assert bytes(view) == content(index)
        if self.full:
            raise CastRayError(FailureKind.NO_ROOM)
        self.placed.append(index)
        return True

    def came_by_datagrams(self, count: int) -> None:
        self.by_datagrams += count

    def is_complete(self) -> bool:
        return len(self.placed) == LAYOUT.pieces

    def wake(self) -> None:
        pass


@pytest.fixture
def delivery() -> Delivery:
    return Delivery()


@pytest.fixture
def candidates(delivery: Delivery) -> Candidates:
    return Candidates(LAYOUT, delivery)


@pytest.fixture
def placing(delivery: Delivery, candidates: Candidates) -> Placing:
    return Placing(delivery, candidates)


def fill(candidates: Candidates, *pieces: int, data: bytes = b"") -> None:
    for piece in pieces:
        candidates.take(piece, 0, memoryview(data or content(piece)))


def test_contents_are_placed_at_once(delivery: Delivery, candidates: Candidates, placing: Placing) -> None:
    fill(candidates, 1, 2)
    assert placing.place_at_once()
    assert delivery.placed == [1, 2]
    assert delivery.by_datagrams == 2000
    assert candidates.whole == ()
    spent = delivery.spending.seconds(CHECKING)
    assert delivery.spending.seconds(WAITING) > 0
    assert delivery.spending.seconds(CHECKING) == spent  # it says that it has gone on


def test_the_lists_are_left_to_the_other_thread(
    delivery: Delivery, candidates: Candidates, placing: Placing
) -> None:
    fill(candidates, 0, 1, 6)
    assert not placing.place_at_once()
    assert delivery.placed == [1]
    fill(candidates, 2)
    assert placing.place() == []
    assert delivery.placed == [1, 0, 6]


def test_without_the_manifest_all_is(delivery: Delivery, candidates: Candidates, placing: Placing) -> None:
    delivery.manifest = None
    fill(candidates, 0, 1)
    assert not placing.place_at_once()
    assert delivery.placed == []
    placing.place()
    assert delivery.placed == [0]


def test_a_piece_waits_for_its_digest(delivery: Delivery, candidates: Candidates, placing: Placing) -> None:
    delivery.unknown = {2}
    fill(candidates, 1, 2, 3)
    assert placing.place_at_once()  # nobody can do more
    assert delivery.placed == [1, 3]
    delivery.unknown = set()
    placing.place()
    assert delivery.placed == [1, 3, 2]


def test_nobody_waits_for_whoever_is_at_it(
    delivery: Delivery, candidates: Candidates, placing: Placing
) -> None:
    fill(candidates, 1)
    with delivery.placing_lock:
        assert not placing.place_at_once()
    assert delivery.placed == []
    placing.place()
    assert delivery.placed == [1]


def test_contents_are_not_taken_from_whoever_is_about_to_place_them(
    delivery: Delivery, candidates: Candidates, placing: Placing
) -> None:
    fill(candidates, 1)
    placing.place()
    assert delivery.placed == []
    placing.leave()
    placing.place()
    fill(candidates, 2)
    placing.place()
    assert delivery.placed == [1]
    placing.place(all_of_them=True)  # nobody else will
    assert delivery.placed == [1, 2]


def test_contents_that_can_not_be_placed_stay_left(
    delivery: Delivery, candidates: Candidates, placing: Placing
) -> None:
    delivery.manifest = None
    fill(candidates, 1)
    assert not placing.place_at_once()
    placing.place()
    assert delivery.placed == []
    delivery.manifest = Manifest(())
    placing.place()
    assert delivery.placed == [1]


def test_wrong_bytes_are_told_to_the_other_thread(
    delivery: Delivery, candidates: Candidates, placing: Placing
) -> None:
    fill(candidates, 2, data=bytes(1000))
    fill(candidates, 3)
    assert not placing.place_at_once()
    assert delivery.placed == [3]
    assert placing.place() == [(2, 3)]
    assert placing.place() == []


def test_what_keeps_it_from_placing_as_well(
    delivery: Delivery, candidates: Candidates, placing: Placing
) -> None:
    delivery.full = True
    fill(candidates, 1)
    assert not placing.place_at_once()
    assert not delivery.placing_lock.locked()
    with pytest.raises(CastRayError) as caught:
        placing.place()
    assert caught.value.failure.kind is FailureKind.NO_ROOM


def test_the_last_piece_is_told(delivery: Delivery, candidates: Candidates, placing: Placing) -> None:
    fill(candidates, 0, 6)
    placing.place()
    fill(candidates, 1, 2, 3, 4)
    assert placing.place_at_once()
    fill(candidates, 5)
    assert not placing.place_at_once()
    assert delivery.is_complete()


def test_what_came_elsewhere_meanwhile_is_let_go(
    delivery: Delivery, candidates: Candidates, placing: Placing
) -> None:
    fill(candidates, 1)
    delivery.placed = [1]
    assert placing.place_at_once()
    assert delivery.placed == [1]
    assert candidates.whole == ()


def test_a_piece_that_came_as_a_whole(delivery: Delivery, candidates: Candidates, placing: Placing) -> None:
    assert placing.place_whole(2, memoryview(content(2)))
    assert delivery.placed == [2]
    assert delivery.by_datagrams == 1000
    assert not delivery.placing_lock.locked()


@pytest.mark.parametrize("why", ["wrong", "unknown", "here", "a list", "no manifest", "busy"])
def test_a_piece_that_only_seems_to_have_come(
    delivery: Delivery, candidates: Candidates, placing: Placing, why: str
) -> None:
    """It is not placed, and may be so by the next one who tries."""
    piece = 6 if why == "a list" else 2
    delivery.unknown = {2} if why == "unknown" else set()
    delivery.placed = [2] if why == "here" else []
    delivery.manifest = None if why == "no manifest" else Manifest(())
    with delivery.placing_lock if why == "busy" else contextlib.nullcontext():
        assert not placing.place_whole(piece, memoryview(bytes(1000) if why == "wrong" else content(piece)))
    assert delivery.by_datagrams == 0
    assert placing.place() == []
    assert not delivery.placing_lock.locked()


def test_what_keeps_a_whole_piece_from_being_placed(delivery: Delivery, placing: Placing) -> None:
    delivery.full = True
    assert not placing.place_whole(2, memoryview(content(2)))
    with pytest.raises(CastRayError) as caught:
        placing.place()
    assert caught.value.failure.kind is FailureKind.NO_ROOM


def whole(candidates: Candidates, placing: Placing, piece: int) -> None:
    """A piece comes as a whole, and is placed."""
    memory = candidates.land(piece, 0)
    assert memory is not None
    memory[:1000] = content(piece)
    assert placing.place_whole(piece, memory[:1000])
    candidates.placed(piece)
    candidates.landed()


def test_pieces_that_follow_one_another_are_counted_together(
    delivery: Delivery, candidates: Candidates, placing: Placing
) -> None:
    delivery.stretches = range(1, 4)
    for piece in (1, 2):
        whole(candidates, placing, piece)
    assert delivery.placed == []
    assert delivery.placing_lock.locked()
    placing.close()
    assert delivery.placed == [1, 2]
    assert delivery.by_datagrams == 2000
    assert not delivery.placing_lock.locked()
    placing.close()
    assert delivery.placed == [1, 2]


def test_nobody_asks_for_what_is_not_counted_yet(
    delivery: Delivery, candidates: Candidates, placing: Placing
) -> None:
    delivery.stretches = range(2, 6)
    fill(candidates, 0)
    for piece in (2, 3):
        whole(candidates, placing, piece)
    assert candidates.lacking(ended=True) == ([(1, 2)], [])
    placing.close()
    assert candidates.lacking(ended=True) == ([(4, 7)], [])


def test_what_does_not_follow_is_placed_after_it(
    delivery: Delivery, candidates: Candidates, placing: Placing
) -> None:
    delivery.stretches = range(1, 3)
    for piece in (1, 2, 3, 5):
        whole(candidates, placing, piece)
    assert delivery.placed == [1, 2, 3, 5]
    assert not delivery.placing_lock.locked()
    delivery.placed = []
    whole(candidates, placing, 1)
    fill(candidates, 4)
    assert placing.place_at_once()
    assert delivery.placed == [1, 4]


def test_wrong_bytes_in_a_row(delivery: Delivery, candidates: Candidates, placing: Placing) -> None:
    delivery.stretches = range(1, 6)
    whole(candidates, placing, 1)
    assert not placing.place_whole(2, memoryview(bytes(1000)))
    whole(candidates, placing, 2)
    placing.close()
    assert delivery.placed == [1, 2]


def test_what_keeps_a_row_from_going_on(delivery: Delivery, candidates: Candidates, placing: Placing) -> None:
    delivery.stretches = range(1, 6)
    whole(candidates, placing, 1)
    delivery.full = True
    assert not placing.place_whole(2, memoryview(content(2)))
    placing.close()
    assert not delivery.placing_lock.locked()
    with pytest.raises(CastRayError) as caught:
        placing.place()
    assert caught.value.failure.kind is FailureKind.NO_ROOM


def test_a_row_ends_where_somebody_waits(
    delivery: Delivery, candidates: Candidates, placing: Placing
) -> None:
    delivery.stretches = range(1, 6)
    whole(candidates, placing, 1)
    waiting = threading.Thread(target=placing.place, daemon=True)
    placing.leave()
    waiting.start()
    deadline = time.monotonic() + 10
    while not delivery.placing_lock.is_awaited and time.monotonic() < deadline:
        time.sleep(0.001)
    placing.place_whole(2, memoryview(content(2)))  # it may be faster than that
    waiting.join(10)
    assert not waiting.is_alive()
    assert delivery.placed[0] == 1
    placing.close()
    assert not delivery.placing_lock.locked()
