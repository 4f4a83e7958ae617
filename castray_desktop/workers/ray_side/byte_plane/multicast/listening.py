"""Listening to a group: datagrams become candidates, and the sender hears how many have come.

One thread for each delivery. It checks tags, copies, and reports; what the bytes are worth is decided by the
thread that has the upstream's connection.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from typing import Callable, Optional

from castray_desktop.core.layout import Layout
from castray_desktop.core.multicast import (
    HEADER_BYTES,
    LEAST_PAYLOAD,
    MAX_DATAGRAM,
    TAG_BYTES,
    Head,
    Keys,
    Report,
    Zone,
    first_number,
    listener_name,
    next_number,
    pack_head,
    parse_head,
    tag_at,
    zone_of,
)
from castray_desktop.workers.ray_side.byte_plane.buffers import page_buffer
from castray_desktop.workers.ray_side.byte_plane.multicast.batches import Batches, Run, available
from castray_desktop.workers.ray_side.byte_plane.multicast.candidates import Candidates, Taken, Wanted
from castray_desktop.workers.ray_side.byte_plane.multicast.sockets import ListeningSocket, report_socket
from castray_desktop.workers.ray_side.protocol import MulticastGroup

log = logging.getLogger("castray.byte_plane")

HEARD_WITHIN = 0.6
"""Seconds until the first datagram; then this network does not carry them."""

SILENT_AFTER = 1.0
"""Seconds without one, after the first: the sender has gone, or a filter has come."""

FOLLOWS_WITHIN = 0.5
LEAST_SHARE = 0.5
"""Whoever gets less than this share for half a second can't follow."""

JUDGED_SECONDS = 0.1
JUDGED_FROM = 30
"""It is looked at so often, over so many datagrams at least: a sender that has begun too fast for all has
slowed down before half a second is over."""

DEAF_TO_OTHERS = 0.3
"""Seconds of silence after which another sender may be the right one."""

SINGLES = 256
"""So many datagrams in a row that came alone: the kernel does not put them together."""

WAIT_SECONDS = 0.02
NAP_SECONDS = 0.008
"""Waking up for every burst costs more than taking it: so many are let come together."""

NAP_SHARE = 4
GIGABIT = 125e6  # bytes per second, which may fill so much of the kernel's buffer meanwhile
MANY_READS = 64
LAST_REPORTS = 3
BUFFER_BYTES = 1 << 16


class MulticastListener:
    """Takes one cast's datagrams until `stop`, or until it can't follow.

    `wake_fd` becomes readable when there is something to do for whoever checks and places.
    """

    def __init__(
        self,
        group: MulticastGroup,
        own: str,
        node: str,
        keys: Keys,
        layout: Layout,
        wanted: Wanted,
        paused: Callable[[], bool],
    ) -> None:
        """Joins the group. Raises OSError. `own` is this machine's address."""
        self.candidates = Candidates(layout, wanted)
        self.heard = False
        self.reason = ""  # why it has left, if not because it was told to
        self.group = group
        self._own = own
        self._name = listener_name(node)
        self._node = node
        self._keys = keys
        self._wanted = wanted
        self._pieces = layout.pieces
        self._paused = paused
        self._stopped = False
        self._socket = ListeningSocket(group, own)
        self._socket.wait_at_most(WAIT_SECONDS)
        self._nap = min(NAP_SECONDS, self._socket.room / NAP_SHARE / GIGABIT)
        self._reports: Optional[socket.socket] = None
        self._sender: tuple[str, int] = ("", 0)
        self._buffer = page_buffer(BUFFER_BYTES)
        self._views: dict[int, list[memoryview]] = {}
        self._tags: dict[Zone, bytes] = {}
        self._batches: Optional[Batches] = None  # once the kernel has shown not to coalesce
        self._singles = 0  # datagrams in a row that came alone
        self._longest = 0
        self._last = 0.0  # when something came
        self._next = 0  # the highest that was heard, plus one
        self._datagrams = 0
        self._payload = 0
        self._number = first_number(time.time())
        self._judged = (0.0, 0, 0)  # time, sequence, datagrams
        self._lacks_since = 0.0
        self._ended = False
        self.wake_fd, self._waking = os.pipe()
        os.set_blocking(self.wake_fd, False)
        os.set_blocking(self._waking, False)
        self._thread = threading.Thread(target=self._run, name="castray-listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def listening(self) -> bool:
        """Whether it takes datagrams still."""
        return not self._stopped

    @property
    def ended(self) -> bool:
        """Whether nothing more will come: what lacks has to be asked for."""
        return self._ended or self._stopped

    def stop(self, reason: str = "") -> None:
        """Leave the group. From any thread."""
        if not self._stopped:
            self.reason = reason
            self._stopped = True

    def close(self) -> None:
        """Stop, wait for the thread, and free what it holds."""
        self.stop()
        self._thread.join()
        os.close(self.wake_fd)
        os.close(self._waking)

    def wake(self) -> None:
        """There is something to do."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._waking, b"x")

    def take_wake(self) -> None:
        """Have `wake_fd` wait for the next time."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.wake_fd, 4096)

    # --- the thread

    def _run(self) -> None:
        started = reported = self._last = time.monotonic()
        try:
            while not self._stopped:
                came, empty = False, False
                try:
                    for number in range(MANY_READS):
                        came = self._take(wait=number == 0) or came
                except BlockingIOError:
                    empty = True
                now = time.monotonic()
                if self._paused():
                    started = self._last = now
                    self._judge_anew(now)
                if came:
                    self._last = now
                elif not self.heard and now - started > HEARD_WITHIN:
                    self.stop("nothing came to the group")
                elif self.heard and now - self._last > SILENT_AFTER:
                    self.stop("nothing comes to the group any more")
                if self.heard and now - reported > self.group.report_seconds:
                    self._report(False)
                    self._judge(now)
                    reported = now
                if came and empty:
                    time.sleep(self._nap)
        except OSError as error:
            self.stop(error.strerror or str(error))
        except Exception:
            log.exception("listening on %s", self._node)
            self.stop("it failed")
        finally:
            self._leave()

    def _leave(self) -> None:
        if self.reason:
            log.info("%s leaves %s: %s", self._node, self.group.address, self.reason)
        self._socket.close()
        for _ in range(LAST_REPORTS):
            self._report(True)
        if self._reports is not None:
            self._reports.close()
        self.wake()
        self._wanted.stated()

    def _judge(self, now: float) -> None:
        """Leave if less than half has come, all the time."""
        then, sequence, datagrams = self._judged
        sent = self._next - sequence
        if now - then < JUDGED_SECONDS or sent < JUDGED_FROM:
            return
        if self._datagrams - datagrams >= sent * LEAST_SHARE:
            self._lacks_since = now
        elif now - self._lacks_since >= FOLLOWS_WITHIN:
            self.stop("it can't follow")
        self._judged = now, self._next, self._datagrams

    def _judge_anew(self, now: float) -> None:
        self._judged, self._lacks_since = (now, self._next, self._datagrams), now

    def _report(self, leaving: bool) -> None:
        """Tell the sender how it goes. What gets lost of these does no harm: the next one has everything."""
        if self._reports is None:
            return
        self._number = next_number(self._number)
        front = self.candidates.front[0]
        report = Report(
            self._name,
            self._number,
            leaving,
            self._next,
            self._datagrams,
            self._payload,
            int(time.monotonic() * 1e6),
            self._wanted.next_wanted(min(front, self._pieces)),
            self._wanted.is_undecided(),
        )
        with contextlib.suppress(OSError):
            self._reports.send(self._keys.pack_report(report))

    # --- datagrams

    def _take(self, wait: bool) -> bool:
        """One call's datagrams; whether some were of this cast.

        Raises BlockingIOError where there are none at all, for a while if it is to `wait`.
        """
        if self._batches is not None:
            return self._take_batch(self._batches, wait)
        count, segment, where = self._socket.receive(self._buffer, wait)
        if segment < HEADER_BYTES:
            return False
        if where[:2] != self._sender and not self._meets(where, min(count, segment)):
            return False
        number = -(-count // segment)
        self._singles = self._singles + 1 if number == 1 else 0
        if self._singles > SINGLES and available():
            self._singles = 0
            self._socket.coalesce(False)
            self._batches = Batches(self._buffer, self._longest)
        came = self._take_run(Run(0, number, count - (number - 1) * segment), segment)
        if came:
            self._longest = max(self._longest, segment)
        return came

    def _take_batch(self, batches: Batches, wait: bool) -> bool:
        came = False
        try:
            for run in batches.receive(self._socket.socket, wait):
                came = self._take_run(run, batches.length) or came
        finally:
            if wait and not came:  # another sender, or other lengths: see who it is
                self._batches = None
                self._socket.coalesce(True)
        return came

    def _take_run(self, run: Run, segment: int) -> bool:
        """Datagrams of `segment` bytes that lie one after the other; whether one was of this cast."""
        number = run.number
        if run.last < HEADER_BYTES:
            number -= 1
            run = Run(run.first, number, segment)
            if number == 0:
                return False
        first = parse_head(self._buffer, run.first * segment)
        if number == 1 or self._straight(first, run, segment):
            return self._take_straight(first, run, segment)
        came = False
        for place in range(run.first, run.first + number):  # not only of this cast, or out of order
            last = run.last if place == run.first + number - 1 else segment
            head = parse_head(self._buffer, place * segment)
            came = self._take_straight(head, Run(place, 1, last), segment) or came
        return came

    def _straight(self, first: Head, run: Run, segment: int) -> bool:
        """Whether a run goes on from its first datagram to its last one without a gap, and with right tags.

        Nobody has to look at those between: what somebody adds, or leaves away, moves the last one.
        """
        _, sequence, piece, offset, size = first
        if size != segment - HEADER_BYTES:
            return False
        ahead = run.number - 1
        sequence, offset = sequence + ahead, offset + ahead * size
        tag = self._tag(sequence, piece, offset, size, run.last)
        at = (run.first + ahead) * segment
        return self._buffer[at : at + HEADER_BYTES] == pack_head(tag, sequence, piece, offset, size)

    def _take_straight(self, head: Head, run: Run, segment: int) -> bool:
        """Datagrams that follow each other; False if they are not of this cast."""
        tag, sequence, piece, offset, size = head
        if tag != self._tag(sequence, piece, offset, size, run.last if run.number == 1 else segment):
            return False
        parts = self._parts(run, segment)
        length = (run.number - 1) * head.size + run.last - HEADER_BYTES
        self._accept(head, run.number if length else 0, parts, length)
        return True

    def _accept(self, head: Head, number: int, parts: list[memoryview], length: int) -> None:
        """Datagrams that carry the cast's tag; none where the sender only says where it is."""
        if not self.heard:
            self.heard = True
            self._next = head.sequence
            self._judge_anew(time.monotonic())
        piece = head.piece
        further, taken = self.candidates.take(piece, head.offset, parts, length)
        new = min(number, head.sequence + number - self._next)  # anybody may repeat what came
        if new > 0:
            self._next = head.sequence + number
            if taken is not Taken.NO_ROOM:  # it is lost for want of room: the sender has to slow down
                self._datagrams += new
                self._payload += length if new == number else new * head.size
        if piece >= self._pieces and not self._ended:
            self._ended = further = True
        if further or taken is Taken.COMPLETED:
            self.wake()

    def _meets(self, where: tuple[str, int], length: int) -> bool:
        """Whether to take datagrams from there, the first one of `length` bytes.

        Not while another is heard, since anybody may repeat them. Counts begin with its first one.
        """
        tag, sequence, piece, offset, size = parse_head(self._buffer, 0)
        if tag != self._tag(sequence, piece, offset, size, length):
            return False
        if self.heard and time.monotonic() - self._last < DEAF_TO_OTHERS:
            return False
        self.heard = self._ended = False
        self._sender = where[0], where[1]
        self._datagrams = self._payload = 0
        if self._reports is not None:
            self._reports.close()
        self._reports = report_socket(self._own, where)
        return True

    def _tag(self, sequence: int, piece: int, offset: int, size: int, length: int) -> bytes:
        """The right one for a datagram of `length` bytes; none for lengths that no sender has."""
        count = length - HEADER_BYTES
        if not max(LEAST_PAYLOAD, count) <= size <= MAX_DATAGRAM or (count and offset % size):
            return b""
        zone = zone_of(sequence, piece, offset, size)
        tags = self._tags.get(zone)
        if tags is None:
            if len(self._tags) > 256:
                self._tags.clear()
            tags = self._tags[zone] = self._keys.tags(zone)
        at = tag_at(offset, size) if count else 0
        return tags[at : at + TAG_BYTES]

    # --- views that are made once

    def _parts(self, run: Run, segment: int) -> list[memoryview]:
        """The bytes of a run's datagrams, without their heads."""
        whole = self._views.get(segment)
        if whole is None:
            if len(self._views) > 8:
                self._views.clear()
            starts = range(0, len(self._buffer) - HEADER_BYTES + 1, segment)
            whole = [self._buffer[start + HEADER_BYTES : start + segment] for start in starts]
            self._views[segment] = whole
        parts = whole[run.first : run.first + run.number]
        if run.last != segment:
            parts[-1] = parts[-1][: run.last - HEADER_BYTES]
        return parts
