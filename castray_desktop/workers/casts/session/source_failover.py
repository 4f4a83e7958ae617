"""Where the bytes come from: the source scans and serves; a complete recipient takes over if it is lost."""

from __future__ import annotations

import logging
import secrets

import msgspec

from castray_desktop.core.casts.states import FailoverEvent, FailoverState, next_failover_state
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import DeliveryState, DownloadPlacement, PlacementReason
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports, cast_parcel
from castray_desktop.core.protocol.nodes.agent_reports import SourceState
from castray_desktop.workers.casts.session.cast_route import RouteExecutor
from castray_desktop.workers.casts.session.cast_status import offline_failure
from castray_desktop.workers.casts.session.download_links import DownloadLinks
from castray_desktop.workers.casts.session.session_context import SessionContext

log = logging.getLogger("castray.cast")

SourceOrder = agent_orders.PrepareSource | agent_orders.ServeSource | agent_orders.ReadToEnd


class SourceFailover:
    """Lets the source scan and serve, again after it was away, or lets a recipient take over.

    `digest` is the manifest's digest if known.
    """

    def __init__(
        self,
        context: SessionContext,
        executor: RouteExecutor,
        links: DownloadLinks,
        digest: str = "",
    ) -> None:
        self.links = links
        self.state = FailoverState.SCANNING
        self.broken: Failure | None = None  # why the source can't continue
        self.digest = digest
        # recipients may have bytes that no request of this source's agent was for: from an agent before it
        # or, in a retry, from an earlier attempt
        self._resumed = bool(digest or context.status.attempts)
        self._reads_to_end = False  # its current agent was ordered to
        self.secret = secrets.token_hex(32)
        self.algorithms = cast_parcel.Algorithms()
        self._context = context
        self._status = context.status
        self._executor = executor

    def advance(self, event: FailoverEvent) -> None:
        """Apply an event. Raises IllegalEventError."""
        self.state = next_failover_state(self.state, event)

    def fail(self, failure: Failure) -> None:
        """The source can't continue. The first reason counts."""
        self.broken = self.broken or failure

    def can_serve(self, node: str) -> bool:
        """Whether `node` can serve others now."""
        if node in self._context.absences:
            return False
        return node != self._context.source or self.state is FailoverState.SERVING

    def scan_order(self) -> agent_orders.PrepareSource:
        """The order to scan the requested paths."""
        request = self._status.request
        return agent_orders.PrepareSource(
            self._context.cast, request.local_paths, request.options, self.links.listing
        )

    def start(self) -> None:
        """Let the source scan, without a survey."""
        if self.state is FailoverState.SCANNING:
            self._scan()

    def step(self) -> None:
        """Take the next possible step."""
        if self.state is FailoverState.AWAY:
            self._replace()
        report = self._status.source.report
        if report is None or self.state is FailoverState.REPLACED:
            return
        if report.state in (SourceState.FAILED, SourceState.CANCELLED):
            self.fail(self.source_failure())
        elif self.state is FailoverState.SCANNING and report.state is SourceState.PREPARED:
            self._compare(report)
            if (failure := self._context.encryption_failure(self._context.source)) is not None:
                self.fail(failure)
            else:
                self._serve()
        elif (
            report.state is SourceState.HASHED and report.trailer_digest != self._status.source.trailer_digest
        ):
            self.fail(Failure(FailureKind.PARCEL_CHANGED, {"node": self._context.source}))
        elif report.state is SourceState.SERVING and self._resumed and self._recipients_have_all():
            self._order_read_to_end()

    def _recipients_have_all(self) -> bool:
        """Whether recipients wait for the trailer's digest, and none fetches anything."""
        status = self._status
        states = {status.delivery(node).state for node in status.unfinished}
        return DeliveryState.VERIFYING in states and DeliveryState.RECEIVING not in states

    def _order_read_to_end(self) -> None:
        """A source reads as far as recipients request; they may have all bytes from before."""
        if not self._reads_to_end:
            self._reads_to_end = True
            log.info(
                "cast %s: %s reads to the end, since no recipient requests more",
                self._context.cast,
                self._context.source,
            )
            self._send(agent_orders.ReadToEnd(self._context.cast))

    def source_failure(self) -> Failure:
        """Why the source can't continue."""
        if self._context.source in self._context.absences:
            return self._context.absences.reason(self._context.source)
        report = self._status.source.report
        return (report and report.failure) or offline_failure(self._context.source)

    def _replace(self) -> None:
        """Continue with a complete recipient, otherwise with the source's next agent."""
        successor, route = self._successor(), self._status.route
        if successor is not None and route is not None:
            self.advance(FailoverEvent.TAKEN_OVER)
            log.info("cast %s: %s now serves the others", self._context.cast, successor)
            self._context.absences.mark_back(self._context.source)
            self._status.wait_for(None)
            self._executor.set_route(route.rerooted(successor))
        elif (downloader := self._next_downloader()) is not None:
            self._continue_download(downloader)
        elif self._context.source not in self._context.absences and self._context.is_online(
            self._context.source
        ):
            self.advance(FailoverEvent.BACK)
            self._resumed, self._reads_to_end = True, False
            self._scan()
        else:
            self._context.absences.mark_away(
                self._context.source, offline_failure(self._context.source), self._context.now
            )

    def _successor(self) -> str | None:
        """A recipient that has all bytes and hashes, and can serve the others."""
        status, route = self._status, self._status.route
        if route is None or not status.source.trailer_digest or status.source.totals is None:
            return None
        for node in route.order()[1:]:
            if node in self._context.absences or node in self._executor.changed_copies:
                continue
            if status.verified_bytes(node) >= status.source.totals.stream_bytes:
                return node
        return None

    def _next_downloader(self) -> str | None:
        """The recipient that can go on with the download: the one that has most of it."""
        status = self._status
        if not status.request.is_download or not self.links.files:
            return None
        able = [
            node
            for node in status.recipients
            if node not in self._context.absences
            and self._context.is_online(node)
            and node not in self._executor.changed_copies
            and not status.is_recipient_paused(node)
            and (status.delivery(node).state.delivered or not status.delivery(node).state.finished)
        ]
        return max(able, key=status.verified_bytes, default=None)

    def _continue_download(self, node: str) -> None:
        """The node that downloads is gone: another one downloads what is missing."""
        source, route = self._context.source, self._status.route
        log.info("cast %s: %s downloads instead of %s", self._context.cast, node, source)
        if source not in self._status.recipients:
            self._context.absences.mark_back(source)
        self._status.request = msgspec.structs.replace(self._status.request, source=node)
        host = self._status.download.host if self._status.download is not None else ""
        self._status.download = DownloadPlacement(PlacementReason.SUCCESSOR, host)
        self.advance(FailoverEvent.BACK)
        self._resumed, self._reads_to_end = True, False
        if route is not None:
            self._executor.set_route(route.rerooted(node))
        self._scan()

    def _compare(self, report: agent_reports.SourceReport) -> None:
        digest = report.totals.manifest_digest if report.totals is not None else ""
        self.digest = self.digest or digest
        if digest != self.digest:
            self.fail(Failure(FailureKind.PARCEL_CHANGED, {"node": self._context.source}))

    def _scan(self) -> None:
        incarnation = self._executor.incarnations[self._context.source]
        self._context.background.run(self._order_scan(incarnation))

    async def _order_scan(self, incarnation: int) -> None:
        try:
            await self.links.prepare()
        except CastRayError as error:
            self.fail(error.failure)
            self._context.wakeup.wake()
            return
        await self._send_order(self.scan_order(), incarnation)

    def _serve(self) -> None:
        """Don't wait for the reply: a recipient that dials before the source serves retries at once."""
        self.advance(FailoverEvent.SCANNED)
        epoch = self._status.route.epoch if self._status.route is not None else 1
        options = self._status.request.options
        serve = agent_orders.ServeSource(
            self._context.cast,
            self.secret,
            epoch,
            self.algorithms,
            options,
            self._context.plain_peers,
            resumes=self._resumed and self._context.source in self._status.unfinished,
        )
        self._send(serve)
        self.links.answer_requests()
        if self._context.source in self._status.unfinished:
            self._executor.feed_from_itself(self._context.source, epoch)
        self._status.wait_for(None)
        self._executor.source_changed(self._context.source)

    def _send(self, order: SourceOrder) -> None:
        self._context.background.run(
            self._send_order(order, self._executor.incarnations[self._context.source])
        )

    async def _send_order(self, order: SourceOrder, incarnation: int) -> None:
        """The order is for one agent of the source: the next agent needs other orders first."""
        if incarnation != self._executor.incarnations[self._context.source]:
            return
        try:
            await self._context.agents.call(self._context.source, order)
        except CastRayError as error:
            if incarnation == self._executor.incarnations[self._context.source]:
                self._context.order_failed(self._context.source, error.failure)
