"""Congestion control of the multicast sender. Time is an argument; no clock, no sockets.

The rate follows a model of the path instead of single losses, as BBRv2 and BBRv3 do
(draft-ietf-ccwg-bbr): the share of the sent data that receivers get gives the bottleneck's rate, loss
counts only above a few per cent, and short probes (up, then down again) find free capacity. One-way
delay, from send times and the receiver's clock, reveals a queue, which is kept short (LEDBAT, RFC 6817).

Of several receivers the slowest sets the rate, like the *current limiting receiver* of TFMCC (RFC 4654,
used by NORM, RFC 5740) and the *acker* of PGMCC, but not one that gets less than half of what the others
get: the relay serves that one. Without reports the rate halves repeatedly, as there. Receivers that are
slow themselves say so, like the window of a TCP receiver; then the rate at which they consume counts.

Sharing with TCP: sending more into a full queue takes capacity from others, so a rate that only follows
what arrives would displace flows that back off. The share of a probe that does *not* arrive shows how
much of the link is the sender's own: alone, nothing more arrives; with half of the link, half of it does.
A probe is therefore kept only if more than half of it arrives. A sender with clearly more than half of
what the link has carried yields to a standing queue; one with less does not, as Copa's competitive mode
(NSDI 2018).

Standard library only: this module is shipped to the nodes.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection
from math import inf
from operator import itemgetter

from castray_desktop.core.multicast.datagrams import MAX_BATCH_DATAGRAMS, ReceiverReport
from castray_desktop.core.multicast.receiver_samples import (
    JUDGED_SECONDS,
    OVERLOAD_LOSS,
    DeliverySample,
    ReceiverSet,
    ReceiverState,
    SendLog,
    offered_rate,
    sustainable_rate,
    typical_rate,
)

MIN_RATE = 256_000.0
"""Minimum rate in bytes per second."""

INITIAL_RATE = 8e6
"""Initial rate in bytes per second."""

GROWTH, GROWTH_SECONDS = 1.25, 0.1
"""Startup ends when the delivered rate grows by less than this factor in this time, and a queue persists."""

CLEAN_DELIVERY_SHARE = 0.8
"""Share of delivered data above which a rate counts as reached without competition during startup."""

SAMPLE_SECONDS = 0.04
"""Minimum duration of the measurements that a phase is judged by."""

JUDGE_SECONDS = 0.0005
"""Minimum time between judgements for each receiver: judging all of them at each report would take most of
the sender's time."""

BURST_SECONDS = 0.001
FULL_BATCH_SHARE = 0.6
"""Above this share of a full burst, a full one is sent: it costs receivers one call as well."""

MIN_BURST_DATAGRAMS = 10  # datagrams, the initial window of TCP
LONGEST_GAP = 0.004  # seconds between bursts, whatever their length
FEW_RECEIVERS = 8  # receivers

LINK_SECONDS = 0.2
"""The link's rate is measured over this time."""

QUEUE_SECONDS = 0.003
"""A longer queue is drained."""

STANDING_SECONDS = 0.06
"""A queue that persists for this time counts as standing."""

LONG_QUEUE_SECONDS = 0.004
"""A longer queue can't be drained on the side."""

DRAIN_SECONDS, MOST_DRAINED = 0.1, 0.4
"""A queue should be drained after this time, with at most this reduction of the known rate. The amount
waiting in receivers' sockets is unknown: the maximum reduction is used there."""

SMALL_STEP, LARGE_STEP, LARGEST_STEP = 0.08, 0.25, 1.0
"""A probe exceeds the known rate by this part; it doubles while probes succeed."""

LEAST_WAIT, MOST_WAIT = 0.06, 1.0
"""Seconds between probes; they double while probes fail."""

PROBE_FAILURE_SHARE = 0.5
"""A probe fails if more than this part of it did not arrive."""

YIELD_SHARE = 0.6
"""Share of the measured link rate above which it yields to a standing queue."""

PAUSE_SECONDS = 0.1
"""After this long without sending, there was nothing to send."""

SILENCE_SECONDS = 0.5
"""Without reports, the rate halves each time this has passed."""


class CongestionPhase(enum.Enum):
    """Phase of the rate control."""

    STARTUP = "startup"  # doubling until the receivers get no more
    DRAIN = "drain"  # below the known rate, to drain queues
    CRUISE = "cruise"  # at the known rate
    PROBE = "probe"  # above the known rate


class MulticastCongestionControl:
    """The sending rate of one sender.

    `receivers` are the ids of the nodes that were told to join; others may follow. All times are of one
    monotonic clock, in seconds. `rate` is the payload rate to send at now, in bytes per second.
    """

    def __init__(self, receivers: Collection[bytes]) -> None:
        self.rate = INITIAL_RATE
        self._send_log = SendLog()
        self._receivers = ReceiverSet(receivers, self._send_log)
        self._phases: dict[CongestionPhase, Callable[[float], None]] = {
            CongestionPhase.STARTUP: self._start_up,
            CongestionPhase.DRAIN: self._drain,
            CongestionPhase.CRUISE: self._cruise,
            CongestionPhase.PROBE: self._probe,
        }
        self._bandwidth = self.rate  # known rate without overload
        self._phase = CongestionPhase.STARTUP
        self._phase_at = -inf
        self._from = 0  # first sequence of this phase
        self._burst = 0  # payload bytes of a burst
        self._has_reports = False  # new reports since the last judgement
        self._judged_at = -inf
        self._step = LARGE_STEP
        self._wait = LEAST_WAIT
        self._grown = -inf, 0.0  # time and value of the last growth of the common rate
        self._clean = False  # everything arrived during startup, at some rate
        self._pushed_rate = 0.0  # delivered rate when the sending rate was raised in spite of loss
        self._displaced_others = False  # that raised the delivered rate, at others' expense
        self._cut_at = -inf
        self._reported_at = -inf  # time of the last report, or of the end of a pause
        self._link = 0.0  # measured link rate of the slowest receiver
        self._reach = 0.0  # rate that most receivers could get at most

    # --- events ---------------------------------------------------------------------------

    def record_burst(self, now: float, sequence: int, datagrams: int, payload: int) -> None:
        """Record a burst: first sequence number, number of datagrams, payload bytes.

        `now` must be taken before the system call: a later time would make every later queue look longer.
        """
        gap = now - self._send_log.last_at
        self._send_log.record_burst(now, sequence, datagrams, payload)
        if gap > PAUSE_SECONDS:
            self._reported_at = now  # there was nothing to report
        elif now - self._reported_at > SILENCE_SECONDS:
            self._reported_at = now
            self._receivers.update_following(now)
            self._bandwidth = max(MIN_RATE, self.rate / 2)
            self._step = LARGE_STEP
            self._enter(now, CongestionPhase.CRUISE)

    def record_report(self, now: float, report: ReceiverReport) -> None:
        """Record a receiver's report; `update` is called after all waiting reports.

        Reports older than the newest of the same receiver are ignored.
        """
        self._reported_at = now
        self._has_reports = self._receivers.record_report(now, report) or self._has_reports

    def update(self, now: float) -> None:
        """Adjust the rate to the reports."""
        if now - self._judged_at < JUDGE_SECONDS * (self._receivers.count - FEW_RECEIVERS):
            return
        self._judged_at = now
        self._receivers.update_following(now)
        if self._has_reports:
            self._has_reports = False
            self._cut_to_what_arrives(now)
            self._phases[self._phase](now)

    def burst_datagrams(self, size: int) -> int:
        """The number of datagrams with `size` bytes of payload to send at once: about a millisecond's worth.

        More would overflow short queues and blur the measurements. Fewer are expensive for receivers, which
        need a call for each burst; so there is a minimum, and with many receivers a full burst.
        """
        seconds = BURST_SECONDS * max(1.0, self._receivers.count / FEW_RECEIVERS)
        usual = int(self.rate * seconds / size)
        if usual > FULL_BATCH_SHARE * MAX_BATCH_DATAGRAMS:
            usual = MAX_BATCH_DATAGRAMS
        least = min(
            MIN_BURST_DATAGRAMS, int(self.rate * LONGEST_GAP / size)
        )  # otherwise reports are meaningless
        turn = max(1, least, usual)
        self._burst = turn * size
        return turn

    # --- results --------------------------------------------------------------------------

    def following(self) -> frozenset[bytes]:
        """The receivers that keep up. The relay chain serves the others."""
        return frozenset(receiver.name for receiver in self._receivers.following())

    # --- too fast -------------------------------------------------------------------------------

    def _cut_to_what_arrives(self, now: float) -> None:
        """Reduce the rate if a receiver was overloaded in two consecutive judgements. A single one is a pause
        of the receiver."""
        following = self._receivers.following()
        overloaded = [
            (each, sample)
            for each in following
            if each.overload_count > 1 and (sample := each.overload_sample())
        ]
        if not overloaded:
            return
        most = 2 * len(overloaded) > len(following)
        if most:
            self._reach = typical_rate(self._receivers.samples(0, SAMPLE_SECONDS) or overloaded)
        useful = []
        for each, sample in overloaded:
            if each.max_delivered < 0.5 * self._reach:
                each.trial = now if each.trial is None else each.trial
            else:
                useful.append((each.max_delivered / (1 - each.ambient), each, sample))
        if useful and (most or self._phase is not CongestionPhase.STARTUP):
            useful.sort(key=itemgetter(0))  # if most are overloaded, a single rate means little
            rate, receiver, sample = useful[len(useful) // 4 if most else 0]
            begins, crowded = self._phase is CongestionPhase.STARTUP, receiver.crowded
            if begins and not crowded:
                self._handle_startup_overload(now, rate)
            elif _is_plain(receiver, sample) and (begins or sample.overloaded):
                self._cut(now, rate)
            elif self._phase is not CongestionPhase.DRAIN and (
                crowded or receiver.queue_delay(0.0) > LONG_QUEUE_SECONDS
            ):
                self._end_probe(now, 0.0 if crowded else rate)

    def _handle_startup_overload(self, now: float, rate: float) -> None:
        """Startup has overshot. If so from the start, either little fits or others fill the link: a higher
        rate tells which."""
        self._displaced_others = self._displaced_others or rate > 1.1 * self._pushed_rate > 0
        if self._clean or rate < GROWTH * self._pushed_rate or self.rate > 3 * rate:
            self._link = max(self._link, rate)
            self._cut(now, rate * (YIELD_SHARE if self._displaced_others else 1.0))
            return
        self._pushed_rate = rate
        self._bandwidth = self.rate = 2 * self.rate
        self._receivers.ignore_before(self._send_log.next)

    def _cut(self, now: float, rate: float) -> None:
        again = now - self._cut_at < SILENCE_SECONDS
        self._cut_at = now
        if not again and self._phase is not CongestionPhase.PROBE:
            self._wait = LEAST_WAIT / 2
        self._end_probe(now, rate)
        if self._bandwidth > rate:
            self._bandwidth = max(MIN_RATE, rate)
            self._pace(self._draining())

    def _end_probe(self, now: float, rate: float) -> None:
        """A probe has overshot; `rate` arrives. A fair gain is kept."""
        if self._phase is CongestionPhase.STARTUP or rate - self._bandwidth > PROBE_FAILURE_SHARE * (
            self.rate - self._bandwidth
        ):
            self._bandwidth = rate
        self._step, self._wait = SMALL_STEP, min(2 * self._wait, MOST_WAIT)
        self._enter(now, CongestionPhase.DRAIN)

    # --- phases ---------------------------------------------------------------------------------

    def _enter(self, now: float, phase: CongestionPhase) -> None:
        self._phase, self._phase_at, self._from = phase, now, self._send_log.next
        if phase is CongestionPhase.PROBE:
            self._pace(1 + self._step)
        elif phase is CongestionPhase.DRAIN:
            self._receivers.ignore_before(self._from)
            self._pace(self._draining())
        else:
            self._pace(1.0)

    def _pace(self, gain: float) -> None:
        self.rate = max(MIN_RATE, self._bandwidth * gain)

    def _start_up(self, now: float) -> None:
        samples = self._receivers.samples(0, JUDGED_SECONDS)
        if not samples:
            return
        rate = typical_rate(samples)
        self._clean = self._clean or rate > CLEAN_DELIVERY_SHARE * self.rate
        if rate > GROWTH * self._grown[1]:
            self._grown = now, rate
        self._learn()
        if now - self._grown[0] > GROWTH_SECONDS and self._queue_persists():
            self._cut(now, rate)  # the sender's own device delays it without loss
        else:
            self._bandwidth = self.rate = max(self.rate, 2 * rate)

    def _drain(self, now: float) -> None:
        self._pace(self._draining())
        samples = self._receivers.majority_samples(self._from, SAMPLE_SECONDS)
        persists = self._queue_persists()
        if samples is None or (persists and now - self._phase_at < 3 * DRAIN_SECONDS):
            return
        if persists and self._bandwidth > YIELD_SHARE * self._link:
            rate = max(sustainable_rate(samples, self._burst), 0.8 * self._bandwidth)
            self._bandwidth = min(self._bandwidth, rate)  # the queue does not shrink: others fill it
        for each, sample in samples:
            each.ambient += (min(sample.loss, OVERLOAD_LOSS) - each.ambient) / 2
        self._enter(now, CongestionPhase.CRUISE)

    def _draining(self) -> float:
        if self._receivers.crowded():
            return 1 - MOST_DRAINED
        return 1 - min(MOST_DRAINED, max(0.05, self._receivers.queue_delay() / DRAIN_SECONDS))

    def _cruise(self, now: float) -> None:
        samples = self._receivers.majority_samples(self._from, SAMPLE_SECONDS)
        if samples is None:
            return
        self._learn()
        if now - self._phase_at >= self._wait:
            self._enter(now, CongestionPhase.PROBE)
        elif not self._queue_persists():
            self._pace(1.0)
        else:
            large = self._bandwidth > YIELD_SHARE * self._link
            if large:
                self._bandwidth = max(
                    MIN_RATE, min(sustainable_rate(samples, self._burst), 1.03 * self._bandwidth)
                )
            self._pace(0.96 if large else 1.0)

    def _probe(self, now: float) -> None:
        samples = self._receivers.majority_samples(self._from, SAMPLE_SECONDS)
        if samples is None:
            return
        self._learn()
        sent = offered_rate(samples)
        rate = min(sustainable_rate(samples, self._burst), sent)
        more, missing, persists = sent - self._bandwidth, sent - rate, self._queue_persists()
        if more < self._step / 2 * self._bandwidth:  # the sender could not reach the rate
            if not persists:
                self._bandwidth = max(self._bandwidth, rate)
            self._step, self._wait = SMALL_STEP, min(2 * self._wait, MOST_WAIT / 4)
            self._enter(now, CongestionPhase.CRUISE)
        elif missing < PROBE_FAILURE_SHARE * more and (
            not persists or self._bandwidth < PROBE_FAILURE_SHARE * self._link
        ):
            self._bandwidth = rate
            self._step, self._wait = min(2 * self._step, LARGEST_STEP), LEAST_WAIT
            self._enter(now, CongestionPhase.PROBE)
        elif self._receivers.queue_delay() < QUEUE_SECONDS and not any(_loses(*each) for each in samples):
            self._enter(now, CongestionPhase.PROBE)  # the rest is still queued: a thread was delayed
        else:
            if missing < 0.7 * more and self._bandwidth > YIELD_SHARE * self._link:
                self._bandwidth *= 1 - self._step / 2  # others made room for it
            self._end_probe(now, 0.0)

    # --- evidence -------------------------------------------------------------------------------

    def _learn(self) -> None:
        """Measure the link rate over a longer time, since shapers let a saved burst through."""
        samples = self._receivers.samples(0, LINK_SECONDS)
        if samples:
            self._link = max(self._link, sustainable_rate(samples, self._burst))
            self._reach = max(self._reach, typical_rate(samples))

    def _queue_persists(self) -> bool:
        """Whether there is a standing queue on the path or at its end."""
        return self._receivers.crowded() or self._receivers.queue_delay(STANDING_SECONDS) > QUEUE_SECONDS


def _is_plain(receiver: ReceiverState, sample: DeliverySample) -> bool:
    """Whether the overload is certain: datagrams were lost, or the receiver reports it."""
    return sample.lossy or receiver.crowded


def _loses(receiver: ReceiverState, sample: DeliverySample) -> bool:
    return sample.loss > receiver.ambient + 0.01
