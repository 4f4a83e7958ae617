"""The survey before a cast: what the source would send, and whether the recipients could take it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.messages import (
    NodeState,
    PreflightProblem,
    PreflightReport,
    Removal,
    SendRequest,
    UnsentFile,
)
from castray_desktop.core.quantities import format_bytes
from castray_desktop.core.shared_room import Claim, shortages
from castray_desktop.workers.agents import Agents
from castray_desktop.workers.casts.ledger import offline
from castray_desktop.workers.casts.orders import Orders
from castray_desktop.workers.ray_side import protocol

NAMED = 4
"""Of the nodes that share a disk, in a sentence."""


@dataclass(frozen=True)
class Survey:
    """What the preflight found: who could take the parcel, who could not, and why."""

    totals: protocol.ParcelTotals
    replies: Mapping[str, protocol.PreflightReply]
    left_out: tuple[protocol.FileProblem, ...] = ()  # what can't be sent of it, the first hundred

    @property
    def problems(self) -> dict[str, Failure]:
        """Why those that could not take it can't."""
        return {node: reply.failure for node, reply in self.replies.items() if reply.failure is not None}

    def without(self, kind: FailureKind) -> Survey:
        """Without those that could not take it for this reason."""
        kept = {
            node: reply
            for node, reply in self.replies.items()
            if reply.failure is None or reply.failure.kind is not kind
        }
        return Survey(self.totals, kept, self.left_out)

    def report(self, recipients: tuple[str, ...], removals: tuple[Removal, ...] = ()) -> PreflightReport:
        """As clients hear of it."""
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


def scan_order(cast: str, request: SendRequest) -> protocol.PrepareSource:
    """The order to scan what was asked for."""
    return protocol.PrepareSource(cast, request.paths, request.links.value, request.exclude)


async def ask_recipients(
    cast: str,
    request: SendRequest,
    totals: protocol.ParcelTotals,
    recipients: Iterable[str],
    agents: Agents,
    orders: Orders,
) -> Survey:
    """Ask all of them at once; nothing is written anywhere."""

    async def ask(node: str, count_present: bool = False) -> protocol.PreflightReply:
        info = agents.nodes.get(node)
        if info is None or info.state is not NodeState.ONLINE:
            return protocol.PreflightReply(failure=offline(node))
        order = protocol.Preflight(
            *(cast, request.destination, totals.top, totals.content_bytes, totals.entries),
            count_present=count_present,
        )
        try:
            reply = await orders.call(node, order)
        except CastRayError as error:
            return protocol.PreflightReply(failure=error.failure)
        if isinstance(reply, protocol.PreflightReply):
            return reply
        return protocol.PreflightReply(failure=offline(node))

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
    return Survey(totals, replies)


def _short_together(
    replies: Mapping[str, protocol.PreflightReply], size: int
) -> dict[str, protocol.PreflightReply]:
    """The answers of those that have room alone, and none beside the others that write to their disk."""
    claims = [
        Claim(
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
    for node, shortage in shortages(claims).items():
        values = {"node": node, "path": replies[node].destination, "others": _names(shortage.others)}
        values |= {"free": format_bytes(shortage.free), "needed": format_bytes(shortage.needed)}
        failure = Failure(FailureKind.NO_ROOM_TOGETHER, values)
        found[node] = protocol.PreflightReply(failure=failure)
    return found


def _names(nodes: tuple[str, ...]) -> str:
    shown = ", ".join(nodes[:NAMED])
    return f"{shown}, …" if len(nodes) > NAMED else shown
