"""Receive a group's datagrams, reassemble pieces from them, and report to the sender what arrived.

One thread for each delivery. It checks tags, reports, and writes complete pieces; the thread with the
upstream's connection does the rest. A receiver that gets too small a share of what is sent leaves.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple, Optional

from castray_desktop.core.multicast.datagrams import (
    HEADER_BYTES,
    TAG_BYTES,
    DatagramHeader,
    DatagramKeys,
    ReceiverReport,
    first_report_number,
    next_report_number,
    parse_datagram_header,
    receiver_id,
)
from castray_desktop.core.protocol.nodes.cast_parcel import MulticastGroup
from castray_desktop.workers.agent.transfer.multicast.multicast_sockets import (
    MAX_MESSAGE_BYTES,
    BatchReceiver,
    ReceivingSocket,
    report_socket,
)
from castray_desktop.workers.agent.transfer.multicast.reassembly import (
    AcceptResult,
    PieceWriter,
    ReassemblyBuffer,
)
from castray_desktop.workers.agent.transfer.store.receive_store import ReceiveStore

BATCH_BYTES = 1 << 18
"""Bytes received at once: they stay in the processor's cache until they are copied to their piece."""

_NOTHING = memoryview(b"")

MIN_RATIO_SECONDS = 0.5

MIN_RATIO = 0.5
"""A receiver that gets less than this share for half a second can't keep up."""

JUDGED_SECONDS = 0.1

JUDGED_FROM = 30
"""Check interval and minimum number of datagrams: a sender that started too fast for all has slowed down
before half a second is over."""

FIRST_DATAGRAM_SECONDS = 2.0
"""Timeout for the first datagram; then this network does not support multicast. On a busy machine it takes a
second until the source has its order."""

SILENCE_SECONDS = 1.0
"""Timeout after a datagram: the sender has ended, or a filter blocks datagrams."""

SENDER_LOCK_SECONDS = 0.3
"""Seconds of silence after which datagrams of another sender are considered."""

MAX_SINGLE_DATAGRAMS = 256
"""The kernel does not coalesce if this many datagrams in a row came alone."""

WAIT_SECONDS = 0.02
"""Timeout of a receive call: `stop` takes effect within this time."""

BEGINNING_SECONDS, BEGINNING_SHARE, LEAST_REPORT_SECONDS = 0.5, 0.3, 0.01
"""Initially, reports are sent at a shorter interval while the sender searches its rate: duration, share of
the usual interval, minimum interval."""

NAP_BYTES = 3 << 19
"""Between reports, the thread sleeps until about this many bytes have arrived: waking up for every burst is
expensive, and more bytes would not fit the processor's cache."""

WAITING_SHARE, GIGABIT = 0.25, 125e6
"""While sleeping, at most this share of the kernel's buffer may fill, at the current rate or at this many
bytes per second."""

CROWDED_SHARE = 0.5
"""A report tells the sender if more than this share of the kernel's buffer is in use."""

LAST_REPORTS = 3

log = logging.getLogger("castray.byte_plane")


class DatagramRun(NamedTuple):
    """Consecutive datagrams with valid tags."""

    head: DatagramHeader  # header of the first one
    number: int  # datagrams with payload; 0 if the sender only tells its position
    data: memoryview


class DatagramParser:
    """Sorts received messages into runs. Only the tags are trusted.

    All tags of a run are compared at once. The first and last alone are not enough: a lost datagram may have
    been replaced by a forged one.
    """

    def __init__(self, batches: BatchReceiver, keys: DatagramKeys) -> None:
        self._batches = batches
        self._keys = keys
        self._seen = batches.heads.cast("Q")[:: HEADER_BYTES // TAG_BYTES]
        self.singles = 0
        """Number of datagrams in a row that were not coalesced."""

    def runs(self, lengths: list[int]) -> Iterator[DatagramRun]:
        """Runs in the messages of these lengths. They are valid until the next messages are received."""
        self._count_singles(lengths)
        size = self._batches.size
        for begin, number, last in self._contiguous(lengths):
            place, end = begin, begin + number
            while place < end:
                head = parse_datagram_header(self._batches.heads, place * HEADER_BYTES)
                valid = self._valid_prefix(head, place, end - place, last)
                if valid:
                    after = (place + valid) * size
                    if place + valid == end:
                        after -= size + HEADER_BYTES - last
                    yield DatagramRun(head, valid, self._batches.payloads[place * size : after])
                elif place + 1 == end and last == HEADER_BYTES and self._keys.is_genuine(head, 0):
                    yield DatagramRun(head, 0, _NOTHING)
                place += valid or 1

    def _count_singles(self, lengths: list[int]) -> None:
        alone = max(lengths, default=0) <= self._batches.size + HEADER_BYTES
        self.singles = self.singles + len(lengths) if alone else 0

    def _contiguous(self, lengths: list[int]) -> Iterator[tuple[int, int, int]]:
        """Ranges of datagrams without a gap in memory, all full except the last: slot, number, bytes of the
        last."""
        together, segment = self._batches.together, self._batches.size + HEADER_BYTES
        full = together * segment
        place = 0
        for number, length in enumerate(lengths, 1):
            if length != full or number == len(lengths):
                after = number * together
                of_this = -(-length // segment)
                count = after - together - place + of_this
                if count:
                    yield place, count, length - (of_this - 1) * segment if of_this else segment
                place = after

    def _valid_prefix(self, head: DatagramHeader, place: int, number: int, last: int) -> int:
        """The number of datagrams with the tags that follow from the first one's sequence number."""
        if last <= HEADER_BYTES:
            number -= 1
        if not number or head.size != self._batches.size or head.offset % head.size:
            return 0
        expected = memoryview(self._keys.tags(head, number)).cast("Q")
        return _equal_prefix(self._seen[place : place + number], expected)


def _equal_prefix(some: memoryview, others: memoryview) -> int:
    """Length of the common prefix of two equally long sequences."""
    if some == others:
        return len(some)
    return next(number for number, (one, other) in enumerate(zip(some, others)) if one != other)


class DeliveryRatio:
    """Share of the sent datagrams that were received."""

    def __init__(self) -> None:
        self._then, self._sent, self._came = 0.0, 0, 0  # time and counts of the last check
        self._small_since = 0.0

    def restart(self, now: float, sent: int, came: int) -> None:
        """Start measuring: the number of datagrams sent and received before."""
        self._then, self._sent, self._came = now, sent, came
        self._small_since = now

    def is_too_small(self, now: float, sent: int, came: int) -> bool:
        """Whether less than half was received in every recent check."""
        datagrams = sent - self._sent
        if now - self._then < JUDGED_SECONDS or datagrams < JUDGED_FROM:
            return False
        if came - self._came >= datagrams * MIN_RATIO:
            self._small_since = now
        self._then, self._sent, self._came = now, sent, came
        return now - self._small_since >= MIN_RATIO_SECONDS


SLOW_WRITES, DEFERRAL_SECONDS = 4, 1.0
"""If writing a piece takes too long for the socket's buffer this many times in a row, writing is left to the
other thread for this many seconds, doubled each time. A single slow write is ignored, since the processor may
have been busy."""


class MulticastReceiver:
    """Receives one cast's datagrams until `stop`, or until it can't keep up.

    `wake_fd` becomes readable when there is work for the thread that checks and writes.
    """

    def __init__(
        self,
        group: MulticastGroup,
        own: str,
        node: str,
        keys: DatagramKeys,
        store: ReceiveStore,
    ) -> None:
        """Joins the group. Raises OSError. `own` is this machine's address."""
        self.reassembly = ReassemblyBuffer(store.pieces.layout, store.needed)
        self.writer = PieceWriter(store, self.reassembly)
        self.has_received = False
        self.reason = ""  # why it has left, unless it was stopped
        self.group = group
        self._own = own
        self._name = receiver_id(node)
        self._node = node
        self._keys = keys
        self._store = store
        self._layout = store.pieces.layout
        self._pieces = self._layout.pieces
        self._stopped = False
        self._socket = ReceivingSocket(group, own)
        self._socket.set_timeout(WAIT_SECONDS)
        self._waiting = WAITING_SHARE * self._socket.buffer_size
        self._slept = (0.0, 0)  # time of the last sleep, and payload received by then
        self._reports: Optional[socket.socket] = None
        self._sender: tuple[str, int] = ("", 0)
        self._sender_known = False
        self._batches: Optional[BatchReceiver] = None  # set once the sender is known
        self._first = memoryview(
            bytearray(MAX_MESSAGE_BYTES)
        )  # a sender's first datagrams, which are dropped
        self._sender_advanced = False  # the sender has reached another piece
        self._completed = False  # there are complete pieces
        self._rate = GIGABIT
        self._writes_from = 0.0  # writing is left to the other thread until then
        self._deferral = DEFERRAL_SECONDS
        self._slow_writes = 0  # in a row
        self._began = 0.0  # time of this sender's first datagram
        self._clock = 0.0  # all datagrams that arrived by then were processed
        self._last = 0.0  # time of the last datagram
        self._next = 0  # highest received sequence number plus one
        self._datagrams = 0
        self._payload = 0
        self._number = first_report_number(time.time())
        self._share = DeliveryRatio()
        self._ended = False
        self.wake_fd, self._waking = os.pipe()
        os.set_blocking(self.wake_fd, False)
        os.set_blocking(self._waking, False)
        self._thread = threading.Thread(target=self._run, name="castray-multicast-receiver", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_active(self) -> bool:
        """Whether it still receives datagrams."""
        return not self._stopped

    @property
    def ended(self) -> bool:
        """Whether no more datagrams are expected: missing bytes must be requested."""
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
        """Make `wake_fd` readable."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._waking, b"x")

    def clear_wake(self) -> None:
        """Reset `wake_fd`."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.wake_fd, 4096)

    # --- the thread

    def _run(self) -> None:
        started = reported = self._last = time.monotonic()
        try:
            while not self._stopped:
                came, drained = self._take_all()
                now = time.monotonic()
                if self._store.pieces.paused:
                    started = self._last = now
                    self._share.restart(now, self._next, self._datagrams)
                if came:
                    self._last = now
                elif not self.has_received and now - started > FIRST_DATAGRAM_SECONDS:
                    self.stop("nothing came to the group")
                elif self.has_received and now - self._last > SILENCE_SECONDS:
                    self.stop("nothing comes to the group any more")
                if now - self._last > SENDER_LOCK_SECONDS:
                    self._sender_known = False  # the next datagram may be from another sender
                if self.has_received and now - reported > self._interval(now):
                    self._report(False)
                    if self._share.is_too_small(now, self._next, self._datagrams):
                        self.stop("it can't follow")
                    reported = now
                if came and drained:
                    self._nap(now)
        except OSError as error:
            self.stop(error.strerror or str(error))
        except Exception:
            log.exception("receiving multicast on %s", self._node)
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
        """Sleep while datagrams accumulate, but not beyond the end of the stream."""
        then, payload = self._slept
        rate = (self._payload - payload) / max(now - then, 0.001)
        self._rate = max(rate, GIGABIT)
        left = (self._pieces - self.reassembly.front[0]) * self._layout.piece_bytes
        nap = min(self._interval(now), self._waiting / self._rate, min(NAP_BYTES, left) / max(rate, 1.0))
        time.sleep(max(now + nap - time.monotonic(), 0.0))
        self._slept = now, self._payload

    def _leave(self) -> None:
        if self.reason:
            log.info("%s leaves %s: %s", self._node, self.group.address, self.reason)
        for _ in range(LAST_REPORTS):
            self._report(True)
        self._socket.close()
        if self._reports is not None:
            self._reports.close()
        self.wake()
        self._store.pieces.report_state()

    def _report(self, leaving: bool) -> None:
        """Send a report to the sender. Lost reports do no harm: the next one is complete."""
        if self._reports is None:
            return
        self._number = next_report_number(self._number)
        front = self.reassembly.front[0]
        report = ReceiverReport(
            self._name,
            self._number,
            leaving,
            self._next,
            self._datagrams,
            self._payload,
            int(self._arrived() * 1e6),
            self._store.needed.next_from(min(front, self._pieces)),
            self._store.needed.is_undecided(),
            self._socket.buffer_usage() > CROWDED_SHARE,
        )
        with contextlib.suppress(OSError):
            self._reports.send(self._keys.pack_report(report))

    def _arrived(self) -> float:
        """Arrival time of the latest processed datagram, by this machine's monotonic clock.

        Taken from the kernel's timestamp, independent of when this thread ran; otherwise the time of the last
        check. Else it is the last look.
        """
        waited = self._socket.latest_age()
        return self._clock if waited is None else time.monotonic() - waited

    # --- the sender

    def _identify_sender(self, wait: bool) -> None:
        """Identify the sender from one call's datagrams, which are not processed.

        Not while another sender is active, since anybody may replay its datagrams. Counters start with its
        first datagram. Raises BlockingIOError if there are no datagrams (with `wait`: within the timeout).
        """
        count, segment, where = self._socket.receive(self._first, wait)
        length = min(count, segment)
        if length < HEADER_BYTES:
            return
        head = parse_datagram_header(self._first, 0)
        if not self._keys.is_genuine(head, length - HEADER_BYTES):
            return
        if where[:2] != self._sender:
            if self.has_received and time.monotonic() - self._last < SENDER_LOCK_SECONDS:
                return
            self.has_received = self._ended = False
            self._sender = where[0], where[1]
            self._datagrams = self._payload = 0
            if self._reports is not None:
                self._reports.close()
            self._reports = report_socket(self._own, where)
        if self._batches is None or self._batches.size != head.size:
            self._set_batches(head.size, MAX_MESSAGE_BYTES // (head.size + HEADER_BYTES))
        self._sender_known, self._last = True, time.monotonic()
        self._clock = self._last
        self._accept(DatagramRun(head, 0, _NOTHING))

    def _set_batches(self, size: int, together: int) -> None:
        """Set the datagram size and the number that the kernel may coalesce."""
        self._socket.coalesce(together > 1)
        self._batches = BatchReceiver(size, BATCH_BYTES // size, together)
        self._parser = DatagramParser(self._batches, self._keys)

    # --- datagrams

    def _take_all(self) -> tuple[bool, bool]:
        """Wait for datagrams and process them until the next report is due.

        Returns whether some were of this cast, and whether the queue is empty.
        """
        began = time.monotonic()
        until = began + self._interval(began)
        came = drained = self._sender_advanced = self._completed = left = False
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
            if self._completed:
                self._completed = False
                left = not self._write() or left
            if time.monotonic() > until:
                break
            wait = False
        lacks = self._sender_advanced and self.reassembly.has_missing()
        if left or lacks or self._ended or self._store.is_complete():
            self.wake()
        if self._store.pieces.wake_pending:
            self._store.pieces.notify_waiting()
        return came, drained

    def _write(self) -> bool:
        """Write complete pieces; False if work is left for the other thread."""
        began = time.monotonic()
        if began < self._writes_from:
            self.writer.defer()
            return False
        if not self.writer.write_now():
            return False
        end = time.monotonic()
        self._slow_writes = self._slow_writes + 1 if end - began > self._waiting / self._rate else 0
        if self._slow_writes == SLOW_WRITES:
            self._slow_writes = 0
            self._writes_from, self._deferral = end + self._deferral, 2 * self._deferral
        return True

    def _take(self, wait: bool) -> tuple[bool, bool]:
        """Process the datagrams of one call; returns as `_take_all` does.

        Raises BlockingIOError if there are none (with `wait`: within the timeout).
        """
        taken = self._batches
        if not self._sender_known or taken is None:
            self._identify_sender(wait)
            return self._sender_known, False
        self._clock = time.monotonic()
        lengths = taken.receive(self._socket.socket, wait)
        if wait:
            self._clock = time.monotonic()
        came = False
        for run in self._parser.runs(lengths):
            came = True
            self._accept(run)
        if self._parser.singles > MAX_SINGLE_DATAGRAMS and taken.together > 1:
            self._set_batches(taken.size, 1)
        return came, len(lengths) < taken.most

    def _accept(self, run: DatagramRun) -> None:
        """Add datagrams with valid tags."""
        head = run.head
        if not self.has_received:
            self.has_received, self._began = True, time.monotonic()
            self._next = head.sequence
            self._share.restart(self._began, self._next, self._datagrams)
        further, taken = self.reassembly.accept(head.piece, head.offset, run.data)
        ahead = head.sequence + run.number - self._next  # anybody may replay datagrams
        if ahead > 0 and run.number:
            self._next += ahead
            if taken is not AcceptResult.NO_ROOM:  # dropped for lack of buffers: the sender must slow down
                new = min(run.number, ahead)
                self._datagrams += new
                self._payload += len(run.data) if new == run.number else new * head.size
        if head.piece >= self._pieces and not self._ended:
            self._ended = True
        self._sender_advanced = self._sender_advanced or further
        self._completed = self._completed or taken is AcceptResult.COMPLETED
