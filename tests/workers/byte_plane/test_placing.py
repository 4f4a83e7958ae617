"""Who places what a group has brought."""

from __future__ import annotations

import threading

import pytest

from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.core.parcel import Manifest
from castray_desktop.workers.ray_side.byte_plane.digests import piece_hasher
from castray_desktop.workers.ray_side.byte_plane.multicast.candidates import Candidates
from castray_desktop.workers.ray_side.byte_plane.multicast.placing import Placing
from castray_desktop.workers.ray_side.byte_plane.spending import CHECKING, WAITING, Spending
from tests.workers.byte_plane.pieces import LAYOUT, content


def digest(data: bytes) -> bytes:
    hasher = piece_hasher("blake2b-128")()
    hasher.update(data)
    return hasher.digest()


class Delivery:
    """Has digests of all pieces but those that are `unknown`."""

    layout = LAYOUT

    def __init__(self) -> None:
        self.manifest: Manifest | None = Manifest(())
        self.spending = Spending()
        self.placing_lock = threading.Lock()
        self.new_piece_hasher = piece_hasher("blake2b-128")
        self.unwoken = False
        self.unknown: set[int] = set()
        self.placed: list[int] = []
        self.by_datagrams = 0
        self.full = False

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
