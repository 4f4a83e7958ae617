"""The multicast side of a cast: who receives the stream, what it brought, what is repaired, why it ended."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from castray_desktop.core.casts.progress import median_rate
from castray_desktop.core.failures.sentences import Explanation, translate_value
from castray_desktop.core.multicast.datagrams import MulticastEnd, MulticastState
from castray_desktop.core.protocol.messages import (
    CastState,
    CastSummary,
    DeliverySnapshot,
    DeliveryState,
    MulticastSnapshot,
    Transport,
)


class RelayOnlyReason(enum.StrEnum):
    """Why a recipient receives by the relay only, while others receive multicast."""

    HEARS_NOTHING = "hears nothing"
    CANT_FOLLOW = "can't follow"


@dataclass(frozen=True)
class MulticastStatus:
    """The multicast status of a cast. Shares are relative to what the multicast receivers have, 0..1.

    The rate is the median of what receivers get, in bytes per second; the snapshot's is the sender's rate,
    which a speed limit may reduce.
    """

    multicast: MulticastSnapshot
    source: str
    listeners: tuple[str, ...]  # recipients of the stream at this moment
    left: Mapping[str, RelayOnlyReason]  # the others, and why
    rate: float
    datagram_share: float
    repaired_share: float

    @property
    def sending(self) -> bool:
        """Whether the stream is being sent to at least one receiver."""
        return self.multicast.state is MulticastState.SENDING and bool(self.listeners)


def multicast_status(cast: CastSummary, deliveries: Iterable[DeliverySnapshot]) -> MulticastStatus | None:
    """The multicast status of a cast; None if multicast was not tried."""
    if cast.multicast is None:
        return None
    fed: list[DeliverySnapshot] = []
    left: dict[str, RelayOnlyReason] = {}
    have = by_datagrams = repaired = 0
    for delivery in deliveries:
        if receives_multicast(cast, delivery):
            fed.append(delivery)
        elif (why := relay_only_reason(cast, delivery)) is not None:
            left[delivery.node] = why
        if delivery.listening or received_mostly_multicast(delivery):
            have += delivery.bytes
            by_datagrams += delivery.datagram_bytes
            repaired += delivery.repaired_bytes
    return MulticastStatus(
        cast.multicast,
        cast.source,
        tuple(delivery.node for delivery in fed),
        left,
        median_rate([delivery.rate for delivery in fed]),
        _share(by_datagrams, have),
        _share(repaired, have),
    )


def receives_multicast(cast: CastSummary, delivery: DeliverySnapshot) -> bool:
    """Whether this recipient receives the multicast stream now."""
    return (
        delivery.listening
        and cast.multicast is not None
        and cast.multicast.state is MulticastState.SENDING
        and not cast.state.finished
        and not delivery.state.finished
    )


def received_mostly_multicast(delivery: DeliverySnapshot) -> bool:
    """Whether multicast brought most of what this recipient has."""
    return delivery.bytes > 0 and 2 * delivery.datagram_bytes > delivery.bytes


def relay_only_reason(cast: CastSummary, delivery: DeliverySnapshot) -> RelayOnlyReason | None:
    """Why this recipient does not receive the stream while it is sent; None if it does, or need not.

    Nodes on the source's machine do not join the group.
    """
    sending = cast.multicast is not None and cast.multicast.state is MulticastState.SENDING
    receiving = delivery.state is DeliveryState.RECEIVING and cast.state is CastState.SENDING
    if not sending or not receiving or delivery.listening or delivery.transport is Transport.LOCAL:
        return None
    return RelayOnlyReason.CANT_FOLLOW if delivery.datagram_bytes else RelayOnlyReason.HEARS_NOTHING


def datagram_share(delivery: DeliverySnapshot) -> float:
    """The share of a recipient's bytes that came by multicast, 0..1."""
    return _share(delivery.datagram_bytes, delivery.bytes)


def repaired_share(delivery: DeliverySnapshot) -> float:
    """The share of a recipient's bytes that its upstream repaired, 0..1."""
    return _share(delivery.repaired_bytes, delivery.bytes)


def _share(part: int, whole: int) -> float:
    return min(1.0, part / whole) if whole > 0 else 0.0


REPAIR_WINDOW = 0.5

"""Seconds. Repair rates are means over this time to twice as long; without a repair for longer, it
is over.
"""

MIN_REPORT_SECONDS = 0.25  # seconds between two reports of a recipient


class _RepairMarks(NamedTuple):
    """Two points in time, `REPAIR_WINDOW` or more apart, with the bytes repaired until then."""

    older: tuple[float, int]
    newer: tuple[float, int]


class RepairRates:
    """The repair rate of each recipient of a cast, from its successive snapshots."""

    def __init__(self) -> None:
        self._marks: dict[str, _RepairMarks] = {}
        self._seen = False

    def update(self, deliveries: Iterable[DeliverySnapshot], now: float) -> dict[str, float]:
        """Bytes per second of every recipient that is being repaired; `now` is in seconds and monotonic.

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
            first = (now - MIN_REPORT_SECONDS, 0) if self._seen else (now, total)
            marks = self._marks[node] = _RepairMarks(first, first)
        if now - marks.newer[0] >= REPAIR_WINDOW:
            marks = self._marks[node] = _RepairMarks(marks.newer, (now, total))
        at, before = marks.older
        return (total - before) / max(MIN_REPORT_SECONDS, now - at)


_E = MulticastEnd

MULTICAST_END_TEMPLATES: Mapping[MulticastEnd, tuple[str, str]] = {
    _E.ORDERED: ("Multicast ended with the cast.", ""),
    _E.NOTHING_ARRIVES: (
        "No recipient received the multicast from {source}, so the relay delivered the files.",
        "Allow UDP to 239.192.0.0/14 (ff12::/16 with IPv6) in firewalls, and enable an IGMP querier"
        " for switches with IGMP snooping. Most cloud networks do not support multicast; use the"
        " relay there.",
    ),
    _E.TOO_SLOW: (
        "Multicast stayed at its lowest speed, so the relay delivered the rest.",
        "Most datagrams are lost on the way: check the network between the nodes, or use the"
        " automatic transport, which is the relay.",
    ),
    _E.NOBODY: (
        "No recipient needed multicast or could keep up with it, so the relay delivered the files.",
        "Recipients on the source's machine or storage are faster without multicast. If others lose"
        " most of the data, check the network between them.",
    ),
    _E.NO_NETWORK: (
        "{source} can't send multicast: {reason}. The relay delivered the files.",
        "Add a multicast route to its network interface, or use the automatic transport.",
    ),
    _E.ENCRYPTED: (
        "Ray encrypts its connections here, and multicast can't be encrypted, so the relay delivered"
        " the files.",
        "Use the automatic transport: it encrypts files wherever Ray is encrypted.",
    ),
    _E.SOURCE_LOST: (
        "{source} went offline before multicast was complete, so a recipient supplied the others.",
        "Check {source} before you send from it again.",
    ),
    _E.OVER: (
        "The cast ended before it was known whether multicast works.",
        "The relay delivers this little data in a moment. Multicast pays off for large casts only.",
    ),
}

"""What happened, then what to do."""


def explain_multicast_end(
    multicast: MulticastSnapshot | None, source: str, translate: Callable[[str], str] = str
) -> Explanation | None:
    """Why multicast was tried and did not deliver everything; None if there is nothing to explain."""
    if multicast is None or multicast.state is not MulticastState.STOPPED:
        return None
    happened, remedy = MULTICAST_END_TEMPLATES[multicast.end or MulticastEnd.ORDERED]
    values = {"source": source, "reason": translate_value(multicast.reason, translate).rstrip(".") or "?"}
    return Explanation(*(translate(text).format_map(values) if text else "" for text in (happened, remedy)))
