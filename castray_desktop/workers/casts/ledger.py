"""What is known of one cast: reports folded into snapshots. No input, no output; the time is passed in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from castray_desktop.core.cast import (
    CastEvent,
    DeliveryEvent,
    next_cast_state,
    next_delivery_state,
    outcome,
)
from castray_desktop.core.failure import Failure, FailureKind
from castray_desktop.core.messages import (
    CastMode,
    CastResult,
    CastState,
    CastSummary,
    DeliverySnapshot,
    DeliveryState,
    NodeRate,
    SendRequest,
)
from castray_desktop.core.progress import RateMeter, bytes_behind, median_rate, remaining_seconds, slowest
from castray_desktop.core.route import Route
from castray_desktop.workers.casts.multicast_fold import MulticastFold, transport_of
from castray_desktop.workers.ray_side.protocol import (
    DeliveryReport,
    ParcelTotals,
    RecipientState,
    SourceReport,
    SourceState,
)

_ENDINGS = {
    RecipientState.COMPLETED: DeliveryEvent.LANDED,
    RecipientState.SKIPPED: DeliveryEvent.IDENTICAL,
    RecipientState.FAILED: DeliveryEvent.FAILED,
    RecipientState.CANCELLED: DeliveryEvent.CANCELLED,
}

_LATER = {
    DeliveryState.COMPLETED: DeliveryEvent.LANDED,
    DeliveryState.SKIPPED: DeliveryEvent.IDENTICAL,
    DeliveryState.SHARED: DeliveryEvent.SHARED,
    DeliveryState.FAILED: DeliveryEvent.FAILED,
    DeliveryState.CANCELLED: DeliveryEvent.CANCELLED,
}

_ARRIVED = frozenset({DeliveryEvent.LANDED, DeliveryEvent.IDENTICAL, DeliveryEvent.SHARED})

# Problems of the scan: these files are not in the manifest, so the totals don't count them.
_LEFT_OUT = frozenset({FailureKind.NOT_SENDABLE, FailureKind.NOT_READABLE})


@dataclass
class _Entry:
    """One delivery and its meters."""

    snapshot: DeliverySnapshot
    report: DeliveryReport | None = None
    received: RateMeter = field(default_factory=RateMeter)
    content: RateMeter = field(default_factory=RateMeter)
    sent: RateMeter = field(default_factory=RateMeter)
    checking: RateMeter = field(default_factory=RateMeter)
    writing: RateMeter = field(default_factory=RateMeter)

    def restart(self) -> None:
        """The node's agent has gone; the next one counts from zero."""
        self.report = None
        self.received, self.content, self.sent = RateMeter(), RateMeter(), RateMeter()
        self.checking, self.writing = RateMeter(), RateMeter()


class CastLedger:
    """The state of one cast and of its deliveries.

    `started` is in POSIX seconds and for people only; every other time is monotonic.
    """

    def __init__(
        self,
        cast: str,
        request: SendRequest,
        addresses: dict[str, str],
        mode: CastMode,
        started: float,
        now: float,
        schedule: str = "",
        follows: str = "",
    ) -> None:
        self.cast = cast
        self.schedule = schedule
        self.follows = follows
        self.request = request
        self.state = CastState.QUEUED
        self.totals: ParcelTotals | None = None
        self.source: SourceReport | None = None
        self.route: Route | None = None
        self.failure: Failure | None = None
        self.multicast = MulticastFold()
        self._mode = mode
        self._started = started
        self._began = now
        self._ended: float | None = None
        self.trailer_digest = ""  # once the source has read everything
        self._problems: SourceReport | None = None  # the last report that the source gave, here or before
        self._sent_before = self._lists_before = 0  # by agents of the source that are gone
        self._upload = RateMeter()
        self._checking, self._reading = RateMeter(), RateMeter()
        self._entries = {
            node: _Entry(DeliverySnapshot(node, address=address)) for node, address in addresses.items()
        }
        self.place = 0  # among the casts that wait for their turn
        self.order = started  # casts with less come before it, also under the next engine
        self._published: dict[str, DeliverySnapshot] = {}
        self._final_chain: tuple[str, ...] = ()

    # --- events ---------------------------------------------------------------------------------

    def advance(self, event: CastEvent, now: float, failure: Failure | None = None) -> None:
        """Take an event of the cast. Raises IllegalEventError."""
        self.state = next_cast_state(self.state, event)
        if failure is not None or self.state.finished:
            self.failure = failure
        if self.state.finished:
            self._ended = now

    def restore(
        self,
        deliveries: Iterable[DeliverySnapshot],
        sent_bytes: int = 0,
        totals: ParcelTotals | None = None,
    ) -> None:
        """Take over what had ended under another engine; the others begin again.

        `sent_bytes` of the contents had left the source then; `totals` are the parcel's if they were known.
        """
        self._sent_before, self.totals = sent_bytes, totals
        for snapshot in deliveries:
            self._entries[snapshot.node].snapshot = snapshot

    def pause(self, now: float) -> None:
        """The cast is paused, and with it every delivery that has not all its bytes."""
        self.advance(CastEvent.PAUSED, now)
        for entry in self._entries.values():
            if entry.snapshot.state in (DeliveryState.WAITING, DeliveryState.RECEIVING):
                self._step(entry, DeliveryEvent.PAUSED)

    def resume(self, now: float) -> None:
        """The cast waits for its turn, and goes on then."""
        self.advance(CastEvent.RESUMED, now)
        for entry in self._entries.values():
            if entry.snapshot.state is DeliveryState.PAUSED:
                self._step(entry, DeliveryEvent.RESUMED)

    def restore_end(self, seconds: float) -> None:
        """The cast had ended under another engine, so many seconds after its start."""
        self.state = next_cast_state(CastState.PREPARING, self.outcome())
        self._ended = self._began + seconds

    def wait_for(self, failure: Failure | None) -> None:
        """The cast waits, for the reason given, or does not any more."""
        self.failure = failure

    @property
    def started(self) -> float:
        """POSIX seconds."""
        return self._started

    @property
    def mode(self) -> CastMode:
        """As it follows from the recipients."""
        return self._mode

    def planned(self, route: Route) -> None:
        """The relay chain is this one now."""
        self.route = route
        for node, upstream in route.upstreams.items():
            entry = self._entries[node]
            if not entry.snapshot.state.finished and entry.snapshot.upstream != upstream:
                entry.snapshot = msgspec.structs.replace(entry.snapshot, upstream=upstream)
        if len(route.upstreams) >= len(self._final_chain) - 1:
            self._final_chain = route.order()

    def source_reported(self, report: SourceReport, now: float) -> None:
        """The source has said where it stands."""
        self.source = self._problems = report
        self.multicast.reported(report.multicast, now)
        self._upload.add(now, self._sent_before + report.sent_bytes)
        self._checking.add(now, report.checking)
        self._reading.add(now, report.reading)
        if self.totals is None:  # what a source says that is back is compared with these
            self.totals = report.totals
        if report.state is SourceState.SEALED and not self.trailer_digest:
            self.trailer_digest = report.trailer_digest

    def source_away(self, failure: Failure | None) -> None:
        """The source's agent has gone, with all that it knew; `failure` says what is waited for."""
        if self.source is not None:
            self._sent_before += self.source.sent_bytes
            self._lists_before += self.source.sent_lists
        self.multicast.source_away()
        self._checking, self._reading = RateMeter(), RateMeter()
        self.source, self.failure = None, failure

    def source_back(self) -> None:
        """The cast does not wait for its source any more."""
        self.failure = None

    def add_recipient(self, node: str, address: str, mode: CastMode) -> None:
        """One more, unless it is among them already."""
        state = DeliveryState.PAUSED if self.state is CastState.PAUSED else DeliveryState.WAITING
        self._entries.setdefault(node, _Entry(DeliverySnapshot(node, state, address)))
        self._mode = mode

    def delivery_reported(self, node: str, report: DeliveryReport, now: float) -> None:
        """A recipient has said where it stands. Reports after its end are ignored."""
        entry = self._entries[node]
        if entry.snapshot.state.finished:
            return
        entry.report = report
        entry.received.add(now, report.received_bytes)
        entry.content.add(now, report.content_bytes)
        entry.sent.add(now, report.sent_bytes)
        entry.checking.add(now, report.checking)
        entry.writing.add(now, report.writing)
        entry.snapshot = msgspec.structs.replace(
            entry.snapshot,
            bytes=report.content_bytes,
            upstream=report.upstream or entry.snapshot.upstream,
            hash=report.hash,
            paths=report.paths,
            transport=transport_of(report),
            listening=report.listening,
            datagram_bytes=report.datagram_bytes,
            repaired_bytes=report.repaired_bytes,
            hook_status=report.hook,
            removed=report.removed,
        )
        self._advance_delivery(entry, report, now)

    def end_delivery(
        self, node: str, event: DeliveryEvent, now: float, failure: Failure | None = None
    ) -> None:
        """A delivery has ended by the dispatcher's decision. Does nothing when it had ended."""
        entry = self._entries[node]
        if entry.snapshot.state.finished:
            return
        self._finish(entry, event, now, failure)

    def settle(self, later: DeliverySnapshot) -> None:
        """What became of a delivery that waited for its node; the last one may change how the cast ended."""
        entry = self._entries[later.node]
        event = _LATER[later.state]
        state = next_delivery_state(entry.snapshot.state, event)
        entry.snapshot = msgspec.structs.replace(later, state=state)
        outcome = self.outcome()
        if not self.awaited and outcome is not CastEvent.PARTLY_FAILED:
            self.state = next_cast_state(self.state, outcome)
            if outcome is CastEvent.COMPLETED:
                self.failure = None

    def away(self, node: str, failure: Failure) -> None:
        """The node's agent has gone; its delivery waits. Does nothing when it had ended."""
        entry = self._entries[node]
        entry.restart()
        if not entry.snapshot.state.finished:
            self._step(entry, DeliveryEvent.AWAY)
            entry.snapshot = msgspec.structs.replace(entry.snapshot, failure=failure, listening=False)

    def back(self, node: str) -> None:
        """The node's delivery goes on, or begins again."""
        entry = self._entries[node]
        if not entry.snapshot.state.finished:
            entry.snapshot = msgspec.structs.replace(entry.snapshot, failure=None)

    def share(self, node: str, writer: str, now: float, theirs: str = "", ours: str = "") -> None:
        """`node` has the files since `writer` wrote to the same folder: `theirs` there, `ours` here."""
        written = self._entries[writer].snapshot
        entry = self._entries[node]
        entry.snapshot = msgspec.structs.replace(
            entry.snapshot,
            bytes=written.bytes,
            paths=tuple(
                ours + path.removeprefix(theirs) if path.startswith(theirs) else path
                for path in written.paths
            ),
            hash=written.hash,
            upstream=writer,
        )
        self._finish(entry, DeliveryEvent.SHARED, now, None)

    def _advance_delivery(self, entry: _Entry, report: DeliveryReport, now: float) -> None:
        state = entry.snapshot.state
        if report.state in _ENDINGS:
            self._finish(entry, _ENDINGS[report.state], now, report.failure)
        elif report.state is RecipientState.VERIFYING and state is not DeliveryState.VERIFYING:
            self._step(entry, DeliveryEvent.ALL_BYTES)
        elif report.stream_bytes and state is DeliveryState.WAITING:
            self._step(entry, DeliveryEvent.FIRST_BYTES)

    def _step(self, entry: _Entry, event: DeliveryEvent) -> None:
        state = next_delivery_state(entry.snapshot.state, event)
        entry.snapshot = msgspec.structs.replace(entry.snapshot, state=state)

    def _finish(self, entry: _Entry, event: DeliveryEvent, now: float, failure: Failure | None) -> None:
        if event in _ARRIVED or (failure is not None and failure.kind is FailureKind.FILES_FAILED):
            failure = self._files_failed() or failure
            event = DeliveryEvent.FAILED if failure is not None else event
        self._step(entry, event)
        seconds = now - self._began
        entry.snapshot = msgspec.structs.replace(
            entry.snapshot,
            seconds=seconds,
            failure=failure,
            rate=entry.snapshot.bytes / seconds if seconds > 0 else 0.0,
            eta=None,
            lagging=False,
            behind=0,
            listening=False,
        )

    def _files_failed(self) -> Failure | None:
        """What the source could not send of a parcel whose rest has arrived, by its first file's name."""
        report, totals = self._problems, self.totals
        if report is None or totals is None or not report.problem_count:
            return None
        left_out = sum(problem.failure.kind in _LEFT_OUT for problem in report.problems)
        first = report.problems[0]
        values = {
            "path": first.path,
            **first.failure.values,
            "count": str(report.problem_count),
            "total": str(totals.files + left_out),
            "because": first.failure.kind.value,
        }
        return Failure(FailureKind.FILES_FAILED, values)

    # --- what others ask ------------------------------------------------------------------------

    @property
    def recipients(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self._entries)

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The recipients whose deliveries have not ended."""
        return tuple(node for node, entry in self._entries.items() if not entry.snapshot.state.finished)

    @property
    def awaited(self) -> tuple[str, ...]:
        """The recipients that get theirs by another cast, when they are there."""
        return tuple(
            node for node, entry in self._entries.items() if entry.snapshot.state is DeliveryState.AWAITED
        )

    @property
    def all_bytes_there(self) -> bool:
        """Every delivery that goes on has all its bytes."""
        going_on = [
            entry.snapshot.state for entry in self._entries.values() if not entry.snapshot.state.finished
        ]
        return bool(going_on) and all(state is DeliveryState.VERIFYING for state in going_on)

    @property
    def source_settled(self) -> bool:
        """The source's report covers what the recipients got from it."""
        if self.source is None:
            return True
        taken = sum(
            entry.report.received_bytes
            for entry in self._entries.values()
            if entry.report is not None and entry.snapshot.upstream == self.request.source
        )
        return self.sent_bytes >= taken

    @property
    def stream_bytes(self) -> int:
        """The parcel's, 0 before it is known."""
        return self.totals.stream_bytes if self.totals is not None else 0

    @property
    def sent_bytes(self) -> int:
        """Payload that left the source, counting every agent that it has had."""
        return self._sent_before + (self.source.sent_bytes if self.source is not None else 0)

    @property
    def sent_contents(self) -> int:
        """The part of it that is files' contents."""
        lists = self._lists_before + (self.source.sent_lists if self.source is not None else 0)
        return self.sent_bytes - lists

    def verified_bytes(self, node: str) -> int:
        """What a recipient has of the stream, as far as its agent has said."""
        report = self._entries[node].report
        return report.stream_bytes if report is not None else 0

    def received_bytes(self, node: str) -> int:
        """Payload that a recipient's present agent has taken in, as far as it has said."""
        report = self._entries[node].report
        return report.received_bytes if report is not None else 0

    def outcome(self) -> CastEvent:
        """How the cast has ended, from its deliveries."""
        return outcome(entry.snapshot for entry in self._entries.values())

    def delivery(self, node: str) -> DeliverySnapshot:
        """One delivery as it was last reported, without rates."""
        return self._entries[node].snapshot

    def deliveries(self, now: float) -> tuple[DeliverySnapshot, ...]:
        """Every delivery as of `now`."""
        return tuple(self._snapshot(entry, now) for entry in self._entries.values())

    def changed_deliveries(self, now: float) -> tuple[DeliverySnapshot, ...]:
        """The deliveries that differ from the last call's."""
        changed = tuple(item for item in self.deliveries(now) if self._published.get(item.node) != item)
        self._published.update({item.node: item for item in changed})
        return changed

    def rates(self, now: float) -> list[NodeRate]:
        """The traffic of this cast at each node."""
        rates = [NodeRate(self.request.source, sent=self._upload.rate(now))]
        for node, entry in self._entries.items():
            rates.append(NodeRate(node, entry.received.rate(now), entry.sent.rate(now)))
        return rates

    def result(self, now: float) -> CastResult:
        """How it ended."""
        ended = self._ended if self._ended is not None else now
        return CastResult(self.summary(now), self.deliveries(now), ended - self._began)

    def summary(self, now: float) -> CastSummary:
        """The cast's row as of `now`."""
        deliveries = self.deliveries(now)
        active = [item for item in deliveries if not item.state.finished]
        receiving = [item for item in active if item.state is DeliveryState.RECEIVING]
        counted = receiving or [item for item in deliveries if item.state.delivered]
        totals = self.totals
        name, others = self._name()
        return CastSummary(
            cast=self.cast,
            name=name,
            others=others,
            state=self.state,
            source=self.request.source,
            recipients=tuple(self._entries),
            mode=self._mode,
            started=self._started,
            finished=self._started + self._ended - self._began if self._ended is not None else 0.0,
            destination=self.request.destination,
            folder=bool(totals and len(totals.top) == 1 and totals.top[0].folder),
            files=totals.files if totals else 0,
            bytes=totals.content_bytes if totals else 0,
            done_bytes=sum(item.bytes for item in deliveries) // max(1, len(deliveries)),
            rate=median_rate([item.rate for item in counted]),
            upload_rate=0.0 if self.state.finished else self._upload.rate(now),
            checking=0.0 if self.state.finished else _share(self._checking, now),
            reading=0.0 if self.state.finished else _share(self._reading, now),
            eta=None if self.state.finished else slowest([item.eta for item in active]),
            verified=sum(item.state.delivered for item in deliveries),
            failed=sum(item.state is DeliveryState.FAILED for item in deliveries),
            lagging=sum(item.lagging for item in deliveries),
            chain=self._final_chain,
            source_copies=self._source_copies(),
            multicast=self.multicast.snapshot(self.state),
            limit=self.request.limit,
            broken_links=totals.broken_links if totals else 0,
            awaited=sum(item.state is DeliveryState.AWAITED for item in deliveries),
            place=self.place,
            schedule=self.schedule,
            follows=self.follows,
            failure=self.failure,
        )

    def _name(self) -> tuple[str, int]:
        """Of the first entry that was chosen, and how many others there are."""
        if self.totals is not None and self.totals.top:
            first = self.totals.top[0]
            return f"{first.name}/" if first.folder else first.name, len(self.totals.top) - 1
        paths = self.request.paths
        return paths[0].rstrip("/").rpartition("/")[2] if paths else "", max(0, len(paths) - 1)

    def _source_copies(self) -> float:
        """Of the files' contents: what is compared and not sent counts for nothing, however short it is."""
        contents = self.totals.content_bytes if self.totals is not None else 0
        if contents:
            return round(self.sent_contents / contents, 4)
        return round(self.sent_bytes / self.stream_bytes, 4) if self.stream_bytes else 0.0

    def _snapshot(self, entry: _Entry, now: float) -> DeliverySnapshot:
        """With rate, remaining time and lag, which depend on the time."""
        snapshot = entry.snapshot
        if snapshot.state.finished:
            return snapshot
        rate = entry.content.rate(now)
        left = self.totals.content_bytes - snapshot.bytes if self.totals else 0
        behind = 0
        upstream = self._entries.get(snapshot.upstream)
        if upstream is not None and snapshot.state is DeliveryState.RECEIVING:
            behind = bytes_behind(upstream.snapshot.bytes, snapshot.bytes, rate)
        return msgspec.structs.replace(
            snapshot,
            rate=round(rate),
            eta=None if self.totals is None else remaining_seconds(left, rate),
            behind=behind,
            lagging=behind > 0,
            seconds=round(now - self._began, 1),
            checking=_share(entry.checking, now),
            writing=_share(entry.writing, now),
        )


def _share(seconds: RateMeter, now: float) -> float:
    """Seconds spent in each second, coarse: it is for people, and every change is published."""
    return round(min(1.0, max(0.0, seconds.rate(now))) * 20) / 20


def offline(node: str) -> Failure:
    """The failure of a node that went away."""
    return Failure(FailureKind.NODE_OFFLINE, {"node": node})
