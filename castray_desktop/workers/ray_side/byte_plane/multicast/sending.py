"""Sending a cast's stream to a multicast group, once, at the pace that its listeners can take.

One thread. Probes go out until listeners say that they hear them, then every piece in order as soon as the
source has read it, then probes again that say where the end is. What does not arrive is the relay's business.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Sequence
from typing import Optional

from castray_desktop.core.multicast import (
    Head,
    Keys,
    MulticastEnd,
    MulticastError,
    MulticastState,
    Report,
    is_newer,
    listener_name,
    pack_head,
    tag_of_probe,
)
from castray_desktop.core.multicast_pace import FLOOR, MulticastPace
from castray_desktop.workers.ray_side.byte_plane.limits import wait_for_all
from castray_desktop.workers.ray_side.byte_plane.multicast.bursts import bursts
from castray_desktop.workers.ray_side.byte_plane.multicast.datagrams import Datagrams
from castray_desktop.workers.ray_side.byte_plane.multicast.sockets import SendingSocket
from castray_desktop.workers.ray_side.byte_plane.supply import Gone, Supply
from castray_desktop.workers.ray_side.protocol import (
    Multicast,
    MulticastGroup,
    MulticastReport,
)

log = logging.getLogger("castray.byte_plane")

PROBE_SECONDS = 0.02
IDLE_PROBE_SECONDS = 0.1
HEARD_WITHIN = 0.8
"""Seconds until a listener has heard a probe; then nothing arrives."""

GATHER_SECONDS = 0.25
"""Seconds from the first listener that is there until it begins without the others."""

DECIDE_SECONDS = 2.0
"""The same, while one of them looks at what it has already."""

SLOW_SECONDS = 2.0
"""After this time at the lowest pace it stops."""

FINISH_SECONDS = 1.0
"""Seconds of probes after the end, for listeners that have not said that they know."""

DEBT_SECONDS = 0.008
"""What was not sent in time is sent at once later on, up to that."""

NAP_SECONDS = 0.001
"""Shorter ones are not taken: waking up costs as much as sending."""

FULL_SECONDS = 0.001
"""So long it waits where the device's queue is full."""

PIECE_SECONDS = 0.05

HEAR_SECONDS = 0.005
"""So often it looks for reports while it sends."""

MANY_REPORTS = 256
"""Are looked at before something is sent again."""


class _Stop(Exception):
    """It is over, for the reason that was noted."""


class MulticastSender:
    """Sends until it is done, or `stop`."""

    def __init__(
        self, supply: Supply, order: Multicast, own: str, ports: Optional[tuple[int, int]], keys: Keys
    ) -> None:
        assert order.group is not None
        self._supply = supply
        self._group: MulticastGroup = order.group
        self._own = own
        self._ports = ports
        self._keys = keys
        self._names: dict[bytes, str] = {}
        self._first_rate = order.rate
        self._pace = MulticastPace(order.rate, ())
        self._state = MulticastState.WAITING
        self._end: Optional[MulticastEnd] = None
        self._reason = ""
        self._stopped: Optional[MulticastEnd] = None
        self._sent = 0
        self._sequence = 0
        self._at = (0, 0)  # piece and offset that come next
        self._wanted: dict[bytes, int] = {}  # the first piece that each listener still lacks
        self._left: set[bytes] = set()
        self._numbers: dict[bytes, int] = {}  # of the listeners' last reports
        self._undecided: set[bytes] = set()
        self._heard = 0  # listeners
        self._followers: tuple[str, ...] = ()  # listeners that hear it and can follow
        self._due = 0.0
        self._heard_at = 0.0
        self._slow_since = 0.0
        self._probed = 0.0
        self._listen_to(order.listeners)
        self._thread = threading.Thread(target=self._run, name=f"castray-multicast-{order.cast}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def active(self) -> bool:
        """Whether it has not ended."""
        return self._state in (MulticastState.WAITING, MulticastState.SENDING)

    def update(self, order: Multicast) -> None:
        """Other listeners. From any thread."""
        self._listen_to(order.listeners)

    def stop(self, end: MulticastEnd = MulticastEnd.ORDERED) -> None:
        """Have it end soon. From any thread."""
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

    def _listen_to(self, listeners: Sequence[str]) -> None:
        self._names = {listener_name(node): node for node in listeners}

    # --- the thread

    def _run(self) -> None:
        try:
            self._socket = SendingSocket(self._group, self._own, self._ports)
        except OSError as error:
            self._finish(MulticastState.STOPPED, MulticastEnd.NO_NETWORK, error.strerror or str(error))
            return
        try:
            self._socket.socket.setblocking(True)
            self._datagrams = Datagrams(self._supply, self._keys, self._socket.payload)
            self._bursts = bursts(self._socket, self._datagrams.heads, self._datagrams.payloads)
            self._gather()
            self._go(MulticastState.SENDING)
            self._send_all()
            self._finish(MulticastState.DONE)
            self._say_end()
        except _Stop:
            self._finish(MulticastState.STOPPED, self._end)
        except Gone:
            self._finish(MulticastState.STOPPED, MulticastEnd.ORDERED)
        except OSError as error:
            self._finish(MulticastState.STOPPED, MulticastEnd.NO_NETWORK, error.strerror or str(error))
        except Exception as error:
            log.exception("multicast of cast %s", self._supply.cast)
            self._finish(MulticastState.STOPPED, MulticastEnd.NO_NETWORK, f"{type(error).__name__}: {error}")
        finally:
            self._socket.close()

    def _go(self, state: MulticastState) -> None:
        self._state = state
        self._supply.stated()

    def _finish(self, state: MulticastState, end: Optional[MulticastEnd] = None, reason: str = "") -> None:
        self._end, self._reason = end, reason
        if end is not None:
            log.info("multicast of cast %s stopped: %s %s", self._supply.cast, end.value, reason)
        self._go(state)

    def _halt(self, end: MulticastEnd) -> _Stop:
        self._end = end
        return _Stop()

    # --- its three parts

    def _gather(self) -> None:
        """Probe until the listeners are there."""
        started, first = time.monotonic(), 0.0
        while True:
            self._check()
            now = time.monotonic()
            if self._supply.paused:
                started = now
            heard = len(self._wanted)
            if heard and not first:
                first = now
            if heard and not self._awaited(heard, now - first):
                break
            if not heard and now - started > HEARD_WITHIN:
                raise self._halt(MulticastEnd.NOTHING_ARRIVES)
            self._probe()
            self._hear(PROBE_SECONDS)
        self._pace = MulticastPace(self._first_rate, tuple(set(self._wanted) - self._left))
        self._due = time.monotonic()

    def _awaited(self, heard: int, seconds: float) -> bool:
        """Whether to wait longer for those that are missing, or that look at what they have."""
        if any(each not in self._left for each in self._undecided):
            return seconds < DECIDE_SECONDS
        return heard < len(self._names) and seconds < GATHER_SECONDS

    def _send_all(self) -> None:
        layout = self._supply.layout
        piece = self._skip(0)
        while piece < layout.pieces:
            self._at = piece, 0
            while not self._supply.await_piece(piece, PIECE_SECONDS):
                self._pause(0.0)  # the source has not read that far
            self._send_piece(piece)
            piece = self._skip(piece + 1)

    def _say_end(self) -> None:
        """Until every listener that follows has left, or should have heard it."""
        self._at = self._supply.layout.pieces, 0
        until = time.monotonic() + FINISH_SECONDS
        while time.monotonic() < until and any(each not in self._left for each in self._wanted):
            if self._stopped is not None:
                return
            self._probe()
            self._hear(PROBE_SECONDS)

    def _skip(self, piece: int) -> int:
        """The next piece that anybody wants, as far as all have said."""
        wanted = [at for each, at in self._wanted.items() if each not in self._left]
        return max(piece, min(wanted)) if wanted else piece

    # --- pieces

    def _send_piece(self, index: int) -> None:
        start, end = self._supply.layout.piece(index)
        length, payload, done = end - start, self._socket.payload, 0
        made, last = self._datagrams.of_piece(index, self._sequence)
        self._bursts.are(made, last)
        while done < made:
            self._check()
            number = min(self._pace.turn(payload), made - done)
            at = min((done + number) * payload, length)
            count = at - done * payload
            self._await_turn(count)
            self._pace.sent(time.monotonic(), self._sequence, number, count)
            self._send(done, done + number)
            done += number
            self._sequence += number
            self._sent += count
            self._at = (index, at) if at < length else (index + 1, 0)
            self._supply.count_sent(index, count, last=False)

    def _send(self, first: int, after: int) -> None:
        """Datagrams of the piece, from the first to the one before `after`."""
        while first < after:
            sent = self._bursts.send(first, after)
            if not sent:
                time.sleep(FULL_SECONDS)
            first += sent
        self._probed = time.monotonic()

    def _probe(self) -> None:
        """A datagram without bytes, which says where the stream is."""
        head = Head(b"", self._sequence, *self._at, self._socket.payload)
        raw = memoryview(pack_head(tag_of_probe(self._keys.tags, head), *head[1:]))
        while not self._socket.send(raw):
            time.sleep(FULL_SECONDS)
        self._probed = time.monotonic()

    # --- pace

    def _await_turn(self, count: int) -> None:
        """Wait until these bytes may leave, by the pace and by the limits."""
        wait_for_all(self._supply.limiters, count, self._pause)
        while self._supply.paused:
            self._pause(IDLE_PROBE_SECONDS)
        now = time.monotonic()
        self._due = max(self._due, now - DEBT_SECONDS)
        if now - self._heard_at > HEAR_SECONDS:
            self._hear(0.0)
        while (left := self._due - time.monotonic()) > NAP_SECONDS:
            self._hear(left)
        self._due += count / max(self._pace.rate, 1.0)
        self._check_speed(now)

    def _check_speed(self, now: float) -> None:
        """Stop where it stays at the lowest pace, which is of no use to anybody."""
        if self._pace.rate > FLOOR or any(each.limit for each in self._supply.limiters):
            self._slow_since = 0.0
        elif not self._slow_since:
            self._slow_since = now
        elif now - self._slow_since > SLOW_SECONDS:
            raise self._halt(MulticastEnd.TOO_SLOW)

    def _pause(self, seconds: float) -> None:
        """Nothing is to be sent for now; listeners hear that it goes on."""
        self._check()
        self._hear(min(seconds, IDLE_PROBE_SECONDS))
        if time.monotonic() - self._probed > IDLE_PROBE_SECONDS:
            self._probe()
        self._due = time.monotonic()

    def _check(self) -> None:
        if self._supply.gone:
            raise Gone(self._supply.gone)
        if self._stopped is not None:
            raise self._halt(self._stopped)

    # --- reports

    def _hear(self, seconds: float) -> None:
        """Take reports for so long; those that are there already, if it is no time.

        A bounded number of them, since anybody may send more than can be looked at.
        """
        self._heard_at = time.monotonic()
        until, news = self._heard_at + seconds, False
        for _ in range(MANY_REPORTS):
            left = until - time.monotonic()
            raw = self._socket.receive(max(left, 0.0))
            if raw is not None:
                with contextlib.suppress(MulticastError):
                    news = self._take(self._keys.parse_report(raw)) or news
            elif left <= 0:
                break
        if news:
            self._pace.judge(time.monotonic())
            self._look_who_follows()

    def _take(self, report: Report) -> bool:
        """Whether it is one of a listener's, and a new one."""
        if report.listener not in self._names:
            return False
        if not is_newer(report.number, self._numbers.get(report.listener)):
            return False  # anybody may repeat it
        self._numbers[report.listener] = report.number
        self._wanted[report.listener] = report.wanted
        for those, belongs in ((self._left, report.leaving), (self._undecided, report.undecided)):
            (those.add if belongs else those.discard)(report.listener)
        self._pace.reported(time.monotonic(), report)
        return True

    def _look_who_follows(self) -> None:
        names = self._names
        followers = tuple(sorted(names[each] for each in self._pace.followers() if each in names))
        if self.active and (len(self._wanted) != self._heard or followers != self._followers):
            self._followers = followers  # at the end they leave
            self._heard = len(self._wanted)
            self._supply.stated()
        if self._state is MulticastState.SENDING and not followers and self._left_all():
            raise self._halt(MulticastEnd.NOBODY)

    def _left_all(self) -> bool:
        return all(each in self._left for each in self._wanted)
