"""Serving one authenticated connection: requests come in, pieces go out, as soon as they are there."""

from __future__ import annotations

import logging
import time
from collections import deque

from castray_desktop.core import wire
from castray_desktop.core.wire import FrameType, PieceFlag, ProtocolError
from castray_desktop.workers.ray_side.byte_plane.channel import Channel
from castray_desktop.workers.ray_side.byte_plane.failures import reason_of
from castray_desktop.workers.ray_side.byte_plane.limits import wait_for_all
from castray_desktop.workers.ray_side.byte_plane.supply import Gone, Spoilt, Supply

log = logging.getLogger("castray.byte_plane")

MAX_OUTSTANDING = 4096
KEEP_ALIVE_SECONDS = 1.0
PART_SECONDS = 0.01  # how long a part may wait for its piece before requests are looked for

LOOK_SECONDS = 0.1  # how long a request may lie unread while there is nothing new to send


class Serving:
    """One connection's requests and what has been sent for them."""

    def __init__(self, channel: Channel, supply: Supply) -> None:
        self._channel = channel
        channel.between = self._rest_within
        self._supply = supply
        self._requests: deque[list[int]] = deque()  # [next piece, piece after the last, digests only]
        self._again: deque[int] = deque()
        self._parts: deque[tuple[int, int]] = deque()  # start and end, of one piece each
        self._early: deque[list[int]] = deque()  # as requests: digests that may come before their pieces
        self._hashes_wanted = False
        self._file_passed = -1
        self._paused = False  # by the peer
        self._calm = False  # nothing was there to be sent for a while
        self._at = 0  # the piece that is served
        self._last_sent = time.monotonic()

    def run(self) -> None:
        """Until the peer closes (ConnectionError), misbehaves (ProtocolError) or this node can't go on."""
        try:
            while True:
                self._go_on()
        except Gone as gone:
            self._channel.write(wire.gone(str(gone)))

    def _go_on(self) -> None:
        """One step. A piece that can't be served is said to be so, and the others still are."""
        try:
            self._step()
        except Spoilt as spoilt:
            self._channel.write(wire.spoilt(spoilt.piece, str(spoilt)))
        except ConnectionError:
            raise
        except (EOFError, OSError) as error:  # a file's; where it is the connection's, this fails as well
            if self._supply.gone:
                raise Gone(self._supply.gone) from error
            log.warning("cast %s: a file can't be read any more: %s", self._supply.cast, error)
            reason = reason_of(error) if isinstance(error, OSError) else str(error)
            self._channel.write(wire.spoilt(self._at, reason))

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
        return self._supply.await_piece(self._at, LOOK_SECONDS)

    def _next_index(self) -> int:
        first = self._requests[0]
        index = first[0]
        first[0] += 1
        if first[0] >= first[1]:
            self._requests.popleft()
        return index

    def _idle(self) -> None:
        """Nothing is asked for: wait for a request, with a look at the cast now and then."""
        if self._supply.gone:
            raise Gone(self._supply.gone)
        if not self._early and not self._parts:
            if not self._channel.await_readable(LOOK_SECONDS):
                self._keep_alive()
        elif self._calm:
            if self._parts:
                self._supply.await_piece(self._supply.layout.piece_at(self._parts[0][0]), PART_SECONDS)
            else:
                self._supply.await_digest(self._early[0][0], LOOK_SECONDS)
            self._keep_alive()
        else:
            seconds = PART_SECONDS if self._parts else self._supply.early_seconds
            self._calm = not seconds or not self._channel.await_readable(seconds)

    def _keep_alive(self) -> None:
        if time.monotonic() - self._last_sent >= KEEP_ALIVE_SECONDS:
            self._channel.write(wire.frame(FrameType.WAITING))
            self._last_sent = time.monotonic()
            self._supply.flush_progress()

    def _take_requests(self) -> None:
        while self._channel.something_to_read():
            self._take_request()

    def _take_request(self) -> None:
        header = wire.parse_header(self._channel.read(wire.HEADER_BYTES))
        if header.type in (FrameType.PAUSE, FrameType.RESUME):
            self._paused = header.type is FrameType.PAUSE
            return
        if header.type is FrameType.HASHES and header.length == 0:
            self._hashes_wanted = True
            return
        if header.type is not FrameType.REQUEST:
            raise ProtocolError(f"{header.type.name} frame where a request belongs")
        start, end = wire.parse_request(self._channel.read(header.length))
        layout = self._supply.layout
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
            self._supply.note_asked(asked)
            self._supply.want_early()
            self._early.append([asked.start, asked.stop])
        else:
            self._supply.note_asked(asked)
            self._requests.append([asked.start, asked.stop, bool(header.flags & PieceFlag.DIGEST)])

    def _send(self, index: int) -> None:
        start, end = self._supply.layout.piece(index)
        digest, length = self._supply.digest(index), end - start
        self._keep_to_limits(length)
        self._count(index, length)
        where = self._supply.within_file(index)
        if where is None:
            payload = self._supply.assembled(index)
            self._channel.write(wire.piece_head(index, digest, length), more=True)
            self._channel.write(payload)
        elif self._channel.local:
            self._pass(index, digest, length, *where)
        else:
            with self._supply.borrow(where[0]) as fd:
                self._channel.write(wire.piece_head(index, digest, length), more=True)
                self._channel.write_file(fd, where[1], length)
        self._last_sent = time.monotonic()

    def _send_early(self) -> bool:
        """The digests that are known by now, in order; whether there were any."""
        if not self._early:
            return False
        first, after = self._early[0]
        known: list[bytes] = []
        while first + len(known) < after and len(known) < wire.MAX_DIGESTS:
            digest = self._supply.early_digest(first + len(known))
            if digest is None:
                break
            known.append(digest)
        if not known:
            return False
        self._early[0][0] += len(known)
        if self._early[0][0] == after:
            self._early.popleft()
        self._channel.write(wire.digests(first, known))
        self._last_sent = time.monotonic()
        return True

    def _send_part(self) -> bool:
        """Some bytes of a piece that the peer has most of, once the piece is here; whether it was."""
        if not self._parts:
            return False
        start, end = self._parts[0]
        index, length = self._supply.layout.piece_at(start), end - start
        self._at = index
        if not self._supply.await_piece(index, 0.0):
            return False
        self._parts.popleft()
        self._keep_to_limits(length)
        self._count(index, length)
        where = self._supply.within_file(index)
        offset = start - self._supply.layout.piece(index)[0]
        self._channel.write(wire.part_head(start, length), more=True)
        if where is None:
            self._channel.write(self._supply.assembled(index)[offset : offset + length])
        else:
            with self._supply.borrow(where[0]) as fd:
                self._channel.write_file(fd, where[1] + offset, length)
        self._last_sent = time.monotonic()
        return True

    def _send_digest(self, index: int) -> None:
        start, end = self._supply.layout.piece(index)
        self._channel.write(wire.piece_digest(index, self._supply.digest(index), end - start))
        self._last_sent = time.monotonic()

    def _send_hashes(self) -> None:
        """What is known of the files' hashes, once that is clear."""
        known = self._supply.await_hashes(LOOK_SECONDS)
        if known is None:
            self._keep_alive()
            return
        self._hashes_wanted = False
        for frame in wire.hashes(known):
            self._channel.write(frame)
        self._last_sent = time.monotonic()

    def _keep_to_limits(self, length: int) -> None:
        """Wait until so many bytes may leave."""
        wait_for_all(self._supply.limiters, length, self._pause)
        self._take_requests()
        while self._rests:
            self._rest()

    @property
    def _rests(self) -> bool:
        """The cast is paused, or the peer alone is: the connection stays, and nothing is sent."""
        return self._paused or self._supply.paused

    def _rest(self) -> None:
        if self._paused:
            self._idle()
        else:
            self._pause(LOOK_SECONDS)
        self._take_requests()

    def _rest_within(self) -> None:
        """In the middle of a piece there may be a pause as well, but nothing else can be sent.

        Raises ConnectionError when it will not go on.
        """
        self._take_requests()
        while self._rests:
            with self._supply.lock:
                if not self._supply.gone:
                    self._supply.condition.wait(LOOK_SECONDS)
            if self._supply.gone:
                raise ConnectionError(self._supply.gone)
            self._take_requests()

    def _pause(self, seconds: float) -> None:
        with self._supply.lock:
            if not self._supply.gone:
                self._supply.condition.wait(seconds)
            if self._supply.gone:
                raise Gone(self._supply.gone)
        self._keep_alive()

    def _pass(self, index: int, digest: bytes, length: int, file: int, offset: int) -> None:
        """The peer runs on this machine: it gets the open file once and reads the pieces itself."""
        if self._file_passed != file:
            with self._supply.borrow(file) as fd:
                self._channel.pass_file(file, fd)
            self._file_passed = file
        self._channel.write(wire.piece_by_fd(index, digest, length, file, offset))

    def _send_again(self, index: int) -> None:
        self._at = index
        again = self._supply.read_anew(index)
        flags = PieceFlag.CHANGED if again.changed else PieceFlag.NONE
        self._keep_to_limits(len(again.payload))
        self._count(index, len(again.payload))
        self._channel.write(wire.piece_head(index, again.digest, len(again.payload), flags), more=True)
        self._channel.write(again.payload)
        self._last_sent = time.monotonic()

    def _count(self, index: int, length: int) -> None:
        """Counted before it is sent, and told at once for the last piece: so whoever hears that the
        recipient is done has heard of all that was sent to it.
        """
        last = not self._requests and not self._again and not self._parts
        self._supply.count_sent(index, length, last)
