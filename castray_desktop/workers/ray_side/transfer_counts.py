"""What a node has sent and received since its agent began, for code inside Ray that asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from castray_desktop.workers.ray_side import protocol

_DELIVERED = (protocol.RecipientState.COMPLETED, protocol.RecipientState.SKIPPED)
_SOURCE_ENDED = (protocol.SourceState.FAILED, protocol.SourceState.CANCELLED)


class TransferCounts:
    """Adds up the reports of the byte plane."""

    def __init__(self) -> None:
        self._sources: dict[str, protocol.SourceReport] = {}
        self._deliveries: dict[str, protocol.DeliveryReport] = {}
        self._sent = 0
        self._received = 0
        self._delivered = 0
        self._failed = 0

    def take(
        self,
        sources: Sequence[protocol.SourceReport],
        deliveries: Sequence[protocol.DeliveryReport],
    ) -> None:
        """Fold reports in; each has the whole state of its cast."""
        for source in sources:
            earlier = self._sources.pop(source.cast, None)
            self._sent += max(0, source.sent_bytes - (earlier.sent_bytes if earlier else 0))
            self._sources[source.cast] = source
        for delivery in deliveries:
            before = self._deliveries.pop(delivery.cast, None)
            self._sent += max(0, delivery.sent_bytes - (before.sent_bytes if before else 0))
            self._received += max(0, delivery.received_bytes - (before.received_bytes if before else 0))
            if before is None or before.state is not delivery.state:
                self._delivered += delivery.state in _DELIVERED
                self._failed += delivery.state is protocol.RecipientState.FAILED
            self._deliveries[delivery.cast] = delivery

    def forget(self, cast: str) -> None:
        """The cast has ended everywhere."""
        self._sources.pop(cast, None)
        self._deliveries.pop(cast, None)

    @property
    def active(self) -> int:
        """How many casts this node takes part in now."""
        sending = {cast for cast, one in self._sources.items() if one.state not in _SOURCE_ENDED}
        ended = protocol.FINAL_RECIPIENT_STATES
        return len(sending | {cast for cast, one in self._deliveries.items() if one.state not in ended})

    def stats(self) -> dict[str, Any]:
        """Numbers since the agent's start; sizes in bytes."""
        return {
            "active": self.active,
            "delivered": self._delivered,
            "failed": self._failed,
            "sent_bytes": self._sent,
            "received_bytes": self._received,
        }
