"""Making pieces of what a group brings: over one connection to the upstream come digests, and what lacks."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from castray_desktop.core import wire
from castray_desktop.core.wire import PieceFlag, ProtocolError
from castray_desktop.workers.ray_side.byte_plane.buffers import page_buffer
from castray_desktop.workers.ray_side.byte_plane.channel import Channel
from castray_desktop.workers.ray_side.byte_plane.multicast.listening import MulticastListener
from castray_desktop.workers.ray_side.byte_plane.spending import WAITING

if TYPE_CHECKING:
    from castray_desktop.workers.ray_side.byte_plane.following import Follower

MANY_PARTS = 1000
"""Parts that are asked for at once."""


class Gathering:
    """One connection's share in what a listener has taken."""

    def __init__(
        self, channel: Channel, delivery: Follower, listener: MulticastListener, parts_due: int = 0
    ) -> None:
        self.listener = listener
        self.parts_due = parts_due  # that were asked for and have not come
        self._channel = channel
        self._delivery = delivery
        self._layout = delivery.layout
        self._candidates = listener.candidates
        self._candidates.start_over()
        self._parts: deque[tuple[int, int]] = deque()  # to be asked for
        self._met = False

    @property
    def starts_at(self) -> int:
        """Where in the stream the group began for us; what is before has to be fetched."""
        first = max(self._candidates.first, 0)
        return self._layout.piece(first)[0] if first < self._layout.pieces else self._layout.stream_bytes

    def met(self) -> bool:
        """Whether it has become known now where the group began."""
        if self._met or self._candidates.first < 0:
            return False
        self._met = True
        return True

    def look_again(self) -> None:
        """More is wanted than before: what the sender has passed of it did not come."""
        self._candidates.look_again()

    def await_something(self, seconds: float) -> bool:
        """Wait for the upstream or the group; whether there is something from the upstream."""
        self._delivery.spending.on(WAITING)
        return self._channel.await_either(self.listener.wake_fd, seconds)

    def go_on(self) -> list[tuple[int, int]]:
        """Place what has become whole, and ask for parts; which pieces have to be fetched as a whole.

        From the first to the one after the last, in each case. Raises like `place_piece`.
        """
        self.listener.take_wake()
        wholly = self.listener.placing.place(all_of_them=self.listener.ended)
        if self._delivery.is_undecided():
            return wholly
        lacking = self._candidates.lacking(self.listener.ended)
        wholly += lacking.wholly
        for piece, gaps in lacking.parts:
            start, _ = self._layout.piece(piece)
            self._parts.extend((start + low, start + high) for low, high in gaps)
        self._ask()
        self._delivery.repaired(
            sum(self._layout.piece(last - 1)[1] - self._layout.piece(first)[0] for first, last in wholly)
            if self.listener.listening
            else 0
        )
        return wholly

    def _ask(self) -> None:
        requests = []
        while self._parts and self.parts_due < MANY_PARTS:
            requests.append(wire.request(*self._parts.popleft(), PieceFlag.PART))
            self.parts_due += 1
        if requests:
            self._channel.write(b"".join(requests))

    def take_part(self, header: wire.Header) -> None:
        """A part that was asked for. Raises ProtocolError."""
        start, end = wire.parse_part_head(header, self._channel.read(wire.PART_BYTES))
        if not self.parts_due or end > self._layout.stream_bytes:
            raise ProtocolError("a part that nobody asked for")
        piece = self._layout.piece_at(start)
        base, limit = self._layout.piece(piece)
        if end > limit:
            raise ProtocolError("a part that goes beyond its piece")
        self.parts_due -= 1
        low, high = start - base, end - base
        view = self._candidates.part(piece, low, high)
        self._channel.read_into(page_buffer(high - low) if view is None else view)
        self._delivery.repaired(high - low)
        if view is not None:
            self._candidates.part_came(piece, low, high)
            self.listener.placing.leave()
        self._ask()
