"""Pieces that are placed one after the other, and counted together."""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.workers.ray_side.byte_plane.delivery import Delivery
from castray_desktop.workers.ray_side.byte_plane.journal import Journal
from castray_desktop.workers.ray_side.byte_plane.source import Source
from castray_desktop.workers.ray_side.byte_plane.stretch import MOST_PIECES, Stretch
from castray_desktop.workers.ray_side.protocol import StartDelivery
from tests.workers.byte_plane.lab import BEST, Lab

PIECE = 10_000
ALGORITHMS = dataclasses.replace(BEST, piece_bytes=PIECE)
FIRST = 1  # piece of the contents, after one of the manifest
LARGE, SMALL = MOST_PIECES + 3, 1  # whole pieces of the files


class Recipient:
    """A delivery that has the lists, and takes what it is given."""

    def __init__(self, source: Source, delivery: Delivery, paths: Sequence[Path]) -> None:
        self.source = source
        self.paths = paths
        self.delivery = delivery

    def digest(self, index: int) -> bytes:
        return self.source.digest(index)

    def bytes_of(self, index: int) -> memoryview:
        return self.source.assembled(index)

    def place(self, index: int) -> None:
        """One for itself."""
        assert self.delivery.place_piece(index, self.digest(index), self.bytes_of(index))

    def begin(self, first: int) -> Stretch:
        stretch = self.delivery.stretch(first)
        assert stretch is not None
        return stretch

    def put(self, stretch: Stretch, *pieces: int) -> None:
        for index in pieces:
            assert stretch.is_next(index)
            stretch.put(self.digest(index), self.bytes_of(index))

    def noted(self) -> dict[int, bytes]:
        """By the journal."""
        assert self.delivery._staging is not None
        return dict(self.delivery._staging.journal.records())


@pytest.fixture
def recipient(lab: Lab) -> Iterator[Recipient]:
    """Of a large file and of a small one."""
    node, other = lab.node("node_0"), lab.node("node_1")
    paths = [lab.file("large", LARGE * PIECE + 77), lab.file("small", SMALL * PIECE)]
    cast = lab.cast(node, paths, ALGORITHMS)
    source = node.plane._sources[cast.cast]
    for index in range(source.layout.pieces):
        assert source.await_piece(index, 20)
    order = StartDelivery(cast.cast, cast.secret, 1, None, cast.totals, ALGORITHMS)
    delivery = Delivery(order, other.plane._place, lambda urgent: None)
    delivery._open()
    found = Recipient(source, delivery, paths)
    found.place(0)
    yield found
    assert delivery._hashes is not None
    assert delivery._staging is not None
    delivery._hashes.stop()
    delivery.release()
    delivery._staging.remove()
    cast.forget()


def test_it_counts_with_its_end(recipient: Recipient) -> None:
    delivery = recipient.delivery
    stretch = recipient.begin(FIRST)
    recipient.put(stretch, 1, 2, 3)
    assert delivery.have.total == delivery.layout.manifest_bytes
    assert not stretch.is_next(3)
    assert not stretch.is_next(5)
    assert stretch.close() == 3 * PIECE
    assert delivery.have.total == delivery.layout.manifest_bytes + 3 * PIECE
    assert delivery.report().content_bytes == 3 * PIECE
    assert recipient.noted() == {index: recipient.digest(index) for index in range(4)}
    assert all(delivery.digest(index) == recipient.digest(index) for index in range(4))
    assert delivery.assembled(2) == recipient.bytes_of(2)


def test_all_of_it_comes_out_right(recipient: Recipient) -> None:
    """In stretches, one by one where a file ends, and with one that nothing was put to."""
    delivery, layout = recipient.delivery, recipient.delivery.layout
    index, lengths = FIRST, []
    while index < layout.contents.stop:
        stretch = delivery.stretch(index)
        if stretch is None:
            recipient.place(index)
            index += 1
            continue
        assert stretch.close() == 0
        stretch = recipient.begin(index)
        lengths.append(0)
        while stretch.is_next(index):
            recipient.put(stretch, index)
            index, lengths[-1] = index + 1, lengths[-1] + 1
        stretch.close()
    assert lengths == [MOST_PIECES, LARGE - MOST_PIECES]
    for index in range(layout.contents.stop, layout.pieces):
        recipient.place(index)
    assert delivery.is_complete()
    assert delivery._hashes is not None
    hashes = delivery._hashes.finish()
    assert all(delivery.assembled(index) == recipient.bytes_of(index) for index in range(layout.pieces))
    for path, found in zip(recipient.paths, hashes, strict=True):
        hasher = delivery._new_file_hasher()
        hasher.update(path.read_bytes())
        assert found == hasher.digest()


def _behind(recipient: Recipient) -> None:
    """The hashes are not that far."""


def _to_the_end(recipient: Recipient) -> None:
    """The file has one whole piece left, and the hashes are that far."""
    for index in range(FIRST, FIRST + LARGE - 1):
        recipient.place(index)


def _to_the_next(recipient: Recipient) -> None:
    """The next piece is of both files."""
    _to_the_end(recipient)
    recipient.place(FIRST + LARGE - 1)


def _taken(recipient: Recipient) -> None:
    recipient.begin(FIRST)


def _here(recipient: Recipient) -> None:
    recipient.place(FIRST + 3)


def _claimed(recipient: Recipient) -> None:
    recipient.delivery.claims.add(0, 10)


def _unknown(recipient: Recipient) -> None:
    recipient.delivery.hashes_awaited = True


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (FIRST + 1, _behind),
        (FIRST, _taken),
        (FIRST, _here),
        (FIRST, _claimed),
        (FIRST, _unknown),
        (FIRST + LARGE - 1, _to_the_end),
        (FIRST + LARGE, _to_the_next),
    ],
)
def test_where_pieces_go_one_by_one(
    recipient: Recipient, first: int, why: Callable[[Recipient], None]
) -> None:
    why(recipient)
    assert recipient.delivery.stretch(first) is None


def test_what_has_kept_the_hashes_from_going_on_is_told_first(recipient: Recipient) -> None:
    """Also of files with holes, which go one by one."""
    delivery = recipient.delivery
    assert delivery.manifest is not None
    assert delivery._hashes is not None
    delivery._hashes._fail(OSError("unreadable"))
    spans = delivery.manifest.spans(0, PIECE)
    delivery.manifest._sparse[0] = array("Q")
    with pytest.raises(OSError, match="unreadable"):
        delivery._hashes.feed(0, PIECE, spans, recipient.bytes_of(FIRST))
    delivery.manifest._sparse.clear()
    with pytest.raises(OSError, match="unreadable"):
        delivery.stretch(FIRST)


def test_what_can_not_be_noted_is_not_counted(recipient: Recipient, monkeypatch: pytest.MonkeyPatch) -> None:
    stretch = recipient.begin(FIRST)
    recipient.put(stretch, 1, 2)

    def full(journal: Journal, first: int, digests: list[bytes]) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "note", full)
        with pytest.raises(CastRayError) as caught:
            stretch.close()
    assert caught.value.failure.kind is FailureKind.NO_ROOM
    assert recipient.delivery.have.total == recipient.delivery.layout.manifest_bytes
