"""Upload pieces on one authenticated connection: requests come in, pieces go out as soon as they are
available.
"""

from __future__ import annotations

import logging
import time
from collections import deque

from castray_desktop.core.protocol.nodes import peer_frames
from castray_desktop.core.protocol.nodes.peer_frames import FrameType, PieceFlag, ProtocolError
from castray_desktop.workers.agent.transfer.peer.connection import PeerConnection
from castray_desktop.workers.agent.transfer.store.piece_store import PieceStore, Spoilt, StoreGoneError
from castray_desktop.workers.agent.transfer.system.os_failures import reason_of

log = logging.getLogger("castray.byte_plane")

MAX_OUTSTANDING = 4096
KEEP_ALIVE_SECONDS = 1.0
PART_SECONDS = 0.01  # how long a part waits for its piece before requests are read

POLL_SECONDS = 0.1  # how long a request may stay unread while nothing is sent


class PieceUploader:
    """The requests of one connection, and what was sent for them."""

    def __init__(self, channel: PeerConnection, pieces: PieceStore, to_itself: bool = False) -> None:
        """`to_itself`: the peer is this node's own delivery, so that nothing leaves the node."""
        self._to_itself = to_itself
        self._channel = channel
        channel.between_sends = self._rest_within
        self._pieces = pieces
        self._requests: deque[list[int]] = deque()  # [next piece, piece after the last, digests only]
        self._again: deque[int] = deque()
        self._parts: deque[tuple[int, int]] = deque()  # start and end, of one piece each
        self._early: deque[list[int]] = deque()  # as requests: digests that may come before their pieces
        self._hashes_wanted = False
        self._file_passed = -1
        self._peer_paused = False  # the peer wants nothing for now
        self._calm = False  # nothing to send for a while
        self._at = 0  # the piece that is served

    def run(self) -> None:
        """Run until the peer closes (ConnectionError), violates the protocol (ProtocolError) or this node
        can't continue."""
        try:
            while True:
                self._go_on()
        except StoreGoneError as gone:
            self._channel.write(peer_frames.gone_frame(str(gone)))

    def _go_on(self) -> None:
        """One step. A piece that can't be served is reported as spoilt; the others are still served."""
        try:
            self._step()
        except Spoilt as spoilt:
            self._channel.write(peer_frames.spoilt_frame(spoilt.piece, str(spoilt)))
        except ConnectionError:
            raise
        except (EOFError, OSError) as error:  # a file's; where it is the connection's, this fails as well
            if self._pieces.gone_reason:
                raise StoreGoneError(self._pieces.gone_reason) from error
            log.warning("cast %s: a file can no longer be read: %s", self._pieces.cast, error)
            reason = reason_of(error) if isinstance(error, OSError) else str(error)
            self._channel.write(peer_frames.spoilt_frame(self._at, reason))

    def _step(self) -> None:
        self._take_requests()
        if self._rests:
            self._rest()
        elif self._again:
            self._send_again(self._again.popleft())
        elif self._hashes_wanted:
            self._send_hashes()
        elif self._send_early() or self._send_part():
            self._calm = False
        elif not self._requests:
            self._idle()
        elif self._await_next():
            digest_only = self._requests[0][2]
            index = self._next_index()
            if digest_only:
                self._send_digest(index)
            else:
                self._send(index)
        else:
            self._keep_alive()

    def _await_next(self) -> bool:
        self._at = self._requests[0][0]
        return self._pieces.wait_piece(self._at, POLL_SECONDS)

    def _next_index(self) -> int:
        first = self._requests[0]
        index = first[0]
        first[0] += 1
        if first[0] >= first[1]:
            self._requests.popleft()
        return index

    def _idle(self) -> None:
        """No request pending: wait for one, checking the cast regularly."""
        if self._pieces.gone_reason:
            raise StoreGoneError(self._pieces.gone_reason)
        if not self._early and not self._parts:
            if not self._channel.wait_readable(POLL_SECONDS):
                self._keep_alive()
        elif self._calm:
            if self._parts:
                self._pieces.wait_piece(self._pieces.layout.piece_at(self._parts[0][0]), PART_SECONDS)
            else:
                self._pieces.wait_digest(self._early[0][0], POLL_SECONDS)
            self._keep_alive()
        else:
            seconds = PART_SECONDS if self._parts else self._pieces.early_seconds
            self._calm = not seconds or not self._channel.wait_readable(seconds)

    def _keep_alive(self) -> None:
        if time.monotonic() - self._channel.last_sent >= KEEP_ALIVE_SECONDS:
            self._channel.write(peer_frames.frame(FrameType.WAITING))
            self._pieces.flush_progress()

    def _take_requests(self) -> None:
        while self._channel.has_data():
            self._take_request()

    def _take_request(self) -> None:
        header = self._channel.read_header()
        if header.type in (FrameType.PAUSE, FrameType.RESUME):
            self._peer_paused = header.type is FrameType.PAUSE
            return
        if header.type is FrameType.HASHES and header.length == 0:
            self._hashes_wanted = True
            return
        if header.type is not FrameType.REQUEST:
            raise ProtocolError(f"{header.type.name} frame where a request belongs")
        start, end = peer_frames.parse_request(self._channel.read(header.length))
        layout = self._pieces.layout
        outstanding = len(self._requests) + len(self._again) + len(self._parts) + len(self._early)
        if end > layout.stream_bytes or outstanding >= MAX_OUTSTANDING:
            raise ProtocolError("a request beyond the stream, or too many")
        asked = layout.pieces_of(start, end)
        if header.flags & PieceFlag.AGAIN:
            self._again.append(asked.start)
        elif header.flags & PieceFlag.PART:
            if len(asked) > 1:
                raise ProtocolError("a part of more than one piece")
            self._parts.append((start, end))
        elif header.flags & PieceFlag.EARLY:
            self._pieces.record_requested(asked)
            self._pieces.early_digests_wanted = True
            self._early.append([asked.start, asked.stop])
        else:
            self._pieces.record_requested(asked)
            self._requests.append([asked.start, asked.stop, bool(header.flags & PieceFlag.DIGEST)])

    def _send(self, index: int) -> None:
        start, end = self._pieces.layout.piece(index)
        digest, length = self._pieces.digest(index), end - start
        self._keep_to_limits(length)
        self._count(index, length)
        where = self._pieces.within_file(index)
        if where is None:
            payload = self._pieces.piece_bytes(index)
            self._channel.write(peer_frames.piece_head(index, digest, length), more=True)
            self._channel.write(payload)
        elif self._channel.local:
            self._pass(index, digest, length, *where)
        else:
            with self._pieces.open_files.borrow(where[0]) as fd:
                self._channel.write(peer_frames.piece_head(index, digest, length), more=True)
                self._channel.write_file(fd, where[1], length)

    def _send_early(self) -> bool:
        """Send digests known by now, in order; returns whether there were any."""
        if not self._early:
            return False
        first, after = self._early[0]
        known: list[bytes] = []
        while first + len(known) < after and len(known) < peer_frames.MAX_DIGESTS:
            digest = self._pieces.early_digest(first + len(known))
            if digest is None:
                break
            known.append(digest)
        if not known:
            return False
        self._early[0][0] += len(known)
        if self._early[0][0] == after:
            self._early.popleft()
        self._channel.write(peer_frames.digests_frame(first, known))
        return True

    def _send_part(self) -> bool:
        """Send a part of a piece, once the piece is here; returns whether it was."""
        if not self._parts:
            return False
        start, end = self._parts[0]
        index, length = self._pieces.layout.piece_at(start), end - start
        self._at = index
        if not self._pieces.wait_piece(index, 0.0):
            return False
        self._parts.popleft()
        self._keep_to_limits(length)
        self._count(index, length)
        where = self._pieces.within_file(index)
        offset = start - self._pieces.layout.piece(index)[0]
        self._channel.write(peer_frames.part_head(start, length), more=True)
        if where is None:
            self._channel.write(self._pieces.piece_bytes(index)[offset : offset + length])
        else:
            with self._pieces.open_files.borrow(where[0]) as fd:
                self._channel.write_file(fd, where[1] + offset, length)
        return True

    def _send_digest(self, index: int) -> None:
        start, end = self._pieces.layout.piece(index)
        self._channel.write(peer_frames.piece_digest_frame(index, self._pieces.digest(index), end - start))

    def _send_hashes(self) -> None:
        """Send known file hashes, once it is clear which are known."""
        known = self._pieces.wait_hashes(POLL_SECONDS)
        if known is None:
            self._keep_alive()
            return
        self._hashes_wanted = False
        for frame in peer_frames.hashes_frames(known):
            self._channel.write(frame)

    def _keep_to_limits(self, length: int) -> None:
        """Wait until `length` bytes may leave."""
        if not self._to_itself:
            self._pieces.wait_for_limits(length, self._pause)
        self._take_requests()
        while self._rests:
            self._rest()

    @property
    def _rests(self) -> bool:
        """Whether the cast or the peer is paused: the connection stays, and nothing is sent."""
        return self._peer_paused or self._pieces.paused

    def _rest(self) -> None:
        if self._peer_paused:
            self._idle()
        else:
            self._pause(POLL_SECONDS)
        self._take_requests()

    def _rest_within(self) -> None:
        """Wait during a pause within a piece, when nothing else can be sent.

        Raises ConnectionError if it will not continue.
        """
        self._take_requests()
        while self._rests:
            with self._pieces.lock:
                if not self._pieces.gone_reason:
                    self._pieces.condition.wait(POLL_SECONDS)
            if self._pieces.gone_reason:
                raise ConnectionError(self._pieces.gone_reason)
            self._take_requests()

    def _pause(self, seconds: float) -> None:
        with self._pieces.lock:
            if not self._pieces.gone_reason:
                self._pieces.condition.wait(seconds)
            if self._pieces.gone_reason:
                raise StoreGoneError(self._pieces.gone_reason)
        self._keep_alive()

    def _pass(self, index: int, digest: bytes, length: int, file: int, offset: int) -> None:
        """The peer runs on this machine: pass it the open file once; it reads pieces itself."""
        if self._file_passed != file:
            with self._pieces.open_files.borrow(file) as fd:
                self._channel.send_descriptor(file, fd)
            self._file_passed = file
        self._channel.write(peer_frames.piece_by_fd_frame(index, digest, length, file, offset))

    def _send_again(self, index: int) -> None:
        self._at = index
        again = self._pieces.reread_piece(index)
        flags = PieceFlag.CHANGED if again.changed else PieceFlag.NONE
        self._keep_to_limits(len(again.payload))
        self._count(index, len(again.payload))
        self._channel.write(peer_frames.piece_head(index, again.digest, len(again.payload), flags), more=True)
        self._channel.write(again.payload)

    def _count(self, index: int, length: int) -> None:
        """Counted before it is sent, and reported at once for the last piece, so that the final counts are
        complete when the recipient is done.
        """
        if self._to_itself:
            return
        last = not self._requests and not self._again and not self._parts
        self._pieces.count_sent(index, length, last)
