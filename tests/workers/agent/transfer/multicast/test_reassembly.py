"""Reassembling pieces from datagrams, and which thread writes them."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castray_desktop.core.content.byte_ranges import RangeSet
from castray_desktop.core.content.manifest import Manifest
from castray_desktop.core.content.stream_layout import StreamLayout
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.workers.agent.transfer.multicast.reassembly import (
    MAX_GAPS,
    AcceptResult,
    PieceWriter,
    ReassemblyBuffer,
)
from castray_desktop.workers.agent.transfer.system.digests import piece_hasher
from castray_desktop.workers.agent.transfer.system.time_breakdown import CHECKING, WAITING, TimeBreakdown
from tests.workers.agent.transfer.pieces import LAYOUT, content

SIZE = 70


class Needs:
    """A delivery that needs everything that it does not have."""

    def __init__(self, wants: Callable[[int], bool] = lambda index: True) -> None:
        self.wants = wants
        self.have: set[int] = set()

    def includes(self, index: int) -> bool:
        return index not in self.have and self.wants(index)

    def next_from(self, index: int) -> int:
        return next((at for at in range(index, LAYOUT.pieces) if self.includes(at)), LAYOUT.pieces)

    def is_undecided(self) -> bool:
        return False


def datagrams(piece: int) -> list[tuple[int, bytes]]:
    whole = content(piece)
    return [(at, whole[at : at + SIZE]) for at in range(0, len(whole), SIZE)]


def take(buffer: ReassemblyBuffer, piece: int, offset: int, data: bytes) -> AcceptResult:
    return buffer.accept(piece, offset, memoryview(data))[1]


def out(buffer: ReassemblyBuffer, piece: int) -> bytes:
    view, _ = buffer.remove_complete(piece)
    data = bytes(view)
    buffer.recycle(piece, view)
    return data


def fill(buffer: ReassemblyBuffer, piece: int) -> None:
    for offset, data in datagrams(piece):
        take(buffer, piece, offset, data)


def test_a_piece_is_whole_with_its_last_datagram() -> None:
    buffer = ReassemblyBuffer(LAYOUT, Needs())
    *some, (offset, last) = datagrams(2)
    assert {take(buffer, 2, at, data) for at, data in some} == {AcceptResult.TAKEN}
    assert buffer.complete_pieces == ()
    assert take(buffer, 2, offset, last) is AcceptResult.COMPLETED
    assert buffer.complete_pieces == (2,)
    assert out(buffer, 2) == content(2)
    assert buffer.complete_pieces == ()


def test_what_came_first_stays() -> None:
    buffer = ReassemblyBuffer(LAYOUT, Needs())
    whole = content(1)
    take(buffer, 1, 0, whole[:140])
    take(buffer, 1, 70, b"\xff" * 140)
    take(buffer, 1, 210, whole[210:])
    assert buffer.complete_pieces == (1,)
    assert out(buffer, 1) == whole[:140] + b"\xff" * 70 + whole[210:]


def test_a_whole_piece_is_not_touched() -> None:
    buffer = ReassemblyBuffer(LAYOUT, Needs())
    fill(buffer, 1)
    assert take(buffer, 1, 0, b"\xff" * 70) is AcceptResult.TAKEN
    assert out(buffer, 1) == content(1)


def test_gaps_before_the_sender_s_position_are_returned_once() -> None:
    buffer = ReassemblyBuffer(LAYOUT, Needs())
    fill(buffer, 0)
    for offset, data in datagrams(1):
        if offset not in (70, 140, 420):
            take(buffer, 1, offset, data)
    assert buffer.missing(ended=False).parts == []  # the sender may be inside it
    fill(buffer, 4)
    lacking = buffer.missing(ended=False)
    assert lacking.parts == [(1, [(70, 210), (420, 490)])]
    assert lacking.pieces == [(2, 4)]
    assert buffer.missing(ended=False) == ([], [])
    assert buffer.missing(ended=True).pieces == [(5, 7)]


def test_whether_the_sender_has_passed_something_that_lacks() -> None:
    needs = Needs()
    buffer = ReassemblyBuffer(LAYOUT, needs)
    fill(buffer, 0)
    take(buffer, 1, 0, content(1)[:70])
    assert not buffer.has_missing()  # complete pieces wait to be written, and the sender is inside the other
    out(buffer, 0)
    needs.have = {0}
    fill(buffer, 2)
    assert buffer.has_missing()
    needs.have = {0, 1}
    assert not buffer.has_missing()
    fill(buffer, 4)
    assert buffer.has_missing()
    assert buffer.missing(ended=False).pieces == [(3, 4)]
    assert not buffer.has_missing()


def test_a_piece_that_is_being_written_does_not_lack() -> None:
    needs = Needs()
    buffer = ReassemblyBuffer(LAYOUT, needs)
    fill(buffer, 0)
    view, _ = buffer.remove_complete(0)
    take(buffer, 1, 0, content(1)[:70])
    assert not buffer.has_missing()
    assert take(buffer, 0, 0, b"\xff" * 70) is AcceptResult.TAKEN  # a replayed datagram
    assert buffer.missing(ended=False) == ([], [])
    assert bytes(view) == content(0)
    needs.have = {0}
    buffer.recycle(0, view)
    assert buffer.missing(ended=False) == ([], [])


def test_a_part_completes_its_piece() -> None:
    buffer = ReassemblyBuffer(LAYOUT, Needs())
    for offset, data in datagrams(1):
        if offset != 70:
            take(buffer, 1, offset, data)
    take(buffer, 2, 0, content(2)[:70])
    assert buffer.missing(ended=False).parts == [(1, [(70, 140)])]
    assert take(buffer, 1, 70, b"\xff" * 70) is AcceptResult.TAKEN  # late, and forged: it was requested
    view = buffer.part(1, 70, 140)
    assert view is not None
    view[:] = content(1)[70:140]
    buffer.part_received(1, 70, 140)
    assert buffer.part(1, 70, 140) is None
    view, asked = buffer.remove_complete(1)
    assert (bytes(view), asked) == (content(1), 70)


def test_another_connection_is_asked_for_parts_again() -> None:
    buffer = ReassemblyBuffer(LAYOUT, Needs())
    for offset, data in datagrams(1)[1:]:
        take(buffer, 1, offset, data)
    first = buffer.missing(ended=True)
    buffer.start_over()
    assert buffer.missing(ended=True) == first
    assert first.parts == [(1, [(0, 70)])]


def test_without_room_datagrams_are_lost() -> None:
    buffer = ReassemblyBuffer(LAYOUT, Needs(), room=0)
    found = [take(buffer, piece, 0, content(piece)[:30]) for piece in range(LAYOUT.pieces)]
    assert found == [AcceptResult.TAKEN] * 4 + [AcceptResult.NO_ROOM] * 3
    fill(buffer, 1)
    assert out(buffer, 1) == content(1)
    assert take(buffer, 6, 0, content(6)[:20]) is AcceptResult.TAKEN


def test_what_is_not_needed_takes_no_room() -> None:
    needs = Needs(lambda index: index == 3)
    buffer = ReassemblyBuffer(LAYOUT, needs, room=0)
    for piece in range(LAYOUT.pieces):
        fill(buffer, piece)
    assert buffer.complete_pieces == (3,)
    assert buffer.missing(ended=True) == ([], [])


def test_a_piece_with_too_many_gaps_is_wanted_as_a_whole() -> None:
    layout = StreamLayout(0, 100_000, 0, 100_000)
    buffer = ReassemblyBuffer(layout, Needs())
    for gap in range(MAX_GAPS + 2):
        take(buffer, 0, gap * 100, bytes(50))
    assert buffer.missing(ended=True) == ([(0, 1)], [])


def test_a_late_receiver_begins_at_the_first_datagram() -> None:
    buffer = ReassemblyBuffer(LAYOUT, Needs())
    assert buffer.first == -1
    take(buffer, 3, 500, content(3)[500:])
    assert buffer.first == 3
    lacking = buffer.missing(ended=True)
    assert lacking.parts == [(3, [(0, 500)])]
    assert lacking.pieces == [(4, 7)]


@settings(max_examples=60)
@given(st.data())
def test_whatever_is_lost_doubled_or_late_every_byte_comes(data: st.DataObject) -> None:
    """Datagrams in any order, and requested parts: each piece is assembled correctly, once."""
    needs = Needs()
    buffer = ReassemblyBuffer(LAYOUT, needs)
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
        for piece in buffer.complete_pieces:
            found = out(buffer, piece)
            if piece not in needs.have:
                placed[piece] = found
                needs.have.add(piece)
        lacking = buffer.missing(ended)
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
        view = buffer.part(piece, low, high)
        if view is not None:
            view[:] = content(piece)[low:high]
            buffer.part_received(piece, low, high)

    for _, (piece, offset, payload) in sorted(stream, key=lambda item: item[0]):
        take(buffer, piece, offset, payload)
        work(ended=False)
    for _ in range(3):
        work(ended=True)
        while asked:
            come(*asked.pop(0))
    begun = max(buffer.first, 0)  # earlier data has to be fetched in any case
    assert placed == {piece: content(piece) for piece in range(begun, LAYOUT.pieces)}


# --- writing


def digest(data: bytes) -> bytes:
    hasher = piece_hasher("blake2b-128")()
    hasher.update(data)
    return hasher.digest()


class Store:
    """Has the digests of all pieces except those that are `unknown`."""

    layout = LAYOUT

    def __init__(self) -> None:
        self.manifest: Manifest | None = Manifest(())
        self.time_breakdown = TimeBreakdown()
        self.write_lock = threading.Lock()
        self.digest_of = digest
        self.wake_pending = False
        self.paused = False
        self.unknown: set[int] = set()
        self.written: list[int] = []
        self.datagram_bytes = 0
        self.full = False

    @property
    def pieces(self) -> Store:
        return self

    needed = pieces

    def includes(self, index: int) -> bool:
        return index not in self.written

    def next_from(self, index: int) -> int:
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
        self.written.append(index)
        return True

    def is_complete(self) -> bool:
        return len(self.written) == LAYOUT.pieces

    def notify_waiting(self) -> None:
        pass


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def buffer(store: Store) -> ReassemblyBuffer:
    return ReassemblyBuffer(LAYOUT, store)


@pytest.fixture
def writer(store: Store, buffer: ReassemblyBuffer) -> PieceWriter:
    return PieceWriter(store, buffer)


def fill_whole(buffer: ReassemblyBuffer, *pieces: int, data: bytes = b"") -> None:
    for piece in pieces:
        buffer.accept(piece, 0, memoryview(data or content(piece)))


def test_contents_are_written_at_once(store: Store, buffer: ReassemblyBuffer, writer: PieceWriter) -> None:
    fill_whole(buffer, 1, 2)
    assert writer.write_now()
    assert store.written == [1, 2]
    assert store.datagram_bytes == 2000
    assert buffer.complete_pieces == ()
    spent = store.time_breakdown.seconds(CHECKING)
    assert store.time_breakdown.seconds(WAITING) > 0
    assert store.time_breakdown.seconds(CHECKING) == spent  # it reports that it has resumed


def test_manifest_and_trailer_are_left_to_the_other_thread(
    store: Store, buffer: ReassemblyBuffer, writer: PieceWriter
) -> None:
    fill_whole(buffer, 0, 1, 6)
    assert not writer.write_now()
    assert store.written == [1]
    fill_whole(buffer, 2)
    assert writer.write_complete() == []
    assert store.written == [1, 0, 6]


def test_without_the_manifest_everything_is_left(
    store: Store, buffer: ReassemblyBuffer, writer: PieceWriter
) -> None:
    store.manifest = None
    fill_whole(buffer, 0, 1)
    assert not writer.write_now()
    assert store.written == []
    writer.write_complete()
    assert store.written == [0]


def test_a_piece_waits_for_its_digest(store: Store, buffer: ReassemblyBuffer, writer: PieceWriter) -> None:
    store.unknown = {2}
    fill_whole(buffer, 1, 2, 3)
    assert writer.write_now()  # no thread can do more
    assert store.written == [1, 3]
    store.unknown = set()
    writer.write_complete()
    assert store.written == [1, 3, 2]


def test_the_receiving_thread_does_not_wait_for_the_lock(
    store: Store, buffer: ReassemblyBuffer, writer: PieceWriter
) -> None:
    fill_whole(buffer, 1)
    with store.write_lock:
        assert not writer.write_now()
    assert store.written == []
    writer.write_complete()
    assert store.written == [1]


def test_the_other_thread_writes_contents_only_if_they_were_left(
    store: Store, buffer: ReassemblyBuffer, writer: PieceWriter
) -> None:
    fill_whole(buffer, 1)
    writer.write_complete()
    assert store.written == []
    writer.defer()
    writer.write_complete()
    fill_whole(buffer, 2)
    writer.write_complete()
    assert store.written == [1]
    writer.write_complete(all_of_them=True)  # no other thread will
    assert store.written == [1, 2]


def test_contents_that_can_not_be_written_yet_stay_left(
    store: Store, buffer: ReassemblyBuffer, writer: PieceWriter
) -> None:
    store.manifest = None
    fill_whole(buffer, 1)
    assert not writer.write_now()
    writer.write_complete()
    assert store.written == []
    store.manifest = Manifest(())
    writer.write_complete()
    assert store.written == [1]


def test_the_other_thread_learns_of_wrong_bytes(
    store: Store, buffer: ReassemblyBuffer, writer: PieceWriter
) -> None:
    fill_whole(buffer, 2, data=bytes(1000))
    fill_whole(buffer, 3)
    assert not writer.write_now()
    assert store.written == [3]
    assert writer.write_complete() == [(2, 3)]
    assert writer.write_complete() == []


def test_the_other_thread_raises_the_error(
    store: Store, buffer: ReassemblyBuffer, writer: PieceWriter
) -> None:
    store.full = True
    fill_whole(buffer, 1)
    assert not writer.write_now()
    assert not store.write_lock.locked()
    with pytest.raises(CastRayError) as caught:
        writer.write_complete()
    assert caught.value.failure.kind is FailureKind.NO_ROOM


def test_the_last_piece_wakes_the_other_thread(
    store: Store, buffer: ReassemblyBuffer, writer: PieceWriter
) -> None:
    fill_whole(buffer, 0, 6)
    writer.write_complete()
    fill_whole(buffer, 1, 2, 3, 4)
    assert writer.write_now()
    fill_whole(buffer, 5)
    assert not writer.write_now()
    assert store.is_complete()


def test_a_piece_that_came_from_the_upstream_is_dropped(
    store: Store, buffer: ReassemblyBuffer, writer: PieceWriter
) -> None:
    fill_whole(buffer, 1)
    store.written = [1]
    assert writer.write_now()
    assert store.written == [1]
    assert buffer.complete_pieces == ()
