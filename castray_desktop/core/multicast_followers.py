"""Who a multicast is paced by: listeners that hear it and get at least half of what the others get.

Standard library only: this module is shipped to the nodes.

The others are left to the relay. They become followers again once they have got nearly all for a while.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Optional

from castray_desktop.core.multicast import Report
from castray_desktop.core.multicast_samples import Departures, Listener, Sample

TRIAL_SECONDS = 0.3
"""So long a listener may get less than half of what the others get; then it is no follower."""

BACK_SECONDS = 0.5
"""Such a one must have got nearly everything for this long to be one again."""

ABSENT_SECONDS = 1.0
"""Whose reports stop for so long is no follower."""

Samples = list[tuple[Listener, Sample]]


class Followers:
    """All listeners of one sender, by name, and who of them follows."""

    def __init__(self, listeners: Collection[bytes], departures: Departures) -> None:
        self._listeners = {name: Listener(name) for name in listeners}
        self._departures = departures

    def add(self, now: float, report: Report) -> bool:
        """Take a report in. Whether it says anything new of the path to a follower."""
        listener = self._listeners.get(report.listener)
        if listener is None:
            listener = self._listeners[report.listener] = Listener(report.listener)
        news = listener.add(now, report, self._departures)
        return news and listener.follows

    @property
    def count(self) -> int:
        """How many listeners there are, whether they follow or not."""
        return len(self._listeners)

    def all(self) -> list[Listener]:
        """Who follows."""
        return [each for each in self._listeners.values() if each.heard and each.follows and not each.leaving]

    def heard(self) -> frozenset[bytes]:
        """Who has ever received a datagram."""
        return frozenset(name for name, listener in self._listeners.items() if listener.heard)

    def judge(self, now: float) -> None:
        """Who follows now."""
        furthest = max((each.sequence for each in self._listeners.values()), default=0)
        for each in self._listeners.values():
            if not each.heard:
                continue
            awaited = self._departures.left(each.sequence) if each.sequence < furthest else None
            deaf = awaited is not None and now - awaited > TRIAL_SECONDS
            if deaf or now - each.last_at > ABSENT_SECONDS:
                _follow(now, each, False)
            elif not each.follows and now - each.since > BACK_SECONDS:
                sample = each.sample(0, BACK_SECONDS)
                if sample and sample.loss < 0.1 and sample.delivered > 0.9 * sample.sent:
                    _follow(now, each, True)
            elif each.trial is not None and now - each.trial > TRIAL_SECONDS:
                _follow(now, each, False)

    def ignore_before(self, sequence: int) -> None:
        """Verdicts count only for what is sent from here on."""
        for listener in self._listeners.values():
            listener.ignore_before(sequence)

    def samples(self, sequence: int, seconds: float) -> Samples:
        """Of each follower that has one: the latest `seconds` of what was sent from `sequence` on."""
        return [(each, sample) for each in self.all() if (sample := each.sample(sequence, seconds))]

    def most_samples(self, sequence: int, seconds: float) -> Optional[Samples]:
        """The same, once three followers of four have one."""
        found = self.samples(sequence, seconds)
        return found if found and 4 * len(found) >= 3 * len(self.all()) else None

    def crowded(self) -> bool:
        """Whether a quarter of those who follow say that much waits for them. A few hold nobody up."""
        followers = self.all()
        return bool(followers) and 4 * sum(each.crowded for each in followers) >= len(followers)

    def queue(self, seconds: float = 0.0) -> float:
        """Seconds; of the followers' queues the longest, the worst of each sixteen left out."""
        queues = sorted((each.queue(seconds) for each in self.all()), reverse=True)
        return queues[len(queues) // 16] if queues else 0.0


def sustained(samples: Samples, burst: int) -> float:
    """What could be sent to have just what arrives, by the slowest, in bytes per second.

    Each is compared with what was sent over its own time. Left out are those on trial, and the worst of each
    sixteen: they may not have been run for a moment, and if it is more, verdicts of overload will tell. Of a
    single one a `burst` of bytes more or less says nothing, since reports don't come at its end: so the worst
    counts less that, and most as they are.
    """
    short = sorted(
        (
            (each.sent - each.delivered / (1 - listener.ambient), each.seconds)
            for listener, each in [pair for pair in samples if pair[0].trial is None] or samples
        ),
        reverse=True,
    )
    worst = max(less - burst / seconds for less, seconds in short[len(short) // 16 :])
    return offered(samples) - max(worst, short[len(short) // 2][0])


def offered(samples: Samples) -> float:
    """What was sent to most, in bytes per second: the median."""
    return sorted(sample.sent for _, sample in samples)[len(samples) // 2]


def usual(samples: Samples) -> float:
    """What most get, in bytes per second: the upper median."""
    return sorted(sample.delivered for _, sample in samples)[len(samples) // 2]


def _follow(now: float, listener: Listener, follows: bool) -> None:
    if listener.follows != follows:
        listener.follows, listener.since, listener.trial = follows, now, None
