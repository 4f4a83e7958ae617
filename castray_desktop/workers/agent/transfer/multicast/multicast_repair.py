"""Complete what multicast brings: digests and missing parts come over the connection to the upstream."""

from __future__ import annotations

from collections import deque

from castray_desktop.core.protocol.nodes import peer_frames
from castray_desktop.core.protocol.nodes.peer_frames import PieceFlag, ProtocolError
from castray_desktop.workers.agent.transfer.multicast.multicast_receiver import MulticastReceiver
from castray_desktop.workers.agent.transfer.peer.connection import PeerConnection
from castray_desktop.workers.agent.transfer.store.receive_store import ReceiveStore
from castray_desktop.workers.agent.transfer.system.file_io import page_buffer
from castray_desktop.workers.agent.transfer.system.time_breakdown import WAITING

MAX_PARTS = 1000
"""Maximum of parts requested at a time."""


class MulticastRepair:
    """Repairs the pieces of a multicast receiver over one connection to the upstream."""

    def __init__(
        self,
        channel: PeerConnection,
        store: ReceiveStore,
        receiver: MulticastReceiver,
        parts_due: int = 0,
    ) -> None:
        self.receiver = receiver
        self.parts_due = parts_due  # number of requested parts that have not arrived
        self._channel = channel
        self._store = store
        self._layout = store.pieces.layout
        self._buffer = receiver.reassembly
        self._buffer.start_over()
        self._parts: deque[tuple[int, int]] = deque()  # parts to request
        self._start_known = False

    @property
    def starts_at(self) -> int:
        """Stream position where multicast started for this node; earlier data has to be fetched."""
        first = max(self._buffer.first, 0)
        return self._layout.piece(first)[0] if first < self._layout.pieces else self._layout.stream_bytes

    def start_became_known(self) -> bool:
        """Whether the multicast start position has just become known."""
        if self._start_known or self._buffer.first < 0:
            return False
        self._start_known = True
        return True

    def recheck(self) -> None:
        """More pieces are wanted than before: request those that the sender has passed."""
        self._buffer.recheck()

    def wait_for_data(self, seconds: float) -> bool:
        """Wait for the upstream or the multicast receiver; returns whether the upstream has sent
        something.
        """
        self._store.time_breakdown.switch(WAITING)
        return self._channel.wait_readable(seconds, self.receiver.wake_fd)

    def step(self) -> list[tuple[int, int]]:
        """Write complete pieces and request missing parts; returns the pieces to fetch as a whole.

        Ranges from the first to the one after the last. Raises as `ReceiveStore.write_piece` does.
        """
        self.receiver.clear_wake()
        wholly = self.receiver.writer.write_complete(all_of_them=self.receiver.ended)
        if self._store.needed.is_undecided():
            return wholly
        missing = self._buffer.missing(self.receiver.ended)
        wholly += missing.pieces
        for piece, gaps in missing.parts:
            start, _ = self._layout.piece(piece)
            self._parts.extend((start + low, start + high) for low, high in gaps)
        self._ask()
        if self.receiver.is_active:
            self._store.repaired_bytes += sum(
                self._layout.piece(last - 1)[1] - self._layout.piece(first)[0] for first, last in wholly
            )
        return wholly

    def _ask(self) -> None:
        requests = []
        while self._parts and self.parts_due < MAX_PARTS:
            requests.append(peer_frames.request_frame(*self._parts.popleft(), PieceFlag.PART))
            self.parts_due += 1
        if requests:
            self._channel.write(b"".join(requests))

    def receive_part(self, header: peer_frames.FrameHeader) -> None:
        """Receive a requested part. Raises ProtocolError."""
        start, end = peer_frames.parse_part_head(header, self._channel.read(peer_frames.PART_BYTES))
        if not self.parts_due or end > self._layout.stream_bytes:
            raise ProtocolError("a part that was not requested")
        piece = self._layout.piece_at(start)
        base, limit = self._layout.piece(piece)
        if end > limit:
            raise ProtocolError("a part that goes beyond its piece")
        self.parts_due -= 1
        low, high = start - base, end - base
        view = self._buffer.part(piece, low, high)
        self._channel.read_into(page_buffer(high - low) if view is None else view)
        self._store.repaired_bytes += high - low
        if view is not None:
            self._buffer.part_received(piece, low, high)
            self.receiver.writer.defer()
        self._ask()
