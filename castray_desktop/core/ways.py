"""The ways through between a recipient and its upstream: which are tried, and when.

Downstream dials upstream. Where that is not up soon, upstream is asked to dial downstream as well (after
RFC 8305, "happy eyeballs": start the other attempt before the first has failed); whoever is first wins.
Where neither works, the bytes go through Ray. What worked is remembered for a while, so that the next
connection between the two loses no time, and the normal way is tried again after that.

Standard library only: this module is shipped to the nodes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

DIRECT = "direct"
REVERSE = "reverse"
RAY = "ray"
LOCAL = "local"
AUTO = "auto"

ASK_SECONDS = 0.25
RAY_SECONDS = 2.0
REMEMBERED_SECONDS = 300.0
MAX_REMEMBERED = 1000


class Plan(NamedTuple):
    """What is tried when, in seconds since the connection was wanted; infinite for never."""

    dial_after: float
    ask_after: float  # the upstream is asked to dial
    ray_after: float


_TCP_FIRST = Plan(0.0, ASK_SECONDS, RAY_SECONDS)
_BOTH_AT_ONCE = Plan(0.0, 0.0, RAY_SECONDS)
_RAY_ALONE = Plan(math.inf, math.inf, 0.0)

# (what the user wants, what worked last) -> plan
_PLANS = {
    (AUTO, DIRECT): _TCP_FIRST,
    (AUTO, REVERSE): _BOTH_AT_ONCE,
    (AUTO, RAY): _RAY_ALONE,
    (DIRECT, DIRECT): _TCP_FIRST._replace(ray_after=math.inf),
    (DIRECT, REVERSE): _BOTH_AT_ONCE._replace(ray_after=math.inf),
    (DIRECT, RAY): _BOTH_AT_ONCE._replace(ray_after=math.inf),
    (RAY, DIRECT): _RAY_ALONE,
    (RAY, REVERSE): _RAY_ALONE,
    (RAY, RAY): _RAY_ALONE,
}


def plan(wanted: str, known: str) -> Plan:
    """The plan for what the user wants (`auto`, `direct`: no Ray, `ray`) and what worked last time.

    Raises ValueError for another word.
    """
    try:
        return _PLANS[wanted, known]
    except KeyError:
        raise ValueError(f"no transport {wanted!r}") from None


class KnownWays:
    """Which upstreams could be reached in another way than directly only. Not safe for several threads."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, float]] = {}

    def of(self, upstream: str, now: float) -> str:
        """What worked last; `direct` where nothing else is known, or it was too long ago."""
        way, until = self._known.get(upstream, (DIRECT, 0.0))
        return way if now < until else DIRECT

    def learn(self, upstream: str, way: str, now: float) -> None:
        """This one worked. What is known already is not held for longer by being used."""
        if way == DIRECT:
            self._known.pop(upstream, None)
        elif self.of(upstream, now) != way:
            self._known.pop(upstream, None)
            self._known[upstream] = way, now + REMEMBERED_SECONDS
            if len(self._known) > MAX_REMEMBERED:
                del self._known[next(iter(self._known))]
