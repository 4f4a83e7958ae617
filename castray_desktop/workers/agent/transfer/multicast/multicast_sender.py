"""Send a cast's stream to a multicast group, once, at the rate that its receivers can take.

One thread. Probes go out until receivers report that they hear them, then every piece in order as soon as
the source has read it, then probes again that say where the end is. The relay brings what does not
arrive.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Sequence
from typing import Optional

from castray_desktop.core.multicast.congestion_control import MIN_RATE, MulticastCongestionControl
from castray_desktop.core.multicast.datagrams import (
    TAG_BYTES,
    DatagramHeader,
    DatagramKeys,
    InvalidReportError,
    MulticastEnd,
    MulticastState,
    ReceiverReport,
    is_newer_report,
    pack_datagram_header,
    receiver_id,
)
from castray_desktop.core.protocol.nodes.agent_orders import SendToGroup
from castray_desktop.core.protocol.nodes.agent_reports import MulticastReport
from castray_desktop.core.protocol.nodes.cast_parcel import MulticastGroup
from castray_desktop.workers.agent.transfer.multicast.multicast_sockets import Datagram, SendingSocket
from castray_desktop.workers.agent.transfer.store.piece_store import PieceStore, StoreGoneError, read_some
from castray_desktop.workers.agent.transfer.system.file_io import page_buffer

PROBE_SECONDS = 0.02
"""Interval of probes before the first piece and after the last one."""

IDLE_PROBE_SECONDS = 0.1
"""Interval of probes while nothing else is sent."""

FIRST_REPORT_SECONDS = 2.0
"""Seconds until a receiver must have got a probe; otherwise the network does not carry multicast."""

JOIN_SECONDS = 0.25
"""Seconds to wait for further receivers after the first one is ready."""

DECIDE_SECONDS = 2.0
"""The same, while one of them compares existing files."""

SLOW_SECONDS = 2.0
"""After this time at the minimum rate it stops."""

FINISH_SECONDS = 1.0
"""Seconds of probes after the end, for receivers that have not confirmed it."""

DEBT_SECONDS = 0.008
"""Delayed datagrams are sent at once later on, up to this much time's worth."""

NAP_SECONDS = 0.001
"""Shorter sleeps are skipped: waking up costs as much as sending."""

FULL_SECONDS = 0.001
"""Wait time if the device's queue is full."""

PIECE_SECONDS = 0.05
"""Wait time for a piece that the source has not read yet."""

REPORT_POLL_SECONDS = 0.005
"""Interval of reading reports while sending."""

MAX_REPORTS = 256
"""Maximum number of reports read before sending goes on."""

log = logging.getLogger("castray.byte_plane")


class PieceDatagrams:
    """Builds the datagrams of one piece at a time, with `payload` bytes in each."""

    def __init__(self, pieces: PieceStore, keys: DatagramKeys, payload: int) -> None:
        self._pieces = pieces
        self._keys = keys
        self._payload = payload
        self._memory = page_buffer(pieces.layout.piece_bytes)

    def of_piece(self, index: int, sequence: int) -> list[Datagram]:
        """Header and payload of each datagram of an available piece, numbered from `sequence` on.

        They are valid until the next call. Raises StoreGoneError or OSError.
        """
        size, view = self._payload, self._read(index)
        number = -(-len(view) // size)
        tags = self._keys.tags(DatagramHeader(b"", sequence, index, 0, size), number)
        return [
            (
                pack_datagram_header(
                    tags[at * TAG_BYTES : (at + 1) * TAG_BYTES], sequence + at, index, at * size, size
                ),
                view[at * size : (at + 1) * size],
            )
            for at in range(number)
        ]

    def _read(self, index: int) -> memoryview:
        start, end = self._pieces.layout.piece(index)
        where = self._pieces.within_file(index)
        if where is None:
            return memoryview(self._pieces.piece_bytes(index))
        view = self._memory[: end - start]
        with self._pieces.open_files.borrow(where[0]) as fd:
            count = read_some(fd, where[1], view)
        view[count:] = bytes(len(view) - count)  # the file was truncated: zeros, as in the relay
        return view


class _SenderStoppedError(Exception):
    """Raised internally to end the thread; the reason was recorded."""


class MulticastSender:
    """Sends until everything was sent, or `stop`."""

    def __init__(
        self,
        pieces: PieceStore,
        order: SendToGroup,
        own: str,
        ports: Optional[tuple[int, int]],
        keys: DatagramKeys,
    ) -> None:
        assert order.group is not None
        self._pieces = pieces
        self._group: MulticastGroup = order.group
        self._own = own
        self._ports = ports
        self._keys = keys
        self._names: dict[bytes, str] = {}
        self._pace = MulticastCongestionControl(())
        self._state = MulticastState.WAITING
        self._end: Optional[MulticastEnd] = None
        self._reason = ""
        self._stopped: Optional[MulticastEnd] = None
        self._sent = 0
        self._sequence = 0
        self._at = (0, 0)  # next piece and offset
        self._reports: dict[bytes, ReceiverReport] = {}  # the last one of each receiver
        self._heard = 0  # receivers of which one has come
        self._followers: tuple[str, ...] = ()  # receivers that keep up
        self._due = 0.0
        self._reports_read_at = 0.0
        self._slow_since = 0.0
        self._probed = 0.0
        self.set_receivers(order.listeners)
        self._thread = threading.Thread(target=self._run, name=f"castray-multicast-{order.cast}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def active(self) -> bool:
        """Whether it is still running."""
        return self._state in (MulticastState.WAITING, MulticastState.SENDING)

    def set_receivers(self, nodes: Sequence[str]) -> None:
        """The names of the nodes that were told to join. From any thread."""
        self._names = {receiver_id(node): node for node in nodes}

    def stop(self, end: MulticastEnd = MulticastEnd.ORDERED) -> None:
        """Request the end. From any thread."""
        self._stopped = self._stopped or end

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def report(self) -> MulticastReport:
        return MulticastReport(
            state=self._state,
            end=self._end,
            reason=self._reason,
            listeners=self._followers,
            sent_bytes=self._sent,
            rate=round(self._pace.rate) if self.active else 0,
        )

    # --- the thread

    def _run(self) -> None:
        try:
            self._socket = SendingSocket(self._group, self._own, self._ports)
        except OSError as error:
            self._finish(MulticastState.STOPPED, MulticastEnd.NO_NETWORK, error.strerror or str(error))
            return
        try:
            self._datagrams = PieceDatagrams(self._pieces, self._keys, self._socket.payload)
            self._await_receivers()
            self._set_state(MulticastState.SENDING)
            self._send_all()
            self._finish(MulticastState.DONE)
            self._send_end()
        except _SenderStoppedError:
            self._finish(MulticastState.STOPPED, self._end)
        except StoreGoneError:
            self._finish(MulticastState.STOPPED, MulticastEnd.ORDERED)
        except OSError as error:
            self._finish(MulticastState.STOPPED, MulticastEnd.NO_NETWORK, error.strerror or str(error))
        except Exception as error:
            log.exception("multicast of cast %s", self._pieces.cast)
            self._finish(MulticastState.STOPPED, MulticastEnd.NO_NETWORK, f"{type(error).__name__}: {error}")
        finally:
            self._socket.close()

    def _set_state(self, state: MulticastState) -> None:
        self._state = state
        self._pieces.report_state()

    def _finish(self, state: MulticastState, end: Optional[MulticastEnd] = None, reason: str = "") -> None:
        self._end, self._reason = end, reason
        if end is not None:
            log.info("multicast of cast %s stopped: %s %s", self._pieces.cast, end.value, reason)
        self._set_state(state)

    def _stop_with(self, end: MulticastEnd) -> _SenderStoppedError:
        self._end = end
        return _SenderStoppedError()

    # --- its three parts

    def _await_receivers(self) -> None:
        """Send probes until the receivers are ready."""
        started, first = time.monotonic(), 0.0
        while True:
            self._check()
            now = time.monotonic()
            if self._pieces.paused:
                started = now
            heard = len(self._reports)
            if heard and not first:
                first = now
            if heard and not self._must_wait(heard, now - first):
                break
            if not heard and now - started > FIRST_REPORT_SECONDS:
                raise self._stop_with(MulticastEnd.NOTHING_ARRIVES)
            self._probe()
            self._receive_reports(PROBE_SECONDS)
        self._pace = MulticastCongestionControl([report.receiver for report in self._present()])
        self._due = time.monotonic()

    def _must_wait(self, heard: int, seconds: float) -> bool:
        """Whether to wait longer for missing receivers or for those that compare existing files."""
        if any(report.undecided for report in self._present()):
            return seconds < DECIDE_SECONDS
        return heard < len(self._names) and seconds < JOIN_SECONDS

    def _send_all(self) -> None:
        layout = self._pieces.layout
        piece = self._skip(0)
        while piece < layout.pieces:
            self._at = piece, 0
            while not self._pieces.wait_piece(piece, PIECE_SECONDS):
                self._pause(0.0)  # not read yet by the source
            self._send_piece(piece)
            piece = self._skip(piece + 1)

    def _send_end(self) -> None:
        """Send end probes until every active receiver has left or should have got them."""
        self._at = self._pieces.layout.pieces, 0
        until = time.monotonic() + FINISH_SECONDS
        while time.monotonic() < until and self._present():
            if self._stopped is not None:
                return
            self._probe()
            self._receive_reports(PROBE_SECONDS)

    def _skip(self, piece: int) -> int:
        """The next piece that any receiver needs, according to their reports."""
        return max(piece, min((report.wanted for report in self._present()), default=piece))

    def _present(self) -> list[ReceiverReport]:
        """The last reports of the receivers that have not left."""
        return [report for report in self._reports.values() if not report.leaving]

    # --- pieces

    def _send_piece(self, index: int) -> None:
        datagrams, done = self._datagrams.of_piece(index, self._sequence), 0
        while done < len(datagrams):
            self._check()
            burst = datagrams[done : done + self._pace.burst_datagrams(self._socket.payload)]
            count = sum(len(payload) for _, payload in burst)
            self._await_turn(count)
            self._pace.record_burst(time.monotonic(), self._sequence, len(burst), count)
            self._send(burst)
            done += len(burst)
            self._sequence += len(burst)
            self._sent += count
            self._at = (index, done * self._socket.payload) if done < len(datagrams) else (index + 1, 0)
            self._pieces.count_sent(index, count, last=False)

    def _send(self, datagrams: Sequence[Datagram]) -> None:
        while datagrams:
            sent = self._socket.send(datagrams)
            if not sent:
                time.sleep(FULL_SECONDS)
            datagrams = datagrams[sent:]
        self._probed = time.monotonic()

    def _probe(self) -> None:
        """Send a datagram without payload that tells the stream position."""
        head = DatagramHeader(b"", self._sequence, *self._at, self._socket.payload)
        self._send([(pack_datagram_header(self._keys.probe_tag(head), *head[1:]), memoryview(b""))])

    # --- rate

    def _await_turn(self, count: int) -> None:
        """Wait until the rate and the limits allow these bytes."""
        self._pieces.wait_for_limits(count, self._pause)
        while self._pieces.paused:
            self._pause(IDLE_PROBE_SECONDS)
        now = time.monotonic()
        self._due = max(self._due, now - DEBT_SECONDS)
        if now - self._reports_read_at > REPORT_POLL_SECONDS:
            self._receive_reports(0.0)
        while (left := self._due - time.monotonic()) > NAP_SECONDS:
            self._receive_reports(left)
        self._due += count / max(self._pace.rate, 1.0)
        self._check_speed(now)

    def _check_speed(self, now: float) -> None:
        """Stop where it stays at the minimum rate, which helps nobody."""
        if self._pace.rate > MIN_RATE or any(each.limit for each in self._pieces.limiters):
            self._slow_since = 0.0
        elif not self._slow_since:
            self._slow_since = now
        elif now - self._slow_since > SLOW_SECONDS:
            raise self._stop_with(MulticastEnd.TOO_SLOW)

    def _pause(self, seconds: float) -> None:
        """Pause sending; probes tell the receivers that it continues."""
        self._check()
        self._receive_reports(min(seconds, IDLE_PROBE_SECONDS))
        if time.monotonic() - self._probed > IDLE_PROBE_SECONDS:
            self._probe()
        self._due = time.monotonic()

    def _check(self) -> None:
        if self._pieces.gone_reason:
            raise StoreGoneError(self._pieces.gone_reason)
        if self._stopped is not None:
            raise self._stop_with(self._stopped)

    # --- reports

    def _receive_reports(self, seconds: float) -> None:
        """Receive reports for this long; only waiting ones if the time is 0.

        Their number is bounded, since anybody may flood the port.
        """
        self._reports_read_at = time.monotonic()
        until, news = self._reports_read_at + seconds, False
        for _ in range(MAX_REPORTS):
            left = until - time.monotonic()
            raw = self._socket.receive(max(left, 0.0))
            if raw is not None:
                with contextlib.suppress(InvalidReportError):
                    news = self._record(self._keys.parse_report(raw)) or news
            elif left <= 0:
                break
        if news:
            self._pace.update(time.monotonic())
            self._update_followers()

    def _record(self, report: ReceiverReport) -> bool:
        """Process a report; returns whether it is a valid new one."""
        if report.receiver not in self._names:
            return False
        last = self._reports.get(report.receiver)
        if not is_newer_report(report.number, last.number if last is not None else None):
            return False  # a replayed report
        self._reports[report.receiver] = report
        self._pace.record_report(time.monotonic(), report)
        return True

    def _update_followers(self) -> None:
        names = self._names
        followers = tuple(sorted(names[each] for each in self._pace.following() if each in names))
        heard = len(self._reports)
        if self.active and (heard, followers) != (self._heard, self._followers):  # receivers leave at the end
            self._heard, self._followers = heard, followers
            self._pieces.report_state()
        if self._state is MulticastState.SENDING and not followers and not self._present():
            raise self._stop_with(MulticastEnd.NOBODY)
