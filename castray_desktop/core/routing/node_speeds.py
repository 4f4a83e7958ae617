"""How fast nodes are: measured during casts, averaged over casts, dropped when old.

A relay shows a node's own speed only while nothing else limits it: when its upstream is well ahead of it
and feeds it alone. Otherwise what it receives, and what it passes on, is a lower bound.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from castray_desktop.core.content.stream_layout import MAX_PIECE_BYTES
from castray_desktop.core.routing.route_plan import Route
from castray_desktop.core.routing.stragglers import SLOW_SHARE, HopLimit, no_limit

SPAN_SECONDS = 1.0
"""Rates are measured over at least this time."""

SPANS = 3
"""A rate counts once this many spans in a row have reached it: what comes out of buffers does not last."""

AHEAD_BYTES = 16 << 20
AHEAD_SECONDS = 0.5
"""An upstream this much ahead, in bytes or in time at the node's rate, does not limit it."""

WEIGHT = 0.5
HALF_LIFE_SECONDS = 7 * 86_400.0
OLD_SECONDS = 30 * 86_400.0
STEPS = 8
"""Steps per doubling to which speeds are rounded, so that noise does not reorder a chain."""


@dataclass(frozen=True)
class SpeedMeasurement:
    """Bytes per second: exact, or a lower bound where something else was the limit."""

    rate: float
    exact: bool
    corrects: bool = False  # what was known before is wrong


@dataclass(frozen=True)
class KnownSpeed:
    """A node's known speed in bytes per second, as of `when` in POSIX seconds."""

    rate: float
    when: float

    def is_old(self, now: float) -> bool:
        """Whether it is out of date."""
        return now - self.when > OLD_SECONDS


@dataclass
class _Node:
    """Measurements of one node: bytes and seconds on its own, and its best interval otherwise."""

    own_bytes: int = 0
    own_spans: int = 0
    own_seconds: float = 0.0
    best: float = 0.0
    wrong: float = 0.0  # what its line carries where it was taken for a faster one
    taken: deque[float] = field(default_factory=lambda: deque(maxlen=SPANS))
    passed: deque[float] = field(default_factory=lambda: deque(maxlen=SPANS))

    def lasts(self, rates: deque[float], rate: float) -> None:
        """One more span at this rate, 0 for one that says nothing."""
        rates.append(rate)
        if len(rates) == SPANS:
            self.best = max(self.best, min(rates))


@dataclass
class SpeedMeter:
    """Measures the nodes of one cast. May be called at any rate."""

    _nodes: dict[str, _Node] = field(default_factory=dict)
    _before: Mapping[str, int] = field(default_factory=dict)
    _upstreams: Mapping[str, str] = field(default_factory=dict)
    _received: Mapping[str, int] = field(default_factory=dict)
    _when: float | None = None

    def update(
        self,
        now: float,
        route: Route,
        progress: Mapping[str, int],
        received: Mapping[str, int] | None = None,
        hop_limit: HopLimit = no_limit,
    ) -> None:
        """`now` in seconds, `progress` in bytes of the stream that each node has.

        `received` is what has come over its link, where that may be less: it has other bytes from its disk.
        A rate near `hop_limit` is the limit's, and a lower bound of the node's.
        """
        received = progress if received is None else received
        if self._when is None or now - self._when >= SPAN_SECONDS:
            if self._when is not None:
                self._measure(now - self._when, route, progress, received, hop_limit)
            self._when, self._before, self._upstreams = now, dict(progress), route.upstreams
            self._received = dict(received)

    def interrupt(self) -> None:
        """The next interval must not include this moment."""
        self._when = None
        for node in self._nodes.values():
            node.taken.clear()
            node.passed.clear()

    def correct(self, name: str, rate: float) -> None:
        """The node was taken for a faster one; its line carries this."""
        self._nodes.setdefault(name, _Node()).wrong = rate

    def _measure(
        self,
        seconds: float,
        route: Route,
        progress: Mapping[str, int],
        received: Mapping[str, int],
        hop_limit: HopLimit,
    ) -> None:
        passed: dict[str, float] = {}
        took: dict[str, float] = {}
        fed: dict[str, int] = {}
        for upstream in route.upstreams.values():
            fed[upstream] = fed.get(upstream, 0) + 1
        for name, upstream in route.upstreams.items():
            if name not in progress or name not in self._before or self._upstreams.get(name) != upstream:
                continue  # new, or under way from one upstream to another
            taken = received.get(name, 0) - self._received.get(name, 0)
            if taken <= 0:
                continue
            rate = taken / seconds
            passed[upstream] = passed.get(upstream, 0.0) + rate
            node = self._nodes.setdefault(name, _Node())
            far = max(AHEAD_BYTES, AHEAD_SECONDS * rate)
            ahead = min(_ahead(seen, upstream, name) for seen in (self._before, progress))
            limited = (taken + MAX_PIECE_BYTES) / seconds >= SLOW_SHARE * hop_limit(upstream)
            if upstream != route.source and fed[upstream] == 1 and ahead > far and not limited:
                node.own_bytes += taken
                node.own_spans += 1
                node.own_seconds += seconds
            else:
                took[name] = rate
        for name in passed:
            self._nodes.setdefault(name, _Node())
        for name, node in self._nodes.items():
            node.lasts(node.taken, took.get(name, 0.0))
            node.lasts(node.passed, passed.get(name, 0.0))

    def measured(self) -> dict[str, SpeedMeasurement]:
        """The measurement of each node that received or sent anything for a whole interval."""
        found = {}
        for name, node in self._nodes.items():
            own = node.own_bytes / node.own_seconds if node.own_spans >= SPANS else 0.0
            if node.wrong:
                found[name] = SpeedMeasurement(node.wrong, exact=True, corrects=True)
            elif own or node.best:
                found[name] = SpeedMeasurement(max(own, node.best), exact=own >= node.best)
        return found


def _ahead(progress: Mapping[str, int], upstream: str, node: str) -> int:
    return progress.get(upstream, 0) - progress[node]


def average_speed(known: KnownSpeed | None, measure: SpeedMeasurement, now: float) -> KnownSpeed:
    """Average the known speed with a new measurement: exponential, with older values weighing less.

    A lower bound changes nothing if the known speed is higher.
    """
    if known is None or known.is_old(now) or measure.corrects:
        return KnownSpeed(measure.rate, now)
    if not measure.exact and measure.rate <= known.rate:
        return known
    age = max(0.0, now - known.when)
    kept = (1 - WEIGHT) * 0.5 ** (age / HALF_LIFE_SECONDS)
    return KnownSpeed(known.rate * kept + measure.rate * (1 - kept), now)


def quantized_rate(rate: float) -> float:
    """The rate rounded to the nearest step, so that nodes that differ by noise are equal. 0 stays 0."""
    if rate <= 0:
        return 0.0
    return float(2.0 ** (round(STEPS * math.log2(rate)) / STEPS))
