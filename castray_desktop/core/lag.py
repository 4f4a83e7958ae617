"""Which node holds up those below it, found from progress reports alone.

A node is slow when its upstream has been far ahead of it in two looks in a row and it took in much less
than its upstream did. One that is held up from above is close to its upstream, and one that has just been
given another upstream is fast, so neither is. A slow node goes to the tail; where the next one below the
same upstream is slow as well, it was the upstream's own line that is slow, and that node goes.

Below the source there is nothing to compare with: the source has everything from the start. So if the
cast will take long, its first recipient is tried at the tail once: that costs one connection, and if the
next one is no faster, it was the source.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType

from castray_desktop.core.route import Route

LOOK_SECONDS = 0.1
"""Looks that follow one another more closely are left out."""

AGAIN_SECONDS = 0.2
"""Between the first look that finds a node slow and the one that decides."""

WINDOW_SECONDS = 0.8
"""Rates are taken over this time: three reports at four in a second."""

FAR_BYTES = 16 << 20
FAR_SECONDS = 0.3
"""A node is far behind with this much, or with what its upstream takes in within this time: reports of
neighbours may be a quarter of a second apart."""

SLOW = 0.6
"""Of what it could take in; less than this is slow."""

WORTH_SECONDS = 1.0
"""A move pays if those below would be done earlier by more than this; it costs about half of it."""

REST_SECONDS = 5.0
"""A node is not moved again within this time."""

SLOW_SECONDS = 60.0
"""How long a node counts as slow; one that has only such nodes below it holds up nobody."""

TRIAL_SECONDS = 30.0
"""The first recipient is tried at the tail if all of it would take longer than this."""

TRIAL_EVIDENCE_SECONDS = 0.45
FIRST_REPORTS = 3
"""So many with something new, or it is not tried: after the list, contents that take a moment to begin
look slow."""

TRIALS = 2
BETTER = 1.5
"""A trial was right if the next node takes in more than this many times as much."""


class _Pace:
    """What one node has taken in from its present upstream over the last moments."""

    def __init__(self, upstream: str, done: int) -> None:
        self.upstream = upstream
        self.done = done
        self._reports = 0  # with something new
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, now: float, done: int) -> None:
        """Only what is new counts, so that a node is not judged before its first byte has come."""
        if done == self.done:
            return
        self.done = done
        self._reports += 1
        self._samples.append((now, done))
        while len(self._samples) > 2 and self._samples[1][0] <= now - WINDOW_SECONDS:
            self._samples.popleft()

    @property
    def begun(self) -> bool:
        """Whether more has come than the first bytes, which may have waited for somebody else."""
        return self._reports >= FIRST_REPORTS

    def rate(self, now: float, complete: bool, seconds: float = AGAIN_SECONDS) -> float | None:
        """Bytes per second, of a complete node its last ones; None without evidence of `seconds`."""
        if not self._samples:
            return None
        first, last = self._samples[0], self._samples[-1]
        end = now if now - last[0] > WINDOW_SECONDS and not complete else last[0]
        if end - first[0] < seconds:
            return None
        return (last[1] - first[1]) / (end - first[0])


@dataclass(frozen=True)
class _Moved:
    """`node` went to the tail at `when`; it took in `rate` bytes per second, if that matters."""

    node: str
    when: float
    rate: float = 0.0


@dataclass(frozen=True)
class _Accused:
    """`node` went to the tail at `when` since two below it were slow: `instead_of`, then `witness`."""

    node: str
    witness: str
    instead_of: str
    when: float


class LagWatch:
    """Looks at one cast's progress. Four looks in a second are enough.

    `zones` names the nodes' zones: what enters a zone is limited by the border, so it is not judged.
    `speeds` are those remembered of nodes, in bytes per second: what was slow before holds up nobody that
    was as slow. `limit` is the cast's own, in bytes per second, 0 for none.
    """

    def __init__(
        self,
        zones: Mapping[str, str] = MappingProxyType({}),
        speeds: Mapping[str, float] = MappingProxyType({}),
        limit: float = 0.0,
    ) -> None:
        self._zones = zones
        self._speeds = speeds
        self._limit = limit or inf
        self._paces: dict[str, _Pace] = {}
        self._found: dict[str, float] = {}  # slow in the last looks, since then
        self._slow: dict[str, float] = {}  # at the tail, since then
        self._moved: dict[str, float] = {}
        self._below: dict[str, _Moved] = {}  # by upstream: the last node that was slow below it
        self._accused: _Accused | None = None
        self._wrong = -inf  # when an accused one was found innocent
        self._trial: _Moved | None = None
        self._trials = TRIALS
        self._looked = -inf

    def look(self, now: float, route: Route, progress: Mapping[str, int], total: int) -> str | None:
        """The node that is to go to the tail now (`Route.to_tail`), if any.

        `now` in seconds, `progress` in verified bytes of the stream, `total` its length. Nodes without
        progress are left out.
        """
        if now - self._looked < LOOK_SECONDS:
            return None
        self._looked = now
        view = _View(now, route, progress, total, self._paces)
        self._judge_trial(view)
        found = self._found
        self._found = {}
        for node in view.waiting_below(route.source):
            if self._is_slow(node, view) and self._may_go(node, view):
                since = self._found[node] = found.get(node, now)
                if now - since >= AGAIN_SECONDS:
                    return self._decide(node, view)
        return self._try(view)

    def _may_go(self, node: str, view: _View) -> bool:
        """Whether `node` has rested, and others below it could be faster without it."""
        return (
            view.now - self._moved.get(node, -inf) >= REST_SECONDS
            and self._zones.get(node, "") == self._zones.get(view.upstream(node), "")
            and any(not self._as_slow(below, node, view) for below in view.waiting_below(node))
        )

    def _as_slow(self, below: str, node: str, view: _View) -> bool:
        """Whether `below` would be hardly faster without `node` above it."""
        return self._known_slow(below, view.now) or SLOW * self._speeds.get(below, inf) <= (
            view.rate(node) or 0
        )

    def _known_slow(self, node: str, now: float) -> bool:
        return now - self._slow.get(node, -inf) < SLOW_SECONDS

    def _is_slow(self, node: str, view: _View) -> bool:
        rate, could = view.rate(node), view.could_take(node)
        if rate is None or could is None or rate >= SLOW * could:
            return False
        if view.behind(node) <= max(FAR_BYTES, FAR_SECONDS * could):
            return False
        return view.seconds_left(node, rate) - view.seconds_left(node, could) > WORTH_SECONDS

    def _decide(self, node: str, view: _View) -> str | None:
        """Who goes to the tail now that `node` is slow: itself, or the upstream that slows it."""
        now, upstream = view.now, view.upstream(node)
        first, self._below[upstream] = self._below.get(upstream), _Moved(node, now)
        if first is not None and now - first.when < REST_SECONDS and now - self._wrong > 2 * REST_SECONDS:
            if upstream == view.source or now - self._moved.get(upstream, -inf) < REST_SECONDS:
                return None
            self._slow.pop(first.node, None)
            self._accused = _Accused(upstream, node, first.node, now)
            return self._move(upstream, view)
        accused = self._accused
        if accused is not None and accused.witness == node and now - accused.when < REST_SECONDS:
            # Slow below another upstream as well: the accused was innocent, the first one was slow too.
            self._slow.pop(accused.node, None)
            self._slow[accused.instead_of] = self._wrong = now
        return self._move(node, view)

    def _move(self, node: str, view: _View) -> str:
        self._moved[node] = self._slow[node] = view.now
        self._found = {}
        return node

    # --- the source's only recipient ------------------------------------------------------------

    def _try(self, view: _View) -> str | None:
        """Have the only recipient of the source tried at the tail, if that may be worth it."""
        fed = view.fed_by(view.source)
        resting = view.now - max(self._moved.values(), default=-inf) < REST_SECONDS
        if len(fed) != 1 or resting or self._found or not self._trials or not self._may_go(fed[0], view):
            return None
        rate = view.rate(fed[0], TRIAL_EVIDENCE_SECONDS) if view.begun(fed[0]) else None
        usual = min(self._speeds.get(view.source, inf), self._limit)
        if rate is None or (usual < inf and rate >= SLOW * usual):
            return None
        if view.seconds_left(fed[0], rate) <= TRIAL_SECONDS:
            return None
        self._trials -= 1
        self._trial = _Moved(fed[0], view.now, rate)
        return self._move(fed[0], view)

    def _judge_trial(self, view: _View) -> None:
        trial = self._trial
        if trial is None:
            return
        first = view.fed_by(view.source)
        rates = [view.rate(node, TRIAL_EVIDENCE_SECONDS) for node in first if node != trial.node]
        known = [rate for rate in rates if rate is not None]
        if not known and view.now - trial.when < REST_SECONDS:
            return
        self._trial = None
        if known and max(known) > BETTER * trial.rate:
            self._trials += 1  # there may be another slow one
        else:
            self._slow.pop(trial.node, None)


class _View:
    """One look: the route and the progress as of `now`."""

    def __init__(
        self, now: float, route: Route, progress: Mapping[str, int], total: int, paces: dict[str, _Pace]
    ) -> None:
        self.now = now
        self.source = route.source
        self._upstreams = route.upstreams
        self._total = total
        self._paces = paces
        self._children = route.children()
        for node, upstream in route.upstreams.items():
            if node not in progress:
                continue
            pace = paces.get(node)
            if pace is None or pace.upstream != upstream:
                pace = paces[node] = _Pace(upstream, progress[node])
            pace.add(now, progress[node])

    def waiting_below(self, top: str) -> Iterator[str]:
        """Who is not complete below `top`, nearest first."""
        nodes = [top]
        for node in nodes:
            children = self._children.get(node, ())
            yield from (child for child in children if not self.complete(child))
            nodes.extend(children)

    def fed_by(self, node: str) -> list[str]:
        """Who fetches from `node` and is not complete."""
        return [child for child in self._children.get(node, ()) if not self.complete(child)]

    def upstream(self, node: str) -> str:
        return self._upstreams[node]

    def complete(self, node: str) -> bool:
        """Nobody waits for bytes of one that is complete, nor of one that has not reported."""
        return node not in self._paces or self._paces[node].done >= self._total

    def rate(self, node: str, seconds: float = AGAIN_SECONDS) -> float | None:
        return self._paces[node].rate(self.now, self.complete(node), seconds)

    def begun(self, node: str) -> bool:
        return self._paces[node].begun

    def could_take(self, node: str) -> float | None:
        """The rate of a node that is not slow: its share of what its upstream takes in.

        Of the source's recipients only siblings can be compared, since it takes in nothing.
        """
        upstream = self._upstreams[node]
        fed = self.fed_by(upstream)
        if upstream == self.source:
            return max(filter(None, (self.rate(other) for other in fed if other != node)), default=None)
        rate = self.rate(upstream) if upstream in self._paces else None
        return None if rate is None else rate / len(fed)

    def behind(self, node: str) -> int:
        """How many bytes its upstream, of the source's recipients its best sibling, is ahead."""
        upstream = self._upstreams[node]
        before = self.fed_by(upstream) if upstream == self.source else [upstream]
        return max(self._paces[other].done for other in before) - self._paces[node].done

    def seconds_left(self, node: str, rate: float) -> float:
        return (self._total - self._paces[node].done) / rate if rate > 0 else inf
