"""Received datagrams until their piece is written."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from castray_desktop.core.content.byte_ranges import RangeSet
from castray_desktop.core.content.stream_layout import StreamLayout
from castray_desktop.workers.agent.transfer.multicast.reassembly import (
    MAX_GAPS,
    AcceptResult,
    MissingData,
    ReassemblyBuffer,
)
from tests.workers.agent.transfer.pieces import LAYOUT, content

SIZE = 70


class Needs:
    """A delivery that needs everything that it does not have."""

    def __init__(self, wants: Callable[[int], bool] = lambda index: True) -> None:
        self.wants = wants
        self.have: set[int] = set()

    def needs_piece(self, index: int) -> bool:
        return index not in self.have and self.wants(index)

    def next_needed(self, index: int) -> int:
        return next((at for at in range(index, LAYOUT.pieces) if self.needs_piece(at)), LAYOUT.pieces)

    def is_undecided(self) -> bool:
        return False


def datagrams(piece: int) -> list[tuple[int, bytes]]:
    whole = content(piece)
    return [(at, whole[at : at + SIZE]) for at in range(0, len(whole), SIZE)]


def take(candidates: ReassemblyBuffer, piece: int, offset: int, data: bytes) -> AcceptResult:
    return candidates.accept(piece, offset, memoryview(data))[1]


def land(candidates: ReassemblyBuffer, piece: int, offset: int, data: bytes) -> AcceptResult:
    memory = candidates.lend_buffer(piece, offset)
    assert memory is not None
    memory[offset : offset + len(data)] = data
    taken = candidates.accept(piece, offset, memory[offset : offset + len(data)], in_place=True)[1]
    candidates.return_buffer()
    return taken


def out(candidates: ReassemblyBuffer, piece: int) -> bytes:
    view, _ = candidates.remove_complete(piece)
    data = bytes(view)
    candidates.recycle(view)
    return data


def fill(candidates: ReassemblyBuffer, piece: int) -> None:
    for offset, data in datagrams(piece):
        take(candidates, piece, offset, data)


def test_a_piece_is_whole_with_its_last_datagram() -> None:
    candidates = ReassemblyBuffer(LAYOUT, Needs())
    *some, (offset, last) = datagrams(2)
    assert {take(candidates, 2, at, data) for at, data in some} == {AcceptResult.TAKEN}
    assert candidates.complete_pieces == ()
    assert take(candidates, 2, offset, last) is AcceptResult.COMPLETED
    assert candidates.complete_pieces == (2,)
    assert out(candidates, 2) == content(2)
    assert candidates.complete_pieces == ()


def test_what_came_first_stays() -> None:
    candidates = ReassemblyBuffer(LAYOUT, Needs())
    whole = content(1)
    take(candidates, 1, 0, whole[:140])
    take(candidates, 1, 70, b"\xff" * 140)
    take(candidates, 1, 210, whole[210:])
    assert candidates.complete_pieces == (1,)
    assert out(candidates, 1) == whole[:140] + b"\xff" * 70 + whole[210:]


def test_a_whole_piece_is_not_touched() -> None:
    candidates = ReassemblyBuffer(LAYOUT, Needs())
    fill(candidates, 1)
    assert take(candidates, 1, 0, b"\xff" * 70) is AcceptResult.TAKEN
    assert out(candidates, 1) == content(1)


def test_what_is_passed_and_lacks_something_is_told_once() -> None:
    candidates = ReassemblyBuffer(LAYOUT, Needs())
    fill(candidates, 0)
    for offset, data in datagrams(1):
        if offset not in (70, 140, 420):
            take(candidates, 1, offset, data)
    assert candidates.missing(ended=False).parts == []  # the sender may be inside it
    fill(candidates, 4)
    lacking = candidates.missing(ended=False)
    assert lacking.parts == [(1, [(70, 210), (420, 490)])]
    assert lacking.pieces == [(2, 4)]
    assert candidates.missing(ended=False) == ([], [])
    assert candidates.missing(ended=True).pieces == [(5, 7)]


def test_whether_the_sender_has_passed_something_that_lacks() -> None:
    needs = Needs()
    candidates = ReassemblyBuffer(LAYOUT, needs)
    fill(candidates, 0)
    take(candidates, 1, 0, content(1)[:70])
    assert (
        not candidates.has_missing()
    )  # complete pieces wait to be written, and the sender is inside the other
    out(candidates, 0)
    needs.have = {0}
    fill(candidates, 2)
    assert candidates.has_missing()
    needs.have = {0, 1}
    assert not candidates.has_missing()
    fill(candidates, 4)
    assert candidates.has_missing()
    assert candidates.missing(ended=False).pieces == [(3, 4)]
    assert not candidates.has_missing()


def test_a_part_completes_its_piece() -> None:
    candidates = ReassemblyBuffer(LAYOUT, Needs())
    for offset, data in datagrams(1):
        if offset != 70:
            take(candidates, 1, offset, data)
    take(candidates, 2, 0, content(2)[:70])
    assert candidates.missing(ended=False).parts == [(1, [(70, 140)])]
    assert take(candidates, 1, 70, b"\xff" * 70) is AcceptResult.TAKEN  # late, and forged: it was requested
    view = candidates.part(1, 70, 140)
    assert view is not None
    view[:] = content(1)[70:140]
    candidates.part_came(1, 70, 140)
    assert candidates.part(1, 70, 140) is None
    view, asked = candidates.remove_complete(1)
    assert (bytes(view), asked) == (content(1), 70)


def test_another_connection_is_asked_for_parts_again() -> None:
    candidates = ReassemblyBuffer(LAYOUT, Needs())
    for offset, data in datagrams(1)[1:]:
        take(candidates, 1, offset, data)
    first = candidates.missing(ended=True)
    candidates.start_over()
    assert candidates.missing(ended=True) == first
    assert first.parts == [(1, [(0, 70)])]


def test_without_room_datagrams_are_lost() -> None:
    candidates = ReassemblyBuffer(LAYOUT, Needs(), room=0)
    found = [take(candidates, piece, 0, content(piece)[:30]) for piece in range(LAYOUT.pieces)]
    assert found == [AcceptResult.TAKEN] * 4 + [AcceptResult.NO_ROOM] * 3
    fill(candidates, 1)
    assert out(candidates, 1) == content(1)
    assert take(candidates, 6, 0, content(6)[:20]) is AcceptResult.TAKEN


def test_what_is_not_needed_takes_no_room() -> None:
    needs = Needs(lambda index: index == 3)
    candidates = ReassemblyBuffer(LAYOUT, needs, room=0)
    for piece in range(LAYOUT.pieces):
        fill(candidates, piece)
    assert candidates.complete_pieces == (3,)
    assert candidates.missing(ended=True) == ([], [])


def test_a_piece_with_too_many_gaps_is_wanted_as_a_whole() -> None:
    layout = StreamLayout(0, 100_000, 0, 100_000)
    candidates = ReassemblyBuffer(layout, Needs())
    for gap in range(MAX_GAPS + 2):
        take(candidates, 0, gap * 100, bytes(50))
    assert candidates.missing(ended=True) == ([(0, 1)], [])


def test_who_joins_late_begins_there() -> None:
    candidates = ReassemblyBuffer(LAYOUT, Needs())
    assert candidates.first == -1
    take(candidates, 3, 500, content(3)[500:])
    assert candidates.first == 3
    lacking = candidates.missing(ended=True)
    assert lacking.parts == [(3, [(0, 500)])]
    assert lacking.pieces == [(4, 7)]


@settings(max_examples=60)
@given(st.data())
def test_whatever_is_lost_doubled_or_late_every_byte_comes(data: st.DataObject) -> None:
    """Datagrams in any order, and requested parts: each piece is assembled correctly, once."""
    needs = Needs()
    candidates = ReassemblyBuffer(LAYOUT, needs)
    sent = [(piece, *datagram) for piece in range(LAYOUT.pieces) for datagram in datagrams(piece)]
    flags = data.draw(st.lists(st.integers(0, 9), min_size=len(sent), max_size=len(sent)))
    stream = []
    for number, (datagram, flag) in enumerate(zip(sent, flags, strict=True)):
        if flag > 1:  # otherwise it is lost
            stream.append((number + (30 if flag == 2 else 0), datagram))
        if flag == 3:
            stream.append((number + 5, datagram))
    placed: dict[int, bytes] = {}
    asked: list[tuple[int, int, int]] = []
    fetched = RangeSet()

    def work(ended: bool) -> None:
        for piece in candidates.complete_pieces:
            found = out(candidates, piece)
            if piece not in needs.have:
                placed[piece] = found
                needs.have.add(piece)
        lacking = candidates.missing(ended)
        for first, last in lacking.pieces:
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
    begun = max(candidates.first, 0)  # earlier data has to be fetched in any case
    assert placed == {piece: content(piece) for piece in range(begun, LAYOUT.pieces)}


def test_what_lands_in_place_is_there() -> None:
    candidates = ReassemblyBuffer(LAYOUT, Needs())
    for offset, data in datagrams(2):
        taken = land(candidates, 2, offset, data)
    assert taken is AcceptResult.COMPLETED
    assert out(candidates, 2) == content(2)


def test_nothing_lands_on_what_is_there_or_was_asked_for() -> None:
    candidates = ReassemblyBuffer(LAYOUT, Needs())
    (_, first), (second_at, second), *_ = datagrams(1)
    land(candidates, 1, 0, first)
    take(candidates, 1, second_at + len(second), second)
    assert candidates.lend_buffer(1, second_at) is None
    assert candidates.lend_buffer(1, second_at + 2 * len(second)) is not None
    candidates.return_buffer()
    candidates.accept(2, 0, memoryview(b""))
    assert candidates.missing(ended=False).parts
    assert candidates.lend_buffer(1, second_at + 2 * len(second)) is None


def test_where_datagrams_land_nothing_is_asked_for() -> None:
    candidates = ReassemblyBuffer(LAYOUT, Needs())
    fill(candidates, 0)
    land(candidates, 1, 0, datagrams(1)[0][1])
    assert candidates.lend_buffer(1, SIZE) is not None
    assert candidates.missing(ended=True) == MissingData([], [])
    candidates.return_buffer()
    lacking = candidates.missing(ended=True)
    assert lacking.parts == [(1, [(SIZE, LAYOUT.piece_bytes)])]
    assert lacking.pieces == [(2, LAYOUT.pieces)]


def test_what_was_made_ready_in_vain_is_asked_for_as_a_whole() -> None:
    candidates = ReassemblyBuffer(LAYOUT, Needs())
    fill(candidates, 0)
    assert candidates.lend_buffer(1, 0) is not None
    candidates.return_buffer()
    candidates.accept(3, 0, memoryview(b""))
    assert candidates.missing(ended=False) == MissingData([(1, 3)], [])


def test_nothing_lands_where_it_is_not_needed() -> None:
    candidates = ReassemblyBuffer(LAYOUT, Needs())
    assert candidates.lend_buffer(LAYOUT.pieces, 0) is None
    fill(candidates, 0)
    assert candidates.lend_buffer(0, 0) is None
