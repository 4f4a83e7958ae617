"""One delivery as the ledger keeps it: its snapshot, its meters, and the steps that it takes."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from castray_desktop.core.cast import DeliveryEvent, next_delivery_state
from castray_desktop.core.failure import Failure
from castray_desktop.core.messages import DeliverySnapshot, DeliveryState
from castray_desktop.core.progress import RateMeter, bytes_behind, remaining_seconds
from castray_desktop.workers.casts.multicast_fold import transport_of
from castray_desktop.workers.ray_side.protocol import DeliveryReport, RecipientState

ENDINGS = {
    RecipientState.COMPLETED: DeliveryEvent.LANDED,
    RecipientState.SKIPPED: DeliveryEvent.IDENTICAL,
    RecipientState.FAILED: DeliveryEvent.FAILED,
    RecipientState.CANCELLED: DeliveryEvent.CANCELLED,
}

LATER = {
    DeliveryState.COMPLETED: DeliveryEvent.LANDED,
    DeliveryState.SKIPPED: DeliveryEvent.IDENTICAL,
    DeliveryState.SHARED: DeliveryEvent.SHARED,
    DeliveryState.FAILED: DeliveryEvent.FAILED,
    DeliveryState.CANCELLED: DeliveryEvent.CANCELLED,
}

ARRIVED = frozenset({DeliveryEvent.LANDED, DeliveryEvent.IDENTICAL, DeliveryEvent.SHARED})


@dataclass
class DeliveryEntry:
    """One delivery and its meters. Times are monotonic seconds."""

    snapshot: DeliverySnapshot
    report: DeliveryReport | None = None
    received: RateMeter = field(default_factory=RateMeter)
    content: RateMeter = field(default_factory=RateMeter)
    sent: RateMeter = field(default_factory=RateMeter)
    checking: RateMeter = field(default_factory=RateMeter)
    writing: RateMeter = field(default_factory=RateMeter)

    @property
    def state(self) -> DeliveryState:
        """Where it stands."""
        return self.snapshot.state

    def restart(self) -> None:
        """The node's agent has gone; the next one counts from zero."""
        self.report = None
        self.received, self.content, self.sent = RateMeter(), RateMeter(), RateMeter()
        self.checking, self.writing = RateMeter(), RateMeter()

    def change(self, **facts: object) -> None:
        """Other facts in its snapshot."""
        self.snapshot = msgspec.structs.replace(self.snapshot, **facts)

    def step(self, event: DeliveryEvent) -> None:
        """Take an event. Raises IllegalEventError."""
        self.change(state=next_delivery_state(self.state, event))

    def take(self, report: DeliveryReport, now: float) -> DeliveryEvent | None:
        """Take a report in; how the delivery has ended by it, if it has."""
        self.report = report
        self.received.add(now, report.received_bytes)
        self.content.add(now, report.content_bytes)
        self.sent.add(now, report.sent_bytes)
        self.checking.add(now, report.checking)
        self.writing.add(now, report.writing)
        self.change(
            bytes=report.content_bytes,
            upstream=report.upstream or self.snapshot.upstream,
            hash=report.hash,
            paths=report.paths,
            transport=transport_of(report),
            listening=report.listening,
            datagram_bytes=report.datagram_bytes,
            repaired_bytes=report.repaired_bytes,
            hook_status=report.hook,
            removed=report.removed,
            skipped_bytes=report.skipped_bytes,
        )
        if report.state in ENDINGS:
            return ENDINGS[report.state]
        if report.state is RecipientState.VERIFYING and self.state is not DeliveryState.VERIFYING:
            self.step(DeliveryEvent.ALL_BYTES)
        elif report.stream_bytes and self.state is DeliveryState.WAITING:
            self.step(DeliveryEvent.FIRST_BYTES)
        return None

    def finish(self, event: DeliveryEvent, seconds: float, failure: Failure | None) -> None:
        """It has ended, so many seconds after its cast began."""
        self.step(event)
        self.change(
            seconds=seconds,
            failure=failure,
            rate=self.snapshot.bytes / seconds if seconds > 0 else 0.0,
            eta=None,
            lagging=False,
            behind=0,
            listening=False,
        )

    def shown(
        self, now: float, began: float, content_bytes: int | None, upstream: DeliverySnapshot | None
    ) -> DeliverySnapshot:
        """With rate, remaining time and lag, which depend on the time.

        `content_bytes` are the parcel's, None before they are known; `upstream` is who feeds it.
        """
        snapshot = self.snapshot
        if snapshot.state.finished:
            return snapshot
        rate = self.content.rate(now)
        behind = 0
        if upstream is not None and snapshot.state is DeliveryState.RECEIVING:
            behind = bytes_behind(upstream.bytes, snapshot.bytes, rate)
        return msgspec.structs.replace(
            snapshot,
            rate=round(rate),
            eta=None if content_bytes is None else remaining_seconds(content_bytes - snapshot.bytes, rate),
            behind=behind,
            lagging=behind > 0,
            seconds=round(now - began, 1),
            checking=share(self.checking, now),
            writing=share(self.writing, now),
        )


def share(seconds: RateMeter, now: float) -> float:
    """Seconds spent in each second, coarse: it is for people, and every change is published."""
    return round(min(1.0, max(0.0, seconds.rate(now))) * 20) / 20
