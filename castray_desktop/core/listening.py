"""Who takes the one stream of a cast to a multicast group, what came by it, and what is being repaired."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from castray_desktop.core.messages.casts import (
    CastState,
    CastSummary,
    DeliverySnapshot,
    DeliveryState,
    MulticastSnapshot,
    Transport,
)
from castray_desktop.core.multicast import MulticastState
from castray_desktop.core.progress import median_rate


class Left(enum.StrEnum):
    """Why a recipient gets its bytes by the relay alone, while others listen."""

    HEARS_NOTHING = "hears nothing"
    CANT_FOLLOW = "can't follow"


@dataclass(frozen=True)
class Listening:
    """How a cast to a group stands. Shares are of what those have to whom the stream brings most, 0..1.

    The rate is what the middle one of the listeners takes in, in bytes per second: that of the snapshot is
    the sender's pace, which a speed limit may keep it from.
    """

    multicast: MulticastSnapshot
    source: str
    listeners: tuple[str, ...]  # who is fed by the stream at this moment
    left: Mapping[str, Left]  # who is not, and why
    rate: float
    datagram_share: float
    repaired_share: float

    @property
    def sending(self) -> bool:
        """Whether the stream is on its way to somebody."""
        return self.multicast.state is MulticastState.SENDING and bool(self.listeners)


def listening(cast: CastSummary, deliveries: Iterable[DeliverySnapshot]) -> Listening | None:
    """How a cast's one stream for all stands; None where none was tried."""
    if cast.multicast is None:
        return None
    fed: list[DeliverySnapshot] = []
    left: dict[str, Left] = {}
    have = by_datagrams = repaired = 0
    for delivery in deliveries:
        if is_fed(cast, delivery):
            fed.append(delivery)
        elif (why := why_left(cast, delivery)) is not None:
            left[delivery.node] = why
        if delivery.listening or was_fed(delivery):
            have += delivery.bytes
            by_datagrams += delivery.datagram_bytes
            repaired += delivery.repaired_bytes
    return Listening(
        cast.multicast,
        cast.source,
        tuple(delivery.node for delivery in fed),
        left,
        median_rate([delivery.rate for delivery in fed]),
        _share(by_datagrams, have),
        _share(repaired, have),
    )


def is_fed(cast: CastSummary, delivery: DeliverySnapshot) -> bool:
    """Whether the stream feeds this recipient at this moment."""
    return (
        delivery.listening
        and cast.multicast is not None
        and cast.multicast.state is MulticastState.SENDING
        and not cast.state.finished
        and not delivery.state.finished
    )


def was_fed(delivery: DeliverySnapshot) -> bool:
    """Whether the stream has brought most of what this recipient has."""
    return delivery.bytes > 0 and 2 * delivery.datagram_bytes > delivery.bytes


def why_left(cast: CastSummary, delivery: DeliverySnapshot) -> Left | None:
    """Why the stream does not feed this recipient while it is sent; None where it does, or need not.

    Who is on the source's machine is not told to listen.
    """
    sending = cast.multicast is not None and cast.multicast.state is MulticastState.SENDING
    receiving = delivery.state is DeliveryState.RECEIVING and cast.state is CastState.SENDING
    if not sending or not receiving or delivery.listening or delivery.transport is Transport.LOCAL:
        return None
    return Left.CANT_FOLLOW if delivery.datagram_bytes else Left.HEARS_NOTHING


def datagram_share(delivery: DeliverySnapshot) -> float:
    """How much of what a recipient has came by the stream, 0..1."""
    return _share(delivery.datagram_bytes, delivery.bytes)


def repaired_share(delivery: DeliverySnapshot) -> float:
    """How much of what a recipient has was asked of its upstream, since the stream did not bring it, 0..1."""
    return _share(delivery.repaired_bytes, delivery.bytes)


def _share(part: int, whole: int) -> float:
    return min(1.0, part / whole) if whole > 0 else 0.0


REPAIR_WINDOW = 0.5
"""Seconds. A repair's rate is the mean over this long to twice as long; after that without one it is over."""

SHORTEST = 0.25  # seconds between two reports of a recipient


class _Marks(NamedTuple):
    """Two moments, `REPAIR_WINDOW` or more apart, with the bytes that were repaired until then."""

    older: tuple[float, int]
    newer: tuple[float, int]


class RepairRates:
    """How fast each recipient of one cast is being repaired, from what its deliveries say again and again."""

    def __init__(self) -> None:
        self._marks: dict[str, _Marks] = {}
        self._seen = False

    def see(self, deliveries: Iterable[DeliverySnapshot], now: float) -> dict[str, float]:
        """Bytes per second of everybody who is being repaired; `now` is in seconds and never goes back.

        What was repaired before the first call is not counted.
        """
        rates = {}
        for delivery in deliveries:
            if not delivery.repaired_bytes:
                continue
            rate = self._rate(delivery.node, delivery.repaired_bytes, now)
            if rate >= 1 and delivery.state is DeliveryState.RECEIVING:
                rates[delivery.node] = rate
        self._seen = True
        return rates

    def _rate(self, node: str, total: int, now: float) -> float:
        marks = self._marks.get(node)
        if marks is None:
            first = (now - SHORTEST, 0) if self._seen else (now, total)
            marks = self._marks[node] = _Marks(first, first)
        if now - marks.newer[0] >= REPAIR_WINDOW:
            marks = self._marks[node] = _Marks(marks.newer, (now, total))
        at, before = marks.older
        return (total - before) / max(SHORTEST, now - at)
