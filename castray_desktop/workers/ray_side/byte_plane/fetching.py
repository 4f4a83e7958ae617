"""Fetching over one connection: requests go out, pieces come in, each is checked before it counts."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Optional

from castray_desktop.core import wire
from castray_desktop.core.failure import FailureKind
from castray_desktop.core.ranges import RangeSet
from castray_desktop.core.wire import FrameType, PieceFlag, ProtocolError
from castray_desktop.workers.ray_side.byte_plane.buffers import CHUNK_BYTES, page_buffer
from castray_desktop.workers.ray_side.byte_plane.channel import Channel
from castray_desktop.workers.ray_side.byte_plane.multicast.gathering import Gathering
from castray_desktop.workers.ray_side.byte_plane.spending import CHECKING, WAITING
from castray_desktop.workers.ray_side.byte_plane.supply import Gone, Spoilt, read_some
from castray_desktop.workers.ray_side.protocol import Upstream

if TYPE_CHECKING:
    from castray_desktop.workers.ray_side.byte_plane.following import Follower

log = logging.getLogger("castray.byte_plane")

MAX_REQUESTS = 1000
MAX_REPAIRS = 5
GROUP_SECONDS = 0.1
HEARD = (FrameType.PIECE, FrameType.DIGESTS, FrameType.PART, FrameType.WAITING, FrameType.HASHES)
LOOK_SECONDS = 0.1  # while nothing is to come, the delivery is looked at this often


class Fetching:
    """One connection's share of a delivery."""

    def __init__(self, channel: Channel, delivery: Follower, upstream: Upstream) -> None:
        self._channel = channel
        channel.patient = lambda: delivery.keeps_still
        self._delivery = delivery
        self._layout = delivery.layout
        self._buffer = page_buffer(min(self._layout.piece_bytes, self._layout.stream_bytes))
        self._repairs = delivery.repairs_from(upstream)
        self._unplaced = False
        self._hashes_asked = False
        self._paused = False
        self._asked = RangeSet()
        self._queue: deque[tuple[int, int, bool]] = deque()  # start, end, whether digests will do
        self._last_pieces: deque[int] = deque()  # of what was asked for and has not come
        self._early_asked = RangeSet()  # digests that were asked for ahead of their pieces
        self._gathering: Optional[Gathering] = None  # while a group brings pieces
        self._parts_due = 0  # that will come all the same, after the group was left

    def run(self) -> None:
        """Until everything is there, or the delivery has been paused for so long that it needs no connection.

        Raises Silent, ConnectionError, ProtocolError, Gone, or CastRayError.
        """
        self._look_for_group()
        self._request_missing()
        while not self._delivery.is_complete():
            if not self._goes_on():
                return
            if self._paused and not (
                self._channel.await_readable(LOOK_SECONDS) and self._delivery.reads_in_pause()
            ):
                continue
            if self._look_for_group() or self._delivery.more_wanted:
                self._request_missing()
            if self._delivery.early_wanted:
                self._request_early(0, self._layout.stream_bytes)
            if self._delivery.hashes_awaited and not self._hashes_asked:
                self._hashes_asked = True
                self._channel.write(wire.frame(FrameType.HASHES))
            if self._delivery.unwoken and not self._channel.something_to_read():
                self._delivery.wake()
            if not self._gather():
                continue
            self._delivery.spending.on(WAITING)
            header = self._channel.read_header()
            if header.type in HEARD:
                self._delivery.heard()
            if header.type is FrameType.PIECE:
                self._take_piece(header)
            elif header.type is FrameType.WAITING:
                self._delivery.flush_progress()
            elif header.type is FrameType.DIGESTS:
                self._take_early(*wire.parse_digests(self._channel.read(header.length)))
            elif header.type is FrameType.PART:
                self._take_part(header)
            elif header.type is FrameType.FILE and self._channel.local:
                wire.parse_file(self._channel.take_file(header.length))
            elif header.type is FrameType.HASHES and self._hashes_asked:
                self._delivery.take_hashes(*wire.parse_hashes(self._channel.read(header.length)))
            elif header.type is FrameType.GONE:
                raise Gone(wire.text_of(self._channel.read(header.length)) or "it can't serve this cast")
            elif header.type is FrameType.SPOILT:
                raise Spoilt(*wire.parse_spoilt(self._channel.read(header.length)))
            else:
                raise ProtocolError(f"{header.type.name} frame where a piece belongs")

    def _goes_on(self) -> bool:
        """Tell the upstream of pauses; False once a paused delivery does not keep its connection any more.

        What is on its way when a pause begins still comes, and counts.
        """
        self._delivery.reading_in_pause = False
        ends = self._delivery.pause_ends
        if self._paused is (ends is None):
            self._paused = not self._paused
            self._channel.write(wire.frame(FrameType.PAUSE if self._paused else FrameType.RESUME))
            self._leave_group()
        return ends is None or time.monotonic() < ends

    def _request_missing(self) -> None:
        """Ask for what is wanted and was not asked for on this connection."""
        begins = self._layout.stream_bytes
        if self._gathering is not None and not self._delivery.is_undecided():
            begins = self._gathering.starts_at
            self._gathering.look_again()
        for start, end in self._delivery.wanted():
            self._request(start, min(end, begins))
            for low, high, digests in self._delivery.split_by_twins(max(start, begins), end):
                if digests:
                    self._request(low, high)
                else:  # their bytes come to the group
                    self._request_early(low, high)
        self._ask()

    def _request(self, start: int, end: int) -> None:
        if start >= end:
            return
        for gap in self._asked.missing(start, end):
            self._queue.extend(self._delivery.split_by_twins(*gap))
        self._asked.add(start, end)

    def _request_early(self, start: int, end: int) -> None:
        """Ask for digests as soon as they are known."""
        if start >= end:
            return
        gaps = self._early_asked.missing(start, end)
        if gaps:
            self._early_asked.add(start, end)
            flags = PieceFlag.DIGEST | PieceFlag.EARLY
            self._channel.write(b"".join(wire.request(*gap, flags) for gap in gaps))

    def _look_for_group(self) -> bool:
        """Whether it is known now what a group brings, and was not before."""
        if self._gathering is None and not self._channel.local and not self._paused:
            listener = self._delivery.listener()
            if listener is None:
                return False
            self._gathering = Gathering(self._channel, self._delivery, listener, self._parts_due)
            return True
        return self._gathering is not None and self._gathering.met()

    def _leave_group(self) -> None:
        self._delivery.leave_group()
        if self._gathering is not None:
            self._parts_due, self._gathering = self._gathering.parts_due, None

    def _take_part(self, header: wire.Header) -> None:
        if self._gathering is not None:
            self._gathering.take_part(header)
        elif self._parts_due:  # asked for before the group was left
            self._parts_due -= 1
            self._channel.read(header.length)
        else:
            raise ProtocolError("a part that nobody asked for")

    def _gather(self) -> bool:
        """Make pieces of what a group has brought; whether there is something to read from the upstream."""
        gathering = self._gathering
        if gathering is None:
            return True
        for first, last in gathering.go_on():
            self._fetch_wholly(self._layout.piece(first)[0], self._layout.piece(last - 1)[1])
        if self._unplaced and self._delivery.manifest is not None:  # it came to the group, after contents
            self._unplaced = False
            self._ask_again()
        self._ask()
        if self._delivery.is_complete() or self._delivery.more_wanted:
            return False
        return not gathering.listener.listening or gathering.await_something(GROUP_SECONDS)

    def _fetch_wholly(self, start: int, end: int) -> None:
        """What the group did not bring."""
        self._queue.extend((*gap, False) for gap in self._asked.missing(start, end))
        self._asked.add(start, end)

    def _ask(self) -> None:
        """A bounded number of requests at once; the next ones when the first were answered."""
        requests = []
        while self._queue and len(self._last_pieces) < MAX_REQUESTS:
            start, end, digests = self._queue.popleft()
            requests.append(wire.request(start, end, PieceFlag.DIGEST if digests else 0))
            self._last_pieces.append(self._layout.piece_at(end - 1))
        if requests:
            self._channel.write(b"".join(requests))

    def _ask_again(self) -> None:
        """What came could not be placed: ask for all that is missing, as on a new connection."""
        self._asked = RangeSet()
        self._queue.clear()
        self._last_pieces.clear()
        self._request_missing()

    def _take_early(self, first: int, digests: bytes) -> None:
        try:
            self._delivery.take_early(first, digests)
        except ValueError as error:
            raise ProtocolError(str(error)) from error

    def _take_piece(self, header: wire.Header) -> None:
        head = wire.parse_piece_head(header, self._channel.read(wire.PIECE_BYTES))
        try:
            start, end = self._layout.piece(head.index)
        except ValueError as error:
            raise ProtocolError(str(error)) from error
        if head.length != end - start:
            raise ProtocolError(f"a piece of {head.length} bytes where {end - start} belong")
        if header.flags & PieceFlag.DIGEST:
            self._take_digest(head, start, end)
            return
        view = self._buffer[: head.length]
        by_fd = bool(header.flags & PieceFlag.BY_FD)
        if by_fd and self._delivery.keeps_still:  # hundreds of these may have been on their way
            self._goes_on()
            self._delivery.rest()
        good = (self._copied(view) if by_fd else self._received(view)) == head.digest
        self._delivery.received_bytes += head.length
        self._answered(head.index)
        if not good:
            self._repair(head.index, start, end, bool(header.flags & PieceFlag.CHANGED))
            return
        with self._delivery.placing_lock:
            had = self._delivery.has_piece(head.index)
            placed = had or self._delivery.place_piece(head.index, head.digest, view)
        if not had:
            if not placed:
                self._unplaced = True  # damage has made a hole in the manifest: what follows has to wait
            elif self._unplaced and head.index in self._repairs:
                self._unplaced = False
                self._ask_again()

    def _take_digest(self, head: wire.PieceHead, start: int, end: int) -> None:
        """Where a file that stands here has other bytes, the piece itself is asked for."""
        with self._delivery.placing_lock:
            known = self._delivery.has_piece(head.index) or self._delivery.take_from_twins(
                head.index, head.digest, self._buffer
            )
        if not known:
            if self._queue and self._queue[-1][1:] == (start, False):
                self._queue[-1] = (self._queue[-1][0], end, False)
            else:
                self._queue.append((start, end, False))
        self._answered(head.index)

    def _answered(self, index: int) -> None:
        """Requests are answered in order: a piece that ends one lets the next one go out."""
        if self._last_pieces and index == self._last_pieces[0]:
            self._last_pieces.popleft()
        self._ask()

    def _received(self, view: memoryview) -> bytes:
        """The payload, in one system call: fewer wake-ups weigh more than a warm cache (measured)."""
        self._channel.read_into(view)
        self._delivery.spending.on(CHECKING)
        hasher = self._delivery.new_piece_hasher()
        hasher.update(view)
        return hasher.digest()

    def _copied(self, view: memoryview) -> bytes:
        """The payload read from the file that the upstream passed; nothing where it has become too short."""
        _, offset = wire.parse_by_fd(self._channel.read(wire.BY_FD_BYTES))
        if self._channel.passed_fd < 0:
            raise ProtocolError("a piece of a file that was never passed")
        self._delivery.spending.on(CHECKING)
        hasher = self._delivery.new_piece_hasher()
        for at in range(0, len(view), CHUNK_BYTES):
            chunk = view[at : at + CHUNK_BYTES]
            try:
                count = read_some(self._channel.passed_fd, offset + at, chunk)
            except OSError:  # of the upstream's disk: asked once more, it says so itself
                return b""
            if count < len(chunk):
                return b""
            hasher.update(chunk)
        return hasher.digest()

    def _repair(self, index: int, start: int, end: int, changed: bool) -> None:
        """Ask for that piece once more; twice wrong from one place is enough, unless a file changes there."""
        self._repairs[index] = self._repairs.get(index, 0) + 1
        if self._repairs[index] > (MAX_REPAIRS if changed else 1):
            raise Spoilt(index, "it arrived damaged, twice", FailureKind.DAMAGED)
        self._channel.write(wire.request(start, end, PieceFlag.AGAIN))
