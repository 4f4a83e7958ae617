"""Download pieces over one connection: requests go out, pieces come in, each is verified before it counts."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Iterator
from typing import Optional

from castray_desktop.core.content.byte_ranges import RangeSet
from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.multicast.datagrams import DatagramKeys
from castray_desktop.core.protocol.nodes import peer_frames
from castray_desktop.core.protocol.nodes.cast_parcel import MulticastGroup
from castray_desktop.core.protocol.nodes.peer_frames import FrameType, PieceFlag, ProtocolError
from castray_desktop.workers.agent.transfer.multicast.multicast_receiver import MulticastReceiver
from castray_desktop.workers.agent.transfer.multicast.multicast_repair import MulticastRepair
from castray_desktop.workers.agent.transfer.node_context import NodeContext
from castray_desktop.workers.agent.transfer.peer.connection import PeerConnection
from castray_desktop.workers.agent.transfer.store.piece_store import Spoilt, StoreGoneError, read_some
from castray_desktop.workers.agent.transfer.store.receive_store import ReceiveStore
from castray_desktop.workers.agent.transfer.system.digests import expander
from castray_desktop.workers.agent.transfer.system.file_io import CHUNK_BYTES, page_buffer
from castray_desktop.workers.agent.transfer.system.time_breakdown import CHECKING, WAITING

log = logging.getLogger("castray.byte_plane")

MAX_REQUESTS = 1000
MAX_REPAIRS = 5
GROUP_SECONDS = 0.1
LIVENESS_FRAMES = (FrameType.PIECE, FrameType.DIGESTS, FrameType.PART, FrameType.WAITING, FrameType.HASHES)
DIGEST_BYTES = 2 << 20
"""One request for digests of files that the source downloads covers this much: the source soon forgets the
bytes, and would have to download those that differ again."""

MAX_DIGEST_REQUESTS = 2
"""Limit of such requests that have not been answered."""

POLL_SECONDS = 0.1  # while idle, the delivery is checked


class DownloadPause:
    """Whether a delivery is paused, and whether data is expected on its connection."""

    def __init__(self, store: ReceiveStore) -> None:
        self.ends: Optional[float] = None  # until then a paused delivery keeps its connection
        self.reading = False  # the upstream knows of the pause, and may have stopped within a piece
        self._store = store
        self._pieces = store.pieces

    @property
    def is_idle(self) -> bool:
        """Whether no data is expected: the cast is paused, or this delivery, for a short time."""
        return self._pieces.paused or (self.ends is not None and time.monotonic() < self.ends)

    def begin_reading(self) -> bool:
        """Returns whether the delivery is still paused; then a piece is read that may stall."""
        with self._pieces.lock:
            self.reading = self.ends is not None
            return self.reading

    def wait(self) -> None:
        """Wait while no data is expected. Raises what ends the delivery."""
        cancellation = self._store.cancellation
        with self._pieces.lock:
            while self.is_idle and not cancellation.requested and not self._store.is_complete():
                ends = self.ends
                self._pieces.condition.wait(None if ends is None else max(ends - time.monotonic(), 0.0))
        cancellation.check()


class GroupMembership:
    """The multicast group of a delivery, and what receives from it."""

    def __init__(self, store: ReceiveStore, context: NodeContext) -> None:
        self._store = store
        self._pieces = store.pieces
        self._context = context
        self._group = store.order.group
        self._receiver: Optional[MulticastReceiver] = None
        self._rejoins = False  # an order to join has come since it last received

    @property
    def is_receiving(self) -> bool:
        """Whether it receives multicast."""
        return self._receiver is not None and self._receiver.is_active

    def join(self, group: Optional[MulticastGroup]) -> bool:
        """Join this group, also if it was left before; None: leave. Returns whether anything changes."""
        if group == self._group and (self._receiver is None or self._receiver.is_active):
            return False
        self._group, self._rejoins = group, True
        if self._receiver is not None:
            self._receiver.stop("it was told to")
        return True

    def receiver(self) -> Optional[MulticastReceiver]:
        """The present or past receiver, started if there is a new group; None if there was no group.

        For the thread that downloads.
        """
        group = self._group
        if group is None:
            return self._receiver
        if self._receiver is not None and self._receiver.group == group and not self._rejoins:
            return self._receiver
        self._rejoins = False
        self.leave()
        order, address, node = self._store.order, self._context.connections.address, self._context.node
        keys = DatagramKeys(bytes.fromhex(order.secret), order.cast, expander(order.algorithms.file))
        try:
            self._receiver = MulticastReceiver(group, address, node, keys, self._store)
        except OSError as error:
            log.info("cast %s on %s can't listen to %s: %s", order.cast, node, group.address, error)
            self._group = None
            return None
        self._receiver.start()
        return self._receiver

    def leave(self) -> None:
        """Stop receiving; `receiver` starts again if there is a group."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.close()
            self._pieces.report_state()


class PieceDownloader:
    """Downloads pieces over one connection."""

    def __init__(
        self,
        channel: PeerConnection,
        store: ReceiveStore,
        pause: DownloadPause,
        membership: GroupMembership,
        repairs: dict[int, int],
    ) -> None:
        """`repairs` counts by piece how often it came damaged from this upstream, on all connections."""
        self.heard = False  # the upstream has sent something that shows that it is alive
        self._channel = channel
        channel.tolerates_silence = lambda: pause.is_idle
        self._pause = pause
        self._membership = membership
        self._store = store
        self._pieces = store.pieces
        self._needed = store.needed
        self._layout = store.pieces.layout
        self._buffer = page_buffer(min(self._layout.piece_bytes, self._layout.stream_bytes))
        self._repairs = repairs
        self._unwritten = False
        self._hashes_requested = False
        self._upstream_paused = False
        self._requested = RangeSet()
        self._queue: deque[tuple[int, int, bool]] = deque()  # start, end, whether digests suffice
        self._differing: deque[tuple[int, int]] = (
            deque()
        )  # the same, of existing files: requested before those
        self._digests_out: set[int] = set()  # last pieces of outstanding requests for digests
        self._last_pieces: deque[int] = deque()  # last pieces of outstanding requests
        self._answers: deque[list[int]] = deque()  # next piece and end of each request, as they are answered
        self._again: Counter[int] = Counter()  # pieces that were requested once more
        self._early_requested = RangeSet()  # digests requested ahead of their pieces
        self._multicast_repair: Optional[MulticastRepair] = None  # while multicast brings pieces
        self._parts_expected = 0  # parts that still arrive after the group

    def run(self) -> None:
        """Run until everything is there, or the delivery has been paused for so long that it closes the
        connection.

        Raises OSError (of the connection), ProtocolError, StoreGoneError, or CastRayError.
        """
        self._check_group()
        self._request_missing()
        while not self._store.is_complete():
            if not self._keeps_connection():
                return
            if self._upstream_paused and not (
                self._channel.wait_readable(POLL_SECONDS) and self._pause.begin_reading()
            ):
                continue
            if self._check_group() or self._needed.has_more:
                self._request_missing()
            if self._pieces.early_digests_wanted:
                self._request_early(0, self._layout.stream_bytes)
            if self._store.comparison.hashes_awaited and not self._hashes_requested:
                self._hashes_requested = True
                self._channel.write(peer_frames.frame(FrameType.HASHES))
            if self._pieces.wake_pending and not self._channel.has_data():
                self._pieces.notify_waiting()
            if not self._complete_multicast_pieces():
                continue
            self._store.time_breakdown.switch(WAITING)
            header = self._channel.read_header()
            if header.type in LIVENESS_FRAMES:
                self.heard = True
            if header.type is FrameType.PIECE:
                self._receive_piece(header)
            elif header.type is FrameType.WAITING:
                self._pieces.flush_progress()
            elif header.type is FrameType.DIGESTS:
                self._receive_early_digests(*peer_frames.parse_digests(self._channel.read(header.length)))
            elif header.type is FrameType.PART:
                self._receive_part(header)
            elif header.type is FrameType.FILE and self._channel.local:
                peer_frames.parse_file(self._channel.receive_file(header.length))
            elif header.type is FrameType.HASHES and self._hashes_requested:
                self._store.add_source_hashes(*peer_frames.parse_hashes(self._channel.read(header.length)))
            elif header.type is FrameType.GONE:
                raise StoreGoneError(
                    peer_frames.text_of(self._channel.read(header.length)) or "it can't serve this cast"
                )
            elif header.type is FrameType.SPOILT:
                raise self._spoilt(*peer_frames.parse_spoilt(self._channel.read(header.length)))
            else:
                raise ProtocolError(f"{header.type.name} frame where a piece belongs")

    def _spoilt(self, index: int, reason: str) -> Spoilt:
        """The upstream can't send a piece. Raises ProtocolError for one that there is not."""
        if index >= self._layout.pieces:
            raise ProtocolError(f"no piece {index}")
        return Spoilt(index, reason)

    def _keeps_connection(self) -> bool:
        """Tell the upstream of pauses; returns False once a paused delivery closes its connection.

        Data in flight when a pause starts still arrives and counts.
        """
        self._pause.reading = False
        ends = self._pause.ends
        if self._upstream_paused is (ends is None):
            self._upstream_paused = not self._upstream_paused
            self._channel.write(
                peer_frames.frame(FrameType.PAUSE if self._upstream_paused else FrameType.RESUME)
            )
            self._leave_group()
        return ends is None or time.monotonic() < ends

    def _request_missing(self) -> None:
        """Request needed data that was not requested on this connection."""
        begins = self._layout.stream_bytes
        if self._multicast_repair is not None and not self._needed.is_undecided():
            begins = self._multicast_repair.starts_at
            self._multicast_repair.recheck()
        for start, end in self._needed.ranges():
            self._request(start, min(end, begins))
            for low, high, digests in self._store.comparison.split(max(start, begins), end):
                if digests:
                    self._request(low, high)
                else:  # their bytes come by multicast
                    self._request_early(low, high)
        self._send_requests()

    def _request(self, start: int, end: int) -> None:
        if start >= end:
            return
        for gap in self._requested.missing(start, end):
            for part in self._store.comparison.split(*gap):
                self._queue.extend(self._steps(*part))
        self._requested.add(start, end)

    def _steps(self, start: int, end: int, digests: bool) -> Iterator[tuple[int, int, bool]]:
        """Divide a request for digests of files that the source downloads."""
        if not digests or not self._store.order.version:
            yield start, end, digests
            return
        pieces, step = self._layout.pieces_of(start, end), max(DIGEST_BYTES // self._layout.piece_bytes, 1)
        for first in pieces[::step]:
            last = min(first + step, pieces.stop) - 1
            yield max(self._layout.piece(first)[0], start), min(self._layout.piece(last)[1], end), True

    def _request_early(self, start: int, end: int) -> None:
        """Request digests as soon as they are known."""
        if start >= end:
            return
        gaps = self._early_requested.missing(start, end)
        if gaps:
            self._early_requested.add(start, end)
            flags = PieceFlag.DIGEST | PieceFlag.EARLY
            self._channel.write(b"".join(peer_frames.request_frame(*gap, flags) for gap in gaps))

    def _check_group(self) -> bool:
        """Returns whether it has just become known what multicast brings."""
        if self._multicast_repair is None and not self._channel.local and not self._upstream_paused:
            receiver = self._membership.receiver()
            if receiver is None:
                return False
            self._multicast_repair = MulticastRepair(
                self._channel, self._store, receiver, self._parts_expected
            )
            return True
        return self._multicast_repair is not None and self._multicast_repair.start_became_known()

    def _leave_group(self) -> None:
        self._membership.leave()
        if self._multicast_repair is not None:
            self._parts_expected, self._multicast_repair = self._multicast_repair.parts_due, None

    def _receive_part(self, header: peer_frames.FrameHeader) -> None:
        if self._multicast_repair is not None:
            self._multicast_repair.receive_part(header)
        elif self._parts_expected:  # requested before the group was left
            self._parts_expected -= 1
            self._channel.read(header.length)
        else:
            raise ProtocolError("a part that nobody asked for")

    def _complete_multicast_pieces(self) -> bool:
        """Complete pieces that multicast brought; returns whether there is data from the upstream."""
        repair = self._multicast_repair
        if repair is None:
            return True
        for first, last in repair.step():
            self._request_range(self._layout.piece(first)[0], self._layout.piece(last - 1)[1])
        if self._unwritten and self._pieces.manifest is not None:  # it came by multicast, after contents
            self._unwritten = False
            self._request_all_again()
        self._send_requests()
        if self._store.is_complete() or self._needed.has_more:
            return False
        return not repair.receiver.is_active or repair.wait_for_data(GROUP_SECONDS)

    def _request_range(self, start: int, end: int) -> None:
        """Request what multicast did not bring."""
        self._queue.extend((*gap, False) for gap in self._requested.missing(start, end))
        self._requested.add(start, end)

    def _send_requests(self) -> None:
        """Send requests up to a bound; more when the first were answered."""
        requests = []
        while len(self._last_pieces) < MAX_REQUESTS and (request := self._next_request()) is not None:
            start, end, digests = request
            requests.append(peer_frames.request_frame(start, end, PieceFlag.DIGEST if digests else 0))
            self._last_pieces.append(self._layout.piece_at(end - 1))
            asked = self._layout.pieces_of(start, end)
            self._answers.append([asked.start, asked.stop])
        if requests:
            self._channel.write(b"".join(requests))

    def _next_request(self) -> Optional[tuple[int, int, bool]]:
        if self._differing:
            return (*self._differing.popleft(), False)
        if not self._queue:
            return None
        start, end, digests = self._queue[0]
        if digests and self._store.order.version:
            if not self._store.may_reuse(start, end):
                digests = False
            elif len(self._digests_out) >= MAX_DIGEST_REQUESTS:
                return None
            else:
                self._digests_out.add(self._layout.piece_at(end - 1))
        self._queue.popleft()
        return start, end, digests

    def _request_all_again(self) -> None:
        """Received data could not be written: request everything missing again."""
        self._requested = RangeSet()
        self._queue.clear()
        self._differing.clear()
        self._digests_out.clear()
        self._last_pieces.clear()
        self._request_missing()

    def _receive_early_digests(self, first: int, digests: bytes) -> None:
        if not self._early_requested:
            raise ProtocolError("digests that nobody asked for")
        try:
            self._pieces.add_early_digests(first, digests)
        except ValueError as error:
            raise ProtocolError(str(error)) from error

    def _receive_piece(self, header: peer_frames.FrameHeader) -> None:
        head = peer_frames.parse_piece_head(header, self._channel.read(peer_frames.PIECE_BYTES))
        try:
            start, end = self._layout.piece(head.index)
        except ValueError as error:
            raise ProtocolError(str(error)) from error
        if head.length != end - start:
            raise ProtocolError(f"a piece of {head.length} bytes where {end - start} belong")
        self._check_order(head.index)
        if header.flags & PieceFlag.DIGEST:
            self._receive_digest(head, start, end)
            return
        view = self._buffer[: head.length]
        by_fd = bool(header.flags & PieceFlag.BY_FD)
        if by_fd and self._pause.is_idle:  # hundreds of these may be in flight
            self._keeps_connection()
            self._pause.wait()
        good = (self._copy_payload(view) if by_fd else self._receive_payload(view)) == head.digest
        self._store.received_bytes += head.length
        self._record_answer(head.index)
        if not good:
            self._repair(head.index, start, end, bool(header.flags & PieceFlag.CHANGED))
            return
        with self._store.write_lock:
            had = self._pieces.has_piece(head.index)
            written = had or self._store.write_piece(head.index, head.digest, view)
        if not had:
            if not written:
                self._unwritten = True  # damage left a gap in the manifest:
            elif self._unwritten and head.index in self._repairs:
                self._unwritten = False
                self._request_all_again()

    def _check_order(self, index: int) -> None:
        """Requests are answered in order. Raises ProtocolError: a frame is missing, or was not asked for."""
        if self._answers and self._answers[0][0] == index:
            self._answers[0][0] += 1
            if self._answers[0][0] == self._answers[0][1]:
                self._answers.popleft()
        elif self._again[index]:
            self._again[index] -= 1
        else:
            raise ProtocolError(f"piece {index} out of its order")

    def _receive_digest(self, head: peer_frames.PieceHead, start: int, end: int) -> None:
        """If an existing file has other bytes, request the piece itself."""
        with self._store.write_lock:
            known = self._pieces.has_piece(head.index) or self._store.use_existing_piece(
                head.index, head.digest, self._buffer
            )
        if not known and self._store.order.version:
            if self._differing and self._differing[-1][1] == start:
                start = self._differing.pop()[0]
            self._differing.append((start, end))
        elif not known:
            if self._queue and self._queue[-1][1:] == (start, False):
                self._queue[-1] = (self._queue[-1][0], end, False)
            else:
                self._queue.append((start, end, False))
        self._record_answer(head.index)

    def _record_answer(self, index: int) -> None:
        """Requests are answered in order: the last piece of one lets the next one go out."""
        if self._last_pieces and index == self._last_pieces[0]:
            self._digests_out.discard(self._last_pieces.popleft())
        self._send_requests()

    def _receive_payload(self, view: memoryview) -> bytes:
        """Receive the payload in one system call: fewer wake-ups weigh more than a warm cache (measured)."""
        self._channel.read_into(view)
        self._store.time_breakdown.switch(CHECKING)
        return self._pieces.digest_of(view)

    def _copy_payload(self, view: memoryview) -> bytes:
        """Read the payload from the file that the upstream passed; empty if the file has become too short."""
        _, offset = peer_frames.parse_by_fd(self._channel.read(peer_frames.BY_FD_BYTES))
        if self._channel.passed_fd < 0:
            raise ProtocolError("a piece of a file that was never passed")
        self._store.time_breakdown.switch(CHECKING)
        hasher = self._pieces.new_piece_hasher()
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
        """Request the piece once more; a second error is a failure, unless the file changes at the source."""
        self._repairs[index] = self._repairs.get(index, 0) + 1
        if self._repairs[index] > (MAX_REPAIRS if changed else 1):
            raise Spoilt(index, "it arrived damaged, twice", FailureKind.DAMAGED)
        self._again[index] += 1
        self._channel.write(peer_frames.request_frame(start, end, PieceFlag.AGAIN))
