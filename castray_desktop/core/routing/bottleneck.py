"""Which hop of a relay is the slowest, and what limits it.

A node that could receive more than it does is slow by itself: its upstream is well ahead of it. One that
keeps up with its upstream is only as slow as that. So of the hops whose upstream is ahead, the one with
the least rate is the bottleneck; the source is ahead of every node. Recipients of the multicast stream
have no hop. What holds it up is a speed limit that is reached; else what its node spends its time on:
writing, hashing, or waiting for bytes. Where none of these is sure, no cause is named.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
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


class BottleneckCause(enum.StrEnum):
    """What limits a hop."""

    UNKNOWN = ""
    LINK = "link"
    LIMIT = "limit"
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
    cast: CastSummary, deliveries: Iterable[DeliverySnapshot], limit: int = 0
) -> SlowestHop | None:
    """The slowest hop of a running cast; None while no bytes move.

    `limit` is the engine's over all casts, in bytes per second; 0 for none.
    """
    if cast.state.finished:
        return None
    known = {delivery.node: delivery for delivery in deliveries}
    moving = [
        delivery
        for delivery in known.values()
        if delivery.state is DeliveryState.RECEIVING
        and delivery.node != cast.source  # which downloads the files, and passes them to itself
        and delivery.rate >= 1
        and not receives_multicast(cast, delivery)
    ]
    # From the slowest on, so that of a thousand few are compared with their upstream.
    moving.sort(key=lambda delivery: delivery.rate)
    slowest = next((delivery for delivery in moving if _could_get_more(delivery, known)), None)
    if slowest is None:
        return None
    limits = [value for value in (cast.options.limit, limit) if value > 0]
    return SlowestHop(
        slowest.upstream or cast.source,
        slowest.node,
        slowest.rate,
        _cause(cast, slowest, _reaches(min(limits, default=0), slowest, moving)),
    )


def _could_get_more(delivery: DeliverySnapshot, known: dict[str, DeliverySnapshot]) -> bool:
    upstream = known.get(delivery.upstream)
    if upstream is None or upstream.state.delivered:
        return True
    return upstream.bytes - delivery.bytes > max(AHEAD_BYTES, AHEAD_SECONDS * delivery.rate)


def _reaches(limit: int, slowest: DeliverySnapshot, moving: Iterable[DeliverySnapshot]) -> bool:
    """Whether the upstream passes on as much as it may, to all that it feeds."""
    passed_on = sum(each.rate for each in moving if each.upstream == slowest.upstream)
    return bool(limit) and passed_on >= NEAR_LIMIT * limit


def _cause(cast: CastSummary, delivery: DeliverySnapshot, limited: bool) -> BottleneckCause:
    if limited:
        return BottleneckCause.LIMIT
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
    return BottleneckCause.LINK if idle else BottleneckCause.UNKNOWN
