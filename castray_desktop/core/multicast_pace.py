"""How fast a multicast sender sends. The time is passed in; no clock, no sockets.

Standard library only: this module is shipped to the nodes.

The pace follows a model of the path instead of single losses, as BBRv2 and BBRv3 do (draft-ietf-ccwg-bbr):
what the listeners get of what was sent gives the rate of the bottleneck, loss counts only above a few per
cent, and short probes (up, then down again) find room that has become free. One-way delay, from the times of
departure and the listener's clock, tells of a queue, which is kept short (LEDBAT, RFC 6817).

Of several listeners the slowest sets the pace, as the *current limiting receiver* of TFMCC (RFC 4654, used by
NORM, RFC 5740) and the *acker* of PGMCC do, but not one that gets less than half of what the others get: the
relay serves that one. Without reports the pace halves again and again, as there. Listeners that are slow
themselves say so, as the window of a TCP receiver does; then it is how fast they take that counts.

Sharing with TCP. Who sends more into a full queue takes it from the others, so a pace that only follows what
it gets would push out flows that back off. The share of a probe that does *not* arrive tells how much of the
link is the prober's own: alone, nothing more arrives; with half of the link, half of it does. A probe is
therefore kept only if more than half of it arrives. And whoever has clearly more than half of what the link
has been seen to carry yields to a queue that stands; whoever has less does not, as Copa's competitive mode
(NSDI 2018).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection
from math import inf
from operator import itemgetter

from castray_desktop.core.multicast import BURST, Report
from castray_desktop.core.multicast_followers import Followers, offered, sustained, usual
from castray_desktop.core.multicast_samples import JUDGED_SECONDS, LOST, Departures, Listener, Sample

FLOOR = 256_000.0
"""Bytes per second; it never paces slower."""

FIRST = 8e6
"""Bytes per second to begin with where nothing is known."""

GROWTH, GROWTH_SECONDS = 1.25, 0.1
"""The beginning is over if what arrives grows less than so much in this time, and a queue stands."""

CLEAN = 0.8
"""Of what is sent: whoever gets that much in the beginning has it without a fight."""

SAMPLE_SECONDS = 0.04
"""A phase is judged by what came over this time at least."""

JUDGE_SECONDS = 0.0005
"""For each of many listeners: looking at all for each report would take most of the sender's time."""

BURST_SECONDS = 0.001
NEARLY_ALL = 0.6
"""Of what a burst takes. Listeners know where whole bursts come to lie; others have to be moved."""

MOST_BURSTS = 4
LEAST_BURST = 10  # datagrams, as TCP begins with (RFC 6928)
LONGEST_GAP = 0.004  # seconds between bursts, whatever their length
FEW = 8  # listeners

LINK_SECONDS = 0.2
"""What a link carries is measured over this time."""

QUEUE_SECONDS = 0.003
"""A longer queue is drained."""

STANDING_SECONDS = 0.06
"""A queue that was there all this time stands."""

LONG_QUEUE_SECONDS = 0.004
"""What waits longer can't be drained on the side."""

DRAIN_SECONDS, MOST_DRAINED = 0.1, 0.4
"""A queue should be gone after this, if less than such a part of the known rate is enough for that. How much
waits in listeners' sockets is not known: there it is that part."""

SMALL_STEP, LARGE_STEP, LARGEST_STEP = 0.08, 0.25, 1.0
"""A probe exceeds the known rate by such a part; it doubles while probes succeed."""

LEAST_WAIT, MOST_WAIT = 0.06, 1.0
"""Seconds between probes; they double while probes fail."""

OWN_SHARE = 0.5
"""A probe fails if more than this part of it did not arrive."""

LARGE_SHARE = 0.6
"""Of what the link has been seen to carry. With more, it yields to a standing queue."""

PAUSE_SECONDS = 0.1
"""Whoever has sent nothing for so long had nothing to send."""

SILENCE_SECONDS = 0.5
"""Without any report the pace halves each time this has passed."""


class Phase(enum.Enum):
    """What the sender is after."""

    STARTUP = "startup"  # doubling until the listeners get no more
    DRAIN = "drain"  # below the known rate, so that queues empty
    CRUISE = "cruise"  # at the known rate
    PROBE = "probe"  # above it


class MulticastPace:
    """The pace of one sender.

    `start` is the rate of the source's earlier agent, in bytes of payload per second, 0 without one;
    `listeners` are the names of those who were told to listen, others may join. All times are of one
    monotonic clock, in seconds.
    `rate` is how many bytes of payload per second should leave now.
    """

    def __init__(self, start: float, listeners: Collection[bytes]) -> None:
        self.rate = max(FLOOR, start or FIRST)
        self._departures = Departures()
        self._followers = Followers(listeners, self._departures)
        self._phases: dict[Phase, Callable[[float], None]] = {
            Phase.STARTUP: self._start_up,
            Phase.DRAIN: self._drain,
            Phase.CRUISE: self._cruise,
            Phase.PROBE: self._probe,
        }
        self._bandwidth = self.rate  # that can be sent without overload, as far as known
        self._phase = Phase.CRUISE if start else Phase.STARTUP
        self._phase_at = -inf
        self._from = 0  # first sequence of this phase
        self._burst = 0  # bytes of payload that leave at once
        self._news = False  # since it was judged last
        self._judged_at = -inf
        self._step = LARGE_STEP
        self._wait = LEAST_WAIT
        self._grown = -inf, 0.0  # when what most get has grown last, and to what
        self._clean = False  # in the beginning all that was sent has come, at some rate
        self._pushed = 0.0  # what had come when it was raised nevertheless, in bytes per second
        self._took = False  # and it got more by that, so from others
        self._cut_at = -inf
        self._too_much = inf  # bytes per second that were, at the last cut
        self._spoke_at = -inf  # last report of anybody, or when sending went on
        self._link = 0.0  # what the link of the slowest follower has been seen to carry
        self._alone = False  # a probe has just shown that nobody else uses that link
        self._reach = 0.0  # what most listeners could get, since they couldn't get more

    # --- what happens ---------------------------------------------------------------------------

    def sent(self, now: float, sequence: int, datagrams: int, payload: int) -> None:
        """A burst leaves: the sequence of its first datagram, how many, and their bytes of payload.

        `now` is from just before it was handed to the system: a later time, if the sender was not run for a
        moment in between, would make every queue afterwards look longer.
        """
        gap = now - self._departures.last_at
        self._departures.add(now, sequence, datagrams, payload)
        if gap > PAUSE_SECONDS:
            self._spoke_at = now  # there was nothing to report of
        elif now - self._spoke_at > SILENCE_SECONDS:
            self._spoke_at = now
            self._followers.judge(now)
            self._bandwidth = max(FLOOR, self.rate / 2)
            self._step = LARGE_STEP
            self._enter(now, Phase.CRUISE)

    def reported(self, now: float, report: Report) -> None:
        """A listener's report came; `judge` follows when all that are there were told.

        Older ones than the newest of the same listener are ignored.
        """
        self._spoke_at = now
        self._news = self._followers.add(now, report) or self._news

    def judge(self, now: float) -> None:
        """Draw conclusions from the reports that have come."""
        if now - self._judged_at < JUDGE_SECONDS * (self._followers.count - FEW):
            return
        self._judged_at = now
        self._followers.judge(now)
        if self._news:
            self._news = False
            self._cut_to_what_arrives(now)
            self._phases[self._phase](now)

    def turn(self, size: int) -> int:
        """How many datagrams of `size` bytes of payload should leave at once: those of a millisecond.

        More of them overflow short queues, and blur what reports say. Fewer cost every listener a
        call for each burst, which makes a slow pace slower where listeners share processors: so there are
        some at least, and with many listeners as many as one burst takes. A fast pace takes several bursts.
        """
        seconds = BURST_SECONDS * max(1.0, self._followers.count / FEW)
        one = int(self.rate * seconds / size)
        one = BURST if one > NEARLY_ALL * BURST else one
        bursts = self.rate * BURST_SECONDS / size / BURST
        several = BURST * min(MOST_BURSTS, round(bursts) if bursts >= 2 else int(bursts))
        least = min(LEAST_BURST, int(self.rate * LONGEST_GAP / size))  # or its reports say nothing
        turn = max(1, least, one, several)
        self._burst = turn * size
        return turn

    # --- what is known --------------------------------------------------------------------------

    def followers(self) -> frozenset[bytes]:
        """Who hears it and can follow. The others are the relay's business."""
        return frozenset(listener.name for listener in self._followers.all())

    def heard(self) -> frozenset[bytes]:
        """Who has ever received a datagram."""
        return self._followers.heard()

    def delivered(self) -> float:
        """Bytes per second that the slowest follower gets, over the last quarter of a second or so."""
        samples = self._followers.samples(0, 0.2) or self._followers.samples(0, 0.01)
        return min((sample.delivered for _, sample in samples), default=0.0)

    def loss(self) -> float:
        """What the worst follower has lost over the last half second, as a share, 0..1."""
        samples = self._followers.samples(0, 0.5) or self._followers.samples(0, 0.01)
        return max((sample.loss for _, sample in samples), default=0.0)

    # --- too fast -------------------------------------------------------------------------------

    def _cut_to_what_arrives(self, now: float) -> None:
        """Where a listener was overloaded in two verdicts running. One alone is a pause of its own."""
        following = self._followers.all()
        struck = [(each, sample) for each in following if each.strikes > 1 and (sample := each.struck())]
        if not struck:
            return
        most = 2 * len(struck) > len(following)
        if not most:
            struck = [pair for pair in struck if _is_plain(*pair) or pair[0].strikes > 3]
        if most:
            self._reach = usual(self._followers.samples(0, SAMPLE_SECONDS) or struck)
        useful = []
        for each, sample in struck:
            if each.gets < 0.5 * self._reach:
                each.trial = now if each.trial is None else each.trial
            else:
                useful.append((each.gets / (1 - each.ambient), each, sample))
        if useful and (most or self._phase is not Phase.STARTUP):
            useful.sort(key=itemgetter(0))  # where it is most of them, what a single one got says little
            rate, listener, sample = useful[len(useful) // 4 if most else 0]
            begins, crowded = self._phase is Phase.STARTUP, listener.crowded
            if begins and not crowded:
                self._begin_well(now, rate)
            elif _is_plain(listener, sample) and (begins or sample.overloaded):
                self._cut(now, rate)
            elif self._phase is not Phase.DRAIN and (crowded or listener.queue(0.0) > LONG_QUEUE_SECONDS):
                self._end_probe(now, 0.0 if crowded else rate)

    def _begin_well(self, now: float, rate: float) -> None:
        """The beginning was too much. If it was so from the start, either little fits, or others fill the
        link: more tells which."""
        self._took = self._took or rate > 1.1 * self._pushed > 0
        if self._clean or rate < GROWTH * self._pushed or self.rate > 3 * rate:
            self._link = max(self._link, rate)
            self._cut(now, rate * (LARGE_SHARE if self._took else 1.0))
            return
        self._pushed = rate
        self._bandwidth = self.rate = 2 * self.rate
        self._followers.ignore_before(self._departures.next)

    def _cut(self, now: float, rate: float) -> None:
        before, tried = self._bandwidth, max(self.rate, self._bandwidth)
        again = now - self._cut_at < SILENCE_SECONDS
        self._cut_at, self._too_much = now, tried
        if not again and self._phase is not Phase.PROBE:
            self._wait = LEAST_WAIT / 2
        self._end_probe(now, rate)
        if self._bandwidth > rate:
            self._bandwidth = max(FLOOR, rate)
            self._pace(self._draining())
        if self._bandwidth < 0.8 * before:
            self._step = LARGE_STEP

    def _end_probe(self, now: float, rate: float) -> None:
        """Something is too much, where `rate` arrives. What a probe has gained honestly is kept."""
        if self._phase is Phase.STARTUP or rate - self._bandwidth > OWN_SHARE * (self.rate - self._bandwidth):
            self._bandwidth = rate
        self._step, self._wait = SMALL_STEP, self._longer_wait()
        self._enter(now, Phase.DRAIN)

    # --- phases ---------------------------------------------------------------------------------

    def _enter(self, now: float, phase: Phase) -> None:
        self._phase, self._phase_at, self._from = phase, now, self._departures.next
        if phase is Phase.PROBE:
            self._pace(1 + self._step)
        elif phase is Phase.DRAIN:
            self._followers.ignore_before(self._from)
            self._pace(self._draining())
        else:
            self._pace(1.0)

    def _pace(self, gain: float) -> None:
        self.rate = max(FLOOR, self._bandwidth * gain)

    def _start_up(self, now: float) -> None:
        samples = self._followers.samples(0, JUDGED_SECONDS)
        if not samples:
            return
        rate = usual(samples)
        self._clean = self._clean or rate > CLEAN * self.rate
        if rate > GROWTH * self._grown[1]:
            self._grown = now, rate
        self._reach = max(self._reach, rate)
        self._learn()
        if now - self._grown[0] > GROWTH_SECONDS and self._stands():
            self._cut(now, rate)  # the sender's own device holds it up, so nothing gets lost
        else:
            self._bandwidth = self.rate = max(self.rate, 2 * rate)

    def _drain(self, now: float) -> None:
        self._pace(self._draining())
        samples = self._followers.most_samples(self._from, SAMPLE_SECONDS)
        stands = self._stands()
        if samples is None or (stands and now - self._phase_at < 3 * DRAIN_SECONDS):
            return
        if stands and self._bandwidth > LARGE_SHARE * self._link:
            rate = max(sustained(samples, self._burst), 0.8 * self._bandwidth)
            self._bandwidth = min(self._bandwidth, rate)  # it gets no shorter: others fill it
        elif self._alone and not stands:
            self._link = self._bandwidth
        self._alone = False
        for each, sample in samples:
            each.ambient += (min(sample.loss, LOST) - each.ambient) / 2
        self._enter(now, Phase.CRUISE)

    def _draining(self) -> float:
        if self._followers.crowded():
            return 1 - MOST_DRAINED
        return 1 - min(MOST_DRAINED, max(0.05, self._followers.queue() / DRAIN_SECONDS))

    def _cruise(self, now: float) -> None:
        samples = self._followers.most_samples(self._from, SAMPLE_SECONDS)
        if samples is None:
            return
        self._learn()
        if now - self._phase_at >= self._wait:
            self._enter(now, Phase.PROBE)
        elif not self._stands():
            self._pace(1.0)
        else:
            large = self._bandwidth > LARGE_SHARE * self._link
            if large:
                self._bandwidth = max(FLOOR, min(sustained(samples, self._burst), 1.03 * self._bandwidth))
            self._pace(0.96 if large else 1.0)

    def _probe(self, now: float) -> None:
        samples = self._followers.most_samples(self._from, SAMPLE_SECONDS)
        if samples is None:
            return
        self._learn()
        sent = offered(samples)
        rate = min(sustained(samples, self._burst), sent)
        more, missing, stands = sent - self._bandwidth, sent - rate, self._stands()
        if more < self._step / 2 * self._bandwidth:  # the sender could not send as fast as it was told
            if not stands:
                self._bandwidth = max(self._bandwidth, rate)
            self._step, self._wait = SMALL_STEP, min(self._longer_wait(), MOST_WAIT / 4)
            self._enter(now, Phase.CRUISE)
        elif missing < OWN_SHARE * more and (not stands or self._bandwidth < OWN_SHARE * self._link):
            self._bandwidth = rate
            self._step, self._wait = self._next_step(), LEAST_WAIT
            self._enter(now, Phase.PROBE)
        elif self._followers.queue() < QUEUE_SECONDS and not any(_loses(*each) for each in samples):
            self._enter(
                now, Phase.PROBE
            )  # what is missing must be somewhere: somebody was not run for a moment
        else:
            self._alone = missing > 0.85 * more
            if missing < 0.7 * more and self._bandwidth > LARGE_SHARE * self._link:
                self._bandwidth *= 1 - self._step / 2  # somebody made room for it
            self._end_probe(now, 0.0)

    def _longer_wait(self) -> float:
        """Who has much less than a fair share may have been wronged by a moment, and asks again soon."""
        little = self._bandwidth < 0.5 * OWN_SHARE * self._link
        return min(2 * self._wait, MOST_WAIT / 4 if little else MOST_WAIT)

    def _next_step(self) -> float:
        """Larger ones while they succeed, but not at one leap beyond what was too much before."""
        step = min(2 * self._step, LARGEST_STEP)
        if self._bandwidth > 0.9 * self._too_much:
            self._too_much = inf
            return SMALL_STEP
        return min(step, max(SMALL_STEP, self._too_much / self._bandwidth - 1))

    # --- evidence -------------------------------------------------------------------------------

    def _learn(self) -> None:
        """What the link carries: over a longer time, since shapers let a burst through that was saved up."""
        samples = self._followers.samples(0, LINK_SECONDS)
        if samples:
            self._link = max(self._link, sustained(samples, self._burst))
            self._reach = max(self._reach, usual(samples))

    def _stands(self) -> bool:
        """Whether there is a queue that does not go away, on the path or at its end."""
        return self._followers.crowded() or self._followers.queue(STANDING_SECONDS) > QUEUE_SECONDS


def _is_plain(listener: Listener, sample: Sample) -> bool:
    """Whether an overload is beyond doubt: something got lost, or the listener itself says so."""
    return sample.lossy or listener.crowded


def _loses(listener: Listener, sample: Sample) -> bool:
    return sample.loss > listener.ambient + 0.01
