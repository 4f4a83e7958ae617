"""The status of one cast and its deliveries, from reports. No I/O; time is an argument."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from castray_desktop.core.casts.progress import longest_eta, median_rate
from castray_desktop.core.casts.states import (
    CastEvent,
    DeliveryEvent,
    common_counts,
    next_cast_state,
    next_delivery_state,
    outcome,
)
from castray_desktop.core.content.file_names import display_name
from castray_desktop.core.content.urls import is_store_url, url_file_name
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import (
    CastAttempt,
    CastCluster,
    CastMode,
    CastResult,
    CastState,
    CastSummary,
    DeliverySnapshot,
    DeliveryState,
    DownloadPlacement,
    NodeRate,
    PlacementReason,
    SendRequest,
)
from castray_desktop.core.protocol.nodes.agent_reports import DeliveryReport, SourceReport, all_encrypted
from castray_desktop.core.protocol.nodes.cast_parcel import ParcelTotals
from castray_desktop.core.routing.route_plan import Route
from castray_desktop.workers.casts.session.reported_progress import (
    ARRIVED,
    DEFERRED_END_EVENTS,
    DeliveryProgress,
    MulticastProgress,
    SourceProgress,
    rounded_share,
)

NEXT_TRY_SECONDS = 1.0
"""A report that moves the next request to a server by less changes nothing: it was late."""

_FILES_FAILED = (FailureKind.FILES_FAILED, FailureKind.NO_FILE_DELIVERED)


class CastStatus:
    """The status of one cast and of its deliveries.

    `started` is in POSIX seconds, for display only; every other time is monotonic.
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
        self.attempts: tuple[CastAttempt, ...] = ()  # the earlier ones
        self.retried: tuple[str, ...] = ()  # recipients of this attempt, if it is not the first
        self.received_before: dict[str, int] = {}  # what they received in the attempt before, as far as known
        self.contents = ""  # a digest of the list of files and their versions; empty before the scan
        self.cluster = CastCluster()
        self.request = request
        self.state = CastState.QUEUED
        self.route: Route | None = None
        self.failure: Failure | None = None
        self._next_try = 0.0  # when a server that asks to wait is asked again
        self.multicast = MulticastProgress()
        self.mode = mode  # the recipients mode
        self.started = started
        self._began = now
        self._ended: float | None = None
        self.download: DownloadPlacement | None = None
        self.source = SourceProgress()
        self._entries = {
            node: DeliveryProgress(DeliverySnapshot(node, address=address))
            for node, address in addresses.items()
        }
        self.place = 0  # position among the waiting casts
        self.order = started  # queue order, also under the next engine
        self._published: dict[str, DeliverySnapshot] = {}
        self._final_chain: tuple[str, ...] = ()

    # --- events ---------------------------------------------------------------------------------

    def advance(self, event: CastEvent, now: float, failure: Failure | None = None) -> None:
        """Apply an event of the cast. Raises IllegalEventError."""
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
        """Restore deliveries that ended under a previous engine; the others start again.

        The source had sent `sent_bytes` of the contents; `totals` are the parcel's if known.
        """
        self.source.restore(sent_bytes, totals)
        for snapshot in deliveries:
            entry = self._entries[snapshot.node]
            entry.snapshot, entry.encrypted_before = snapshot, snapshot.encrypted

    def pause(self, nodes: Iterable[str]) -> tuple[str, ...]:
        """Pause the deliveries to these nodes that lack bytes; returns which."""
        return self._step_all(nodes, (DeliveryState.WAITING, DeliveryState.RECEIVING), DeliveryEvent.PAUSED)

    def resume(self, nodes: Iterable[str]) -> tuple[str, ...]:
        """Resume the paused deliveries to these nodes; returns which."""
        return self._step_all(nodes, (DeliveryState.PAUSED,), DeliveryEvent.RESUMED)

    def _step_all(
        self, nodes: Iterable[str], states: tuple[DeliveryState, ...], event: DeliveryEvent
    ) -> tuple[str, ...]:
        found = tuple(node for node in nodes if self._entries[node].state in states)
        for node in found:
            self._entries[node].apply_event(event)
        return found

    def restore_end(self, seconds: float) -> None:
        """The cast ended under a previous engine, this many seconds after its start."""
        self.state = next_cast_state(CastState.PREPARING, self.outcome())
        self._ended = self._began + seconds

    def wait_for(self, failure: Failure | None) -> None:
        """The cast waits for this reason; None: it waits no longer."""
        self.failure = failure

    def route_changed(self, route: Route) -> None:
        """Record the new route."""
        self.route = route
        for node, upstream in route.upstreams.items():
            entry = self._entries[node]
            if not entry.state.finished and entry.snapshot.upstream != upstream:
                entry.change(upstream=upstream)
        if len(route.upstreams) >= len(self._final_chain) - 1:
            self._final_chain = route.order()

    def source_reported(self, report: SourceReport, now: float) -> None:
        """Record a report of the source."""
        self.source.reported(report, now)
        self.store_waits(report.waiting, report.wait_seconds, now)
        self.multicast.reported(report.multicast, now)

    def store_waits(self, failure: Failure | None, seconds: float, now: float) -> None:
        """The server of the files asks to wait for this many seconds; without `failure`, no longer."""
        if failure is not None:
            next_try = now + seconds if seconds > 0 else 0.0
            if failure != self.failure or abs(next_try - self._next_try) >= NEXT_TRY_SECONDS:
                self._next_try = next_try
            self.failure = failure
        elif self._waits_for_server:
            self.failure = None

    def source_away(self, failure: Failure | None) -> None:
        """The source's agent is gone, with its state; `failure` says that the cast waits for it."""
        self.source.source_away()
        self.multicast.source_away()
        self.failure = failure

    def add_recipient(self, node: str, address: str, mode: CastMode) -> None:
        """Add a recipient, unless it is one already."""
        state = DeliveryState.PAUSED if self.is_paused else DeliveryState.WAITING
        self._entries.setdefault(node, DeliveryProgress(DeliverySnapshot(node, state, address)))
        self.mode = mode

    def delivery_reported(self, node: str, report: DeliveryReport, now: float) -> None:
        """Record a report of a recipient. Reports after its end are ignored."""
        entry = self._entries[node]
        if entry.state.finished:
            return
        event = entry.apply_report(report, now)
        if event is not None:
            self._finish(entry, event, now, report.failure)

    def end_delivery(
        self, node: str, event: DeliveryEvent, now: float, failure: Failure | None = None
    ) -> None:
        """End a delivery by decision of the engine. No effect if it has ended."""
        entry = self._entries[node]
        if entry.state.finished:
            return
        self._finish(entry, event, now, failure)

    def settle_deferred(self, later: DeliverySnapshot) -> None:
        """Record the outcome of a deferred delivery; the last one may change the outcome of the cast."""
        entry = self._entries[later.node]
        event = DEFERRED_END_EVENTS[later.state]
        state = next_delivery_state(entry.state, event)
        entry.snapshot = msgspec.structs.replace(later, state=state)
        outcome = self.outcome()
        if not self.awaited and outcome is not CastEvent.PARTLY_FAILED:
            self.state = next_cast_state(self.state, outcome)
            if outcome is CastEvent.COMPLETED:
                self.failure = None

    def node_away(self, node: str, failure: Failure) -> None:
        """The node's agent is gone; its delivery waits. Does nothing when it had ended."""
        entry = self._entries[node]
        entry.restart()
        if not entry.state.finished:
            entry.apply_event(DeliveryEvent.AWAY)
            entry.change(failure=failure, listening=False)

    def node_back(self, node: str) -> None:
        """The node's delivery continues, or starts again."""
        entry = self._entries[node]
        if not entry.state.finished:
            entry.change(failure=None)

    def mark_shared(
        self, node: str, writer: str, now: float, writer_path: str = "", node_path: str = ""
    ) -> None:
        """`node` has the files because `writer` wrote to the same folder, which has a path on each."""
        written = self._entries[writer].snapshot
        entry = self._entries[node]
        entry.change(
            bytes=written.bytes,
            skipped_bytes=written.skipped_bytes,
            counts=written.counts,
            paths=tuple(
                node_path + path.removeprefix(writer_path) if path.startswith(writer_path) else path
                for path in written.paths
            ),
            hash=written.hash,
            upstream=writer,
        )
        self._finish(entry, DeliveryEvent.SHARED, now, None)

    def _finish(
        self, entry: DeliveryProgress, event: DeliveryEvent, now: float, failure: Failure | None
    ) -> None:
        if event in ARRIVED or (failure is not None and failure.kind in _FILES_FAILED):
            failure = self.source.files_failed() or failure
            event = DeliveryEvent.FAILED if failure is not None else event
        entry.finish(event, now - self._began, failure)

    # --- queries ---------------------------------------------------------------------------------

    @property
    def chooses_source(self) -> bool:
        """Whether the engine chooses the node that downloads, or has chosen it."""
        return self.download is not None and self.download.reason is not PlacementReason.NAMED

    @property
    def repeatable_request(self) -> SendRequest:
        """The request for another cast like this one: there, the node that downloads is chosen again."""
        return msgspec.structs.replace(self.request, source="") if self.chooses_source else self.request

    @property
    def recipients(self) -> tuple[str, ...]:
        """All recipients."""
        return tuple(self._entries)

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Recipients with unfinished deliveries."""
        return tuple(node for node, entry in self._entries.items() if not entry.state.finished)

    @property
    def awaited(self) -> tuple[str, ...]:
        """Recipients with deferred deliveries."""
        return tuple(node for node, entry in self._entries.items() if entry.state is DeliveryState.AWAITED)

    @property
    def is_retryable(self) -> bool:
        """Whether it has ended, and some deliveries have failed: nodes may keep what they have received."""
        return self.state.finished and any(map(self.has_failed, self._entries))

    def has_failed(self, node: str) -> bool:
        """Whether the delivery to this recipient has failed; False for other nodes."""
        return node in self._entries and self._entries[node].state is DeliveryState.FAILED

    @property
    def is_paused(self) -> bool:
        """Whether the cast is paused, with all its recipients."""
        return self.state is CastState.PAUSED

    @property
    def paused_recipients(self) -> tuple[str, ...]:
        """Recipients with paused deliveries."""
        return tuple(filter(self.is_recipient_paused, self._entries))

    def is_recipient_paused(self, node: str) -> bool:
        """Whether the delivery to this recipient is paused, alone or with the cast."""
        return self._entries[node].state is DeliveryState.PAUSED

    @property
    def all_recipients_paused(self) -> bool:
        """Whether all unfinished deliveries are paused."""
        paused = self.paused_recipients
        return bool(paused) and len(paused) == len(self.unfinished)

    @property
    def all_bytes_there(self) -> bool:
        """Whether every active delivery has all its bytes."""
        going_on = {entry.state for entry in self._entries.values() if not entry.state.finished}
        return going_on - {DeliveryState.PAUSED} == {DeliveryState.VERIFYING}

    @property
    def source_settled(self) -> bool:
        """Whether the source's report covers what recipients received from it."""
        if self.source.report is None:
            return True
        taken = sum(
            entry.report.received_bytes - entry.report.datagram_bytes
            for entry in self._entries.values()
            if entry.report is not None and entry.snapshot.upstream == self.request.source
        )
        return self.source.sent_bytes >= taken

    def verified_bytes(self, node: str) -> int:
        """Verified bytes of a recipient, as last reported."""
        report = self._entries[node].report
        return report.stream_bytes if report is not None else 0

    def received_bytes(self, node: str) -> int:
        """Payload received by a recipient's current agent, as last reported."""
        report = self._entries[node].report
        return report.received_bytes if report is not None else 0

    def outcome(self) -> CastEvent:
        """The outcome of the cast, from its deliveries."""
        return outcome(entry.snapshot for entry in self._entries.values())

    def delivery(self, node: str) -> DeliverySnapshot:
        """One delivery as it was last reported, without rates."""
        return self._entries[node].snapshot

    def deliveries(self, now: float) -> tuple[DeliverySnapshot, ...]:
        """Every delivery as of `now`."""
        contents = self.source.totals.content_bytes if self.source.totals is not None else None
        found = []
        for entry in self._entries.values():
            upstream = entry.snapshot.upstream
            # a source that downloads the files is a recipient as well; no other one lags behind it
            above = self._entries.get(upstream) if upstream != self.request.source else None
            found.append(entry.snapshot_at(now, self._began, contents, above.snapshot if above else None))
        return tuple(found)

    def changed_deliveries(self, now: float) -> tuple[DeliverySnapshot, ...]:
        """Deliveries that changed since the last call."""
        changed = tuple(item for item in self.deliveries(now) if self._published.get(item.node) != item)
        self._published.update({item.node: item for item in changed})
        return changed

    def rates(self, now: float) -> list[NodeRate]:
        """Traffic of this cast at each node."""
        rates = [NodeRate(self.request.source, sent=self.source.upload.rate(now))]
        for node, entry in self._entries.items():
            rates.append(NodeRate(node, entry.received.rate(now), entry.sent.rate(now)))
        return rates

    def result(self, now: float) -> CastResult:
        """The result."""
        ended = self._ended if self._ended is not None else now
        return CastResult(self.summary(now), self.deliveries(now), ended - self._began)

    def summary(self, now: float) -> CastSummary:
        """The summary as of `now`."""
        deliveries = self.deliveries(now)
        active = [item for item in deliveries if not item.state.finished]
        going_on = [item for item in active if item.state is not DeliveryState.PAUSED] or active
        receiving = [item for item in active if item.state is DeliveryState.RECEIVING]
        counted = receiving or [item for item in deliveries if item.state.delivered]
        totals = self.source.totals
        name, others = self._name()
        return CastSummary(
            cast=self.cast,
            name=name,
            others=others,
            state=self.state,
            source=self.request.source,
            recipients=tuple(self._entries),
            mode=self.mode,
            started=self.started,
            finished=self._posix(self._ended) if self._ended is not None else 0.0,
            options=self.request.options,
            folder=bool(totals and len(totals.top) == 1 and totals.top[0].folder),
            files=totals.files if totals else 0,
            bytes=totals.content_bytes if totals else 0,
            done_bytes=sum(item.bytes for item in deliveries) // max(1, len(deliveries)),
            rate=0.0 if self.is_paused else median_rate([item.rate for item in counted]),
            upload_rate=0.0 if self.state.finished else self.source.upload.rate(now),
            checking=0.0 if self.state.finished else rounded_share(self.source.checking, now),
            reading=0.0 if self.state.finished else rounded_share(self.source.reading, now),
            eta=None if self.state.finished else longest_eta([item.eta for item in going_on]),
            verified=sum(item.state.delivered for item in deliveries),
            failed=sum(item.state is DeliveryState.FAILED for item in deliveries),
            lagging=sum(item.lagging for item in deliveries),
            chain=self._final_chain,
            source_copies=self.source.copies,
            encrypted=all_encrypted(item.encrypted for item in deliveries),
            multicast=self.multicast.snapshot(self.state),
            download=self.download,
            followed_links=totals.followed_links if totals else 0,
            kept_links=totals.kept_links if totals else 0,
            broken_links=totals.broken_links if totals else 0,
            broken_names=totals.broken_names if totals else (),
            checksums=self.source.checksums,
            counts=common_counts(deliveries),
            awaited=sum(item.state is DeliveryState.AWAITED for item in deliveries),
            paused=sum(item.state is DeliveryState.PAUSED for item in deliveries),
            place=self.place,
            schedule=self.schedule,
            follows=self.follows,
            attempts=self.attempts,
            retried=self.retried,
            contents=self.contents,
            cluster=self.cluster,
            failure=self.failure,
            next_try=self._posix(self._next_try) if self._next_try and self._waits_for_server else 0.0,
        )

    @property
    def _waits_for_server(self) -> bool:
        return self.failure is not None and self.failure.kind is FailureKind.SERVER_AWAITED

    def _posix(self, at: float) -> float:
        """A monotonic time as POSIX seconds."""
        return self.started + at - self._began

    def _name(self) -> tuple[str, int]:
        """Name of the first selected entry, and the number of others."""
        if self.source.totals is not None and self.source.totals.top:
            first = self.source.totals.top[0]
            return f"{first.name}/" if first.folder else first.name, len(self.source.totals.top) - 1
        paths = self.request.shown_paths
        if paths and is_store_url(paths[0]):
            return display_name(url_file_name(paths[0])), len(paths) - 1
        return paths[0].rstrip("/").rpartition("/")[2] if paths else "", max(0, len(paths) - 1)


def offline_failure(node: str) -> Failure:
    """The failure of a node that went offline."""
    return Failure(FailureKind.NODE_OFFLINE, {"node": node})
