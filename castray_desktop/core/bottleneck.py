"""Which hop of a relay is the slowest, and what holds it up.

A node that could get more than it takes in is slow by itself: its upstream is well ahead of it. One that
keeps up with its upstream is only as slow as that. So of the hops whose upstream is ahead, the one with
the least rate holds up the cast; the source is ahead of everybody. Recipients that a stream to a multicast
group feeds have no hop. What holds that hop up follows from
where its node's time goes: into writing, into hashes, or into waiting for bytes.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from castray_desktop.core.listening import is_fed
from castray_desktop.core.messages.casts import CastSummary, DeliverySnapshot, DeliveryState

AHEAD_BYTES = 16 << 20
AHEAD_SECONDS = 0.5
"""An upstream is ahead with this much, or with what the node takes in within this time: reports of
neighbours may be a quarter of a second apart."""

MOST = 0.5
"""What takes this share of a node's time holds it up."""

NEAR_LIMIT = 0.85
"""A hop that makes this share of the speed limit is held up by it."""


class Cause(enum.StrEnum):
    """What holds up a hop."""

    LINK = "link"
    LIMIT = "limit"
    DISK = "disk"
    PROCESSOR = "processor"
    SOURCE_DISK = "source disk"
    SOURCE_PROCESSOR = "source processor"


@dataclass(frozen=True)
class SlowestHop:
    """The hop that holds up the cast: from `upstream` to `node` at `rate` bytes per second."""

    upstream: str
    node: str
    rate: float
    cause: Cause


def slowest_hop(
    cast: CastSummary, deliveries: Iterable[DeliverySnapshot], limit: int = 0
) -> SlowestHop | None:
    """The slowest hop of a cast that goes on; None while no bytes move.

    `limit` is the engine's over all casts, in bytes per second; 0 for none.
    """
    if cast.state.finished:
        return None
    known = {delivery.node: delivery for delivery in deliveries}
    moving = [
        delivery
        for delivery in known.values()
        if delivery.state is DeliveryState.RECEIVING and delivery.rate >= 1 and not is_fed(cast, delivery)
    ]
    # From the slowest on, so that of a thousand few are compared with their upstream.
    moving.sort(key=lambda delivery: delivery.rate)
    slowest = next((delivery for delivery in moving if _could_get_more(delivery, known)), None)
    if slowest is None:
        return None
    limits = [value for value in (cast.limit, limit) if value > 0]
    return SlowestHop(
        slowest.upstream or cast.source,
        slowest.node,
        slowest.rate,
        _cause(cast, slowest, min(limits, default=0)),
    )


def _could_get_more(delivery: DeliverySnapshot, known: dict[str, DeliverySnapshot]) -> bool:
    upstream = known.get(delivery.upstream)
    if upstream is None or upstream.state.delivered:
        return True
    return upstream.bytes - delivery.bytes > max(AHEAD_BYTES, AHEAD_SECONDS * delivery.rate)


def _cause(cast: CastSummary, delivery: DeliverySnapshot, limit: int) -> Cause:
    if delivery.writing >= MOST and delivery.writing >= delivery.checking:
        return Cause.DISK
    if delivery.checking >= MOST:
        return Cause.PROCESSOR
    if limit and delivery.rate >= NEAR_LIMIT * limit:
        return Cause.LIMIT
    if delivery.upstream in ("", cast.source):
        if cast.reading >= MOST and cast.reading >= cast.checking:
            return Cause.SOURCE_DISK
        if cast.checking >= MOST:
            return Cause.SOURCE_PROCESSOR
    return Cause.LINK
