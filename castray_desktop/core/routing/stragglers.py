"""Find nodes that slow down those below them, from progress reports alone.

A node is a straggler when its upstream was far ahead of it in two consecutive checks and it received much
less than its upstream did. A node that is slowed down from above is close to its upstream, and one that
was just given another upstream is fast, so neither counts. A straggler goes to the tail; where the next
node below the same upstream is slow as well, the upstream's own link is slow, and the upstream goes.

Below the source there is nothing to compare with, since it has everything from the start. So if the cast
will take long, its first recipient is tried at the tail once: that costs one connection, and if the next
one is no faster, it was the source.

A node that receives about what a rate limit leaves to its hop is never a straggler.

A node may also upload to several others so slowly that a chain would be much faster: see `FanOutWatch`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType

from castray_desktop.core.content.stream_layout import MAX_PIECE_BYTES, choose_piece_bytes
from castray_desktop.core.routing.route_plan import HOP_SECONDS, Route

HopLimit = Callable[[str], float]
"""What rate limits leave to each hop that begins at a node, in bytes per second; infinite without a limit."""


def no_limit(_node: str) -> float:
    """The `HopLimit` where there is none."""
    return inf


CHECK_SECONDS = 0.1
"""Checks within this time of the previous one are skipped."""

CONFIRM_SECONDS = 0.2
"""Time between the first check that finds a node slow and the one that decides."""

WINDOW_SECONDS = 0.8
"""Rates are measured over this time: three reports at four a second."""

ACCUSE_SECONDS = 0.8
"""The same for a node whose upstream goes instead: it may just have got that upstream, and begin slowly."""

BEHIND_BYTES = 16 << 20
BEHIND_SECONDS = 0.3
"""A node is far behind by this much, or by what its upstream receives in this time: reports of neighbours may
be a quarter of a second apart."""

SLOW_SHARE = 0.6
"""Share of the rate it could receive; below this it is slow."""

MIN_GAIN_SECONDS = 1.0
"""A move pays if the nodes below finish earlier by more than this; it costs about half of it."""

COOLDOWN_SECONDS = 5.0
"""A node is not moved again within this time."""

SLOW_SECONDS = 60.0
"""How long a node counts as slow; a node with only nodes as slow below it delays nobody."""

TRIAL_SECONDS = 30.0
"""The first recipient is tried at the tail if the rest of the cast would take longer than this."""

TRIAL_EVIDENCE_SECONDS = 0.45
FIRST_REPORTS = 3
"""Minimum of reports with new bytes before a trial: after the list, contents that take a moment to start look
slow."""

MAX_TRIALS = 2
TRIAL_GAIN = 1.5
"""A trial succeeded if the next node receives more than this many times as much."""

FAN_OUT_WINDOW_SECONDS = 1.0
"""Minimum duration of a rate measurement, from the first bytes that every direct downstream node has
received."""

GAP_SECONDS = 0.75
"""Measurements restart after a longer gap between updates."""

FAN_OUT_AHEAD_BYTES = 4 << 20
"""A node that is this far ahead of all its downstream nodes is not held up by its upstream."""

MAX_TIME_SHARE = 0.85
MIN_SAVED_SECONDS = 1.0
"""A chain is worth it if it takes at most this share of the time and saves this many seconds."""


class _NodeProgress:
    """What one node has received from its current upstream lately."""

    def __init__(self, upstream: str, done: int) -> None:
        self.upstream = upstream
        self.done = done
        self._reports = 0  # with something new
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, now: float, done: int) -> None:
        """Only new bytes count, so that a node is not judged before its first byte."""
        if done == self.done:
            return
        self.done = done
        self._reports += 1
        self._samples.append((now, done))
        while len(self._samples) > 2 and self._samples[1][0] <= now - WINDOW_SECONDS:
            self._samples.popleft()

    @property
    def begun(self) -> bool:
        """Whether more than the first bytes have arrived, which may have been delayed by another node."""
        return self._reports >= FIRST_REPORTS

    def rate(self, now: float, complete: bool, seconds: float = CONFIRM_SECONDS) -> float | None:
        """Bytes per second; for a complete node its last rate; None without `seconds` of evidence."""
        if not self._samples:
            return None
        first, last = self._samples[0], self._samples[-1]
        end = now if now - last[0] > WINDOW_SECONDS and not complete else last[0]
        if end - first[0] < seconds:
            return None
        return (last[1] - first[1]) / (end - first[0])

    def most(self, now: float, complete: bool) -> float:
        """The rate if a piece is on its way, which at a low limit may take seconds."""
        if not self._samples:
            return inf
        first, last = self._samples[0], self._samples[-1]
        end = now if now - last[0] > WINDOW_SECONDS and not complete else last[0]
        return (last[1] - first[1] + MAX_PIECE_BYTES) / max(end - first[0], CONFIRM_SECONDS)


@dataclass(frozen=True)
class _TailMove:
    """`node` went to the tail at `when`; it took in `rate` bytes per second, 0 if that is not known."""

    node: str
    when: float
    rate: float


@dataclass(frozen=True)
class _SuspectedUpstream:
    """`node` went to the tail at `when` since two below it were slow: `instead_of`, then `witness`."""

    node: str
    witness: str
    instead_of: str
    when: float
    rate: float  # that `instead_of` took in


class StragglerDetector:
    """Monitors one cast's progress. Four checks a second are enough.

    `zones` maps nodes to zones: a node that enters a zone is limited by the border, so it is not judged.
    `speeds` are known speeds in bytes per second: a known slow node does not delay equally slow nodes.
    """

    def __init__(
        self,
        zones: Mapping[str, str] = MappingProxyType({}),
        speeds: Mapping[str, float] = MappingProxyType({}),
        hop_limit: HopLimit = no_limit,
    ) -> None:
        self._zones = zones
        self._speeds = speeds
        self._hop_limit = hop_limit
        self._receiving: dict[str, _NodeProgress] = {}
        self._found: dict[str, float] = {}  # slow in the last checks, since then
        self._slow: dict[str, _TailMove] = {}  # at the tail
        self._moved: dict[str, float] = {}
        self._below: dict[str, _TailMove] = {}  # by upstream: the last node that was slow below it
        self._suspect: _SuspectedUpstream | None = None
        self._wrong = -inf  # when a suspect was found not to be slow
        self._trial: _TailMove | None = None
        self._trials = MAX_TRIALS
        self._checked_at = -inf

    def find_straggler(self, now: float, route: Route, progress: Mapping[str, int], total: int) -> str | None:
        """The straggler to move to the tail now (`Route.moved_to_tail`), if any.

        `now` in seconds, `progress` in verified bytes of the stream, `total` its length. Nodes without
        progress are left out.
        """
        if now - self._checked_at < CHECK_SECONDS:
            return None
        self._checked_at = now
        view = _ProgressView(now, route, progress, total, self._receiving)
        self._judge_trial(view)
        found = self._found
        self._found = {}
        for node in view.waiting_below(route.source):
            if self._is_slow(node, view) and self._may_go(node, view):
                since = self._found[node] = found.get(node, now)
                if now - since >= CONFIRM_SECONDS:
                    return self._decide(node, view, now - since)
        return self._try(view)

    def _may_go(self, node: str, view: _ProgressView) -> bool:
        """Whether `node` may be moved again, and nodes below it could be faster without it."""
        return (
            view.now - self._moved.get(node, -inf) >= COOLDOWN_SECONDS
            and self._zones.get(node, "") == self._zones.get(view.upstream(node), "")
            and any(not self._as_slow(below, node, view) for below in view.waiting_below(node))
        )

    def _as_slow(self, below: str, node: str, view: _ProgressView) -> bool:
        """Whether `below` would be no faster without `node` above it.

        A slow node may still be much faster than another one.
        """
        slow = self._slow.get(below)
        known = slow is not None and view.now - slow.when < SLOW_SECONDS
        usual = slow.rate if slow is not None and known else self._speeds.get(below, inf)
        return SLOW_SHARE * usual <= (view.rate(node) or 0)

    def _is_slow(self, node: str, view: _ProgressView) -> bool:
        rate, could = view.rate(node), view.could_take(node)
        if rate is None or could is None or rate >= SLOW_SHARE * could:
            return False
        if view.behind(node) <= max(BEHIND_BYTES, BEHIND_SECONDS * could):
            return False
        if view.seconds_left(node, rate) - view.seconds_left(node, could) <= MIN_GAIN_SECONDS:
            return False
        return not self._is_limited(node, view)

    def _is_limited(self, node: str, view: _ProgressView) -> bool:
        """Whether `node` receives about what the limits let its upstream pass on to it."""
        return view.most(node) >= SLOW_SHARE * self._hop_limit(view.upstream(node))

    def _decide(self, node: str, view: _ProgressView, seconds: float) -> str | None:
        """The node to move now that `node` was slow for `seconds`: itself, or the upstream that slows it."""
        now, upstream = view.now, view.upstream(node)
        first = self._below.get(upstream)
        if (
            first is not None
            and now - first.when < COOLDOWN_SECONDS
            and now - self._wrong > 2 * COOLDOWN_SECONDS
        ):
            if seconds < ACCUSE_SECONDS:
                return None
            self._below[upstream] = _TailMove(node, now, view.rate(node) or 0.0)
            if upstream == view.source or now - self._moved.get(upstream, -inf) < COOLDOWN_SECONDS:
                return None
            self._slow.pop(first.node, None)
            self._suspect = _SuspectedUpstream(upstream, node, first.node, now, first.rate)
            return self._move(upstream, view)
        self._below[upstream] = _TailMove(node, now, view.rate(node) or 0.0)
        accused = self._suspect
        if accused is not None and accused.witness == node and now - accused.when < COOLDOWN_SECONDS:
            # Slow below another upstream as well: the accused was innocent, the first one was slow too.
            self._slow.pop(accused.node, None)
            self._slow[accused.instead_of] = _TailMove(accused.instead_of, now, accused.rate)
            self._wrong = now
        return self._move(node, view)

    def _move(self, node: str, view: _ProgressView) -> str:
        self._moved[node] = view.now
        self._slow[node] = _TailMove(node, view.now, view.rate(node) or 0.0)
        self._found = {}
        return node

    # --- the source's only recipient ------------------------------------------------------------

    def _try(self, view: _ProgressView) -> str | None:
        """Try the only recipient of the source at the tail, if that may help."""
        fed = view.fed_by(view.source)
        cooling_down = view.now - max(self._moved.values(), default=-inf) < COOLDOWN_SECONDS
        if len(fed) != 1 or cooling_down or self._found or not self._trials or not self._may_go(fed[0], view):
            return None
        rate = view.rate(fed[0], TRIAL_EVIDENCE_SECONDS) if view.begun(fed[0]) else None
        usual = self._speeds.get(view.source, inf)
        if rate is None or (usual < inf and rate >= SLOW_SHARE * usual):
            return None
        if view.seconds_left(fed[0], rate) <= TRIAL_SECONDS or self._is_limited(fed[0], view):
            return None
        self._trials -= 1
        self._trial = _TailMove(fed[0], view.now, rate)
        return self._move(fed[0], view)

    def _judge_trial(self, view: _ProgressView) -> None:
        trial = self._trial
        if trial is None:
            return
        first = view.fed_by(view.source)
        rates = [view.rate(node, TRIAL_EVIDENCE_SECONDS) for node in first if node != trial.node]
        known = [rate for rate in rates if rate is not None]
        if not known and view.now - trial.when < COOLDOWN_SECONDS:
            return
        self._trial = None
        if known and max(known) > TRIAL_GAIN * trial.rate:
            self._trials += 1  # there may be another slow one
        else:
            self._slow.pop(trial.node, None)


class _ProgressView:
    """One check: route and progress as of `now`."""

    def __init__(
        self,
        now: float,
        route: Route,
        progress: Mapping[str, int],
        total: int,
        receiving: dict[str, _NodeProgress],
    ) -> None:
        self.now = now
        self.source = route.source
        self._upstreams = route.upstreams
        self._total = total
        self._receiving = receiving
        self._children = route.downstreams
        for node, upstream in route.upstreams.items():
            if node not in progress:
                continue
            own = receiving.get(node)
            if own is None or own.upstream != upstream:
                own = receiving[node] = _NodeProgress(upstream, progress[node])
            own.add(now, progress[node])

    def waiting_below(self, top: str) -> Iterator[str]:
        """Incomplete nodes below `top`, nearest first."""
        nodes = [top]
        for node in nodes:
            children = self._children.get(node, ())
            yield from (child for child in children if not self.complete(child))
            nodes.extend(children)

    def fed_by(self, node: str) -> list[str]:
        """Incomplete nodes that fetch from `node`."""
        return [child for child in self._children.get(node, ()) if not self.complete(child)]

    def upstream(self, node: str) -> str:
        return self._upstreams[node]

    def complete(self, node: str) -> bool:
        """A complete node needs nothing; one without reports is not judged."""
        return node not in self._receiving or self._receiving[node].done >= self._total

    def rate(self, node: str, seconds: float = CONFIRM_SECONDS) -> float | None:
        return self._receiving[node].rate(self.now, self.complete(node), seconds)

    def most(self, node: str) -> float:
        return self._receiving[node].most(self.now, self.complete(node))

    def begun(self, node: str) -> bool:
        return self._receiving[node].begun

    def could_take(self, node: str) -> float | None:
        """The rate that a node could receive: its share of what its upstream receives.

        Recipients of the source are compared with their siblings, since the source receives nothing.
        """
        upstream = self._upstreams[node]
        fed = self.fed_by(upstream)
        if upstream == self.source:
            return max(filter(None, (self.rate(other) for other in fed if other != node)), default=None)
        rate = self.rate(upstream) if upstream in self._receiving else None
        return None if rate is None else rate / len(fed)

    def behind(self, node: str) -> int:
        """How many bytes its upstream is ahead; for recipients of the source, their best sibling."""
        upstream = self._upstreams[node]
        before = self.fed_by(upstream) if upstream == self.source else [upstream]
        return max(self._receiving[other].done for other in before) - self._receiving[node].done

    def seconds_left(self, node: str, rate: float) -> float:
        return (self._total - self._receiving[node].done) / rate if rate > 0 else inf


@dataclass(frozen=True)
class SlowFanOut:
    """The node and the rate of its link in bytes per second."""

    node: str
    rate: float


class FanOutWatch:
    """Monitors one cast's progress along one route. `limit` is the rate limit of each hop, 0 for none."""

    def __init__(self, zones: Mapping[str, str], limit: float) -> None:
        self._zones = zones
        self._limit = limit or inf
        self._since: dict[str, tuple[float, frozenset[str], dict[str, int]]] = {}
        self._checked_at = -inf

    def update(self, now: float, route: Route, progress: Mapping[str, int], total: int) -> SlowFanOut | None:
        """A node with a link so slow that a chain would finish well before this route, if there is one.

        `now` in seconds, `progress` in verified bytes of the stream, `total` its length.
        """
        if now - self._checked_at > GAP_SECONDS:
            self._since.clear()
        self._checked_at = now
        found = (
            self._judge(now, node, frozenset(below), route, progress, total)
            for node, below in route.downstreams.items()
            if len(below) > 1
        )
        return next((slow for slow in found if slow is not None), None)

    def _judge(
        self,
        now: float,
        node: str,
        below: frozenset[str],
        route: Route,
        progress: Mapping[str, int],
        total: int,
    ) -> SlowFanOut | None:
        have = {child: progress.get(child, 0) for child in below}
        most = total if node == route.source else progress.get(node, 0)
        known = self._since.get(node)
        held_up = most < total and most - max(have.values()) < FAN_OUT_AHEAD_BYTES
        borders = any(self._zones.get(child, "") != self._zones.get(node, "") for child in below)
        if held_up or borders or not all(have.values()) or max(have.values()) >= total:
            self._since.pop(node, None)
            return None
        if known is None or known[1] != below or any(have[child] < known[2][child] for child in below):
            self._since[node] = (now, below, have)
            return None
        since, _, before = known
        if now - since < FAN_OUT_WINDOW_SECONDS:
            return None
        self._since[node] = (now, below, have)
        rate = sum(have[child] - before[child] for child in below) / (now - since)
        left = total - min(progress.get(one, 0) for one in route.upstreams)
        if rate <= 0 or not self._pays(rate, len(below), left, total, len(route.upstreams)):
            return None
        return SlowFanOut(node, rate)

    def _pays(self, rate: float, fed: int, left: int, total: int, nodes: int) -> bool:
        as_it_is = left / min(rate / fed, self._limit)
        line = min(rate, self._limit)
        chain = left / line + nodes * max(HOP_SECONDS, choose_piece_bytes(total, nodes) / line)
        return chain <= MAX_TIME_SHARE * as_it_is and as_it_is - chain > MIN_SAVED_SECONDS
