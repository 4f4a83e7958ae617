"""Progress of one delivery, of the source and of multicast, accumulated from agents' reports."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from castray_desktop.core.casts.progress import RateMeter, bytes_behind, remaining_seconds
from castray_desktop.core.casts.states import DeliveryEvent, next_delivery_state
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.multicast.datagrams import MulticastEnd, MulticastState
from castray_desktop.core.protocol.messages import (
    CastState,
    DeliverySnapshot,
    DeliveryState,
    MulticastSnapshot,
    Transport,
)
from castray_desktop.core.protocol.nodes.agent_reports import (
    DeliveryReport,
    MulticastReport,
    RecipientState,
    SourceReport,
    SourceState,
    all_encrypted,
)
from castray_desktop.core.protocol.nodes.cast_parcel import ParcelTotals

MEASURED_SECONDS = 0.3
"""After this long, the stream's rate is meaningful."""


class MulticastProgress:
    """Multicast progress of one cast, over all agents of its source. Empty before multicast is tried."""

    def __init__(self) -> None:
        self._tried = False
        self.report: MulticastReport | None = None  # the source's last one
        self._sent_before = 0  # by agents of the source that are gone
        self._listeners: tuple[str, ...] = ()  # the last ones that there were
        self._since: float | None = None  # the present one sends
        self._until = 0.0
        self._end: MulticastEnd | None = None  # by the engine's decision
        self._reason = ""

    @property
    def sends(self) -> bool:
        """Whether the source is sending datagrams."""
        report = self.report
        return report is not None and self._end is None and report.state is MulticastState.SENDING

    def mark_tried(self) -> None:
        """Recipients were told to join the group."""
        self._tried, self._end, self._reason = True, None, ""

    def stop(self, end: MulticastEnd, reason: str = "") -> None:
        """The engine stopped multicast."""
        self._end, self._reason = end, reason

    def reported(self, report: MulticastReport | None, now: float) -> None:
        """Record a report of the source."""
        if report is None:
            return
        if self._since is None and report.state is MulticastState.SENDING:
            self._since = now
        if self.report is None or self.report.state is not report.state:
            self._until = now
        self.report = report
        self._listeners = report.listeners or self._listeners

    @property
    def rate(self) -> float:
        """Bytes per second: the sender's rate while it sends, the mean afterwards; 0 if unknown."""
        report = self.report
        if report is None or report.state is MulticastState.SENDING or self._since is None:
            return float(report.rate) if report is not None else 0.0
        seconds = self._until - self._since
        return report.sent_bytes / seconds if seconds >= MEASURED_SECONDS else 0.0

    def source_away(self) -> None:
        """The source's agent is gone; the next one counts from zero."""
        if self.report is not None:
            self._sent_before += self.report.sent_bytes
        self.report = self._since = None

    def snapshot(self, cast: CastState) -> MulticastSnapshot | None:
        """The snapshot for clients; it ends with the cast."""
        report = self.report or MulticastReport(MulticastState.WAITING)
        if not self._tried and self._end is None:
            return None
        state, end = report.state, report.end
        sent = self._sent_before + report.sent_bytes
        if self._end is not None and state is not MulticastState.DONE:
            state, end = MulticastState.STOPPED, self._end
        elif cast.finished and state in (MulticastState.WAITING, MulticastState.SENDING):
            state, end = _ended_with(cast, sent)
        return MulticastSnapshot(
            state,
            end,
            self._reason or report.reason,
            self._listeners if state is MulticastState.DONE else report.listeners,
            sent,
            self.rate,
        )


def _ended_with(cast: CastState, sent: int) -> tuple[MulticastState, MulticastEnd | None]:
    """The state of a stream that had not ended before its cast."""
    if cast in (CastState.CANCELLED, CastState.FAILED):
        return MulticastState.STOPPED, MulticastEnd.ORDERED
    return (MulticastState.DONE, None) if sent else (MulticastState.STOPPED, MulticastEnd.OVER)


def transport_of(report: DeliveryReport) -> Transport | None:
    """The transport of most of a recipient's bytes."""
    if report.datagram_bytes * 2 > report.received_bytes > 0:
        return Transport.UDP
    return Transport(report.transport) if report.transport else None


END_EVENTS = {
    RecipientState.COMPLETED: DeliveryEvent.COMMITTED,
    RecipientState.SKIPPED: DeliveryEvent.IDENTICAL,
    RecipientState.FAILED: DeliveryEvent.FAILED,
    RecipientState.CANCELLED: DeliveryEvent.CANCELLED,
}

DEFERRED_END_EVENTS = {
    DeliveryState.COMPLETED: DeliveryEvent.COMMITTED,
    DeliveryState.SKIPPED: DeliveryEvent.IDENTICAL,
    DeliveryState.SHARED: DeliveryEvent.SHARED,
    DeliveryState.FAILED: DeliveryEvent.FAILED,
    DeliveryState.CANCELLED: DeliveryEvent.CANCELLED,
}

ARRIVED = frozenset({DeliveryEvent.COMMITTED, DeliveryEvent.IDENTICAL, DeliveryEvent.SHARED})


@dataclass
class DeliveryProgress:
    """One delivery and its rate meters. Times are monotonic seconds."""

    snapshot: DeliverySnapshot
    encrypted_before: bool | None = None  # the connections of agents that are gone
    report: DeliveryReport | None = None
    received: RateMeter = field(default_factory=RateMeter)
    content: RateMeter = field(default_factory=RateMeter)
    sent: RateMeter = field(default_factory=RateMeter)
    checking: RateMeter = field(default_factory=RateMeter)
    writing: RateMeter = field(default_factory=RateMeter)

    @property
    def state(self) -> DeliveryState:
        """Its state."""
        return self.snapshot.state

    def restart(self) -> None:
        """The node's agent is gone; the next one counts from zero."""
        self.report, self.encrypted_before = None, self.snapshot.encrypted
        self.received, self.content, self.sent = RateMeter(), RateMeter(), RateMeter()
        self.checking, self.writing = RateMeter(), RateMeter()

    def change(self, **facts: object) -> None:
        """Change fields of its snapshot."""
        self.snapshot = msgspec.structs.replace(self.snapshot, **facts)

    def apply_event(self, event: DeliveryEvent) -> None:
        """Apply an event. Raises IllegalEventError."""
        self.change(state=next_delivery_state(self.state, event))

    def apply_report(self, report: DeliveryReport, now: float) -> DeliveryEvent | None:
        """Apply a report; returns the final event if it has ended."""
        self.report = report
        self.received.record(now, report.received_bytes)
        self.content.record(now, report.content_bytes)
        self.sent.record(now, report.sent_bytes)
        self.checking.record(now, report.checking)
        self.writing.record(now, report.writing)
        self.change(
            bytes=report.content_bytes,
            upstream=self.snapshot.upstream
            if report.upstream in ("", self.snapshot.node)
            else report.upstream,
            hash=report.hash,
            paths=report.paths,
            transport=transport_of(report),
            encrypted=all_encrypted((self.encrypted_before, report.encrypted)),
            listening=report.listening,
            datagram_bytes=report.datagram_bytes,
            repaired_bytes=report.repaired_bytes,
            hook_status=report.hook,
            removed=report.removed,
            skipped_bytes=report.skipped_bytes,
            counts=report.counts,
        )
        if report.state in END_EVENTS:
            return END_EVENTS[report.state]
        if report.state is RecipientState.VERIFYING and self.state is not DeliveryState.VERIFYING:
            self.apply_event(DeliveryEvent.ALL_BYTES)
        elif report.stream_bytes and self.state is DeliveryState.WAITING:
            self.apply_event(DeliveryEvent.FIRST_BYTES)
        return None

    def finish(self, event: DeliveryEvent, seconds: float, failure: Failure | None) -> None:
        """It ended this many seconds after the start of its cast."""
        self.apply_event(event)
        self.change(
            seconds=seconds,
            failure=failure,
            rate=self.snapshot.bytes / seconds if seconds > 0 else 0.0,
            eta=None,
            lagging=False,
            behind=0,
            listening=False,
        )

    def snapshot_at(
        self, now: float, began: float, content_bytes: int | None, upstream: DeliverySnapshot | None
    ) -> DeliverySnapshot:
        """The snapshot with rate, remaining time and lag as of `now`.

        `content_bytes` are the parcel's, None if unknown; `upstream` is its upstream's delivery.
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
            checking=rounded_share(self.checking, now),
            writing=rounded_share(self.writing, now),
        )


def rounded_share(seconds: RateMeter, now: float) -> float:
    """Seconds spent per second, rounded: it is shown to people, and every change is published."""
    return round(min(1.0, max(0.0, seconds.rate(now))) * 20) / 20


class SourceProgress:
    """What the source has read and sent. Times are monotonic seconds.

    `report` is the last one of its current agent; `totals` are known once it has scanned.
    """

    def __init__(self) -> None:
        self.report: SourceReport | None = None
        self.totals: ParcelTotals | None = None
        self.trailer_digest = ""  # once the source has read everything
        self.upload = RateMeter()
        self.checking, self.reading = RateMeter(), RateMeter()
        self._last: SourceReport | None = None  # its present agent's, or that of one before
        self._sent_before = self._lists_before = 0  # by agents that are gone

    def restore(self, sent_contents: int, totals: ParcelTotals | None) -> None:
        """Restore the state of a previous engine."""
        self._sent_before, self.totals = sent_contents, totals

    def reported(self, report: SourceReport, now: float) -> None:
        """Record a report."""
        self.report = self._last = report
        self.upload.record(now, self._sent_before + report.sent_bytes)
        self.checking.record(now, report.checking)
        self.reading.record(now, report.reading)
        if self.totals is None:  # a returned source's totals are compared with these
            self.totals = report.totals
        if report.state is SourceState.HASHED and not self.trailer_digest:
            self.trailer_digest = report.trailer_digest

    def source_away(self) -> None:
        """The source's agent is gone, with its state."""
        if self.report is not None:
            self._sent_before += self.report.sent_bytes
            self._lists_before += self.report.sent_lists
        self.checking, self.reading = RateMeter(), RateMeter()
        self.report = None

    @property
    def checksums(self) -> dict[str, int]:
        """How many downloaded files had the checksum that their server states, by its kind."""
        return self._last.checksums if self._last is not None else {}

    @property
    def stream_bytes(self) -> int:
        """Bytes of the stream, 0 if unknown."""
        return self.totals.stream_bytes if self.totals is not None else 0

    @property
    def sent_bytes(self) -> int:
        """Payload sent by all agents of the source."""
        return self._sent_before + (self.report.sent_bytes if self.report is not None else 0)

    @property
    def sent_contents(self) -> int:
        """The part of it that is file contents."""
        lists = self._lists_before + (self.report.sent_lists if self.report is not None else 0)
        return self.sent_bytes - lists

    @property
    def copies(self) -> float:
        """Copies of the contents: data that is compared and not sent does not count."""
        if self.totals is None:
            return 0.0
        contents, stream = self.totals.content_bytes, self.totals.stream_bytes
        if contents:
            return round(self.sent_contents / contents, 4)
        return round(self.sent_bytes / stream, 4) if stream else 0.0

    def files_failed(self) -> Failure | None:
        """The failure for files that could not be sent although the rest arrived."""
        report, totals = self._last, self.totals
        if report is None or totals is None or not report.problem_count:
            return None
        first, total = report.problems[0], totals.files + totals.left_out
        values = {
            "path": first.path,
            **first.failure.values,
            "count": str(report.problem_count),
            "total": str(total),
            "because": first.failure.kind.value,
        }
        everything = report.problem_count >= total
        return Failure(FailureKind.NO_FILE_DELIVERED if everything else FailureKind.FILES_FAILED, values)
