"""The preflight of a cast: the source scans, recipients answer, and those that can't take it are left out."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from castray_desktop.core.casts.states import DeliveryEvent, FailoverEvent, FailoverState
from castray_desktop.core.content.checksums import stated_digest
from castray_desktop.core.content.quantities import format_bytes
from castray_desktop.core.content.stream_layout import MAX_PIECE_BYTES, choose_piece_bytes
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import (
    PreflightProblem,
    PreflightReport,
    Removal,
    SendRequest,
    TransportOption,
    UnsentFile,
)
from castray_desktop.core.protocol.nodes import agent_orders, cast_parcel
from castray_desktop.core.protocol.nodes.agent_reports import AgentHello, SourceState
from castray_desktop.workers.casts.agent_directory import common_algorithms
from castray_desktop.workers.casts.session.admission import Admission
from castray_desktop.workers.casts.session.cast_status import offline_failure
from castray_desktop.workers.casts.session.download_planner import DownloadPlanner
from castray_desktop.workers.casts.session.session_context import SessionContext
from castray_desktop.workers.casts.session.source_failover import SourceFailover

NAMED = 4
"""Of the nodes that share a disk, in a sentence."""


@dataclass(frozen=True)
class RecipientSurvey:
    """The replies of recipients: which can take the parcel, and why others can't."""

    totals: cast_parcel.ParcelTotals
    replies: Mapping[str, agent_orders.DestinationReply]
    left_out: tuple[cast_parcel.FileProblem, ...] = ()  # what can't be sent of it, the first hundred

    @property
    def problems(self) -> dict[str, Failure]:
        """Failures of recipients that can't take it."""
        return {node: reply.failure for node, reply in self.replies.items() if reply.failure is not None}

    def without_failures(self, kind: FailureKind) -> RecipientSurvey:
        """Without recipients that failed for this reason."""
        kept = {
            node: reply
            for node, reply in self.replies.items()
            if reply.failure is None or reply.failure.kind is not kind
        }
        return RecipientSurvey(self.totals, kept, self.left_out)

    def report(self, recipients: tuple[str, ...], removals: tuple[Removal, ...] = ()) -> PreflightReport:
        """The report for clients."""
        return PreflightReport(
            self.totals.files,
            self.totals.content_bytes,
            recipients,
            tuple(PreflightProblem(node, failure) for node, failure in self.problems.items()),
            followed_links=self.totals.followed_links,
            kept_links=self.totals.kept_links,
            broken_links=self.totals.broken_links,
            broken_names=self.totals.broken_names,
            left_out=tuple(UnsentFile(item.path, item.failure) for item in self.left_out),
            left_out_count=self.totals.left_out,
            removals=removals,
        )


async def survey_recipients(
    context: SessionContext, totals: cast_parcel.ParcelTotals, recipients: Iterable[str]
) -> RecipientSurvey:
    """Ask all recipients at once; nothing is written anywhere."""
    cast, request = context.cast, context.status.request

    async def ask(node: str, count_present: bool = False) -> agent_orders.DestinationReply:
        if context.is_offline(node):
            return agent_orders.DestinationReply(failure=offline_failure(node))
        if (failure := context.encryption_failure(node)) is not None:
            return agent_orders.DestinationReply(failure=failure)
        order = agent_orders.CheckDestination(
            cast,
            request.options.destination,
            totals.top,
            totals.content_bytes,
            totals.entries,
            count_present=count_present,
        )
        try:
            reply = await context.agents.call(node, order)
        except CastRayError as error:
            return agent_orders.DestinationReply(failure=error.failure)
        if isinstance(reply, agent_orders.DestinationReply):
            return reply
        return agent_orders.DestinationReply(failure=offline_failure(node))

    asked = tuple(recipients)
    answers = await asyncio.gather(*(ask(node) for node in asked))
    replies = dict(zip(asked, answers, strict=True))
    short = space_shortages(replies, totals.content_bytes)
    if short:  # ask again what is present already, which takes a while to find out
        disks = {replies[node].disk for node in short}
        sharing = [node for node, reply in replies.items() if reply.disk in disks and not reply.failure]
        again = await asyncio.gather(*(ask(node, count_present=True) for node in sharing))
        replies |= dict(zip(sharing, again, strict=True))
        short = space_shortages(replies, totals.content_bytes)
        replies |= {node: agent_orders.DestinationReply(failure=failure) for node, failure in short.items()}
    return RecipientSurvey(totals, replies)


def space_shortages(replies: Mapping[str, agent_orders.DestinationReply], size: int) -> dict[str, Failure]:
    """Failures of recipients that share a disk, which has room for each alone but not for all `size` bytes of
    each.
    """
    disks: dict[str, dict[str, agent_orders.DestinationReply]] = defaultdict(dict)
    for node, reply in replies.items():
        if reply.disk and reply.failure is None:
            disks[reply.disk][node] = reply
    found: dict[str, Failure] = {}
    for sharing in disks.values():
        found |= _shortages_on_disk(sharing, size)
    return found


def _shortages_on_disk(replies: Mapping[str, agent_orders.DestinationReply], size: int) -> dict[str, Failure]:
    """Failures of those for which no room is left after the ones before them; none if all fit."""
    free = min(reply.free_bytes + reply.promised_bytes for reply in replies.values())
    free -= sum(reply.promised_bytes for reply in replies.values())
    needed: dict[str, int] = {}  # by folder, to which only one recipient writes
    for reply in replies.values():
        missing = size - min(reply.present_bytes, size)
        needed[_folder(reply)] = max(missing, needed.get(_folder(reply), 0))
    total = sum(needed.values())
    if len(needed) < 2 or total <= free:
        return {}
    left, there, found = free, set[str](), {}
    for node, reply in replies.items():
        folder = _folder(reply)
        if folder in there:
            continue
        if needed[folder] <= left:
            left -= needed[folder]
            there.add(folder)
            continue
        others = [other for other in replies if other != node]
        names = ", ".join(others[:NAMED]) + (", …" if len(others) > NAMED else "")
        values = {"node": node, "path": reply.destination, "others": names}
        values |= {"free": format_bytes(max(free, 0)), "needed": format_bytes(total)}
        found[node] = Failure(FailureKind.NO_ROOM_TOGETHER, values)
    return found


def _folder(reply: agent_orders.DestinationReply) -> str:
    """Equal for recipients that may write to one folder."""
    return reply.mount or reply.storage


async def find_prunable(context: SessionContext, recipients: Iterable[str]) -> tuple[Removal, ...]:
    """Ask all recipients with the source's manifest; returns those where something would be removed. Raises
    CastRayError."""
    cast, request = context.cast, context.status.request
    reply = await context.agents.call(context.source, agent_orders.GetManifest(cast))
    packed = reply.packed if isinstance(reply, agent_orders.ManifestReply) else ""
    if not packed:
        return ()
    order = agent_orders.FindPrunable(cast, packed, request.options)

    async def ask(node: str) -> Removal:
        answer = await context.agents.call(node, order)
        if not isinstance(answer, agent_orders.PrunableReply):
            return Removal(node, 0, ())
        if answer.failure is not None:
            raise CastRayError.of(answer.failure)
        return Removal(node, answer.count, answer.paths)

    answers = await asyncio.gather(*(ask(node) for node in recipients))
    return tuple(answer for answer in answers if answer.count)


def absent_outcome(request: SendRequest, node: str, failure: Failure) -> tuple[DeliveryEvent, Failure]:
    """How the delivery to an absent node ends: deferred if requested, else failed."""
    if request.options.await_offline and failure.kind in _NOT_THERE:
        return DeliveryEvent.DEFERRED, Failure(FailureKind.NODE_AWAITED, {"node": node})
    return DeliveryEvent.FAILED, failure


_NOT_THERE = frozenset({FailureKind.NODE_OFFLINE, FailureKind.NODE_SILENT})


class CastPreflight:
    """Lets the source scan and surveys the recipients."""

    def __init__(
        self,
        context: SessionContext,
        failover: SourceFailover,
        admission: Admission,
        downloads: DownloadPlanner,
    ) -> None:
        self._context = context
        self._status = context.status
        self._failover = failover
        self._admission = admission
        self._downloads = downloads

    async def survey(
        self, ask: bool = True, measures: bool = True, patience: float = math.inf
    ) -> RecipientSurvey:
        """Scan the source and survey recipients if `ask`; nothing is written anywhere.

        With `measures`, nodes may download some of the files to see which one is fastest. A server that lets
        wait for longer than `patience` seconds ends it.

        Raises CastRayError if the cast can't start at all.
        """
        status = self._status
        failure = self._context.encryption_failure(self._context.source)
        if failure is not None and not status.chooses_source:
            raise CastRayError.of(failure)
        await self._downloads.plan(measures, patience)
        await self._context.agents.call(self._context.source, self._failover.scan_order())
        await self._context.wakeup.until(self._scanned_or_not)
        report, totals = status.source.report, status.source.totals
        if report is None or report.state is not SourceState.PREPARED or totals is None:
            raise CastRayError.of(self._failover.source_failure())
        asked = status.unfinished if ask else ()
        found = await survey_recipients(self._context, totals, asked)
        return dataclasses.replace(found, left_out=report.problems)

    def content_digest(self, survey: RecipientSurvey) -> str:
        """The digest of the manifest; for files of servers also of their versions, which a manifest lacks."""
        files = self._failover.links.files
        if not files:
            return survey.totals.manifest_digest
        hasher = hashlib.sha256(survey.totals.manifest_digest.encode())
        for file in files:
            version = file.etag or file.checksum  # a store may state the checksum of a version later
            hasher.update(f"\n{file.path} {version}".encode(errors="surrogateescape"))
        return hasher.hexdigest()

    async def removals(self, survey: RecipientSurvey) -> tuple[Removal, ...]:
        """What recipients would prune. Raises CastRayError."""
        request = self._status.request
        if not request.options.remove_extra or survey.totals.left_out:
            return ()
        asked = tuple(node for node, reply in survey.replies.items() if reply.failure is None)
        return await find_prunable(self._context, asked)

    async def survey_with_retries(self) -> RecipientSurvey:
        """Survey, repeated when the source went away during it. Raises CastRayError.

        Recipients that went away with the source, as all do with the driver, are waited for as well.
        """
        repeated = False
        while True:
            await self._context.wakeup.until(
                lambda: (
                    self._context.source not in self._context.absences
                    or self._given_up()
                    or self._downloads.has_other_source
                )
            )
            if self._downloads.has_other_source:
                await self._downloads.plan()
            if self._context.source in self._context.absences:
                raise CastRayError.of(self._context.absences.reason(self._context.source))
            if repeated:
                await self._context.wakeup.until(self._recipients_back)
                if self._context.source in self._context.absences:
                    continue
            repeated = True
            if self._failover.state is FailoverState.AWAY:
                self._failover.advance(FailoverEvent.BACK)
            try:
                survey = await self.survey()
            except CastRayError:
                if self._context.source not in self._context.absences:
                    raise
                continue
            if self._context.source not in self._context.absences:
                return survey

    def leave_out(self, survey: RecipientSurvey) -> None:
        """Fail recipients that can't take it, before the first byte; others are unaffected.

        Raises CastRayError if the cast can't continue without them.
        """
        status, problems = self._status, []
        for node, problem in survey.problems.items():
            event, failure = absent_outcome(status.request, node, problem)
            self._context.end_delivery(node, event, failure)
            problems += [failure] if event is DeliveryEvent.FAILED else []
        if problems and not (status.request.leave_out and status.unfinished):
            for node in status.unfinished:
                self._context.end_delivery(node, DeliveryEvent.CANCELLED, Failure(FailureKind.CANCELLED))
            raise CastRayError.of(problems[0])

    def choose_algorithms(self) -> None:
        """Choose the best algorithms that all participants support, and the piece size."""
        # of all recipients, so that another attempt has the same pieces
        totals, recipients = self._status.source.totals, len(self._status.recipients)
        length = choose_piece_bytes(totals.stream_bytes if totals is not None else 0, recipients)
        if (
            self._status.request.options.transport is TransportOption.UDP
        ):  # pieces come to all at once, not hop by hop
            length = MAX_PIECE_BYTES
        algorithms = dataclasses.replace(common_algorithms(self._hellos()), piece_bytes=length)
        if any(stated_digest(file.checksum, "sha256") for file in self._failover.links.files):
            # the store knows their hashes: what recipients have need not be downloaded to be compared
            algorithms = dataclasses.replace(algorithms, file="sha256")
        self._failover.algorithms = algorithms

    def _hellos(self) -> Iterator[AgentHello]:
        """Hellos of online nodes; the others take no part."""
        for node in (self._context.source, *self._status.unfinished):
            if (hello := self._context.agents.hello(node)) is not None:
                yield hello

    def _given_up(self) -> bool:
        return self._context.source in self._expired()

    def _recipients_back(self) -> bool:
        """Whether all recipients are back or given up, or the source has gone again."""
        absent = {node for node in self._status.unfinished if node in self._context.absences}
        return absent <= set(self._expired()) or self._context.source in self._context.absences

    def _expired(self) -> tuple[str, ...]:
        return self._context.absences.expired(
            self._context.now, self._admission.absences_count, self._status.paused_recipients
        )

    def _scanned_or_not(self) -> bool:
        report = self._status.source.report
        return self._context.source in self._context.absences or (
            report is not None and report.state is not SourceState.SCANNING
        )
