"""Listening to a group: datagrams become candidates, and the sender hears how many have come.

One thread for each delivery. It checks tags, reports, and places pieces that are whole as long as that is
quick; the rest is done by the thread that has the upstream's connection.
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
    Keys,
    Report,
    first_number,
    listener_name,
    next_number,
    parse_head,
)
from castray_desktop.workers.ray_side.byte_plane.buffers import page_buffer
from castray_desktop.workers.ray_side.byte_plane.multicast.batches import (
    Batches,
    batches,
)
from castray_desktop.workers.ray_side.byte_plane.multicast.candidates import (
    SLACK_BYTES,
    Candidates,
    Taken,
)
from castray_desktop.workers.ray_side.byte_plane.multicast.catch import NOBODYS, Catch, Run, Tags
from castray_desktop.workers.ray_side.byte_plane.multicast.placing import Placing, Recipient
from castray_desktop.workers.ray_side.byte_plane.multicast.share import Share
from castray_desktop.workers.ray_side.byte_plane.multicast.sockets import (
    MOST_AT_ONCE,
    ListeningSocket,
    report_socket,
)
from castray_desktop.workers.ray_side.protocol import MulticastGroup

log = logging.getLogger("castray.byte_plane")

HEARD_WITHIN = 0.6
"""Seconds until the first datagram; then this network does not carry them."""

SILENT_AFTER = 1.0
"""Seconds without one, after the first: the sender has gone, or a filter has come."""

DEAF_TO_OTHERS = 0.3
"""Seconds of silence after which another sender may be the right one."""

SINGLES = 256
"""So many datagrams in a row that came alone: the kernel does not put them together."""

WAIT_SECONDS = 0.02
BEGINNING_SECONDS, BEGINNING_SHARE, LEAST_REPORT_SECONDS = 0.5, 0.3, 0.01
"""So long reports come after such a share of their usual time, if not sooner than that after one another: the
sender looks for its pace."""

NAP_BYTES = 3 << 19
"""Between two reports it naps until about so many have come: waking up for every burst costs more than taking
it, and more of them would not stay in the processor's cache."""

WAITING_SHARE, GIGABIT = 0.25, 125e6
"""But no more than this share of the kernel's buffer is to fill meanwhile, at the present rate or at so many
bytes per second."""

CROWDED = 0.5
"""Where more than this share of the kernel's buffer is taken when it reports, it says so."""

SLOW_ONES, SLOW_SECONDS = 4, 1.0
"""Where placing a piece takes longer than that share bears, so many times in a row, the next ones are left to
the other thread for so long; twice as long each time. A single time says nothing: the processor was taken."""

LAST_REPORTS = 3


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
        delivery: Recipient,
        paused: Callable[[], bool],
    ) -> None:
        """Joins the group. Raises OSError. `own` is this machine's address."""
        self.candidates = Candidates(layout, delivery)
        self.placing = Placing(delivery, self.candidates)
        self.heard = False
        self.reason = ""  # why it has left, if not because it was told to
        self.group = group
        self._own = own
        self._name = listener_name(node)
        self._node = node
        self._keys = keys
        self._delivery = delivery
        self._layout = layout
        self._pieces = layout.pieces
        self._paused = paused
        self._stopped = False
        self._socket = ListeningSocket(group, own)
        self._socket.wait_at_most(WAIT_SECONDS)
        self._waiting = WAITING_SHARE * self._socket.room
        self._rested = (0.0, 0)  # when it was last, and the payload by then
        self._reports: Optional[socket.socket] = None
        self._sender: tuple[str, int] = ("", 0)
        self._tags = Tags(keys)
        self._met = False
        self._batches: Optional[Batches] = None  # once a sender is known
        self._spare = page_buffer(layout.piece_bytes + SLACK_BYTES)  # for what has no place of its own
        self._goes_on = (0, 0)  # piece and offset of what should come next
        self._further = False  # the sender has come to another piece
        self._whole = False  # there is something to place
        self._rate = GIGABIT
        self._places_from, self._rests = 0.0, SLOW_SECONDS  # before it, placing has taken too long
        self._slow = 0  # times in a row that it has
        self._began = 0.0  # when this sender was heard first
        self._clock = 0.0  # all that had come by then has been taken
        self._last = 0.0  # when something came
        self._next = 0  # the highest that was heard, plus one
        self._datagrams = 0
        self._payload = 0
        self._number = first_number(time.time())
        self._share = Share()
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
                came, drained = self._take_all()
                now = time.monotonic()
                if self._paused():
                    started = self._last = now
                    self._share.begin(now, self._next, self._datagrams)
                if came:
                    self._last = now
                elif not self.heard and now - started > HEARD_WITHIN:
                    self.stop("nothing came to the group")
                elif self.heard and now - self._last > SILENT_AFTER:
                    self.stop("nothing comes to the group any more")
                if now - self._last > DEAF_TO_OTHERS:
                    self._met = False  # whoever comes next may be another one
                if self.heard and now - reported > self._interval(now):
                    self._report(False)
                    if self._share.is_too_small(now, self._next, self._datagrams):
                        self.stop("it can't follow")
                    reported = now
                if came and drained:
                    self._nap(now)
        except OSError as error:
            self.stop(error.strerror or str(error))
        except Exception:
            log.exception("listening on %s", self._node)
            self.stop("it failed")
        finally:
            self._leave()

    def _interval(self, now: float) -> float:
        """Seconds between two reports."""
        usual = self.group.report_seconds
        if now - self._began > BEGINNING_SECONDS:
            return usual
        return max(BEGINNING_SHARE * usual, LEAST_REPORT_SECONDS)

    def _nap(self, now: float) -> None:
        """Let datagrams come together, but not beyond the end."""
        then, payload = self._rested
        rate = (self._payload - payload) / max(now - then, 0.001)
        self._rate = max(rate, GIGABIT)
        left = (self._pieces - self._goes_on[0]) * self._layout.piece_bytes
        nap = min(self._interval(now), self._waiting / self._rate, min(NAP_BYTES, left) / max(rate, 1.0))
        time.sleep(max(now + nap - time.monotonic(), 0.0))
        self._rested = now, self._payload

    def _leave(self) -> None:
        if self.reason:
            log.info("%s leaves %s: %s", self._node, self.group.address, self.reason)
        for _ in range(LAST_REPORTS):
            self._report(True)
        self._socket.close()
        if self._reports is not None:
            self._reports.close()
        self.wake()
        self._delivery.stated()

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
            int(self._arrived() * 1e6),
            self._delivery.next_wanted(min(front, self._pieces)),
            self._delivery.is_undecided(),
            self._socket.filled() > CROWDED,
        )
        with contextlib.suppress(OSError):
            self._reports.send(self._keys.pack_report(report))

    def _arrived(self) -> float:
        """When the latest datagram that was taken had come, by this machine's clock, in seconds.

        The kernel knows it, however long this thread was not run. Else it is the last look.
        """
        waited = self._socket.waited()
        return self._clock if waited is None else time.monotonic() - waited

    # --- the sender

    def _meet(self, wait: bool) -> None:
        """Look who is there, by one call's datagrams; they are not taken.

        Not while another one is heard, since anybody may repeat what it sends. Counts begin with its first
        datagram. Raises BlockingIOError where there are none at all, for a while if it is to `wait`.
        """
        count, segment, where = self._socket.receive(self._spare, wait)
        length = min(count, segment)
        if length < HEADER_BYTES:
            return
        head = parse_head(self._spare, 0)
        if not self._tags.is_right(head, length - HEADER_BYTES):
            return
        if where[:2] != self._sender:
            if self.heard and time.monotonic() - self._last < DEAF_TO_OTHERS:
                return
            self.heard = self._ended = False
            self._sender = where[0], where[1]
            self._datagrams = self._payload = 0
            if self._reports is not None:
                self._reports.close()
            self._reports = report_socket(self._own, where)
        if self._batches is None or self._batches.size != head.size:
            self._take_many(head.size, MOST_AT_ONCE // (head.size + HEADER_BYTES))
        self._met, self._last = True, time.monotonic()
        self._clock = self._last
        self._accept(Run(head, 0, self._spare[:0], in_place=False))

    def _take_many(self, size: int, together: int) -> None:
        """Take datagrams of such a size from now on, of which the kernel may put so many together."""
        self._socket.coalesce(together > 1)
        self._batches = batches(size, -(-self._layout.piece_bytes // size), together)
        self._catch = Catch(self._batches, self._tags)

    # --- datagrams

    def _take_all(self) -> tuple[bool, bool]:
        """Wait for datagrams and take them until it is time for a report.

        Whether some were of this cast, and whether no more are there.
        """
        began = time.monotonic()
        until = began + self._interval(began)
        came = drained = self._further = self._whole = left = False
        wait = False
        while not drained:
            try:
                some, drained = self._take(wait)
            except BlockingIOError:
                if came or wait:
                    drained = True
                    break
                wait = True
                continue
            came = came or some
            if self._whole:
                self._whole = False
                left = not self._place() or left
            if time.monotonic() > until:
                break
            wait = False
        lacks = self._further and self.candidates.lacks()
        if left or lacks or self._ended or self._delivery.is_complete():
            self.wake()
        if self._delivery.unwoken:
            self._delivery.wake()
        return came, drained

    def _place(self) -> bool:
        """Place what is whole; False where the other thread has something to do."""
        began = time.monotonic()
        if began < self._places_from:
            self.placing.leave()
            return False
        if not self.placing.place_at_once():
            return False
        ends = time.monotonic()
        self._slow = self._slow + 1 if ends - began > self._waiting / self._rate else 0
        if self._slow == SLOW_ONES:
            self._slow = 0
            self._places_from, self._rests = ends + self._rests, 2 * self._rests
        return True

    def _take(self, wait: bool) -> tuple[bool, bool]:
        """The same for one call. Datagrams come to lie where they belong, if they are those that are due.

        Raises BlockingIOError where there are none at all, for a while if it is to `wait`.
        """
        taken, (piece, offset) = self._batches, self._goes_on
        if not self._met or taken is None:
            self._meet(wait)
            return self._met, False
        memory, first, end = self.candidates.land(piece, offset), 0, taken.most
        if memory is None:
            memory, piece = self._spare, NOBODYS
        else:
            low, high = self._layout.piece(piece)
            first, end = offset // taken.size, -(-(high - low) // taken.size)
        came, self._clock = False, time.monotonic()
        try:
            lengths = taken.receive(self._socket.socket, memory, first, end, wait)
            if wait:
                self._clock = time.monotonic()
            for run in self._catch.runs(memory, piece, first, lengths):
                came = True
                self._accept(run)
        finally:
            self.candidates.landed()
        if self._catch.singles > SINGLES and taken.together > 1:
            self._take_many(taken.size, 1)
        return came, len(lengths) * taken.together < end - first

    def _accept(self, run: Run) -> None:
        """Take datagrams that carry the cast's tags."""
        head = run.head
        if not self.heard:
            self.heard, self._began = True, time.monotonic()
            self._next = head.sequence
            self._share.begin(self._began, self._next, self._datagrams)
        further, taken = self.candidates.take(head.piece, head.offset, run.data, run.in_place)
        ahead = head.sequence + run.number - self._next  # anybody may repeat what came
        if ahead >= 0:
            self._goes_on = self._after(run)
        if ahead > 0 and run.number:
            self._next += ahead
            if taken is not Taken.NO_ROOM:  # it is lost for want of room: the sender has to slow down
                new = min(run.number, ahead)
                self._datagrams += new
                self._payload += len(run.data) if new == run.number else new * head.size
        if head.piece >= self._pieces and not self._ended:
            self._ended = True
        self._further = self._further or further
        self._whole = self._whole or taken is Taken.COMPLETED

    def _after(self, run: Run) -> tuple[int, int]:
        """Piece and offset of what should follow."""
        piece, end = run.head.piece, run.head.offset + len(run.data)
        low, high = self._layout.piece(min(piece, self._pieces - 1))
        return (piece, end) if end < high - low else (piece + 1, 0)
