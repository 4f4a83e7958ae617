"""Finds a node whose upload to several downstream nodes is much slower than a chain would be.

Input: progress of the nodes along a route. Output: the node and its measured upload rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from castray_desktop.core.content.stream_layout import choose_piece_bytes
from castray_desktop.core.routing.route_plan import HOP_SECONDS, Route

WINDOW_SECONDS = 1.0
"""Minimum duration of a rate measurement, from the first bytes that every direct downstream node has
received."""

GAP_SECONDS = 0.75
"""Measurements restart after a longer gap between updates."""

AHEAD_BYTES = 4 << 20
"""A node that is this far ahead of all its downstream nodes is not held up by its upstream."""

MAX_TIME_SHARE = 0.85
MIN_SAVED_SECONDS = 1.0
"""A chain is worth it if it takes at most this share of the time and saves this many seconds."""


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
        self._looked = -inf

    def update(self, now: float, route: Route, progress: Mapping[str, int], total: int) -> SlowFanOut | None:
        """A node with a link so slow that a chain would finish well before this route, if there is one.

        `now` in seconds, `progress` in verified bytes of the stream, `total` its length.
        """
        if now - self._looked > GAP_SECONDS:
            self._since.clear()
        self._looked = now
        found = (
            self._judge(now, node, frozenset(below), route, progress, total)
            for node, below in route.downstreams().items()
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
        chain = left / line + nodes * max(HOP_SECONDS, choose_piece_bytes(total, nodes) / line)
        return chain <= MAX_TIME_SHARE * as_it_is and as_it_is - chain > MIN_SAVED_SECONDS
