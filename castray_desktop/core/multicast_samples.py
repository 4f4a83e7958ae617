"""What a multicast sender learns of each listener: how fast it gets what was sent, what it loses, how long
its queue is.

Standard library only: this module is shipped to the nodes.

A report says how much has come, and when the latest of it came by the listener's clock; the sender knows when
each datagram left. Two reports therefore give a delivery rate and the rate at which the same datagrams were
sent, without the errors of counting at the sender (the rate sample of *Delivery Rate Estimation*,
draft-cheng-iccrg-delivery-rate-estimation). That the next datagram had not come by then, though it left so
long before, is the delay of the path and its queues; the least delay ever seen is the path alone. The clocks
need not agree, since only differences are used. How long datagrams wait for a listener that is not run does
not matter, as long as it then takes them: the time is the kernel's. Where it says that much waits, it is
crowded, and the times at which its reports come are used instead.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from math import inf, sqrt
from typing import NamedTuple, Optional

from castray_desktop.core.multicast import Report, is_newer

HISTORY_SECONDS = 3.0
"""Departures and reports are kept for this long."""

JUDGED_DATAGRAMS = 48
"""So many at least must have been sent between two reports that are compared."""

JUDGED_SECONDS = 0.015
"""And so much time have passed, for a verdict."""

LOST = 0.04
"""What may get lost at random; more is a sign of overload."""

HELD_BACK = 0.88
"""Less than this of what was sent came in time: the queue grows or overflows."""

APART_SECONDS = 0.008
"""Reports that follow one another more closely are left out: they tell nothing new."""

DRIFT = 1e-4
"""Clocks run apart by up to so many seconds in a second, which must not look like a queue."""


class Mark(NamedTuple):
    """A report, with what the sender knows of it."""

    at: float  # when it came, by the sender's clock, in seconds
    clock: float  # when the latest datagram had come, by the listener's, in seconds
    sequence: int
    datagrams: int
    payload: int
    left: float  # when the sender had sent as far as `sequence`
    offered: float  # payload bytes before `sequence`
    awaited: float  # how long what comes next had been under way by then, in seconds; clocks differ
    crowded: bool  # much more had come than the listener had taken


class Sample(NamedTuple):
    """What happened between two reports of one listener."""

    seconds: float
    sent: float  # bytes per second at which what came by then had left
    delivered: float  # bytes per second
    datagrams: int  # that were sent
    lost: int

    @property
    def loss(self) -> float:
        """Share of the datagrams that did not come, 0..1."""
        return self.lost / self.datagrams if self.datagrams else 0.0

    @property
    def lossy(self) -> bool:
        """Whether clearly more is lost than at random."""
        usual = LOST * self.datagrams
        return self.lost - usual > 2 * sqrt(usual) and self.delivered < 0.97 * self.sent

    @property
    def overloaded(self) -> bool:
        """Whether it is lossy, or a queue grows fast."""
        return self.lossy or self.delivered < HELD_BACK * self.sent


class Departures:
    """When each datagram left, as far back as reports may ask."""

    def __init__(self) -> None:
        self.next = 0  # sequence after the last
        self.last_at = -inf  # seconds
        self._sequences: list[int] = []
        self._times: list[float] = []
        self._payloads: list[int] = []
        self._payload = 0

    def add(self, now: float, sequence: int, datagrams: int, payload: int) -> None:
        """A burst leaves."""
        self._sequences.append(sequence)
        self._times.append(now)
        self._payloads.append(self._payload)
        self._payload += payload
        self.next = sequence + datagrams
        self.last_at = now
        if len(self._times) % 1024 == 0:
            old = bisect_right(self._times, now - HISTORY_SECONDS)
            del self._sequences[:old], self._times[:old], self._payloads[:old]

    def knows(self, sequence: int) -> bool:
        """Whether the datagram before this one left, and not long ago."""
        return bool(self._sequences) and self._sequences[0] <= sequence <= self.next

    def reached(self, now: float, sequence: int) -> tuple[float, float]:
        """When the sender had sent as far as `sequence`, in seconds, and how much payload that was.

        Bursts leave at once and spread on the way, so between two of them the time is interpolated.
        """
        index = max(0, bisect_right(self._sequences, sequence - 1) - 1)
        first, when, before = self._sequences[index], self._times[index], self._payloads[index]
        if index + 1 < len(self._times):
            end, until, after = self._sequences[index + 1], self._times[index + 1], self._payloads[index + 1]
        else:
            gap = when - self._times[index - 1] if index else 0.0
            end, until, after = self.next, min(now, when + gap), self._payload
        share = min(1.0, (sequence - first) / max(1, end - first))
        return when + share * max(0.0, until - when), before + share * (after - before)

    def left(self, sequence: int) -> Optional[float]:
        """When this datagram left, in seconds; None if it hasn't."""
        if not self._sequences or sequence >= self.next:
            return None
        return self._times[max(0, bisect_right(self._sequences, sequence) - 1)]


class Listener:
    """One listener, from its reports."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.heard = False  # ever a datagram
        self.leaving = False
        self.crowded = False  # much more has come than it has taken
        self.follows = True  # may be paced by
        self.since = -inf  # when `follows` changed, in seconds
        self.last_at = -inf  # of its last report
        self.sequence = 0  # that it has seen, plus one
        self.ambient = 0.0  # share of datagrams that get lost where nothing is overloaded
        self.strikes = 0  # verdicts of overload in a row
        self.gets = 0.0  # bytes per second; the most that came meanwhile
        self.trial: Optional[float] = None  # since when it has been far behind the others
        self.marks: deque[Mark] = deque()
        self._number: Optional[int] = None
        self._base = inf  # of the path without queues, in seconds; clocks differ
        self._from = 0
        self._judged: Optional[Mark] = None
        self._struck: Optional[Mark] = None  # where the strikes begin

    def add(self, now: float, report: Report, departures: Departures) -> bool:
        """Take a report in. Whether it says anything new of the path."""
        if not is_newer(report.number, self._number):
            return False
        self._number = report.number
        if self.marks and report.datagrams < self.marks[-1].datagrams:
            self._begin_anew()
        self.last_at = now
        self.leaving, self.crowded = report.leaving, report.crowded
        sequence = report.sequence
        if not report.datagrams or not departures.knows(sequence):
            return False
        self.heard = True
        clock = report.micros / 1e6
        if self.marks:
            last = self.marks[-1]
            if sequence <= last.sequence:
                return False
            self.sequence = sequence
            if clock < last.clock + APART_SECONDS:
                return False
        self.sequence = sequence
        if self.marks:
            self._base += DRIFT * (clock - self.marks[-1].clock)
        came = departures.left(sequence - 1)
        if came is not None:
            self._base = min(self._base, clock - came)
        left, offered = departures.reached(now, sequence)
        awaited = departures.left(sequence)
        under_way = -inf if awaited is None else clock - awaited
        payload, crowded = report.payload, report.crowded
        mark = Mark(now, clock, sequence, report.datagrams, payload, left, offered, under_way, crowded)
        self.marks.append(mark)
        while self.marks[0].at < now - HISTORY_SECONDS:
            self.marks.popleft()
        self._judge(mark)
        return True

    def _begin_anew(self) -> None:
        """Another agent of the node counts from zero, maybe with another clock."""
        self.ignore_before(0)
        self.marks.clear()
        self._base, self.sequence = inf, 0

    def ignore_before(self, sequence: int) -> None:
        """Verdicts count only for what is sent from here on: the rate has just been changed."""
        self.strikes = 0
        self._struck = self._judged = None
        self._from = sequence

    def sample(self, sequence: int, seconds: float) -> Optional[Sample]:
        """The latest `seconds` or a little more of what was sent from `sequence` on, if there is as much."""
        for mark in reversed(self.marks):
            last = self.marks[-1]
            if mark.sequence < sequence:
                break
            if last.clock - mark.clock >= seconds and last.sequence - mark.sequence >= JUDGED_DATAGRAMS:
                return between(mark, last)
        return None

    def queue(self, seconds: float) -> float:
        """How long datagrams have waited in queues on their way here, in seconds: the least of the latest
        `seconds`, since a listener that isn't run for a moment looks the same."""
        least = inf
        for number, mark in enumerate(reversed(self.marks)):
            if number > 1 and mark.clock < self.marks[-1].clock - seconds:
                break
            least = min(least, mark.awaited - self._base)
        return max(0.0, least) if least < inf else 0.0

    def struck(self) -> Optional[Sample]:
        """What happened since the verdicts of overload began."""
        return between(self._struck, self.marks[-1]) if self._struck and self.marks else None

    def _judge(self, mark: Mark) -> None:
        if self._judged is None:
            if mark.sequence >= self._from:
                self._judged = mark
            return
        sample = between(self._judged, mark)
        if sample.datagrams < JUDGED_DATAGRAMS or sample.seconds < JUDGED_SECONDS:
            return
        if sample.overloaded or self.crowded:
            if not self.strikes:
                self._struck, self.gets = self._judged, 0.0
            self.strikes += 1
            self.gets = max(self.gets, sample.delivered)
        else:
            self.strikes = 0
            self._struck = self.trial = None
        self._judged = mark


def between(first: Mark, last: Mark) -> Sample:
    """What happened from one report to a later one.

    What a crowded listener has taken came earlier, and says nothing of how fast it takes: there it counts
    when it reports.
    """
    seconds = max(last.clock - first.clock, last.at - first.at if last.crowded else 0.0, 1e-6)
    sending = max(last.left - first.left, 1e-6)
    datagrams = last.sequence - first.sequence
    return Sample(
        seconds,
        (last.offered - first.offered) / sending,
        (last.payload - first.payload) / seconds,
        datagrams,
        max(0, datagrams - (last.datagrams - first.datagrams)),
    )
