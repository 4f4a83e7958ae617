"""What datagrams bring, until it is placed."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from castray_desktop.core.layout import Layout
from castray_desktop.core.ranges import RangeSet
from castray_desktop.workers.ray_side.byte_plane.multicast.candidates import (
    MANY_GAPS,
    Candidates,
    Lacking,
    Taken,
)
from tests.workers.byte_plane.pieces import LAYOUT, content

SIZE = 70


class Needs:
    """A delivery that needs everything but what it has."""

    def __init__(self, wants: Callable[[int], bool] = lambda index: True) -> None:
        self.wants = wants
        self.have: set[int] = set()

    def wants_piece(self, index: int) -> bool:
        return index not in self.have and self.wants(index)

    def next_wanted(self, index: int) -> int:
        return next((at for at in range(index, LAYOUT.pieces) if self.wants_piece(at)), LAYOUT.pieces)

    def is_undecided(self) -> bool:
        return False


def datagrams(piece: int) -> list[tuple[int, bytes]]:
    whole = content(piece)
    return [(at, whole[at : at + SIZE]) for at in range(0, len(whole), SIZE)]


def take(candidates: Candidates, piece: int, offset: int, data: bytes) -> Taken:
    return candidates.take(piece, offset, memoryview(data))[1]


def land(candidates: Candidates, piece: int, offset: int, data: bytes) -> Taken:
    memory = candidates.land(piece, offset)
    assert memory is not None
    memory[offset : offset + len(data)] = data
    taken = candidates.take(piece, offset, memory[offset : offset + len(data)], in_place=True)[1]
    candidates.landed()
    return taken


def out(candidates: Candidates, piece: int) -> bytes:
    view, _ = candidates.take_out(piece)
    data = bytes(view)
    candidates.give_back(view)
    return data


def fill(candidates: Candidates, piece: int) -> None:
    for offset, data in datagrams(piece):
        take(candidates, piece, offset, data)


def test_a_piece_is_whole_with_its_last_datagram() -> None:
    candidates = Candidates(LAYOUT, Needs())
    *some, (offset, last) = datagrams(2)
    assert {take(candidates, 2, at, data) for at, data in some} == {Taken.TAKEN}
    assert candidates.whole == ()
    assert take(candidates, 2, offset, last) is Taken.COMPLETED
    assert candidates.whole == (2,)
    assert out(candidates, 2) == content(2)
    assert candidates.whole == ()


def test_what_came_first_stays() -> None:
    candidates = Candidates(LAYOUT, Needs())
    whole = content(1)
    take(candidates, 1, 0, whole[:140])
    take(candidates, 1, 70, b"\xff" * 140)
    take(candidates, 1, 210, whole[210:])
    assert candidates.whole == (1,)
    assert out(candidates, 1) == whole[:140] + b"\xff" * 70 + whole[210:]


def test_a_whole_piece_is_not_touched() -> None:
    candidates = Candidates(LAYOUT, Needs())
    fill(candidates, 1)
    assert take(candidates, 1, 0, b"\xff" * 70) is Taken.TAKEN
    assert out(candidates, 1) == content(1)


def test_what_is_passed_and_lacks_something_is_told_once() -> None:
    candidates = Candidates(LAYOUT, Needs())
    fill(candidates, 0)
    for offset, data in datagrams(1):
        if offset not in (70, 140, 420):
            take(candidates, 1, offset, data)
    assert candidates.lacking(ended=False).parts == []  # the sender may be within it
    fill(candidates, 4)
    lacking = candidates.lacking(ended=False)
    assert lacking.parts == [(1, [(70, 210), (420, 490)])]
    assert lacking.wholly == [(2, 4)]
    assert candidates.lacking(ended=False) == ([], [])
    assert candidates.lacking(ended=True).wholly == [(5, 7)]


def test_whether_the_sender_has_passed_something_that_lacks() -> None:
    needs = Needs()
    candidates = Candidates(LAYOUT, needs)
    fill(candidates, 0)
    take(candidates, 1, 0, content(1)[:70])
    assert not candidates.lacks()  # what is whole waits to be placed, and the sender is within the other
    out(candidates, 0)
    needs.have = {0}
    fill(candidates, 2)
    assert candidates.lacks()
    needs.have = {0, 1}
    assert not candidates.lacks()
    fill(candidates, 4)
    assert candidates.lacks()
    assert candidates.lacking(ended=False).wholly == [(3, 4)]
    assert not candidates.lacks()


def test_a_part_completes_its_piece() -> None:
    candidates = Candidates(LAYOUT, Needs())
    for offset, data in datagrams(1):
        if offset != 70:
            take(candidates, 1, offset, data)
    take(candidates, 2, 0, content(2)[:70])
    assert candidates.lacking(ended=False).parts == [(1, [(70, 140)])]
    assert take(candidates, 1, 70, b"\xff" * 70) is Taken.TAKEN  # late, and forged: it was asked for
    view = candidates.part(1, 70, 140)
    assert view is not None
    view[:] = content(1)[70:140]
    candidates.part_came(1, 70, 140)
    assert candidates.part(1, 70, 140) is None
    view, asked = candidates.take_out(1)
    assert (bytes(view), asked) == (content(1), 70)


def test_another_connection_is_asked_for_parts_again() -> None:
    candidates = Candidates(LAYOUT, Needs())
    for offset, data in datagrams(1)[1:]:
        take(candidates, 1, offset, data)
    first = candidates.lacking(ended=True)
    candidates.start_over()
    assert candidates.lacking(ended=True) == first
    assert first.parts == [(1, [(0, 70)])]


def test_without_room_datagrams_are_lost() -> None:
    candidates = Candidates(LAYOUT, Needs(), room=0)
    found = [take(candidates, piece, 0, content(piece)[:30]) for piece in range(LAYOUT.pieces)]
    assert found == [Taken.TAKEN] * 4 + [Taken.NO_ROOM] * 3
    fill(candidates, 1)
    assert out(candidates, 1) == content(1)
    assert take(candidates, 6, 0, content(6)[:20]) is Taken.TAKEN


def test_what_is_not_needed_takes_no_room() -> None:
    needs = Needs(lambda index: index == 3)
    candidates = Candidates(LAYOUT, needs, room=0)
    for piece in range(LAYOUT.pieces):
        fill(candidates, piece)
    assert candidates.whole == (3,)
    assert candidates.lacking(ended=True) == ([], [])


def test_a_piece_with_too_many_gaps_is_wanted_as_a_whole() -> None:
    layout = Layout(0, 100_000, 0, 100_000)
    candidates = Candidates(layout, Needs())
    for gap in range(MANY_GAPS + 2):
        take(candidates, 0, gap * 100, bytes(50))
    assert candidates.lacking(ended=True) == ([(0, 1)], [])


def test_who_joins_late_begins_there() -> None:
    candidates = Candidates(LAYOUT, Needs())
    assert candidates.first == -1
    take(candidates, 3, 500, content(3)[500:])
    assert candidates.first == 3
    lacking = candidates.lacking(ended=True)
    assert lacking.parts == [(3, [(0, 500)])]
    assert lacking.wholly == [(4, 7)]


@settings(max_examples=60)
@given(st.data())
def test_whatever_is_lost_doubled_or_late_every_byte_comes(data: st.DataObject) -> None:
    """Datagrams in any order, and parts as they are asked for: each piece comes out right, once."""
    needs = Needs()
    candidates = Candidates(LAYOUT, needs)
    sent = [(piece, *datagram) for piece in range(LAYOUT.pieces) for datagram in datagrams(piece)]
    flags = data.draw(st.lists(st.integers(0, 9), min_size=len(sent), max_size=len(sent)))
    stream = []
    for number, (datagram, flag) in enumerate(zip(sent, flags, strict=True)):
        if flag > 1:  # else it is lost
            stream.append((number + (30 if flag == 2 else 0), datagram))
        if flag == 3:
            stream.append((number + 5, datagram))
    placed: dict[int, bytes] = {}
    asked: list[tuple[int, int, int]] = []
    fetched = RangeSet()

    def work(ended: bool) -> None:
        for piece in candidates.whole:
            found = out(candidates, piece)
            if piece not in needs.have:
                placed[piece] = found
                needs.have.add(piece)
        lacking = candidates.lacking(ended)
        for first, last in lacking.wholly:
            assert not any(fetched.contains(piece, piece + 1) for piece in range(first, last))
            fetched.add(first, last)
            for piece in range(first, last):
                placed[piece] = content(piece)
                needs.have.add(piece)
        asked.extend((piece, low, high) for piece, gaps in lacking.parts for low, high in gaps)
        if asked and data.draw(st.booleans()):
            come(*asked.pop(0))

    def come(piece: int, low: int, high: int) -> None:
        view = candidates.part(piece, low, high)
        if view is not None:
            view[:] = content(piece)[low:high]
            candidates.part_came(piece, low, high)

    for _, (piece, offset, payload) in sorted(stream, key=lambda item: item[0]):
        take(candidates, piece, offset, payload)
        work(ended=False)
    for _ in range(3):
        work(ended=True)
        while asked:
            come(*asked.pop(0))
    begun = max(candidates.first, 0)  # what was sent before has to be fetched in any case
    assert placed == {piece: content(piece) for piece in range(begun, LAYOUT.pieces)}


def test_what_lands_in_place_is_there() -> None:
    candidates = Candidates(LAYOUT, Needs())
    for offset, data in datagrams(2):
        taken = land(candidates, 2, offset, data)
    assert taken is Taken.COMPLETED
    assert out(candidates, 2) == content(2)


def test_nothing_lands_on_what_is_there_or_was_asked_for() -> None:
    candidates = Candidates(LAYOUT, Needs())
    (_, first), (second_at, second), *_ = datagrams(1)
    land(candidates, 1, 0, first)
    take(candidates, 1, second_at + len(second), second)
    assert candidates.land(1, second_at) is None
    assert candidates.land(1, second_at + 2 * len(second)) is not None
    candidates.landed()
    candidates.take(2, 0, memoryview(b""))
    assert candidates.lacking(ended=False).parts
    assert candidates.land(1, second_at + 2 * len(second)) is None


def test_where_datagrams_land_nothing_is_asked_for() -> None:
    candidates = Candidates(LAYOUT, Needs())
    fill(candidates, 0)
    land(candidates, 1, 0, datagrams(1)[0][1])
    assert candidates.land(1, SIZE) is not None
    assert candidates.lacking(ended=True) == Lacking([], [])
    candidates.landed()
    lacking = candidates.lacking(ended=True)
    assert lacking.parts == [(1, [(SIZE, LAYOUT.piece_bytes)])]
    assert lacking.wholly == [(2, LAYOUT.pieces)]


def test_what_was_made_ready_in_vain_is_asked_for_as_a_whole() -> None:
    candidates = Candidates(LAYOUT, Needs())
    fill(candidates, 0)
    assert candidates.land(1, 0) is not None
    candidates.landed()
    candidates.take(3, 0, memoryview(b""))
    assert candidates.lacking(ended=False) == Lacking([(1, 3)], [])


def test_nothing_lands_where_it_is_not_needed() -> None:
    candidates = Candidates(LAYOUT, Needs())
    assert candidates.land(LAYOUT.pieces, 0) is None
    fill(candidates, 0)
    assert candidates.land(0, 0) is None
