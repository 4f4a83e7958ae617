"""Digests that arrive before their pieces."""

from __future__ import annotations

import math
import threading
from typing import cast

import pytest

from castray_desktop.core.protocol.nodes import peer_frames
from castray_desktop.core.protocol.nodes.agent_orders import StartDelivery
from castray_desktop.core.protocol.nodes.cast_parcel import Algorithms, ParcelTotals
from castray_desktop.core.protocol.nodes.peer_frames import PieceFlag
from castray_desktop.workers.agent.transfer.node_context import NodeContext
from castray_desktop.workers.agent.transfer.peer.connection import PeerConnection
from castray_desktop.workers.agent.transfer.peer.upload import PieceUploader
from castray_desktop.workers.agent.transfer.source.cast_source import CastSource
from castray_desktop.workers.agent.transfer.store.cancellation import CancellationToken
from castray_desktop.workers.agent.transfer.store.piece_store import PieceStore
from castray_desktop.workers.agent.transfer.store.receive_store import ReceiveStore

PIECE = 1000


def digest(number: int) -> bytes:
    return bytes([number]) * 16


@pytest.fixture
def store() -> PieceStore:
    """One piece of lists, and four of contents."""
    totals = ParcelTotals(10, "", 4 * PIECE, 0, 1, 1)
    order = StartDelivery("cast", "", 1, None, totals, Algorithms(piece_bytes=PIECE))
    return ReceiveStore(order, cast(NodeContext, None), lambda urgent: None, CancellationToken()).pieces


def known(store: PieceStore) -> list[bytes | None]:
    return [store.early_digest(index) for index in range(5)]


def test_what_has_come_is_known(store: PieceStore) -> None:
    assert known(store) == [None] * 5
    store.add_early_digests(1, digest(1) + digest(2))
    assert known(store) == [None, digest(1), digest(2), None, None]
    store.add_early_digests(2, digest(9) + digest(3))
    assert known(store) == [None, digest(1), digest(9), digest(3), None]


def test_there_are_no_digests_beyond_the_last_piece(store: PieceStore) -> None:
    with pytest.raises(ValueError, match="up to 6"):
        store.add_early_digests(4, digest(1) + digest(2))
    assert known(store) == [None] * 5


def test_that_of_a_piece_that_is_here_stays(store: PieceStore) -> None:
    store.add_piece(1, digest(1))
    store.add_early_digests(0, digest(7) + digest(8) + digest(9))
    assert known(store) == [digest(7), digest(1), digest(9), None, None]
    store.add_piece(2, digest(2))  # it was read again
    assert known(store) == [digest(7), digest(1), digest(2), None, None]
    assert not store.has_piece(0)


def test_who_waits_for_one_goes_on(store: PieceStore) -> None:
    waiting = threading.Thread(target=store.wait_digest, args=(3, 20.0))
    waiting.start()
    store.add_early_digests(3, digest(3))
    waiting.join(10)
    assert not waiting.is_alive()


class Peer:
    """Requests all digests, and records how long the server waited for others."""

    def __init__(self) -> None:
        self.came = bytearray()
        self.waits: list[float] = []
        self.last_sent = math.inf
        self._requests = peer_frames.request_frame(0, 4010, PieceFlag.DIGEST | PieceFlag.EARLY)

    def has_data(self) -> bool:
        return bool(self._requests)

    def read(self, count: int) -> bytes:
        some, self._requests = self._requests[:count], self._requests[count:]
        return some

    def read_header(self) -> peer_frames.FrameHeader:
        return peer_frames.parse_header(self.read(peer_frames.HEADER_BYTES))

    def wait_readable(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return False

    def write(self, data: bytes) -> None:
        self.came += data


@pytest.mark.parametrize("seconds", [0.0, CastSource.early_seconds])
def test_only_their_source_has_them_wait_for_one_another(store: PieceStore, seconds: float) -> None:
    """Otherwise the last node of a long chain would get them after their pieces."""
    store.early_seconds = seconds or store.early_seconds
    peer = Peer()
    serving = PieceUploader(cast(PeerConnection, peer), store)
    store.add_early_digests(0, digest(0) + digest(1))
    for _ in range(2):  # it sends them; it waits for others, or not
        serving._step()
    store.add_early_digests(2, digest(2))
    for _ in range(2):
        serving._step()
    assert peer.came == peer_frames.digests_frame(0, [digest(0), digest(1)]) + peer_frames.digests_frame(
        2, [digest(2)]
    )
    assert peer.waits == ([seconds] * 2 if seconds else [])
