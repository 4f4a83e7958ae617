"""Whether a node that feeds several is as fast as the route was planned for.

A route fans out where nodes were remembered to be fast. Where that was wrong, all below such a node get their
share of a slow line. A chain gives each of them the whole line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from castray_desktop.core.piece_size import piece_bytes
from castray_desktop.core.route import HOP_SECONDS, Route

WINDOW_SECONDS = 1.0
"""Rates are taken over at least this time, from the first bytes that every node below has got."""

GAP_SECONDS = 0.75
"""Looks that are further apart than this begin again: nothing was looked at, or nothing flowed."""

AHEAD_BYTES = 4 << 20
"""A node that has this much more than everything below it is not held up from above."""

WORTH = 0.85
WORTH_SECONDS = 1.0
"""A chain pays where it takes this share of the time at most, and saves so many seconds."""


@dataclass(frozen=True)
class SlowFanOut:
    """The node, and what its line carries in bytes per second."""

    node: str
    rate: float


class FanOutWatch:
    """Looks at one cast's progress along one route. `limit` is that of each hop, 0 for none."""

    def __init__(self, zones: Mapping[str, str], limit: float) -> None:
        self._zones = zones
        self._limit = limit or inf
        self._since: dict[str, tuple[float, frozenset[str], dict[str, int]]] = {}
        self._looked = -inf

    def look(self, now: float, route: Route, progress: Mapping[str, int], total: int) -> SlowFanOut | None:
        """A node whose line is so slow that a chain would end well before this route, if there is one.

        `now` in seconds, `progress` in verified bytes of the stream, `total` its length.
        """
        if now - self._looked > GAP_SECONDS:
            self._since.clear()
        self._looked = now
        found = (
            self._judge(now, node, frozenset(below), route, progress, total)
            for node, below in route.children().items()
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
        held_up = most < total and most - max(have.values()) < AHEAD_BYTES
        borders = any(self._zones.get(child, "") != self._zones.get(node, "") for child in below)
        if held_up or borders or not all(have.values()) or max(have.values()) >= total:
            self._since.pop(node, None)
            return None
        if known is None or known[1] != below or any(have[child] < known[2][child] for child in below):
            self._since[node] = (now, below, have)
            return None
        since, _, before = known
        if now - since < WINDOW_SECONDS:
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
        chain = left / line + nodes * max(HOP_SECONDS, piece_bytes(total, nodes) / line)
        return chain <= WORTH * as_it_is and as_it_is - chain > WORTH_SECONDS
