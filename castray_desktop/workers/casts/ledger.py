"""What is known of one cast: reports folded into snapshots. No input, no output; the time is passed in."""

from __future__ import annotations

from collections.abc import Iterable

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
    CastCluster,
    CastMode,
    CastResult,
    CastState,
    CastSummary,
    DeliverySnapshot,
    DeliveryState,
    NodeRate,
    SendRequest,
)
from castray_desktop.core.progress import median_rate, slowest
from castray_desktop.core.route import Route
from castray_desktop.workers.casts.delivery_entry import ARRIVED, LATER, DeliveryEntry, share
from castray_desktop.workers.casts.multicast_fold import MulticastFold
from castray_desktop.workers.casts.source_account import SourceAccount
from castray_desktop.workers.ray_side.protocol import DeliveryReport, ParcelTotals, SourceReport

_FILES_FAILED = (FailureKind.FILES_FAILED, FailureKind.NO_FILE_DELIVERED)


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
        self.cluster = CastCluster()
        self.request = request
        self.state = CastState.QUEUED
        self.route: Route | None = None
        self.failure: Failure | None = None
        self.multicast = MulticastFold()
        self._mode = mode
        self._started = started
        self._began = now
        self._ended: float | None = None
        self._account = SourceAccount()
        self._entries = {
            node: DeliveryEntry(DeliverySnapshot(node, address=address))
            for node, address in addresses.items()
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
        self._account.restore(sent_bytes, totals)
        for snapshot in deliveries:
            self._entries[snapshot.node].snapshot = snapshot

    def pause(self, nodes: Iterable[str]) -> tuple[str, ...]:
        """The deliveries to these are paused, as far as they lack bytes; to whom that applies."""
        return self._step_all(nodes, (DeliveryState.WAITING, DeliveryState.RECEIVING), DeliveryEvent.PAUSED)

    def resume(self, nodes: Iterable[str]) -> tuple[str, ...]:
        """The paused ones among the deliveries to these go on; to whom that applies."""
        return self._step_all(nodes, (DeliveryState.PAUSED,), DeliveryEvent.RESUMED)

    def _step_all(
        self, nodes: Iterable[str], states: tuple[DeliveryState, ...], event: DeliveryEvent
    ) -> tuple[str, ...]:
        found = tuple(node for node in nodes if self._entries[node].state in states)
        for node in found:
            self._entries[node].step(event)
        return found

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
            if not entry.state.finished and entry.snapshot.upstream != upstream:
                entry.change(upstream=upstream)
        if len(route.upstreams) >= len(self._final_chain) - 1:
            self._final_chain = route.order()

    def source_reported(self, report: SourceReport, now: float) -> None:
        """The source has said where it stands."""
        self._account.reported(report, now)
        self.multicast.reported(report.multicast, now)

    def source_away(self, failure: Failure | None) -> None:
        """The source's agent has gone, with all that it knew; `failure` says what is waited for."""
        self._account.away()
        self.multicast.source_away()
        self.failure = failure

    def source_back(self) -> None:
        """The cast does not wait for its source any more."""
        self.failure = None

    def add_recipient(self, node: str, address: str, mode: CastMode) -> None:
        """One more, unless it is among them already."""
        state = DeliveryState.PAUSED if self.state is CastState.PAUSED else DeliveryState.WAITING
        self._entries.setdefault(node, DeliveryEntry(DeliverySnapshot(node, state, address)))
        self._mode = mode

    def delivery_reported(self, node: str, report: DeliveryReport, now: float) -> None:
        """A recipient has said where it stands. Reports after its end are ignored."""
        entry = self._entries[node]
        if entry.state.finished:
            return
        event = entry.take(report, now)
        if event is not None:
            self._finish(entry, event, now, report.failure)

    def end_delivery(
        self, node: str, event: DeliveryEvent, now: float, failure: Failure | None = None
    ) -> None:
        """A delivery has ended by the dispatcher's decision. Does nothing when it had ended."""
        entry = self._entries[node]
        if entry.state.finished:
            return
        self._finish(entry, event, now, failure)

    def settle(self, later: DeliverySnapshot) -> None:
        """What became of a delivery that waited for its node; the last one may change how the cast ended."""
        entry = self._entries[later.node]
        event = LATER[later.state]
        state = next_delivery_state(entry.state, event)
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
        if not entry.state.finished:
            entry.step(DeliveryEvent.AWAY)
            entry.change(failure=failure, listening=False)

    def back(self, node: str) -> None:
        """The node's delivery goes on, or begins again."""
        entry = self._entries[node]
        if not entry.state.finished:
            entry.change(failure=None)

    def share(self, node: str, writer: str, now: float, theirs: str = "", ours: str = "") -> None:
        """`node` has the files since `writer` wrote to the same folder: `theirs` there, `ours` here."""
        written = self._entries[writer].snapshot
        entry = self._entries[node]
        entry.change(
            bytes=written.bytes,
            skipped_bytes=written.skipped_bytes,
            paths=tuple(
                ours + path.removeprefix(theirs) if path.startswith(theirs) else path
                for path in written.paths
            ),
            hash=written.hash,
            upstream=writer,
        )
        self._finish(entry, DeliveryEvent.SHARED, now, None)

    def _finish(
        self, entry: DeliveryEntry, event: DeliveryEvent, now: float, failure: Failure | None
    ) -> None:
        if event in ARRIVED or (failure is not None and failure.kind in _FILES_FAILED):
            failure = self._account.files_failed() or failure
            event = DeliveryEvent.FAILED if failure is not None else event
        entry.finish(event, now - self._began, failure)

    # --- what others ask ------------------------------------------------------------------------

    @property
    def recipients(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self._entries)

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The recipients whose deliveries have not ended."""
        return tuple(node for node, entry in self._entries.items() if not entry.state.finished)

    @property
    def awaited(self) -> tuple[str, ...]:
        """The recipients that get theirs by another cast, when they are there."""
        return tuple(node for node, entry in self._entries.items() if entry.state is DeliveryState.AWAITED)

    @property
    def paused(self) -> tuple[str, ...]:
        """The recipients whose deliveries are paused."""
        return tuple(node for node, entry in self._entries.items() if entry.state is DeliveryState.PAUSED)

    @property
    def all_paused(self) -> bool:
        """Nobody is left but recipients that are paused."""
        return bool(self.paused) and len(self.paused) == len(self.unfinished)

    @property
    def all_bytes_there(self) -> bool:
        """Every delivery that goes on has all its bytes."""
        going_on = {entry.state for entry in self._entries.values() if not entry.state.finished}
        return going_on - {DeliveryState.PAUSED} == {DeliveryState.VERIFYING}

    @property
    def source_settled(self) -> bool:
        """The source's report covers what the recipients got from it."""
        if self.source is None:
            return True
        taken = sum(
            entry.report.received_bytes - entry.report.datagram_bytes
            for entry in self._entries.values()
            if entry.report is not None and entry.snapshot.upstream == self.request.source
        )
        return self.sent_bytes >= taken

    @property
    def source(self) -> SourceReport | None:
        """What the source's present agent has said last."""
        return self._account.report

    @property
    def totals(self) -> ParcelTotals | None:
        """The parcel's, once they are known."""
        return self._account.totals

    @property
    def trailer_digest(self) -> str:
        """The trailer's, once the source has read everything."""
        return self._account.trailer_digest

    @property
    def stream_bytes(self) -> int:
        """The parcel's, 0 before it is known."""
        return self.totals.stream_bytes if self.totals is not None else 0

    @property
    def sent_bytes(self) -> int:
        """Payload that left the source, counting every agent that it has had."""
        return self._account.sent_bytes

    @property
    def sent_contents(self) -> int:
        """The part of it that is files' contents."""
        return self._account.sent_contents

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
        contents = self.totals.content_bytes if self.totals is not None else None
        found = []
        for entry in self._entries.values():
            above = self._entries.get(entry.snapshot.upstream)
            found.append(entry.shown(now, self._began, contents, above.snapshot if above else None))
        return tuple(found)

    def changed_deliveries(self, now: float) -> tuple[DeliverySnapshot, ...]:
        """The deliveries that differ from the last call's."""
        changed = tuple(item for item in self.deliveries(now) if self._published.get(item.node) != item)
        self._published.update({item.node: item for item in changed})
        return changed

    def rates(self, now: float) -> list[NodeRate]:
        """The traffic of this cast at each node."""
        rates = [NodeRate(self.request.source, sent=self._account.upload.rate(now))]
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
        going_on = [item for item in active if item.state is not DeliveryState.PAUSED] or active
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
            rate=0.0 if self.state is CastState.PAUSED else median_rate([item.rate for item in counted]),
            upload_rate=0.0 if self.state.finished else self._account.upload.rate(now),
            checking=0.0 if self.state.finished else share(self._account.checking, now),
            reading=0.0 if self.state.finished else share(self._account.reading, now),
            eta=None if self.state.finished else slowest([item.eta for item in going_on]),
            verified=sum(item.state.delivered for item in deliveries),
            failed=sum(item.state is DeliveryState.FAILED for item in deliveries),
            lagging=sum(item.lagging for item in deliveries),
            chain=self._final_chain,
            source_copies=self._account.copies,
            multicast=self.multicast.snapshot(self.state),
            limit=self.request.limit,
            followed_links=totals.followed_links if totals else 0,
            kept_links=totals.kept_links if totals else 0,
            broken_links=totals.broken_links if totals else 0,
            broken_names=totals.broken_names if totals else (),
            awaited=sum(item.state is DeliveryState.AWAITED for item in deliveries),
            paused=sum(item.state is DeliveryState.PAUSED for item in deliveries),
            place=self.place,
            schedule=self.schedule,
            follows=self.follows,
            cluster=self.cluster,
            failure=self.failure,
        )

    def _name(self) -> tuple[str, int]:
        """Of the first entry that was chosen, and how many others there are."""
        if self.totals is not None and self.totals.top:
            first = self.totals.top[0]
            return f"{first.name}/" if first.folder else first.name, len(self.totals.top) - 1
        paths = self.request.paths
        return paths[0].rstrip("/").rpartition("/")[2] if paths else "", max(0, len(paths) - 1)


def offline(node: str) -> Failure:
    """The failure of a node that went away."""
    return Failure(FailureKind.NODE_OFFLINE, {"node": node})
