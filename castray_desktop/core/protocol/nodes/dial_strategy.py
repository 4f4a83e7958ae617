"""Which connection attempts a recipient and its upstream make, and when.

The downstream dials the upstream. Where that does not succeed soon, the upstream is asked to dial the
downstream as well (after RFC 8305, "happy eyeballs": start the second attempt before the first has
failed); the first connection wins. Where neither works, the bytes go through Ray. The transport that
worked is remembered for a while, so that the next connection between the two loses no time; after that
the direct attempt is made first again.

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
UDP = "udp"

ASK_SECONDS = 0.25
RAY_SECONDS = 2.0
REMEMBERED_SECONDS = 300.0
MAX_REMEMBERED = 1000


class DialPlan(NamedTuple):
    """When each attempt starts, in seconds since the connection was requested; infinite for never."""

    dial_after: float
    ask_after: float  # the upstream is asked to dial
    ray_after: float


_TCP_FIRST = DialPlan(0.0, ASK_SECONDS, RAY_SECONDS)
_BOTH_AT_ONCE = DialPlan(0.0, 0.0, RAY_SECONDS)
_RAY_ALONE = DialPlan(math.inf, math.inf, 0.0)

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


def dial_plan(wanted: str, known: str) -> DialPlan:
    """The plan for the user's transport option (`auto`, `direct`: no Ray, `ray`) and the transport that
    worked last. The relay beside multicast (`udp`) uses any transport.

    Raises ValueError for another word.
    """
    try:
        return _PLANS[AUTO if wanted == UDP else wanted, known]
    except KeyError:
        raise ValueError(f"no transport {wanted!r}") from None


class KnownTransports:
    """Upstreams that could only be reached indirectly. Not safe for several threads."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, float]] = {}

    def last_working(self, upstream: str, now: float) -> str:
        """The transport that worked last; `direct` if unknown or too long ago."""
        transport, until = self._known.get(upstream, (DIRECT, 0.0))
        return transport if now < until else DIRECT

    def record(self, upstream: str, transport: str, now: float) -> None:
        """Record the transport that worked. Using a known transport does not extend its validity."""
        if transport == DIRECT:
            self._known.pop(upstream, None)
        elif self.last_working(upstream, now) != transport:
            self._known.pop(upstream, None)
            self._known[upstream] = transport, now + REMEMBERED_SECONDS
            if len(self._known) > MAX_REMEMBERED:
                del self._known[next(iter(self._known))]
