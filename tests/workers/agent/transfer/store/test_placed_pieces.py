"""Pieces that are written to a store: its journal, counters and hashes."""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.nodes.agent_orders import StartDelivery
from castray_desktop.workers.agent.transfer.source.cast_source import CastSource
from castray_desktop.workers.agent.transfer.store.cancellation import CancellationToken
from castray_desktop.workers.agent.transfer.store.journal import Journal
from castray_desktop.workers.agent.transfer.store.receive_store import ReceiveStore
from tests.workers.agent.transfer.lab import BEST, Lab

PIECE = 10_000
ALGORITHMS = dataclasses.replace(BEST, piece_bytes=PIECE)
FIRST = 1  # piece of the contents, after one of the manifest


class Recipient:
    """A store that has the lists, and accepts pieces."""

    def __init__(self, source: CastSource, store: ReceiveStore, paths: Sequence[Path]) -> None:
        self.source = source
        self.paths = paths
        self.store = store

    def bytes_of(self, index: int) -> memoryview:
        return self.source.pieces.piece_bytes(index)

    def place(self, index: int) -> None:
        assert self.store.write_piece(index, self.source.pieces.digest(index), self.bytes_of(index))

    def noted(self) -> dict[int, bytes]:
        """From the journal."""
        assert self.store.staging is not None
        return dict(self.store.staging.journal.records())


@pytest.fixture
def recipient(lab: Lab) -> Iterator[Recipient]:
    """The hashes of a large file and of a small one."""
    node, other = lab.node("node_0"), lab.node("node_1")
    paths = [lab.file("large", 11 * PIECE + 77), lab.file("small", PIECE)]
    cast = lab.cast(node, paths, ALGORITHMS)
    source = node.plane._sources[cast.cast]
    for index in range(source.pieces.layout.pieces):
        assert source.pieces.wait_piece(index, 20)
    order = StartDelivery(cast.cast, cast.secret, 1, None, cast.totals, ALGORITHMS)
    store = ReceiveStore(order, other.plane._context, lambda urgent: None, CancellationToken())
    store.open()
    found = Recipient(source, store, paths)
    found.place(0)
    yield found
    assert store.hashes is not None
    assert store.staging is not None
    store.hashes.stop()
    store.end("the test is over")
    store.staging.remove()
    cast.forget()


@pytest.mark.parametrize("backwards", [False, True])
def test_pieces_in_any_order_give_the_right_files(recipient: Recipient, backwards: bool) -> None:
    store, layout = recipient.store, recipient.store.pieces.layout
    for index in sorted(range(FIRST, layout.pieces), reverse=backwards):
        recipient.place(index)
    assert store.is_complete()
    assert store.content_bytes == layout.content_bytes
    assert recipient.noted() == {
        index: recipient.source.pieces.digest(index) for index in range(layout.pieces)
    }
    assert all(store.pieces.piece_bytes(index) == recipient.bytes_of(index) for index in range(layout.pieces))
    assert store.hashes is not None
    for path, found in zip(recipient.paths, store.hashes.finish(), strict=True):
        hasher = store._new_file_hasher()
        hasher.update(path.read_bytes())
        assert found == hasher.digest()


def test_what_has_kept_the_hashes_from_going_on_is_told_first(recipient: Recipient) -> None:
    """Also of sparse files, which are read back."""
    store = recipient.store
    assert store.pieces.manifest is not None
    assert store.hashes is not None
    store.hashes._fail(OSError("unreadable"))
    spans = store.pieces.manifest.spans(0, PIECE)
    store.pieces.manifest._sparse[0] = array("Q")
    with pytest.raises(OSError, match="unreadable"):
        store.hashes.add_contents(0, PIECE, spans, recipient.bytes_of(FIRST))
    store.pieces.manifest._sparse.clear()


def test_what_can_not_be_noted_is_not_counted(recipient: Recipient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(journal: Journal, index: int, digest: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "append", full)
        with pytest.raises(CastRayError) as caught:
            recipient.place(FIRST)
    assert caught.value.failure.kind is FailureKind.NO_ROOM
    assert recipient.store.pieces.have.total == recipient.store.pieces.layout.manifest_bytes
