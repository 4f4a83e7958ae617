"""Ask recipients before a cast: whether they can take it, and what they would prune."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from castray_desktop.core.content.quantities import format_bytes
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import (
    PreflightProblem,
    PreflightReport,
    Removal,
    SendRequest,
    UnsentFile,
)
from castray_desktop.core.protocol.nodes import agent_protocol
from castray_desktop.core.routing.shared_space import SpaceClaim, space_shortages
from castray_desktop.workers.casts.session.cast_status import offline_failure
from castray_desktop.workers.casts.session.session_context import SessionContext

NAMED = 4

"""Of the nodes that share a disk, in a sentence."""


@dataclass(frozen=True)
class RecipientSurvey:
    """The replies of recipients: which can take the parcel, and why others can't."""

    totals: agent_protocol.ParcelTotals
    replies: Mapping[str, agent_protocol.DestinationReply]
    left_out: tuple[agent_protocol.FileProblem, ...] = ()  # what can't be sent of it, the first hundred

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


def scan_order(cast: str, request: SendRequest) -> agent_protocol.PrepareSource:
    """The order to scan the requested paths."""
    return agent_protocol.PrepareSource(cast, request.paths, request.options)


async def survey_recipients(
    context: SessionContext, totals: agent_protocol.ParcelTotals, recipients: Iterable[str]
) -> RecipientSurvey:
    """Ask all recipients at once; nothing is written anywhere."""
    cast, request = context.cast, context.status.request

    async def ask(node: str, count_present: bool = False) -> agent_protocol.DestinationReply:
        if not context.is_online(node):
            return agent_protocol.DestinationReply(failure=offline_failure(node))
        order = agent_protocol.CheckDestination(
            cast,
            request.options.destination,
            totals.top,
            totals.content_bytes,
            totals.entries,
            count_present=count_present,
        )
        try:
            reply = await context.orders.call(node, order)
        except CastRayError as error:
            return agent_protocol.DestinationReply(failure=error.failure)
        if isinstance(reply, agent_protocol.DestinationReply):
            return reply
        return agent_protocol.DestinationReply(failure=offline_failure(node))

    asked = tuple(recipients)
    answers = await asyncio.gather(*(ask(node) for node in asked))
    replies = dict(zip(asked, answers, strict=True))
    short = _short_together(replies, totals.content_bytes)
    if short:  # unless what they need is there already, which takes a while to look for
        disks = {replies[node].disk for node in short}
        sharing = [node for node, reply in replies.items() if reply.disk in disks and not reply.failure]
        again = await asyncio.gather(*(ask(node, count_present=True) for node in sharing))
        replies |= dict(zip(sharing, again, strict=True))
        replies |= _short_together(replies, totals.content_bytes)
    return RecipientSurvey(totals, replies)


def _short_together(
    replies: Mapping[str, agent_protocol.DestinationReply], size: int
) -> dict[str, agent_protocol.DestinationReply]:
    """The answers of those that have room alone, and none beside the others that write to their disk."""
    claims = [
        SpaceClaim(
            node,
            reply.disk,
            reply.mount or reply.storage,
            free=reply.free_bytes,
            promised=reply.promised_bytes,
            needed=size - min(reply.present_bytes, size),
        )
        for node, reply in replies.items()
        if reply.failure is None
    ]
    found = {}
    for node, shortage in space_shortages(claims).items():
        values = {"node": node, "path": replies[node].destination, "others": _names(shortage.others)}
        values |= {"free": format_bytes(shortage.free), "needed": format_bytes(shortage.needed)}
        failure = Failure(FailureKind.NO_ROOM_TOGETHER, values)
        found[node] = agent_protocol.DestinationReply(failure=failure)
    return found


def _names(nodes: tuple[str, ...]) -> str:
    shown = ", ".join(nodes[:NAMED])
    return f"{shown}, …" if len(nodes) > NAMED else shown


async def find_prunable(context: SessionContext, recipients: Iterable[str]) -> tuple[Removal, ...]:
    """Ask all recipients with the source's manifest; returns those where something would be removed. Raises
    CastRayError."""
    cast, request = context.cast, context.status.request
    reply = await context.orders.call(context.source, agent_protocol.GetManifest(cast))
    packed = reply.packed if isinstance(reply, agent_protocol.ManifestReply) else ""
    if not packed:
        return ()
    order = agent_protocol.FindPrunable(cast, packed, request.options)

    async def ask(node: str) -> Removal:
        answer = await context.orders.call(node, order)
        if not isinstance(answer, agent_protocol.PrunableReply):
            return Removal(node, 0, ())
        if answer.failure is not None:
            raise CastRayError.of(answer.failure)
        return Removal(node, answer.count, answer.paths)

    answers = await asyncio.gather(*(ask(node) for node in recipients))
    return tuple(answer for answer in answers if answer.count)
