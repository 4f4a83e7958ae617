"""What a multicast sender learns of its receivers: delivery rate, loss, queue delay, and who follows.

A report says how much has arrived, and when the latest of it arrived by the receiver's clock; the sender
knows when each datagram left. Two reports give a delivery rate and the rate at which the same datagrams
were sent (the rate sample of *Delivery Rate Estimation*, draft-cheng-iccrg-delivery-rate-estimation). How
long the next datagram has been under way at that time is the delay of the path and its queues; the least
delay ever seen is the path alone. Clocks need not agree, since only differences are used. A receiver that
reports a filled socket buffer is *crowded*; then the times at which its reports arrive are used instead.

The sender follows receivers that get at least half of what the others get; the relay serves the others.
They are followed again once they have received nearly everything for a while.

Standard library only: this module is shipped to the nodes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Collection
from math import inf, sqrt
from typing import NamedTuple, Optional

from castray_desktop.core.multicast.datagrams import ReceiverReport, is_newer_report

HISTORY_SECONDS = 3.0

"""Send times and reports are kept for this long."""

JUDGED_DATAGRAMS = 48

"""Minimum of datagrams between two reports that are compared."""

JUDGED_SECONDS = 0.015

"""Minimum of time between them."""

OVERLOAD_LOSS = 0.04

"""Random loss up to this share; more is a sign of overload."""

OVERLOAD_DELIVERY_SHARE = 0.88

"""If less than this share of what was sent arrived in time, the queue grows or overflows."""

MIN_MARK_GAP_SECONDS = 0.008

"""Reports within this time of the previous one are skipped."""

CLOCK_DRIFT = 1e-4

"""Clocks drift by up to this many seconds per second, which must not look like a queue."""


class ReportMark(NamedTuple):
    """A report, with what the sender knows about it."""

    at: float  # when it came, by the sender's clock, in seconds
    clock: float  # when the latest datagram had come, by the receiver's, in seconds
    sequence: int
    datagrams: int
    payload: int
    left: float  # when the sender had sent as far as `sequence`
    offered: float  # payload bytes before `sequence`
    awaited: float  # how long what comes next had been under way by then, in seconds; clocks differ
    crowded: bool  # much more had come than the receiver had taken


class DeliverySample(NamedTuple):
    """The difference between two reports of one receiver."""

    seconds: float
    sent: float  # bytes per second at which what came by then had left
    delivered: float  # bytes per second
    datagrams: int  # that were sent
    lost: int

    @property
    def loss(self) -> float:
        """Share of lost datagrams, 0..1."""
        return self.lost / self.datagrams if self.datagrams else 0.0

    @property
    def lossy(self) -> bool:
        """Whether clearly more is lost than at random."""
        usual = OVERLOAD_LOSS * self.datagrams
        return self.lost - usual > 2 * sqrt(usual) and self.delivered < 0.97 * self.sent

    @property
    def overloaded(self) -> bool:
        """Whether it is lossy, or a queue grows quickly."""
        return self.lossy or self.delivered < OVERLOAD_DELIVERY_SHARE * self.sent


class SendLog:
    """When each datagram was sent, as far back as reports may refer to."""

    def __init__(self) -> None:
        self.next = 0  # sequence after the last
        self.last_at = -inf  # seconds
        self._sequences: list[int] = []
        self._times: list[float] = []
        self._payloads: list[int] = []
        self._payload = 0

    def record_burst(self, now: float, sequence: int, datagrams: int, payload: int) -> None:
        """Record a burst."""
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
        """Whether the previous datagram was sent recently."""
        return bool(self._sequences) and self._sequences[0] <= sequence <= self.next

    def progress_at(self, now: float, sequence: int) -> tuple[float, float]:
        """When the sender reached `sequence`, in seconds, and the payload sent until then.

        Bursts leave at once and spread on the path, so the time between two of them is interpolated.
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

    def sent_at(self, sequence: int) -> Optional[float]:
        """When this datagram was sent, in seconds; None if it was not."""
        if not self._sequences or sequence >= self.next:
            return None
        return self._times[max(0, bisect_right(self._sequences, sequence) - 1)]


class ReceiverState:
    """The state of one receiver, from its reports."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.heard = False  # ever a datagram
        self.leaving = False
        self.crowded = False  # much more has arrived than it has processed
        self.follows = True  # may be paced by
        self.since = -inf  # when `follows` changed, in seconds
        self.last_at = -inf  # of its last report
        self.sequence = 0  # that it has seen, plus one
        self.ambient = 0.0  # share of datagrams that get lost where nothing is overloaded
        self.overload_count = 0  # verdicts of overload in a row
        self.max_delivered = 0.0  # bytes per second; the most that came meanwhile
        self.trial: Optional[float] = None  # since when it has been far behind the others
        self.marks: deque[ReportMark] = deque()
        self._number: Optional[int] = None
        self._base = inf  # of the path without queues, in seconds; clocks differ
        self._from = 0
        self._judged: Optional[ReportMark] = None
        self._overloaded_since: Optional[ReportMark] = None  # where the strikes begin

    def record_report(self, now: float, report: ReceiverReport, send_log: SendLog) -> bool:
        """Record a report; returns whether it has news of the path."""
        if not is_newer_report(report.number, self._number):
            return False
        self._number = report.number
        if self.marks and report.datagrams < self.marks[-1].datagrams:
            self._restart()
        self.last_at = now
        self.leaving, self.crowded = report.leaving, report.crowded
        sequence = report.sequence
        if not report.datagrams or not send_log.knows(sequence):
            return False
        self.heard = True
        clock = report.micros / 1e6
        if self.marks:
            last = self.marks[-1]
            if sequence <= last.sequence:
                return False
            self.sequence = sequence
            if clock < last.clock + MIN_MARK_GAP_SECONDS:
                return False
        self.sequence = sequence
        if self.marks:
            self._base += CLOCK_DRIFT * (clock - self.marks[-1].clock)
        came = send_log.sent_at(sequence - 1)
        if came is not None:
            self._base = min(self._base, clock - came)
        left, offered = send_log.progress_at(now, sequence)
        awaited = send_log.sent_at(sequence)
        under_way = -inf if awaited is None else clock - awaited
        payload, crowded = report.payload, report.crowded
        mark = ReportMark(now, clock, sequence, report.datagrams, payload, left, offered, under_way, crowded)
        self.marks.append(mark)
        while self.marks[0].at < now - HISTORY_SECONDS:
            self.marks.popleft()
        self._judge(mark)
        return True

    def _restart(self) -> None:
        """The node's new agent counts from zero, possibly with another clock."""
        self.ignore_before(0)
        self.marks.clear()
        self._base, self.sequence = inf, 0

    def ignore_before(self, sequence: int) -> None:
        """Verdicts count only for what is sent from here on: the rate has just been changed."""
        self.overload_count = 0
        self._overloaded_since = self._judged = None
        self._from = sequence

    def sample(self, sequence: int, seconds: float) -> Optional[DeliverySample]:
        """A sample over the latest `seconds` of what was sent from `sequence` on, if there is that much."""
        for mark in reversed(self.marks):
            last = self.marks[-1]
            if mark.sequence < sequence:
                break
            if last.clock - mark.clock >= seconds and last.sequence - mark.sequence >= JUDGED_DATAGRAMS:
                return sample_between(mark, last)
        return None

    def queue_delay(self, seconds: float) -> float:
        """Queue delay of datagrams in seconds: the minimum of the latest `seconds`, since a receiver that is
        not scheduled for a moment looks the same."""
        least = inf
        for number, mark in enumerate(reversed(self.marks)):
            if number > 1 and mark.clock < self.marks[-1].clock - seconds:
                break
            least = min(least, mark.awaited - self._base)
        return max(0.0, least) if least < inf else 0.0

    def overload_sample(self) -> Optional[DeliverySample]:
        """The sample since overload was first detected."""
        return (
            sample_between(self._overloaded_since, self.marks[-1])
            if self._overloaded_since and self.marks
            else None
        )

    def _judge(self, mark: ReportMark) -> None:
        if self._judged is None:
            if mark.sequence >= self._from:
                self._judged = mark
            return
        sample = sample_between(self._judged, mark)
        if sample.datagrams < JUDGED_DATAGRAMS or sample.seconds < JUDGED_SECONDS:
            return
        if sample.overloaded or self.crowded:
            if not self.overload_count:
                self._overloaded_since, self.max_delivered = self._judged, 0.0
            self.overload_count += 1
            self.max_delivered = max(self.max_delivered, sample.delivered)
        else:
            self.overload_count = 0
            self._overloaded_since = self.trial = None
        self._judged = mark


def sample_between(first: ReportMark, last: ReportMark) -> DeliverySample:
    """The sample from one report to a later one.

    What a crowded receiver has consumed arrived earlier; for it, the time of the report counts.
    """
    seconds = max(last.clock - first.clock, last.at - first.at if last.crowded else 0.0, 1e-6)
    sending = max(last.left - first.left, 1e-6)
    datagrams = last.sequence - first.sequence
    return DeliverySample(
        seconds,
        (last.offered - first.offered) / sending,
        (last.payload - first.payload) / seconds,
        datagrams,
        max(0, datagrams - (last.datagrams - first.datagrams)),
    )


TRIAL_SECONDS = 0.3

"""A receiver may get less than half of what the others get for this long; then it is not followed."""

BACK_SECONDS = 0.5

"""It must receive nearly everything for this long to be followed again."""

ABSENT_SECONDS = 1.0

"""A receiver without reports for this long is not followed."""

ReceiverSamples = list[tuple[ReceiverState, DeliverySample]]


class ReceiverSet:
    """All receivers of one sender, by id, and which of them are followed."""

    def __init__(self, receivers: Collection[bytes], send_log: SendLog) -> None:
        self._by_id = {name: ReceiverState(name) for name in receivers}
        self._send_log = send_log

    def record_report(self, now: float, report: ReceiverReport) -> bool:
        """Record a report. Returns whether it is new information about a followed receiver's path."""
        receiver = self._by_id.get(report.receiver)
        if receiver is None:
            receiver = self._by_id[report.receiver] = ReceiverState(report.receiver)
        news = receiver.record_report(now, report, self._send_log)
        return news and receiver.follows

    @property
    def count(self) -> int:
        """The number of receivers, followed or not."""
        return len(self._by_id)

    def following(self) -> list[ReceiverState]:
        """The followed receivers."""
        return [each for each in self._by_id.values() if each.heard and each.follows and not each.leaving]

    def update_following(self, now: float) -> None:
        """Update which receivers are followed."""
        furthest = max((each.sequence for each in self._by_id.values()), default=0)
        for each in self._by_id.values():
            if not each.heard:
                continue
            awaited = self._send_log.sent_at(each.sequence) if each.sequence < furthest else None
            deaf = awaited is not None and now - awaited > TRIAL_SECONDS
            if deaf or now - each.last_at > ABSENT_SECONDS:
                _set_following(now, each, False)
            elif not each.follows and now - each.since > BACK_SECONDS:
                sample = each.sample(0, BACK_SECONDS)
                if sample and sample.loss < 0.1 and sample.delivered > 0.9 * sample.sent:
                    _set_following(now, each, True)
            elif each.trial is not None and now - each.trial > TRIAL_SECONDS:
                _set_following(now, each, False)

    def ignore_before(self, sequence: int) -> None:
        """Ignore samples of what was sent before `sequence`."""
        for receiver in self._by_id.values():
            receiver.ignore_before(sequence)

    def samples(self, sequence: int, seconds: float) -> ReceiverSamples:
        """A sample for each followed receiver that has one: the latest `seconds` of what was sent from
        `sequence` on."""
        return [(each, sample) for each in self.following() if (sample := each.sample(sequence, seconds))]

    def majority_samples(self, sequence: int, seconds: float) -> Optional[ReceiverSamples]:
        """The same, if three quarters of the followed receivers have one."""
        found = self.samples(sequence, seconds)
        return found if found and 4 * len(found) >= 3 * len(self.following()) else None

    def crowded(self) -> bool:
        """Whether a quarter of the followed receivers report filled buffers. Fewer are ignored."""
        followers = self.following()
        return bool(followers) and 4 * sum(each.crowded for each in followers) >= len(followers)

    def queue_delay(self, seconds: float = 0.0) -> float:
        """The longest queue delay of the followed receivers in seconds."""
        return max((each.queue_delay(seconds) for each in self.following()), default=0.0)


def sustainable_rate(samples: ReceiverSamples, burst: int) -> float:
    """The rate that the slowest receiver sustains, in bytes per second.

    Each is compared with what was sent over its own time. Left out are those on trial. Of a
    single one a `burst` of bytes more or less says nothing, since reports don't come at its end: so the worst
    counts less that, and most as they are.
    """
    short = sorted(
        (
            (each.sent - each.delivered / (1 - receiver.ambient), each.seconds)
            for receiver, each in [pair for pair in samples if pair[0].trial is None] or samples
        ),
        reverse=True,
    )
    worst = max(less - burst / seconds for less, seconds in short)
    return offered_rate(samples) - max(worst, short[len(short) // 2][0])


def offered_rate(samples: ReceiverSamples) -> float:
    """The median rate at which data was sent, in bytes per second."""
    return sorted(sample.sent for _, sample in samples)[len(samples) // 2]


def typical_rate(samples: ReceiverSamples) -> float:
    """The upper median of what receivers get, in bytes per second."""
    return sorted(sample.delivered for _, sample in samples)[len(samples) // 2]


def _set_following(now: float, receiver: ReceiverState, follows: bool) -> None:
    if receiver.follows != follows:
        receiver.follows, receiver.since, receiver.trial = follows, now, None
