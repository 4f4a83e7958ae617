"""Which hop of a relay is the slowest, and what limits it.

A node that could receive more than it does is slow by itself: its upstream is well ahead of it. One that
keeps up with its upstream is only as slow as that. So of the hops whose upstream is ahead, the one with
the least rate is the bottleneck; the source is ahead of every node. Recipients of the multicast stream
have no hop. What holds it up is a speed limit that is reached, by this cast alone or together with others;
else what its node spends its time on: writing, hashing, or waiting for bytes. Where none of these is sure,
no cause is named.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from castray_desktop.core.casts.multicast_status import receives_multicast
from castray_desktop.core.protocol.messages.cast_messages import CastSummary, DeliverySnapshot, DeliveryState

AHEAD_BYTES = 16 << 20
AHEAD_SECONDS = 0.5
"""An upstream counts as ahead if it leads by this much, or by what the node receives in this time: reports of
neighbours may be a quarter of a second apart."""

BUSY_SHARE = 0.5
"""An activity that takes this share of a node's time is its bottleneck."""

IDLE_SHARE = 0.35
"""Where writing and hashing together, and reading and hashing at the source, take less than this, the link
is the bottleneck."""

NEAR_LIMIT = 0.85
"""A node that passes on this share of the speed limit is limited by it."""

EQUAL_SHARE = 0.6
"""The hops of several casts from one node share its limit. One that has this part of an equal share is
limited by it; one that has less may be slower by itself, or have smaller pieces."""


class BottleneckCause(enum.StrEnum):
    """What limits a hop."""

    UNKNOWN = ""
    LINK = "link"
    LIMIT = "limit"
    SHARED_LIMIT = "shared limit"
    DISK = "disk"
    PROCESSOR = "processor"
    SOURCE_DISK = "source disk"
    SOURCE_PROCESSOR = "source processor"


@dataclass(frozen=True)
class SlowestHop:
    """The slowest hop: from `upstream` to `node` at `rate` bytes per second."""

    upstream: str
    node: str
    rate: float
    cause: BottleneckCause


def slowest_hop(
    cast: CastSummary,
    deliveries: Iterable[DeliverySnapshot],
    limit: int = 0,
    others: Iterable[DeliverySnapshot] = (),
) -> SlowestHop | None:
    """The slowest hop of a running cast; None while no bytes move.

    `limit` is the engine's over all casts, in bytes per second; 0 for none. `others` are the deliveries of
    the other casts on the same nodes.
    """
    if cast.state.finished:
        return None
    known = {delivery.node: delivery for delivery in deliveries}
    moving = [
        delivery
        for delivery in known.values()
        if _moves(delivery)
        and delivery.node != cast.source  # which downloads the files, and passes them to itself
        and not receives_multicast(cast, delivery)
    ]
    # From the slowest on, so that of a thousand few are compared with their upstream.
    moving.sort(key=lambda delivery: delivery.rate)
    slowest = next((delivery for delivery in moving if _could_get_more(delivery, known)), None)
    if slowest is None:
        return None
    upstream = slowest.upstream or cast.source
    own = [each.rate for each in moving if each.upstream == slowest.upstream]
    beside = [each.rate for each in others if each.upstream == upstream and _moves(each)] if limit else []
    return SlowestHop(upstream, slowest.node, slowest.rate, _cause(cast, slowest, limit, own, beside))


def _could_get_more(delivery: DeliverySnapshot, known: dict[str, DeliverySnapshot]) -> bool:
    upstream = known.get(delivery.upstream)
    if upstream is None or upstream.state.delivered:
        return True
    return upstream.bytes - delivery.bytes > max(AHEAD_BYTES, AHEAD_SECONDS * delivery.rate)


def _moves(delivery: DeliverySnapshot) -> bool:
    return delivery.state is DeliveryState.RECEIVING and delivery.rate >= 1


def _reaches(limit: int, rates: Collection[float]) -> bool:
    """Whether the hops from one node together have the rate that this limit allows; 0 is no limit."""
    return bool(limit) and sum(rates) >= NEAR_LIMIT * limit


def _cause(
    cast: CastSummary,
    delivery: DeliverySnapshot,
    limit: int,
    own: Collection[float],
    beside: Collection[float],
) -> BottleneckCause:
    """`own` and `beside` are the rates of all hops from the upstream, of this cast and of others."""
    if _reaches(cast.options.limit, own) or _reaches(limit, own):
        return BottleneckCause.LIMIT
    hops = [*own, *beside]
    shared = _reaches(limit, hops)
    if shared and delivery.rate >= EQUAL_SHARE * limit / len(hops):
        return BottleneckCause.SHARED_LIMIT
    if delivery.writing >= BUSY_SHARE and delivery.writing >= delivery.checking:
        return BottleneckCause.DISK
    if delivery.checking >= BUSY_SHARE:
        return BottleneckCause.PROCESSOR
    idle = delivery.writing + delivery.checking < IDLE_SHARE
    if delivery.upstream in ("", cast.source):
        if cast.reading >= BUSY_SHARE and cast.reading >= cast.checking:
            return BottleneckCause.SOURCE_DISK
        if cast.checking >= BUSY_SHARE:
            return BottleneckCause.SOURCE_PROCESSOR
        idle = idle and cast.reading + cast.checking < IDLE_SHARE
    return BottleneckCause.LINK if idle and not shared else BottleneckCause.UNKNOWN
